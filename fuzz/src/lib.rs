//! What must hold for any bytes, one module for each fuzz target.
//!
//! Each `check` reads bytes from outside, and panics if the project does, or if what it read does not keep its
//! promises: written and read again it is the same, lengths and checksums are right, bounds are kept. Judges are
//! written here anew where that is short, so that a mistake is not checked by itself.
//!
//! `fuzz/run` has libFuzzer look for such bytes; `cargo test` replays the corpus. Bytes that once broke
//! something stay in the corpus under a name that says what.

pub mod driver;
pub mod fabric;
pub mod forged;
pub mod interface;
pub mod ipoib;
pub mod link;
pub mod mad;
pub mod manager;
pub mod packet;
pub mod partitions;
pub mod topology;

mod judge;

/// What a target does with its bytes.
pub type Check = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Check); 11] = [
    ("driver", driver::check),
    ("fabric", fabric::check),
    ("forged", forged::check),
    ("interface", interface::check),
    ("ipoib", ipoib::check),
    ("link", link::check),
    ("mad", mad::check),
    ("manager", manager::check),
    ("packet", packet::check),
    ("partitions", partitions::check),
    ("topology", topology::check),
];
