//! One IP-over-InfiniBand interface as a state machine. RFC 4391, RFC 4390.
//!
//! Towards the host it speaks Ethernet, towards the port it sends and receives datagrams and MADs. It sees
//! neither the fabric nor the subnet manager, reads no clock and draws no chance: `now` and a seed are
//! handed in. One `handle_*`, then drain `poll_output` to `None`, then look at `poll_timeout`.
#![no_std]

extern crate alloc;

mod carrier;
mod config;
mod counters;
mod drops;
mod interface;
mod output;
mod snapshot;
mod text;

pub use carrier::{CarrierReason, JoinFailure};
pub use config::{Config, ConfigError};
pub use counters::Counters;
pub use drops::{Drop, Drops};
pub use interface::Interface;
pub use output::{Event, FlushLevel, HostEvent, HostFrame, Output};
pub use snapshot::{
    Bounds, CarrierSnapshot, GroupSnapshot, Identity, LinkParameters, PathSnapshot, PeerSnapshot, Snapshot,
};
