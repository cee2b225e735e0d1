//! Packets that came together in one buffer, and which of them are one large send.

use alloc::vec::Vec;
use core::ops::Range;

use ib_wire::{
    ipoib::{EtherType, Header, large::Merge},
    offload::Offload,
    packet::{Packet, PacketError},
};

/// A packet, or the large send that several were; its payload is still in the buffer.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) packet: Packet,
    pub(crate) payload: Range<usize>,
    merge: Option<Merge>,
    count: u32,
}

/// Reads the packets at `range`, each `segment` bytes long but for the last. What is none comes as an error.
pub(crate) fn gather(
    buffer: &mut [u8],
    range: Range<usize>,
    segment: usize,
) -> Vec<Result<Gathered, PacketError>> {
    let mut all: Vec<Result<Gathered, PacketError>> = Vec::new();
    for start in range.clone().step_by(segment.max(1)) {
        let end = range.end.min(start.saturating_add(segment));
        let read = Packet::parse_headers(&buffer[start..end]);
        let next = read.map(|(packet, payload)| (packet, start + payload.start..start + payload.end));
        if let (Some(Ok(last)), Ok((packet, payload))) = (all.last_mut(), &next)
            && last.takes(buffer, packet, payload.clone())
        {
            continue;
        }
        all.push(next.map(|(packet, payload)| Gathered::begin(buffer, packet, payload)));
    }
    all.iter_mut().flatten().for_each(|gathered| gathered.finish(buffer));
    all
}

impl Gathered {
    fn begin(buffer: &[u8], packet: Packet, payload: Range<usize>) -> Self {
        let bytes = &buffer[payload.clone()];
        let is_ip = Header::parse(bytes)
            .is_ok_and(|(header, _)| matches!(header.ethertype, EtherType::IPV4 | EtherType::IPV6));
        let merge = is_ip.then(|| Merge::begin(buffer, ip(&payload))).flatten();
        Self { packet, payload, merge, count: 1 }
    }

    /// Makes a packet part of this one, if it is the next of a large send.
    fn takes(&mut self, buffer: &mut [u8], next: &Packet, payload: Range<usize>) -> bool {
        let Some(merge) = &mut self.merge else { return false };
        if payload.len() < Header::LEN || !follows(&self.packet, next, self.count) {
            return false;
        }
        let header = self.payload.start;
        if buffer[header..header + Header::LEN] != buffer[payload.start..payload.start + Header::LEN] {
            return false;
        }
        let added = merge.add(buffer, ip(&payload));
        self.count += u32::from(added);
        added
    }

    fn finish(&mut self, buffer: &mut [u8]) {
        if let Some(merge) = self.merge.take() {
            (self.payload.end, self.packet.offload) = merge.finish(buffer);
        } else {
            self.packet.offload = Offload::NONE;
        }
    }
}

/// The IP packet in an IPoIB payload.
const fn ip(payload: &Range<usize>) -> Range<usize> {
    payload.start + Header::LEN..payload.end
}

/// True if the headers are those that a large send cut from `first` on would have after so many packets.
fn follows(first: &Packet, next: &Packet, count: u32) -> bool {
    let mut expected = first.clone();
    expected.lrh.length = next.lrh.length;
    (expected.bth.pad, expected.bth.psn) = (next.bth.pad, first.bth.psn.plus(count));
    if let (Some(expected), Some(next)) = (&mut expected.grh, &next.grh) {
        expected.payload_length = next.payload_length;
    }
    expected == *next
}
