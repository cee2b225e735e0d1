//! From what the machine hands around to what a link carries.

use ib_wire::{
    ipoib::{header::Header, large},
    offload::Offload,
    packet::Packet,
    payload::Payload,
};

/// The packet is no IPoIB datagram that could be cut, and too long for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotCut;

/// Calls `each` with every packet that `packet` stands for, in order, complete with transport checksums.
///
/// A packet whose work cannot be done, because its bytes are not what its sender's side said, comes as it is.
pub(super) fn for_each(packet: Packet, mut each: impl FnMut(&Packet)) -> Result<(), NotCut> {
    if !packet.offload.is_pending() {
        return whole(&packet, each);
    }
    let Some((header, ip)) = packet.payload.split_first_chunk::<{ Header::LEN }>() else {
        return whole(&packet, each);
    };
    let Ok(mut segments) = large::segments(ip, &packet.offload) else {
        return whole(&packet, each);
    };
    let mut part = Packet { payload: Payload::from(&[][..]), offload: Offload::NONE, ..packet.clone() };
    let mut count = 0;
    let mut bytes = Vec::with_capacity(header.len() + segments.max_len());
    loop {
        bytes.clear();
        bytes.extend_from_slice(header);
        if !segments.append_next(&mut bytes) {
            return Ok(());
        }
        part.payload = Payload::with_headroom(0, &bytes);
        part.bth.psn = packet.bth.psn.plus(count);
        count += 1;
        each(&part);
    }
}

fn whole(packet: &Packet, mut each: impl FnMut(&Packet)) -> Result<(), NotCut> {
    if packet.payload.len() > LARGEST_PAYLOAD {
        return Err(NotCut);
    }
    each(packet);
    Ok(())
}

/// The largest MTU of InfiniBand.
const LARGEST_PAYLOAD: usize = 4096;
