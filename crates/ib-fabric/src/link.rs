//! Links: what they do to packets, and when a packet put on one comes out.

use alloc::boxed::Box;
use core::time::Duration;

use ib_wire::{addr::Timeout, packet::Measure, time::Instant};

use crate::{
    drop::Drop,
    flight::Step,
    outside::Outside,
    port::Cable,
    topology::{self, Mishap, Probability, Shares},
};

/// What a link does to packets, and whether it is up at all; may change while packets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFault {
    /// Unplugged.
    pub down: bool,
    /// How long a packet is under way.
    pub delay: Duration,
    /// What befalls some of them.
    pub shares: Shares,
    /// Bits per second; `None` costs no time.
    pub rate: Option<u64>,
}

impl LinkFault {
    /// Up, and no harm done.
    pub const NONE: Self = Self { down: false, delay: Duration::ZERO, shares: Shares::NONE, rate: None };

    /// One mishap and nothing else.
    pub const fn of(mishap: Mishap, share: Probability) -> Self {
        Self { shares: Shares::NONE.with(mishap, share), ..Self::NONE }
    }

    /// True if it treats packets one by one, so that a large send must be cut.
    pub(crate) fn looks_at_packets(&self) -> bool {
        self.shares != Shares::NONE || self.rate.is_some()
    }

    fn is_plain(&self) -> bool {
        !self.looks_at_packets() && self.delay.is_zero()
    }
}

impl From<topology::LinkModel> for LinkFault {
    fn from(model: topology::LinkModel) -> Self {
        Self { delay: model.delay, shares: model.shares, ..Self::NONE }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// Packets put on it that have not come out.
    pub(crate) under_way: usize,
    /// Until when the sender is busy, where there is a rate.
    busy_until: Instant,
    /// When the last of them comes out: none overtakes another, but for those that are late by mishap.
    last_out: Instant,
}

/// A link.
#[derive(Debug)]
pub(crate) struct Link {
    /// The ports it joins, end `a` first; the same one twice if it leads out of the fabric.
    pub(crate) ends: [usize; 2],
    /// Set if it leads out of the fabric.
    pub(crate) outside: Option<Box<Outside>>,
    /// What it does to packets.
    pub(crate) fault: LinkFault,
    /// True while packets may pass.
    pub(crate) up: bool,
    /// Counts the times it went down: what was put on it before does not come out.
    pub(crate) epoch: u32,
    /// True if a tap looks at it.
    pub(crate) tapped: bool,
    /// True if packets pass at once and unharmed.
    plain: bool,
    /// From `a` and from `b`.
    ways: [Way; 2],
}

/// Longest time a switch holds a packet, coded from here on as "for ever".
const UNLIMITED: u8 = 20;

impl Link {
    /// A link that is not up yet.
    pub(crate) fn new(ends: [usize; 2], fault: LinkFault) -> Self {
        Self {
            ends,
            outside: None,
            fault,
            up: false,
            epoch: 0,
            tapped: false,
            plain: fault.is_plain(),
            ways: [Way::default(); 2],
        }
    }

    /// The ports it joins, each once.
    pub(crate) fn ports(&self) -> impl Iterator<Item = usize> + use<> {
        self.ends.into_iter().take(if self.outside.is_some() { 1 } else { 2 })
    }

    /// Where a packet is once it has crossed.
    #[inline]
    pub(crate) const fn beyond(&self, cable: Cable) -> Step {
        match (&self.outside, cable.is_a) {
            (None, _) => Step::In(cable.peer),
            (Some(_), true) => Step::Away(cable.link),
            (Some(_), false) => Step::Enter(cable.link),
        }
    }

    /// Changes what it does to packets; `down` is looked at elsewhere.
    pub(crate) fn set_fault(&mut self, fault: LinkFault) {
        self.fault = fault;
        self.plain = fault.is_plain();
        if fault.rate.is_none() {
            self.ways.iter_mut().for_each(|way| way.busy_until = Instant::ZERO);
        }
    }

    /// It went down: nothing is under way any more.
    pub(crate) fn went_down(&mut self) {
        self.up = false;
        self.epoch = self.epoch.wrapping_add(1);
        self.ways = [Way::default(); 2];
    }

    /// The direction that starts at `a`, or the other.
    pub(crate) const fn way(&self, from_a: bool) -> &Way {
        &self.ways[if from_a { 0 } else { 1 }]
    }

    /// True if a packet passes at once, unharmed and unseen.
    #[inline]
    pub(crate) const fn is_clear(&self, from_a: bool) -> bool {
        self.plain && !self.tapped && self.way(from_a).under_way == 0
    }

