//! (being written)
#![no_std]

extern crate alloc;

pub mod topology;
