//! The whole fabric as plain data, for people and tests.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

/// Everything there is to see. Field by field as the names say; counters since the fabric was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FabricSnapshot {
    /// Switches and channel adapters.
    pub nodes: Vec<NodeSnapshot>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeSnapshot {
    /// Name in the topology.
    pub name: String,
}
