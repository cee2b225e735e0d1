//! Recording what the links carry, as pcapng that Wireshark reads.

mod sink;

pub use sink::CaptureStatus;
