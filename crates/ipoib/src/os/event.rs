//! What the kernel says has changed at a host's interface.

use std::net::IpAddr;

use ib_wire::addr::Mac;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{RouteNetlinkMessage, neighbour::NeighbourMessage};

use super::link::{LinkInfo, NeighborState, address_of, info_of, neighbor_of, split_attribute};

// linux include/uapi/linux/rtnetlink.h, if_addr.h
const RTM_NEWMULTICAST: u16 = 56;
const RTM_DELMULTICAST: u16 = 57;
const IFA_MULTICAST: u16 = 7;

/// A change at the host's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// Set up by an administrator.
    LinkUp,
    /// Set down by an administrator.
    LinkDown,
    /// Deleted, or moved to another namespace.
    LinkGone,
    /// The largest IP packet is another.
    MtuChanged {
        /// The new one.
        mtu: u32,
    },
    /// The interface's own address is another.
    MacChanged {
        /// The new one.
        mac: Mac,
    },
    /// An address was added or changed.
    AddressAdded {
        /// The address.
        addr: IpAddr,
        /// Bits of the network part.
        prefix_len: u8,
    },
    /// An address was taken away.
    AddressRemoved {
        /// The address.
        addr: IpAddr,
        /// Bits of the network part.
        prefix_len: u8,
    },
    /// The host knows a peer, or knows something else about it.
    NeighborUpdated {
        /// The peer.
        addr: IpAddr,
        /// Its link address.
        mac: Mac,
        /// How far the host trusts it.
        state: NeighborState,
    },
    /// A peer does not answer.
    NeighborFailed {
        /// The peer.
        addr: IpAddr,
        /// Its link address, if it ever had one.
        mac: Option<Mac>,
    },
    /// The host has forgotten a peer.
    NeighborGone {
        /// The peer.
        addr: IpAddr,
        /// Its link address, if it had one.
        mac: Option<Mac>,
    },
    /// The host listens to a group.
    GroupJoined {
        /// The group.
        group: IpAddr,
    },
    /// The host has left a group.
    GroupLeft {
        /// The group.
        group: IpAddr,
    },
    /// More happened than could be told: ask for the state.
    Overrun,
}

/// A message that concerns the interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its state as a whole.
    Link(LinkInfo),
    /// One event.
    Event(HostEvent),
}

/// Reads a message of the kernel; `None` if it is about something else.
pub(super) fn decode(message: &[u8], index: u32) -> Option<Heard> {
    let kind = u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]);
    if let RTM_NEWMULTICAST | RTM_DELMULTICAST = kind {
        return group_event(kind, message.get(16..)?, index).map(Heard::Event);
    }
    let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message);
    let parsed =
        parsed.inspect_err(|error| tracing::debug!(%error, kind, "unreadable netlink event")).ok()?;
    match parsed.payload {
        NetlinkPayload::InnerMessage(message) => route_event(message, index),
        _ => None,
    }
}

fn route_event(message: RouteNetlinkMessage, index: u32) -> Option<Heard> {
    match message {
        // Bridges send messages of their own kind about their ports.
        RouteNetlinkMessage::NewLink(m)
            if m.header.index == index && u8::from(m.header.interface_family) == 0 =>
        {
            Some(Heard::Link(info_of(&m)))
        }
        RouteNetlinkMessage::DelLink(m)
            if m.header.index == index && u8::from(m.header.interface_family) == 0 =>
        {
            Some(Heard::Event(HostEvent::LinkGone))
        }
        RouteNetlinkMessage::NewAddress(m) => address_of(&m)
            .filter(|a| a.index == index)
            .map(|a| Heard::Event(HostEvent::AddressAdded { addr: a.addr, prefix_len: a.prefix_len })),
        RouteNetlinkMessage::DelAddress(m) => address_of(&m)
            .filter(|a| a.index == index)
            .map(|a| Heard::Event(HostEvent::AddressRemoved { addr: a.addr, prefix_len: a.prefix_len })),
        RouteNetlinkMessage::NewNeighbour(m) => neighbor_event(&m, index, false).map(Heard::Event),
        RouteNetlinkMessage::DelNeighbour(m) => neighbor_event(&m, index, true).map(Heard::Event),
        _ => None,
    }
}

fn neighbor_event(message: &NeighbourMessage, index: u32, gone: bool) -> Option<HostEvent> {
    let info = neighbor_of(message).filter(|info| info.index == index && info.is_peer())?;
    let (addr, mac) = (info.addr, info.mac);
    match info.state {
        _ if gone => Some(HostEvent::NeighborGone { addr, mac }),
        NeighborState::Failed => Some(HostEvent::NeighborFailed { addr, mac }),
        state => mac.map(|mac| HostEvent::NeighborUpdated { addr, mac, state }),
    }
}

/// `struct ifaddrmsg`, then the group as attribute 7.
fn group_event(kind: u16, body: &[u8], index: u32) -> Option<HostEvent> {
    let &[_family, _prefix_len, _flags, _scope, i0, i1, i2, i3, ref attributes @ ..] = body else {
        return None;
    };
    if u32::from_ne_bytes([i0, i1, i2, i3]) != index {
        return None;
    }
    let group = group_of(attributes)?;
    Some(match kind {
        RTM_NEWMULTICAST => HostEvent::GroupJoined { group },
        _ => HostEvent::GroupLeft { group },
    })
}

fn group_of(mut attributes: &[u8]) -> Option<IpAddr> {
    while let Some((kind, value, rest)) = split_attribute(attributes) {
        if kind == IFA_MULTICAST {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            return v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok();
        }
        attributes = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn multicast(kind: u16, index: u32, group: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend([2, 32, 0, 0]);
        bytes.extend(index.to_ne_bytes());
        bytes.extend(u16::try_from(4 + group.len()).unwrap().to_ne_bytes());
        bytes.extend(IFA_MULTICAST.to_ne_bytes());
        bytes.extend(group);
        bytes
    }

    #[test]
    fn groups_of_both_families_are_read() {
        let joined = multicast(RTM_NEWMULTICAST, 3, &[239, 1, 2, 3]);
        let event = HostEvent::GroupJoined { group: [239, 1, 2, 3].into() };
        assert_eq!(decode(&joined, 3), Some(Heard::Event(event)));
        assert_eq!(decode(&joined, 4), None);
        let left = multicast(RTM_DELMULTICAST, 3, &[0xff; 16]);
        let event = HostEvent::GroupLeft { group: [0xff; 16].into() };
        assert_eq!(decode(&left, 3), Some(Heard::Event(event)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(kind in 16u16..60, mut bytes in prop::collection::vec(any::<u8>(), 16..200)) {
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            decode(&bytes, 1);
        }
    }
}
