//! UDP datagrams of one flow that come one behind the other: the host gets them as one large send.
//!
//! A kernel takes as long for one small datagram as for a large send of many, and cuts that itself for a program that
//! wants them singly. A datagram waits for those that come in the same burst, until it is over: as long as it takes to
//! read them. Order is kept: what is not of the flow goes behind what waits.

use std::io::IoSlice;

use ib_wire::{
    ipoib::checksum::Sum,
    offload::{Checksum, Offload, SegmentKind, Segments},
};
use ipoib_proto::HostFrame;

use super::frame;

/// Datagrams in one large send, at most.
const MOST: usize = 64;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const UDP_PROTOCOL: u8 = 17;
/// Where in the UDP header the checksum is.
const CHECKSUM: u16 = 6;

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Keep it with what waits.
    Wait,
    /// Write what waits, then keep it.
    WaitAnew,
    /// Write what waits, then it.
    Write,
}

/// What waits for one host.
#[derive(Debug, Default)]
pub(super) struct Merger {
    /// That of those which wait.
    flow: Option<Flow>,
    waiting: Vec<HostFrame>,
    /// Octets of data in each that waits; only the last may have less.
    size: usize,
    /// Octets of IP packet that those which wait would make together.
    total: usize,
}

/// All that datagrams have in common if they may be one large send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    ethernet: [u8; ETHERNET],
    /// Where the transport header starts.
    transport: usize,
    /// The IP header without lengths, identification and checksum, and the ports.
    headers: [u8; IPV6 + 4],
}

impl Merger {
    /// What is to be done with the next frame for the host: do it.
    #[inline]
    pub(super) fn judge(&mut self, frame: &HostFrame) -> Fate {
        let Some(flow) = Flow::of(frame) else { return Fate::Write };
        let before = self.flow.replace(flow);
        let data = frame.body.len() - flow.transport - UDP;
        if self.waiting.is_empty() || before == self.flow && self.takes(data) {
            Fate::Wait
        } else {
            Fate::WaitAnew
        }
    }

    fn takes(&self, data: usize) -> bool {
        let Some(last) = self.waiting.last() else { return true };
        let first = &self.waiting[0];
        data <= self.size
            && last.body.len() == first.body.len()
            && self.waiting.len() < MOST
            && self.total + data <= usize::from(u16::MAX)
    }

