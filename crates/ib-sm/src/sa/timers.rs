//! Deadlines by key: the next one is found at once, however many there are.

use alloc::collections::{BTreeMap, BTreeSet};

use ib_wire::time::Instant;

/// At most one deadline for each key.
#[derive(Clone, Debug)]
pub(super) struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Sets, moves or ends the deadline of a key.
    pub(super) fn set(&mut self, key: K, deadline: Option<Instant>) {
        let old = match deadline {
            Some(deadline) => self.by_key.insert(key, deadline),
            None => self.by_key.remove(&key),
        };
        if old == deadline {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key));
        }
        self.by_time.extend(deadline.map(|deadline| (deadline, key)));
    }

    /// A key whose deadline has come; its deadline ends.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (_, key) = *self.by_time.first().filter(|(deadline, _)| *deadline <= now)?;
        self.set(key, None);
        Some(key)
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_deadline_counts_once() {
        let mut timers = Timers::default();
        let at = Instant::from_secs;
        timers.set('a', Some(at(1)));
        timers.set('b', Some(at(2)));
        timers.set('a', Some(at(3)));
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.pop_due(at(1)), None);
        assert_eq!(
            (timers.pop_due(at(9)), timers.pop_due(at(9)), timers.pop_due(at(9))),
            (Some('b'), Some('a'), None)
        );
        timers.set('c', Some(at(1)));
        timers.set('c', None);
        assert_eq!(timers.next(), None);
    }
}
