//! Lines on standard error, where programs of this kind talk.
//!
//! A line is one write past all locks and buffers, so that a child of `fork` may say something too, and so that no
//! thread is cancelled in the middle.

use std::{
    fmt, io,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

static LEVEL: AtomicI32 = AtomicI32::new(0);
static COMPLAINED: AtomicBool = AtomicBool::new(false);

/// Says something to the user.
pub(crate) fn say(text: impl fmt::Display) {
    let line = format!("ipoib: {text}\n");
    // Without standard error there is nobody to tell.
    let _ = rustix::io::write(io::stderr(), line.as_bytes());
}

/// Says why there is no port to be had; once, however often the program asks.
pub(crate) fn complain(text: impl fmt::Display) {
    if !COMPLAINED.swap(true, Ordering::Relaxed) {
        say(text);
    }
}

/// Says what was called, if the program wants to know.
pub(crate) fn trace(text: impl FnOnce() -> String) {
    if level() > 0 {
        say(text());
    }
}

/// What the program gave to `umad_debug`.
pub(crate) fn level() -> i32 {
    LEVEL.load(Ordering::Relaxed)
}

/// Sets it.
pub(crate) fn set_level(level: i32) {
    LEVEL.store(level, Ordering::Relaxed);
}
