//! A switch or channel adapter: what holds its ports together.

use alloc::string::String;
use core::ops::Range;

use ib_wire::{
    addr::{Guid, PortNum},
    mad::attr::{NodeDescription, NodeInfo, NodeType, ProducerType},
};

use crate::topology::NodeKind;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Name in the topology.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: NodeKind,
    /// NodeDescription.
    pub(crate) description: NodeDescription,
    /// NodeInfo, but for what depends on the port that was asked.
    pub(crate) info: NodeInfo,
    /// Its ports among those of the fabric; the first is port 0 of a switch, port 1 of any other.
    pub(crate) ports: Range<usize>,
    /// Its end ports among those of the fabric.
    pub(crate) ends: Range<usize>,
    /// Which switch of the fabric it is, if it is one.
    pub(crate) switch: Option<usize>,
    /// False while it is switched off.
    pub(crate) power: bool,
}

impl Node {
    /// Index of the port with this number.
    pub(crate) fn port(&self, num: PortNum) -> Option<usize> {
        let lowest = u8::from(self.switch.is_none());
        let index = self.ports.start + usize::from(num.0.checked_sub(lowest)?);
        self.ports.contains(&index).then_some(index)
    }

    /// Who it is in notices.
    pub(crate) const fn producer(&self) -> ProducerType {
        match self.kind {
            NodeKind::Switch => ProducerType::SWITCH,
            NodeKind::Hca => ProducerType::CA,
            NodeKind::Router => ProducerType::ROUTER,
        }
    }

    /// NodeInfo as seen through a port.
    pub(crate) const fn node_info(&self, port_guid: Guid, local_port: PortNum) -> NodeInfo {
        NodeInfo { port_guid, local_port, ..self.info }
    }
}

/// Kind of node as NodeInfo has it.
pub(crate) const fn node_type(kind: NodeKind) -> NodeType {
    match kind {
        NodeKind::Switch => NodeType::SWITCH,
        NodeKind::Hca => NodeType::CA,
        NodeKind::Router => NodeType::ROUTER,
    }
}
