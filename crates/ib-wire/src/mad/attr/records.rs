//! Records of subnet administration. IBA 1 §15.2.5.

use super::{
    GuidBlock, InformInfo, LinearBlock, MulticastBlock, NodeDescription, NodeInfo, PKeyBlock, PortInfo,
    SlToVlTable, SmInfo, SwitchInfo, VlArbitrationBlock,
};
use crate::{
    addr::{Gid, Lid, Mtu, PKey, PortNum, QKey, Rate, Scope, ServiceLevel, Timeout},
    layout::{layout, via},
    mad::sa::RecordId,
};

layout! {
    /// A node, once for each of its ports.
    pub struct NodeRecord[108] {
        /// Of the port.
        lid: Lid = 0, 16;
        /// The node.
        node_info: NodeInfo = 32, 320;
        /// Its name.
        description: NodeDescription = 352, 512;
    }

    /// A port.
    pub struct PortInfoRecord[68] {
        /// Of the end port, or of the switch's port 0.
        end_port_lid: Lid = 0, 16;
        /// Which port.
        port: PortNum = 16, 8;
        /// Options.
        options: u8 = 24, 8;
        /// The port.
        port_info: PortInfo = 32, 512;
    }

    /// A switch.
    pub struct SwitchInfoRecord[24] {
        /// Of the switch.
        lid: Lid = 0, 16;
        /// The switch.
        switch_info: SwitchInfo = 32, 160;
    }

    /// A block of a unicast forwarding table.
    pub struct LinearForwardingRecord[72] {
        /// Of the switch.
        lid: Lid = 0, 16;
        /// Which 64 LIDs.
        block: u16 = 16, 16;
        /// Egress ports.
        ports: LinearBlock = 64, 512;
    }

    /// A block of a multicast forwarding table.
    pub struct MulticastForwardingRecord[72] {
        /// Of the switch.
        lid: Lid = 0, 16;
        /// Which 16 ports.
        position: u8 = 16, 4;
        /// Which 32 MLIDs.
        block: u16 = 23, 9;
        /// Port masks.
        masks: MulticastBlock = 64, 512;
    }

    /// A subnet manager.
    pub struct SmInfoRecord[25] {
        /// Where it is.
        lid: Lid = 0, 16;
        /// The manager.
        sm_info: SmInfo = 32, 168;
    }

    /// A link, in one direction.
    pub struct LinkRecord[6] {
        /// From this node ...
        from_lid: Lid = 0, 16;
        /// ... out of this port ...
        from_port: PortNum = 16, 8;
        /// ... into this port ...
        to_port: PortNum = 24, 8;
        /// ... of this node.
        to_lid: Lid = 32, 16;
    }

    /// A block of GUIDs.
    pub struct GuidInfoRecord[72] {
        /// Of the port.
        lid: Lid = 0, 16;
        /// Which eight.
        block: u8 = 16, 8;
        /// The GUIDs.
        guids: GuidBlock = 64, 512;
    }

    /// A block of partition keys.
    pub struct PKeyTableRecord[72] {
        /// Of the end port, or of the switch's port 0.
        lid: Lid = 0, 16;
        /// Which 32.
        block: u16 = 16, 16;
        /// Which port.
        port: PortNum = 32, 8;
        /// The keys.
        keys: PKeyBlock = 64, 512;
    }

    /// A mapping of service levels to lanes.
    pub struct SlToVlRecord[16] {
        /// Of the node.
        lid: Lid = 0, 16;
        /// For packets that come in here ...
        input_port: PortNum = 16, 8;
        /// ... and go out there.
        output_port: PortNum = 24, 8;
        /// The lanes.
        table: SlToVlTable = 64, 64;
    }

    /// A block of lane arbitration.
    pub struct VlArbitrationRecord[72] {
        /// Of the node.
        lid: Lid = 0, 16;
        /// Of packets that go out here.
        output_port: PortNum = 16, 8;
        /// 1, 2 low priority; 3, 4 high.
        block: u8 = 24, 8;
        /// The entries.
        table: VlArbitrationBlock = 64, 512;
    }

    /// A subscription and whose it is.
    pub struct InformInfoRecord[60] {
        /// The subscriber.
        subscriber_gid: Gid = 0, 128;
        /// Which of its subscriptions.
        subscriber_enum: u16 = 128, 16;
        /// The subscription.
        inform_info: InformInfo = 192, 288;
    }

    /// Membership of a port in a multicast group. IBA 1 §15.2.5.17.
    pub struct McMemberRecord[52] {
        /// The group; zero asks the SA to choose one.
        mgid: Gid = 0, 128;
        /// The member.
        port_gid: Gid = 128, 128;
        /// Key of the group's traffic.
        qkey: QKey = 256, 32;
        /// The group's LID.
        mlid: Lid = 288, 16;
        /// How `mtu` is meant.
        mtu_selector: u8 = 304, 2;
        /// Largest payload.
        mtu: Mtu = 306, 6;
        /// Traffic class of the group's GRH.
        traffic_class: u8 = 312, 8;
        /// Partition.
        pkey: PKey = 320, 16;
        /// How `rate` is meant.
        rate_selector: u8 = 336, 2;
        /// Rate.
        rate: Rate = 338, 6;
        /// How `life` is meant.
        life_selector: u8 = 344, 2;
        /// Longest time on the way.
        life: Timeout = 346, 6;
        /// Service level.
        sl: ServiceLevel = 352, 4;
        /// Flow label of the group's GRH.
        flow_label: u32 = 356, 20;
        /// Hop limit of the group's GRH.
        hop_limit: u8 = 376, 8;
        /// Scope nibble of the MGID.
        scope: Scope = 384, 4;
        /// Kinds of membership.
        join_state: JoinState = 388, 4;
        /// Joined by another port.
        proxy_join: bool = 392, 1;
    }

    /// A way between two ports. IBA 1 §15.2.5.16.
    pub struct PathRecord[64] {
        /// For this service.
        service_id: u64 = 0, 64;
        /// To.
        dgid: Gid = 64, 128;
        /// From.
        sgid: Gid = 192, 128;
        /// To.
        dlid: Lid = 320, 16;
        /// From.
        slid: Lid = 336, 16;
        /// For raw packets.
        raw_traffic: bool = 352, 1;
        /// Flow label; with a GRH.
        flow_label: u32 = 356, 20;
        /// Routers on the way; above 0 a GRH is needed.
        hop_limit: u8 = 376, 8;
        /// Traffic class; with a GRH.
        traffic_class: u8 = 384, 8;
        /// The same way back.
        reversible: bool = 392, 1;
        /// How many are wanted.
        numb_path: u8 = 393, 7;
        /// Partition common to both.
        pkey: PKey = 400, 16;
        /// Quality of service class.
        qos_class: u16 = 416, 12;
        /// Service level.
        sl: ServiceLevel = 428, 4;
        /// How `mtu` is meant.
        mtu_selector: u8 = 432, 2;
        /// Largest payload.
        mtu: Mtu = 434, 6;
        /// How `rate` is meant.
        rate_selector: u8 = 440, 2;
        /// Slowest link.
        rate: Rate = 442, 6;
        /// How `life` is meant.
        life_selector: u8 = 448, 2;
        /// Longest time on the way.
        life: Timeout = 450, 6;
        /// Among several: lower first.
        preference: u8 = 456, 8;
    }

    /// A service and where it is. IBA 1 §15.2.5.14.
    pub struct ServiceRecord[176] {
        /// Which service.
        service_id: u64 = 0, 64;
        /// Where.
        gid: Gid = 64, 128;
        /// Partition.
        pkey: PKey = 192, 16;
        /// Seconds, 0xFFFFFFFF for ever.
        lease: u32 = 224, 32;
        /// Right to change it.
        key: [u8; 16] = 256, 128;
        /// Name, UTF-8.
        name: [u8; 64] = 384, 512;
        /// 64 bytes of the service's own.
        data: [u8; 64] = 896, 512;
    }
}