    /// Keeps a datagram.
    pub(super) fn keep(&mut self, frame: HostFrame) {
        let header = self.flow.map_or(0, |flow| flow.transport + UDP);
        let data = frame.body.len() - header;
        if self.waiting.is_empty() {
            (self.size, self.total) = (data, header);
        }
        self.total += data;
        self.waiting.push(frame);
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what waits, as one frame in pieces; nothing if nothing does.
    pub(super) fn write<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> Option<T> {
        let first = self.waiting.first()?;
        if self.waiting.len() == 1 {
            return Some(write(&[
                IoSlice::new(&frame::head(&first.head, &first.offload)),
                IoSlice::new(&first.body),
            ]));
        }
        let Checksum::Partial { start, .. } = first.offload.checksum else { return None };
        let (transport, header) = (usize::from(start), usize::from(start) + UDP);
        let mut headers = [0; IPV6 + UDP];
        headers[..header].copy_from_slice(&first.body[..header]);
        complete(&mut headers[..header], transport, self.total);
        let segments = Segments {
            kind: SegmentKind::Udp,
            size: u16::try_from(self.size).ok()?,
            header: u16::try_from(header).ok()?,
            ecn: false,
        };
        let head = frame::head(&first.head, &Offload { segments: Some(segments), ..first.offload });
        let mut pieces = [IoSlice::new(&[]); MOST + 2];
        pieces[0] = IoSlice::new(&head);
        pieces[1] = IoSlice::new(&headers[..header]);
        for (piece, frame) in pieces[2..].iter_mut().zip(&self.waiting) {
            *piece = IoSlice::new(&frame.body[header..]);
        }
        Some(write(&pieces[..2 + self.waiting.len()]))
    }

    /// Takes out what waited.
    pub(super) fn drain(&mut self) -> impl ExactSizeIterator<Item = HostFrame> {
        self.waiting.drain(..)
    }
}

/// Makes the headers of one datagram those of a large send of `total` octets.
fn complete(headers: &mut [u8], transport: usize, total: usize) {
    let short = |len: usize| u16::try_from(len).expect("no longer than an IP packet");
    let udp = short(total - transport);
    let addresses = if transport == IPV4 {
        headers[2..4].copy_from_slice(&short(total).to_be_bytes());
        headers[10..12].fill(0);
        let sum = Sum::ZERO.with(&headers[..IPV4]).finish();
        headers[10..12].copy_from_slice(&sum.to_be_bytes());
        12..IPV4
    } else {
        headers[4..6].copy_from_slice(&udp.to_be_bytes());
        8..IPV6
    };
    // Not complemented: the kernel adds the rest.
    let pseudo = !Sum::ZERO.with(&headers[addresses]).word(UDP_PROTOCOL.into()).word(udp).finish();
    headers[transport + 4..transport + 6].copy_from_slice(&udp.to_be_bytes());
    headers[transport + 6..transport + 8].copy_from_slice(&pseudo.to_be_bytes());
}

impl Flow {
    /// None if the frame cannot be a part of a large send: only datagrams that the sender left to be summed are whole
    /// for sure.
    #[inline]
    fn of(frame: &HostFrame) -> Option<Self> {
        let (ip, mut headers) = (&*frame.body, [0; IPV6 + 4]);
        let transport = match *ip.first()? {
            0x45 if ip.get(9) == Some(&UDP_PROTOCOL) => IPV4,
            0x60..=0x6f if ip.get(6) == Some(&UDP_PROTOCOL) => IPV6,
            _ => return None,
        };
        let undone = Checksum::Partial { start: u16::try_from(transport).ok()?, offset: CHECKSUM };
        if frame.offload != (Offload { checksum: undone, segments: None }) || ip.len() <= transport + UDP {
            return None;
        }
        let length = |at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
        let (told, keep) = if transport == IPV4 {
            (length(2), [0..2, 6..10, 12..24])
        } else {
            (length(4) + IPV6, [0..4, 6..IPV6, IPV6..IPV6 + 4])
        };
        let fragment = transport == IPV4 && length(6) & 0x3fff != 0;
        if told != ip.len() || length(transport + 4) != ip.len() - transport || fragment {
            return None;
        }
        for range in keep {
            headers[range.clone()].copy_from_slice(&ip[range]);
        }
        Some(Self { ethernet: frame.head, transport, headers })
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::payload::Payload;
    use proptest::prelude::*;

    use super::*;
    use crate::os::vnet::{VNET_HEADER_LEN, VnetHeader};

    /// A datagram as a host's kernel leaves it to us.
    fn datagram(v6: bool, port: u8, data: &[u8]) -> HostFrame {
        let transport = if v6 { IPV6 } else { IPV4 };
        let udp = u16::try_from(UDP + data.len()).unwrap();
        let mut ip = vec![0; transport];
        if v6 {
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&udp.to_be_bytes());
            ip[6] = UDP_PROTOCOL;
            ip[8..].fill(7);
        } else {
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&(udp + 20).to_be_bytes());
            ip[9] = UDP_PROTOCOL;
            ip[12..].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
        }
        ip.extend([0, port, 1, 2]);
        ip.extend(udp.to_be_bytes());
        ip.extend([0, 0]);
        ip.extend(data);
        let checksum = Checksum::Partial { start: u16::try_from(transport).unwrap(), offset: CHECKSUM };
        let body = Payload::from(&ip[..]);
        HostFrame { head: [1; 14], body, offload: Offload { checksum, segments: None } }
    }

    /// What the host is given: frames, as the TAP would have them.
    fn pass(frames: &[HostFrame]) -> Vec<Vec<u8>> {
        let (mut merger, mut out) = (Merger::default(), Vec::new());
        let mut write = |merger: &mut Merger| {
            merger.write(|pieces| {
                out.push(pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>())
            });
            merger.drain().for_each(drop);
        };
        for frame in frames {
            match merger.judge(frame) {
                Fate::Wait => merger.keep(frame.clone()),
                Fate::WaitAnew => {
                    write(&mut merger);
                    merger.keep(frame.clone());
                }
                Fate::Write => {
                    write(&mut merger);
                    let mut alone = Merger::default();
                    alone.keep(frame.clone());
                    write(&mut alone);
                }
            }
        }
        write(&mut merger);
        out
    }

