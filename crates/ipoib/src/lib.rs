//! IP over InfiniBand on this machine: interfaces, namespaces, control socket and command line.
//!
//! The only crate of the project that opens descriptors, reads clocks and starts threads. Protocols are
//! decided elsewhere.

pub mod capture;
pub mod cli;
pub mod control;
mod face;
pub mod lab;
pub mod os;
pub mod ping;
pub mod verify;
