//! The model of the subnet: what the sweeps found and what the manager has made of it.
//!
//! Both halves look things up here; only the sweeps change it. A [`NodeId`] stays good as long as the manager
//! lives: a node that leaves keeps its place, and its LIDs, for the day it comes back.

mod lookup;
mod node;
mod tables;

use alloc::{collections::BTreeMap, vec::Vec};

use ib_wire::{
    addr::{Guid, Lid, PortNum, SubnetPrefix},
    mad::attr::NodeInfo,
};

pub use lookup::PathShape;
pub use node::{Node, Port, Switch};
pub use tables::{LinearTable, MulticastTable, PortMask};

/// A node of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A port of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// Its node.
    pub node: NodeId,
    /// Its number.
    pub num: PortNum,
}

/// Nodes, links and addresses of the subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    prefix: SubnetPrefix,
    own: Option<PortId>,
    nodes: Vec<Node>,
    by_guid: BTreeMap<Guid, NodeId>,
    by_port_guid: BTreeMap<Guid, PortId>,
    by_lid: Vec<Option<PortId>>,
}

impl Subnet {
    /// An empty subnet.
    pub(crate) const fn new(prefix: SubnetPrefix) -> Self {
        Self {
            prefix,
            own: None,
            nodes: Vec::new(),
            by_guid: BTreeMap::new(),
            by_port_guid: BTreeMap::new(),
            by_lid: Vec::new(),
        }
    }

    /// Finds the node or makes a place for it. Says nothing about whether it is present.
    pub(crate) fn insert(&mut self, info: NodeInfo) -> NodeId {
        *self.by_guid.entry(info.node_guid).or_insert_with(|| {
            self.nodes.push(Node::new(info));
            NodeId(u32::try_from(self.nodes.len() - 1).expect("fewer nodes than GUIDs a person can buy"))
        })
    }

    /// The place of a node, present or not.
    pub(crate) fn place_of(&self, guid: Guid) -> Option<NodeId> {
        self.by_guid.get(&guid).copied()
    }

    /// Notes which port is the manager's own.
    pub(crate) const fn set_own(&mut self, port: PortId) {
        self.own = Some(port);
    }

    /// Notes the GUID of an end port.
    pub(crate) fn set_port_guid(&mut self, id: PortId, guid: Guid) {
        let Some(port) = self.port_mut(id) else { return };
        let old = core::mem::replace(&mut port.guid, guid);
        if old != guid && self.by_port_guid.get(&old) == Some(&id) {
            self.by_port_guid.remove(&old);
        }
        self.by_port_guid.insert(guid, id);
    }

    /// Gives a port its LID; what had it before has none.
    pub(crate) fn set_lid(&mut self, id: PortId, lid: Lid) {
        let old = self.port(id).map_or(Lid::NONE, |port| port.lid);
        if old == lid {
            return;
        }
        if let Some(slot) = self.by_lid.get_mut(usize::from(old.0)).filter(|slot| **slot == Some(id)) {
            *slot = None;
        }
        if let Some(other) = self.by_lid(lid)
            && let Some(port) = self.port_mut(other)
        {
            port.lid = Lid::NONE;
        }
        if self.by_lid.len() <= usize::from(lid.0) {
            self.by_lid.resize(usize::from(lid.0) + 1, None);
        }
        self.by_lid[usize::from(lid.0)] = lid.is_unicast().then_some(id);
        if let Some(port) = self.port_mut(id) {
            port.lid = lid;
        }
    }

    /// Joins two ports, taking each out of any other link.
    pub(crate) fn link(&mut self, a: PortId, b: PortId) {
        self.unlink(a);
        self.unlink(b);
        for (end, other) in [(a, b), (b, a)] {
            if let Some(port) = self.port_mut(end) {
                port.peer = Some(other);
            }
        }
    }

    /// Takes a port and the port at its other end apart.
    pub(crate) fn unlink(&mut self, id: PortId) {
        let Some(peer) = self.port_mut(id).and_then(|port| port.peer.take()) else { return };
        if let Some(port) = self.port_mut(peer).filter(|port| port.peer == Some(id)) {
            port.peer = None;
        }
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    pub(crate) fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.nodes.get_mut(id.node.index())?.ports.get_mut(usize::from(id.num.0))
    }

    pub(crate) fn switch_mut(&mut self, id: NodeId) -> Option<&mut Switch> {
        self.nodes.get_mut(id.index())?.switch.as_mut()
    }

    /// Every place, taken or waiting, in the order in which they were first seen.
    pub(crate) fn places(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }
}
