//! The plan itself: nodes, links, and what can be asked of them.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{fmt, ops::Index, time::Duration};

use ib_wire::addr::{Guid, LinkSpeed, LinkWidth, Lmc, Mtu, PortNum, UnicastLid};

use super::{
    guid::{GUID_PREFIX, assigned_node_guid, assigned_port_guid},
    mishap::Shares,
    udp::UdpLink,
};

/// Nodes and the links between them.
///
/// [`Topology::normalize`] gives the order in which two equal plans compare equal: switches, hosts, routers, each
/// in the order they were named; links by their first end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Switches, channel adapters and routers; a [`NodeIndex`] is a position here.
    pub nodes: Vec<Node>,
    /// Cables; at most one at any port.
    pub links: Vec<Link>,
    /// Cables that lead out of the fabric, at ports that have no other.
    pub udp: Vec<UdpLink>,
    /// Which one of several that are joined; it is in the GUIDs assigned. [`Topology::set_fabric_number`] sets it.
    pub fabric: u8,
}

impl Topology {
    /// No nodes.
    pub const fn new() -> Self {
        Self { nodes: Vec::new(), links: Vec::new(), udp: Vec::new(), fabric: 0 }
    }

    /// Adds a switch with ports `1..=ports`, GUIDs assigned by its position among the switches.
    pub fn add_switch(&mut self, name: impl Into<String>, ports: u8) -> NodeIndex {
        self.add(NodeKind::Switch, name.into(), ports)
    }

    /// Adds a host: a channel adapter with ports `1..=ports`, GUIDs assigned by its position among the hosts.
    pub fn add_host(&mut self, name: impl Into<String>, ports: u8) -> NodeIndex {
        self.add(NodeKind::Hca, name.into(), ports)
    }

    /// Adds a link as [`Link::new`] makes it. Says nothing about whether the ports exist and are free:
    /// [`Topology::validate`] does.
    pub fn connect(&mut self, a: impl Into<Endpoint>, b: impl Into<Endpoint>) -> &mut Link {
        self.links.push(Link::new(a, b));
        self.links.last_mut().expect("a link was pushed on the line above")
    }

    fn add(&mut self, kind: NodeKind, name: String, ports: u8) -> NodeIndex {
        let of_kind = self.nodes.iter().filter(|node| node.kind == kind).count();
        let number = u32::try_from(of_kind + 1).unwrap_or(u32::MAX);
        self.nodes.push(Node::new(kind, name, assigned_node_guid(kind, number), ports));
        NodeIndex(self.nodes.len() - 1)
    }

    /// Orders nodes by kind (keeping the order within a kind), the ends of each link by node and port, and links
    /// by their ends. Indices taken before are stale afterwards.
    pub fn normalize(&mut self) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&old| self.nodes[old].kind);
        let mut new_of = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            new_of[old] = new;
        }
        self.nodes.sort_by_key(|node| node.kind);
        for link in &mut self.links {
            for end in [&mut link.a, &mut link.b] {
                end.node.0 = new_of.get(end.node.0).copied().unwrap_or(end.node.0);
            }
            if link.b < link.a {
                core::mem::swap(&mut link.a, &mut link.b);
            }
        }
        self.links.sort_by_key(|link| (link.a, link.b));
        for end in self.udp.iter_mut().map(|link| &mut link.port) {
            end.node.0 = new_of.get(end.node.0).copied().unwrap_or(end.node.0);
        }
        self.udp.sort_by_key(|link| link.port);
    }

    /// The node of that name. Reads the list from the front: for many look-ups use [`Topology::names`].
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.iter().position(|node| node.name == name).map(NodeIndex)
    }

    /// Every name and its node, by name. The last one wins where a name is used twice.
    pub fn names(&self) -> BTreeMap<&str, NodeIndex> {
        self.indexed().map(|(index, node)| (node.name.as_str(), index)).collect()
    }

    /// The port written as `sw1:3`, or `h1` for port 1 of a node with one port.
    pub fn find_port(&self, text: &str) -> Option<Endpoint> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let node = self.find(name)?;
        let port = port.or_else(|| (self[node].port_count == 1).then_some(1))?;
        self[node].has_port(PortNum(port)).then_some(Endpoint { node, port: PortNum(port) })
    }

    /// The link at a port.
    pub fn link_at(&self, end: Endpoint) -> Option<&Link> {
        self.links.iter().find(|link| link.a == end || link.b == end)
    }

    /// `sw1:3`, which [`Topology::find_port`] reads; a number in place of the name of an unknown node.
    pub fn port_name(&self, end: Endpoint) -> String {
        match self.nodes.get(end.node.0) {
            Some(node) => format!("{}:{}", node.name, end.port),
            None => format!("#{}:{}", end.node.0, end.port),
        }
    }

    /// Every node with its index.
    pub fn indexed(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (NodeIndex(i), node))
    }

    /// The switches with their indices.
    pub fn switches(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.indexed().filter(|(_, node)| node.kind == NodeKind::Switch)
    }

    /// The hosts (channel adapters) with their indices.
    pub fn hosts(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.indexed().filter(|(_, node)| node.kind == NodeKind::Hca)
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        let of = |kind| self.nodes.iter().filter(|node| node.kind == kind).count();
        Counts {
            switches: of(NodeKind::Switch),
            hosts: of(NodeKind::Hca),
            routers: of(NodeKind::Router),
            links: self.links.len() + self.udp.len(),
        }
    }

    /// Who is next to whom, for walking the plan; taken once, as links are not kept by node.
    pub fn adjacency(&self) -> Adjacency {
        Adjacency::of(self)
    }
}

