//! What is to be done when.

use alloc::collections::BTreeSet;

use ib_wire::time::Instant;

use crate::{
    lru::Id,
    map::{Map, map},
};

/// Everything that waits for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// A question to subnet administration has not been answered.
    Sa(u32),
    /// The next question may be sent.
    SaRate,
    /// A group is to be joined, confirmed or left.
    Group(Id),
    /// What subnet administration can do is to be asked again.
    ClassPortInfo,
    /// Subscriptions are to be made.
    Subscribe,
    /// Own addresses are to be announced.
    Announce,
    /// Idle peers are to be forgotten.
    Sweep,
}

/// At most one time for each timer.
#[derive(Debug)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    at: Map<Timer, Instant>,
}

impl Timers {
    /// Nothing to do. `seed` is the map's.
    pub(crate) fn new(seed: u64) -> Self {
        Self { queue: BTreeSet::new(), at: map(seed) }
    }

    /// Sets `timer` to `at`, whatever it was set to.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(old) = self.at.insert(timer, at) {
            self.queue.remove(&(old, timer));
        }
        self.queue.insert((at, timer));
    }

    /// Sets `timer` to `at` unless it is set to an earlier time.
    pub(crate) fn advance(&mut self, timer: Timer, at: Instant) {
        if self.at.get(&timer).is_none_or(|old| *old > at) {
            self.set(timer, at);
        }
    }

    /// Stops `timer`.
    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(old) = self.at.remove(&timer) {
            self.queue.remove(&(old, timer));
        }
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the first that is due at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (_, timer) = self.queue.first().filter(|(at, _)| *at <= now).copied()?;
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_has_one_time() {
        let mut timers = Timers::new(0);
        timers.set(Timer::Sweep, Instant::from_secs(5));
        timers.set(Timer::Sweep, Instant::from_secs(7));
        timers.advance(Timer::Sweep, Instant::from_secs(9));
        assert_eq!(timers.next(), Some(Instant::from_secs(7)));
        timers.advance(Timer::Sweep, Instant::from_secs(3));
        timers.set(Timer::Announce, Instant::from_secs(4));
        timers.set(Timer::SaRate, Instant::from_secs(4));
        timers.cancel(Timer::SaRate);
        assert_eq!(timers.pop(Instant::from_secs(2)), None);
        assert_eq!(timers.pop(Instant::from_secs(4)), Some(Timer::Sweep));
        assert_eq!(timers.pop(Instant::from_secs(4)), Some(Timer::Announce));
        assert_eq!((timers.pop(Instant::from_secs(9)), timers.next()), (None, None));
    }
}
