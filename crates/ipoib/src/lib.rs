//! IP over InfiniBand on this machine: interfaces, namespaces, control socket and command line.
//!
//! The only crate of the project that opens descriptors, reads clocks and starts threads. Protocols are
//! decided elsewhere.

pub mod attach;
pub mod capture;
pub mod cli;
pub mod control;
pub mod face;
pub mod lab;
pub mod os;
pub mod ping;
pub mod up;
pub mod verify;
