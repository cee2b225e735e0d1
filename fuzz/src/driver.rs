//! A driver that does what it likes to its rings, its bell and its connection, beside two that are as they should be.
//!
//! Those talk to each other all the time, and who was cut off gets its port again: `ipoib::attach::hostile`.

/// Plays the driver that the bytes describe.
pub fn check(bytes: &[u8]) {
    ipoib::attach::hostile::driver(bytes);
}
