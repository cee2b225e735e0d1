//! One unreliable datagram on its way: headers in fields, payload in a shared buffer.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Bth, Deth, Grh, Lrh, NextHeader, Opcode};
use crate::{
    addr::{Gid, Lid, PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    crc,
    ipoib::{
        self,
        large::{LargeError, segments},
    },
    layout::Truncated,
    offload::Offload,
    payload::Payload,
};

/// Bytes of the IPoIB header in front of the IP packet of a large send.
const ENCAPSULATION: usize = ipoib::Header::LEN;

/// A datagram between two queue pairs.
///
/// Lengths and padding in the headers are recomputed by `emit`; between the machine's own ports nobody
/// reads them. If `offload` is pending, the packet is a large send that stands for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Local route.
    pub lrh: Lrh,
    /// Global route: always with multicast, else as the path wants it.
    pub grh: Option<Grh>,
    /// Base transport header.
    pub bth: Bth,
    /// Datagram header.
    pub deth: Deth,
    /// What the queue pairs exchange.
    pub payload: Payload,
    /// What is still to be done to the payload where bytes leave.
    pub offload: Offload,
}

/// What it takes to make a `Packet`; the rest follows.
#[derive(Clone, Debug)]
pub struct PacketSpec {
    /// Lane; 15 for subnet management.
    pub vl: VirtualLane,
    /// Service level.
    pub sl: ServiceLevel,
    /// Source LID.
    pub slid: Lid,
    /// Destination LID.
    pub dlid: Lid,
    /// Global route, if the packet is to carry one.
    pub global: Option<GlobalRoute>,
    /// Partition.
    pub pkey: PKey,
    /// Key of the destination.
    pub qkey: QKey,
    /// Source queue pair.
    pub src_qp: Qpn,
    /// Destination queue pair.
    pub dest_qp: Qpn,
    /// Sequence number.
    pub psn: Psn,
}

/// The caller's part of a GRH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalRoute {
    /// Source port.
    pub sgid: Gid,
    /// Destination port or group.
    pub dgid: Gid,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Routers allowed.
    pub hop_limit: u8,
}

/// Why bytes are no datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The bytes end within a header or before the checksums.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// LRH's length does not agree with the bytes.
    #[error("LRH says {said} words, the packet has {have} bytes before its VCRC")]
    Length {
        /// Words by LRH.
        said: u16,
        /// Bytes there are.
        have: usize,
    },
    /// A version number other than the one known.
    #[error("unknown version in {0}")]
    Version(&'static str),
    /// A raw packet, without a transport header.
    #[error("raw packet")]
    Raw,
    /// A GRH that no InfiniBand transport follows, or with a wrong length.
    #[error("bad GRH")]
    Grh,
    /// A service other than unreliable datagram.
    #[error("opcode {0}")]
    Opcode(Opcode),
    /// The end-to-end checksum does not match.
    #[error("ICRC does not match")]
    Icrc,
    /// The link's checksum does not match.
    #[error("VCRC does not match")]
    Vcrc,
}

/// Appends both checksums to bytes that begin with an LRH and end with the padded payload, whatever they hold.
pub fn seal(bytes: &mut Vec<u8>) {
    let has_grh = bytes.get(1).is_some_and(|octet| NextHeader(octet & 3) == NextHeader::GRH);
    let icrc = crc::icrc(bytes, has_grh);
    bytes.extend(icrc);
    let vcrc = crc::vcrc(bytes);
    bytes.extend(vcrc);
}

/// What a packet counts for: a large send counts as the packets it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Packets on the link.
    pub packets: u32,
    /// 4-byte words on the link, LRH through ICRC, as PortXmitData counts them.
    pub words: u32,
}

