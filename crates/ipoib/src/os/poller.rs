//! Waiting for descriptors, and for a moment: epoll, with an alarm among what it waits for.
//!
//! The moment is the same from one waiting to the next as long as only packets come. An alarm that is set is not to be
//! set again; a timeout would be with every call.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use ib_wire::time::Instant;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use super::clock;

/// Readiness reports taken per call.
const BATCH: usize = 64;
/// The alarm's token; descriptors have others.
const ALARM: u64 = u64::MAX;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something more to read than when it was told last; whoever hears of it need not read it to hear of the next.
    New,
    /// Room to write.
    Write,
    /// Either.
    ReadWrite,
    /// Only errors and hang-ups, which are always reported.
    Errors,
}

/// One descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The number given with the descriptor.
    pub token: u64,
    /// There is something to read, or the end.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// An error or a hang-up: reading says which.
    pub error: bool,
}

/// A set of descriptors to wait for. What is ready is told again with each call, but for [`Interest::New`].
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    alarm: OwnedFd,
    /// When the alarm rings; none if it does not.
    rings: Option<Instant>,
    /// How long to look for more before the thread sleeps.
    spin: Duration,
    /// Until when it is looked for; none if what was ready last has just been dealt with.
    looking: Option<Instant>,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        // Told once each time it rings: nobody has to read it.
        let once = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM), once)?;
        let (spin, looking) = (Duration::ZERO, Some(Instant::ZERO));
        Ok(Self { epoll, events: Vec::with_capacity(BATCH), alarm, rings: None, spin, looking })
    }

    /// From now on, looks for more for so long before the thread sleeps, once what was ready is dealt with: saves whoever
    /// waits for an answer the time that waking takes, and costs the processor that time.
    #[must_use]
    pub fn spinning(self, spin: Duration) -> Self {
        Self { spin, ..self }
    }

    /// Waits for `fd` from now on and reports it as `token`, any but the last. Remove it before it is closed.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Changes what is waited for, and the token.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), interest.flags())?)
    }

    /// Forgets `fd`.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until something is ready or it is `until`, never less; `None` waits for ever.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<impl Iterator<Item = Ready> + '_> {
        self.events.clear();
        if !self.spin.is_zero() {
            self.look(until)?;
        }
        while self.events.is_empty() {
            let is_time = !self.set_alarm(until)?;
            self.poll(is_time)?;
            if is_time {
                break;
            }
        }
        if !self.events.is_empty() {
            self.looking = None;
        }
        Ok(self.events.iter().map(|event| Ready::from(*event)))
    }

    /// Looks again and again while it is time to.
    fn look(&mut self, until: Option<Instant>) -> Result<(), Errno> {
        let mut now = clock::now();
        let end = *self.looking.get_or_insert(now + self.spin);
        let end = until.map_or(end, |until| until.min(end));
        while now < end && self.events.is_empty() {
            self.poll(true)?;
            now = clock::now();
        }
        Ok(())
    }

    /// Sees to it that the alarm has rung by `until`; false if that is past already. It may ring before, for a moment
    /// that somebody wanted once.
    fn set_alarm(&mut self, until: Option<Instant>) -> Result<bool, Errno> {
        let Some(until) = until else { return Ok(true) };
        if self.rings.is_some_and(|rings| rings <= until) {
            return Ok(true);
        }
        if until <= clock::now() {
            return Ok(false);
        }
        let once = Itimerspec { it_interval: timespec(Instant::ZERO), it_value: timespec(until) };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &once)?;
        self.rings = Some(until);
        Ok(true)
    }

    /// Takes what is ready; waits for something, the alarm for one, unless it `looks` only.
    fn poll(&mut self, looks: bool) -> Result<(), Errno> {
        let at_once = looks.then_some(timespec(Instant::ZERO));
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), at_once.as_ref()) {
            // A signal.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if let Some(rang) = self.events.iter().position(|event| event.data.u64() == ALARM) {
            self.events.swap_remove(rang);
            self.rings = None;
        }
        Ok(())
    }
}

fn timespec(at: Instant) -> Timespec {
    const SECOND: u64 = 1_000_000_000;
    let nanos = at.as_nanos();
    Timespec {
        tv_sec: i64::try_from(nanos / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanos % SECOND).unwrap_or_default(),
    }
}

