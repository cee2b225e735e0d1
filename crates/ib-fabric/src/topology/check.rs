//! Finds everything wrong with a topology, not only the first thing.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use ib_wire::addr::{Guid, PortNum};

use super::{
    error::{Reason, TopologyErrors},
    model::{Endpoint, Node, NodeIndex, Topology},
};

impl Topology {
    /// Checks that a fabric can be built: names, port numbers and GUIDs unique and in range, one link a port.
    ///
    /// Warnings are about plans that can be built but may not be what was meant.
    pub fn validate(&self) -> Result<Vec<Warning>, TopologyErrors> {
        match TopologyErrors::collect("", Check::run(self, &Lines::default(), Vec::new())) {
            Some(errors) => Err(errors),
            None => Ok(self.warnings()),
        }
    }

    /// What may not be meant; empty for a plan in one piece.
    pub fn warnings(&self) -> Vec<Warning> {
        let adjacency = self.adjacency();
        let leads_out = |node| self.udp.iter().any(|link| link.port.node == node);
        let alone = |node: NodeIndex| adjacency.links(node).is_empty() && !leads_out(node);
        let mut warnings: Vec<Warning> = self
            .indexed()
            .filter(|(index, _)| alone(*index) && self.nodes.len() > 1)
            .map(|(_, node)| Warning::Isolated { node: node.name.clone() })
            .collect();
        let parts = adjacency.parts().iter().filter(|part| !alone(part[0])).count();
        if parts > 1 && self.udp.is_empty() {
            warnings.push(Warning::Parts { parts });
        }
        let loops = self.links.iter().filter(|link| link.a.node == link.b.node);
        warnings
            .extend(loops.map(|link| Warning::Loop { a: self.port_name(link.a), b: self.port_name(link.b) }));
        warnings
    }
}

/// Something that can be built but may not be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A node without any link.
    Isolated {
        /// Its name.
        node: String,
    },
    /// Several pieces that no link joins, nodes without any link left aside. An SM manages only its own.
    Parts {
        /// How many.
        parts: usize,
    },
    /// A cable from a node to itself.
    Loop {
        /// `sw1:1`.
        a: String,
        /// `sw1:2`.
        b: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolated { node } => write!(f, "{node} has no link"),
            Self::Parts { parts } => {
                write!(
                    f,
                    "the fabric is in {parts} parts that no link joins: each needs its own subnet manager"
                )
            }
            Self::Loop { a, b } => write!(f, "the link from {a} to {b} stays on one node"),
        }
    }
}

/// The lines that nodes and links came from, by position in the topology; 0 or absent where unknown.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) nodes: Vec<usize>,
    pub(super) links: Vec<usize>,
    pub(super) udp: Vec<usize>,
}

impl Lines {
    fn node(&self, index: NodeIndex) -> usize {
        self.nodes.get(index.0).copied().unwrap_or(0)
    }

    fn link(&self, index: usize) -> usize {
        self.links.get(index).copied().unwrap_or(0)
    }

    /// Of a link, or behind the `inside` ones of a link that leads out.
    fn any(&self, index: usize, inside: usize) -> usize {
        match index.checked_sub(inside) {
            Some(index) => self.udp.get(index).copied().unwrap_or(0),
            None => self.link(index),
        }
    }
}

/// What a reader ends with: the topology in its normal order, or all that was wrong with it.
///
/// `found` is what the reader itself could not make sense of.
pub(super) fn finish(
    file: &str,
    mut topology: Topology,
    lines: &Lines,
    found: Vec<(usize, Reason)>,
) -> Result<Topology, TopologyErrors> {
    // After an error of grammar, an empty topology is no further news.
    let found = if found.is_empty() || !topology.nodes.is_empty() {
        Check::run(&topology, lines, found)
    } else {
        found
    };
    match TopologyErrors::collect(file, found) {
        Some(errors) => Err(errors),
        None => {
            topology.normalize();
            Ok(topology)
        }
    }
}

struct Check<'a> {
    topology: &'a Topology,
    lines: &'a Lines,
    found: Vec<(usize, Reason)>,
}

impl<'a> Check<'a> {
    fn run(topology: &'a Topology, lines: &'a Lines, found: Vec<(usize, Reason)>) -> Vec<(usize, Reason)> {
        let mut check = Self { topology, lines, found };
        check.nodes();
        check.guids();
        check.links();
        check.found
    }

