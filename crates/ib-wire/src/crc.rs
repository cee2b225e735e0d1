//! The two checksums of a packet. IBA 1 §7.8.
//!
//! ICRC guards what no switch changes, end to end; VCRC guards everything, link by link. Both are functions
//! over bytes, computed only where bytes leave the machine.

use crc::{Algorithm, Crc, Table};

/// CRC-16 of polynomial 0x100B, as the link sends it.
const VCRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&Algorithm {
    width: 16,
    poly: 0x100b,
    init: 0xffff,
    refin: true,
    refout: true,
    xorout: 0xffff,
    check: 0,
    residue: 0,
});

/// VCRC over a packet from LRH through ICRC, in transmission order.
pub fn vcrc(packet: &[u8]) -> [u8; 2] {
    VCRC.checksum(packet).to_le_bytes()
}

/// ICRC over a packet from LRH to the end of the padded payload, in transmission order.
///
/// Fields that switches and routers may change count as ones: without a GRH the VL; with one, which a router
/// may send on by another local route, all of LRH, traffic class, flow label and hop limit; always the
/// reserved octet of BTH. `has_grh` tells where BTH starts. Packets too short to hold
/// their headers are summed as they are.
pub fn icrc(packet: &[u8], has_grh: bool) -> [u8; 4] {
    const LRH: usize = 8;
    let bth = LRH + if has_grh { 40 } else { 0 };
    let mut crc = crc32fast::Hasher::new();
    let mut head = [0u8; LRH + 40 + 12];
    let n = packet.len().min(bth + 12);
    head[..n].copy_from_slice(&packet[..n]);
    head[0] |= 0xf0;
    if has_grh {
        head[..LRH].fill(0xff);
        head[LRH] |= 0x0f;
        head[LRH + 1..LRH + 4].fill(0xff);
        head[LRH + 7] = 0xff;
    }
    head[bth + 4] = 0xff;
    crc.update(&head[..n]);
    crc.update(&packet[n..]);
    crc.finalize().to_le_bytes()
}
