//! What a port is and may become. IBA 1 §14.2.5.6.

use crate::{
    addr::{Lid, LinkSpeed, LinkWidth, Lmc, MKey, Mtu, PortNum, Rate, ServiceLevel, SubnetPrefix, Timeout},
    layout::{layout, open_enum, via},
};

layout! {
    /// What a port is and may become.
    pub struct PortInfo[64] {
        /// Management key.
        m_key: MKey = 0, 64;
        /// Upper half of the port's GIDs.
        gid_prefix: SubnetPrefix = 64, 64;
        /// Base LID.
        lid: Lid = 128, 16;
        /// Where the master SM is.
        master_sm_lid: Lid = 144, 16;
        /// What the port can do.
        capability_mask: CapabilityMask = 160, 32;
        /// Diagnostic code.
        diag_code: u16 = 192, 16;
        /// Seconds an M_Key stays.
        m_key_lease_period: u16 = 208, 16;
        /// The port by which the request came in.
        local_port: PortNum = 224, 8;
        /// Widths allowed.
        link_width_enabled: LinkWidth = 232, 8;
        /// Widths possible.
        link_width_supported: LinkWidth = 240, 8;
        /// Width in use.
        link_width_active: LinkWidth = 248, 8;
        /// Speeds possible (SDR, DDR, QDR bits).
        link_speed_supported: u8 = 256, 4;
        /// Logical state.
        state: PortState = 260, 4;
        /// Physical state.
        physical_state: PhysicalState = 264, 4;
        /// Where the link goes when it is taken down: 1 sleep, 2 polling.
        down_default_state: u8 = 268, 4;
        /// How far the M_Key protects.
        m_key_protect: u8 = 272, 2;
        /// LID mask control.
        lmc: Lmc = 277, 3;
        /// Speed in use (SDR, DDR, QDR bits).
        link_speed_active: u8 = 280, 4;
        /// Speeds allowed.
        link_speed_enabled: u8 = 284, 4;
        /// Largest payload to send.
        neighbor_mtu: Mtu = 288, 4;
        /// SL to the master SM.
        master_sm_sl: ServiceLevel = 292, 4;
        /// Lanes possible: 1 VL0, 2 VL0-1, 3 VL0-3, 4 VL0-7, 5 VL0-14.
        vl_cap: u8 = 296, 4;
        /// Asked of the SM at initialization.
        init_type: u8 = 300, 4;
        /// Bytes of high priority before a low one.
        vl_high_limit: u8 = 304, 8;
        /// Entries of the high-priority arbitration table.
        vl_arb_high_cap: u8 = 312, 8;
        /// Entries of the low-priority arbitration table.
        vl_arb_low_cap: u8 = 320, 8;
        /// Granted by the SM at initialization.
        init_type_reply: u8 = 328, 4;
        /// Largest payload possible.
        mtu_cap: Mtu = 332, 4;
        /// Packets dropped in a row before a lane stalls.
        vl_stall_count: u8 = 336, 3;
        /// Time at the head of a queue.
        hoq_life: u8 = 339, 5;
        /// Lanes in use, coded as `vl_cap`.
        operational_vls: u8 = 344, 4;
        /// Checks P_Keys of what comes in (switch ports).
        partition_enforcement_inbound: bool = 348, 1;
        /// Checks P_Keys of what goes out (switch ports).
        partition_enforcement_outbound: bool = 349, 1;
        /// Drops raw packets coming in.
        filter_raw_inbound: bool = 350, 1;
        /// Drops raw packets going out.
        filter_raw_outbound: bool = 351, 1;
        /// Requests refused for their M_Key.
        m_key_violations: u16 = 352, 16;
        /// Packets refused for their P_Key.
        p_key_violations: u16 = 368, 16;
        /// Packets refused for their Q_Key.
        q_key_violations: u16 = 384, 16;
        /// GUID table size, entries.
        guid_cap: u8 = 400, 8;
        /// Written by an SM: clients shall register again.
        client_reregister: bool = 408, 1;
        /// How P_Key traps of multicast are suppressed.
        multicast_pkey_trap_suppression: u8 = 409, 2;
        /// Longest time through the subnet.
        subnet_timeout: Timeout = 411, 5;
        /// Longest time to an answer.
        response_time: Timeout = 419, 5;
        /// Threshold of physical errors.
        local_phy_errors: u8 = 424, 4;
        /// Threshold of buffer overruns.
        overrun_errors: u8 = 428, 4;
        /// Credits hint.
        max_credit_hint: u16 = 432, 16;
        /// Round trip of the link, 4 ns units.
        link_round_trip_latency: u32 = 456, 24;
        /// What the port can do, continued.
        capability_mask2: u16 = 480, 16;
        /// Extended speed in use.
        link_speed_ext_active: u8 = 496, 4;
        /// Extended speeds possible.
        link_speed_ext_supported: u8 = 500, 4;
        /// Extended speeds allowed.
        link_speed_ext_enabled: u8 = 507, 5;
    }
}

