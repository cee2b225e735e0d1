//! Subnet administration: RMPP header, SA header, 200 bytes of record. IBA 1 §13.6.2, §15.2.1.

use super::MadHeader;
use crate::layout::{layout, open_enum};

layout! {
    /// One SA MAD: header, RMPP, key, mask and up to 200 bytes of records.
    pub struct SaMad[256] {
        /// Common header, class `SUBN_ADM`.
        header: MadHeader = 0, 192;
        /// How this MAD belongs to a longer message.
        rmpp: RmppHeader = 192, 96;
        /// Trust of the SM.
        sm_key: u64 = 288, 64;
        /// Distance between records in 8-byte units; 0 if there are none.
        attribute_offset: u16 = 352, 16;
        /// Which components of the record count.
        component_mask: u64 = 384, 64;
        /// Records.
        data: [u8; 200] = 448, 1600;
    }

    /// Reliable multi-packet protocol header. IBA 1 §13.6.2.1.
    pub struct RmppHeader[12] {
        /// 1 if the rest has a meaning.
        version: u8 = 0, 8;
        /// What this packet is.
        kind: RmppType = 8, 8;
        /// Expected time of an answer, 31 for none.
        response_time: u8 = 16, 5;
        /// Active, first, last.
        flags: RmppFlags = 21, 3;
        /// Why a transfer stops.
        status: RmppStatus = 24, 8;
        /// Segment number.
        data1: u32 = 32, 32;
        /// Payload length (DATA) or new window's last segment (ACK).
        data2: u32 = 64, 32;
    }
}

impl RmppHeader {
    /// A MAD that is not part of a longer message.
    pub const NONE: Self = Self {
        version: 0,
        kind: RmppType::NONE,
        response_time: 0,
        flags: RmppFlags(0),
        status: RmppStatus::NORMAL,
        data1: 0,
        data2: 0,
    };
}

impl SaMad {
    /// Bytes of record space in one MAD.
    pub const DATA_LEN: usize = 200;
    /// Bytes that count as payload of an RMPP segment: SA header (20) and data.
    pub const SEGMENT_LEN: usize = 220;
}

open_enum! {
    /// Kind of RMPP packet.
    pub struct RmppType(u8) {
        /// Not RMPP.
        NONE = 0;
        /// A segment.
        DATA = 1;
        /// Acknowledges segments and opens the window.
        ACK = 2;
        /// Ends a transfer: out of resources.
        STOP = 3;
        /// Ends a transfer: an error.
        ABORT = 4;
    }

    /// RMPP flag bits.
    pub struct RmppFlags(u8) {
        /// The header has a meaning.
        ACTIVE = 1;
        /// First segment.
        FIRST = 2;
        /// Last segment.
        LAST = 4;
    }

    /// Why an RMPP transfer stops.
    pub struct RmppStatus(u8) {
        /// It does not.
        NORMAL = 0;
        /// Out of resources.
        RESOURCES_EXHAUSTED = 1;
        /// The whole took too long.
        TOTAL_TIME_TOO_LONG = 118;
        /// The last segment's length does not fit the first one's.
        INCONSISTENT_LAST = 119;
        /// First flag and segment number disagree.
        INCONSISTENT_FIRST = 120;
        /// Unknown RMPP type.
        BAD_TYPE = 121;
        /// The window went backwards.
        WINDOW_TOO_SMALL = 122;
        /// A segment number out of range.
        SEGMENT_TOO_BIG = 123;
        /// Status without meaning for this packet.
        ILLEGAL_STATUS = 124;
        /// Unknown RMPP version.
        UNSUPPORTED_VERSION = 125;
        /// Too many retries.
        TOO_MANY_RETRIES = 126;
        /// Anything else.
        UNSPECIFIED = 127;
    }

    /// Record types: attribute identifiers of the SA class.
    pub struct RecordId(u16) {
        /// SA's abilities.
        CLASS_PORT_INFO = 0x0001;
        /// An event, in a Report.
        NOTICE = 0x0002;
        /// A subscription.
        INFORM_INFO = 0x0003;
        /// Nodes.
        NODE = 0x0011;
        /// Ports.
        PORT_INFO = 0x0012;
        /// SL-to-VL tables.
        SL_TO_VL = 0x0013;
        /// Switches.
        SWITCH_INFO = 0x0014;
        /// Unicast forwarding tables.
        LINEAR_FORWARDING = 0x0015;
        /// Random forwarding tables.
        RANDOM_FORWARDING = 0x0016;
        /// Multicast forwarding tables.
        MULTICAST_FORWARDING = 0x0017;
        /// Subnet managers.
        SM_INFO = 0x0018;
        /// Links.
        LINK = 0x0020;
        /// GUID tables.
        GUID_INFO = 0x0030;
        /// Services.
        SERVICE = 0x0031;
        /// Partition tables.
        P_KEY_TABLE = 0x0033;
        /// Paths.
        PATH = 0x0035;
        /// VL arbitration tables.
        VL_ARBITRATION = 0x0036;
        /// Multicast membership.
        MC_MEMBER = 0x0038;
        /// Traces.
        TRACE = 0x0039;
        /// Several paths at once.
        MULTI_PATH = 0x003a;
        /// Subscriptions.
        INFORM_INFO_RECORD = 0x00f3;
    }
}

