//! Whether the interface carries traffic, and what is missing if it does not.

use core::fmt;

use ib_wire::{
    addr::{Mtu, PKey},
    mad::Status,
};

/// Why the carrier is as it is. `Up` alone means on; everything else names the first thing missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarrierReason {
    /// Nothing is missing: the port is Active and the broadcast group joined.
    Up,
    /// The host took the interface down.
    AdminDown,
    /// The port has no link.
    NoLink,
    /// The link stands, no subnet manager has touched the port.
    PortInit,
    /// The subnet manager has not yet let data through.
    PortArmed,
    /// The port is Active, but does not know where the subnet manager is.
    NoSm,
    /// The port's table has no entry for the interface's partition.
    NoPKey(PKey),
    /// The join of the broadcast group is under way.
    Joining,
    /// The join of the broadcast group failed; it is tried again.
    JoinFailed(SaFailure),
}

impl CarrierReason {
    /// True if traffic passes.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// A word for machines: stable over releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::AdminDown => "admin-down",
            Self::NoLink => "no-link",
            Self::PortInit => "port-init",
            Self::PortArmed => "port-armed",
            Self::NoSm => "no-sm",
            Self::NoPKey(_) => "no-pkey",
            Self::Joining => "joining",
            Self::JoinFailed(_) => "join-failed",
        }
    }
}

impl fmt::Display for CarrierReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::AdminDown => f.write_str("the interface is set down: ip link set it up"),
            Self::NoLink => f.write_str("the port has no link: is the cable's other end running?"),
            Self::PortInit => f.write_str("the port waits for a subnet manager: is one running?"),
            Self::PortArmed => f.write_str("the subnet manager has not yet activated the port"),
            Self::NoSm => f.write_str("the port does not know its subnet manager: is one running?"),
            Self::NoPKey(pkey) => {
                write!(
                    f,
                    "the port is no member of partition {pkey}: add it to the subnet manager's partitions"
                )
            }
            Self::Joining => f.write_str("joining the broadcast group"),
            Self::JoinFailed(why) => write!(f, "the broadcast group cannot be joined: {why}"),
        }
    }
}

/// Why subnet administration was of no help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaFailure {
    /// Subnet administration did not answer.
    NoAnswer,
    /// It refused.
    Refused(Status),
    /// Its answer makes no sense: no multicast LID, or another group.
    BadAnswer,
    /// The group's packets are larger than the port's link carries.
    MtuTooLarge {
        /// Of the group.
        group: Mtu,
        /// Of the port.
        port: Mtu,
    },
}

impl fmt::Display for SaFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("subnet administration does not answer"),
            Self::Refused(Status::SA_INVALID) => f.write_str(
                "refused as invalid (0x0200): does the group exist, can the port do its MTU and rate?",
            ),
            Self::Refused(Status::SA_DENIED) => f.write_str("not allowed (0x0700)"),
            Self::Refused(Status::SA_NO_RESOURCES) => {
                f.write_str("subnet administration is out of resources (0x0100)")
            }
            Self::Refused(status) => write!(f, "refused with {status} ({:#06x})", status.0),
            Self::BadAnswer => f.write_str("subnet administration's answer makes no sense"),
            Self::MtuTooLarge { group, port } => {
                write!(f, "the group's MTU is {group}, the port's link carries {port}")
            }
        }
    }
}
