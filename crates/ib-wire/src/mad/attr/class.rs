//! Agents, events and subscriptions. IBA 1 §13.4.8, §14.2.5.1, §14.2.5.13.

use crate::{
    addr::{Gid, Guid, Lid, PKey, QKey, Qpn, ServiceLevel, Timeout},
    layout::{layout, open_enum},
};

layout! {
    /// What an agent can do and where to ask instead.
    pub struct ClassPortInfo[72] {
        /// MAD base version, 1.
        base_version: u8 = 0, 8;
        /// Version of the class.
        class_version: u8 = 8, 8;
        /// What the class can do.
        capability_mask: u16 = 16, 16;
        /// What the class can do, continued.
        capability_mask2: u32 = 32, 27;
        /// Longest time to an answer.
        response_time: Timeout = 59, 5;
        /// Redirection: GID.
        redirect_gid: Gid = 64, 128;
        /// Redirection: traffic class.
        redirect_traffic_class: u8 = 192, 8;
        /// Redirection: service level.
        redirect_sl: ServiceLevel = 200, 4;
        /// Redirection: flow label.
        redirect_flow_label: u32 = 204, 20;
        /// Redirection: LID.
        redirect_lid: Lid = 224, 16;
        /// Redirection: P_Key.
        redirect_pkey: PKey = 240, 16;
        /// Redirection: queue pair.
        redirect_qp: Qpn = 264, 24;
        /// Redirection: Q_Key.
        redirect_qkey: QKey = 288, 32;
        /// Traps: GID.
        trap_gid: Gid = 320, 128;
        /// Traps: traffic class.
        trap_traffic_class: u8 = 448, 8;
        /// Traps: service level.
        trap_sl: ServiceLevel = 456, 4;
        /// Traps: flow label.
        trap_flow_label: u32 = 460, 20;
        /// Traps: LID.
        trap_lid: Lid = 480, 16;
        /// Traps: P_Key.
        trap_pkey: PKey = 496, 16;
        /// Traps: hop limit.
        trap_hop_limit: u8 = 512, 8;
        /// Traps: queue pair.
        trap_qp: Qpn = 520, 24;
        /// Traps: Q_Key.
        trap_qkey: QKey = 544, 32;
    }

    /// An event.
    pub struct Notice[80] {
        /// True if `trap` and `producer` are the specification's.
        generic: bool = 0, 1;
        /// How grave.
        kind: NoticeType = 1, 7;
        /// Kind of node that produced it.
        producer: ProducerType = 8, 24;
        /// Which event.
        trap: TrapNumber = 32, 16;
        /// Who reports it.
        issuer_lid: Lid = 48, 16;
        /// More waits in the queue (Get(Notice) only).
        toggle: bool = 64, 1;
        /// Events waiting (Get(Notice) only).
        count: u16 = 65, 15;
        /// What the event is about; see the methods.
        data: [u8; 54] = 80, 432;
        /// Who reports it; set by the SA when forwarding.
        issuer_gid: Gid = 512, 128;
    }

    /// A subscription.
    pub struct InformInfo[36] {
        /// Only events of this port, or zero for all.
        gid: Gid = 0, 128;
        /// First LID, or 0xFFFF for all.
        lid_range_begin: Lid = 128, 16;
        /// Last LID.
        lid_range_end: Lid = 144, 16;
        /// 1: events of the specification.
        is_generic: u8 = 176, 8;
        /// 1 to subscribe, 0 to end it.
        subscribe: u8 = 184, 8;
        /// How grave, or 0xFFFF for all.
        kind: u16 = 192, 16;
        /// Which event, or 0xFFFF for all.
        trap: TrapNumber = 208, 16;
        /// Queue pair that reports go to.
        qpn: Qpn = 224, 24;
        /// Longest time to an answer.
        response_time: Timeout = 251, 5;
        /// Kind of node, or 0xFFFFFF for all.
        producer: ProducerType = 264, 24;
    }

    /// What a subnet manager is.
    pub struct SmInfo[21] {
        /// Port GUID.
        guid: Guid = 0, 64;
        /// Trust between managers; shown to the trusted alone.
        sm_key: u64 = 64, 64;
        /// Counts activity: a manager whose count stands still is dead.
        act_count: u32 = 128, 32;
        /// Higher wins.
        priority: u8 = 160, 4;
        /// What it is doing.
        state: SmState = 164, 4;
    }
}

open_enum! {
    /// State of a subnet manager. IBA 1 §14.4.1.
    pub struct SmState(u8) {
        /// Switched off by another.
        NOT_ACTIVE = 0;
        /// Looking around.
        DISCOVERING = 1;
        /// Waiting for the master to fail.
        STANDBY = 2;
        /// In charge.
        MASTER = 3;
    }

    /// How grave an event is.
    pub struct NoticeType(u8) {
        /// Fatal.
        FATAL = 0;
        /// Urgent.
        URGENT = 1;
        /// Security.
        SECURITY = 2;
        /// Subnet management.
        SUBNET_MANAGEMENT = 3;
        /// Informational.
        INFORMATIONAL = 4;
        /// An empty notice.
        EMPTY = 0x7f;
    }

    /// Kind of node that produces an event.
    pub struct ProducerType(u32) {
        /// Channel adapter.
        CA = 1;
        /// Switch.
        SWITCH = 2;
        /// Router.
        ROUTER = 3;
        /// Class manager: the SM or SA itself.
        CLASS_MANAGER = 4;
        /// In a subscription: all.
        ALL = 0x00ff_ffff;
    }

    /// Which event.
    pub struct TrapNumber(u16) {
        /// A GID came into service.
        GID_IN_SERVICE = 64;
        /// A GID went out of service.
        GID_OUT_OF_SERVICE = 65;
        /// A multicast group was created.
        GROUP_CREATED = 66;
        /// A multicast group was deleted.
        GROUP_DELETED = 67;
        /// A switch port changed its state.
        LINK_STATE = 128;
        /// Local link integrity threshold reached.
        LINK_INTEGRITY = 129;
        /// Excessive buffer overrun threshold reached.
        BUFFER_OVERRUN = 130;
        /// Flow control update watchdog expired.
        FLOW_CONTROL = 131;
        /// Capability mask, description or similar changed.
        CAPABILITY_CHANGE = 144;
        /// System image GUID changed.
        SYSTEM_IMAGE_CHANGE = 145;
        /// Bad M_Key.
        BAD_M_KEY = 256;
        /// Bad P_Key at an end port.
        BAD_P_KEY = 257;
        /// Bad Q_Key.
        BAD_Q_KEY = 258;
        /// Bad P_Key at a switch port.
        SWITCH_BAD_P_KEY = 259;
        /// In a subscription: all.
        ALL = 0xffff;
    }
}

impl Notice {
    /// The GID of notices 64..=67: six reserved bytes, then the GID.
    pub fn gid(&self) -> Gid {
        let mut gid = [0; 16];
        gid.copy_from_slice(&self.data[6..22]);
        Gid(gid)
    }

    /// A notice 64..=67 about `gid`, as a manager produces it.
    pub fn about_gid(trap: TrapNumber, gid: Gid, issuer_lid: Lid, issuer_gid: Gid) -> Self {
        let mut data = [0; 54];
        data[6..22].copy_from_slice(&gid.0);
        Self {
            generic: true,
            kind: NoticeType::SUBNET_MANAGEMENT,
            producer: ProducerType::CLASS_MANAGER,
            trap,
            issuer_lid,
            toggle: false,
            count: 0,
            data,
            issuer_gid,
        }
    }
}
