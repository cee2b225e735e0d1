//! A whole subnet without an operating system: fabric, subnet managers and IPoIB interfaces under one clock
//! that is handed in.
#![no_std]

extern crate alloc;

mod host;
mod timers;

pub use host::VirtualHost;
