//! `ipoib up`: one driver, a process of its own, on a port of a fabric that runs elsewhere.
//!
//! The interfaces outlive the driver: killed, upgraded or stopped, it leaves them with their addresses, and whoever
//! comes next takes them over. A driver outlives its fabric: without one the interfaces have no carrier, and it comes
//! back by itself.

mod interfaces;
mod link;
mod process;
mod state;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use ib_wire::addr::PKey;

use self::process::Process;
use crate::{
    face::Assigned,
    os::{netns, signals::Signals},
};

/// What `ipoib up` is to do.
#[derive(Clone, Debug)]
pub struct UpPlan {
    /// The parent interface: `ib0`.
    pub interface: String,
    /// The fabric's attach socket.
    pub socket: PathBuf,
    /// What the fabric is called, for messages.
    pub fabric: String,
    /// The host.
    pub node: String,
    /// Its port, from 1 on.
    pub port: u8,
    /// Network namespace to make the interfaces in, as a file; our own if there is none.
    pub netns: Option<PathBuf>,
    /// Addresses of a new parent interface, besides its link-local one.
    pub addresses: Vec<Assigned>,
    /// Child interfaces: full keys.
    pub children: Vec<PKey>,
    /// Addresses of new children, by the order of theirs.
    pub child_addresses: Vec<Vec<Assigned>>,
    /// Address handles an interface keeps at most.
    pub max_address_vector: usize,
    /// Multicast groups an interface is in at most.
    pub max_groups: usize,
    /// Send descriptors of an interface.
    pub tx_ring_size: u16,
    /// How long to look for more traffic before the thread sleeps.
    pub spin: Duration,
    /// Directory that remembers the port's identity.
    pub state: PathBuf,
    /// Take the port from the driver that has it.
    pub takeover: bool,
    /// Wait for a fabric that is not there at the start.
    pub wait: bool,
    /// True if the host has further interfaces on the fabric.
    pub shares_host: bool,
    /// How much to say on stderr.
    pub verbosity: u8,
}

impl UpPlan {
    /// The interfaces' names, the parent first.
    fn names(&self) -> Vec<String> {
        let children = self.children.iter().map(|key| format!("{}.{:04x}", self.interface, key.0));
        std::iter::once(self.interface.clone()).chain(children).collect()
    }

    /// The name of our port, for people.
    fn port_name(&self) -> String {
        match self.port {
            1 => format!("{}:{}", self.fabric, self.node),
            port => format!("{}:{}:{port}", self.fabric, self.node),
        }
    }
}

/// Runs the driver until it is asked to end, or another takes its port. To be called while the process has one thread.
pub fn run(plan: UpPlan) -> Result<ExitCode> {
    let signals = Signals::block().context("signals")?;
    if let Some(file) = &plan.netns {
        netns::enter(file).with_context(|| format!("network namespace {}", file.display()))?;
    }
    Process::new(plan, signals)?.serve()
}
