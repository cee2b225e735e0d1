//! A TAP's frames as the engine wants them: buffers with headroom, offloads counted from the IP header.

use std::sync::Arc;

use ib_wire::{
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::Payload,
};

use crate::os::{
    ring::LINE,
    tap::MAX_READ,
    vnet::{VNET_HEADER_LEN, VnetHeader},
};

/// Bytes of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// The same, to reckon with a vnet header's offsets.
const ETHERNET_U16: u16 = 14;
/// Bytes that a TAP has before the IP packet, or most of them if there is a VLAN tag.
pub(crate) const BEFORE_IP: usize = VNET_HEADER_LEN + ETHERNET;
/// Where in a cache line an IP packet is to begin: its data, behind the headers of IPv4 and of TCP with time stamps,
/// begins another, as it mostly does in the sender's kernel. [`LINE`] tells why.
pub(crate) const IP_AT: usize = LINE - 52;
/// Free in front of an IP packet: what a TAP has there, and headers.
const IN_FRONT: usize = 2 * LINE;
/// Size of the buffers frames are read into.
pub(super) const BUFFER: usize = IN_FRONT + LINE + MAX_READ;

/// The part of a buffer that a TAP is read into.
pub(super) fn space(buffer: Arc<[u8]>) -> Payload {
    let in_line = buffer.as_ptr().addr() % LINE;
    let ip = IN_FRONT + (LINE + IP_AT - in_line) % LINE;
    let start = ip - BEFORE_IP;
    let end = buffer.len().min(start + MAX_READ);
    Payload::from_buffer(buffer, start, end)
}

/// The frame of `len` bytes that was read into a space: from the Ethernet header on. `None` if it is shorter than its
/// headers, or its vnet header makes no sense.
pub(super) fn received(mut space: Payload, len: usize) -> Option<(Payload, Offload)> {
    if len < BEFORE_IP {
        return None;
    }
    let vnet = VnetHeader::parse(space.first_chunk()?);
    space.truncate(len);
    space.trim_front(VNET_HEADER_LEN);
    let offload = offload(&vnet, &space)?;
    Some((space, offload))
}

/// What is left to do for a frame, offsets from the IP header on.
fn offload(vnet: &VnetHeader, frame: &[u8]) -> Option<Offload> {
    let checksum = if vnet.needs_checksum() {
        Checksum::Partial { start: vnet.csum_start.checked_sub(ETHERNET_U16)?, offset: vnet.csum_offset }
    } else if vnet.flags & VnetHeader::DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Complete
    };
    let kind = match vnet.segmentation() {
        VnetHeader::GSO_NONE => return Some(Offload { checksum, segments: None }),
        VnetHeader::GSO_TCPV4 => SegmentKind::Tcp4,
        VnetHeader::GSO_TCPV6 => SegmentKind::Tcp6,
        VnetHeader::GSO_UDP_L4 => SegmentKind::Udp,
        _ => return None,
    };
    let Checksum::Partial { start, .. } = checksum else { return None };
    let transport = usize::from(start) + ETHERNET;
    let header = match kind {
        SegmentKind::Udp => 8,
        SegmentKind::Tcp4 | SegmentKind::Tcp6 => u16::from(frame.get(transport + 12)? >> 4) * 4,
    };
    let header = start.checked_add(header)?;
    let ecn = vnet.gso_type & VnetHeader::GSO_ECN != 0;
    let segments = Segments { kind, size: vnet.gso_size, header, ecn };
    (vnet.gso_size > 0).then_some(Offload { checksum, segments: Some(segments) })
}