impl Index<NodeIndex> for Topology {
    type Output = Node;

    fn index(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }
}

/// Position of a node in [`Topology::nodes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// Forwards packets by LID.
    Switch,
    /// A host's channel adapter.
    Hca,
    /// Forwards packets between subnets.
    Router,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch => "switch",
            Self::Hca => "host",
            Self::Router => "router",
        })
    }
}

/// A switch, a host's channel adapter or a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The user's handle, unique, safe in a shell and as a host name: `sw1`, `h1`.
    pub name: String,
    /// NodeDescription, at most 64 bytes.
    pub description: String,
    /// What it is.
    pub kind: NodeKind,
    /// NodeGUID.
    pub guid: Guid,
    /// SystemImageGUID.
    pub system_guid: Guid,
    /// VendorID, 24 bits.
    pub vendor_id: u32,
    /// DeviceID.
    pub device_id: u16,
    /// Ports that take a cable are `1..=port_count`, linked or not; at most 254.
    pub port_count: u8,
    /// The ports that are addresses: port 0 of a switch, `1..=port_count` of any other node, in order.
    pub end_ports: Vec<PortSpec>,
    /// The switch's port 0 is a full end port ("enhanced port 0"). False for other nodes.
    pub enhanced_port0: bool,
}

impl Node {
    /// A node with everything that follows from its name, GUID and port count: description, port GUIDs, vendor.
    pub fn new(kind: NodeKind, name: impl Into<String>, guid: Guid, port_count: u8) -> Self {
        let name = name.into();
        let mut node = Self {
            description: Self::default_description(kind, &name),
            name,
            kind,
            guid,
            system_guid: guid,
            vendor_id: GUID_PREFIX,
            device_id: match kind {
                NodeKind::Switch => 1,
                NodeKind::Hca => 2,
                NodeKind::Router => 3,
            },
            port_count,
            end_ports: Vec::new(),
            enhanced_port0: false,
        };
        node.end_ports = node.end_port_numbers().map(|num| PortSpec::new(num, node.guid)).collect();
        node
    }

    /// NodeDescription where nothing else is said: the name, for a host followed by ` HCA-1` as Linux does,
    /// where it fits.
    pub fn default_description(kind: NodeKind, name: &str) -> String {
        match kind {
            NodeKind::Hca if name.len() + 6 <= Self::MAX_DESCRIPTION => format!("{name} HCA-1"),
            _ => name.to_string(),
        }
    }

    /// Largest `port_count`: 255 stands for "no port" in forwarding tables.
    pub const MAX_PORTS: u8 = 254;
    /// Longest description in bytes.
    pub const MAX_DESCRIPTION: usize = 64;

    /// True for a switch.
    pub fn is_switch(&self) -> bool {
        self.kind == NodeKind::Switch
    }

    /// True if the node has this port and a cable fits it.
    pub const fn has_port(&self, port: PortNum) -> bool {
        port.0 >= 1 && port.0 <= self.port_count
    }

