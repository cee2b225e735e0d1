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
    #[cfg(feature = "std")]
    if packet.len() >= wide::WORTH_IT {
        return wide::vcrc(packet).to_le_bytes();
    }
    VCRC.checksum(packet).to_le_bytes()
}

/// The same by instructions for many bytes at once, where the machine has them: a fifth of the time.
#[cfg(feature = "std")]
mod wide {
    use std::sync::LazyLock;

    use crc_fast::{CrcParams, checksum_with_params};

    /// Bytes from which on it is faster than a table.
    pub(super) const WORTH_IT: usize = 192;

    static VCRC: LazyLock<CrcParams> = LazyLock::new(|| {
        let super::Algorithm { width, poly, init, refin, xorout, .. } = *super::VCRC.algorithm;
        CrcParams::new("VCRC", width, poly.into(), init.into(), refin, xorout.into(), 0)
    });

    pub(super) fn vcrc(packet: &[u8]) -> u16 {
        u16::try_from(checksum_with_params(*VCRC, packet)).expect("a sum of 16 bits")
    }
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

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_sum_by_many_bytes_at_once_is_the_same() {
        let bytes: std::vec::Vec<u8> =
            (0..5000u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        for len in (0..600).chain([2088, 4999, 5000]) {
            assert_eq!(wide::vcrc(&bytes[..len]), VCRC.checksum(&bytes[..len]), "{len} bytes");
        }
    }
}
