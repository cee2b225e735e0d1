//! The structures that libibumad's functions fill, as `infiniband/umad.h` lays them out.

use std::{
    ffi::{c_char, c_int, c_uint},
    ptr,
};

use crate::protocol;

/// Bytes of a device's name with the NUL at its end.
pub const NAME: usize = 20;

/// Ports of a [`Ca`], port 0 included.
pub const MAX_PORTS: usize = 10;

/// `umad_port_t`: a port.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Port {
    /// The adapter.
    pub ca_name: [c_char; NAME],
    /// Number.
    pub portnum: c_int,
    /// LID.
    pub base_lid: c_uint,
    /// LID mask control.
    pub lmc: c_uint,
    /// LID of the master SM.
    pub sm_lid: c_uint,
    /// Service level to it.
    pub sm_sl: c_uint,
    /// PortState by IBA.
    pub state: c_uint,
    /// PortPhysicalState by IBA.
    pub phys_state: c_uint,
    /// Gb/s.
    pub rate: c_uint,
    /// CapabilityMask, in network order.
    pub capmask: u32,
    /// Upper half of GID 0, in network order.
    pub gid_prefix: u64,
    /// Port GUID, in network order.
    pub port_guid: u64,
    /// Places of the partition table.
    pub pkeys_size: c_uint,
    /// The partition table, allocated by `calloc`.
    pub pkeys: *mut u16,
    /// What is below: InfiniBand.
    pub link_layer: [c_char; NAME],
}

/// `umad_ca_t`: an adapter.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Ca {
    /// Name.
    pub ca_name: [c_char; NAME],
    /// Node type by IBA.
    pub node_type: c_uint,
    /// The highest port number.
    pub numports: c_int,
    /// Firmware version.
    pub fw_ver: [c_char; 20],
    /// Model.
    pub ca_type: [c_char; 40],
    /// Hardware revision.
    pub hw_ver: [c_char; 20],
    /// Node GUID, in network order.
    pub node_guid: u64,
    /// System image GUID, in network order.
    pub system_guid: u64,
    /// Ports by number, each allocated by `calloc`.
    pub ports: [*mut Port; MAX_PORTS],
}

/// `struct umad_device_node`: a name in a list.
#[derive(Debug)]
#[repr(C)]
pub struct DeviceNode {
    /// The next.
    pub next: *mut Self,
    /// The name, in the same allocation.
    pub ca_name: *const c_char,
}

/// `struct umad_reg_attr`: what an agent wants.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RegAttr {
    /// Management class.
    pub mgmt_class: u8,
    /// Its version.
    pub mgmt_class_version: u8,
    /// [`USER_RMPP`] or nothing.
    pub flags: u32,
    /// Methods it takes unasked: bit `n % 64` of word `n / 64`.
    pub method_mask: [u64; 2],
    /// Vendor, for classes 0x30 to 0x4f.
    pub oui: u32,
    /// Version of RMPP.
    pub rmpp_version: u8,
}

/// Flag of a [`RegAttr`]: the program speaks RMPP itself.
pub const USER_RMPP: u32 = 1;

/// `struct umad_ca_pair`: where to send SMPs, and where other MADs.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CaPair {
    /// The adapter for SMPs.
    pub smi_name: [c_char; NAME],
    /// Its port.
    pub smi_preferred_port: u32,
    /// The adapter for the others.
    pub gsi_name: [c_char; NAME],
    /// Its port.
    pub gsi_preferred_port: u32,
}

/// `ib_mad_addr_t` is 44 bytes in a program's buffer, after these.
pub(crate) const ADDRESS: usize = 20;

impl Port {
    /// What the lab says of a port, but without room for its P_Keys.
    pub(crate) fn new(device: &str, port: &protocol::Port) -> Self {
        Self {
            ca_name: text(device),
            portnum: port.number.into(),
            base_lid: port.lid.into(),
            lmc: port.lmc.into(),
            sm_lid: port.sm_lid.into(),
            sm_sl: port.sm_sl.into(),
            state: port.state.into(),
            phys_state: port.physical_state.into(),
            rate: port.rate,
            capmask: port.capabilities.to_be(),
            gid_prefix: port.prefix.to_be(),
            port_guid: port.guid.to_be(),
            pkeys_size: 0,
            pkeys: ptr::null_mut(),
            link_layer: text("InfiniBand"),
        }
    }
}

