//! Neighbours: who the kernel knows behind an interface.

use std::net::IpAddr;

use ib_wire::addr::Mac;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::{LinkError, Netlink, address::family};

/// How far the kernel trusts an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborState {
    /// Being asked for.
    Incomplete,
    /// Answered lately.
    Reachable,
    /// Not heard of for a while.
    Stale,
    /// Used while stale: about to be asked.
    Delay,
    /// Being asked directly.
    Probe,
    /// Did not answer.
    Failed,
    /// Needs no asking.
    NoArp,
    /// Set by an administrator.
    Permanent,
    /// None, or one the kernel invented since.
    Other,
}

/// An entry of the neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborInfo {
    /// The interface.
    pub index: u32,
    /// The peer's IP address.
    pub addr: IpAddr,
    /// Its link address, once known.
    pub mac: Option<Mac>,
    /// How far the kernel trusts it.
    pub state: NeighborState,
}

impl NeighborInfo {
    /// False for the entries the kernel keeps for groups and broadcast.
    pub fn is_peer(&self) -> bool {
        !(self.addr.is_multicast() || self.mac.is_some_and(Mac::is_multicast))
    }
}

impl Netlink {
    /// The neighbours behind an interface, groups and broadcast left out.
    pub fn neighbors(&mut self, index: u32) -> Result<Vec<NeighborInfo>, LinkError> {
        let query = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        let all = self.dump("list neighbours", &query)?;
        let ours = all.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => neighbor_of(message),
            _ => None,
        });
        Ok(ours.filter(|info| info.index == index && info.is_peer()).collect())
    }

    /// Sets a neighbour by hand, for good.
    pub fn set_neighbor(&mut self, index: u32, addr: IpAddr, mac: Mac) -> Result<(), LinkError> {
        let mut message = message(index, addr);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.change("set the neighbour", addr, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Forgets a neighbour.
    pub fn delete_neighbor(&mut self, index: u32, addr: IpAddr) -> Result<(), LinkError> {
        let message = RouteNetlinkMessage::DelNeighbour(message(index, addr));
        self.change("delete the neighbour", addr, message, 0)
    }
}

fn message(index: u32, addr: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(addr);
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(match addr {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    message
}

/// What a message of the kernel says about a neighbour; `None` for bridges' entries and proxies.
pub(in crate::os) fn neighbor_of(message: &NeighbourMessage) -> Option<NeighborInfo> {
    let (mut addr, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => addr = Some((*v4).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => addr = Some((*v6).into()),
            NeighbourAttribute::LinkLayerAddress(octets) => mac = octets.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    Some(NeighborInfo { index: message.header.ifindex, addr: addr?, mac, state: state(message.header.state) })
}

const fn state(state: NeighbourState) -> NeighborState {
    match state {
        NeighbourState::Incomplete => NeighborState::Incomplete,
        NeighbourState::Reachable => NeighborState::Reachable,
        NeighbourState::Stale => NeighborState::Stale,
        NeighbourState::Delay => NeighborState::Delay,
        NeighbourState::Probe => NeighborState::Probe,
        NeighbourState::Failed => NeighborState::Failed,
        NeighbourState::Noarp => NeighborState::NoArp,
        NeighbourState::Permanent => NeighborState::Permanent,
        _ => NeighborState::Other,
    }
}
