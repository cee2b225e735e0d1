//! Names, numbers and bytes of InfiniBand and of IP over InfiniBand.
//!
//! Every layer of the project speaks in these types. Nothing here does IO, reads a clock or decides a
//! policy. Reading never panics on any bytes; what must hold beyond length is a second, named step.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod addr;
pub mod crc;
pub mod ipoib;
pub mod layout;
pub mod mad;
pub mod offload;
pub mod packet;
pub mod payload;
pub mod time;
pub mod ud;
