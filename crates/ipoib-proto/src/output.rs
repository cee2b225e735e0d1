//! What goes into the interface from the host, and what comes out of it.

use alloc::boxed::Box;
use core::{fmt, net::IpAddr};

use ib_wire::{
    addr::{Gid, HwAddr, Lid, Mac, MulticastGid},
    mad::Mad,
    offload::Offload,
    payload::Payload,
    ud::{MadAddress, QpCommand, UdSend},
};

use crate::{CarrierReason, SaFailure};

/// What the caller is to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram from the interface's queue pair.
    Send(UdSend),
    /// Send a MAD from QP1. The caller may use the upper 32 bits of its transaction identifier.
    Mad {
        /// Where to.
        to: MadAddress,
        /// The bytes.
        mad: Box<Mad>,
    },
    /// Hand a frame to the host.
    ToHost(HostFrame),
    /// Change the queue pair.
    Qp(QpCommand),
    /// Set the host's carrier. Comes again with `on` unchanged when the reason changes.
    Carrier {
        /// True if traffic passes.
        on: bool,
        /// Why.
        reason: CarrierReason,
    },
    /// Set the host interface's MTU, in bytes from the IP header on.
    Mtu(u16),
    /// Make the host resolve a neighbour anew: delete its entries.
    ForgetNeighbor {
        /// Those with this Ethernet address ...
        mac: Mac,
        /// ... and, if set, only this IP address.
        ip: Option<IpAddr>,
    },
    /// Something to log or to show.
    Event(Event),
}

/// A frame for the host in two parts, so that nothing is copied: write them one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFrame {
    /// The Ethernet header.
    pub head: [u8; 14],
    /// From the IP header on.
    pub body: Payload,
    /// What the sender left undone; offsets count from the first byte of `body`.
    pub offload: Offload,
}

/// What happened in the host's network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// A neighbour entry was removed.
    NeighborGone {
        /// Its IP address, if known.
        ip: Option<IpAddr>,
        /// Its Ethernet address; zero if the host no longer knows.
        mac: Mac,
    },
    /// A neighbour does not answer any more.
    NeighborFailed {
        /// Its IP address.
        ip: IpAddr,
        /// Its Ethernet address, if the host still has one.
        mac: Option<Mac>,
    },
    /// The host listens to a group.
    GroupJoined(IpAddr),
    /// The host no longer listens to a group.
    GroupLeft(IpAddr),
    /// The interface got an address.
    AddressAdded(IpAddr),
    /// The interface lost an address.
    AddressRemoved(IpAddr),
    /// The interface's MTU is now this many bytes.
    MtuChanged(u16),
}

/// How much a flush throws away. `linux drivers/infiniband/ulp/ipoib/ipoib_ib.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlushLevel {
    /// Paths and memberships are confirmed anew; traffic and carrier stay.
    Light,
    /// Paths and memberships are gone; the carrier is off until the broadcast group is joined again.
    Normal,
    /// As `Normal`, and the queue pair starts anew in another partition.
    Heavy,
}

impl fmt::Display for FlushLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Light => "light",
            Self::Normal => "normal",
            Self::Heavy => "heavy",
        })
    }
}

/// The story of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A group was joined.
    GroupJoined {
        /// The group.
        mgid: MulticastGid,
        /// Its LID.
        mlid: Lid,
        /// True if only to send to it.
        send_only: bool,
    },
    /// A group could not be joined.
    GroupFailed {
        /// The group.
        mgid: MulticastGid,
        /// Why.
        why: SaFailure,
        /// Failures in a row.
        attempt: u32,
    },
    /// A group was left.
    GroupLeft {
        /// The group.
        mgid: MulticastGid,
    },
    /// A path cannot be had.
    PathFailed {
        /// To this port.
        gid: Gid,
        /// Why.
        why: SaFailure,
    },
    /// A flush began.
    Flushed(FlushLevel),
    /// Our own hardware address changed.
    AddressChanged {
        /// What it is now.
        now: HwAddr,
    },
    /// A neighbour came back with another hardware address.
    PeerMoved {
        /// The neighbour.
        ip: IpAddr,
        /// What it was.
        from: HwAddr,
        /// What it is.
        to: HwAddr,
    },
}
