//! The headers in front of a payload. IBA 1 §7.7, §8.3, §9.2, §9.3.

use crate::{
    addr::{Gid, Lid, PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    layout::{layout, open_enum},
};

layout! {
    /// Local route header: what switches read. IBA 1 §7.7.
    pub struct Lrh[8] {
        /// Lane on this link.
        vl: VirtualLane = 0, 4;
        /// Link version, 0.
        version: u8 = 4, 4;
        /// What the packet asks of the fabric; stays the same on its way.
        sl: ServiceLevel = 8, 4;
        /// What follows this header.
        next: NextHeader = 14, 2;
        /// Destination.
        dlid: Lid = 16, 16;
        /// Length in 4-byte words, LRH through ICRC.
        length: u16 = 37, 11;
        /// Source.
        slid: Lid = 48, 16;
    }

    /// Global route header, an IPv6 header in form. IBA 1 §8.3.
    pub struct Grh[40] {
        /// 6.
        version: u8 = 0, 4;
        /// Traffic class.
        traffic_class: u8 = 4, 8;
        /// Flow label.
        flow_label: u32 = 12, 20;
        /// Bytes after this header through ICRC.
        payload_length: u16 = 32, 16;
        /// 0x1B: an InfiniBand transport header follows.
        next_header: u8 = 48, 8;
        /// Routers still allowed.
        hop_limit: u8 = 56, 8;
        /// Source port.
        sgid: Gid = 64, 128;
        /// Destination port or group.
        dgid: Gid = 192, 128;
    }

    /// Base transport header. IBA 1 §9.2.
    pub struct Bth[12] {
        /// Service and operation.
        opcode: Opcode = 0, 8;
        /// Asks the receiver for an event.
        solicited: bool = 8, 1;
        /// Path migration state.
        migrated: bool = 9, 1;
        /// Bytes of padding behind the payload.
        pad: u8 = 10, 2;
        /// Transport version, 0.
        version: u8 = 12, 4;
        /// Partition.
        pkey: PKey = 16, 16;
        /// Reserved octet; not covered by ICRC.
        variant: u8 = 32, 8;
        /// Destination queue pair.
        dest_qp: Qpn = 40, 24;
        /// Asks for an acknowledgement.
        ack_request: bool = 64, 1;
        /// Packet sequence number.
        psn: Psn = 72, 24;
    }

    /// Datagram extended transport header. IBA 1 §9.3.1.
    pub struct Deth[8] {
        /// Key of the destination queue pair.
        qkey: QKey = 0, 32;
        /// Source queue pair.
        src_qp: Qpn = 40, 24;
    }
}

open_enum! {
    /// What follows LRH.
    pub struct NextHeader(u8) {
        /// Raw, an EtherType follows.
        RAW = 0;
        /// Raw, an IPv6 header follows.
        RAW_IPV6 = 1;
        /// BTH: local transport.
        BTH = 2;
        /// GRH, then BTH: global transport.
        GRH = 3;
    }

    /// BTH operation code: three bits of service, five of operation.
    pub struct Opcode(u8) {
        /// Unreliable datagram, send only.
        UD_SEND_ONLY = 0x64;
        /// Unreliable datagram, send only with immediate data.
        UD_SEND_ONLY_IMMEDIATE = 0x65;
    }
}

impl Grh {
    /// The `next_header` value for an InfiniBand transport.
    pub const NEXT_BTH: u8 = 0x1b;
}
