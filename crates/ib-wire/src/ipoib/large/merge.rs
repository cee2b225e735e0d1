//! Packets of TCP or UDP that follow each other in a buffer, made one large send again.
//!
//! Only what cutting would give back octet for octet is put together, and only after its checksums were found right.

use core::ops::Range;

use super::{super::dhcp::is_dhcp, CWR, FIN, PSH, headers::Layout};
use crate::offload::{Checksum, Offload, SegmentKind, Segments};

/// A large send that grows at its place in a buffer, from its first packet on.
#[derive(Clone, Copy, Debug)]
pub struct Merge {
    kind: SegmentKind,
    layout: Layout,
    start: usize,
    end: usize,
    /// Octets of data in every packet but the last.
    size: usize,
    count: usize,
    /// The last packet was not the last of the send.
    open: bool,
}

impl Merge {
    /// Begins with the IP packet at `range`; `None` if it is none of TCP or UDP with data, or not right. DHCP stays as it
    /// is: whoever carries it translates it message by message.
    pub fn begin(buffer: &[u8], range: Range<usize>) -> Option<Self> {
        let ip = &buffer[range.clone()];
        let tcp = if ip.first()? >> 4 == 4 { SegmentKind::Tcp4 } else { SegmentKind::Tcp6 };
        let of = |kind| Layout::of(ip, kind).ok().map(|layout| (kind, layout));
        let (kind, layout) = of(tcp).or_else(|| of(SegmentKind::Udp))?;
        let flags = layout.tcp_flags(ip);
        let size = ip.len() - layout.data;
        if flags & !(FIN | PSH | ACK) != 0 || size == 0 || is_dhcp(ip) || !layout.is_right(ip) {
            return None;
        }
        let open = flags & (FIN | PSH) == 0;
        Some(Self { kind, layout, start: range.start, end: range.end, size, count: 1, open })
    }

    /// Moves the data of the IP packet at `range`, which lies behind, to the end, if it is what comes next; else nothing
    /// happens, and false comes back.
    pub fn add(&mut self, buffer: &mut [u8], range: Range<usize>) -> bool {
        let Self { layout, start, end, size, count, .. } = *self;
        let len = range.len().saturating_sub(layout.data);
        let is_full = layout.is_udp() && count == MOST_DATAGRAMS;
        if !self.open
            || is_full
            || len == 0
            || len > size
            || end + len - start > layout.max_len().min(LARGEST)
        {
            return false;
        }
        let (first, next) = (&buffer[start..start + layout.data], &buffer[range.clone()]);
        let mut expected = [0; MOST_HEADERS];
        let Some(expected) = expected.get_mut(..layout.data) else { return false };
        expected.copy_from_slice(first);
        layout.put_next(expected, next, count, count * size);
        if *expected != next[..layout.data] || !layout.is_right(next) {
            return false;
        }
        let flags = layout.tcp_flags(next);
        self.open = len == size && flags & (FIN | PSH) == 0;
        buffer.copy_within(range.start + layout.data..range.end, end);
        layout.put_tcp_flags(&mut buffer[start..], flags & (FIN | PSH));
        self.end += len;
        self.count += 1;
        true
    }

    /// Makes the headers those of the whole. Where it ends comes back, and what is left to do for it.
    pub fn finish(self, buffer: &mut [u8]) -> (usize, Offload) {
        let Self { layout, start, end, size, count, .. } = self;
        if count == 1 {
            return (end, Offload { checksum: Checksum::Verified, segments: None });
        }
        layout.put_whole(&mut buffer[start..end]);
        let word = |value: usize| u16::try_from(value).expect("no header or packet is longer than 64 KB");
        let checksum = Checksum::Partial { start: word(layout.transport), offset: word(layout.sum_at()) };
        let segments = Segments { kind: self.kind, size: word(size), header: word(layout.data), ecn: false };
        (end, Offload { checksum, segments: Some(segments) })
    }
}

/// Datagrams that one large send may stand for: what every kernel takes.
pub const MOST_DATAGRAMS: usize = 64;

const ACK: u8 = 0x10;
/// Octets of an IPv4 header with all options and a TCP header with all of its own; of IPv6 not all that can be.
const MOST_HEADERS: usize = 120;
/// Octets of an IP packet that every kernel takes from a TAP.
const LARGEST: usize = 65535;

