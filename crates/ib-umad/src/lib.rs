//! A port of the fabric for programs that know nothing of it.
//!
//! OpenSM, the infiniband-diags and whatever else speaks MADs reach a port through libibumad. This crate is that
//! interface, its functions `umad_*`, as a shared library: preloaded into a program of a lab's host, it leads to the
//! lab instead of the kernel. What libibumad computes without a port - names of classes and states - is left to it.
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
