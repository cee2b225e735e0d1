//! GUIDs for nodes whose file gives none.
//!
//! They are EUI-64 with the "locally administered" bit, so that no real device has one, and readable:
//! ```text
//! 02 69 62 | kind | number (3 bytes) | port        0269:6202:0000:0301 is port 1 of the third host
//!     i  b   1 switch, 2 host, 3 router, 4 host made by `hosts = N` of a switch
//! ```
//! The number counts the nodes of that kind in file order from 1, so appending to a file changes no GUID. Of several
//! fabrics that are joined each has a number of its own, which replaces the first byte of that of the node.
//! Port byte 0 is the node's own GUID, which is also that of a switch's port 0.

use ib_wire::addr::{Guid, PortNum};

use super::model::{NodeKind, Topology};

/// The first three bytes of every GUID assigned here, which is also the vendor identifier shown.
pub const GUID_PREFIX: u32 = 0x02_69_62;

/// Kind byte of the hosts that a switch's `hosts = N` makes.
pub(super) const BULK_HOST: u8 = 4;

/// The node GUID of the `number`th node of its kind, from 1. Keeps the low 24 bits of `number`.
pub fn assigned_node_guid(kind: NodeKind, number: u32) -> Guid {
    of_kind(kind_byte(kind), number)
}

/// The GUID of a port of a node whose own GUID is `node`, unless its file says otherwise: for a GUID assigned
/// here the port number in the last byte, for any other the port number added.
pub fn assigned_port_guid(node: Guid, port: PortNum) -> Guid {
    Guid(node.0.wrapping_add(u64::from(port.0)))
}

pub(super) fn of_kind(kind: u8, number: u32) -> Guid {
    Guid(u64::from(GUID_PREFIX) << 40 | u64::from(kind) << 32 | u64::from(number & 0xff_ffff) << 8)
}

impl Topology {
    /// Makes this fabric one of several that are joined: `fabric` goes into every GUID that was assigned here, and no
    /// other. Twice, the last one counts.
    pub fn set_fabric_number(&mut self, fabric: u8) {
        self.fabric = fabric;
        for node in &mut self.nodes {
            let ports = node.end_ports.iter_mut().map(|port| &mut port.guid);
            for guid in ports.chain([&mut node.guid, &mut node.system_guid]) {
                *guid = numbered(*guid, fabric);
            }
        }
    }
}

/// The GUID as that fabric has it, if it was assigned here.
pub(super) const fn numbered(guid: Guid, fabric: u8) -> Guid {
    if guid.0 >> 40 == GUID_PREFIX as u64 {
        Guid(guid.0 & !(0xff << 24) | (fabric as u64) << 24)
    } else {
        guid
    }
}

const fn kind_byte(kind: NodeKind) -> u8 {
    match kind {
        NodeKind::Switch => 1,
        NodeKind::Hca => 2,
        NodeKind::Router => 3,
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_guid_tells_kind_number_and_port() {
        let node = assigned_node_guid(NodeKind::Hca, 3);
        assert_eq!(node.to_string(), "0269:6202:0000:0300");
        assert_eq!(assigned_port_guid(node, PortNum(1)).to_string(), "0269:6202:0000:0301");
    }

    #[test]
    fn fabrics_of_different_numbers_share_no_guid() {
        let mut topology = Topology::new();
        topology.add_switch("sw1", 4);
        topology.add_host("h1", 1);
        topology.nodes[1].system_guid = Guid(7);
        topology.set_fabric_number(0x2a);
        let [switch, host] = &topology.nodes[..] else { panic!("two nodes") };
        assert_eq!(switch.guid.to_string(), "0269:6201:2a00:0100");
        assert_eq!(host.end_ports[0].guid.to_string(), "0269:6202:2a00:0101");
        assert_eq!(host.system_guid, Guid(7), "that was not assigned here");
    }
}
