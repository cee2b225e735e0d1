//! What is to happen later, in order of time; at one time in the order it was put down.

use alloc::collections::BinaryHeap;
use core::cmp::{Ordering, Reverse};

use ib_wire::time::Instant;

/// Things to do at their time.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    number: u64,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), next: 0 }
    }
}

impl<T> Agenda<T> {
    /// Puts something down.
    pub(crate) fn put(&mut self, at: Instant, what: T) {
        self.heap.push(Reverse(Entry { at, number: self.next, what }));
        self.next += 1;
    }

    /// Takes the first thing whose time has come, and its time.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        if self.next_time()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }

    /// When the first thing is due.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_is_due_at_one_time_comes_in_the_order_it_was_put_down() {
        let mut agenda = Agenda::default();
        for (at, what) in [(5, 'c'), (3, 'a'), (9, 'e'), (3, 'b'), (5, 'd')] {
            agenda.put(Instant::from_secs(at), what);
        }
        let now = Instant::from_secs(5);
        let due: Vec<char> = core::iter::from_fn(|| agenda.take_due(now)).map(|(_, what)| what).collect();
        assert_eq!(due, ['a', 'b', 'c', 'd']);
        assert_eq!(agenda.next_time(), Some(Instant::from_secs(9)));
    }
}