impl Packet {
    /// A packet with `payload`.
    pub fn new(spec: PacketSpec, payload: Payload, offload: Offload) -> Self {
        let lrh = Lrh {
            vl: spec.vl,
            version: 0,
            sl: spec.sl,
            next: if spec.global.is_some() { NextHeader::GRH } else { NextHeader::BTH },
            dlid: spec.dlid,
            length: 0,
            slid: spec.slid,
        };
        let grh = spec.global.map(|route| Grh {
            version: 6,
            traffic_class: route.traffic_class,
            flow_label: route.flow_label,
            payload_length: 0,
            next_header: Grh::NEXT_BTH,
            hop_limit: route.hop_limit,
            sgid: route.sgid,
            dgid: route.dgid,
        });
        let bth = Bth {
            opcode: Opcode::UD_SEND_ONLY,
            solicited: false,
            migrated: false,
            pad: 0,
            version: 0,
            pkey: spec.pkey,
            variant: 0,
            dest_qp: spec.dest_qp,
            ack_request: false,
            psn: spec.psn,
        };
        let deth = Deth { qkey: spec.qkey, src_qp: spec.src_qp };
        Self { lrh, grh, bth, deth, payload, offload }
    }

    /// Reads a packet as on a link, LRH through VCRC, and checks both checksums.
    pub fn parse(bytes: &[u8]) -> Result<Self, PacketError> {
        Self::parse_without_vcrc(without_vcrc(bytes)?)
    }

    /// Reads a packet LRH through ICRC and checks the ICRC.
    pub fn parse_without_vcrc(body: &[u8]) -> Result<Self, PacketError> {
        let (packet, payload) = Self::read(body)?;
        Ok(Self { payload: Payload::from(payload), ..packet })
    }

    /// As [`Packet::parse`], but the payload stays where it is.
    pub fn parse_in_place(bytes: Payload) -> Result<Self, PacketError> {
        let (packet, range) = Self::parse_headers(&bytes)?;
        let mut payload = bytes;
        payload.truncate(range.end);
        payload.trim_front(range.start);
        Ok(Self { payload, ..packet })
    }

    /// As [`Packet::parse`], but without the payload; where in `bytes` that is comes with it.
    pub fn parse_headers(bytes: &[u8]) -> Result<(Self, Range<usize>), PacketError> {
        let (packet, payload) = Self::read(without_vcrc(bytes)?)?;
        let start = packet.header_len();
        let range = start..start + payload.len();
        Ok((packet, range))
    }

    /// The packet without its payload, and that.
    fn read(body: &[u8]) -> Result<(Self, &[u8]), PacketError> {
        let (lrh, rest) = Lrh::parse(body)?;
        if usize::from(lrh.length) * 4 != body.len() {
            return Err(PacketError::Length { said: lrh.length, have: body.len() });
        }
        if lrh.version != 0 {
            return Err(PacketError::Version("LRH"));
        }
        let (grh, rest) = match lrh.next {
            NextHeader::BTH => (None, rest),
            NextHeader::GRH => {
                let (grh, rest) = Grh::parse(rest)?;
                if grh.version != 6
                    || grh.next_header != Grh::NEXT_BTH
                    || usize::from(grh.payload_length) != rest.len()
                {
                    return Err(PacketError::Grh);
                }
                (Some(grh), rest)
            }
            _ => return Err(PacketError::Raw),
        };
        let (bth, rest) = Bth::parse(rest)?;
        if bth.version != 0 {
            return Err(PacketError::Version("BTH"));
        }
        if bth.opcode != Opcode::UD_SEND_ONLY {
            return Err(PacketError::Opcode(bth.opcode));
        }
        let (deth, rest) = Deth::parse(rest)?;
        let need = 4 + usize::from(bth.pad);
        let payload_len = rest.len().checked_sub(need).ok_or(Truncated { need, have: rest.len() })?;
        let (covered, icrc) = body.split_at(body.len() - 4);
        if crc::icrc(covered, grh.is_some()) != icrc {
            return Err(PacketError::Icrc);
        }
        let packet = Self { lrh, grh, bth, deth, payload: Payload::default(), offload: Offload::NONE };
        Ok((packet, &rest[..payload_len]))
    }

