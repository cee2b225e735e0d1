//! Management datagrams: 256 bytes that configure and ask. IBA 1 §13.4.
//!
//! `MadHeader` is common to all. `smp` holds the two forms of subnet management packets, `sa` the records of
//! subnet administration with their RMPP header, `rmpp` what makes one message of many MADs, `pma` performance
//! counters, `attr` the attributes of the subnet.

pub mod attr;
mod header;
pub mod pma;
pub mod rmpp;
pub mod sa;
pub mod smp;

pub use header::{AttributeId, MadHeader, Method, MgmtClass, Status};

/// Bytes of every MAD.
pub const MAD_LEN: usize = 256;

/// The bytes of one MAD.
pub type Mad = [u8; MAD_LEN];