    /// What the receiving kernel makes of a frame: the data of each datagram.
    fn datagrams(frame: &[u8]) -> Vec<Vec<u8>> {
        let vnet = VnetHeader::parse(frame.first_chunk().unwrap());
        let ip = &frame[VNET_HEADER_LEN + ETHERNET..];
        let transport = usize::from(vnet.csum_start) - ETHERNET;
        let data = &ip[transport + UDP..];
        if vnet.gso_type == VnetHeader::GSO_NONE {
            return vec![data.to_vec()];
        }
        assert_eq!((vnet.gso_type, vnet.flags, vnet.csum_offset), (VnetHeader::GSO_UDP_L4, 1, CHECKSUM));
        let udp = u16::try_from(ip.len() - transport).unwrap();
        assert_eq!(ip[transport + 4..transport + 6], udp.to_be_bytes());
        let addresses = if transport == IPV4 {
            assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
            assert_eq!(Sum::ZERO.with(&ip[..IPV4]).finish(), 0);
            &ip[12..20]
        } else {
            assert_eq!(ip[4..6], udp.to_be_bytes());
            &ip[8..40]
        };
        let pseudo = !Sum::ZERO.with(addresses).word(17).word(udp).finish();
        assert_eq!(ip[transport + 6..transport + 8], pseudo.to_be_bytes());
        data.chunks(vnet.gso_size.into()).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_burst_of_one_flow_goes_as_one() {
        for v6 in [false, true] {
            let burst: Vec<_> = (0..65).map(|n| datagram(v6, 1, &[n; 64])).collect();
            let out = pass(&burst);
            assert_eq!(out.iter().map(|frame| datagrams(frame).len()).collect::<Vec<_>>(), [64, 1]);
        }
    }

    #[test]
    fn only_the_last_may_be_shorter() {
        let lengths = [9, 9, 9, 5, 9, 10, 10, 10];
        let burst: Vec<_> = lengths.iter().map(|len| datagram(false, 1, &vec![3; *len])).collect();
        let out: Vec<_> = pass(&burst).iter().map(|frame| datagrams(frame).len()).collect();
        assert_eq!(out, [4, 1, 3]);
    }

    #[test]
    fn what_is_no_whole_datagram_goes_as_it_came() {
        let usual = datagram(false, 1, b"data");
        let mut summed = usual.clone();
        summed.offload.checksum = Checksum::Complete;
        let mut fragment = usual.clone();
        fragment.body.make_mut()[6] = 0x20;
        let mut short = usual.clone();
        short.body.make_mut()[25] = 11;
        let empty = datagram(false, 1, b"");
        for odd in [summed, fragment, short, empty] {
            assert_eq!(Flow::of(&odd), None);
            assert_eq!(pass(&[odd.clone(), odd.clone(), usual.clone(), odd]).len(), 4);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_flows_keep_their_order(
            burst in prop::collection::vec((any::<bool>(), 1..3u8, 1..2000usize), 0..200)
        ) {
            let frames: Vec<_> = burst.iter().enumerate().map(|(n, (v6, port, len))| {
                let data: Vec<u8> = [u8::try_from(n).unwrap()].repeat(*len);
                datagram(*v6, *port, &data)
            }).collect();
            let got: Vec<Vec<u8>> = pass(&frames).iter().flat_map(|frame| datagrams(frame)).collect();
            let sent: Vec<Vec<u8>> = burst.iter().enumerate()
                .map(|(n, (_, _, len))| [u8::try_from(n).unwrap()].repeat(*len)).collect();
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, start: u16) {
            let offload = Offload { checksum: Checksum::Partial { start, offset: CHECKSUM }, segments: None };
            let body = Payload::from(&bytes[..]);
            pass(&[HostFrame { head: [0; 14], body, offload }]);
        }
    }
}
