//! What comes out of a lab, and why one cannot be built.

use alloc::{boxed::Box, string::String};
use core::net::IpAddr;

use ib_fabric::{LinkId, PortId, TapId};
use ib_sm::SmEvent;
use ib_wire::{
    addr::{Mac, PortNum},
    packet::Packet,
    time::Instant,
};
use ipoib_proto::{CarrierReason, Event, HostFrame};

use crate::{
    client::{ClientId, PortNotice},
    program::Incoming,
};

/// An interface, by its number in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub usize);

impl InterfaceId {
    /// The origin of its chance, of that of all.
    pub(crate) const fn seed(self, seed: u64) -> u64 {
        seed ^ (self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What the host of an interface is to get, or what is to be told of it.
#[derive(Clone, Debug)]
pub enum ToHost {
    /// Hand it a frame.
    Frame(HostFrame),
    /// Set the interface's carrier.
    Carrier {
        /// True if traffic passes.
        on: bool,
        /// Why.
        reason: CarrierReason,
    },
    /// Set the interface's MTU, in bytes from the IP header on.
    Mtu(u16),
    /// Delete neighbour entries of the host.
    ForgetNeighbor {
        /// Those with this address ...
        mac: Mac,
        /// ... and, if set, only this IP address.
        ip: Option<IpAddr>,
    },
    /// The interface's story.
    Event(Box<Event>),
}

/// What the caller is to do, or may want to know.
#[derive(Clone, Debug)]
pub enum Output {
    /// For the host of an interface.
    Host {
        /// Which interface.
        interface: InterfaceId,
        /// What.
        what: ToHost,
    },
    /// For a driver that is elsewhere.
    Client {
        /// Which.
        client: ClientId,
        /// What.
        notice: PortNotice,
    },
    /// A manager's story.
    Manager {
        /// Whose, in the order they were started.
        manager: usize,
        /// What happened.
        event: SmEvent,
    },
    /// A MAD for a program, or one of its requests back.
    Program(Incoming),
    /// An end port changed: `Lab::fabric` tells how it is now.
    Port(PortId),
    /// A packet passed a tap.
    Tapped(Tapped),
    /// A packet leaves by a link that leads out of the fabric.
    Leaves {
        /// Which.
        link: LinkId,
        /// The packet; a large send is still whole.
        packet: Packet,
    },
    /// A link that leads out of the fabric came up, went down, or has another neighbour, as `Fabric::outside` tells.
    Outside {
        /// Which.
        link: LinkId,
        /// True while packets may pass.
        up: bool,
    },
}

/// A packet that a tap saw.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// Which tap.
    pub tap: TapId,
    /// On which link.
    pub link: LinkId,
    /// True if it went from the link's end `a` to its end `b`.
    pub from_a: bool,
    /// When it was put on the link.
    pub at: Instant,
    /// The packet; a large send is still whole.
    pub packet: Packet,
}

/// Why a lab cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No nodes at all.
    #[error("the topology has no nodes")]
    Empty,
    /// A port that is not there.
    #[error("{node} has no port {port} that software could use")]
    NoSuchPort {
        /// Node.
        node: String,
        /// Port.
        port: PortNum,
    },
    /// Somebody else has the port.
    #[error("the port is taken")]
    PortTaken,
    /// The fabric cannot be built.
    #[error(transparent)]
    Fabric(#[from] ib_fabric::BuildError),
    /// A queue pair cannot be made.
    #[error(transparent)]
    QueuePair(#[from] ib_fabric::CreateQpError),
    /// An agent cannot be registered.
    #[error(transparent)]
    Agent(#[from] ib_fabric::RegisterError),
    /// An interface's settings are wrong.
    #[error(transparent)]
    Interface(#[from] ipoib_proto::ConfigError),
}
