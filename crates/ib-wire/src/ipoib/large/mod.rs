//! Large sends cut into the packets that a link carries, with real lengths, sequence numbers and checksums.
//!
//! What the kernel would have done had it not been asked to leave it: RFC 9293 for TCP, one datagram a
//! segment for UDP. IP fragments are not made here. Packets start at the IP header.

mod headers;
mod merge;

use alloc::vec::Vec;

pub use headers::{LargeError, complete_checksum, header_len, make_whole};
use headers::{Layout, partial_field};
pub use merge::{MOST_DATAGRAMS, Merge};

use crate::offload::{Checksum, Offload, SegmentKind, Segments};

/// The packets that `ip` stands for: one, its checksum completed, if `offload` names no segments.
pub fn segments<'a>(ip: &'a [u8], offload: &Offload) -> Result<Segmenter<'a>, LargeError> {
    let plan = match (offload.segments, offload.checksum) {
        (Some(how), _) => Plan::Cut(Cut::new(ip, how)?),
        (None, Checksum::Partial { start, offset }) => {
            partial_field(ip, start, offset)?;
            Plan::Whole { checksum: Some((start, offset)) }
        }
        (None, Checksum::Complete | Checksum::Verified) => Plan::Whole { checksum: None },
    };
    let count = offload.packets(ip.len());
    Ok(Segmenter { ip, plan, next: 0, count })
}

/// Gives one packet after the other; from `segments`.
///
/// As an iterator every packet is a vector of its own; `append_next` writes behind what is already in the
/// caller's, the link's headers for instance.
#[derive(Clone, Debug)]
pub struct Segmenter<'a> {
    ip: &'a [u8],
    plan: Plan,
    next: usize,
    count: usize,
}

impl Segmenter<'_> {
    /// Appends the next packet to `out`; false if there is none.
    pub fn append_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next == self.count {
            return false;
        }
        let start = out.len();
        match self.plan {
            Plan::Whole { checksum } => {
                out.extend_from_slice(self.ip);
                if let Some((at, offset)) = checksum {
                    complete_checksum(&mut out[start..], at, offset).expect("looked at before");
                }
            }
            Plan::Cut(cut) => cut.append(self.ip, self.next, self.count, out),
        }
        self.next += 1;
        true
    }

    /// Octets of the longest packet that is to come.
    pub fn max_len(&self) -> usize {
        match self.plan {
            Plan::Whole { .. } => self.ip.len(),
            Plan::Cut(cut) => self.ip.len().min(cut.header + cut.size),
        }
    }
}

impl Iterator for Segmenter<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut packet = Vec::with_capacity(self.max_len());
        self.append_next(&mut packet).then_some(packet)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Segmenter<'_> {}

#[derive(Clone, Copy, Debug)]
enum Plan {
    /// One packet; where its checksum goes, if it has none yet.
    Whole { checksum: Option<(u16, u16)> },
    /// Many.
    Cut(Cut),
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    layout: Layout,
    header: usize,
    size: usize,
    ecn: bool,
}

impl Cut {
    fn new(ip: &[u8], how: Segments) -> Result<Self, LargeError> {
        let layout = Layout::of(ip, how.kind)?;
        let (header, size) = (usize::from(how.header), usize::from(how.size));
        if header != layout.data {
            return Err(LargeError::Header { told: header, real: layout.data });
        }
        if size == 0 {
            return Err(LargeError::NoSize);
        }
        if ip.len().min(header + size) > layout.max_len() {
            return Err(LargeError::TooLong);
        }
        Ok(Self { layout, header, size, ecn: how.ecn && how.kind != SegmentKind::Udp })
    }

    /// Appends packet `index` of `count`.
    fn append(&self, ip: &[u8], index: usize, count: usize, out: &mut Vec<u8>) {
        let (header, data) = ip.split_at(self.header);
        let at = index * self.size;
        let start = out.len();
        out.extend_from_slice(header);
        out.extend_from_slice(&data[at..data.len().min(at + self.size)]);
        let packet = &mut out[start..];
        self.layout.put_ip(packet, index);
        if self.layout.is_udp() {
            self.layout.put_udp(packet);
        } else {
            let mut cleared = 0;
            cleared |= if index + 1 < count { FIN | PSH } else { 0 };
            cleared |= if index > 0 && self.ecn { CWR } else { 0 };
            self.layout.put_tcp(packet, at, cleared);
        }
    }
}

