//! Sweeps: looking at the fabric and writing what is not as it should be.
//!
//! `job` makes the SMPs, `discover` walks, `lids` and `wanted` decide, and [`Sweep`] keeps the order of the phases.
//! Everything in one phase is under way at once, as far as the window allows; a phase begins when the one before it
//! has ended.

pub(crate) mod discover;
pub(crate) mod job;
pub(crate) mod lids;
#[cfg(test)]
mod tests;
pub(crate) mod wanted;

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use ib_wire::{mad::attr::SmInfo, time::Instant};
use serde::Serialize;

use self::{
    discover::{Thoroughness, Walk},
    job::Work,
};
use crate::subnet::PortId;

/// What the manager is doing to the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing.
    Idle,
    /// Asks every switch whether a port changed.
    Light,
    /// Walks the fabric.
    Walk,
    /// Asks other managers who they are.
    Managers,
    /// Hands over to a better one.
    HandOver,
    /// Writes tables and settings.
    Write,
    /// Lets data pass.
    Activate,
}

/// The sweep that is on, or was last.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    /// What it is doing.
    pub(crate) phase: Phase,
    /// Its jobs.
    pub(crate) work: Work,
    /// Its walk.
    pub(crate) walk: Walk,
    /// When it began.
    pub(crate) began: Instant,
    /// SMPs sent before it began.
    pub(crate) smps_before: u64,
    /// Belief turned out to be not good enough.
    pub(crate) in_doubt: bool,
    /// A switch said in a light sweep that something changed.
    pub(crate) change_seen: bool,
    /// Answers of other managers.
    pub(crate) managers: Vec<(PortId, SmInfo)>,
    /// Settings that were refused or not answered.
    pub(crate) failures: usize,
    /// The next one: how thorough and when.
    pub(crate) next: Option<(Thoroughness, Instant)>,
    /// When the next light one is due.
    pub(crate) light_at: Instant,
    /// The own port had no link, and that was told.
    pub(crate) is_cut_off: bool,
    /// Ports with a link behind which nobody answers.
    pub(crate) silent: BTreeSet<PortId>,
    /// When they are probed.
    pub(crate) probe_at: Instant,
    /// How long the next one waits if this one leaves something undone.
    pub(crate) patience: Duration,
}

impl Sweep {
    /// Nothing done yet; a full one at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            work: Work::default(),
            walk: Walk::new(0, Thoroughness::Full),
            began: now,
            smps_before: 0,
            in_doubt: false,
            change_seen: false,
            managers: Vec::new(),
            failures: 0,
            next: Some((Thoroughness::Full, now)),
            light_at: now,
            is_cut_off: false,
            silent: BTreeSet::new(),
            probe_at: now,
            patience: FIRST_PATIENCE,
        }
    }

    /// Asks for a sweep; of two wishes the more thorough and the earlier count.
    pub(crate) fn want(&mut self, thoroughness: Thoroughness, at: Instant) {
        let (t, a) = self.next.unwrap_or((thoroughness, at));
        self.next = Some((t.max(thoroughness), a.min(at)));
    }

    /// Takes the next wish if its time has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Thoroughness> {
        self.next.take_if(|(_, at)| *at <= now).map(|(thoroughness, _)| thoroughness)
    }

    /// Drops everything that is under way and wished for.
    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.work = Work::default();
        self.next = None;
        self.in_doubt = false;
    }
}

/// Wait before the first repetition of a sweep that left something undone; doubles from then on.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Counters of sweeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SweepCounters {
    /// Light sweeps.
    pub light: u64,
    /// Sweeps that asked everything.
    pub full: u64,
    /// Sweeps that believed switches without change.
    pub quick: u64,
    /// Sweeps that ended in a configured subnet.
    pub completed: u64,
    /// Quick sweeps that had to be done again in full.
    pub doubted: u64,
    /// Requests that were refused or not answered.
    pub failures: u64,
    /// Microseconds the last completed one took.
    pub last_us: u64,
    /// SMPs in the last completed one.
    pub last_smps: u64,
}
