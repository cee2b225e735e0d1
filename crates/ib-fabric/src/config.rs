//! What the emulated devices are like, as far as the topology does not say.

use core::time::Duration;

use ib_wire::addr::Mtu;

/// Sizes of tables and queues, and times, alike in all devices of a fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FabricConfig {
    /// Entries of a switch's linear forwarding table, at most 49152. Memory is taken only for blocks written.
    pub linear_fdb_cap: u16,
    /// Multicast LIDs a switch forwards, at most 16383.
    pub multicast_fdb_cap: u16,
    /// Entries of the P_Key table of an end port.
    pub partition_cap: u16,
    /// Entries of the P_Key table of a switch's external port.
    pub partition_enforcement_cap: u16,
    /// Entries of the GUID table of an end port.
    pub guid_cap: u8,
    /// Lanes, coded as in PortInfo: 1 VL0, 2 VL0-1, 3 VL0-3, 4 VL0-7, 5 VL0-14.
    pub vl_cap: u8,
    /// Largest MTU of ports whose link says nothing.
    pub mtu_cap: Mtu,
    /// From two ports looking for each other to the link being up.
    pub training: Duration,
    /// Packets under way in one direction of a link that delays; what comes on top is dropped.
    pub link_queue: usize,
    /// Until a trap is sent again the first time; doubles from then on, up to 32 times as long.
    pub trap_interval: Duration,
    /// Traps a port keeps until they are repressed; what comes on top is not sent.
    pub trap_queue: usize,
}

impl Default for FabricConfig {
    fn default() -> Self {
        Self {
            linear_fdb_cap: 49152,
            multicast_fdb_cap: 1024,
            partition_cap: 128,
            partition_enforcement_cap: 128,
            guid_cap: 32,
            vl_cap: 4,
            mtu_cap: Mtu::B4096,
            training: Duration::ZERO,
            link_queue: 8192,
            trap_interval: Duration::from_secs(1),
            trap_queue: 32,
        }
    }
}
