//! What is plugged into the fabric's ports.

use alloc::string::String;

use ib_fabric::{AgentId, PortId};
use ib_sm::SubnetManager;
use ipoib_proto::Interface;

use crate::seat::Seat;

/// An IPoIB interface of a host and where it is attached.
#[derive(Debug)]
pub struct Attached {
    /// The host: `h1`.
    pub host: String,
    /// The interface within it: `ib0`, `ib0.8001`.
    pub name: String,
    /// The engine.
    pub engine: Interface,
    /// Its place at the port.
    pub(crate) seat: Seat,
}

impl Attached {
    /// The port.
    pub const fn port(&self) -> PortId {
        self.seat.port
    }
}

/// A subnet manager and where it is attached.
#[derive(Debug)]
pub struct Manager {
    /// The manager; none once killed.
    pub sm: Option<SubnetManager>,
    /// The node it runs on: `sw1`.
    pub node: String,
    /// The port.
    pub port: PortId,
    /// Its agents: for SMPs by LID, for those on a directed route, for subnet administration.
    pub(crate) agents: [AgentId; 3],
}
