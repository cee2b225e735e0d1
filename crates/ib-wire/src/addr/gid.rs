//! Global identifiers: 128-bit addresses in the form of IPv6. IBA 1 §4.1.1.

use core::{fmt, net::Ipv6Addr, str::FromStr};

use super::Guid;

/// The upper 64 bits of a unicast GID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetPrefix(pub u64);

impl SubnetPrefix {
    /// `fe80::/64`, what a port has until a subnet manager sets another.
    pub const LINK_LOCAL: Self = Self(0xfe80_0000_0000_0000);
}

impl Default for SubnetPrefix {
    fn default() -> Self {
        Self::LINK_LOCAL
    }
}

impl fmt::Display for SubnetPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Gid::new(*self, Guid::ZERO), f)?;
        f.write_str("/64")
    }
}

impl fmt::Debug for SubnetPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubnetPrefix({self})")
    }
}

/// A 128-bit address, unicast or multicast, in transmission order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    /// All zero: "none", or "any" in subscriptions.
    pub const ZERO: Self = Self([0; 16]);

    /// The unicast GID of a port.
    pub const fn new(prefix: SubnetPrefix, guid: Guid) -> Self {
        Self(((prefix.0 as u128) << 64 | guid.0 as u128).to_be_bytes())
    }

    /// Upper half.
    pub const fn prefix(self) -> SubnetPrefix {
        SubnetPrefix((u128::from_be_bytes(self.0) >> 64) as u64)
    }

    /// Lower half: the port's GUID in a unicast GID.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn guid(self) -> Guid {
        Guid(u128::from_be_bytes(self.0) as u64)
    }

    /// True if the first octet is 0xFF.
    pub const fn is_multicast(self) -> bool {
        self.0[0] == 0xff
    }

    /// This GID as a multicast GID, if it is one.
    pub const fn multicast(self) -> Option<MulticastGid> {
        if self.is_multicast() { Some(MulticastGid(self)) } else { None }
    }

    /// The same bits as an IPv6 address.
    pub const fn to_ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.0)
    }
}

/// As an IPv6 address: `fe80::2:c903:e:8a11`.
impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_ipv6(), f)
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gid({self})")
    }
}

/// The text is no GID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GID: write it as an IPv6 address, fe80::2:c903:e:8a11")]
pub struct ParseGidError;

impl FromStr for Gid {
    type Err = ParseGidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Ipv6Addr>().map(|ip| Self(ip.octets())).map_err(|_| ParseGidError)
    }
}

/// A GID that names a multicast group: first octet 0xFF, then flags (000T) and scope. IBA 1 §4.1.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastGid(Gid);

impl MulticastGid {
    /// The GID itself.
    pub const fn gid(self) -> Gid {
        self.0
    }

    /// Flag nibble; bit 0 (T) set means "transient", as all IPoIB groups are (RFC 4391 §4).
    pub const fn flags(self) -> u8 {
        self.0.0[1] >> 4
    }

    /// Scope nibble.
    pub const fn scope(self) -> Scope {
        Scope(self.0.0[1] & 0xf)
    }
}

/// The GID is unicast where a group was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a multicast GID: its first octet is not 0xff")]
pub struct NotMulticast(pub Gid);

impl TryFrom<Gid> for MulticastGid {
    type Error = NotMulticast;

    fn try_from(gid: Gid) -> Result<Self, Self::Error> {
        gid.multicast().ok_or(NotMulticast(gid))
    }
}

impl From<MulticastGid> for Gid {
    fn from(mgid: MulticastGid) -> Self {
        mgid.0
    }
}

impl fmt::Display for MulticastGid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MulticastGid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MulticastGid({})", self.0)
    }
}

/// Scope of a multicast GID: how far the group reaches. Open: all 16 values are representable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// The local subnet; what IPoIB uses unless told otherwise (RFC 4391 §4.1).
    pub const LINK_LOCAL: Self = Self(2);
    /// One site.
    pub const SITE_LOCAL: Self = Self(5);
    /// One organization.
    pub const ORGANIZATION: Self = Self(8);
    /// Everywhere.
    pub const GLOBAL: Self = Self(0xe);
}
