//! Multicast forwarding: one tree for each multicast LID, over the switches that have members.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{graph::Graph, order::Order};
use crate::subnet::PortMask;

/// Trees over all switches that groups are cut from; made when first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trees {
    tops: Vec<usize>,
    parents: BTreeMap<usize, Vec<Option<Parent>>>,
}

/// The cable from a switch to the one above it in a tree.
#[derive(Clone, Copy, Debug)]
struct Parent {
    switch: usize,
    /// The switch's port that leads up.
    up: PortNum,
    /// The upper switch's port that leads down.
    down: PortNum,
}

/// A member as the tree sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The switch it hangs on.
    pub(crate) switch: usize,
    /// The switch's port that leads to it; 0 for the switch itself.
    pub(crate) port: PortNum,
    /// It gets packets, and does not only send.
    pub(crate) receives: bool,
}

impl Trees {
    /// Trees with their roots at the top of the order.
    pub(crate) fn new(order: &Order) -> Self {
        Self { tops: order.tops().collect(), parents: BTreeMap::new() }
    }

    /// The port masks of all switches, none for those outside the tree of group number `number`. Groups are dealt out
    /// to the roots.
    pub(crate) fn masks(
        &mut self,
        graph: &Graph,
        number: usize,
        members: &[Member],
    ) -> Vec<Option<PortMask>> {
        let mut masks: Vec<Option<PortMask>> = vec![None; graph.len()];
        if self.tops.is_empty() {
            return masks;
        }
        let root = self.tops[number % self.tops.len()];
        let parents = self.parents.entry(root).or_insert_with(|| span(graph, root));
        for member in members {
            let mask = masks[member.switch].get_or_insert_default();
            if member.receives {
                mask.insert(member.port);
            }
        }
        let mut children: Vec<u32> = vec![0; graph.len()];
        let mut joined: Vec<bool> = vec![false; graph.len()];
        for member in members {
            let mut at = member.switch;
            while !core::mem::replace(&mut joined[at], true) {
                let Some(parent) = parents[at] else { break };
                masks[at].get_or_insert_default().insert(parent.up);
                masks[parent.switch].get_or_insert_default().insert(parent.down);
                children[parent.switch] += 1;
                at = parent.switch;
            }
        }
        trim(&mut masks, parents, &children, members, root);
        masks
    }
}

/// Cuts off the stem: switches from the root down that join nothing.
fn trim(
    masks: &mut [Option<PortMask>],
    parents: &[Option<Parent>],
    children: &[u32],
    members: &[Member],
    root: usize,
) {
    let mut at = root;
    while children[at] == 1 && members.iter().all(|member| member.switch != at) {
        let below = |(_, parent): &(usize, &Option<Parent>)| parent.is_some_and(|parent| parent.switch == at);
        let on_tree = |(child, _): &(usize, &Option<Parent>)| masks[*child].is_some();
        let Some((child, Some(parent))) = parents.iter().enumerate().filter(below).find(on_tree) else {
            return;
        };
        let up = parent.up;
        masks[at] = None;
        if let Some(mask) = &mut masks[child] {
            mask.remove(up);
        }
        at = child;
    }
}

/// Shortest ways from a root to all switches; each further piece of the graph gets a root of its own.
fn span(graph: &Graph, root: usize) -> Vec<Option<Parent>> {
    let mut parents: Vec<Option<Parent>> = vec![None; graph.len()];
    let mut seen = vec![false; graph.len()];
    for start in core::iter::once(root).chain(0..graph.len()) {
        if core::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut queue = vec![start];
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            for edge in graph.edges(at) {
                let to = edge.to as usize;
                if !core::mem::replace(&mut seen[to], true) {
                    parents[to] = Some(Parent { switch: at, up: edge.far, down: edge.port });
                    queue.push(to);
                }
            }
        }
    }
    parents
}
