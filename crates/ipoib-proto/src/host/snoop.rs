//! Which groups the host joins and leaves, heard from its IGMP and MLD messages. RFC 2236, RFC 3376,
//! RFC 2710, RFC 3810.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ib_wire::ipoib::EtherType;

/// Groups with "joined" or "left", from an IP packet to a group; empty for everything but reports.
pub(crate) fn memberships(ethertype: EtherType, packet: &[u8]) -> Vec<(IpAddr, bool)> {
    match ethertype {
        EtherType::IPV4 => igmp(packet),
        EtherType::IPV6 => mld(packet),
        _ => None,
    }
    .unwrap_or_default()
}

fn igmp(packet: &[u8]) -> Option<Vec<(IpAddr, bool)>> {
    if *packet.get(9)? != 2 {
        return None;
    }
    let message = packet.get(usize::from(packet[0] & 0xf) * 4..)?;
    let group = |bytes: &[u8]| Some(IpAddr::V4(Ipv4Addr::from_octets(*bytes.first_chunk()?)));
    let one = |joined| Some(alloc::vec![(group(message.get(4..)?)?, joined)]);
    match message.first()? {
        0x12 | 0x16 => one(true),
        0x17 => one(false),
        0x22 => Some(records(message, 4, group)),
        _ => None,
    }
}

fn mld(packet: &[u8]) -> Option<Vec<(IpAddr, bool)>> {
    // Always behind a hop-by-hop header with the router alert (RFC 2710 §3).
    if *packet.get(6)? != 0 || *packet.get(40)? != 58 {
        return None;
    }
    let message = packet.get(48 + usize::from(*packet.get(41)?) * 8..)?;
    let group = |bytes: &[u8]| Some(IpAddr::V6(Ipv6Addr::from_octets(*bytes.first_chunk()?)));
    let one = |joined| Some(alloc::vec![(group(message.get(8..)?)?, joined)]);
    match message.first()? {
        131 => one(true),
        132 => one(false),
        143 => Some(records(message, 16, group)),
        _ => None,
    }
}

/// Group records of IGMPv3 and MLDv2, which differ in the length of an address.
fn records(message: &[u8], address: usize, group: impl Fn(&[u8]) -> Option<IpAddr>) -> Vec<(IpAddr, bool)> {
    let mut found = Vec::new();
    let mut rest = message.get(8..).unwrap_or_default();
    while let [kind, aux, n0, n1, tail @ ..] = rest {
        let sources = usize::from(u16::from_be_bytes([*n0, *n1]));
        let Some(ip) = group(tail) else { break };
        match (*kind, sources) {
            (INCLUDE | TO_INCLUDE, 0) => found.push((ip, false)),
            (INCLUDE | TO_INCLUDE | EXCLUDE | TO_EXCLUDE | ALLOW, _) => found.push((ip, true)),
            _ => {}
        }
        rest = tail.get(address + sources * address + usize::from(*aux) * 4..).unwrap_or_default();
    }
    found
}

/// Kinds of record. RFC 3376 §4.2.12, RFC 3810 §5.2.12.
const INCLUDE: u8 = 1;
const EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;
const ALLOW: u8 = 5;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn ip4(message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 24];
        (packet[0], packet[9]) = (0x46, 2);
        packet.extend_from_slice(message);
        packet
    }

    fn ip6(message: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 48];
        packet[40] = 58;
        packet.extend_from_slice(message);
        packet
    }

    #[test]
    fn igmp_of_all_versions_is_heard() {
        let group: IpAddr = "239.1.1.1".parse().unwrap();
        let heard = |message: &[u8]| memberships(EtherType::IPV4, &ip4(message));
        assert_eq!(heard(&[0x16, 0, 0, 0, 239, 1, 1, 1]), [(group, true)]);
        assert_eq!(heard(&[0x17, 0, 0, 0, 239, 1, 1, 1]), [(group, false)]);
        let v3 = [0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 239, 1, 1, 1, 3, 0, 0, 0, 239, 129, 1, 1];
        assert_eq!(heard(&v3), [(group, true), ("239.129.1.1".parse().unwrap(), false)]);
        let with_source = [0x22, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 1, 239, 1, 1, 1, 10, 0, 0, 1];
        assert_eq!(heard(&with_source), [(group, true)]);
        assert_eq!(heard(&[0x11, 0, 0, 0, 0, 0, 0, 0]), []);
    }

    #[test]
    fn mld_of_both_versions_is_heard() {
        let group: Ipv6Addr = "ff02::1:ff0e:8a11".parse().unwrap();
        let heard = |message: &[u8]| memberships(EtherType::IPV6, &ip6(message));
        let mut v1 = vec![131, 0, 0, 0, 0, 0, 0, 0];
        v1.extend_from_slice(&group.octets());
        assert_eq!(heard(&v1), [(group.into(), true)]);
        v1[0] = 132;
        assert_eq!(heard(&v1), [(group.into(), false)]);
        let mut v2 = vec![143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0];
        v2.extend_from_slice(&group.octets());
        assert_eq!(heard(&v2), [(group.into(), true)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            memberships(EtherType::IPV4, &bytes);
            memberships(EtherType::IPV6, &bytes);
            memberships(EtherType::IPV4, &ip4(&bytes));
            memberships(EtherType::IPV6, &ip6(&bytes));
        }
    }
}
