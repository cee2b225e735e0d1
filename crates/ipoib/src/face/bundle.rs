//! UDP datagrams of one flow that a host sends one behind the other: they are carried as one large send.
//!
//! To read a datagram costs a system call, and there is no way around that; but from there on sixty-four of them are
//! no more work than one, and the receiving kernel cuts them itself for a program that wants them singly. To copy small
//! data behind that of others costs less than to have the kernel put it there.
//!
//! A datagram waits for those that the host has sent already and for no others, and order is kept.

use ib_wire::{
    ipoib::{
        EtherType, dhcp,
        large::{self, MOST_DATAGRAMS},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::{Payload, Pool},
};

use super::frame::ETHERNET;

const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const UDP_PROTOCOL: u8 = 17;
/// Where in the UDP header the checksum is.
const CHECKSUM: u16 = 6;

/// A frame from the Ethernet header on, and what is left to do for it, from the IP header on.
pub(super) type Frame = (Payload, Offload);

/// What a host has sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// From the Ethernet header on.
    pub(crate) payload: Payload,
    /// What is left to do for it, from the IP header on.
    pub(crate) offload: Offload,
    /// How many frames it was.
    pub(crate) count: usize,
}

/// Makes `first` and the frames behind it one, as long as they go together and are `most` at most. The first that does
/// not go with them comes along.
pub(super) fn bundle(
    first: Frame,
    most: usize,
    pool: &mut Pool,
    mut next: impl FnMut(&mut Pool) -> Option<Frame>,
) -> (Sent, Option<Frame>) {
    // Whoever sends one at a time is not looked at any further.
    let begun = if most > 1 { Bundle::begin(first) } else { Err(first) };
    let mut bundle = match begun {
        Ok(bundle) => bundle,
        Err((payload, offload)) => return (Sent { payload, offload, count: 1 }, None),
    };
    while bundle.count < most.min(MOST_DATAGRAMS)
        && !bundle.is_closed
        && let Some(frame) = next(pool)
    {
        if !bundle.takes(&frame) {
            return (bundle.finish(), Some(frame));
        }
        pool.recycle(frame.0);
    }
    (bundle.finish(), None)
}

/// Datagrams that are one large send, as far as it goes.
#[derive(Debug)]
struct Bundle {
    /// From the Ethernet header on, with the headers of the first.
    frame: Payload,
    offload: Offload,
    flow: Flow,
    /// Octets of data in each but the last, which may have less.
    size: usize,
    /// Datagrams.
    count: usize,
    /// The last of them is shorter than the others.
    is_closed: bool,
}

/// All that datagrams have in common if they may be one large send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    ethernet: [u8; ETHERNET],
    /// Where the transport header starts, from the IP header on.
    transport: usize,
    /// The IP header without lengths, identification and checksum, and the ports.
    headers: [u8; IPV6 + 4],
}

impl Bundle {
    /// Begins with a frame of the host. It comes back if it is no datagram that others can follow: only those that the
    /// sender's kernel left to be summed are whole for sure, and DHCP is read by whoever carries it.
    fn begin((frame, offload): Frame) -> Result<Self, Frame> {
        match Flow::of(&frame, &offload) {
            Some(flow) if !dhcp::is_dhcp(&frame[ETHERNET..]) => {
                let size = frame.len() - flow.data_at();
                Ok(Self { frame, offload, flow, size, count: 1, is_closed: false })
            }
            _ => Err((frame, offload)),
        }
    }

    /// Takes a copy of the data of the next frame; false if it is of another flow, or too much.
    fn takes(&mut self, (next, offload): &Frame) -> bool {
        let (at, end) = (self.flow.data_at(), self.frame.len());
        let more = next.len().saturating_sub(at);
        let fits = more <= self.size && end - ETHERNET + more <= usize::from(u16::MAX);
        if !fits || Flow::of(next, offload) != Some(self.flow) || !self.frame.extend(more) {
            return false;
        }
        self.frame.make_mut()[end..].copy_from_slice(&next[at..]);
        self.count += 1;
        self.is_closed = more < self.size;
        true
    }