/// TCP flags that not every segment repeats.
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::*;

    const V6: ([u8; 16], [u8; 16]) = ([0xfd; 16], [0xfe; 16]);

    /// A large send as the kernel hands it over: everything right but the checksum.
    fn send(kind: SegmentKind, v6: bool, data: &[u8]) -> Vec<u8> {
        let ip = if v6 {
            PacketBuilder::ipv6(V6.0, V6.1, 64)
        } else {
            PacketBuilder::ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        };
        match kind {
            SegmentKind::Udp => {
                let udp = ip.udp(5000, 6000);
                let mut packet = vec![0; udp.size(data.len())];
                udp.write_to_slice(&mut packet, data).unwrap();
                packet
            }
            SegmentKind::Tcp4 | SegmentKind::Tcp6 => {
                let tcp = ip.tcp(5000, 6000, 0xffff_f000, 100).ack(77).psh().fin().cwr();
                let tcp = tcp.options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]).unwrap();
                let mut packet = vec![0; tcp.size(data.len())];
                tcp.write_to_slice(&mut packet, data).unwrap();
                packet
            }
        }
    }

    /// Cuts, has every packet judged by etherparse, and puts the data together again.
    fn check(kind: SegmentKind, v6: bool, data: &[u8], size: u16, ecn: bool) {
        let packet = send(kind, v6, data);
        let how = Segments { kind, size, header: header_len(&packet, kind).unwrap(), ecn };
        let offload = Offload { checksum: Checksum::Complete, segments: Some(how) };
        let parts = segments(&packet, &offload).unwrap();
        let (count, last) = how.count(packet.len());
        assert_eq!(parts.len(), count);
        let mut together = Vec::new();
        for (i, part) in parts.enumerate() {
            let end = i + 1 == count;
            assert_eq!(part.len(), if end { last } else { usize::from(how.header + size) });
            judge(&part, i);
            let sliced = SlicedPacket::from_ip(&part).unwrap();
            match sliced.transport.unwrap() {
                TransportSlice::Tcp(tcp) => {
                    let at = 0xffff_f000u32.wrapping_add(u32::try_from(together.len()).unwrap());
                    assert_eq!((tcp.sequence_number(), tcp.ack()), (at, true));
                    assert_eq!((tcp.fin(), tcp.psh(), tcp.cwr()), (end, end, i == 0 || !ecn));
                    together.extend_from_slice(tcp.payload());
                }
                TransportSlice::Udp(udp) => together.extend_from_slice(udp.payload()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(together, data);
    }

    /// Lengths and checksums, by etherparse.
    fn judge(part: &[u8], index: usize) {
        let sliced = SlicedPacket::from_ip(part).unwrap();
        let transport = sliced.transport.unwrap();
        match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let ip = ip.header();
                assert_eq!(usize::from(ip.total_len()), part.len());
                assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
                assert_eq!(usize::from(ip.identification()), index);
                match transport {
                    TransportSlice::Tcp(tcp) => assert_eq!(
                        tcp.checksum(),
                        tcp.to_header()
                            .calc_checksum_ipv4_raw(ip.source(), ip.destination(), tcp.payload())
                            .unwrap()
                    ),
                    TransportSlice::Udp(udp) => assert_eq!(
                        udp.checksum(),
                        udp.to_header()
                            .calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload())
                            .unwrap()
                    ),
                    other => panic!("{other:?}"),
                }
            }
            NetSlice::Ipv6(ip) => {
                let ip = ip.header();
                assert_eq!(usize::from(ip.payload_length()), part.len() - 40);
                match transport {
                    TransportSlice::Tcp(tcp) => assert_eq!(
                        tcp.checksum(),
                        tcp.to_header()
                            .calc_checksum_ipv6_raw(ip.source(), ip.destination(), tcp.payload())
                            .unwrap()
                    ),
                    TransportSlice::Udp(udp) => assert_eq!(
                        udp.checksum(),
                        udp.to_header()
                            .calc_checksum_ipv6_raw(ip.source(), ip.destination(), udp.payload())
                            .unwrap()
                    ),
                    other => panic!("{other:?}"),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sixty_kilobytes_of_tcp_become_the_packets_of_the_link() {
        let data: Vec<u8> = (0..60_000u32).map(|i| i.to_be_bytes()[3] ^ i.to_be_bytes()[2]).collect();
        check(SegmentKind::Tcp4, false, &data, 1992, true);
        check(SegmentKind::Tcp4, false, &data, 1992, false);
        check(SegmentKind::Tcp6, true, &data, 1972, true);
        check(SegmentKind::Udp, false, &data, 1472, false);
        check(SegmentKind::Udp, true, &data, 1452, false);
    }

    #[test]
    fn a_partial_checksum_alone_gives_one_packet() {
        let mut packet = send(SegmentKind::Udp, true, b"hello");
        let want = packet.clone();
        let pseudo = super::super::checksum::Sum::pseudo6(V6.0.into(), V6.1.into(), 17, 13).finish();
        packet[46..48].copy_from_slice(&(!pseudo).to_be_bytes());
        let offload = Offload { checksum: Checksum::Partial { start: 40, offset: 6 }, segments: None };
        let mut out = vec![1, 2, 3];
        let mut parts = segments(&packet, &offload).unwrap();
        assert!(parts.append_next(&mut out));
        assert!(!parts.append_next(&mut out));
        assert_eq!(out, [&[1, 2, 3], &want[..]].concat());
        assert_eq!(segments(&want, &Offload::NONE).unwrap().collect::<Vec<_>>(), [want]);
    }

    #[test]
    fn every_refusal_has_its_name() {
        let packet = send(SegmentKind::Tcp4, false, &[7; 100]);
        let refused = |packet: &[u8], kind, size, header| {
            let how = Segments { kind, size, header, ecn: false };
            segments(packet, &Offload { checksum: Checksum::Complete, segments: Some(how) }).unwrap_err()
        };
        assert_eq!(refused(&packet, SegmentKind::Tcp4, 0, 52), LargeError::NoSize);
        assert_eq!(refused(&packet, SegmentKind::Tcp4, 10, 40), LargeError::Header { told: 40, real: 52 });
        assert_eq!(
            refused(&packet, SegmentKind::Tcp6, 10, 52),
            LargeError::Version { kind: SegmentKind::Tcp6, found: 4 }
        );
        assert_eq!(
            refused(&packet, SegmentKind::Udp, 10, 52),
            LargeError::Protocol { kind: SegmentKind::Udp, found: 6 }
        );
        assert!(matches!(refused(&packet[..51], SegmentKind::Tcp4, 10, 52), LargeError::Truncated(_)));
        let mut fragment = packet.clone();
        fragment[6] = 0x20;
        assert_eq!(refused(&fragment, SegmentKind::Tcp4, 10, 52), LargeError::Fragment);
        let long = [&packet[..], &[0; 70_000]].concat();
        assert_eq!(refused(&long, SegmentKind::Tcp4, u16::MAX, 52), LargeError::TooLong);
        let partial = Offload { checksum: Checksum::Partial { start: 150, offset: 1 }, segments: None };
        assert_eq!(
            segments(&packet, &partial).unwrap_err(),
            LargeError::ChecksumField { at: 151, have: 152 }
        );
    }

    proptest! {
        #[test]
        fn any_send_is_cut_and_whole_again(
            data in proptest::collection::vec(any::<u8>(), 0..5000), size in 1..3000u16, kind in 0..4usize, ecn: bool,
        ) {
            let size = size.max(u16::try_from(data.len() / 100).unwrap());
            match kind {
                0 => check(SegmentKind::Tcp4, false, &data, size, ecn),
                1 => check(SegmentKind::Tcp6, true, &data, size, ecn),
                n => check(SegmentKind::Udp, n == 2, &data, size, ecn),
            }
        }

        #[test]
        fn no_bytes_make_cutting_panic(
            mut packet in proptest::collection::vec(any::<u8>(), 0..200), first in 0..4usize, protocol in 0..4usize,
            size in 0..40u16, header in 0..130u16, kind in 0..3usize, partial: bool, start in 0..220u16, offset in 0..20u16,
        ) {
            if let Some(byte) = packet.first_mut() {
                *byte = [*byte, 0x45, 0x46, 0x60][first];
            }
            for at in [6, 9] {
                if let Some(byte) = packet.get_mut(at) {
                    *byte = [*byte, 0, 6, 17][protocol];
                }
            }
            let kind = [SegmentKind::Tcp4, SegmentKind::Tcp6, SegmentKind::Udp][kind];
            let real = header_len(&packet, kind);
            for header in real.into_iter().chain([header]) {
                let how = (size < 30).then_some(Segments { kind, size, header, ecn: partial });
                let checksum = if partial { Checksum::Partial { start, offset } } else { Checksum::Complete };
                if let Ok(parts) = segments(&packet, &Offload { checksum, segments: how }) {
                    prop_assert!(parts.fold(0, |sum, part| sum + part.len()) >= packet.len());
                }
            }
        }
    }
}