const _: () = assert!(CWR & (FIN | PSH | ACK) == 0, "nothing that begins with it is put together");

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::{super::segments, *};

    fn tcp(v6: bool, flags: u8, data: &[u8]) -> Vec<u8> {
        let transport = if v6 { 40 } else { 20 };
        let mut ip = vec![0; transport + 32];
        if v6 {
            (ip[0], ip[6], ip[7]) = (0x60, 6, 64);
        } else {
            (ip[0], ip[4], ip[5], ip[6], ip[8], ip[9]) = (0x45, 0xff, 0xfe, 0x40, 64, 6);
        }
        ip[12..20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        ip[transport + 4..transport + 8].copy_from_slice(&[0xff, 0xff, 0xff, 0]);
        (ip[transport + 12], ip[transport + 13]) = (8 << 4, flags);
        ip[transport + 20..].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        [&ip[..], data].concat()
    }

    fn cut(v6: bool, flags: u8, data: &[u8], size: u16) -> Vec<Vec<u8>> {
        let (kind, transport) = if v6 { (SegmentKind::Tcp6, 40) } else { (SegmentKind::Tcp4, 20) };
        let how = Segments { kind, size, header: transport + 32, ecn: false };
        let checksum = Checksum::Partial { start: transport, offset: 16 };
        let offload = Offload { checksum, segments: Some(how) };
        segments(&tcp(v6, flags, data), &offload).unwrap().collect()
    }

    /// Datagrams as somebody sent them, IPv4 ones with identifications that count.
    fn datagrams(v6: bool, data: &[u8], size: u16) -> Vec<Vec<u8>> {
        datagrams_of([0x10, 0, 0x20, 0], v6, data, size)
    }

    /// The same from this port to that.
    fn datagrams_of(ports: [u8; 4], v6: bool, data: &[u8], size: u16) -> Vec<Vec<u8>> {
        let transport = if v6 { 40 } else { 20u16 };
        let mut ip = tcp(v6, 0, &[]);
        ip.truncate(usize::from(transport));
        ip[if v6 { 6 } else { 9 }] = 17;
        ip.extend(ports);
        ip.extend([0; 4]);
        ip.extend(data);
        let how = Segments { kind: SegmentKind::Udp, size, header: transport + 8, ecn: false };
        let checksum = Checksum::Partial { start: transport, offset: 6 };
        segments(&ip, &Offload { checksum, segments: Some(how) }).unwrap().collect()
    }

    /// All packets into a buffer, each behind some octets of others' headers.
    fn laid_out(packets: &[Vec<u8>]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut buffer, mut ranges) = (Vec::new(), Vec::new());
        for packet in packets {
            buffer.extend([0xaa; 32]);
            ranges.push(buffer.len()..buffer.len() + packet.len());
            buffer.extend(packet);
        }
        (buffer, ranges)
    }

    /// How many of the packets become one, and that one with what is left to do.
    fn merged(packets: &[Vec<u8>]) -> Option<(usize, Vec<u8>, Offload)> {
        let (mut buffer, ranges) = laid_out(packets);
        let mut merge = Merge::begin(&buffer, ranges[0].clone())?;
        let count =
            1 + ranges[1..].iter().take_while(|range| merge.add(&mut buffer, (*range).clone())).count();
        let (end, offload) = merge.finish(&mut buffer);
        Some((count, buffer[ranges[0].start..end].to_vec(), offload))
    }

    #[test]
    fn what_was_cut_is_whole_again_and_cut_again_it_is_the_same() {
        let data: Vec<u8> = (0..60_000u32).map(|i| i.to_be_bytes()[3] ^ i.to_be_bytes()[2]).collect();
        for (v6, flags) in [(false, ACK), (true, ACK | PSH), (false, ACK | PSH | FIN)] {
            let packets = cut(v6, flags, &data, 1992);
            let (count, whole, offload) = merged(&packets).unwrap();
            assert_eq!(count, packets.len());
            assert_eq!(segments(&whole, &offload).unwrap().collect::<Vec<_>>(), packets);
        }
    }

    #[test]
    fn datagrams_become_one_large_send() {
        for v6 in [false, true] {
            let packets = datagrams(v6, &[7; 1000], 90);
            let (count, whole, offload) = merged(&packets).unwrap();
            assert_eq!(count, 12);
            assert_eq!(offload.checksum, Checksum::Partial { start: if v6 { 40 } else { 20 }, offset: 6 });
            assert_eq!(segments(&whole, &offload).unwrap().collect::<Vec<_>>(), packets);
            let many = datagrams(v6, &[7; 1000], 10);
            assert_eq!(merged(&many).unwrap().0, MOST_DATAGRAMS);
        }
    }

    #[test]
    fn datagrams_that_differ_stay_apart() {
        let packets = datagrams(false, &[7; 500], 100);
        for at in [1, 4, 6, 8, 9, 15, 19, 20, 22, 24, 26, 30] {
            let mut packets = packets.clone();
            packets[2][at] ^= 1;
            assert_eq!(merged(&packets).unwrap().0, 2, "octet {at}");
        }
        let mut unsummed = packets.clone();
        unsummed[0][26..28].fill(0);
        assert!(merged(&unsummed).is_none());
        let tail = datagrams(false, &[7; 150], 100);
        assert_eq!(merged(&[&tail[..], &packets[..]].concat()).unwrap().0, 2, "only the last may be shorter");
        assert!(merged(&datagrams(false, &[], 100)).is_none());
    }

    #[test]
    fn messages_of_dhcp_stay_apart() {
        for ports in [[0, 67, 0, 68], [0, 68, 0, 67]] {
            assert!(merged(&datagrams_of(ports, false, &[7; 600], 300)).is_none());
        }
        assert_eq!(merged(&datagrams_of([0, 67, 0, 67], false, &[7; 600], 300)).unwrap().0, 2);
    }

    #[test]
    fn what_does_not_follow_stays_apart() {
        let packets = cut(false, ACK, &[7; 5000], 1000);
        for (at, value) in [(1, 8), (4, 9), (8, 63), (13, 9), (20, 9), (24, 9), (33, 0x18), (52, 9), (100, 9)]
        {
            let mut packets = packets.clone();
            packets[2][at] = value;
            assert_eq!(merged(&packets).unwrap().0, 2, "octet {at}");
        }
        assert_eq!(merged(&[packets[0].clone(), packets[2].clone()]).unwrap().0, 1, "one is missing");
        let mut short = packets.clone();
        short[1].pop();
        assert_eq!(merged(&short).unwrap().0, 1, "its length is wrong");
        let pushed = cut(false, ACK | PSH, &[7; 2000], 1000);
        assert_eq!(merged(&[&pushed[..], &packets[..]].concat()).unwrap().0, 2);
        let one = merged(&packets[..1]).unwrap();
        assert_eq!((one.0, &one.1), (1, &packets[0]));
        assert_eq!(one.2, Offload { checksum: Checksum::Verified, segments: None });
        for flags in [0x02, 0x04, 0x20, CWR] {
            assert!(merged(&cut(false, ACK | flags, &[7; 10], 1000)).is_none());
        }
        assert!(merged(&cut(false, ACK, &[], 1000)).is_none());
    }

    proptest! {
        #[test]
        fn whatever_becomes_one_is_cut_back_into_what_it_was(
            len in 1..8000usize, size in 1..3000u16, udp: bool, v6: bool, flags in 0..4usize, change: bool,
            which in 0..8usize, at in 0..200usize, value: u8,
        ) {
            let size = size.max(u16::try_from(len / 60).unwrap() + 1);
            let mut packets = match udp {
                true => datagrams(v6, &vec![5; len], size),
                false => cut(v6, [ACK, ACK | PSH, ACK | FIN, 0][flags], &vec![5; len], size),
            };
            let which = which % packets.len();
            if let Some(byte) = packets[which].get_mut(at).filter(|_| change) {
                *byte = value;
            }
            if let Some((count, whole, offload)) = merged(&packets) {
                let again: Vec<_> = segments(&whole, &offload).unwrap().collect();
                prop_assert_eq!(&again[..], &packets[..count]);
            }
        }

        #[test]
        fn no_bytes_make_merging_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0..200usize, first in 0..4usize,
        ) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.first_mut() {
                *byte = [*byte, 0x45, 0x46, 0x60][first];
            }
            let at = at.min(bytes.len());
            if let Some(mut merge) = Merge::begin(&bytes, 0..at) {
                let end = bytes.len();
                merge.add(&mut bytes, at..end);
                merge.finish(&mut bytes);
            }
        }
    }
}
