//! A whole subnet without an operating system: fabric, subnet managers and IPoIB interfaces under one clock
//! that is handed in.
//!
//! `Lab` is the composition; the program drives it with real clocks and TAPs, `Simulation` with a virtual
//! clock and hosts that have no kernel.
#![no_std]

extern crate alloc;

mod attached;
mod config;
mod host;
mod lab;
mod output;
mod program;
mod simulation;
mod timers;

pub use attached::{Attached, Manager};
pub use config::{InterfaceConfig, LabConfig, ManagerConfig};
pub use host::VirtualHost;
pub use lab::Lab;
pub use output::{InterfaceId, LabError, Output, Tapped};
pub use program::{AgentCounters, Incoming, Outgoing, ProgramError, ProgramSpec};
pub use simulation::Simulation;
