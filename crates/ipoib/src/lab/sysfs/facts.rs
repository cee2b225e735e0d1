//! What the files tell, as plain values taken from the fabric.

use ib_fabric::{Fabric, PortId};
use ib_wire::{
    addr::{Guid, PKey},
    mad::{
        attr::{NodeDescription, NodeInfo, PortInfo},
        pma::{PortCounters, PortCountersExtended},
    },
};

/// A switch or channel adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeFacts {
    pub(super) info: NodeInfo,
    pub(super) description: NodeDescription,
}

impl NodeFacts {
    /// Of the node that this end port is of.
    pub(super) fn take(fabric: &Fabric, port: PortId) -> Self {
        Self { info: fabric.node_info(port), description: fabric.node_description(port) }
    }
}

/// An end port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortFacts {
    pub(super) guid: Guid,
    pub(super) info: PortInfo,
    /// Entries 1 and on of its GUID table.
    pub(super) aliases: Vec<Guid>,
    pub(super) pkeys: Vec<PKey>,
    pub(super) counters: PortCounters,
    pub(super) extended: PortCountersExtended,
}

impl PortFacts {
    pub(super) fn take(fabric: &Fabric, port: PortId) -> Self {
        let (counters, extended) = fabric.port_counters(port);
        Self {
            guid: fabric.node_info(port).port_guid,
            info: fabric.port_info(port),
            aliases: fabric.port_aliases(port).to_vec(),
            pkeys: fabric.port_pkeys(port).to_vec(),
            counters,
            extended,
        }
    }

    /// True if the port is still like this. Takes no memory.
    pub(super) fn holds(&self, fabric: &Fabric, port: PortId) -> bool {
        self.info == fabric.port_info(port)
            && (self.counters, self.extended) == fabric.port_counters(port)
            && self.pkeys == fabric.port_pkeys(port)
            && self.aliases == fabric.port_aliases(port)
    }
}