impl RmppFlags {
    /// True if all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<RecordId> for super::AttributeId {
    fn from(id: RecordId) -> Self {
        Self(id.0)
    }
}

/// Component mask bits of MCMemberRecord.
pub mod mc_member_mask {
    /// MGID.
    pub const MGID: u64 = 1 << 0;
    /// PortGID.
    pub const PORT_GID: u64 = 1 << 1;
    /// Q_Key.
    pub const Q_KEY: u64 = 1 << 2;
    /// MLID.
    pub const MLID: u64 = 1 << 3;
    /// MTU selector.
    pub const MTU_SELECTOR: u64 = 1 << 4;
    /// MTU.
    pub const MTU: u64 = 1 << 5;
    /// Traffic class.
    pub const TRAFFIC_CLASS: u64 = 1 << 6;
    /// P_Key.
    pub const P_KEY: u64 = 1 << 7;
    /// Rate selector.
    pub const RATE_SELECTOR: u64 = 1 << 8;
    /// Rate.
    pub const RATE: u64 = 1 << 9;
    /// Packet lifetime selector.
    pub const LIFE_SELECTOR: u64 = 1 << 10;
    /// Packet lifetime.
    pub const LIFE: u64 = 1 << 11;
    /// Service level.
    pub const SL: u64 = 1 << 12;
    /// Flow label.
    pub const FLOW_LABEL: u64 = 1 << 13;
    /// Hop limit.
    pub const HOP_LIMIT: u64 = 1 << 14;
    /// Scope.
    pub const SCOPE: u64 = 1 << 15;
    /// Join state.
    pub const JOIN_STATE: u64 = 1 << 16;
    /// Proxy join.
    pub const PROXY: u64 = 1 << 17;
}

/// Component mask bits of PathRecord.
pub mod path_mask {
    /// Service identifier (two bits, one field).
    pub const SERVICE_ID: u64 = 0b11;
    /// Destination GID.
    pub const DGID: u64 = 1 << 2;
    /// Source GID.
    pub const SGID: u64 = 1 << 3;
    /// Destination LID.
    pub const DLID: u64 = 1 << 4;
    /// Source LID.
    pub const SLID: u64 = 1 << 5;
    /// Raw traffic.
    pub const RAW_TRAFFIC: u64 = 1 << 6;
    /// Flow label.
    pub const FLOW_LABEL: u64 = 1 << 7;
    /// Hop limit.
    pub const HOP_LIMIT: u64 = 1 << 8;
    /// Traffic class.
    pub const TRAFFIC_CLASS: u64 = 1 << 9;
    /// Both ways the same.
    pub const REVERSIBLE: u64 = 1 << 11;
    /// How many are wanted.
    pub const NUMB_PATH: u64 = 1 << 12;
    /// P_Key.
    pub const P_KEY: u64 = 1 << 13;
    /// QoS class.
    pub const QOS_CLASS: u64 = 1 << 14;
    /// Service level.
    pub const SL: u64 = 1 << 15;
    /// MTU selector.
    pub const MTU_SELECTOR: u64 = 1 << 16;
    /// MTU.
    pub const MTU: u64 = 1 << 17;
    /// Rate selector.
    pub const RATE_SELECTOR: u64 = 1 << 18;
    /// Rate.
    pub const RATE: u64 = 1 << 19;
    /// Packet lifetime selector.
    pub const LIFE_SELECTOR: u64 = 1 << 20;
    /// Packet lifetime.
    pub const LIFE: u64 = 1 << 21;
}

/// How a number in a record is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Greater than the value.
    Greater,
    /// Less than the value.
    Less,
    /// Exactly the value.
    Exactly,
    /// The largest there is.
    Largest,
}

impl From<u8> for Selector {
    fn from(code: u8) -> Self {
        match code & 3 {
            0 => Self::Greater,
            1 => Self::Less,
            2 => Self::Exactly,
            _ => Self::Largest,
        }
    }
}

impl From<Selector> for u8 {
    fn from(selector: Selector) -> Self {
        match selector {
            Selector::Greater => 0,
            Selector::Less => 1,
            Selector::Exactly => 2,
            Selector::Largest => 3,
        }
    }
}
