//! Ethernet headers, and what a packet needs by its first bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ib_wire::{addr::Mac, ipoib::EtherType};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Destination and type of a frame of the host; its source is ours by definition.
#[inline]
pub(crate) fn read(frame: &[u8]) -> Option<(Mac, EtherType)> {
    let &[a, b, c, d, e, f, _, _, _, _, _, _, t0, t1] = frame.first_chunk::<ETHERNET>()?;
    Some((Mac([a, b, c, d, e, f]), EtherType(u16::from_be_bytes([t0, t1]))))
}

/// The header of a frame for the host.
#[inline]
pub(crate) fn write(to: Mac, from: Mac, ethertype: EtherType) -> [u8; ETHERNET] {
    let mut head = [0; ETHERNET];
    head[..6].copy_from_slice(&to.0);
    head[6..12].copy_from_slice(&from.0);
    head[12..].copy_from_slice(&ethertype.0.to_be_bytes());
    head
}

/// What has to be done with a packet beyond handing it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// ARP or RARP: addresses to translate.
    Arp,
    /// Perhaps neighbour discovery: ICMPv6 of one of its types.
    Discovery,
    /// Perhaps DHCP: UDP over IPv4 between its ports.
    Dhcp,
}

/// What `packet`, from the IP header on, is by its first bytes; `None` for what IPoIB does not carry.
#[inline]
pub(crate) fn classify(ethertype: EtherType, packet: &[u8]) -> Option<Kind> {
    match ethertype {
        EtherType::IPV4 => Some(if is_dhcp(packet) { Kind::Dhcp } else { Kind::Plain }),
        EtherType::IPV6 => Some(match packet {
            [_, _, _, _, _, _, 58, ..] if matches!(packet.get(40), Some(133..=137)) => Kind::Discovery,
            _ => Kind::Plain,
        }),
        EtherType::ARP | EtherType::RARP => Some(Kind::Arp),
        _ => None,
    }
}

/// Where an IP packet goes.
pub(crate) fn destination(ethertype: EtherType, packet: &[u8]) -> Option<IpAddr> {
    match ethertype {
        EtherType::IPV4 => {
            packet.get(16..)?.first_chunk::<4>().map(|ip| IpAddr::V4(Ipv4Addr::from_octets(*ip)))
        }
        EtherType::IPV6 => {
            packet.get(24..)?.first_chunk::<16>().map(|ip| IpAddr::V6(Ipv6Addr::from_octets(*ip)))
        }
        _ => None,
    }
}

/// True if an IPv4 packet may be DHCP: cheap for everything but UDP.
#[inline]
fn is_dhcp(packet: &[u8]) -> bool {
    packet.len() > 28 && packet[9] == 17 && ib_wire::ipoib::dhcp::is_dhcp(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_known_by_their_first_bytes() {
        let mut v6 = [0; 48];
        (v6[6], v6[40]) = (58, 135);
        assert_eq!(classify(EtherType::IPV6, &v6), Some(Kind::Discovery));
        v6[40] = 128;
        assert_eq!(classify(EtherType::IPV6, &v6), Some(Kind::Plain));
        let mut v4 = [0; 40];
        (v4[0], v4[3], v4[9], v4[21], v4[23]) = (0x45, 40, 17, 68, 67);
        assert_eq!(classify(EtherType::IPV4, &v4), Some(Kind::Dhcp));
        v4[9] = 6;
        assert_eq!(classify(EtherType::IPV4, &v4), Some(Kind::Plain));
        assert_eq!(classify(EtherType::RARP, &[]), Some(Kind::Arp));
        assert_eq!(classify(EtherType::VLAN, &v4), None);
    }

    #[test]
    fn headers_are_read_as_written() {
        let head = write(Mac([1; 6]), Mac([2; 6]), EtherType::ARP);
        assert_eq!(read(&head), Some((Mac([1; 6]), EtherType::ARP)));
        assert_eq!(read(&head[..13]), None);
    }
}
