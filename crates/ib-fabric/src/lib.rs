//! Emulated InfiniBand silicon: links, switches, channel adapters.
//!
//! A [`Fabric`] is built from a [`topology::Topology`] and from then on learns only what packets tell it:
//! subnet managers program it with SMPs, and it forwards by the tables they wrote. It holds no clock and
//! does no IO: whoever drives it hands the time in and takes what comes out.
//!
//! Deliberately absent: any policy of a subnet manager, any knowledge of IP.
#![no_std]

extern crate alloc;

mod agenda;
mod build;
mod config;
mod counters;
mod crossing;
mod cut;
mod drop;
mod endport;
mod error;
mod express;
mod fabric;
mod flight;
mod gather;
mod id;
mod lanes;
mod link;
mod node;
mod outbox;
mod output;
mod outside;
mod pkeys;
mod port;
mod snapshot;
mod spread;
mod switch;
mod tap;
pub mod topology;
mod training;
mod walk;

pub use config::FabricConfig;
pub use counters::Counter;
pub use drop::Drop;
pub use endport::{AgentSpec, MethodMask, Oui};
pub use error::{BindError, BuildError, CreateQpError, QpError, RegisterError, SendError};
pub use fabric::Fabric;
pub use id::{AgentId, LinkId, NodeId, PortId, TapId};
pub use link::LinkFault;
pub use output::Output;
pub use outside::{OutsideConfig, OutsideView};
pub use snapshot::{
    FabricSnapshot, GroupSnapshot, LinkSnapshot, NodeSnapshot, PortSnapshot, QueuePairSnapshot,
    SwitchSnapshot,
};
pub use tap::TapFilter;
