//! Drivers as processes: how one gets a port of a fabric that another process runs.
//!
//! The driver connects to the fabric's attach socket, says who it is, and is given two rings in shared memory and
//! a bell (`os::ring`, `os::bell`). Packets, MADs and changes of the port go through the rings (`record`); everything else, which
//! is rare, goes over the connection (`hello`). Whichever side ends, the other sees the connection close.

mod client;
mod hello;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
mod record;
mod server;
#[cfg(test)]
mod tests;

pub use self::server::AttachConfig;

pub(crate) use self::{
    client::{Asking, Granted, Lost, Port},
    hello::{Hello, ToDriver, Token, VERSION, Wanted},
    record::{FromDriver, FromFabric},
    server::{Answer, Attach, FIRST_TOKEN, Heard},
};

/// Name of the attach socket in a fabric's run directory.
pub(crate) const SOCKET: &str = "attach";
