//! The tests of `tests/lab` about traffic, once more: every driver is a process of its own, and nobody may notice.
//! And what is only true of such drivers: they can be killed, stopped, and replaced.

mod apart;
#[path = "../lab/captures.rs"]
mod captures;
#[path = "../lab/dhcp.rs"]
mod dhcp;
mod drivers;
#[path = "../lab/ends.rs"]
mod ends;
#[path = "../lab/faults.rs"]
mod faults;
#[path = "../lab/groups.rs"]
mod groups;
#[expect(dead_code, reason = "others use the rest of it")]
#[path = "../lab/harness/mod.rs"]
mod harness;
#[path = "../lab/interface.rs"]
mod interface;
mod killings;
#[path = "../lab/large.rs"]
mod large;
#[path = "../lab/neighbors.rs"]
mod neighbors;
#[path = "../lab/partitions.rs"]
mod partitions;
#[path = "../lab/ping.rs"]
mod ping;
#[path = "../lab/ports.rs"]
mod ports;
#[path = "../lab/shows.rs"]
mod shows;
#[path = "../lab/streams.rs"]
mod streams;

/// What every lab is started with.
const SHAPE: &[&str] = &["--isolate"];

/// A lab whose drivers are processes.
fn begin(args: &[&str]) -> harness::Lab {
    harness::Lab::run(&[SHAPE, args].concat())
}
