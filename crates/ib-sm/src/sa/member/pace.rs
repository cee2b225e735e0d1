//! When the manager is told that a group changed: at once, but large groups not too often.
//!
//! To lay a tree costs as much as the group has members. When thousands join one after another, telling each
//! would cost the square of it; so a large group waits a little after it was told, and then tells all at once.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use ib_wire::{addr::MulticastLid, time::Instant};

use crate::sa::timers::Timers;

/// LIDs whose members changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    now: Instant,
    ready: BTreeSet<u16>,
    waiting: Timers<u16>,
    /// When large groups were told last.
    told: BTreeMap<u16, Instant>,
}

impl Pace {
    /// Time goes on: what has waited long enough is ready.
    pub(super) fn advance(&mut self, now: Instant) {
        self.now = now;
        while let Some(mlid) = self.waiting.pop_due(now) {
            self.ready.insert(mlid);
        }
    }

    /// The members of a LID changed; there are so many of them now.
    pub(super) fn changed(&mut self, mlid: MulticastLid, members: usize) {
        let mlid = mlid.get();
        let next = self.told.get(&mlid).map(|told| *told + rest(members)).filter(|next| *next > self.now);
        match next {
            Some(next) if !self.ready.contains(&mlid) => self.waiting.set(mlid, Some(next)),
            _ => {
                self.waiting.set(mlid, None);
                self.ready.insert(mlid);
            }
        }
    }

    /// A LID to tell of.
    pub(super) fn take(&mut self) -> Option<MulticastLid> {
        MulticastLid::try_from(self.ready.pop_first()?).ok()
    }

    /// The LID was told with so many members.
    pub(super) fn told(&mut self, mlid: MulticastLid, members: usize) {
        if rest(members) == Duration::ZERO {
            self.told.remove(&mlid.get());
        } else {
            self.told.insert(mlid.get(), self.now);
        }
    }

    /// When `advance` makes something ready.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.next()
    }
}

/// How long a group of that size waits after it was told.
fn rest(members: usize) -> Duration {
    if members < 256 {
        return Duration::ZERO;
    }
    Duration::from_micros(u64::try_from(members).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_groups_tell_at_once_and_large_ones_together() {
        let mlid = MulticastLid::try_from(0xc000).unwrap();
        let mut pace = Pace::default();
        pace.advance(Instant::from_secs(1));
        for _ in 0..2 {
            pace.changed(mlid, 3);
            assert_eq!(pace.take(), Some(mlid));
            pace.told(mlid, 3);
        }
        pace.changed(mlid, 5000);
        assert_eq!(pace.take(), Some(mlid));
        pace.told(mlid, 5000);
        pace.changed(mlid, 5001);
        pace.changed(mlid, 5002);
        assert_eq!(pace.take(), None);
        let next = pace.next().unwrap();
        assert!(next > Instant::from_secs(1) && next < Instant::from_secs(1) + Duration::from_millis(6));
        pace.advance(next);
        assert_eq!((pace.take(), pace.take(), pace.next()), (Some(mlid), None, None));
    }
}
