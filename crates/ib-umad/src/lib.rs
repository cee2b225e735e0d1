//! A port of the fabric for programs that know nothing of it.
//!
//! OpenSM, the infiniband-diags and whatever else speaks MADs reach a port through libibumad. This crate is that
//! interface, its functions `umad_*`, as a shared library: preloaded into a program of a lab's host, it leads to the
//! lab instead of the kernel. What libibumad computes without a port - names of classes and states - is left to it.
//!
//! # Use
//!
//! A lab's host has it set up: `ipoib exec h1 -- ibstat`. By hand, a program needs the library, the lab's socket, and
//! the name of the switch or host whose ports it is to see:
//!
//! ```text
//! LD_PRELOAD=/path/to/libib_umad.so IPOIB_UMAD_SOCKET=/path/to/socket IPOIB_UMAD_NODE=h1 sminfo
//! ```
//!
//! Without the two variables, or without a lab at the socket, it is a machine without InfiniBand, and one line on
//! standard error says why. What goes past libibumad - files under `/sys`, verbs - sees nothing of the lab.
//!
//! The library starts no thread, catches no signal, and does nothing before the first call. A child of `fork` may go
//! on with its parent's ports, as with descriptors of the kernel's; after `exec` there are none.
//!
//! The lab uses the same crate for the other end: [`protocol`] and [`frame`] are what the two say to each other.

pub mod abi;
mod client;
pub mod exports;
pub mod frame;
mod ports;
pub mod protocol;
mod report;
mod select;
