//! Packets of a link: LRH through VCRC.

use ib_wire::{
    crc,
    packet::{Packet, PacketError},
};

/// Reads `bytes` as they are, and once more with length and checksums made right.
pub fn check(bytes: &[u8]) {
    let _ = read(bytes);
    let fixed = with_checksums(bytes);
    if let Err(error @ (PacketError::Vcrc | PacketError::Icrc | PacketError::Length { .. })) = read(&fixed) {
        panic!("{error}, though it was put in");
    }
}

fn read(bytes: &[u8]) -> Result<(), PacketError> {
    let packet = Packet::parse(bytes)?;
    let mut out = b"in front".to_vec();
    packet.emit(&mut out);
    let out = &out[8..];
    assert_eq!(out.len(), bytes.len());
    assert_eq!(packet.measure().words as usize * 4 + 2, out.len());
    assert_eq!(packet.measure().packets, 1);
    assert_eq!(packet.largest_payload(), packet.payload.len());
    assert!(bytes[packet.header_len()..].starts_with(&packet.payload));

    let again = Packet::parse(out).expect("it was written by us");
    assert_eq!(again, packet);
    let mut twice = Vec::new();
    again.emit(&mut twice);
    assert_eq!(twice, out);
    Ok(())
}

/// `bytes` cut to what LRH can tell of, with LRH's length, GRH's if it has one, and both checksums.
pub(crate) fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    const LRH: usize = 8;
    const MAX_WORDS: usize = 0x7ff;
    let words = (bytes.len() / 4).clamp(LRH / 4 + 1, MAX_WORDS);
    let mut packet = bytes[..bytes.len().min(words * 4)].to_vec();
    packet.resize(words * 4, 0);
    let [high, low] = u16::try_from(words).expect("at most 11 bits").to_be_bytes();
    packet[4] = packet[4] & 0xf8 | high;
    packet[5] = low;
    let has_grh = packet[1] & 3 == 3;
    if has_grh && packet.len() >= LRH + 40 {
        let len = u16::try_from(packet.len() - LRH - 40).expect("at most 11 bits of words");
        packet[LRH + 4..LRH + 6].copy_from_slice(&len.to_be_bytes());
    }
    let covered = packet.len() - 4;
    let icrc = crc::icrc(&packet[..covered], has_grh);
    packet[covered..].copy_from_slice(&icrc);
    packet.extend_from_slice(&crc::vcrc(&packet));
    packet
}
