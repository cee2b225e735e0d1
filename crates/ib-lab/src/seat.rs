//! A place at a port: what an interface has there, wherever the interface is.

use alloc::boxed::Box;

use ib_fabric::{AgentId, AgentSpec, Fabric, MethodMask, PortId, QpError};
use ib_wire::{
    addr::Qpn,
    mad::{Mad, Method, MgmtClass},
    time::Instant,
    ud::{MadAddress, QpCommand, UdSend},
};
use ipoib_proto::Output as InterfaceOutput;

use crate::{LabError, ToHost};

/// What an interface asks of its port.
#[derive(Clone, Debug)]
pub enum PortRequest {
    /// Send a datagram from its queue pair.
    Send(UdSend),
    /// Send a MAD from QP1.
    Mad {
        /// Where to.
        to: MadAddress,
        /// The bytes.
        mad: Box<Mad>,
    },
    /// Change its queue pair.
    Qp(QpCommand),
}

/// What comes out of an interface, by who is to get it.
pub(crate) enum Sorted {
    Host(ToHost),
    Port(PortRequest),
}

impl From<InterfaceOutput> for Sorted {
    #[inline]
    fn from(output: InterfaceOutput) -> Self {
        match output {
            InterfaceOutput::Send(send) => Self::Port(PortRequest::Send(send)),
            InterfaceOutput::ToHost(frame) => Self::Host(ToHost::Frame(frame)),
            InterfaceOutput::Mad { to, mad } => Self::Port(PortRequest::Mad { to, mad }),
            InterfaceOutput::Qp(command) => Self::Port(PortRequest::Qp(command)),
            InterfaceOutput::Carrier { on, reason } => Self::Host(ToHost::Carrier { on, reason }),
            InterfaceOutput::Mtu(mtu) => Self::Host(ToHost::Mtu(mtu)),
            InterfaceOutput::ForgetNeighbor { mac, ip } => Self::Host(ToHost::ForgetNeighbor { mac, ip }),
            InterfaceOutput::Event(event) => Self::Host(ToHost::Event(Box::new(event))),
        }
    }
}

/// A queue pair, and an agent for subnet administration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) port: PortId,
    pub(crate) qpn: Qpn,
    pub(crate) agent: AgentId,
    /// True for the one that answers reports for all at its port.
    takes_reports: bool,
}

impl Seat {
    /// Takes a place at `port`, with the queue pair number wanted or any.
    pub(crate) fn take(
        fabric: &mut Fabric,
        port: PortId,
        want: Option<Qpn>,
        takes_reports: bool,
    ) -> Result<Self, LabError> {
        let qpn = fabric.create_qp(port, want)?;
        let methods = if takes_reports { MethodMask::of(&[Method::REPORT]) } else { MethodMask::NONE };
        match fabric.register_agent(port, AgentSpec::new(MgmtClass::SUBN_ADM, methods)) {
            Ok(agent) => Ok(Self { port, qpn, agent, takes_reports }),
            Err(error) => {
                fabric.destroy_qp(port, qpn);
                Err(error.into())
            }
        }
    }

    /// Gives the place up: what is for it is dropped from now on.
    pub(crate) fn leave(self, fabric: &mut Fabric) {
        fabric.destroy_qp(self.port, self.qpn);
        fabric.unregister_agent(self.port, self.agent);
    }

    /// Sends a datagram; what the port refuses it counts under its reason.
    #[inline]
    pub(crate) fn send(&self, now: Instant, fabric: &mut Fabric, send: UdSend) {
        let _ = fabric.post_send(now, self.port, self.qpn, send);
    }

    /// Does what is asked. What the port refuses to send it counts under its reason.
    #[inline]
    pub(crate) fn carry(
        &self,
        now: Instant,
        fabric: &mut Fabric,
        request: PortRequest,
    ) -> Result<(), QpError> {
        match request {
            PortRequest::Send(send) => {
                self.send(now, fabric, send);
                Ok(())
            }
            PortRequest::Mad { to, mad } => {
                // One answer to a report is enough, however many interfaces heard it.
                if mad[3] != Method::REPORT_RESP.0 || self.takes_reports {
                    let _ = fabric.send_mad(now, self.port, self.agent, to, &mad);
                }
                Ok(())
            }
            PortRequest::Qp(command) => fabric.command_qp(self.port, self.qpn, command),
        }
    }
}

/// Why a request of a driver that is elsewhere was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The driver has no interface of this number, or is detached.
    #[error("there is no such interface")]
    NoSuchInterface,
    /// The queue pair cannot do it.
    #[error(transparent)]
    QueuePair(#[from] QpError),
}
