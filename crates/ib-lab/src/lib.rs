//! A whole subnet without an operating system: fabric, subnet managers and IPoIB interfaces under one clock
//! that is handed in.
//!
//! `Lab` is the composition; the program drives it with real clocks and TAPs, `Simulation` with a virtual
//! clock and hosts that have no kernel. `Driver` is what of it runs where the fabric is in another process.
#![no_std]

extern crate alloc;

mod attached;
mod client;
mod config;
mod driver;
mod host;
mod lab;
mod output;
mod program;
mod seat;
mod simulation;
mod timers;

pub use attached::{Attached, Manager};
pub use client::{ClientId, PortNotice};
pub use config::{InterfaceConfig, LabConfig, ManagerConfig};
pub use driver::{Driver, DriverOutput};
pub use host::VirtualHost;
pub use lab::Lab;
pub use output::{InterfaceId, LabError, Output, Tapped, ToHost};
pub use program::{AgentCounters, Incoming, Outgoing, ProgramError, ProgramSpec};
pub use seat::{PortRequest, RequestError};
pub use simulation::Simulation;
