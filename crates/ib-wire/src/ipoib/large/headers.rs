//! The headers of a large send: where they are, and what changes in them from packet to packet.

use super::super::checksum::Sum;
use crate::{layout::Truncated, offload::SegmentKind};

/// Why a datagram cannot be made what a link would carry: whoever said what is to be done told wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LargeError {
    /// The headers do not fit in.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Neither IPv4 nor IPv6, or not the one of the kind.
    #[error("IP version {found} in a large send of {kind:?}")]
    Version {
        /// What it should be.
        kind: SegmentKind,
        /// The version field.
        found: u8,
    },
    /// Another transport than the kind's, or hidden behind headers that are not known.
    #[error("IP protocol {found} in a large send of {kind:?}")]
    Protocol {
        /// What it should be.
        kind: SegmentKind,
        /// The protocol or next header field.
        found: u8,
    },
    /// An IPv4 header below 20 octets, a TCP one likewise.
    #[error("a header of {0} octets is too short")]
    ShortHeader(usize),
    /// Part of a fragmented packet.
    #[error("a fragment cannot be cut into segments")]
    Fragment,
    /// Segments of no length.
    #[error("segment size 0")]
    NoSize,
    /// The headers are not as long as told.
    #[error("headers take {real} octets, not {told}")]
    Header {
        /// Octets by the description.
        told: usize,
        /// Octets by the headers themselves.
        real: usize,
    },
    /// A single packet would exceed what the length field can say.
    #[error("too long for an IP packet")]
    TooLong,
    /// The checksum would be stored beyond the end.
    #[error("checksum field at {at} in {have} octets")]
    ChecksumField {
        /// Where the field would be.
        at: usize,
        /// Octets there are.
        have: usize,
    },
}

