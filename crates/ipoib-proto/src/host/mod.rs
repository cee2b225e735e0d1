//! The Ethernet face towards the host.
//!
//! `frame` reads and writes Ethernet headers and tells the few packets that need translation from the many
//! that do not; `arp` and `discovery` translate; `snoop` hears which groups the host joins.

pub(crate) mod arp;
pub(crate) mod discovery;
pub(crate) mod frame;
pub(crate) mod snoop;
