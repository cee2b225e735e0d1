//! The Internet checksum: ones' complement sums of 16-bit words. RFC 1071.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A running sum. Parts may be added in any order; each counts as starting at an even octet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The pseudo header in front of a transport segment of `len` octets between IPv4 addresses. RFC 793 §3.1.
    pub fn pseudo4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> Self {
        Self::ZERO.with(&source.octets()).with(&destination.octets()).pseudo(protocol, len)
    }

    /// The same between IPv6 addresses. RFC 8200 §8.1.
    pub fn pseudo6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: usize) -> Self {
        Self::ZERO.with(&source.octets()).with(&destination.octets()).pseudo(protocol, len)
    }

    /// Adds octets; an odd last one counts as if a zero followed.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        // Words in the machine's order: the sum of swapped words is the swapped sum.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let sum = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        self.word(u16::from_be_bytes(fold(sum).to_ne_bytes()))
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// The checksum that makes the whole sum up to "correct". Sums over data that already holds its checksum
    /// give 0 here if it is right.
    pub const fn finish(self) -> u16 {
        !fold(self.0)
    }

    /// As `finish`, but never 0, which UDP reserves for "none"; 0xffff means the same.
    pub const fn finish_nonzero(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            sum => sum,
        }
    }

    fn pseudo(self, protocol: u8, len: usize) -> Self {
        Self(self.0 + u64::from(protocol) + len as u64)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "four folds leave 16 bits of any 64")]
const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ipv4_header_of_the_rfc_sums_up() {
        let header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199];
        assert_eq!(Sum::ZERO.with(&header).finish(), 0);
        assert_eq!(Sum::ZERO.with(&header[..10]).with(&header[12..]).finish(), 0xb861);
        assert_eq!(Sum::ZERO.with(&header).finish_nonzero(), 0xffff);
    }

    proptest! {
        #[test]
        fn etherparse_gives_the_same(a: Vec<u8>, src: [u8; 4], dst: [u8; 16]) {
            let other = Sum16BitWords::new().add_4bytes(src).add_16bytes(dst).add_slice(&a);
            prop_assert_eq!(Sum::ZERO.with(&src).with(&dst).with(&a).finish(), other.ones_complement().to_be());
        }
    }
}
