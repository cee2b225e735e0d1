//! What a node is. IBA 1 §14.2.5.2, §14.2.5.3.

use alloc::string::String;

use crate::{
    addr::{Guid, PortNum},
    layout::{layout, open_enum},
};

layout! {
    /// What a node is, as seen through the port that was asked.
    pub struct NodeInfo[40] {
        /// MAD base version, 1.
        base_version: u8 = 0, 8;
        /// SM class version, 1.
        class_version: u8 = 8, 8;
        /// Channel adapter, switch or router.
        node_type: NodeType = 16, 8;
        /// Physical ports; a switch does not count port 0.
        num_ports: u8 = 24, 8;
        /// Of the box the node is in.
        system_image_guid: Guid = 32, 64;
        /// Of the node.
        node_guid: Guid = 96, 64;
        /// Of the port that was asked; a switch has only port 0's.
        port_guid: Guid = 160, 64;
        /// P_Key table size, entries.
        partition_cap: u16 = 224, 16;
        /// Device number of the vendor.
        device_id: u16 = 240, 16;
        /// Device revision.
        revision: u32 = 256, 32;
        /// The port by which the request came in.
        local_port: PortNum = 288, 8;
        /// Vendor number, an OUI.
        vendor_id: u32 = 296, 24;
    }
}

open_enum! {
    /// Kind of node.
    pub struct NodeType(u8) {
        /// Channel adapter.
        CA = 1;
        /// Switch.
        SWITCH = 2;
        /// Router.
        ROUTER = 3;
    }
}

/// 64 bytes of text that name a node, UTF-8, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeDescription(pub [u8; 64]);

impl NodeDescription {
    /// From text; what is beyond 64 bytes is cut off at a character.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 64];
        let mut end = text.len().min(64);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Self(bytes)
    }

    /// The text up to the first zero; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(64);
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

impl core::fmt::Debug for NodeDescription {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NodeDescription({:?})", self.text())
    }
}

crate::layout::via! { NodeDescription: [u8; 64] = NodeDescription, |v| v.0; }
