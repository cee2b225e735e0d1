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
#[expect(dead_code, reason = "labs of several processes are for `tests/joined`")]
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
mod ports;
mod rootless;
mod several;
mod shows;
mod streams;
mod switches;
mod sysfs;
mod udp;

/// What every lab is started with.
const SHAPE: &[&str] = &[];

/// A lab in one process.
fn begin(args: &[&str]) -> harness::Lab {
    harness::Lab::run(&[SHAPE, args].concat())
}