    /// The end port of this number.
    pub fn end_port(&self, port: PortNum) -> Option<&PortSpec> {
        self.end_ports.iter().find(|spec| spec.num == port)
    }

    /// Numbers of the ports that are addresses.
    pub(super) fn end_port_numbers(&self) -> impl Iterator<Item = PortNum> + use<> {
        let (first, last) = if self.is_switch() { (0, 0) } else { (1, self.port_count) };
        (first..=last).map(PortNum)
    }
}

/// A port that is an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Its number: 0 on a switch, from 1 elsewhere.
    pub num: PortNum,
    /// PortGUID. On a switch, that of port 0.
    pub guid: Guid,
    /// The LID it has before any SM came, as after a restart of the SM.
    pub lid: Option<UnicastLid>,
    /// The mask that goes with `lid`.
    pub lmc: Lmc,
}

impl PortSpec {
    /// A port of the node with GUID `node`, without LID.
    pub fn new(num: PortNum, node: Guid) -> Self {
        Self { num, guid: assigned_port_guid(node, num), lid: None, lmc: Lmc(0) }
    }
}

/// One end of a link: a port of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The node.
    pub node: NodeIndex,
    /// Its port, from 1.
    pub port: PortNum,
}

impl From<(NodeIndex, u8)> for Endpoint {
    fn from((node, port): (NodeIndex, u8)) -> Self {
        Self { node, port: PortNum(port) }
    }
}

/// A cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One end.
    pub a: Endpoint,
    /// The other.
    pub b: Endpoint,
    /// Lanes; one of the widths with a name.
    pub width: LinkWidth,
    /// Speed of a lane.
    pub speed: LinkSpeed,
    /// Largest MTU both ends are capable of; `None` leaves it to the devices.
    pub mtu: Option<Mtu>,
    /// What it does to packets.
    pub model: LinkModel,
}

impl Link {
    /// A perfect link of 4x EDR.
    pub fn new(a: impl Into<Endpoint>, b: impl Into<Endpoint>) -> Self {
        Self {
            a: a.into(),
            b: b.into(),
            width: Self::DEFAULT_WIDTH,
            speed: Self::DEFAULT_SPEED,
            mtu: None,
            model: LinkModel::PERFECT,
        }
    }

    /// Width where none is given.
    pub const DEFAULT_WIDTH: LinkWidth = LinkWidth::X4;
    /// Speed where none is given.
    pub const DEFAULT_SPEED: LinkSpeed = LinkSpeed::Edr;

    /// Mb/s of all lanes together; 0 for a width without a name.
    pub fn mbps(&self) -> u32 {
        u32::from(self.width.lanes().unwrap_or(0)) * self.speed.lane_mbps()
    }

    /// The end that is not `end`, if `end` is one.
    pub fn other_end(&self, end: Endpoint) -> Option<Endpoint> {
        if end == self.a { Some(self.b) } else { (end == self.b).then_some(self.a) }
    }
}

/// What a link does to the packets on it, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkModel {
    /// How long a packet is under way.
    pub delay: Duration,
    /// What befalls some of them.
    pub shares: Shares,
}

impl LinkModel {
    /// No delay, no mishap.
    pub const PERFECT: Self = Self { delay: Duration::ZERO, shares: Shares::NONE };
}

/// How many nodes and links there are; shows itself as `2 switches, 4 hosts, 6 links`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Switches.
    pub switches: usize,
    /// Channel adapters.
    pub hosts: usize,
    /// Routers; not shown when there is none.
    pub routers: usize,
    /// Links.
    pub links: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { switches, hosts, routers, links } = *self;
        write!(f, "{switches} {}, ", if switches == 1 { "switch" } else { "switches" })?;
        write!(f, "{hosts} {}, ", if hosts == 1 { "host" } else { "hosts" })?;
        if routers > 0 {
            write!(f, "{routers} {}, ", if routers == 1 { "router" } else { "routers" })?;
        }
        write!(f, "{links} {}", if links == 1 { "link" } else { "links" })
    }
}

/// The links of a [`Topology`] by node, as they were when it was taken.
#[derive(Clone, Debug)]
pub struct Adjacency {
    /// By node, then by port.
    neighbors: Vec<Neighbor>,
    /// `neighbors[first[n]..first[n + 1]]` are those of node `n`.
    first: Vec<usize>,
}

