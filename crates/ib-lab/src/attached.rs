//! What is plugged into the fabric's ports.

use alloc::string::String;

use ib_fabric::{AgentId, Fabric, PortId};
use ib_sm::SubnetManager;
use ib_wire::time::Instant;
use ipoib_proto::{Interface, Output as InterfaceOutput};

use crate::{
    ToHost,
    seat::{Seat, Sorted},
};

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

    /// Does at the port what the engine puts out; what it puts out for its host comes back.
    #[cold]
    pub(crate) fn carry_out(
        &self,
        now: Instant,
        fabric: &mut Fabric,
        output: InterfaceOutput,
    ) -> Option<ToHost> {
        match output.into() {
            Sorted::Host(what) => Some(what),
            Sorted::Port(request) => {
                if let Err(error) = self.seat.carry(now, fabric, request) {
                    tracing::warn!(host = %self.host, interface = %self.name, %error, "queue pair");
                }
                None
            }
        }
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