    fn nodes(&mut self) {
        let mut names: BTreeMap<&str, NodeIndex> = BTreeMap::new();
        if self.topology.nodes.is_empty() {
            self.found.push((0, Reason::Empty));
        }
        for (index, node) in self.topology.indexed() {
            let line = self.lines.node(index);
            let name = node.name.clone();
            if !is_good_name(&name) {
                self.found.push((line, Reason::BadName { name: name.clone() }));
            }
            if node.description.len() > Node::MAX_DESCRIPTION {
                let len = node.description.len();
                self.found.push((line, Reason::LongDescription { node: name.clone(), len }));
            }
            if !(1..=Node::MAX_PORTS).contains(&node.port_count) {
                let ports = node.port_count.into();
                self.found.push((line, Reason::PortCount { node: name.clone(), ports }));
            }
            if !node.end_ports.iter().map(|port| port.num).eq(node.end_port_numbers()) {
                self.found.push((line, Reason::EndPorts { node: name.clone(), kind: node.kind }));
            }
            match names.get(node.name.as_str()) {
                Some(&first) => {
                    self.found.push((line, Reason::NameTwice { name, line: self.lines.node(first) }));
                }
                None => {
                    names.insert(&node.name, index);
                }
            }
        }
    }

    /// A GUID belongs to one node; a port may share its own node's, as on many real adapters, but no other's.
    fn guids(&mut self) {
        let mut owners: BTreeMap<Guid, Owner> = BTreeMap::new();
        for (node, spec) in self.topology.indexed() {
            self.claim(&mut owners, spec.guid, Owner { node, port: None });
            for port in &spec.end_ports {
                self.claim(&mut owners, port.guid, Owner { node, port: Some(port.num) });
            }
        }
    }

    fn claim(&mut self, owners: &mut BTreeMap<Guid, Owner>, guid: Guid, owner: Owner) {
        let line = self.lines.node(owner.node);
        let name = |owner: Owner| match owner.port {
            Some(port) if !self.topology[owner.node].is_switch() => {
                self.topology.port_name(Endpoint { node: owner.node, port })
            }
            _ => self.topology[owner.node].name.to_string(),
        };
        if guid == Guid::ZERO {
            self.found.push((line, Reason::ZeroGuid { owner: name(owner) }));
            return;
        }
        match owners.get(&guid) {
            None => {
                owners.insert(guid, owner);
            }
            Some(first) if first.node == owner.node && first.port.is_none() => {
                owners.insert(guid, owner);
            }
            Some(&first) => {
                let (owner, other) = (name(owner), name(first));
                let line_of_first = self.lines.node(first.node);
                self.found.push((line, Reason::GuidTwice { owner, other, guid, line: line_of_first }));
            }
        }
    }

    fn links(&mut self) {
        let mut used: BTreeMap<Endpoint, usize> = BTreeMap::new();
        for (index, link) in self.topology.links.iter().enumerate() {
            let line = self.lines.link(index);
            if link.width.lanes().is_none() {
                self.found.push((line, Reason::BadWidth { port: self.topology.port_name(link.a) }));
            }
            if link.a == link.b {
                self.found.push((line, Reason::SelfLink { port: self.topology.port_name(link.a) }));
                continue;
            }
            for end in [link.a, link.b] {
                self.end(&mut used, index, end);
            }
        }
        for (index, link) in self.topology.udp.iter().enumerate() {
            self.end(&mut used, self.topology.links.len() + index, link.port);
        }
    }

