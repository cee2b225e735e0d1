//! Traps: how often each comes, so that a port that never stops does not keep the manager sweeping.

use alloc::collections::BTreeMap;
use core::time::Duration;

use ib_wire::{
    addr::Lid,
    mad::attr::{Notice, TrapNumber},
    time::Instant,
};
use serde::Serialize;

/// What a trap asks of the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Look what changed.
    Sweep,
    /// Look, but not at once: the issuer has said so too often.
    SweepLater {
        /// It was not known before.
        is_news: bool,
    },
    /// Tell of an error.
    Tell,
    /// Only count it: an error that was told of too often.
    Count {
        /// It was not known before.
        is_news: bool,
    },
}

/// Counters of traps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrapCounters {
    /// 128: a switch port changed its state.
    pub link_state: u64,
    /// 144, 145: what a port or node is changed.
    pub change: u64,
    /// 129 to 131: errors of a link.
    pub link_errors: u64,
    /// 256 to 259: bad keys.
    pub bad_keys: u64,
    /// Anything else.
    pub other: u64,
    /// Of all these, those of ports that say too much.
    pub babbled: u64,
}

/// Who has sent which trap how often in the current span of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traps {
    recent: BTreeMap<(Lid, TrapNumber), (Instant, u32)>,
    counters: TrapCounters,
}

impl Traps {
    /// Counts a trap and says what to do about it.
    pub(crate) fn handle(&mut self, now: Instant, notice: &Notice) -> Reaction {
        let counters = &mut self.counters;
        let (counter, is_change) = match notice.trap {
            TrapNumber::LINK_STATE => (&mut counters.link_state, true),
            TrapNumber::CAPABILITY_CHANGE | TrapNumber::SYSTEM_IMAGE_CHANGE => (&mut counters.change, true),
            TrapNumber::LINK_INTEGRITY | TrapNumber::BUFFER_OVERRUN | TrapNumber::FLOW_CONTROL => {
                (&mut counters.link_errors, false)
            }
            TrapNumber::BAD_M_KEY
            | TrapNumber::BAD_P_KEY
            | TrapNumber::BAD_Q_KEY
            | TrapNumber::SWITCH_BAD_P_KEY => (&mut counters.bad_keys, false),
            _ => (&mut counters.other, false),
        };
        *counter += 1;
        if self.recent.len() >= REMEMBERED {
            self.recent.retain(|_, (since, _)| now.since(*since) < SPAN);
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.clear();
        }
        let (since, count) = self.recent.entry((notice.issuer_lid, notice.trap)).or_insert((now, 0));
        if now.since(*since) >= SPAN {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let (babbles, is_news) = (*count > ENOUGH, *count == ENOUGH + 1);
        self.counters.babbled += u64::from(babbles);
        match (is_change, babbles) {
            (true, false) => Reaction::Sweep,
            (true, true) => Reaction::SweepLater { is_news },
            (false, false) => Reaction::Tell,
            (false, true) => Reaction::Count { is_news },
        }
    }

    /// Counted since the start.
    pub(crate) const fn counters(&self) -> TrapCounters {
        self.counters
    }
}

/// So many traps of one kind from one port in one span are enough.
const ENOUGH: u32 = 25;
/// A span of time.
const SPAN: Duration = Duration::from_secs(10);
/// Issuers remembered at most.
const REMEMBERED: usize = 65_536;
/// How long a sweep waits for a port that says too much.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use ib_wire::mad::attr::{NoticeType, ProducerType};

    fn trap(number: TrapNumber) -> Notice {
        Notice::from_port(number, NoticeType::URGENT, ProducerType::SWITCH, Lid(3), [0; 54])
    }

    #[test]
    fn who_babbles_waits_and_is_heard_again_later() {
        let mut traps = Traps::default();
        let change = trap(TrapNumber::LINK_STATE);
        for _ in 0..25 {
            assert_eq!(traps.handle(Instant::ZERO, &change), Reaction::Sweep);
        }
        assert_eq!(traps.handle(Instant::ZERO, &change), Reaction::SweepLater { is_news: true });
        assert_eq!(traps.handle(Instant::ZERO, &change), Reaction::SweepLater { is_news: false });
        assert_eq!(traps.handle(Instant::ZERO, &trap(TrapNumber::BAD_P_KEY)), Reaction::Tell);
        assert_eq!(traps.handle(Instant::from_secs(10), &change), Reaction::Sweep);
        assert_eq!((traps.counters().link_state, traps.counters().babbled), (28, 2));
    }
}
