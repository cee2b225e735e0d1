//! Which way is up: an order of the switches that makes every legal path climb first and then descend.
//!
//! A link leads up to the switch that comes earlier. A packet that has gone down never goes up again, so no set of
//! packets can wait for each other in a circle. Any order is free of deadlock; a good one has the spines of a tree
//! at the front, and every pair of hosts must have a legal path.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use super::graph::Graph;

/// An order of the switches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Place of each switch; lower is up.
    place: Vec<u32>,
    /// The switches by place.
    by_place: Vec<u32>,
    /// How high each switch stands over those with hosts; 0 at the bottom.
    height: Vec<u32>,
}

impl Order {
    /// Hosts are at the bottom: the farther from switches with hosts, the higher. Switches with fewer than
    /// `least` hosts count as having none. Good for trees; elsewhere some pairs may have no path.
    pub(crate) fn from_hosts(graph: &Graph, least: usize) -> Self {
        let bottom = (0..graph.len()).filter(|switch| graph.hosts(*switch) >= least.max(1));
        let mut height = graph.steps_from(bottom);
        for unreached in height.iter_mut().filter(|height| **height == u32::MAX) {
            *unreached = 0;
        }
        Self::by_height(graph, height)
    }

    /// One switch on top of each piece of the graph, the others by their distance from it: every pair in the piece
    /// has a path.
    pub(crate) fn from_roots(graph: &Graph) -> Self {
        let roots = central(graph);
        // An edge that leads one way only - a switch that lies about where it was entered - reaches nobody.
        let reached = |depth: u32| if depth == u32::MAX { 0 } else { depth };
        let depth: Vec<u32> = graph.steps_from(roots.into_iter()).into_iter().map(reached).collect();
        let deepest = depth.iter().copied().max().unwrap_or(0);
        Self::by_height(graph, depth.into_iter().map(|depth| deepest - depth).collect())
    }

    /// Of equal height, the switch with more cables to higher ones goes first, so that a spine with a host on it
    /// stays below the leaves rather than between them.
    fn by_height(graph: &Graph, height: Vec<u32>) -> Self {
        let climbs = |switch: u32| {
            let own = height[switch as usize];
            graph.edges(switch as usize).iter().filter(|edge| height[edge.to as usize] > own).count()
        };
        let mut by_place: Vec<u32> = (0u32..).take(graph.len()).collect();
        by_place.sort_by_cached_key(|switch| {
            (Reverse(height[*switch as usize]), Reverse(climbs(*switch)), *switch)
        });
        let mut place = vec![0; graph.len()];
        for (at, switch) in (0u32..).zip(&by_place) {
            place[*switch as usize] = at;
        }
        Self { place, by_place, height }
    }

    /// Place of a switch; a link to a lower place leads up.
    pub(crate) fn place(&self, switch: usize) -> u32 {
        self.place[switch]
    }

    /// The switches, highest first.
    pub(crate) fn downwards(&self) -> &[u32] {
        &self.by_place
    }

    /// How high a switch stands.
    pub(crate) fn height(&self, switch: usize) -> usize {
        self.height[switch] as usize
    }

    /// The switches of the greatest height.
    pub(crate) fn tops(&self) -> impl Iterator<Item = usize> + '_ {
        let highest = self.height.iter().copied().max().unwrap_or(0);
        (0..self.height.len()).filter(move |switch| self.height[*switch] == highest)
    }
}

/// A switch in the middle of each piece: the last one met from one end of the longest way, half-way back.
fn central(graph: &Graph) -> Vec<usize> {
    let mut roots = Vec::new();
    let mut seen = vec![false; graph.len()];
    for start in 0..graph.len() {
        if seen[start] {
            continue;
        }
        let from_start = graph.steps_from(core::iter::once(start));
        let piece: Vec<usize> = (0..graph.len()).filter(|switch| from_start[*switch] != u32::MAX).collect();
        for &switch in &piece {
            seen[switch] = true;
        }
        let farthest =
            |steps: &[u32]| piece.iter().copied().max_by_key(|s| (steps[*s], Reverse(*s))).unwrap_or(start);
        let one_end = graph.steps_from(core::iter::once(farthest(&from_start)));
        let other_end = graph.steps_from(core::iter::once(farthest(&one_end)));
        let middle = |switch: &usize| {
            (one_end[*switch].max(other_end[*switch]), Reverse(graph.edges(*switch).len()), *switch)
        };
        roots.extend(piece.iter().copied().min_by_key(middle));
    }
    roots
}
