//! Neighbor Discovery: what a message says, and its two forms. RFC 4861, RFC 4391 §9.3.
//!
//! A link-layer address in an option takes one unit of eight octets towards an Ethernet host, three on the
//! link (two zero octets, then 20); `to_ib` and `to_ethernet` turn one into the other. Messages behind
//! extension headers are not looked at, as nobody sends them (RFC 6980 forbids the fragmented ones). Signed
//! messages (RFC 3971) do not survive the change.

mod rewrite;

use core::net::Ipv6Addr;

pub use rewrite::{announcement, to_ethernet, to_ib};

use super::checksum::Sum;
use crate::{
    addr::{HwAddr, Mac},
    layout::{Truncated, split},
    offload::Checksum,
};

/// True if the packet is a Neighbor Discovery message by its next header and type; says nothing of its health.
pub fn is_nd(ip6: &[u8]) -> bool {
    ip6.len() > IPV6 && ip6[0] >> 4 == 6 && ip6[6] == ICMPV6 && NdKind::of(ip6[IPV6]).is_some()
}

/// The five messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NdKind {
    /// Type 133.
    RouterSolicitation,
    /// Type 134.
    RouterAdvertisement,
    /// Type 135.
    NeighborSolicitation,
    /// Type 136.
    NeighborAdvertisement,
    /// Type 137.
    Redirect,
}

/// Whose address an option holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionKind {
    /// The sender's (type 1).
    Source,
    /// The target's (type 2).
    Target,
}

/// A link-layer address, in the form its option has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkLayer {
    /// One unit.
    Ethernet(Mac),
    /// Three units.
    Ib(HwAddr),
}

/// What a message tells about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdMessage {
    /// Which message.
    pub kind: NdKind,
    /// IPv6 source; unspecified while the sender checks for a duplicate.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The address asked about, answered or redirected to; none in router messages.
    pub target: Option<Ipv6Addr>,
    /// Link-layer address of `source`, the first if there are several.
    pub source_link: Option<LinkLayer>,
    /// Link-layer address of `target`, the first if there are several.
    pub target_link: Option<LinkLayer>,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdError {
    /// Another packet; to be passed on as it is.
    #[error("not a Neighbor Discovery message")]
    NotNd,
    /// The packet or its last option ends too early.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// It may come from beyond the link.
    #[error("hop limit {0} where 255 shows that no router was passed")]
    HopLimit(u8),
    /// The octets are not those that were sent.
    #[error("wrong checksum")]
    Checksum,
    /// An option of no length, which would never end.
    #[error("option {0} has length 0")]
    EmptyOption(u8),
    /// A link-layer address of a length that this side does not have.
    #[error("{kind:?} link-layer address option of {units} units of 8 octets")]
    OptionLength {
        /// Which option.
        kind: OptionKind,
        /// Its length.
        units: u8,
    },
    /// With the longer options the message does not fit a packet.
    #[error("too long for an IPv6 packet")]
    TooLong,
}

impl NdMessage {
    /// Reads a message from an IPv6 packet in either form. Checks the hop limit, the checksum if `checksum`
    /// says that nobody has, and the options.
    pub fn parse(ip6: &[u8], checksum: Checksum) -> Result<Self, NdError> {
        let raw = Raw::open(ip6, checksum)?;
        let mut message = Self {
            kind: raw.kind,
            source: raw.source(),
            destination: raw.destination(),
            target: raw.target(),
            source_link: None,
            target_link: None,
        };
        for option in raw.options() {
            let (kind, option) = option?;
            let place = match kind {
                Some(OptionKind::Source) => &mut message.source_link,
                Some(OptionKind::Target) => &mut message.target_link,
                None => continue,
            };
            *place = place.or(LinkLayer::read(option));
        }
        Ok(message)
    }

    /// True for a solicitation that only asks whether its target is free (RFC 4862 §5.4).
    pub const fn is_duplicate_probe(&self) -> bool {
        matches!(self.kind, NdKind::NeighborSolicitation) && self.source.is_unspecified()
    }
}

impl LinkLayer {
    /// The stand-in, if it is one.
    pub const fn ethernet(self) -> Option<Mac> {
        if let Self::Ethernet(mac) = self { Some(mac) } else { None }
    }