/// Stores the checksum over `start..` at `start + offset`, where the sum of the pseudo header waits: what
/// `Checksum::Partial` asks for.
pub fn complete_checksum(ip: &mut [u8], start: u16, offset: u16) -> Result<(), LargeError> {
    let at = partial_field(ip, start, offset)?;
    let sum = Sum::ZERO.with(&ip[usize::from(start)..]).finish_nonzero();
    ip[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Where a partial checksum goes, if that is within the packet.
pub(super) fn partial_field(ip: &[u8], start: u16, offset: u16) -> Result<usize, LargeError> {
    let at = usize::from(start) + usize::from(offset);
    if at + 2 > ip.len() { Err(LargeError::ChecksumField { at, have: ip.len() }) } else { Ok(at) }
}

/// Octets of IP and transport header in a large send, for `Segments::header`: found by reading them, as the
/// number that a host gives along is no more than a hint.
pub fn header_len(ip: &[u8], kind: SegmentKind) -> Result<u16, LargeError> {
    u16::try_from(Layout::of(ip, kind)?.data).map_err(|_| LargeError::TooLong)
}

/// Makes the headers of a first packet, with the data of others behind it, those of a large send: lengths, and the sum of
/// the pseudo header where the checksum goes.
///
/// # Panics
/// If it is longer than the length fields can say.
pub fn make_whole(ip: &mut [u8], kind: SegmentKind) -> Result<(), LargeError> {
    Layout::of(ip, kind)?.put_whole(ip);
    Ok(())
}

/// Where the headers of a large send are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    v6: bool,
    protocol: u8,
    /// First octet of the transport header.
    pub(super) transport: usize,
    /// First octet of the data.
    pub(super) data: usize,
}

impl Layout {
    /// Reads the headers and checks that they are those of `kind`.
    pub(super) fn of(ip: &[u8], kind: SegmentKind) -> Result<Self, LargeError> {
        let version = octet(ip, 0)? >> 4;
        let v6 = match (version, kind) {
            (4, SegmentKind::Tcp4 | SegmentKind::Udp) => false,
            (6, SegmentKind::Tcp6 | SegmentKind::Udp) => true,
            (found, kind) => return Err(LargeError::Version { kind, found }),
        };
        let (protocol, transport) = if v6 { transport6(ip)? } else { transport4(ip)? };
        let data = transport
            + match (protocol, kind) {
                (TCP, SegmentKind::Tcp4 | SegmentKind::Tcp6) => {
                    at_least(20, usize::from(octet(ip, transport + 12)? >> 4) * 4)?
                }
                (UDP, SegmentKind::Udp) => 8,
                (found, kind) => return Err(LargeError::Protocol { kind, found }),
            };
        if ip.len() < data {
            return Err(Truncated { need: data, have: ip.len() }.into());
        }
        Ok(Self { v6, protocol, transport, data })
    }

    pub(super) const fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    /// The longest packet that the IP header can tell of.
    pub(super) const fn max_len(&self) -> usize {
        if self.v6 { IPV6 + 0xffff } else { 0xffff }
    }

    /// Length, and for IPv4 the identification, `index` further on, and the checksum.
    pub(super) fn put_ip(&self, packet: &mut [u8], index: usize) {
        if self.v6 {
            return put(packet, 4, word(packet.len() - IPV6));
        }
        put(packet, 2, word(packet.len()));
        let id = u16::from_be_bytes([packet[4], packet[5]]);
        put(packet, 4, id.wrapping_add(word(index & 0xffff)));
        put(packet, 10, 0);
        put(packet, 10, Sum::ZERO.with(&packet[..self.transport]).finish());
    }

    /// Where in the transport header the checksum is.
    pub(super) const fn sum_at(&self) -> usize {
        if self.is_udp() { 6 } else { 16 }
    }

    /// Length and checksum.
    pub(super) fn put_udp(&self, packet: &mut [u8]) {
        self.put_udp_len(packet);
        self.put_sum(packet);
    }

    fn put_udp_len(&self, packet: &mut [u8]) {
        put(packet, self.transport + 4, word(packet.len() - self.transport));
    }

    /// Sequence number, `advance` further on, flags without those in `cleared`, checksum.
    pub(super) fn put_tcp(&self, packet: &mut [u8], advance: usize, cleared: u8) {
        put_sequence(&mut packet[self.transport..], advance);
        packet[self.transport + 13] &= !cleared;
        self.put_sum(packet);
    }

    /// The flags of a TCP header; of UDP, none.
    pub(super) fn tcp_flags(&self, packet: &[u8]) -> u8 {
        if self.is_udp() { 0 } else { packet[self.transport + 13] }
    }

    /// Sets flags of a TCP header; of UDP, nothing.
    pub(super) fn put_tcp_flags(&self, packet: &mut [u8], flags: u8) {
        if !self.is_udp() {
            packet[self.transport + 13] |= flags;
        }
    }

    /// True if lengths and checksums of a packet are right. A datagram without a checksum is not.
    pub(super) fn is_right(&self, packet: &[u8]) -> bool {
        if packet.len() > self.max_len() {
            return false;
        }
        let said = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        let (len, sum) = (said(self.transport + 4), said(self.transport + self.sum_at()));
        if self.is_udp() && (len != packet.len() - self.transport || sum == 0) {
            return false;
        }
        let ip_is_right = if self.v6 {
            said(4) == packet.len() - IPV6
        } else {
            said(2) == packet.len() && Sum::ZERO.with(&packet[..self.transport]).finish() == 0
        };
        ip_is_right && self.pseudo(packet).with(&packet[self.transport..]).finish() == 0
    }

    /// Makes `header`, that of a first packet, what that of `next` is to be: `index` packets and `advance` octets
    /// further on. Its lengths and checksums are those of `next`, whatever they are, and so is the end of a send.
    pub(super) fn put_next(&self, header: &mut [u8], next: &[u8], index: usize, advance: usize) {
        let mut same = |at: usize| header[at..at + 2].copy_from_slice(&next[at..at + 2]);
        same(self.transport + self.sum_at());
        if self.is_udp() {
            same(self.transport + 4);
        }
        if self.v6 {
            same(4);
        } else {
            same(2);
            same(10);
            let id = u16::from_be_bytes([header[4], header[5]]);
            put(header, 4, id.wrapping_add(word(index & 0xffff)));
        }
        if !self.is_udp() {
            put_sequence(&mut header[self.transport..], advance);
            self.put_tcp_flags(header, self.tcp_flags(next) & (super::FIN | super::PSH));
        }
    }

    /// Lengths and IP checksum of a large send, and the sum of the pseudo header where the checksum goes.
    pub(super) fn put_whole(&self, packet: &mut [u8]) {
        self.put_ip(packet, 0);
        if self.is_udp() {
            self.put_udp_len(packet);
        }
        let sum = !self.pseudo(packet).finish();
        put(packet, self.transport + self.sum_at(), sum);
    }

    fn pseudo(&self, packet: &[u8]) -> Sum {
        let (head, body) = packet.split_at(self.transport);
        let addresses = if self.v6 { &head[8..IPV6] } else { &head[12..20] };
        Sum::ZERO.with(addresses).word(u16::from(self.protocol)).word(word(body.len()))
    }

    fn put_sum(&self, packet: &mut [u8]) {
        let at = self.transport + self.sum_at();
        put(packet, at, 0);
        let sum = self.pseudo(packet).with(&packet[self.transport..]);
        let sum = if self.is_udp() { sum.finish_nonzero() } else { sum.finish() };
        put(packet, at, sum);
    }
}

/// Protocol, and where its header starts.
fn transport4(ip: &[u8]) -> Result<(u8, usize), LargeError> {
    let header = at_least(20, usize::from(octet(ip, 0)? & 0xf) * 4)?;
    let protocol = octet(ip, 9)?;
    if octet(ip, 6)? & 0x3f != 0 || octet(ip, 7)? != 0 {
        return Err(LargeError::Fragment);
    }
    Ok((protocol, header))
}

/// The same behind the extension headers that do not change what the checksum covers.
fn transport6(ip: &[u8]) -> Result<(u8, usize), LargeError> {
    let (mut next, mut at) = (octet(ip, 6)?, IPV6);
    loop {
        match next {
            HOP_BY_HOP | DESTINATION => {}
            FRAGMENT => return Err(LargeError::Fragment),
            _ => return Ok((next, at)),
        }
        next = octet(ip, at)?;
        at += 8 * (1 + usize::from(octet(ip, at + 1)?));
    }
}

fn octet(bytes: &[u8], at: usize) -> Result<u8, Truncated> {
    bytes.get(at).copied().ok_or_else(|| Truncated { need: at + 1, have: bytes.len() })
}

/// A TCP header's sequence number, `advance` further on.
fn put_sequence(tcp: &mut [u8], advance: usize) {
    let field = tcp[4..].first_chunk_mut::<4>().expect("a TCP header has 20 octets");
    let advance = u32::try_from(advance).expect("a large send is below 4 GiB");
    *field = u32::from_be_bytes(*field).wrapping_add(advance).to_be_bytes();
}

const fn at_least(min: usize, len: usize) -> Result<usize, LargeError> {
    if len < min { Err(LargeError::ShortHeader(len)) } else { Ok(len) }
}

fn put(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn word(value: usize) -> u16 {
    u16::try_from(value).expect("checked against what the length fields hold")
}

const IPV6: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
