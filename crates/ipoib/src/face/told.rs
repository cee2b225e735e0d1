//! What a host's kernel says and is told about one interface.

use std::{io, net::IpAddr};

use ib_wire::addr::{HwAddr, Mac};
use ipoib_proto::HostEvent;

use super::Face;
use crate::os::{link::OperState, monitor::HostEvent as KernelEvent};

/// What an event of the kernel means to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The interface was set up or down.
    Admin(bool),
    /// Something about neighbours, groups or addresses.
    Host(HostEvent),
    /// More happened than could be told: `resync`.
    Overrun,
}

impl Face {
    /// The next thing the kernel has to tell.
    pub(super) fn poll_told(&mut self) -> io::Result<Option<Told>> {
        while let Some(event) = self.monitor.poll_event()? {
            if let Some(told) = self.understand(event) {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    /// The state as a whole, as a list of what one would have been told.
    pub(super) fn resync(&mut self) -> anyhow::Result<Vec<Told>> {
        let state = self.monitor.resync()?;
        let mut told = Vec::new();
        let neighbors = state.neighbors.iter().filter_map(|n| Some((n.addr, n.mac?))).collect();
        let before = std::mem::replace(&mut self.neighbors, neighbors);
        let gone = before.into_iter().filter(|(ip, mac)| self.neighbors.get(ip) != Some(mac));
        told.extend(gone.map(|(ip, mac)| neighbor_gone(ip, mac)));
        let addresses = state.addresses.iter().map(|a| (a.addr, a.prefix_len)).collect();
        let before = std::mem::replace(&mut self.addresses, addresses);
        let gone = before.into_keys().filter(|addr| !self.addresses.contains_key(addr));
        told.extend(gone.map(|addr| Told::Host(HostEvent::AddressRemoved(addr))));
        told.extend(self.addresses.keys().map(|addr| Told::Host(HostEvent::AddressAdded(*addr))));
        told.extend(state.groups.into_iter().map(|group| Told::Host(HostEvent::GroupJoined(group))));
        told.extend(state.link.map(|link| Told::Admin(link.is_up())));
        Ok(told)
    }

    /// Deletes the host's entries for `mac`, so that it asks anew.
    pub(super) fn forget(&mut self, mac: Mac, only: Option<IpAddr>) {
        let ips: Vec<IpAddr> = self.neighbors.iter().filter(|(_, m)| **m == mac).map(|(ip, _)| *ip).collect();
        for ip in ips.into_iter().filter(|ip| only.is_none_or(|only| only == *ip)) {
            if let Err(error) = self.netlink.delete_neighbor(self.tap.index(), ip) {
                tracing::debug!(%ip, %error, "neighbour entry");
            }
        }
    }

    /// Shows the 20-byte address where `ip link` shows an alias.
    pub(super) fn show_address(&mut self, address: HwAddr) {
        if let Err(error) = self.netlink.set_alias(self.tap.index(), &address.to_string()) {
            tracing::warn!(interface = %self.plan.name, %error, "alias");
        }
    }

    /// Sets the MTU that the broadcast group allows.
    pub(super) fn set_mtu(&mut self, mtu: u16) {
        if let Err(error) = self.netlink.set_mtu(self.tap.index(), mtu.into()) {
            tracing::warn!(interface = %self.plan.name, %error, "MTU");
        }
    }

    /// Turns the carrier on or off.
    pub(super) fn set_carrier(&self, on: bool) {
        if let Err(error) = self.tap.set_carrier(on) {
            tracing::warn!(interface = %self.plan.name, %error, "carrier");
        }
    }

    /// True if the host's kernel lets frames out: it does so a moment after the carrier came.
    pub(super) fn may_send(&mut self) -> bool {
        if !self.sends {
            let link = self.netlink.link(self.tap.index());
            self.sends = link.is_ok_and(|link| link.oper_state == OperState::Up);
        }
        self.sends
    }

    fn understand(&mut self, event: KernelEvent) -> Option<Told> {
        let host = match event {
            KernelEvent::LinkUp => return Some(Told::Admin(true)),
            KernelEvent::LinkDown | KernelEvent::LinkGone => return Some(Told::Admin(false)),
            KernelEvent::MtuChanged { mtu } => HostEvent::MtuChanged(u16::try_from(mtu).unwrap_or(u16::MAX)),
            KernelEvent::AddressAdded { addr, prefix_len } => {
                self.addresses.insert(addr, prefix_len);
                HostEvent::AddressAdded(addr)
            }
            KernelEvent::AddressRemoved { addr, .. } => {
                self.addresses.remove(&addr);
                HostEvent::AddressRemoved(addr)
            }
            KernelEvent::GroupJoined { group } => HostEvent::GroupJoined(group),
            KernelEvent::GroupLeft { group } => HostEvent::GroupLeft(group),
            KernelEvent::NeighborUpdated { addr, mac, .. } => {
                let before = self.neighbors.insert(addr, mac).filter(|before| *before != mac);
                return before.map(|before| neighbor_gone(addr, before));
            }
            KernelEvent::NeighborFailed { addr, mac } => HostEvent::NeighborFailed { ip: addr, mac },
            KernelEvent::NeighborGone { addr, mac } => {
                let mac = self.neighbors.remove(&addr).or(mac)?;
                return Some(neighbor_gone(addr, mac));
            }
            KernelEvent::Overrun => return Some(Told::Overrun),
            KernelEvent::MacChanged { .. } => return None,
        };
        Some(Told::Host(host))
    }
}

/// Of a peer with several IP addresses each is told: the engine knows which was the last.
const fn neighbor_gone(ip: IpAddr, mac: Mac) -> Told {
    Told::Host(HostEvent::NeighborGone { ip: Some(ip), mac })
}