    /// The large send, or the one datagram that it is.
    fn finish(mut self) -> Sent {
        if self.count > 1 {
            let kind = SegmentKind::Udp;
            large::make_whole(&mut self.frame.make_mut()[ETHERNET..], kind)
                .expect("a flow's headers are UDP's");
            let short = |len: usize| u16::try_from(len).expect("no longer than an IP packet");
            let (size, header) = (short(self.size), short(self.flow.transport + UDP));
            self.offload.segments = Some(Segments { kind, size, header, ecn: false });
        }
        Sent { payload: self.frame, offload: self.offload, count: self.count }
    }
}

impl Flow {
    /// None if the frame cannot be a part of a large send.
    #[inline]
    fn of(frame: &[u8], offload: &Offload) -> Option<Self> {
        let (ethernet, ip) = frame.split_first_chunk::<ETHERNET>()?;
        let mut headers = [0; IPV6 + 4];
        let transport = match EtherType(u16::from_be_bytes([ethernet[12], ethernet[13]])) {
            EtherType::IPV4 if *ip.first()? == 0x45 && *ip.get(9)? == UDP_PROTOCOL => IPV4,
            EtherType::IPV6 if *ip.first()? >> 4 == 6 && *ip.get(6)? == UDP_PROTOCOL => IPV6,
            _ => return None,
        };
        let undone = Checksum::Partial { start: u16::try_from(transport).ok()?, offset: CHECKSUM };
        if *offload != (Offload { checksum: undone, segments: None }) || ip.len() <= transport + UDP {
            return None;
        }
        let length = |at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
        let (told, keep) = if transport == IPV4 {
            (length(2), [0..2, 6..10, 12..24])
        } else {
            (length(4) + IPV6, [0..4, 6..IPV6, IPV6..IPV6 + 4])
        };
        let is_fragment = transport == IPV4 && length(6) & 0x3fff != 0;
        if told != ip.len() || length(transport + 4) != ip.len() - transport || is_fragment {
            return None;
        }
        for range in keep {
            headers[range.clone()].copy_from_slice(&ip[range]);
        }
        Some(Self { ethernet: *ethernet, transport, headers })
    }

