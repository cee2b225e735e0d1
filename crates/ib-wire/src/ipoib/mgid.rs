//! IP multicast groups as InfiniBand groups, and back. RFC 4391 §4.
//!
//! An MGID names the scope and the partition of its link, a signature that tells IPv4 from IPv6, and the
//! group: all 28 bits of an IPv4 group, the low 80 of an IPv6 one. So groups that share an Ethernet address
//! are still two groups here.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::addr::{Gid, MulticastGid, PKey, Scope};

/// The group that stands for every interface of the link; joining it is what makes the link.
pub fn broadcast_mgid(scope: Scope, pkey: PKey) -> MulticastGid {
    IpoibMgid { scope, pkey, group: Group::Broadcast }.to_mgid()
}

/// The group of an IPv4 multicast address. Any other address (255.255.255.255, a directed broadcast)
/// gives the broadcast group.
pub fn ipv4_mgid(scope: Scope, pkey: PKey, ip: Ipv4Addr) -> MulticastGid {
    let group = if ip.is_multicast() { Group::V4(ip) } else { Group::Broadcast };
    IpoibMgid { scope, pkey, group }.to_mgid()
}

/// The group of an IPv6 multicast address, by its low 80 bits.
pub fn ipv6_mgid(scope: Scope, pkey: PKey, ip: Ipv6Addr) -> MulticastGid {
    let [_, _, _, _, _, _, low @ ..] = ip.octets();
    IpoibMgid { scope, pkey, group: Group::V6(low) }.to_mgid()
}

/// What an MGID of IPoIB says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpoibMgid {
    /// The scope of the link, the same in all its groups.
    pub scope: Scope,
    /// The partition that is the link; stands in the MGID as a full member's.
    pub pkey: PKey,
    /// The group within the link.
    pub group: Group,
}

/// A group within a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Every interface.
    Broadcast,
    /// An IPv4 group, complete.
    V4(Ipv4Addr),
    /// The low 80 bits of an IPv6 group; flags, scope and 32 bits more are not in the MGID.
    V6([u8; 10]),
}

impl IpoibMgid {
    /// Reads an MGID; `None` if it is not one that RFC 4391 §4 forms: transient, one of the two
    /// signatures, a full member's P_Key, zero where the map puts zero.
    pub fn parse(mgid: MulticastGid) -> Option<Self> {
        let [_, _, s0, s1, p0, p1, low @ ..] = mgid.gid().0;
        let pkey = PKey(u16::from_be_bytes([p0, p1]));
        let group = match (u16::from_be_bytes([s0, s1]), low) {
            (SIGNATURE_V4, [0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]) => Group::Broadcast,
            (SIGNATURE_V4, [0, 0, 0, 0, 0, 0, a, b, c, d]) if a < 0x10 => {
                Group::V4(Ipv4Addr::new(0xe0 | a, b, c, d))
            }
            (SIGNATURE_V6, low) => Group::V6(low),
            _ => return None,
        };
        (mgid.flags() == TRANSIENT && pkey.is_full()).then_some(Self { scope: mgid.scope(), pkey, group })
    }

    /// The MGID; the P_Key goes in as a full member's, whatever ours is.
    pub fn to_mgid(self) -> MulticastGid {
        let (signature, low) = match self.group {
            Group::Broadcast => (SIGNATURE_V4, [0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            Group::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                (SIGNATURE_V4, [0, 0, 0, 0, 0, 0, a & 0xf, b, c, d])
            }
            Group::V6(low) => (SIGNATURE_V6, low),
        };
        let mut gid = [0; 16];
        gid[0] = 0xff;
        gid[1] = TRANSIENT << 4 | self.scope.0 & 0xf;
        gid[2..4].copy_from_slice(&signature.to_be_bytes());
        gid[4..6].copy_from_slice(&self.pkey.full().0.to_be_bytes());
        gid[6..].copy_from_slice(&low);
        Gid(gid).multicast().expect("its first octet is 0xff")
    }
}

const SIGNATURE_V4: u16 = 0x401b;
const SIGNATURE_V6: u16 = 0x601b;
/// Flag nibble of a group that nobody assigned for good.
const TRANSIENT: u8 = 1;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn check(ip: &str, pkey: u16, want: &str) {
        let mgid = match ip.parse::<core::net::IpAddr>().unwrap() {
            core::net::IpAddr::V4(ip) => ipv4_mgid(Scope::LINK_LOCAL, PKey(pkey), ip),
            core::net::IpAddr::V6(ip) => ipv6_mgid(Scope::LINK_LOCAL, PKey(pkey), ip),
        };
        assert_eq!(mgid.to_string(), want, "{ip}");
        assert_eq!(IpoibMgid::parse(mgid).unwrap().to_mgid(), mgid, "{ip}");
    }

    #[test]
    fn groups_map_as_the_rfc_says() {
        check("224.0.0.1", 0xffff, "ff12:401b:ffff::1");
        check("224.0.0.2", 0x8001, "ff12:401b:8001::2");
        check("224.0.0.22", 0xffff, "ff12:401b:ffff::16");
        check("239.255.255.255", 0xffff, "ff12:401b:ffff::fff:ffff");
        check("255.255.255.255", 0xffff, "ff12:401b:ffff::ffff:ffff");
        check("10.77.0.255", 0xffff, "ff12:401b:ffff::ffff:ffff");
        check("ff02::1", 0xffff, "ff12:601b:ffff::1");
        check("ff02::1:ff0e:8a11", 0xffff, "ff12:601b:ffff::1:ff0e:8a11");
        check("ff05::1:3", 0x8005, "ff12:601b:8005::1:3");
        check("ff35:40:2001:db8::8000:1", 0xffff, "ff12:601b:ffff:db8::8000:1");
    }

    #[test]
    fn groups_that_share_an_ethernet_address_stay_two() {
        check("239.1.1.1", 0xffff, "ff12:401b:ffff::f01:101");
        check("239.129.1.1", 0xffff, "ff12:401b:ffff::f81:101");
    }

    #[test]
    fn a_limited_member_still_names_the_full_key() {
        assert_eq!(broadcast_mgid(Scope::SITE_LOCAL, PKey(0x0002)).to_string(), "ff15:401b:8002::ffff:ffff");
    }

    #[test]
    fn foreign_groups_are_not_read() {
        for text in [
            "ff02:401b:ffff::1",
            "ff12:401c:ffff::1",
            "ff12:401b:7fff::1",
            "ff12:401b:ffff::1000:0",
            "ff12:401b:ffff:0:0:1::1",
            "ff12:a01b::1",
        ] {
            let mgid = text.parse::<Gid>().unwrap().multicast().unwrap();
            assert_eq!(IpoibMgid::parse(mgid), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(low: [u8; 12], kind in 0..3usize, flags: u8) {
            let mut gid = [0xff; 16];
            gid[1] = flags;
            gid[2] = [0x40, 0x60, 0x40][kind];
            gid[3] = 0x1b;
            gid[4..].copy_from_slice(&low);
            if kind == 2 {
                gid[6..12].fill(0);
            }
            let mgid = Gid(gid).multicast().unwrap();
            if let Some(read) = IpoibMgid::parse(mgid) {
                prop_assert_eq!(read.to_mgid(), mgid);
            }
        }
    }
}
