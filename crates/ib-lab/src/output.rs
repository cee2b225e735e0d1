//! What comes out of a lab, and why one cannot be built.

use alloc::string::String;
use core::net::IpAddr;

use ib_fabric::{LinkId, PortId, TapId};
use ib_sm::SmEvent;
use ib_wire::{
    addr::{Mac, PortNum},
    packet::Packet,
    time::Instant,
};
use ipoib_proto::{CarrierReason, Event, HostFrame};

use crate::program::Incoming;

/// An interface, by its number in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub usize);

/// What the caller is to do, or may want to know.
#[derive(Clone, Debug)]
pub enum Output {
    /// Hand a frame to a host.
    ToHost {
        /// By this interface.
        interface: InterfaceId,
        /// The frame.
        frame: HostFrame,
    },
    /// Set an interface's carrier.
    Carrier {
        /// Which.
        interface: InterfaceId,
        /// True if traffic passes.
        on: bool,
        /// Why.
        reason: CarrierReason,
    },
    /// Set an interface's MTU.
    Mtu {
        /// Which.
        interface: InterfaceId,
        /// Bytes from the IP header on.
        mtu: u16,
    },
    /// Delete neighbour entries of the host.
    ForgetNeighbor {
        /// On this interface ...
        interface: InterfaceId,
        /// ... those with this address ...
        mac: Mac,
        /// ... and, if set, only this IP address.
        ip: Option<IpAddr>,
    },
    /// An interface's story.
    Interface {
        /// Whose.
        interface: InterfaceId,
        /// What happened.
        event: Event,
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
