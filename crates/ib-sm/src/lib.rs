//! Subnet manager and subnet administration: they learn of the fabric by MADs alone.
//!
//! [`subnet`] is the model that both halves look things up in; the sweeps of the manager keep it. The
//! administration answers from it, and hands [`demand`]s back.
#![no_std]

extern crate alloc;

pub mod config;
pub mod demand;
pub mod partition;
pub mod sa;
pub mod subnet;
mod role;
mod route;
mod transact;
