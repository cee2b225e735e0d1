//! The switches and their cables as arrays, for walking fast.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

/// A cable between switches, as one of its ends sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The switch at the far end.
    pub(crate) to: u32,
    /// The port at the near end.
    pub(crate) port: PortNum,
    /// The port at the far end.
    pub(crate) far: PortNum,
}

/// An end port that hangs on a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// First LID.
    pub(crate) lid: u16,
    /// How many LIDs from there.
    pub(crate) lids: u16,
    /// The switch's port that leads there, 0 for the switch itself.
    pub(crate) port: PortNum,
}

/// Switches `0..len`, the cables between them and the end ports on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    first: Vec<u32>,
    edges: Vec<Edge>,
    leaves: Vec<Vec<Leaf>>,
}

impl Graph {
    /// `edges` by switch, `leaves` by switch.
    pub(crate) fn new(mut edges: Vec<Vec<Edge>>, leaves: Vec<Vec<Leaf>>) -> Self {
        let mut first = vec![0];
        let mut flat = Vec::with_capacity(edges.iter().map(Vec::len).sum());
        for own in &mut edges {
            own.sort_unstable();
            flat.append(own);
            first.push(u32::try_from(flat.len()).expect("fewer cables than 2^32"));
        }
        Self { first, edges: flat, leaves }
    }

    /// Number of switches.
    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The cables of a switch, those to the same neighbour side by side.
    pub(crate) fn edges(&self, switch: usize) -> &[Edge] {
        &self.edges[self.first[switch] as usize..self.first[switch + 1] as usize]
    }

    /// The end ports of a switch, itself among them.
    pub(crate) fn leaves(&self, switch: usize) -> &[Leaf] {
        &self.leaves[switch]
    }

    /// End ports that are not the switch itself.
    pub(crate) fn hosts(&self, switch: usize) -> usize {
        self.leaves[switch].iter().filter(|leaf| leaf.port != PortNum::MANAGEMENT).count()
    }

    /// True if the switches are as many and have the same end ports.
    pub(crate) fn has_leaves_of(&self, other: &Self) -> bool {
        self.leaves == other.leaves
    }

    /// One more than the highest LID.
    pub(crate) fn lid_limit(&self) -> usize {
        let ends = self.leaves.iter().flatten().map(|leaf| usize::from(leaf.lid) + usize::from(leaf.lids));
        ends.max().unwrap_or(0)
    }

    /// Steps from the nearest of `sources` to each switch, `u32::MAX` where none leads.
    pub(crate) fn steps_from(&self, sources: impl Iterator<Item = usize>) -> Vec<u32> {
        let mut steps = vec![u32::MAX; self.len()];
        let mut queue: Vec<usize> = Vec::with_capacity(self.len());
        for source in sources {
            if core::mem::replace(&mut steps[source], 0) != 0 {
                queue.push(source);
            }
        }
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            for edge in self.edges(at) {
                let to = edge.to as usize;
                if steps[to] == u32::MAX {
                    steps[to] = steps[at] + 1;
                    queue.push(to);
                }
            }
        }
        steps
    }
}