    /// When a packet put on the link now comes out, and so much `late`, which delays none behind it. `lifetime` is
    /// how long a switch in front of the link holds packets.
    pub(crate) fn schedule(
        &mut self,
        now: Instant,
        from_a: bool,
        late: Duration,
        measure: Measure,
        lifetime: Option<Timeout>,
        limit: usize,
    ) -> Result<Instant, Drop> {
        let way = &mut self.ways[usize::from(!from_a)];
        let mut out = now;
        if let Some(rate) = self.fault.rate {
            let start = way.busy_until.max(now);
            let lifetime = lifetime.filter(|time| time.0 < UNLIMITED);
            if lifetime.is_some_and(|time| start.since(now) > time.duration()) {
                return Err(Drop::SwitchLifetime);
            }
            if way.under_way >= limit {
                return Err(Drop::LinkQueueFull);
            }
            way.busy_until = start + transmission(measure, rate);
            out = way.busy_until;
        }
        out = (out + self.fault.delay).max(way.last_out);
        if out + late > now {
            if way.under_way >= limit {
                return Err(Drop::LinkQueueFull);
            }
            way.under_way += 1;
            way.last_out = out;
        }
        Ok(out + late)
    }

    /// A packet came out, if it was put on in this epoch.
    pub(crate) fn came_out(&mut self, from_a: bool, epoch: u32) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let way = &mut self.ways[usize::from(!from_a)];
        way.under_way -= 1;
        if way.under_way == 0 {
            way.last_out = Instant::ZERO;
        }
        true
    }
}

/// How long the sender is busy with a packet.
fn transmission(measure: Measure, rate: u64) -> Duration {
    let bits = u128::from(measure.words) * 32;
    let nanos = bits * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Measure = Measure { packets: 1, words: 125 };

    fn link(fault: LinkFault) -> Link {
        Link::new([0, 1], fault)
    }

    #[test]
    fn a_rate_makes_packets_wait_for_each_other() {
        let mut link = link(LinkFault { rate: Some(4_000_000), ..LinkFault::NONE });
        let mut out = || link.schedule(Instant::ZERO, true, Duration::ZERO, PACKET, None, 3);
        assert_eq!(out(), Ok(Instant::from_millis(1)));
        assert_eq!(out(), Ok(Instant::from_millis(2)));
        assert_eq!(out(), Ok(Instant::from_millis(3)));
        assert_eq!(out(), Err(Drop::LinkQueueFull));
        assert!(link.came_out(true, 0));
        assert_eq!(
            link.schedule(Instant::from_millis(1), true, Duration::ZERO, PACKET, None, 3),
            Ok(Instant::from_millis(4))
        );
        assert_eq!(
            link.schedule(Instant::ZERO, false, Duration::ZERO, PACKET, None, 3),
            Ok(Instant::from_millis(1))
        );
    }

    #[test]
    fn a_shorter_delay_lets_no_packet_overtake() {
        let mut link = link(LinkFault { delay: Duration::from_millis(5), ..LinkFault::NONE });
        assert_eq!(
            link.schedule(Instant::ZERO, true, Duration::ZERO, PACKET, None, 9),
            Ok(Instant::from_millis(5))
        );
        link.set_fault(LinkFault::NONE);
        assert!(!link.is_clear(true) && link.is_clear(false));
        assert_eq!(
            link.schedule(Instant::from_millis(1), true, Duration::ZERO, PACKET, None, 9),
            Ok(Instant::from_millis(5))
        );
        assert!(link.came_out(true, 0) && link.came_out(true, 0));
        assert!(link.is_clear(true));
    }

    #[test]
    fn a_late_packet_is_overtaken_and_delays_none() {
        let mut link = link(LinkFault::of(Mishap::Reorder, Probability::from_ppb(1)));
        let mut out = |late| link.schedule(Instant::ZERO, true, late, PACKET, None, 2);
        assert_eq!(out(Mishap::LATE), Ok(Instant::from_millis(1)));
        assert_eq!(out(Duration::ZERO), Ok(Instant::ZERO));
        assert_eq!(out(Mishap::LATE), Ok(Instant::from_millis(1)));
        assert_eq!(out(Mishap::LATE), Err(Drop::LinkQueueFull));
    }

    #[test]
    fn a_switch_does_not_hold_a_packet_longer_than_its_lifetime() {
        let mut link = link(LinkFault { rate: Some(4_000_000), ..LinkFault::NONE });
        let mut out =
            |lifetime| link.schedule(Instant::ZERO, true, Duration::ZERO, PACKET, Some(Timeout(lifetime)), 9);
        assert!(out(7).is_ok());
        assert_eq!(out(7), Err(Drop::SwitchLifetime), "524 us is less than 1 ms");
        assert!(out(8).is_ok());
        assert!(out(UNLIMITED).is_ok());
    }

    #[test]
    fn what_was_under_way_when_a_link_went_down_does_not_come_out() {
        let mut link = link(LinkFault { delay: Duration::from_millis(5), ..LinkFault::NONE });
        assert!(link.schedule(Instant::ZERO, true, Duration::ZERO, PACKET, None, 9).is_ok());
        let epoch = link.epoch;
        link.went_down();
        assert!(!link.came_out(true, epoch));
        assert_eq!(link.way(true).under_way, 0);
    }
}