/// Kinds of membership in a group, a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinState(pub u8);

impl JoinState {
    /// Receives and sends; keeps the group alive.
    pub const FULL: Self = Self(1);
    /// Receives and sends; does not keep the group alive.
    pub const NON_MEMBER: Self = Self(2);
    /// Only sends; does not keep the group alive.
    pub const SEND_ONLY_NON_MEMBER: Self = Self(4);
    /// Only sends; keeps the group alive and may create it.
    pub const SEND_ONLY_FULL: Self = Self(8);

    /// True if all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if any membership is left.
    pub const fn is_empty(self) -> bool {
        self.0 & 0xf == 0
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

    /// True if the member gets the group's packets.
    pub const fn receives(self) -> bool {
        self.0 & (Self::FULL.0 | Self::NON_MEMBER.0) != 0
    }

    /// True if the membership keeps the group alive.
    pub const fn keeps_alive(self) -> bool {
        self.0 & (Self::FULL.0 | Self::SEND_ONLY_FULL.0) != 0
    }
}

via! { JoinState: u8 = JoinState, |v| v.0; }

/// A record of subnet administration: its type and how far apart records stand in a table.
pub trait Record: Sized {
    /// Attribute identifier.
    const ID: RecordId;
    /// Bytes of the record.
    const BYTES: usize;
    /// Distance between records in an answer, in 8-byte units.
    const OFFSET: u16;
    /// Reads one record; `None` if `bytes` are too few.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Appends the record, filled up to `OFFSET`.
    fn write(&self, out: &mut alloc::vec::Vec<u8>);
}

macro_rules! records {
    ($($name:ident = $id:ident;)*) => {$(
        impl Record for $name {
            const ID: RecordId = RecordId::$id;
            const BYTES: usize = Self::LEN;
            const OFFSET: u16 = {
                let units = Self::LEN.div_ceil(8);
                assert!(units <= 25, "fits one MAD");
                units.to_le_bytes()[0] as u16
            };
            fn read(bytes: &[u8]) -> Option<Self> {
                Self::parse(bytes).ok().map(|(record, _)| record)
            }
            fn write(&self, out: &mut alloc::vec::Vec<u8>) {
                let end = out.len() + usize::from(Self::OFFSET) * 8;
                out.extend_from_slice(&self.to_bytes());
                out.resize(end, 0);
            }
        }
    )*};
}

records! {
    NodeRecord = NODE;
    PortInfoRecord = PORT_INFO;
    SwitchInfoRecord = SWITCH_INFO;
    LinearForwardingRecord = LINEAR_FORWARDING;
    MulticastForwardingRecord = MULTICAST_FORWARDING;
    SmInfoRecord = SM_INFO;
    LinkRecord = LINK;
    GuidInfoRecord = GUID_INFO;
    PKeyTableRecord = P_KEY_TABLE;
    SlToVlRecord = SL_TO_VL;
    VlArbitrationRecord = VL_ARBITRATION;
    InformInfoRecord = INFORM_INFO_RECORD;
    McMemberRecord = MC_MEMBER;
    PathRecord = PATH;
    ServiceRecord = SERVICE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_as_far_apart_as_opensm_puts_them() {
        let offsets = [
            NodeRecord::OFFSET,
            PortInfoRecord::OFFSET,
            SlToVlRecord::OFFSET,
            SwitchInfoRecord::OFFSET,
            LinearForwardingRecord::OFFSET,
            SmInfoRecord::OFFSET,
            LinkRecord::OFFSET,
            GuidInfoRecord::OFFSET,
            PathRecord::OFFSET,
            VlArbitrationRecord::OFFSET,
            McMemberRecord::OFFSET,
            ServiceRecord::OFFSET,
        ];
        assert_eq!(offsets, [14, 9, 2, 3, 9, 4, 1, 9, 8, 9, 7, 22]);
    }
}
