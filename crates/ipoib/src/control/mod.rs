//! The lab's control socket: varlink, for our own command line and any other program.
//!
//! `org.ipoib.lab.varlink` beside this file is the contract. [`ControlServer`] turns calls into [`Request`]s for
//! the data thread; [`Client`] is what the command line speaks through.

mod answer;
mod client;
mod environment;
mod protocol;
mod request;
pub mod schema;
mod server;
mod wire;

pub use client::{Client, ClientError};
pub use environment::Environment;
pub use protocol::{DESCRIPTION, INTERFACE, SOCKET};
pub use request::{CaptureFilter, Entry, HostFault, LabInfo, LinkFault, Reply, Request, SmFault, packet_of};
pub use server::ControlServer;

#[cfg(test)]
mod tests;