impl Adjacency {
    fn of(topology: &Topology) -> Self {
        let mut neighbors: Vec<Neighbor> = Vec::with_capacity(topology.links.len() * 2);
        for (link, Link { a, b, .. }) in topology.links.iter().enumerate() {
            neighbors.push(Neighbor { own: *a, peer: *b, link });
            neighbors.push(Neighbor { own: *b, peer: *a, link });
        }
        neighbors.sort_by_key(|neighbor| (neighbor.own, neighbor.link));
        let first = (0..=topology.nodes.len())
            .map(|node| neighbors.partition_point(|neighbor| neighbor.own.node.0 < node))
            .collect();
        Self { neighbors, first }
    }

    /// The links at `node`, by port. Empty for a node the topology did not have.
    pub fn links(&self, node: NodeIndex) -> &[Neighbor] {
        match (self.first.get(node.0), self.first.get(node.0 + 1)) {
            (Some(&from), Some(&to)) => &self.neighbors[from..to],
            _ => &[],
        }
    }

    /// The link at a port.
    pub fn at(&self, end: Endpoint) -> Option<&Neighbor> {
        let links = self.links(end.node);
        links.binary_search_by_key(&end.port, |neighbor| neighbor.own.port).ok().map(|i| &links[i])
    }

    /// The nodes by the parts that no link joins, each part in the order a breadth-first walk meets them.
    pub fn parts(&self) -> Vec<Vec<NodeIndex>> {
        let count = self.first.len() - 1;
        let mut seen = vec![false; count];
        let mut parts = Vec::new();
        for start in 0..count {
            if seen[start] {
                continue;
            }
            seen[start] = true;
            let mut part = vec![NodeIndex(start)];
            let mut next = 0;
            while let Some(&node) = part.get(next) {
                next += 1;
                for neighbor in self.links(node) {
                    let peer = neighbor.peer.node;
                    if seen.get(peer.0) == Some(&false) {
                        seen[peer.0] = true;
                        part.push(peer);
                    }
                }
            }
            parts.push(part);
        }
        parts
    }
}

/// A link as its one end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The end it is seen from.
    pub own: Endpoint,
    /// The far end.
    pub peer: Endpoint,
    /// Position in [`Topology::links`].
    pub link: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (Topology, NodeIndex, NodeIndex) {
        let mut topology = Topology::new();
        let h1 = topology.add_host("h1", 1);
        let sw1 = topology.add_switch("sw1", 8);
        topology.connect((h1, 1), (sw1, 3));
        (topology, h1, sw1)
    }

    #[test]
    fn normalized_nodes_stand_by_kind_and_links_follow_them() {
        let (mut topology, ..) = small();
        topology.normalize();
        assert_eq!(topology.nodes[0].name, "sw1");
        assert_eq!(topology.port_name(topology.links[0].a), "sw1:3");
        assert_eq!(topology.port_name(topology.links[0].b), "h1:1");
    }

    #[test]
    fn a_port_is_found_by_its_written_name() {
        let (topology, h1, sw1) = small();
        assert_eq!(topology.find_port("sw1:3"), Some(Endpoint { node: sw1, port: PortNum(3) }));
        assert_eq!(topology.find_port("h1"), Some(Endpoint { node: h1, port: PortNum(1) }));
        for text in ["sw1", "sw1:9", "sw1:0", "h2", "sw1:x", "sw1:256", ""] {
            assert_eq!(topology.find_port(text), None, "{text}");
        }
    }

    #[test]
    fn adjacency_sees_a_link_from_both_ends() {
        let (topology, h1, sw1) = small();
        let adjacency = topology.adjacency();
        assert_eq!(adjacency.links(h1)[0].peer.node, sw1);
        assert_eq!(adjacency.at(Endpoint::from((sw1, 3))).map(|n| n.peer.node), Some(h1));
        assert_eq!(adjacency.at(Endpoint::from((sw1, 4))), None);
        assert!(adjacency.links(NodeIndex(7)).is_empty());
        assert_eq!(adjacency.parts().len(), 1);
    }

    #[test]
    fn one_of_a_kind_is_singular() {
        let (topology, ..) = small();
        assert_eq!(topology.counts().to_string(), "1 switch, 1 host, 1 link");
    }
}
