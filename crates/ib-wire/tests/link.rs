//! Packets where bytes leave and come in.

use ib_wire::{
    addr::{Lid, PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{Packet, PacketError, PacketSpec},
    payload::Payload,
};

fn packet(payload: &[u8], offload: Offload) -> Packet {
    let spec = PacketSpec {
        vl: VirtualLane::default(),
        sl: ServiceLevel::new(0),
        slid: Lid(1),
        dlid: Lid(2),
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey(0xb1b),
        src_qp: Qpn::new(0x400),
        dest_qp: Qpn::new(0x401),
        psn: Psn::new(0xff_fffe),
    };
    Packet::new(spec, Payload::from(payload), offload)
}

/// 10,000 bytes of TCP, to be cut into segments of 1001.
fn large() -> Packet {
    let mut ip = vec![0; 40 + 10_000];
    (ip[0], ip[8], ip[9], ip[32]) = (0x45, 64, 6, 5 << 4);
    let data = (0..).map(|i: u32| i.to_le_bytes()[0]);
    ip[40..].iter_mut().zip(data).for_each(|(byte, value)| *byte = value);
    let segments = Segments { kind: SegmentKind::Tcp4, size: 1001, header: 40, ecn: false };
    let offload = Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: Some(segments) };
    packet(&[&[8, 0, 0, 0], &ip[..]].concat(), offload)
}

#[test]
fn a_large_send_leaves_as_packets_of_one_length_and_a_rest() {
    let mut bytes = vec![0xaa];
    let length = large().emit_all(&mut bytes).unwrap();
    let packets: Vec<_> = bytes[1..].chunks(length).map(|bytes| Packet::parse(bytes).unwrap()).collect();
    assert_eq!(packets.len(), large().measure().packets as usize);
    let psns: Vec<_> = packets.iter().map(|packet| packet.bth.psn).collect();
    assert_eq!(psns[..3], [0xff_fffe, 0xff_ffff, 0].map(Psn::new));
    let data: Vec<u8> = packets.iter().flat_map(|packet| packet.payload[44..].to_vec()).collect();
    assert_eq!(data, large().payload[44..]);
    let words: usize = bytes[1..].chunks(length).map(|bytes| (bytes.len() - 2) / 4).sum();
    assert_eq!(words, large().measure().words as usize);
}

#[test]
fn a_large_send_that_lies_leaves_nothing() {
    let mut lying = large();
    lying.offload.segments = Some(Segments { header: 44, ..lying.offload.segments.unwrap() });
    let mut bytes = vec![1, 2, 3];
    assert!(lying.emit_all(&mut bytes).is_err());
    assert_eq!(bytes, [1, 2, 3]);
    lying.payload.truncate(3);
    assert!(lying.emit_all(&mut bytes).is_err());
}

#[test]
fn a_packet_read_in_place_is_the_packet() {
    for len in [0, 1, 2, 3, 256, 2048] {
        let mut bytes = vec![7; 5];
        packet(&vec![9; len], Offload::NONE).emit(&mut bytes);
        let whole = Payload::from(&bytes[..]);
        let mut window = whole.clone();
        window.trim_front(5);
        assert_eq!(Packet::parse_in_place(window), Packet::parse(&bytes[5..]));
        let mut flipped = bytes.clone();
        flipped[20] ^= 1;
        let mut window = Payload::from(&flipped[..]);
        window.trim_front(5);
        assert_eq!(Packet::parse_in_place(window), Err(PacketError::Vcrc));
    }
    assert!(matches!(Packet::parse_in_place(Payload::default()), Err(PacketError::Truncated(_))));
}
