//! Subnet manager and subnet administration: they learn of the fabric by MADs alone.
//!
//! [`subnet`] is the model that both halves look things up in; the sweeps of the manager keep it. The
//! administration answers from it, and hands [`demand`]s back. [`SubnetManager`] is the whole.
#![no_std]

extern crate alloc;

pub mod config;
pub mod demand;
mod manager;
mod output;
pub mod partition;
mod role;
mod route;
pub mod sa;
mod snapshot;
pub mod subnet;
mod sweep;
mod transact;
mod trap;

pub use config::{SmConfig, SmPort};
pub use manager::SubnetManager;
pub use output::{Output, PortName, SmEvent, Warning};
pub use role::{NoTransition, Role, Signal};
pub use snapshot::{EndPortView, NodeView, SmSnapshot};
pub use sweep::{Phase, SweepCounters};
pub use transact::TransactionCounters;
pub use trap::TrapCounters;
