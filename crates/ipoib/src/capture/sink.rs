//! The way from the data thread to a file: a bounded queue and a thread that writes.

/// What is known about a running capture, from any thread.
#[derive(Clone, Debug, Default)]
pub struct CaptureStatus {}