/// The vnet header and the Ethernet header `ethernet` of a frame for the host.
///
/// The offload is the sender's, who may be hostile: offsets that no frame can have end up at the last one there is, and
/// the host's kernel refuses the frame.
pub(crate) fn head(ethernet: &[u8; ETHERNET], offload: &Offload) -> [u8; VNET_HEADER_LEN + ETHERNET] {
    let mut vnet = VnetHeader::default();
    match offload.checksum {
        Checksum::Complete => {}
        Checksum::Verified => vnet.flags = VnetHeader::DATA_VALID,
        Checksum::Partial { start, offset } => {
            vnet.flags = VnetHeader::NEEDS_CSUM;
            vnet.csum_start = start.saturating_add(ETHERNET_U16);
            vnet.csum_offset = offset;
        }
    }
    if let Some(segments) = offload.segments {
        vnet.gso_type = match segments.kind {
            SegmentKind::Tcp4 => VnetHeader::GSO_TCPV4,
            SegmentKind::Tcp6 => VnetHeader::GSO_TCPV6,
            SegmentKind::Udp => VnetHeader::GSO_UDP_L4,
        } | if segments.ecn { VnetHeader::GSO_ECN } else { 0 };
        vnet.gso_size = segments.size;
        vnet.hdr_len = segments.header.saturating_add(ETHERNET_U16);
    }
    let mut head = [0; VNET_HEADER_LEN + ETHERNET];
    head[..VNET_HEADER_LEN].copy_from_slice(&vnet.emit());
    head[VNET_HEADER_LEN..].copy_from_slice(ethernet);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vnet: VnetHeader, frame: &[u8]) -> Option<(Payload, Offload)> {
        let mut space = space(vec![0; BUFFER].into());
        let len = VNET_HEADER_LEN + frame.len();
        space.make_mut()[..VNET_HEADER_LEN].copy_from_slice(&vnet.emit());
        space.make_mut()[VNET_HEADER_LEN..len].copy_from_slice(frame);
        received(space, len)
    }

    #[test]
    fn data_begins_a_cache_line_wherever_its_buffer_lies() {
        let (tcp, buffers) = (BEFORE_IP + 52, [(); 20].map(|()| Arc::from(vec![0; BUFFER])));
        for buffer in buffers {
            let space = space(buffer);
            assert_eq!(space[tcp..].as_ptr().addr() % LINE, 0);
            assert_eq!(space.len(), MAX_READ);
        }
    }

    #[test]
    fn a_large_tcp_send_goes_to_the_other_host_as_it_came() {
        let mut frame = [0u8; 200];
        frame[14 + 20 + 12] = 8 << 4;
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: VnetHeader::GSO_TCPV4,
            hdr_len: 14 + 20 + 32,
            gso_size: 50,
            csum_start: 34,
            csum_offset: 16,
            num_buffers: 0,
        };
        let (payload, offload) = read(vnet, &frame).unwrap();
        assert_eq!(&*payload, frame);
        assert_eq!(offload.checksum, Checksum::Partial { start: 20, offset: 16 });
        assert_eq!(offload.segments.unwrap().header, 52);
        let head = head(&[7; 14], &offload);
        assert_eq!(VnetHeader::parse(head.first_chunk().unwrap()), vnet);
        assert_eq!(head[12..], [7; 14]);
    }

    #[test]
    fn senseless_headers_are_refused() {
        let tso = VnetHeader { gso_type: VnetHeader::GSO_TCPV4, gso_size: 50, ..VnetHeader::default() };
        assert!(read(tso, &[0; 100]).is_none(), "segments without a checksum to fill in");
        let checksum = VnetHeader { flags: VnetHeader::NEEDS_CSUM, csum_start: 3, ..VnetHeader::default() };
        assert!(read(checksum, &[0; 100]).is_none(), "a checksum within the Ethernet header");
        assert!(read(VnetHeader::default(), &[0; 13]).is_none(), "a runt");
        let far = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: u16::MAX,
            gso_type: VnetHeader::GSO_UDP_L4,
            gso_size: 50,
            ..VnetHeader::default()
        };
        assert!(read(VnetHeader { csum_start: u16::MAX - 1, ..far }, &[0; 100]).is_some());
    }

    #[test]
    fn offsets_that_no_frame_can_have_are_for_the_kernel_to_refuse() {
        let segments = Segments { kind: SegmentKind::Udp, size: 1, header: u16::MAX, ecn: false };
        let checksum = Checksum::Partial { start: u16::MAX - 3, offset: u16::MAX };
        let head = head(&[0; 14], &Offload { checksum, segments: Some(segments) });
        let vnet = VnetHeader::parse(head.first_chunk().unwrap());
        assert_eq!((vnet.csum_start, vnet.hdr_len), (u16::MAX, u16::MAX));
    }
}