    /// The 20-octet address, if it is one.
    pub const fn ib(self) -> Option<HwAddr> {
        if let Self::Ib(addr) = self { Some(addr) } else { None }
    }

    /// The address in a whole option of type 1 or 2; padding is not looked at.
    fn read(option: &[u8]) -> Option<Self> {
        match option {
            [_, 1, mac @ ..] => mac.try_into().ok().map(Mac).map(Self::Ethernet),
            [_, 3, _, _, addr @ ..] => addr.try_into().ok().map(HwAddr::from_bytes).map(Self::Ib),
            _ => None,
        }
    }
}

impl NdKind {
    const fn of(icmp_type: u8) -> Option<Self> {
        Some(match icmp_type {
            133 => Self::RouterSolicitation,
            134 => Self::RouterAdvertisement,
            135 => Self::NeighborSolicitation,
            136 => Self::NeighborAdvertisement,
            137 => Self::Redirect,
            _ => return None,
        })
    }

    /// Octets from the ICMPv6 header to the first option.
    const fn fixed(self) -> usize {
        match self {
            Self::RouterSolicitation => 8,
            Self::RouterAdvertisement => 16,
            Self::NeighborSolicitation | Self::NeighborAdvertisement => 24,
            Self::Redirect => 40,
        }
    }
}

/// A message in its parts: IPv6 header, ICMPv6 with the fixed part, options.
struct Raw<'a> {
    kind: NdKind,
    ip: &'a [u8; IPV6],
    fixed: &'a [u8],
    options: &'a [u8],
}

impl<'a> Raw<'a> {
    fn open(ip6: &'a [u8], checksum: Checksum) -> Result<Self, NdError> {
        let (ip, body) = split::<IPV6>(ip6)?;
        let &[first, _, _, _, len0, len1, next, hops, ..] = ip;
        let need = usize::from(u16::from_be_bytes([len0, len1]));
        let truncated = |need| Truncated { need: IPV6 + need, have: ip6.len() };
        let kind = body.first().and_then(|icmp_type| NdKind::of(*icmp_type));
        let kind = kind.filter(|_| first >> 4 == 6 && next == ICMPV6).ok_or(NdError::NotNd)?;
        let body = body.get(..need).ok_or_else(|| truncated(need))?;
        let (fixed, options) = body.split_at_checked(kind.fixed()).ok_or_else(|| truncated(kind.fixed()))?;
        let raw = Self { kind, ip, fixed, options };
        if hops != 255 {
            return Err(NdError::HopLimit(hops));
        }
        if checksum == Checksum::Complete && raw.sum(body.len()).with(fixed).with(options).finish() != 0 {
            return Err(NdError::Checksum);
        }
        Ok(raw)
    }

    fn source(&self) -> Ipv6Addr {
        address(&self.ip[8..])
    }

    fn destination(&self) -> Ipv6Addr {
        address(&self.ip[24..])
    }

    fn target(&self) -> Option<Ipv6Addr> {
        (self.kind.fixed() >= 24).then(|| address(&self.fixed[8..]))
    }

    fn sum(&self, len: usize) -> Sum {
        Sum::pseudo6(self.source(), self.destination(), ICMPV6, len)
    }

    /// Whole options one after the other, with what kind of link-layer address each holds, if any.
    fn options(&self) -> impl Iterator<Item = Result<(Option<OptionKind>, &'a [u8]), NdError>> {
        let mut rest = self.options;
        core::iter::from_fn(move || {
            let (&kind, tail) = rest.split_first()?;
            let len = match tail.first() {
                Some(0) => return Some(Err(NdError::EmptyOption(kind))),
                Some(units) => usize::from(*units) * UNIT,
                None => UNIT,
            };
            let Some((option, tail)) = rest.split_at_checked(len) else {
                let have = core::mem::take(&mut rest).len();
                return Some(Err(Truncated { need: len, have }.into()));
            };
            rest = tail;
            let kind = match kind {
                1 => Some(OptionKind::Source),
                2 => Some(OptionKind::Target),
                _ => None,
            };
            Some(Ok((kind, option)))
        })
    }
}

fn address(bytes: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(*bytes.first_chunk::<16>().expect("addresses lie within the fixed part"))
}

/// Octets of an IPv6 header.
const IPV6: usize = 40;
const ICMPV6: u8 = 58;
/// Octets in a unit of option length.
const UNIT: usize = 8;
