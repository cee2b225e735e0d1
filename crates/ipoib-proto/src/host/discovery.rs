//! Neighbour discovery: whom a message is about, beyond its translation. RFC 4861.

use core::net::{IpAddr, Ipv6Addr};

use ib_wire::{
    addr::HwAddr,
    ipoib::nd::{NdKind, NdMessage},
};

/// An address that a message teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The IPv6 address.
    pub(crate) ip: IpAddr,
    /// Where it is.
    pub(crate) addr: HwAddr,
    /// It claims to be the sender's own, so it must be where the message came from.
    pub(crate) own: bool,
    /// The host will want to send there; else it is of interest only to who knows the address already.
    pub(crate) wanted: bool,
}

/// What a message of the link teaches.
pub(crate) fn claims(message: &NdMessage) -> impl Iterator<Item = Claim> {
    let claim = |ip: Ipv6Addr, addr, own, wanted| Claim { ip: ip.into(), addr, own, wanted };
    let source = message.source_link.and_then(|link| link.ib());
    // A solicitation or advertisement makes the host create an entry for its source.
    let source = source.filter(|_| !message.source.is_unspecified());
    let source = source.map(|addr| claim(message.source, addr, true, true));
    let target = message.target_link.and_then(|link| link.ib()).zip(message.target);
    let target = target.map(|(addr, target)| match message.kind {
        NdKind::NeighborAdvertisement => claim(target, addr, true, !message.destination.is_multicast()),
        // A redirect speaks of somebody else.
        _ => claim(target, addr, false, true),
    });
    source.into_iter().chain(target)
}

/// What a message of the host says about its being a router, if anything.
pub(crate) fn is_router(message: &NdMessage, packet: &[u8]) -> Option<bool> {
    match message.kind {
        NdKind::RouterAdvertisement => Some(true),
        NdKind::NeighborAdvertisement => packet.get(44).map(|flags| flags & ROUTER != 0),
        _ => None,
    }
}

/// Flag of a neighbour advertisement.
const ROUTER: u8 = 0x80;
