//! Interfaces, addresses, routes and neighbours of a network namespace, through rtnetlink.
//!
//! A [`Netlink`] belongs to the namespace of the thread that opened it, for good: it may be used from any thread
//! afterwards. Everything is synchronous: the kernel has answered when a call returns.

mod address;
mod device;
mod membership;
mod neighbor;
mod route;
mod socket;

pub use self::{
    address::AddressInfo,
    device::{LinkConfig, LinkInfo, OperState},
    membership::Memberships,
    neighbor::{NeighborInfo, NeighborState},
    socket::Netlink,
};
pub(super) use self::{
    address::address_of,
    device::info_of,
    neighbor::neighbor_of,
    socket::{split, split_attribute},
};

use std::io;

/// A request the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot {what}{}", .said.as_deref().map(|s| format!(" ({s})")).unwrap_or_default())]
pub struct LinkError {
    /// What was asked.
    pub what: &'static str,
    /// Of what: an interface by name or number, an address.
    pub name: String,
    /// The kernel's own words, if it had some.
    pub said: Option<String>,
    /// Its error.
    #[source]
    pub source: io::Error,
}
