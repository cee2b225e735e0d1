//! One IP-over-InfiniBand interface as a state machine. RFC 4391, RFC 4390.
//!
//! Towards the host it speaks Ethernet, towards the port it sends and receives datagrams and MADs. It sees
//! neither the fabric nor the subnet manager, reads no clock and draws no chance: `now` and a seed are
//! handed in. One `handle_*`, then drain `poll_output` to `None`, then look at `poll_timeout`.
//!
//! One interface stands for one partition of one port; further partitions (the P_Key children of Linux) are
//! further interfaces with queue pairs of their own.
#![no_std]

extern crate alloc;

mod announce;
mod broadcast;
mod carrier;
mod chance;
mod config;
mod context;
mod counters;
mod drops;
mod flush;
mod host;
mod interface;
mod lru;
mod map;
mod multicast;
mod output;
mod overheard;
mod path;
mod peer;
mod queue;
mod receive;
mod sa;
mod snapshot;
mod stranger;
mod subscribe;
mod text;
mod timer;
mod transmit;
mod wanted;

pub use carrier::{CarrierReason, SaFailure};
pub use config::{Config, ConfigError};
pub use counters::Counters;
pub use drops::{Drop, Drops};
pub use interface::Interface;
pub use output::{Event, FlushLevel, HostEvent, HostFrame, Output};
pub use snapshot::{
    Bounds, CarrierSnapshot, GroupSnapshot, Identity, LinkParameters, PathSnapshot, PeerSnapshot, Snapshot,
};