    /// Where the data begins, from the Ethernet header on.
    const fn data_at(&self) -> usize {
        ETHERNET + self.transport + UDP
    }
}
#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use ib_wire::ipoib::checksum::Sum;
    use proptest::prelude::*;

    use super::*;

    /// A datagram as a host's kernel leaves it to us.
    fn datagram(v6: bool, port: u8, data: &[u8]) -> Frame {
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
        let ethertype = if v6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let frame = [&[1; 12], &ethertype.0.to_be_bytes()[..], &ip].concat();
        let checksum = Checksum::Partial { start: u16::try_from(transport).unwrap(), offset: CHECKSUM };
        (read(&frame), Offload { checksum, segments: None })
    }

    /// A frame in a buffer as it is read into.
    fn read(frame: &[u8]) -> Payload {
        let mut payload = Payload::from_buffer(vec![0; 128 + 0xffff].into(), 100, 100 + frame.len());
        payload.make_mut().copy_from_slice(frame);
        payload
    }

    /// What is carried of what a host sends.
    fn pass(frames: &[Frame]) -> Vec<Sent> {
        let mut frames: VecDeque<_> = frames.iter().map(|(frame, offload)| (read(frame), *offload)).collect();
        let mut pool = Pool::new(0, 0);
        let (mut out, mut apart) = (Vec::new(), None);
        while let Some(first) = apart.take().or_else(|| frames.pop_front()) {
            let (sent, next) = bundle(first, usize::MAX, &mut pool, |_| frames.pop_front());
            out.push(sent);
            apart = next;
        }
        out
    }

    /// What the receiving kernel makes of it: the data of each datagram.
    fn datagrams(sent: &Sent) -> Vec<Vec<u8>> {
        let ip = &sent.payload[ETHERNET..];
        let Checksum::Partial { start, offset: CHECKSUM } = sent.offload.checksum else { panic!("{sent:?}") };
        let transport = usize::from(start);
        let data = &ip[transport + UDP..];
        let Some(how) = sent.offload.segments else {
            return vec![data.to_vec()];
        };
        assert_eq!((how.kind, usize::from(how.header)), (SegmentKind::Udp, transport + UDP));
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
        data.chunks(how.size.into()).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn a_burst_of_one_flow_goes_as_one() {
        for v6 in [false, true] {
            let burst: Vec<_> = (0..65).map(|n| datagram(v6, 1, &[n; 64])).collect();
            let out = pass(&burst);
            assert_eq!(out.iter().map(|sent| datagrams(sent).len()).collect::<Vec<_>>(), [64, 1]);
            assert_eq!(out.iter().map(|sent| sent.count).collect::<Vec<_>>(), [64, 1]);
        }
    }

    #[test]
    fn no_more_is_read_than_asked_for() {
        let mut frames: VecDeque<_> = (0..9).map(|n| datagram(false, 1, &[n; 64])).collect();
        let (first, mut pool) = (frames.pop_front().unwrap(), Pool::new(0, 0));
        let (sent, apart) = bundle(first, 3, &mut pool, |_| frames.pop_front());
        assert_eq!((sent.count, frames.len(), apart), (3, 6, None));
    }

    #[test]
    fn only_the_last_may_be_shorter() {
        let lengths = [9, 9, 9, 5, 9, 10, 10, 10];
        let burst: Vec<_> = lengths.iter().map(|len| datagram(false, 1, &vec![3; *len])).collect();
        let out: Vec<_> = pass(&burst).iter().map(|sent| datagrams(sent).len()).collect();
        assert_eq!(out, [4, 1, 3]);
    }

    #[test]
    fn what_is_no_whole_datagram_goes_as_it_came() {
        let usual = datagram(false, 1, b"data");
        let mut summed = usual.clone();
        summed.1.checksum = Checksum::Complete;
        let changed = |at: usize, value: u8| {
            let mut other = usual.clone();
            other.0.make_mut()[ETHERNET + at] = value;
            other
        };
        let (fragment, short) = (changed(6, 0x20), changed(25, 11));
        let mut dhcp = datagram(false, 68, b"data");
        dhcp.0.make_mut()[ETHERNET + 22..ETHERNET + 24].copy_from_slice(&[0, 67]);
        let empty = datagram(false, 1, b"");
        for odd in [summed, fragment, short, dhcp, empty] {
            assert!(Bundle::begin(odd.clone()).is_err());
            let out = pass(&[odd.clone(), odd.clone(), usual.clone(), odd]);
            assert_eq!(out.iter().map(|sent| sent.count).collect::<Vec<_>>(), [1; 4]);
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
            let got: Vec<Vec<u8>> = pass(&frames).iter().flat_map(datagrams).collect();
            let sent: Vec<Vec<u8>> = burst.iter().enumerate()
                .map(|(n, (_, _, len))| [u8::try_from(n).unwrap()].repeat(*len)).collect();
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn what_was_made_one_is_cut_into_what_it_was(v6: bool, count in 2..64usize, len in 1..900usize, last in 1..900usize) {
            let mut frames = vec![datagram(v6, 1, &vec![7; len]); count - 1];
            frames.push(datagram(v6, 1, &vec![9; last.min(len)]));
            let out = pass(&frames);
            let ip = &out[0].payload[ETHERNET..];
            let cut: Vec<_> = large::segments(ip, &out[0].offload).unwrap().collect();
            prop_assert_eq!(out.len(), 1);
            prop_assert_eq!(cut.len(), count);
            for (packet, (frame, _)) in cut.iter().zip(&frames) {
                prop_assert_eq!(packet.len(), frame.len() - ETHERNET);
                prop_assert_eq!(&packet[packet.len() - 1], frame.last().unwrap());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, start: u16) {
            let offload = Offload { checksum: Checksum::Partial { start, offset: CHECKSUM }, segments: None };
            pass(&[(Payload::from(&bytes[..]), offload), (Payload::from(&bytes[..]), offload)]);
        }
    }
}
