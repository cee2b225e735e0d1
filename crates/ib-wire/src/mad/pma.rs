//! Performance management: counters of a port. IBA 1 §16.1.

use super::MadHeader;
use crate::{
    addr::PortNum,
    layout::{layout, open_enum},
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

    /// Counters of 64 bits.
    pub struct PortCountersExtended[72] {
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
        /// Counters of 64 bits.
        PORT_COUNTERS_EXTENDED = 0x001d;
    }
}
