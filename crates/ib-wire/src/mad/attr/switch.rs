//! What a switch is. IBA 1 §14.2.5.4.

use crate::{
    addr::{Lid, PortNum, Timeout},
    layout::layout,
};

layout! {
    /// Capacities and settings of a switch.
    pub struct SwitchInfo[20] {
        /// Entries of the linear forwarding table.
        linear_fdb_cap: u16 = 0, 16;
        /// Entries of the random forwarding table.
        random_fdb_cap: u16 = 16, 16;
        /// Entries of the multicast forwarding table.
        multicast_fdb_cap: u16 = 32, 16;
        /// Highest LID that is forwarded.
        linear_fdb_top: Lid = 48, 16;
        /// Port for LIDs beyond the random table.
        default_port: PortNum = 64, 8;
        /// Port for multicast without entry, arriving elsewhere.
        default_multicast_primary_port: PortNum = 72, 8;
        /// Port for multicast without entry, arriving at the primary.
        default_multicast_not_primary_port: PortNum = 80, 8;
        /// Time a packet may stay in the switch.
        life_time: Timeout = 88, 5;
        /// A port changed its state; writing 1 clears it.
        port_state_change: bool = 93, 1;
        /// Optimized SL-to-VL programming.
        optimized_sl_to_vl: u8 = 94, 2;
        /// LIDs a port may have with the random table.
        lids_per_port: u16 = 96, 16;
        /// Entries of the partition table of external ports.
        partition_enforcement_cap: u16 = 112, 16;
        /// Can check P_Keys coming in.
        inbound_enforcement_cap: bool = 128, 1;
        /// Can check P_Keys going out.
        outbound_enforcement_cap: bool = 129, 1;
        /// Can drop raw packets coming in.
        filter_raw_inbound_cap: bool = 130, 1;
        /// Can drop raw packets going out.
        filter_raw_outbound_cap: bool = 131, 1;
        /// Port 0 is as able as an HCA's port.
        enhanced_port0: bool = 132, 1;
        /// Highest multicast LID that is forwarded.
        multicast_fdb_top: Lid = 144, 16;
    }
}
