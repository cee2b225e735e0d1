//! The small integers of InfiniBand, each its own type.
//!
//! A value that the specification forbids cannot be made where that matters (`UnicastLid`, `MulticastGid`);
//! numbers with assigned meanings stay open, so that a newer fabric never makes reading fail.

mod gid;
mod guid;
mod keys;
mod lid;
mod link;
mod mac;
mod qp;

pub use gid::{Gid, MulticastGid, NotMulticast, ParseGidError, Scope, SubnetPrefix};
pub use guid::{Guid, ParseGuidError};
pub use keys::{MKey, PKey, QKey};
pub use lid::{Lid, Lmc, MulticastLid, NotThatKindOfLid, UnicastLid};
pub use link::{LinkSpeed, LinkWidth, Mtu, PortNum, Rate, ServiceLevel, Timeout, VirtualLane};
pub use mac::{HwAddr, HwFlags, Mac, ParseHwError};
pub use qp::{Psn, Qpn, Tid};
