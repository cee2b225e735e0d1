//! The lab's control socket: varlink, for our own command line and any other program.
//!
//! `org.ipoib.lab.varlink` beside this file is the contract.

mod request;
pub mod schema;

pub use request::{CaptureFilter, Entry, HostFault, LabInfo, LinkFault, Reply, Request};
