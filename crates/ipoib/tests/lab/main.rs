//! The built program from outside, with the programs its users run: every test brings labs up, works in their
//! hosts, and ends them. Traffic stays in the namespaces of the labs.

mod captures;
mod commands;
mod datagrams;
mod dhcp;
mod diags;
mod ends;
mod faults;
mod groups;
mod harness;
mod interface;
mod large;
mod manager;
mod neighbors;
mod opensm;
mod overload;
mod partitions;
mod peer;
mod ping;
mod rootless;
mod several;
mod shows;
mod streams;
mod switches;
mod sysfs;
mod udp;

/// What every lab is started with.
const SHAPE: &[&str] = &[];
