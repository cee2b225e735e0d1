//! When whom must be woken: one deadline each, many holders.

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Reverse;

use ib_wire::time::Instant;

/// One deadline for each of the holders `0..n`. Setting and taking cost O(log n).
///
/// A deadline that moved leaves its old entry behind; it is passed over when its turn comes.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
    deadline: Vec<Option<Instant>>,
}

impl Timers {
    /// Sets, moves or clears the deadline of `holder`.
    #[inline]
    pub(crate) fn set(&mut self, holder: usize, deadline: Option<Instant>) {
        if self.deadline.get(holder) != Some(&deadline) {
            self.change(holder, deadline);
        }
    }

    fn change(&mut self, holder: usize, deadline: Option<Instant>) {
        if self.deadline.len() <= holder {
            self.deadline.resize(holder + 1, None);
        }
        self.deadline[holder] = deadline;
        if let Some(at) = deadline {
            self.queue.push(Reverse((at, holder)));
        }
    }

    /// Sees to it that `holder` is woken at `deadline` at the latest.
    ///
    /// For deadlines that mostly go away before they come: one that is set already stays, so the holder may be woken
    /// early, and then says anew what it waits for.
    pub(crate) fn arm(&mut self, holder: usize, deadline: Option<Instant>) {
        let armed = self.deadline.get(holder).copied().flatten();
        if deadline.is_some_and(|at| armed.is_none_or(|armed| at < armed)) {
            self.set(holder, deadline);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        self.skip_moved();
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The deadlines there are, moved ones included: never later than the earliest.
    pub(crate) fn peek(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a holder whose deadline is not after `now`; its deadline is cleared.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, holder)) = self.queue.pop()?;
        self.deadline[holder] = None;
        Some(holder)
    }

    fn skip_moved(&mut self) {
        while let Some(Reverse((at, holder))) = self.queue.peek()
            && self.deadline[*holder] != Some(*at)
        {
            self.queue.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_armed_holder_is_woken_no_later_and_leaves_nothing_behind() {
        let mut timers = Timers::default();
        (5..1000).for_each(|second| timers.arm(0, Some(Instant::from_secs(second))));
        assert_eq!((timers.queue.len(), timers.next()), (1, Some(Instant::from_secs(5))));
        timers.arm(0, None);
        timers.arm(0, Some(Instant::from_secs(4)));
        assert_eq!(timers.expire(Instant::from_secs(9)), Some(0));
        timers.arm(0, Some(Instant::from_secs(7)));
        assert_eq!(timers.expire(Instant::from_secs(9)), Some(0));
        assert_eq!(timers.expire(Instant::from_secs(9)), None);
    }

    #[test]
    fn a_moved_deadline_fires_once_at_its_last_place() {
        let mut timers = Timers::default();
        timers.set(0, Some(Instant::from_secs(5)));
        timers.set(1, Some(Instant::from_secs(3)));
        timers.set(0, Some(Instant::from_secs(1)));
        timers.set(0, Some(Instant::from_secs(4)));
        timers.set(2, Some(Instant::from_secs(2)));
        timers.set(2, None);
        assert_eq!(timers.next(), Some(Instant::from_secs(3)));
        assert_eq!(timers.expire(Instant::from_secs(9)), Some(1));
        assert_eq!(timers.expire(Instant::from_secs(9)), Some(0));
        assert_eq!(timers.expire(Instant::from_secs(9)), None);
        assert_eq!(timers.next(), None);
    }
}
