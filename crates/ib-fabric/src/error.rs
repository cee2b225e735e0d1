//! What a caller can do wrong. What the network does wrong is a [`Drop`](crate::Drop), not an error.

use core::time::Duration;

use ib_wire::{
    addr::{Lid, PKey, PortNum, Qpn},
    mad::{Method, MgmtClass},
};

use crate::{id::AgentId, topology::TopologyErrors};

/// Why no fabric can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The plan is wrong.
    #[error(transparent)]
    Topology(#[from] TopologyErrors),
    /// A port's MTU code has no meaning.
    #[error("the link at {node}:{port} has an MTU without meaning: use 256 to 4096")]
    Mtu {
        /// Name of the node.
        node: alloc::string::String,
        /// Its port.
        port: PortNum,
    },
}

/// Why a port gets no link that leads out of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The node has no such port, or no cable fits it.
    #[error("there is no port {0} for a cable")]
    NoSuchPort(PortNum),
    /// It has one already.
    #[error("port {0} is bound already: unbind it first")]
    Bound(PortNum),
    /// Silence would be noticed before anybody was asked.
    #[error("the idle time, {idle:?}, must be longer than {ask:?}, after which a sign of life is asked for")]
    Times {
        /// Until a sign of life is asked for.
        ask: Duration,
        /// Until the link is down.
        idle: Duration,
    },
}

/// Why a queue pair cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateQpError {
    /// The wanted number is taken at this port.
    #[error("queue pair {0} is in use")]
    InUse(Qpn),
    /// 0, 1 and 0xffffff are not to be had.
    #[error("queue pair {0} is reserved")]
    Reserved(Qpn),
    /// A base switch port 0 has management queue pairs only.
    #[error("a base switch port 0 has management queue pairs only")]
    ManagementOnly,
}

/// Why a command to a queue pair failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QpError {
    /// There is no such queue pair at this port.
    #[error("no queue pair {0}")]
    NoQp(Qpn),
    /// The port's table has no key of this partition.
    #[error("P_Key {0} is not in the port's table")]
    NoPKey(PKey),
    /// The LID is not a multicast LID.
    #[error("LID {0} is no multicast LID")]
    NotMulticast(Lid),
    /// The queue pair is not attached to that group.
    #[error("the queue pair is not attached to that group")]
    NotAttached,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no such queue pair at this port.
    #[error("no queue pair {0}")]
    NoQp(Qpn),
    /// The queue pair has no keys yet, or is stopped.
    #[error("queue pair {0} is not ready to send")]
    NotReady(Qpn),
    /// There is no such agent at this port.
    #[error("no agent {0:?}")]
    NoAgent(AgentId),
    /// The agent is registered for another class.
    #[error("the agent is not registered for class {0}")]
    WrongClass(MgmtClass),
    /// The payload is larger than the port's MTU.
    #[error("{len} bytes are more than the MTU, {mtu}")]
    TooLarge {
        /// Payload bytes.
        len: usize,
        /// Bytes allowed.
        mtu: usize,
    },
    /// Multicast needs a GRH.
    #[error("a datagram to multicast LID {0} needs a global route")]
    NoGlobalRoute(Lid),
    /// The destination LID is none, or the permissive one where it has no meaning.
    #[error("LID {0} is no destination")]
    BadLid(Lid),
    /// The port's table has no key of this partition.
    #[error("P_Key {0} is not in the port's table")]
    NoPKey(PKey),
}

/// Why an agent cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Another agent at this port takes that method of that class.
    #[error("another agent takes {method} of class {class}")]
    Taken {
        /// Class.
        class: MgmtClass,
        /// Method.
        method: Method,
    },
}
