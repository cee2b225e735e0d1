//! Recording what the links carry, as pcapng that Wireshark reads.
//!
//! The data thread offers packets to a [`CaptureSink`] and goes on; a thread of the sink cuts large sends into
//! the packets they stand for, computes checksums and writes.

mod cut;
mod pcapng;
mod sink;
mod writer;

pub use pcapng::Direction;
pub use sink::{Bound, CaptureSink, CaptureStatus, CaptureSummary};
pub use writer::{PatientFile, Timeline};

#[cfg(test)]
mod tests;
