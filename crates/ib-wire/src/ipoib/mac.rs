//! Addresses of the Ethernet face: six octets for our own interface, for a peer, for a group.
//!
//! All are functions of what does not change: a GUID, a (GID, queue pair), a group. A LID or a restart moves
//! none of them, so the host's neighbour entries stay right. What these functions give is part of what
//! users see (leases, bridge tables, firewall rules) and may not change between releases.

use core::net::{IpAddr, Ipv6Addr};

use crate::addr::{Gid, Guid, Mac, PKey, Qpn, SubnetPrefix};

/// The address of our own interface: octets 0, 1, 2, 5, 6, 7 of the port's GUID, which keeps the vendor's
/// prefix and the serial number readable, as a locally administered unicast address. The other two octets
/// are folded into the high half of the first. In another partition than the default one, octets 1 and 2
/// are changed by its number, so every child has its own.
pub fn local_mac(guid: Guid, pkey: PKey) -> Mac {
    let [a, b, c, x, y, d, e, f] = guid.to_bytes();
    let folded = (x ^ y) << 4 ^ (x ^ y) & 0xf0;
    let [high, low] = (!pkey.full().0).to_be_bytes();
    Mac([(a ^ folded) & 0xfc | LOCAL, b ^ high, c ^ low, d, e, f])
}

/// The stand-in for a peer: a locally administered unicast address made from its GID and queue pair.
///
/// FNV-1a (64 bits) over the 16 octets of the GID, 3 of the queue pair and the salt, then a bit mixer; the
/// low 48 bits are the address, with the low nibble of the first octet set to 2. Of 44 free bits, ten
/// thousand peers collide with a chance of one in 350 000; `salt` counts from 0 and picks another address
/// when the first is taken, by another peer or by the interface itself.
pub fn peer_mac(gid: Gid, qpn: Qpn, salt: u8) -> Mac {
    let [_, q0, q1, q2] = qpn.get().to_be_bytes();
    let (prefix, guid) = gid.0.split_at(8);
    // Nearly all have the prefix of a subnet that nobody gave one.
    let of_prefix = if prefix == LINK_LOCAL { OF_LINK_LOCAL } else { fnv(FNV_OFFSET, prefix) };
    let hash = fnv(fnv(of_prefix, guid), &[q0, q1, q2, salt]);
    let [_, _, a, rest @ ..] = mix(hash).to_be_bytes();
    let [b, c, d, e, f] = rest;
    Mac([a & 0xf0 | LOCAL, b, c, d, e, f])
}

/// The Ethernet address that a host listens on for a group: 01:00:5e and 23 bits (RFC 1112 §6.4), 33:33 and
/// 32 bits (RFC 2464 §7). An IPv4 address that is no group's gives the broadcast address.
pub const fn group_mac(ip: IpAddr) -> Mac {
    match ip {
        IpAddr::V4(ip) if !ip.is_multicast() => Mac::BROADCAST,
        IpAddr::V4(ip) => {
            let [_, b, c, d] = ip.octets();
            Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            Mac([0x33, 0x33, a, b, c, d])
        }
    }
}

/// The link-local address that Linux gives a native IPoIB interface with this GUID: the GUID with the
/// universal bit set. RFC 4391 §8 would toggle the bit of an unmodified EUI-64; what is in the field sets it.
pub const fn link_local(guid: Guid) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | (guid.0 | UNIVERSAL) as u128)
}

/// FNV-1a over more bytes.
const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(FNV_PRIME);
        rest = after;
    }
    hash
}

/// Every bit of the result depends on every bit of `hash`.
const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// First octet: locally administered, unicast.
const LOCAL: u8 = 0x02;
/// The universal bit of an interface identifier.
const UNIVERSAL: u64 = 0x0200_0000_0000_0000;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const LINK_LOCAL: [u8; 8] = SubnetPrefix::LINK_LOCAL.0.to_be_bytes();
const OF_LINK_LOCAL: u64 = fnv(FNV_OFFSET, &LINK_LOCAL);

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, string::ToString};

    use proptest::prelude::*;

    use super::*;

    const GUID: Guid = Guid(0x0002_c903_000e_8a11);

    #[test]
    fn the_default_partition_has_the_plain_form() {
        assert_eq!(local_mac(GUID, PKey::DEFAULT_FULL).to_string(), "32:02:c9:0e:8a:11");
        assert_eq!(local_mac(GUID, PKey::DEFAULT_LIMITED), local_mac(GUID, PKey::DEFAULT_FULL));
    }

    #[test]
    fn the_middle_of_the_guid_counts_too() {
        assert_eq!(
            local_mac(Guid(0x0269_6202_0000_0301), PKey::DEFAULT_FULL).to_string(),
            "22:69:62:00:03:01"
        );
        assert_eq!(
            local_mac(Guid(0x0269_6204_0000_0301), PKey::DEFAULT_FULL).to_string(),
            "42:69:62:00:03:01"
        );
    }

    #[test]
    fn every_partition_has_another_address() {
        let all: BTreeSet<Mac> = (0x8000..=0xffff).map(|key| local_mac(GUID, PKey(key))).collect();
        assert_eq!(all.len(), 0x8000);
        assert_eq!(local_mac(GUID, PKey(0x8001)).to_string(), "32:7d:37:0e:8a:11");
    }

    #[test]
    fn a_peers_address_is_the_same_in_every_release() {
        let gid = Gid::new(SubnetPrefix::LINK_LOCAL, GUID);
        assert_eq!(peer_mac(gid, Qpn::new(0x404), 0).to_string(), PEER_0);
        assert_eq!(peer_mac(gid, Qpn::new(0x404), 1).to_string(), PEER_1);
    }
    const PEER_0: &str = "52:50:c2:1b:c5:c7";
    const PEER_1: &str = "a2:89:aa:c9:6a:f0";

    #[test]
    fn ten_thousand_neighbouring_peers_do_not_collide() {
        let all: BTreeSet<Mac> = (0..10_000)
            .map(|n| peer_mac(Gid::new(SubnetPrefix::LINK_LOCAL, Guid(GUID.0 + n)), Qpn::new(0x48), 0))
            .collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn groups_have_the_addresses_hosts_listen_on() {
        for (ip, want) in [
            ("239.129.1.1", "01:00:5e:01:01:01"),
            ("239.1.1.1", "01:00:5e:01:01:01"),
            ("255.255.255.255", "ff:ff:ff:ff:ff:ff"),
            ("ff02::1:ff0e:8a11", "33:33:ff:0e:8a:11"),
        ] {
            assert_eq!(group_mac(ip.parse().unwrap()).to_string(), want, "{ip}");
        }
    }

    #[test]
    fn link_local_is_what_linux_gives_a_native_interface() {
        assert_eq!(link_local(GUID).to_string(), "fe80::202:c903:e:8a11");
        assert_eq!(link_local(Guid(0x5054_00ff_fe00_0001)).to_string(), "fe80::5254:ff:fe00:1");
    }

    proptest! {
        #[test]
        fn stand_ins_are_local_and_unicast(gid: [u8; 16], qpn: u32, salt: u8, guid: u64, pkey: u16) {
            for mac in [peer_mac(Gid(gid), Qpn::new(qpn), salt), local_mac(Guid(guid), PKey(pkey))] {
                prop_assert_eq!(mac.0[0] & 3, 2);
            }
        }
    }
}
