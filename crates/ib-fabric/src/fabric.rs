//! The whole: nodes, links, what they emit.

use ib_wire::{
    addr::{PortNum, Qpn},
    mad::Mad,
    time::Instant,
    ud::{MadAddress, PortView, QpCommand, UdSend},
};

use crate::{
    config::FabricConfig,
    endport::AgentSpec,
    error::{BuildError, CreateQpError, QpError, RegisterError, SendError},
    id::{AgentId, LinkId, NodeId, PortId, TapId},
    link::LinkFault,
    output::Output,
    snapshot::FabricSnapshot,
    tap::TapFilter,
    topology::Topology,
};

/// A fabric: one object, no IO, no clock.
#[derive(Debug)]
pub struct Fabric;

#[expect(
    unused_variables,
    missing_docs,
    clippy::todo,
    clippy::missing_panics_doc,
    reason = "signatures first"
)]
impl Fabric {
    pub fn new(
        topology: &Topology,
        config: FabricConfig,
        seed: u64,
        now: Instant,
    ) -> Result<Self, BuildError> {
        todo!()
    }
    pub fn node(&self, name: &str) -> Option<NodeId> {
        todo!()
    }
    pub fn end_port(&self, node: &str, port: PortNum) -> Option<PortId> {
        todo!()
    }
    pub fn end_ports(&self) -> impl Iterator<Item = PortId> + use<> {
        core::iter::empty()
    }
    pub fn port_view(&self, port: PortId) -> PortView {
        todo!()
    }
    pub fn create_qp(&mut self, port: PortId, want: Option<Qpn>) -> Result<Qpn, CreateQpError> {
        todo!()
    }
    pub fn destroy_qp(&mut self, port: PortId, qpn: Qpn) {
        todo!()
    }
    pub fn command_qp(&mut self, port: PortId, qpn: Qpn, command: QpCommand) -> Result<(), QpError> {
        todo!()
    }
    pub fn post_send(&mut self, now: Instant, port: PortId, qpn: Qpn, send: UdSend) -> Result<(), SendError> {
        todo!()
    }
    pub fn register_agent(&mut self, port: PortId, spec: AgentSpec) -> Result<AgentId, RegisterError> {
        todo!()
    }
    pub fn unregister_agent(&mut self, port: PortId, agent: AgentId) {
        todo!()
    }
    pub fn send_mad(
        &mut self,
        now: Instant,
        port: PortId,
        agent: AgentId,
        to: MadAddress,
        mad: &Mad,
    ) -> Result<(), SendError> {
        todo!()
    }
    pub fn set_is_sm(&mut self, now: Instant, port: PortId, is_sm: bool) {
        todo!()
    }
    pub fn set_node_description(&mut self, now: Instant, node: NodeId, text: &str) {
        todo!()
    }
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub fn link(&self, node: &str, port: PortNum) -> Option<LinkId> {
        todo!()
    }
    pub fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        core::iter::empty()
    }
    pub fn link_fault(&self, link: LinkId) -> LinkFault {
        todo!()
    }
    pub fn set_link_fault(&mut self, now: Instant, link: LinkId, fault: LinkFault) {
        todo!()
    }
    pub fn set_node_power(&mut self, now: Instant, node: NodeId, on: bool) {
        todo!()
    }
    pub fn add_tap(&mut self, filter: TapFilter) -> TapId {
        todo!()
    }
    pub fn remove_tap(&mut self, tap: TapId) {
        todo!()
    }
    pub fn inject(&mut self, now: Instant, port: PortId, bytes: &[u8]) {
        todo!()
    }
    pub fn inject_on_link(&mut self, now: Instant, link: LinkId, from_a: bool, bytes: &[u8]) {
        todo!()
    }
    pub fn snapshot(&self) -> FabricSnapshot {
        todo!()
    }
}
