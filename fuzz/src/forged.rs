//! A fabric that does what it likes to a driver: to rings, bell and connection, and in what it says of the port.
//!
//! The driver gets on with it, or says why not: `ipoib::attach::hostile`.

/// Plays the fabric that the bytes describe.
pub fn check(bytes: &[u8]) {
    ipoib::attach::hostile::fabric(bytes);
}
