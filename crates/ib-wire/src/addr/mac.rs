//! Link-layer addresses: IPoIB's 20 octets and the six that a TAP shows in their place.

use core::{fmt, str::FromStr};

use super::{Gid, Qpn};

/// First octet of an IPoIB address: what else than UD the peer can do. RFC 4755 §3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HwFlags(pub u8);

impl HwFlags {
    /// Datagrams only.
    pub const NONE: Self = Self(0);
    /// Accepts reliable connections.
    pub const RC: Self = Self(0x80);
    /// Accepts unreliable connections.
    pub const UC: Self = Self(0x40);
}

/// The IPoIB hardware address: flags, queue pair, GID; 20 octets. RFC 4391 §9.1.1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HwAddr {
    /// Capabilities of the owner.
    pub flags: HwFlags,
    /// The UD queue pair that takes the owner's IP packets.
    pub qpn: Qpn,
    /// The port's GID, or a group's.
    pub gid: Gid,
}

impl HwAddr {
    /// Octets on the wire.
    pub const LEN: usize = 20;

    /// An address with no flags set.
    pub const fn new(qpn: Qpn, gid: Gid) -> Self {
        Self { flags: HwFlags::NONE, qpn, gid }
    }

    /// Reads the 20 octets.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut gid = [0; 16];
        gid.copy_from_slice(&bytes[4..]);
        Self {
            flags: HwFlags(bytes[0]),
            qpn: Qpn::new(u32::from_be_bytes([0, bytes[1], bytes[2], bytes[3]])),
            gid: Gid(gid),
        }
    }

    /// The 20 octets in transmission order.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.qpn.get().to_be_bytes());
        bytes[0] = self.flags.0;
        bytes[4..].copy_from_slice(&self.gid.0);
        bytes
    }
}

/// As Linux prints it: 20 octets separated by colons.
impl fmt::Display for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(f, &self.to_bytes())
    }
}

impl fmt::Debug for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HwAddr({self})")
    }
}

/// An Ethernet address: the host's stand-in for a 20-octet one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All ones.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// "None", as in the target field of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// True for group addresses, broadcast included.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for ff:ff:ff:ff:ff:ff.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        colons(f, &self.0)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

/// The text is no hardware address of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hardware address of {0} octets: write them in hex, separated by colons")]
pub struct ParseHwError(pub usize);

impl FromStr for HwAddr {
    type Err = ParseHwError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        octets(text).map(|bytes| Self::from_bytes(&bytes))
    }
}

impl FromStr for Mac {
    type Err = ParseHwError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        octets(text).map(Self)
    }
}

fn colons(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
    }
    Ok(())
}

fn octets<const N: usize>(text: &str) -> Result<[u8; N], ParseHwError> {
    let mut bytes = [0; N];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| p.len() == 2 && !p.starts_with('+')).ok_or(ParseHwError(N))?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| ParseHwError(N))?;
    }
    if parts.next().is_some() { Err(ParseHwError(N)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_octets_survive_text_and_bytes() {
        let text = "80:00:04:04:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:8a:11";
        let addr: HwAddr = text.parse().unwrap();
        assert_eq!(addr.qpn, Qpn::new(0x404));
        assert_eq!(addr.flags, HwFlags::RC);
        assert_eq!(HwAddr::from_bytes(&addr.to_bytes()), addr);
        assert_eq!(alloc::format!("{addr}"), text);
        assert!("80:00".parse::<HwAddr>().is_err());
    }

    #[test]
    fn octets_have_two_digits_and_no_sign() {
        assert_eq!("02:00:c9:0E:8a:11".parse(), Ok(Mac([2, 0, 0xc9, 0x0e, 0x8a, 0x11])));
        for text in ["02:00:c9:+e:8a:11", "02:00:c9:-e:8a:11", "02:00:c9:e:8a:11", "02:00:c9:0e:8a:11:"] {
            assert_eq!(text.parse::<Mac>(), Err(ParseHwError(6)), "{text}");
        }
    }
}
