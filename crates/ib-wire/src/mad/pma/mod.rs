//! Performance management: counters of a port. IBA 1 §16.1.
//!
//! Attributes of sixteen counters, one for each lane or service level, are `LaneCounters`; sampling is in
//! `samples`. Data are counted in 4-byte words everywhere.

mod lanes;
mod samples;

pub use lanes::{CounterBits, LaneCounters};
pub use samples::{PortSamplesControl, PortSamplesResult, SampleStatus, SampledCounter};

use super::MadHeader;
use crate::{
    addr::PortNum,
    layout::{layout, open_enum},
    packet::Opcode,
};

layout! {
    /// A performance management MAD: 40 reserved bytes, then the attribute.
    pub struct PmaMad[256] {
        /// Common header, class `PERFORMANCE`.
        header: MadHeader = 0, 192;
        /// The attribute.
        data: [u8; 192] = 512, 1536;
    }

    /// Counters that stop at their largest value.
    pub struct PortCounters[44] {
        /// Which port; 255 for the sum.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u16 = 16, 16;
        /// Minor link errors.
        symbol_error: u16 = 32, 16;
        /// Times the link recovered.
        link_error_recovery: u8 = 48, 8;
        /// Times it did not.
        link_downed: u8 = 56, 8;
        /// Packets with errors received.
        rcv_errors: u16 = 64, 16;
        /// Packets marked bad received.
        rcv_remote_physical_errors: u16 = 80, 16;
        /// Packets a switch could not forward.
        rcv_switch_relay_errors: u16 = 96, 16;
        /// Packets not sent for a state or a time limit.
        xmit_discards: u16 = 112, 16;
        /// Packets not sent for a P_Key or a raw filter.
        xmit_constraint_errors: u8 = 128, 8;
        /// Packets refused for a P_Key or a raw filter.
        rcv_constraint_errors: u8 = 136, 8;
        /// In a Set: which further counters to clear.
        counter_select2: u8 = 144, 8;
        /// Local link integrity errors.
        local_link_integrity_errors: u8 = 152, 4;
        /// Excessive buffer overruns.
        excessive_buffer_overrun_errors: u8 = 156, 4;
        /// MADs dropped on QP1.
        qp1_dropped: u16 = 160, 16;
        /// SMPs dropped for want of buffers.
        vl15_dropped: u16 = 176, 16;
        /// 4-byte words sent.
        xmit_data: u32 = 192, 32;
        /// 4-byte words received.
        rcv_data: u32 = 224, 32;
        /// Packets sent.
        xmit_pkts: u32 = 256, 32;
        /// Packets received.
        rcv_pkts: u32 = 288, 32;
        /// Ticks with data waiting.
        xmit_wait: u32 = 320, 32;
    }

    /// Counters of 64 bits; those from `symbol_error` on only if the class says so.
    pub struct PortCountersExtended[184] {
        /// Which port; 255 for the sum.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u16 = 16, 16;
        /// In a Set: which further counters to clear.
        counter_select2: u32 = 32, 32;
        /// 4-byte words sent.
        xmit_data: u64 = 64, 64;
        /// 4-byte words received.
        rcv_data: u64 = 128, 64;
        /// Packets sent.
        xmit_pkts: u64 = 192, 64;
        /// Packets received.
        rcv_pkts: u64 = 256, 64;
        /// Unicast packets sent.
        unicast_xmit_pkts: u64 = 320, 64;
        /// Unicast packets received.
        unicast_rcv_pkts: u64 = 384, 64;
        /// Multicast packets sent.
        multicast_xmit_pkts: u64 = 448, 64;
        /// Multicast packets received.
        multicast_rcv_pkts: u64 = 512, 64;
        /// Minor link errors.
        symbol_error: u64 = 576, 64;
        /// Times the link recovered.
        link_error_recovery: u64 = 640, 64;
        /// Times it did not.
        link_downed: u64 = 704, 64;
        /// Packets with errors received.
        rcv_errors: u64 = 768, 64;
        /// Packets marked bad received.
        rcv_remote_physical_errors: u64 = 832, 64;
        /// Packets a switch could not forward.
        rcv_switch_relay_errors: u64 = 896, 64;
        /// Packets not sent for a state or a time limit.
        xmit_discards: u64 = 960, 64;
        /// Packets not sent for a P_Key or a raw filter.
        xmit_constraint_errors: u64 = 1024, 64;
        /// Packets refused for a P_Key or a raw filter.
        rcv_constraint_errors: u64 = 1088, 64;
        /// Local link integrity errors.
        local_link_integrity_errors: u64 = 1152, 64;
        /// Excessive buffer overruns.
        excessive_buffer_overrun_errors: u64 = 1216, 64;
        /// SMPs dropped for want of buffers.
        vl15_dropped: u64 = 1280, 64;
        /// Ticks with data waiting.
        xmit_wait: u64 = 1344, 64;
        /// MADs dropped on QP1.
        qp1_dropped: u64 = 1408, 64;
    }

    /// Why packets with errors were received.
    pub struct PortRcvErrorDetails[16] {
        /// Which port.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u16 = 16, 16;
        /// CRC errors and the like.
        local_physical_errors: u16 = 32, 16;
        /// Malformed packets.
        malformed_packet_errors: u16 = 48, 16;
        /// Buffers overrun.
        buffer_overrun_errors: u16 = 64, 16;
        /// DLID not of this port.
        dlid_mapping_errors: u16 = 80, 16;
        /// Lane not in use.
        vl_mapping_errors: u16 = 96, 16;
        /// A switch would have to send a packet back where it came from.
        looping_errors: u16 = 112, 16;
    }

    /// Why packets were not sent.
    pub struct PortXmitDiscardDetails[12] {
        /// Which port.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u16 = 16, 16;
        /// Port not in a state to send.
        inactive_discards: u16 = 32, 16;
        /// Larger than the neighbour's MTU.
        neighbor_mtu_discards: u16 = 48, 16;
        /// Switch lifetime exceeded.
        switch_lifetime_discards: u16 = 64, 16;
        /// Head-of-queue lifetime exceeded.
        hoq_lifetime_discards: u16 = 80, 16;
    }

    /// How most attributes begin.
    pub struct CounterHead[4] {
        /// In the three attributes that count one operation: which.
        opcode: Opcode = 0, 8;
        /// Which port; 255 for the sum.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u16 = 16, 16;
    }

    /// Packets received of one operation.
    pub struct PortOpRcvCounters[12] {
        /// The operation and the port.
        head: CounterHead = 0, 32;
        /// Packets.
        packets: u32 = 32, 32;
        /// 4-byte words.
        words: u32 = 64, 32;
    }

    /// Errors of the encoding that speeds from FDR on have. What a lane counts for itself is not listed here.
    pub struct PortExtendedSpeedsCounters[152] {
        /// Which port; 255 for the sum.
        port: PortNum = 8, 8;
        /// In a Set: which counters to clear.
        counter_select: u64 = 64, 64;
        /// Blocks whose header is neither of the two.
        sync_header_errors: u16 = 128, 16;
        /// Blocks of no known kind.
        unknown_blocks: u16 = 144, 16;
    }
}

