//! What is plugged into the fabric's ports.

use alloc::string::String;

use ib_fabric::{AgentId, PortId};
use ib_sm::SubnetManager;
use ib_wire::addr::Qpn;
use ipoib_proto::Interface;

/// An IPoIB interface of a host and where it is attached.
#[derive(Debug)]
pub struct Attached {
    /// The host: `h1`.
    pub host: String,
    /// The interface within it: `ib0`, `ib0.8001`.
    pub name: String,
    /// The port.
    pub port: PortId,
    /// Its queue pair.
    pub qpn: Qpn,
    /// The engine.
    pub engine: Interface,
    /// Its agent for subnet administration.
    pub(crate) agent: AgentId,
    /// True for the interface that answers reports for all on its port.
    pub(crate) takes_reports: bool,
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