impl Interest {
    const fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
            Self::New => epoll::EventFlags::IN.union(epoll::EventFlags::ET),
            Self::Write => epoll::EventFlags::OUT,
            Self::ReadWrite => epoll::EventFlags::IN.union(epoll::EventFlags::OUT),
            Self::Errors => epoll::EventFlags::empty(),
        }
    }
}

impl From<epoll::Event> for Ready {
    fn from(event: epoll::Event) -> Self {
        let flags = event.flags;
        let any = |wanted| flags.intersects(wanted);
        Self {
            token: event.data.u64(),
            readable: any(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::RDHUP),
            writable: any(epoll::EventFlags::OUT),
            error: any(epoll::EventFlags::ERR | epoll::EventFlags::HUP),
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::wake::Waker;

    #[test]
    fn a_timeout_is_never_short_and_does_not_wait_for_the_next_millisecond() {
        let mut poller = Poller::new().unwrap();
        let asked = Duration::from_micros(150);
        let mut shortest = Duration::MAX;
        for _ in 0..50 {
            let before = clock::now();
            assert_eq!(poller.wait(Some(before + asked)).unwrap().count(), 0);
            let waited = clock::now().since(before);
            assert!(waited >= asked, "{waited:?}");
            shortest = shortest.min(waited);
        }
        assert!(shortest < Duration::from_micros(900), "{shortest:?}");
    }

    #[test]
    fn an_alarm_for_a_moment_that_nobody_wants_any_more_wakes_nobody() {
        let mut poller = Poller::new().unwrap();
        let now = clock::now();
        let (early, late) = (now + Duration::from_millis(5), now + Duration::from_millis(30));
        let waker = Waker::new().unwrap();
        poller.add(&waker, 1, Interest::Read).unwrap();
        waker.wake();
        assert_eq!(poller.wait(Some(early)).unwrap().count(), 1);
        waker.drain();
        assert_eq!(poller.wait(Some(late)).unwrap().count(), 0);
        assert!(clock::now() >= late);
        // And one that is wanted sooner than the last is heard.
        let (soon, never) = (clock::now() + Duration::from_millis(5), clock::now() + Duration::from_secs(60));
        waker.wake();
        assert_eq!(poller.wait(Some(never)).unwrap().count(), 1);
        waker.drain();
        assert_eq!(poller.wait(Some(soon)).unwrap().count(), 0);
        assert!(clock::now() < never);
    }

    #[test]
    fn a_poller_that_spins_sleeps_when_nothing_has_come_for_that_long() {
        let mut poller = Poller::new().unwrap().spinning(Duration::from_millis(1));
        let waker = Waker::new().unwrap();
        poller.add(&waker, 1, Interest::Read).unwrap();
        waker.wake();
        assert_eq!(poller.wait(None).unwrap().count(), 1);
        waker.drain();
        let processor = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let (began, before) = (clock::now(), processor());
        assert_eq!(poller.wait(Some(began + Duration::from_millis(200))).unwrap().count(), 0);
        let (waited, after) = (clock::now().since(began), processor());
        assert!(waited >= Duration::from_millis(200), "{waited:?}");
        let busy = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(busy < 100_000_000, "{busy} ns of processor time in 200 ms");
        waker.wake();
        assert_eq!(poller.wait(None).unwrap().count(), 1);
    }

    #[test]
    fn a_ready_descriptor_comes_with_its_token() {
        let mut poller = Poller::new().unwrap();
        let (first, second) = (Waker::new().unwrap(), Waker::new().unwrap());
        poller.add(&first, 7, Interest::Read).unwrap();
        poller.add(&second, 1 << 40, Interest::Read).unwrap();
        second.wake();
        let ready: Vec<_> = poller.wait(None).unwrap().collect();
        assert_eq!(ready, [Ready { token: 1 << 40, readable: true, writable: false, error: false }]);
        poller.remove(&second).unwrap();
        assert_eq!(poller.wait(Some(Instant::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn interest_can_change() {
        let mut poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        poller.add(&waker, 1, Interest::Errors).unwrap();
        waker.wake();
        assert_eq!(poller.wait(Some(Instant::ZERO)).unwrap().count(), 0);
        poller.modify(&waker, 2, Interest::ReadWrite).unwrap();
        let ready: Vec<_> = poller.wait(None).unwrap().collect();
        assert_eq!(ready, [Ready { token: 2, readable: true, writable: true, error: false }]);
    }
}