/// What ClassPortInfo of this class can say in its capability masks.
#[derive(Clone, Copy, Debug)]
pub struct PmaCapability;

impl PmaCapability {
    /// Port 255 stands for all ports.
    pub const ALL_PORT_SELECT: u16 = 1 << 8;
    /// Counters of 64 bits, unicast and multicast among them.
    pub const EXTENDED_WIDTH: u16 = 1 << 9;
    /// PortCounters has `xmit_wait`.
    pub const XMIT_WAIT: u16 = 1 << 12;
    /// PortCounters has `qp1_dropped`.
    pub const QP1_DROPPED: u16 = 1 << 15;
    /// In the second mask: the error counters of 64 bits.
    pub const EXTENDED_ERRORS: u32 = 1 << 1;
}

open_enum! {
    /// Attributes of the performance class.
    pub struct PmaAttribute(u16) {
        /// What the agent can do.
        CLASS_PORT_INFO = 0x0001;
        /// Sampling: control.
        PORT_SAMPLES_CONTROL = 0x0010;
        /// Sampling: result.
        PORT_SAMPLES_RESULT = 0x0011;
        /// Counters.
        PORT_COUNTERS = 0x0012;
        /// Details of `rcv_errors`.
        PORT_RCV_ERROR_DETAILS = 0x0015;
        /// Details of `xmit_discards`.
        PORT_XMIT_DISCARD_DETAILS = 0x0016;
        /// Packets received of one operation.
        PORT_OP_RCV_COUNTERS = 0x0017;
        /// Flow control packets.
        PORT_FLOW_CTL_COUNTERS = 0x0018;
        /// Packets received of one operation, by lane.
        PORT_VL_OP_PACKETS = 0x0019;
        /// Words received of one operation, by lane.
        PORT_VL_OP_DATA = 0x001a;
        /// Flow control that came too late, by lane.
        PORT_VL_XMIT_FLOW_CTL_UPDATE_ERRORS = 0x001b;
        /// Ticks with data waiting, by lane.
        PORT_VL_XMIT_WAIT = 0x001c;
        /// Counters of 64 bits.
        PORT_COUNTERS_EXTENDED = 0x001d;
        /// Sampling: result in 64 bits.
        PORT_SAMPLES_RESULT_EXTENDED = 0x001e;
        /// Errors of the encoding from FDR on.
        PORT_EXTENDED_SPEEDS_COUNTERS = 0x001f;
        /// Packets a switch dropped because they waited too long, by lane.
        SW_PORT_VL_CONGESTION = 0x0030;
        /// Packets received with a mark of congestion.
        PORT_RCV_CON_CTRL = 0x0031;
        /// Those marked forward, by service level.
        PORT_SL_RCV_FECN = 0x0032;
        /// Those marked backward, by service level.
        PORT_SL_RCV_BECN = 0x0033;
        /// Time spent congested.
        PORT_XMIT_CON_CTRL = 0x0034;
        /// Time spent congested, by lane.
        PORT_VL_XMIT_TIME_CONG = 0x0035;
        /// Words sent, by service level.
        PORT_XMIT_DATA_SL = 0x0036;
        /// Words received, by service level.
        PORT_RCV_DATA_SL = 0x0037;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_64_bits_stand_in_two_rows_behind_both_selects() {
        let mut counters = PortCountersExtended::from_bytes(&[0; 184]);
        (counters.port, counters.counter_select, counters.counter_select2) =
            (PortNum(3), 0x0102, 0x0304_0506);
        (counters.multicast_rcv_pkts, counters.symbol_error, counters.qp1_dropped) = (7, 8, 9);
        let bytes = counters.to_bytes();
        assert_eq!(bytes[..8], [0, 3, 1, 2, 3, 4, 5, 6]);
        assert_eq!((bytes[71], bytes[79], bytes[183]), (7, 8, 9));
        let mut speeds = PortExtendedSpeedsCounters::from_bytes(&[0; 152]);
        (speeds.port, speeds.counter_select, speeds.unknown_blocks) = (PortNum(4), 5, 6);
        let bytes = speeds.to_bytes();
        assert_eq!((bytes[1], bytes[15], bytes[19]), (4, 5, 6));
        let head = CounterHead { opcode: Opcode::UD_SEND_ONLY, port: PortNum(2), counter_select: 3 };
        let bytes = PortOpRcvCounters { head, packets: 4, words: 5 }.to_bytes();
        assert_eq!(bytes, [0x64, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]);
    }
}