open_enum! {
    /// Logical state of a port. IBA 1 §7.2.
    pub struct PortState(u8) {
        /// In a Set: leave it.
        NO_CHANGE = 0;
        /// No link.
        DOWN = 1;
        /// Link, only SMPs pass.
        INITIALIZE = 2;
        /// May receive data, may not send.
        ARMED = 3;
        /// Data passes.
        ACTIVE = 4;
    }

    /// Physical state of a port. IBA 1 §7.3 and volume 2.
    pub struct PhysicalState(u8) {
        /// In a Set: leave it.
        NO_CHANGE = 0;
        /// Sleeping.
        SLEEP = 1;
        /// Looking for a neighbour.
        POLLING = 2;
        /// Switched off.
        DISABLED = 3;
        /// Configuring with the neighbour.
        TRAINING = 4;
        /// Up.
        LINK_UP = 5;
        /// Recovering from an error.
        LINK_ERROR_RECOVERY = 6;
        /// Under test.
        PHY_TEST = 7;
    }
}

/// Bits of `capability_mask`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilityMask(pub u32);

impl CapabilityMask {
    /// A subnet manager runs behind this port.
    pub const IS_SM: Self = Self(1 << 1);
    /// Sends notices.
    pub const NOTICE: Self = Self(1 << 2);
    /// Sends traps.
    pub const TRAP: Self = Self(1 << 3);
    /// Has SL-to-VL tables.
    pub const SL_MAPPING: Self = Self(1 << 6);
    /// Has a system image GUID.
    pub const SYSTEM_IMAGE_GUID: Self = Self(1 << 11);
    /// P_Key switch external port traps.
    pub const PKEY_SWITCH_TRAP: Self = Self(1 << 12);
    /// Has extended speeds.
    pub const EXTENDED_SPEEDS: Self = Self(1 << 14);
    /// Has `capability_mask2`.
    pub const MASK2: Self = Self(1 << 15);
    /// Has a communication manager.
    pub const COMMUNICATION: Self = Self(1 << 16);
    /// Sends trap 144 when this mask changes.
    pub const MASK_NOTICE: Self = Self(1 << 22);
    /// Understands ClientReregister.
    pub const CLIENT_REREGISTER: Self = Self(1 << 25);
    /// Sends trap 144 when something else about the node changes, such as its description.
    pub const OTHER_CHANGES_NOTICE: Self = Self(1 << 26);
    /// Can keep quiet about P_Keys of multicast.
    pub const MULTICAST_PKEY_TRAP_SUPPRESSION: Self = Self(1 << 29);
    /// The switch has `multicast_fdb_top`.
    pub const MULTICAST_FDB_TOP: Self = Self(1 << 30);

    /// True if all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Bits of `capability_mask2`.
#[derive(Clone, Copy, Debug)]
pub struct CapabilityMask2;

impl CapabilityMask2 {
    /// An SM may write the node description.
    pub const SET_NODE_DESCRIPTION: u16 = 1;
    /// Has PortInfoExtended.
    pub const PORT_INFO_EXTENDED: u16 = 1 << 1;
    /// Knows the width 2x.
    pub const WIDTH_2X: u16 = 1 << 4;
    /// Knows the speed HDR.
    pub const HDR: u16 = 1 << 5;
    /// Knows the speed NDR.
    pub const NDR: u16 = 1 << 10;
}

via! { CapabilityMask: u32 = CapabilityMask, |v| v.0; }

impl PortInfo {
    /// Speed in use, from both speed fields.
    pub fn active_speed(&self) -> LinkSpeed {
        let by_ext = LinkSpeed::ALL
            .into_iter()
            .find(|s| s.ext_bit() != 0 && s.ext_bit() == self.link_speed_ext_active);
        let by_bit = LinkSpeed::ALL.into_iter().find(|s| s.speed_bit() == self.link_speed_active);
        by_ext.or(by_bit).unwrap_or(LinkSpeed::Sdr)
    }

    /// Rate of the link in use, as a path record would state it.
    pub fn active_rate(&self) -> Option<Rate> {
        let lanes = u32::from(self.link_width_active.lanes()?);
        Rate::at_most(lanes * self.active_speed().lane_mbps())
    }
}
