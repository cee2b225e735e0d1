//! Drivers as processes of their own, under `lab --isolate`: started in their hosts, and again when they end.

use std::{
    path::Path,
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use ib_fabric::topology::format_duration;
use ib_wire::{
    addr::{PKey, PortNum},
    time::Instant,
};

use crate::{
    attach::SOCKET,
    cli::LabPlan,
    face::Assigned,
    os::{
        clock,
        space::{HostSpace, Lifetime},
    },
};

/// Directory there with what drivers remember.
const STATE: &str = "ports";

/// First wait before a driver that ended is started again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A driver that has lived so long is as good as new.
const SOUND: Duration = Duration::from_secs(1);

/// What the driver of a port is to be.
#[derive(Clone, Debug)]
pub(super) struct DriverPlan {
    /// The host, by its place among the hosts' spaces.
    pub(super) host: usize,
    /// Its name.
    pub(super) node: String,
    /// The port.
    pub(super) port: PortNum,
    /// The host has further ports.
    pub(super) shares_host: bool,
    /// Addresses of the parent interface.
    pub(super) addresses: Vec<Assigned>,
    /// Children and their addresses.
    pub(super) children: Vec<(PKey, Vec<Assigned>)>,
}

/// The drivers of a lab.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    all: Vec<Kept>,
    /// What every one is told on its command line.
    common: Vec<String>,
}

/// A driver that is kept running.
#[derive(Debug)]
struct Kept {
    plan: DriverPlan,
    child: Option<Child>,
    started: Instant,
    wait: Duration,
    /// When it is to be started, if it does not run.
    again: Option<Instant>,
}

impl Drivers {
    /// Drivers that are to be kept running on the attach socket in `dir`.
    pub(super) fn new(plans: Vec<DriverPlan>, lab: &LabPlan, dir: &Path) -> Self {
        let now = clock::now();
        let all = plans.into_iter().map(|plan| Kept {
            plan,
            child: None,
            started: now,
            wait: FIRST_WAIT,
            again: Some(now),
        });
        let state = dir.join(STATE).display().to_string();
        let mut common = vec!["--state".to_owned(), state];
        common.extend(["--max-address-vector".to_owned(), lab.max_address_vector.to_string()]);
        common.extend(["--max-groups".to_owned(), lab.max_groups.to_string()]);
        common.extend(["--tx-ring-size".to_owned(), lab.tx_ring_size.to_string()]);
        common.extend(["--spin".to_owned(), format_duration(lab.spin)]);
        match lab.verbosity {
            0 | 1 => common.push("--quiet".to_owned()),
            more => common.extend((1..more).map(|_| "-v".to_owned())),
        }
        Self { all: all.collect(), common }
    }

    /// How many interfaces they have.
    pub(super) fn interfaces(&self) -> usize {
        self.all.iter().map(|kept| 1 + kept.plan.children.len()).sum()
    }

    /// When [`Drivers::run`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(|kept| kept.again).min()
    }

    /// Starts those who are to run now.
    pub(super) fn run(&mut self, now: Instant, spaces: &[HostSpace], dir: &Path) -> Result<()> {
        for kept in self.all.iter_mut().filter(|kept| kept.again.is_some_and(|at| at <= now)) {
            let space = spaces.get(kept.plan.host).context("a driver without a host")?;
            kept.child = Some(start(&kept.plan, &self.common, space, dir)?);
            (kept.started, kept.again) = (now, None);
        }
        Ok(())
    }

    /// Sees who has ended.
    pub(super) fn reap(&mut self, now: Instant) -> Result<()> {
        for kept in &mut self.all {
            let Some(child) = &mut kept.child else { continue };
            let Some(status) = child.try_wait().context("waiting for a driver")? else { continue };
            kept.ended(now, status);
        }
        Ok(())
    }

    /// Ends all of them. Their interfaces go with the hosts.
    pub(super) fn end(&mut self) {
        for child in self.all.iter_mut().filter_map(|kept| kept.child.as_mut()) {
            let _ = child.kill();
        }
        for mut child in self.all.drain(..).filter_map(|kept| kept.child) {
            let _ = child.wait();
        }
    }
}

impl Kept {
    fn ended(&mut self, now: Instant, status: ExitStatus) {
        self.child = None;
        if now - self.started >= SOUND {
            self.wait = FIRST_WAIT;
        }
        tracing::warn!(host = self.plan.node, %status, again_in = ?self.wait, "a driver has ended");
        self.again = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

fn start(plan: &DriverPlan, common: &[String], space: &HostSpace, dir: &Path) -> Result<Child> {
    let me = std::env::current_exe().context("the program's own path")?;
    let mut command = space.command(me, Lifetime::Parent);
    let port = match plan.port {
        PortNum(1) => String::new(),
        port => format!(":{port}"),
    };
    command.args(["up", &format!("ib{}", plan.port.0 - 1)]);
    command.args(["--port", &format!("{}:{}{port}", dir.join(SOCKET).display(), plan.node)]).args(common);
    for address in &plan.addresses {
        command.arg("--address").arg(address.to_string());
    }
    for (key, addresses) in &plan.children {
        let words = addresses.iter().map(|address| format!(",{address}"));
        command.arg("--child").arg(format!("{:04x}{}", key.0, words.collect::<String>()));
    }
    if plan.shares_host {
        command.arg("--shares-host");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().with_context(|| format!("the driver of {}: cannot run it", plan.node))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_wait_is_doubled_until_a_driver_lives() {
        let plan = DriverPlan {
            host: 0,
            node: "h1".to_owned(),
            port: PortNum(1),
            shares_host: false,
            addresses: Vec::new(),
            children: Vec::new(),
        };
        let start = Instant::from_secs(1);
        let mut kept = Kept { plan, child: None, started: start, wait: FIRST_WAIT, again: None };
        let mut ends_after = |life: Duration| {
            kept.ended(kept.started + life, ExitStatus::from_raw(9));
            kept.again.expect("it is to be started") - (kept.started + life)
        };
        let waits: Vec<_> = (0..10).map(|_| ends_after(Duration::from_millis(1)).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000]);
        assert_eq!(ends_after(SOUND).as_millis(), 20);
    }
}