impl Ca {
    /// What the lab says of an adapter, but without its ports.
    pub(crate) fn new(device: &protocol::Device) -> Self {
        Self {
            ca_name: text(&device.name),
            node_type: device.node_type.into(),
            numports: 0,
            fw_ver: text(&device.firmware),
            ca_type: text(&device.model),
            hw_ver: text(&device.hardware),
            node_guid: device.node_guid.to_be(),
            system_guid: device.system_guid.to_be(),
            ports: [ptr::null_mut(); MAX_PORTS],
        }
    }
}

impl CaPair {
    /// Every port of ours takes SMPs and other MADs.
    pub(crate) fn new(device: &str, port: u32) -> Self {
        let name = text(device);
        Self { smi_name: name, smi_preferred_port: port, gsi_name: name, gsi_preferred_port: port }
    }
}

/// A string with at least one NUL at its end, cut if it is too long.
pub(crate) fn text<const N: usize>(text: &str) -> [c_char; N] {
    let mut room = [0; N];
    for (to, from) in room.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    room
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    // The numbers are what a C compiler makes of the header on a 64-bit machine.

    #[test]
    fn a_port_is_laid_out_as_in_c() {
        assert_eq!(offset_of!(Port, portnum), 20);
        assert_eq!(offset_of!(Port, base_lid), 24);
        assert_eq!(offset_of!(Port, lmc), 28);
        assert_eq!(offset_of!(Port, sm_lid), 32);
        assert_eq!(offset_of!(Port, sm_sl), 36);
        assert_eq!(offset_of!(Port, state), 40);
        assert_eq!(offset_of!(Port, phys_state), 44);
        assert_eq!(offset_of!(Port, rate), 48);
        assert_eq!(offset_of!(Port, capmask), 52);
        assert_eq!(offset_of!(Port, gid_prefix), 56);
        assert_eq!(offset_of!(Port, port_guid), 64);
        assert_eq!(offset_of!(Port, pkeys_size), 72);
        assert_eq!(offset_of!(Port, pkeys), 80);
        assert_eq!(offset_of!(Port, link_layer), 88);
        assert_eq!(size_of::<Port>(), 112);
    }

    #[test]
    fn an_adapter_is_laid_out_as_in_c() {
        assert_eq!(offset_of!(Ca, node_type), 20);
        assert_eq!(offset_of!(Ca, numports), 24);
        assert_eq!(offset_of!(Ca, fw_ver), 28);
        assert_eq!(offset_of!(Ca, ca_type), 48);
        assert_eq!(offset_of!(Ca, hw_ver), 88);
        assert_eq!(offset_of!(Ca, node_guid), 112);
        assert_eq!(offset_of!(Ca, system_guid), 120);
        assert_eq!(offset_of!(Ca, ports), 128);
        assert_eq!(size_of::<Ca>(), 208);
    }

    #[test]
    fn the_small_ones_are_laid_out_as_in_c() {
        assert_eq!(offset_of!(DeviceNode, ca_name), 8);
        assert_eq!(size_of::<DeviceNode>(), 16);
        assert_eq!(offset_of!(RegAttr, mgmt_class_version), 1);
        assert_eq!(offset_of!(RegAttr, flags), 4);
        assert_eq!(offset_of!(RegAttr, method_mask), 8);
        assert_eq!(offset_of!(RegAttr, oui), 24);
        assert_eq!(offset_of!(RegAttr, rmpp_version), 28);
        assert_eq!(size_of::<RegAttr>(), 32);
        assert_eq!(offset_of!(CaPair, smi_preferred_port), 20);
        assert_eq!(offset_of!(CaPair, gsi_name), 24);
        assert_eq!(offset_of!(CaPair, gsi_preferred_port), 44);
        assert_eq!(size_of::<CaPair>(), 48);
    }

    #[test]
    fn a_string_that_is_too_long_is_cut_before_the_nul() {
        assert_eq!(text::<4>("ab"), [97, 98, 0, 0]);
        assert_eq!(text::<4>("abcdef"), [97, 98, 99, 0]);
    }
}
