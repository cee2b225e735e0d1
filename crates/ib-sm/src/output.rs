//! What comes out of a subnet manager.

use alloc::{boxed::Box, string::String};
use core::{fmt, time::Duration};

use ib_wire::{
    addr::{Guid, Lid, PortNum},
    mad::{
        Mad, Status,
        attr::{NodeType, TrapNumber},
    },
    ud::MadAddress,
};

use crate::subnet::{PortId, Subnet};

/// Something for whoever drives the manager.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a MAD from the manager's port.
    Send {
        /// Where to.
        to: MadAddress,
        /// The MAD. Of a request's transaction identifier the low half counts.
        mad: Box<Mad>,
    },
    /// Something happened.
    Event(SmEvent),
    /// The port shall show, or no longer show, that a manager is behind it.
    SetIsSm(bool),
}

/// The story of a subnet, for people and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SmEvent {
    /// The manager is in charge from now on.
    MasterNow,
    /// Another manager is in charge.
    StandbyNow {
        /// Its GUID.
        master: Guid,
    },
    /// Another manager switched this one off.
    NotActiveNow,
    /// A sweep is through: all that answered is configured and active.
    SubnetUp {
        /// End ports of channel adapters.
        hosts: usize,
        /// Switches.
        switches: usize,
        /// From the start of the sweep.
        took: Duration,
        /// SMPs sent in it, repetitions not counted.
        smps: u64,
    },
    /// A node is here that was not; not told of those that the first sweep finds.
    NodeAppeared {
        /// Its GUID.
        guid: Guid,
        /// Its kind.
        kind: NodeType,
        /// Its description.
        description: String,
    },
    /// A node is not here any more.
    NodeGone {
        /// Its GUID.
        guid: Guid,
        /// Its kind.
        kind: NodeType,
        /// Its description.
        description: String,
    },
    /// A link is here that was not; not told of those that the first sweep finds.
    LinkUp(PortName),
    /// A link is not here any more.
    LinkDown(PortName),
    /// Something is not as it should be.
    Warning(Warning),
}

/// Something is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Two nodes have the same GUID; the one met later is left out.
    DuplicateGuid {
        /// The GUID.
        guid: Guid,
        /// Where the later one is.
        behind: PortName,
    },
    /// Nobody answers there, though there is a link.
    NoAnswer {
        /// Where.
        behind: PortName,
    },
    /// A setting was refused.
    Refused {
        /// By whom.
        by: PortName,
        /// Why.
        status: Status,
    },
    /// Ports are without a LID because none is left.
    NoLidLeft {
        /// How many.
        ports: usize,
    },
    /// A port reported an error of its link or a bad key.
    Trap {
        /// Who reports.
        issuer: Lid,
        /// What.
        trap: TrapNumber,
    },
    /// Somebody reports changes so often that the manager looks less often.
    Babbling {
        /// Who.
        issuer: Lid,
        /// What.
        trap: TrapNumber,
    },
    /// The manager's own port has no link.
    NoLink,
}

/// A port as people find it: its node's description and GUID, its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName {
    /// NodeDescription.
    pub description: String,
    /// Node GUID.
    pub guid: Guid,
    /// Number.
    pub port: PortNum,
}

impl PortName {
    pub(crate) fn of(subnet: &Subnet, id: PortId) -> Self {
        let node = subnet.node(id.node);
        Self { description: node.description.clone(), guid: node.guid(), port: id.num }
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.description.is_empty() {
            write!(f, "{}:{}", self.guid, self.port)
        } else {
            write!(f, "{}:{}", self.description, self.port)
        }
    }
}