    /// Appends the bytes a link carries, LRH through VCRC. A pending offload must have been carried out.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.header_len(), 0);
        out.extend_from_slice(&self.payload);
        self.enclose(out, start, self.bth.psn);
    }

    /// Appends every packet that this one stands for as a link carries it, one behind the other, and nothing else is
    /// allocated. All but the last are of one length, in bytes: that comes back, or an error if what a large send
    /// says of itself is wrong.
    pub fn emit_all(&self, out: &mut Vec<u8>) -> Result<usize, LargeError> {
        let first = out.len();
        if !self.offload.is_pending() {
            self.emit(out);
            return Ok(out.len() - first);
        }
        let (encapsulation, ip) = self.payload.split_at(self.payload.len().min(ENCAPSULATION));
        let mut segments = segments(ip, &self.offload)?;
        let (mut start, mut length, mut psn) = (first, 0, self.bth.psn);
        loop {
            out.resize(start + self.header_len(), 0);
            out.extend_from_slice(encapsulation);
            if !segments.append_next(out) {
                out.truncate(start);
                return Ok(length);
            }
            self.enclose(out, start, psn);
            (psn, length) = (psn.plus(1), length.max(out.len() - start));
            start = out.len();
        }
    }

    /// Puts headers in front of the payload at the end of `out`, in the room left for them at `start`, and padding and
    /// checksums behind it.
    fn enclose(&self, out: &mut Vec<u8>, start: usize, psn: Psn) {
        let len = out.len() - start - self.header_len();
        let pad = (4 - len % 4) % 4;
        out.extend_from_slice(&[0; 3][..pad]);
        let mut at = start;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&Lrh { length: self.words_of(len), ..self.lrh }.to_bytes());
        if let Some(grh) = self.grh {
            let behind = Bth::LEN + Deth::LEN + len + pad + 4;
            put(&Grh { payload_length: u16::try_from(behind).unwrap_or(u16::MAX), ..grh }.to_bytes());
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 4")]
        put(&Bth { pad: pad as u8, psn, ..self.bth }.to_bytes());
        put(&self.deth.to_bytes());
        let icrc = crc::icrc(&out[start..], self.grh.is_some());
        out.extend_from_slice(&icrc);
        let vcrc = crc::vcrc(&out[start..]);
        out.extend_from_slice(&vcrc);
    }

    /// Bytes in front of the payload.
    pub fn header_len(&self) -> usize {
        Lrh::LEN + if self.grh.is_some() { Grh::LEN } else { 0 } + Bth::LEN + Deth::LEN
    }

    /// What this packet counts for on a link.
    #[inline]
    pub fn measure(&self) -> Measure {
        Measure::of(self.header_len(), self.payload.len(), &self.offload)
    }

    /// The largest payload on the link: of a large send, that of its full packets.
    pub fn largest_payload(&self) -> usize {
        self.offload.largest_of(self.payload.len())
    }

    fn words_of(&self, payload: usize) -> u16 {
        words(self.header_len() + payload.next_multiple_of(4))
    }
}

impl Measure {
    /// What a datagram counts for with so many bytes of headers and of payload.
    #[inline]
    pub fn of(headers: usize, payload: usize, offload: &Offload) -> Self {
        let words_of = |payload: usize| u32::from(words(headers + payload.next_multiple_of(4)));
        let Some(segments) = offload.segments else { return Self { packets: 1, words: words_of(payload) } };
        let (count, last) = segments.count(payload.saturating_sub(ENCAPSULATION));
        let packets = u32::try_from(count).unwrap_or(u32::MAX);
        let words = words_of(ENCAPSULATION + segments.packet()) * (packets - 1);
        Self { packets, words: words + words_of(ENCAPSULATION + last) }
    }
}

/// 4-byte words on the link of so many bytes in front of the ICRC, as LRH counts them.
fn words(bytes: usize) -> u16 {
    u16::try_from((bytes + 4) / 4).unwrap_or(u16::MAX)
}

/// What stands in front of a VCRC that is right.
fn without_vcrc(bytes: &[u8]) -> Result<&[u8], PacketError> {
    let (body, vcrc) = bytes.split_last_chunk::<2>().ok_or(Truncated { need: 2, have: bytes.len() })?;
    if crc::vcrc(body) == *vcrc { Ok(body) } else { Err(PacketError::Vcrc) }
}
