//! What notices say in their 54 bytes of detail. IBA 1 §14.2.5.1.

use super::{CapabilityMask, Notice, NoticeType, ProducerType, TrapNumber};
use crate::{
    addr::{Gid, Lid, MKey, PKey, PortNum, Qpn, ServiceLevel},
    layout::layout,
    mad::{AttributeId, Method},
};

layout! {
    /// Of trap 128.
    pub struct LinkStateDetails[54] {
        /// The switch one of whose ports changed its state.
        lid: Lid = 0, 16;
    }

    /// Of trap 144.
    pub struct CapabilityDetails[54] {
        /// The port.
        lid: Lid = 16, 16;
        /// True if `changes` tells something.
        other_changes: bool = 47, 1;
        /// What the port can do from now on.
        capability_mask: CapabilityMask = 48, 32;
        /// Bit 0: the node description, 1: enabled widths, 2: enabled speeds.
        changes: u16 = 90, 6;
        /// What the port can do from now on, continued.
        capability_mask2: u16 = 96, 16;
    }

    /// Of trap 256.
    pub struct BadMKeyDetails[54] {
        /// Who asked.
        lid: Lid = 16, 16;
        /// Who asked, if by directed route.
        dr_slid: Lid = 32, 16;
        /// Method of the request.
        method: Method = 48, 8;
        /// Attribute of the request.
        attribute: AttributeId = 64, 16;
        /// Modifier of the request.
        modifier: u32 = 80, 32;
        /// The key it had.
        m_key: MKey = 112, 64;
        /// True if the request came by directed route.
        directed: bool = 184, 1;
        /// True if `return_path` is not the whole.
        truncated: bool = 185, 1;
        /// Hops of the directed route.
        hop_count: u8 = 186, 6;
        /// The way back.
        return_path: [u8; 30] = 192, 240;
    }

    /// Of traps 257 and 258.
    pub struct BadKeyDetails[54] {
        /// Sender.
        lid1: Lid = 16, 16;
        /// Receiver.
        lid2: Lid = 32, 16;
        /// The Q_Key, or in its low half the P_Key.
        key: u32 = 48, 32;
        /// Service level of the packet.
        sl: ServiceLevel = 80, 4;
        /// Sending queue pair.
        qp1: Qpn = 88, 24;
        /// Receiving queue pair.
        qp2: Qpn = 120, 24;
        /// Sender, if the packet had a GRH.
        gid1: Gid = 144, 128;
        /// Receiver, if the packet had a GRH.
        gid2: Gid = 272, 128;
    }

    /// Of trap 259.
    pub struct SwitchBadPKeyDetails[54] {
        /// Which of the following are known, bit by bit from the top: LIDs, P_Key, SL, queue pairs, GIDs.
        valid: u16 = 0, 16;
        /// Sender.
        lid1: Lid = 16, 16;
        /// Receiver.
        lid2: Lid = 32, 16;
        /// The key.
        pkey: PKey = 48, 16;
        /// Service level of the packet.
        sl: ServiceLevel = 64, 4;
        /// Sending queue pair.
        qp1: Qpn = 72, 24;
        /// Receiving queue pair.
        qp2: Qpn = 104, 24;
        /// Sender, if the packet had a GRH.
        gid1: Gid = 128, 128;
        /// Receiver, if the packet had a GRH.
        gid2: Gid = 256, 128;
        /// The switch that refused the packet.
        switch_lid: Lid = 384, 16;
        /// Its port.
        port: PortNum = 400, 8;
    }
}

impl CapabilityDetails {
    /// Bit of `changes`: the node description changed.
    pub const NODE_DESCRIPTION: u16 = 1;
}

impl Notice {
    /// There is none.
    pub const EMPTY: Self = Self {
        generic: true,
        kind: NoticeType::EMPTY,
        producer: ProducerType(0),
        trap: TrapNumber(0),
        issuer_lid: Lid::NONE,
        toggle: false,
        count: 0,
        data: [0; 54],
        issuer_gid: Gid::ZERO,
    };

    /// A notice of the specification's that a port of a node produces.
    pub const fn from_port(
        trap: TrapNumber,
        kind: NoticeType,
        producer: ProducerType,
        issuer_lid: Lid,
        data: [u8; 54],
    ) -> Self {
        Self {
            generic: true,
            kind,
            producer,
            trap,
            issuer_lid,
            toggle: false,
            count: 0,
            data,
            issuer_gid: Gid::ZERO,
        }
    }

    /// The port that notices 128..=131, 144 and 145 are about. Only 128 has it at the very front.
    pub const fn data_lid(&self) -> Lid {
        let d = &self.data;
        Lid(u16::from_be_bytes(if self.trap.0 == TrapNumber::LINK_STATE.0 {
            [d[0], d[1]]
        } else {
            [d[2], d[3]]
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_port_is_found_in_either_place() {
        let about = |trap, data| {
            Notice::from_port(trap, NoticeType::URGENT, ProducerType::SWITCH, Lid(9), data).data_lid()
        };
        assert_eq!(about(TrapNumber::LINK_STATE, LinkStateDetails { lid: Lid(7) }.to_bytes()), Lid(7));
        let details = CapabilityDetails {
            lid: Lid(8),
            other_changes: true,
            capability_mask: CapabilityMask::IS_SM,
            changes: CapabilityDetails::NODE_DESCRIPTION,
            capability_mask2: 0,
        };
        let bytes = details.to_bytes();
        assert_eq!(bytes[..12], [0, 0, 0, 8, 0, 1, 0, 0, 0, 2, 0, 1]);
        assert_eq!(about(TrapNumber::CAPABILITY_CHANGE, bytes), Lid(8));
    }
}
