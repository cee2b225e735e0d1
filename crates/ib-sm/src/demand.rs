//! What the administration asks of the manager: the seam between the two halves.

use alloc::{boxed::Box, vec::Vec};

use ib_wire::{addr::MulticastLid, mad::Mad, ud::MadAddress};

use crate::subnet::PortId;

/// Something the administration wants done.
#[derive(Clone, Debug)]
pub enum Demand {
    /// A MAD of the administration's own class; it keeps its transactions itself.
    Send {
        /// Where to.
        to: MadAddress,
        /// The bytes; the low half of the transaction identifier is the administration's.
        mad: Box<Mad>,
    },
    /// Who belongs to a group, as a whole: the manager lays the tree and writes the switches.
    Group {
        /// The group's LID; groups that share it are one here.
        mlid: MulticastLid,
        /// Nobody: the group is gone.
        members: Vec<GroupMember>,
    },
}

/// A port in a multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupMember {
    /// The end port.
    pub port: PortId,
    /// Gets the group's packets; a member that does not only sends.
    pub receives: bool,
}

/// What the sweeps saw of an end port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// It came into the subnet and has its LID.
    Appeared(PortId),
    /// It left: its memberships, subscriptions and services end.
    Vanished(PortId),
}
