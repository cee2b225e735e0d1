//! The four octets in front of every datagram: what follows, and two reserved. RFC 4391 §6.

use core::fmt;

use crate::layout::{Truncated, split};

/// What a frame carries, in Ethernet's numbers. Open: any value is representable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// Reverse ARP.
    pub const RARP: Self = Self(0x8035);
    /// A VLAN tag; Ethernet only, IPoIB has partitions instead.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// TIPC, which Linux also carries over InfiniBand.
    pub const TIPC: Self = Self(0x88ca);

    /// True for the four types that RFC 4391 §6 admits.
    pub const fn is_ipoib(self) -> bool {
        matches!(self, Self::IPV4 | Self::ARP | Self::RARP | Self::IPV6)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("IPv4"),
            Self::ARP => f.write_str("ARP"),
            Self::RARP => f.write_str("RARP"),
            Self::VLAN => f.write_str("VLAN"),
            Self::IPV6 => f.write_str("IPv6"),
            Self::TIPC => f.write_str("TIPC"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtherType({:#06x})", self.0)
    }
}

/// The encapsulation header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What follows it.
    pub ethertype: EtherType,
}

impl Header {
    /// Octets on the wire: by so much the IP MTU is below the link's payload.
    pub const LEN: usize = 4;

    /// A header in front of `ethertype`.
    pub const fn new(ethertype: EtherType) -> Self {
        Self { ethertype }
    }

    /// Reads the header and gives what follows it; the reserved octets are not looked at.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Truncated> {
        let (&[high, low, _, _], rest) = split::<{ Self::LEN }>(bytes)?;
        Ok((Self::new(EtherType(u16::from_be_bytes([high, low]))), rest))
    }

    /// The four octets, the reserved ones zero.
    pub const fn emit(self) -> [u8; Self::LEN] {
        let [high, low] = self.ethertype.0.to_be_bytes();
        [high, low, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_octets_are_ignored_when_read_and_zero_when_sent() {
        let (header, rest) = Header::parse(&[0x08, 0x06, 0xde, 0xad, 1, 2]).unwrap();
        assert_eq!((header.ethertype, rest), (EtherType::ARP, &[1, 2][..]));
        assert_eq!(header.emit(), [0x08, 0x06, 0, 0]);
    }

    #[test]
    fn three_octets_are_too_few() {
        assert_eq!(Header::parse(&[8, 0, 0]), Err(Truncated { need: 4, have: 3 }));
    }

    #[test]
    fn every_type_survives_and_four_are_admitted() {
        let mut admitted = 0;
        for value in 0..=u16::MAX {
            let header = Header::new(EtherType(value));
            assert_eq!(Header::parse(&header.emit()), Ok((header, &[][..])));
            admitted += usize::from(header.ethertype.is_ipoib());
        }
        assert_eq!(admitted, 4);
    }
}
