//! Large sends cut into the packets that they stand for.

use alloc::vec::Vec;

use ib_wire::{
    ipoib::large::{LargeError, segments},
    offload::{Checksum, Offload},
    packet::Packet,
    payload::{HEADROOM, Payload},
};

/// Bytes of the IPoIB header in front of the IP packet.
const ENCAPSULATION: usize = 4;

/// The packets `packet` stands for, complete as on a link; itself if there is nothing left to do.
///
/// What the sender's side verified stays verified.
pub(crate) fn cut(packet: &Packet) -> Result<Vec<Packet>, LargeError> {
    let (head, ip) = packet.payload.split_at(packet.payload.len().min(ENCAPSULATION));
    let mut segmenter = segments(ip, &packet.offload)?;
    let mut packets = Vec::new();
    loop {
        let mut bytes = Vec::with_capacity(HEADROOM + ENCAPSULATION + segmenter.max_len());
        bytes.resize(HEADROOM, 0);
        bytes.extend_from_slice(head);
        if !segmenter.append_next(&mut bytes) {
            return Ok(packets);
        }
        let end = bytes.len();
        let payload = Payload::from_buffer(bytes.into(), HEADROOM, end);
        let mut bth = packet.bth;
        bth.psn = bth.psn.plus(u32::try_from(packets.len()).unwrap_or(u32::MAX));
        let offload = Offload { checksum: Checksum::Verified, segments: None };
        packets.push(Packet { bth, payload, offload, ..packet.clone() });
    }
}
