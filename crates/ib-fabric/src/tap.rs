//! Capture taps.

use crate::id::{LinkId, NodeId};

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
