//! Capture taps.

use alloc::vec::Vec;

use crate::{
    id::{LinkId, NodeId, TapId},
    link::Link,
    node::Node,
};

/// Which packets a tap sees: each once for every link it crosses that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapFilter {
    /// All links.
    All,
    /// One link.
    Link(LinkId),
    /// The links of one node.
    Node(NodeId),
}

/// The taps of a fabric.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    taps: Vec<(TapId, TapFilter)>,
    last: u32,
}

impl Taps {
    /// Adds a tap.
    pub(crate) fn add(&mut self, filter: TapFilter) -> TapId {
        self.last += 1;
        let tap = TapId(self.last);
        self.taps.push((tap, filter));
        tap
    }

    /// Removes a tap; no matter if there is none.
    pub(crate) fn remove(&mut self, tap: TapId) {
        self.taps.retain(|(id, _)| *id != tap);
    }

    /// The taps that look at a link.
    pub(crate) fn at(&self, link: usize, ends: [usize; 2], nodes: &[Node]) -> impl Iterator<Item = TapId> {
        let is_at = move |filter: &TapFilter| match filter {
            TapFilter::All => true,
            TapFilter::Link(id) => id.index() == link,
            TapFilter::Node(id) => {
                nodes.get(id.index()).is_some_and(|node| ends.iter().any(|port| node.ports.contains(port)))
            }
        };
        self.taps.iter().filter(move |(_, filter)| is_at(filter)).map(|(id, _)| *id)
    }

    /// Tells every link whether a tap looks at it.
    pub(crate) fn mark(&self, links: &mut [Link], nodes: &[Node]) {
        for (index, link) in links.iter_mut().enumerate() {
            link.tapped = self.at(index, link.ends, nodes).next().is_some();
        }
    }
}
