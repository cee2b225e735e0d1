//! Questions to the model: who has this GID or LID, how wide is the way between two ports.

use ib_wire::{
    addr::{Gid, Guid, Lid, Mtu, PortNum, Rate, SubnetPrefix},
    mad::smp::DirectedRoute,
};

use super::{Node, NodeId, Port, PortId, Subnet};

/// What a packet meets on its way from one end port to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathShape {
    /// Largest payload that every link takes.
    pub mtu: Mtu,
    /// Slowest link; none if a link does not say (or there is no link on the way).
    pub rate: Option<Rate>,
    /// Links on the way.
    pub hops: u8,
}

impl Subnet {
    /// Upper half of every GID.
    pub const fn prefix(&self) -> SubnetPrefix {
        self.prefix
    }

    /// The manager's own port, once a sweep has found it.
    pub const fn own_port(&self) -> Option<PortId> {
        self.own
    }

    /// LID of the manager's own port, none before the first sweep.
    pub fn own_lid(&self) -> Lid {
        self.own.and_then(|id| self.port(id)).map_or(Lid::NONE, |port| port.lid)
    }

    /// GID of the manager's own port, zero before the first sweep.
    pub fn own_gid(&self) -> Gid {
        self.own.and_then(|id| self.port(id)).map_or(Gid::ZERO, |port| port.gid(self.prefix))
    }

    /// The node at that place, present or not.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The port, if the node has it.
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.nodes.get(id.node.index())?.port(id.num)
    }

    /// The nodes that are present, in the order in which they were first seen.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.places().filter(|(_, node)| node.present)
    }

    /// The switches that are present.
    pub fn switches(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes().filter(|(_, node)| node.switch.is_some())
    }

    /// The end ports of the nodes that are present, if they are linked or ports 0.
    pub fn end_ports(&self) -> impl Iterator<Item = (PortId, &Port)> {
        self.nodes()
            .flat_map(|(id, node)| node.end_ports().map(move |(num, port)| (PortId { node: id, num }, port)))
            .filter(|(id, port)| {
                id.num == PortNum::MANAGEMENT || port.peer.is_some() || Some(*id) == self.own
            })
    }

    /// The present node with that GUID.
    pub fn node_by_guid(&self, guid: Guid) -> Option<NodeId> {
        self.by_guid.get(&guid).copied().filter(|id| self.node(*id).present)
    }

    /// The end port with that GUID, if its node is present.
    pub fn end_port_by_guid(&self, guid: Guid) -> Option<PortId> {
        self.by_port_guid.get(&guid).copied().filter(|id| self.node(id.node).present)
    }

    /// The end port with that GID, if its node is present.
    pub fn end_port_by_gid(&self, gid: Gid) -> Option<PortId> {
        if gid.prefix() != self.prefix && gid.prefix() != SubnetPrefix::LINK_LOCAL {
            return None;
        }
        self.end_port_by_guid(gid.guid())
    }

    /// The end port that answers to the LID, if its node is present.
    pub fn end_port_by_lid(&self, lid: Lid) -> Option<PortId> {
        self.by_lid(lid).filter(|id| self.node(id.node).present)
    }

    /// The switch port that an end port hangs on, or a switch's own port 0; none for ports joined without a
    /// switch.
    pub fn switch_port(&self, end: PortId) -> Option<PortId> {
        if self.node(end.node).is_switch() {
            return Some(PortId { node: end.node, num: PortNum::MANAGEMENT });
        }
        self.port(end)?.peer.filter(|peer| self.node(peer.node).is_switch())
    }

    /// The way that the forwarding tables make from one end port to another; none if there is none.
    pub fn path(&self, from: PortId, to: PortId) -> Option<PathShape> {
        let lid = self.port(to)?.lid;
        let mut shape = PathShape { mtu: Mtu::B4096, rate: None, hops: 0 };
        if from == to {
            let port = self.port(from)?;
            if from.num != PortNum::MANAGEMENT {
                shape = PathShape { mtu: port.mtu(), rate: port.rate(), hops: 0 };
            }
            return Some(shape);
        }
        let mut at = from.node;
        let mut out = self.egress(from, lid)?;
        // A table with a loop in it ends the walk here.
        for hops in 1..=64 {
            let port = self.port(out)?;
            shape = narrowed(shape, port, hops);
            let peer = port.peer?;
            if peer == to {
                return Some(shape);
            }
            at = if peer.node == at { return None } else { peer.node };
            if at == to.node && to.num == PortNum::MANAGEMENT {
                return Some(shape);
            }
            let num = self.node(at).switch.as_ref()?.lft.port(lid)?;
            out = PortId { node: at, num };
        }
        None
    }

    /// The directed route from the manager's own port to a port's node, as the last sweep walked it.
    ///
    /// To a channel adapter it leads in by the port itself: only that port may be set by it.
    pub(crate) fn route(&self, to: PortId) -> Option<DirectedRoute> {
        let own = self.own?;
        let node = self.node(to.node);
        if to == own || (to.node == own.node && node.is_switch()) {
            return Some(DirectedRoute::HERE);
        }
        let mut hops = [PortNum::MANAGEMENT; DirectedRoute::MAX_HOPS];
        let mut len = 0;
        let mut up = if node.is_switch() { node.via? } else { self.port(to)?.peer? };
        loop {
            *hops.get_mut(len)? = up.num;
            len += 1;
            if up.node == own.node {
                break;
            }
            up = self.node(up.node).via?;
        }
        hops[..len].iter().rev().try_fold(DirectedRoute::HERE, |route, port| route.then(*port))
    }

    fn egress(&self, from: PortId, lid: Lid) -> Option<PortId> {
        match &self.node(from.node).switch {
            Some(switch) => Some(PortId { node: from.node, num: switch.lft.port(lid)? }),
            None => Some(from),
        }
    }

    pub(super) fn by_lid(&self, lid: Lid) -> Option<PortId> {
        self.by_lid.get(usize::from(lid.0)).copied().flatten()
    }
}

fn narrowed(shape: PathShape, port: &Port, hops: u8) -> PathShape {
    let slower = |a: Rate, b: Rate| if b.mbps() < a.mbps() { b } else { a };
    let rate = match (shape.rate, port.rate()) {
        (Some(a), Some(b)) => Some(slower(a, b)),
        (a, b) => a.or(b),
    };
    PathShape { mtu: shape.mtu.min(port.mtu()), rate, hops }
}