    /// Links that lead out of the fabric are counted on from the others.
    fn end(&mut self, used: &mut BTreeMap<Endpoint, usize>, index: usize, end: Endpoint) {
        let line = self.lines.any(index, self.topology.links.len());
        let Some(node) = self.topology.nodes.get(end.node.0) else {
            self.found.push((line, Reason::NoSuchNode { name: alloc::format!("#{}", end.node.0) }));
            return;
        };
        if !node.has_port(end.port) {
            let (port, ports) = (end.port.0.into(), node.port_count);
            self.found.push((line, Reason::NoSuchPort { node: node.name.clone(), port, ports }));
            return;
        }
        match used.get(&end) {
            None => {
                used.insert(end, index);
            }
            Some(&first) => {
                let peer = match self.topology.links.get(first) {
                    Some(link) => self.topology.port_name(link.other_end(end).unwrap_or(link.a)),
                    None => "the outside".into(),
                };
                let reason = Reason::PortUsedTwice {
                    port: self.topology.port_name(end),
                    peer,
                    line: self.lines.any(first, self.topology.links.len()),
                };
                self.found.push((line, reason));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Owner {
    node: NodeIndex,
    port: Option<PortNum>,
}

/// What a name may be: a host name, with `_` besides.
pub(super) fn is_good_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use ib_wire::addr::LinkWidth;

    use super::*;

    fn two() -> (Topology, NodeIndex, NodeIndex) {
        let mut topology = Topology::new();
        let sw1 = topology.add_switch("sw1", 8);
        let h1 = topology.add_host("h1", 1);
        (topology, sw1, h1)
    }

    #[track_caller]
    fn refused(topology: &Topology, messages: &[&str]) {
        let errors = topology.validate().expect_err("this topology is wrong");
        let found: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, messages);
    }

    #[test]
    fn every_wrong_link_is_reported() {
        let (mut topology, sw1, h1) = two();
        topology.connect((sw1, 1), (h1, 1));
        topology.connect((sw1, 1), (h1, 2));
        topology.connect((sw1, 0), (sw1, 9));
        topology.connect((sw1, 2), (sw1, 2));
        topology.connect((sw1, 3), (NodeIndex(5), 1));
        topology.connect((sw1, 4), (sw1, 5)).width = LinkWidth(3);
        refused(
            &topology,
            &[
                "port sw1:1 has a link already, to h1:1: use a free port",
                "h1 has no port 2: its ports are 1 to 1",
                "sw1 has no port 0: its ports are 1 to 8",
                "sw1 has no port 9: its ports are 1 to 8",
                "port sw1:2 is linked to itself: name another port at one end",
                "there is no node `#5`: add it, or correct the name",
                "the width of the link at sw1:4 is no single width: use 1x, 2x, 4x, 8x or 12x",
            ],
        );
    }

    #[test]
    fn every_wrong_node_is_reported() {
        let (mut topology, ..) = two();
        topology.nodes.push(Node { name: "h1".into(), ..topology.nodes[1].clone() });
        topology.add_host("a b", 1);
        topology.add_switch("big", 255);
        topology.nodes[3].description = "d".repeat(65);
        topology.nodes[0].guid = Guid::ZERO;
        let host = topology.add_host("h3", 2);
        topology.nodes[host.0].end_ports[1].guid = topology.nodes[host.0].end_ports[0].guid;
        refused(
            &topology,
            &[
                "there are two nodes named `h1`: give one of them another name",
                "`a b` cannot be a name: use 1 to 63 letters, digits, `.`, `_` and `-`, starting with a letter or digit",
                "the description of a b has 65 bytes: shorten it to 64",
                "big has 255 ports: write 1 to 254",
                "sw1 has the GUID 0: leave the GUID out to have one assigned",
                "h1 has the GUID 0x0269620200000100 of h1: each needs its own",
                "h1:1 has the GUID 0x0269620200000101 of h1:1: each needs its own",
                "h3:2 has the GUID 0x0269620200000401 of h3:1: each needs its own",
            ],
        );
    }

    #[test]
    fn a_port_may_have_the_guid_of_its_node() {
        let (mut topology, sw1, h1) = two();
        topology.connect((sw1, 1), (h1, 1));
        topology.nodes[h1.0].end_ports[0].guid = topology.nodes[h1.0].guid;
        assert_eq!(topology.validate(), Ok(Vec::new()));
    }

    #[test]
    fn loose_ends_are_warnings() {
        let (mut topology, sw1, h1) = two();
        topology.connect((sw1, 1), (h1, 1));
        let (sw2, sw3) = (topology.add_switch("sw2", 8), topology.add_switch("sw3", 8));
        topology.connect((sw2, 1), (sw3, 1));
        topology.connect((sw2, 2), (sw2, 3));
        topology.add_host("h2", 1);
        let warnings: Vec<String> = topology.validate().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "h2 has no link",
                "the fabric is in 2 parts that no link joins: each needs its own subnet manager",
                "the link from sw2:2 to sw2:3 stays on one node",
            ]
        );
    }

    #[test]
    fn nothing_is_no_topology() {
        refused(&Topology::new(), &["there are no nodes: name at least one switch or host"]);
    }
}
