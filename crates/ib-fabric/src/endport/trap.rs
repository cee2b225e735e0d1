//! Traps of a port: sent again and again, each time later, until the subnet manager has heard. IBA 1 §14.3.

use alloc::vec::Vec;
use core::time::Duration;

use ib_wire::{addr::Tid, mad::attr::Notice, time::Instant};

use crate::config::FabricConfig;

/// A notice that waits for its TrapRepress.
#[derive(Clone, Debug)]
struct Pending {
    notice: Notice,
    tid: Tid,
    next: Instant,
    interval: Duration,
    /// It happened again since: say so once more when this one is repressed.
    again: bool,
}

/// The traps of one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traps {
    pending: Vec<Pending>,
    last_tid: u32,
    /// Changes whenever the oldest notice is another one.
    toggle: bool,
    /// When somebody will ask for what is due.
    armed: Option<Instant>,
}

impl Traps {
    /// How often the interval doubles.
    const DOUBLINGS: u32 = 5;

    /// Takes a notice; false if the same one waits already, or too many do.
    pub(crate) fn raise(&mut self, now: Instant, notice: Notice, config: &FabricConfig) -> bool {
        let same =
            |pending: &&mut Pending| (pending.notice.trap, pending.notice.data) == (notice.trap, notice.data);
        if let Some(pending) = self.pending.iter_mut().find(same) {
            pending.again = true;
            return false;
        }
        if self.pending.len() >= config.trap_queue {
            return false;
        }
        self.last_tid = self.last_tid.wrapping_add(1);
        let tid = Tid(self.last_tid.into());
        self.pending.push(Pending { notice, tid, next: now, interval: config.trap_interval, again: false });
        true
    }

    /// The notices to be sent now; each will be sent again later.
    pub(crate) fn due(&mut self, now: Instant, config: &FabricConfig) -> Vec<(Tid, Notice)> {
        let longest = config.trap_interval * (1 << Self::DOUBLINGS);
        let due = self.pending.iter_mut().filter(|pending| pending.next <= now);
        due.map(|pending| {
            pending.next = now + pending.interval;
            pending.interval = (pending.interval * 2).min(longest);
            (pending.tid, pending.notice)
        })
        .collect()
    }

    /// When the next one is to be sent.
    fn next_time(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.next).min()
    }

    /// When to ask for what is due, unless somebody will ask no later anyhow.
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        let next = self.next_time()?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(next)
    }

    /// The time that was armed has come.
    pub(crate) fn disarm(&mut self, now: Instant) {
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
    }

    /// The manager has heard: the notice is done with. If it happened again it is returned, to be raised anew.
    pub(crate) fn repress(&mut self, tid: Tid) -> Option<Option<Notice>> {
        let place = self.pending.iter().position(|pending| pending.tid == tid)?;
        let pending = self.remove(place);
        Some(pending.again.then_some(pending.notice))
    }

    /// The notice that has waited longest, for who asks instead of listening to traps. IBA 1 §13.4.9.
    pub(crate) fn oldest(&self) -> Notice {
        let Some(first) = self.pending.first() else {
            return Notice { toggle: self.toggle, ..Notice::EMPTY };
        };
        let count = u16::try_from(self.pending.len()).unwrap_or(u16::MAX);
        Notice { toggle: self.toggle, count, ..first.notice }
    }

    /// Who asked has read it: the oldest notice is done with, if it is still the same one. If it happened again it
    /// stays, as new.
    pub(crate) fn acknowledge(&mut self, read: &Notice) {
        let Some(first) = self.pending.first_mut() else { return };
        let same = (read.trap, read.data) == (first.notice.trap, first.notice.data);
        if read.toggle != self.toggle || !same {
            return;
        }
        if core::mem::take(&mut first.again) {
            self.toggle = !self.toggle;
        } else {
            self.remove(0);
        }
    }

    fn remove(&mut self, place: usize) -> Pending {
        self.toggle ^= place == 0;
        self.pending.remove(place)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::{
        addr::Lid,
        mad::attr::{NoticeType, ProducerType, TrapNumber},
    };

    use super::*;

    fn notice(n: u8) -> Notice {
        let kind = NoticeType::URGENT;
        Notice::from_port(TrapNumber::LINK_STATE, kind, ProducerType::SWITCH, Lid(1), [n; 54])
    }

    #[test]
    fn a_trap_is_repeated_ever_more_slowly_until_repressed() {
        let config = FabricConfig::default();
        let mut traps = Traps::default();
        assert!(traps.raise(Instant::ZERO, notice(1), &config));
        let mut sent = Vec::new();
        let mut tid = Tid(0);
        for _ in 0..9 {
            let now = traps.next_time().expect("pending");
            let due = traps.due(now, &config);
            assert_eq!(due.len(), 1);
            tid = due[0].0;
            sent.push(now.as_nanos() / 1_000_000_000);
        }
        assert_eq!(sent, [0, 1, 3, 7, 15, 31, 63, 95, 127]);
        assert_eq!(traps.repress(Tid(99)), None);
        assert_eq!(traps.arm(), traps.next_time());
        assert_eq!(traps.arm(), None, "once is enough");
        assert_eq!(traps.repress(tid), Some(None));
        assert_eq!(traps.next_time(), None);
    }

    #[test]
    fn what_happens_again_before_the_repress_is_told_once_more() {
        let config = FabricConfig { trap_queue: 2, ..FabricConfig::default() };
        let mut traps = Traps::default();
        assert!(traps.raise(Instant::ZERO, notice(1), &config));
        assert!(!traps.raise(Instant::ZERO, notice(1), &config));
        assert!(traps.raise(Instant::ZERO, notice(2), &config));
        assert!(!traps.raise(Instant::ZERO, notice(3), &config), "the queue is full");
        let due = traps.due(Instant::ZERO, &config);
        assert_eq!(traps.repress(due[0].0), Some(Some(notice(1))));
        assert_eq!(traps.len(), 1);
    }

    #[test]
    fn who_asks_for_notices_takes_them_in_order_and_one_by_one() {
        let config = FabricConfig::default();
        let mut traps = Traps::default();
        assert_eq!(traps.oldest(), Notice::EMPTY);
        traps.raise(Instant::ZERO, notice(1), &config);
        traps.raise(Instant::ZERO, notice(2), &config);
        let first = traps.oldest();
        assert_eq!((first.data, first.count, first.toggle), (notice(1).data, 2, false));
        traps.acknowledge(&notice(2));
        assert_eq!(traps.oldest(), first, "that is not what was read");
        traps.acknowledge(&first);
        let second = traps.oldest();
        assert_eq!((second.data, second.count, second.toggle), (notice(2).data, 1, true));
        traps.raise(Instant::ZERO, notice(2), &config);
        traps.acknowledge(&second);
        let again = traps.oldest();
        assert_eq!((again.data, again.count, again.toggle), (notice(2).data, 1, false));
        traps.acknowledge(&second);
        assert_eq!(traps.len(), 1, "an acknowledgement counts once");
        traps.acknowledge(&again);
        assert_eq!(traps.oldest(), Notice { toggle: true, ..Notice::EMPTY });
    }
}
