//! Where packets go: forwarding tables computed from the model.
//!
//! The algorithms work on numbered switches alone ([`graph`]); this file translates from the model and back. Unicast
//! is up*/down* routing with shortest paths, which is minimal and balanced on fat trees and free of deadlock on
//! any graph; multicast has one tree for each LID.

mod graph;
mod multicast;
mod order;
mod ranked;
mod unicast;

#[cfg(test)]
mod tests;

use alloc::{collections::BTreeSet, vec, vec::Vec};

use ib_wire::addr::{MulticastLid, PortNum};

use self::{
    graph::{Edge, Graph, Leaf},
    multicast::{Member, Trees},
    unicast::{Tables, Unicast},
};
use crate::{
    demand::GroupMember,
    subnet::{NodeId, PortId, Subnet},
};

/// The routes of a subnet as it was when they were computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    graph: Graph,
    switches: Vec<NodeId>,
    numbers: Numbers,
    unicast: Unicast,
    trees: Trees,
}

/// The number of each switch, by its place in the model.
#[derive(Clone, Debug, Default)]
struct Numbers(Vec<Option<usize>>);

impl Numbers {
    fn of(switches: &[NodeId]) -> Self {
        let mut numbers = vec![None; switches.iter().map(|id| id.index() + 1).max().unwrap_or(0)];
        switches.iter().enumerate().for_each(|(number, id)| numbers[id.index()] = Some(number));
        Self(numbers)
    }

    fn get(&self, id: NodeId) -> Option<usize> {
        self.0.get(id.index()).copied().flatten()
    }
}

impl Routes {
    /// Computes the unicast tables and hands them to the switches of the model. What is still right is kept, unless it
    /// is to be made `afresh`.
    pub(crate) fn compute(&mut self, subnet: &mut Subnet, afresh: bool) {
        let switches: Vec<NodeId> = subnet.switches().map(|(id, _)| id).collect();
        let numbers = Numbers::of(&switches);
        let graph = self.translate(subnet, &switches, &numbers);
        let mut tables = Tables::new();
        if !afresh && switches == self.switches {
            let table =
                |id: &NodeId| subnet.switch_mut(*id).map(|switch| switch.lft.take()).unwrap_or_default();
            tables = switches.iter().map(table).collect();
        }
        if !self.unicast.update(&self.graph, &graph, &mut tables) {
            (self.unicast, tables) = Unicast::new(&graph);
        }
        for (id, table) in switches.iter().zip(tables) {
            if let Some(switch) = subnet.switch_mut(*id) {
                switch.lft.want(table);
            }
        }
        self.trees = Trees::new(self.unicast.order());
        (self.graph, self.switches, self.numbers) = (graph, switches, numbers);
    }

    /// Lays the tree of a group; the switches that have to be written.
    pub(crate) fn lay_tree(
        &mut self,
        subnet: &mut Subnet,
        mlid: MulticastLid,
        members: &[GroupMember],
    ) -> Vec<NodeId> {
        let members: Vec<Member> = members.iter().filter_map(|member| self.member(subnet, member)).collect();
        let masks = self.trees.masks(&self.graph, mlid.index(), &members);
        let mut changed = Vec::new();
        for (id, mask) in self.switches.iter().zip(masks) {
            let mask = mask.unwrap_or_default();
            if subnet.switch_mut(*id).is_some_and(|switch| switch.mft.want(mlid, mask)) {
                changed.push(*id);
            }
        }
        changed
    }

    fn member(&self, subnet: &Subnet, member: &GroupMember) -> Option<Member> {
        let port = subnet.switch_port(member.port)?;
        let switch = self.numbers.get(port.node)?;
        Some(Member { switch, port: port.num, receives: member.receives })
    }

    fn translate(&self, subnet: &Subnet, switches: &[NodeId], numbers: &Numbers) -> Graph {
        let mut edges = vec![Vec::new(); switches.len()];
        let mut leaves = vec![Vec::new(); switches.len()];
        let mut lids = BTreeSet::new();
        for (number, id) in switches.iter().enumerate() {
            for (num, port) in subnet.node(*id).physical_ports() {
                let Some(peer) = port.peer else { continue };
                if let Some(to) = numbers.get(peer.node).and_then(|to| u32::try_from(to).ok()) {
                    if peer.node != *id {
                        edges[number].push(Edge { to, port: num, far: peer.num });
                    }
                } else {
                    leaves[number].extend(leaf(subnet, peer, num));
                }
            }
            let own = PortId { node: *id, num: PortNum::MANAGEMENT };
            leaves[number].extend(leaf(subnet, own, PortNum::MANAGEMENT));
            lids.extend(leaves[number].iter().map(|leaf: &Leaf| leaf.lid));
        }
        // An end port that is away keeps its place, so that what leads to all others stays as it is.
        for (number, id) in switches.iter().enumerate() {
            let before = self.numbers.get(*id).map_or(&[][..], |before| self.graph.leaves(before));
            let is_free = |port: PortNum| subnet.node(*id).port(port).is_some_and(|port| port.peer.is_none());
            let away = before.iter().filter(|leaf| leaf.port != PortNum::MANAGEMENT && is_free(leaf.port));
            leaves[number].extend(away.filter(|leaf| !lids.contains(&leaf.lid)));
            leaves[number].sort_unstable_by_key(|leaf| (leaf.port == PortNum::MANAGEMENT, leaf.port));
        }
        Graph::new(edges, leaves)
    }
}

fn leaf(subnet: &Subnet, end: PortId, port: PortNum) -> Option<Leaf> {
    let end = subnet.port(end)?;
    let lid = end.lid.unicast()?;
    Some(Leaf { lid: lid.get(), lids: 1 << (end.lmc().0 & 7), port })
}
