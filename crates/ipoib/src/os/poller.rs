//! Waiting for descriptors: epoll with a timeout in nanoseconds.
#![expect(unsafe_code, reason = "epoll_pwait2 is called directly")]

use std::{
    fmt, io,
    num::NonZeroU64,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr,
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
};

use ib_wire::time::Instant;

use super::clock;

/// Readiness reports taken per call.
const BATCH: usize = 64;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
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

/// A set of descriptors to wait for, level triggered.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// How long to look for more before the thread sleeps.
    spin: Duration,
    /// Until when it is looked for; none if what was ready last has just been dealt with.
    until: Option<Instant>,
    /// The kernel has no call that takes nanoseconds, or a filter forbids it.
    coarse: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (spin, until) = (Duration::ZERO, Some(Instant::ZERO));
        Ok(Self { epoll, events: Vec::with_capacity(BATCH), spin, until, coarse: false })
    }

    /// From now on, looks for more for so long before the thread sleeps, once what was ready is dealt with: saves whoever
    /// waits for an answer the time that waking takes, and costs the processor that time.
    #[must_use]
    pub fn spinning(self, spin: Duration) -> Self {
        Self { spin, ..self }
    }

    /// Waits for `fd` from now on and reports it as `token`. Remove it before it is closed.
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

    /// Waits until something is ready or `timeout` has passed, never less; `None` waits for ever.
    ///
    /// The kernel adds the thread's timer slack, 50 us unless [`set_timer_slack`] said otherwise.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<impl Iterator<Item = Ready> + '_> {
        self.events.clear();
        if self.spin.is_zero() {
            self.sleep(timeout)?;
        } else {
            let timeout = self.spin(timeout)?;
            if self.events.is_empty() {
                self.sleep(timeout)?;
            }
            if !self.events.is_empty() {
                self.until = None;
            }
        }
        Ok(self.events.iter().map(|event| Ready::from(*event)))
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> Result<(), Errno> {
        let began = timeout.map(|_| clock::now());
        let mut left = timeout;
        loop {
            match self.wait_once(left) {
                // A signal; what is left of the time follows from the clock.
                Err(Errno::INTR) => {
                    left = timeout.zip(began).map(|(t, began)| (began + t).since(clock::now()))
                }
                done => return done,
            }
        }
    }

    /// Looks again and again while it is time to; what is left of `timeout` then.
    fn spin(&mut self, timeout: Option<Duration>) -> Result<Option<Duration>, Errno> {
        let began = clock::now();
        let until = *self.until.get_or_insert(began + self.spin);
        let mut now = began;
        while now < until && timeout.is_none_or(|timeout| now.since(began) < timeout) {
            match self.wait_once(Some(Duration::ZERO)) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            if !self.events.is_empty() {
                break;
            }
            now = clock::now();
        }
        Ok(timeout.map(|timeout| timeout.saturating_sub(now.since(began))))
    }

    fn wait_once(&mut self, timeout: Option<Duration>) -> Result<(), Errno> {
        let timeout = timeout.map(timespec);
        if !self.coarse {
            match epoll_pwait2(&self.epoll, &mut self.events, timeout.as_ref()) {
                Err(Errno::NOSYS | Errno::PERM) => self.coarse = true,
                done => return done,
            }
        }
        // Whole milliseconds, rounded up.
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref())?;
        Ok(())
    }
}

/// Lets the kernel delay the timeouts of this thread by `slack` nanoseconds (1 at least) to save wake-ups.
pub fn set_timer_slack(slack: u64) -> io::Result<()> {
    Ok(rustix::thread::set_current_timer_slack(NonZeroU64::new(slack.max(1)))?)
}

fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: d.subsec_nanos().into() }
}

/// The call that takes nanoseconds (Linux 5.11); rustix uses it only where it is known to exist.
fn epoll_pwait2(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    timeout: Option<&Timespec>,
) -> Result<(), Errno> {
    let room = events.spare_capacity_mut();
    // SAFETY: `room` is valid for `room.len()` events, whose layout rustix shares with the kernel; `timeout` is
    // null or a valid timespec of the 64-bit kind this call takes; no signal mask is given.
    let filled = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            room.as_mut_ptr(),
            room.len(),
            timeout.map_or(ptr::null(), ptr::from_ref),
            ptr::null::<libc::sigset_t>(),
            size_of::<u64>(),
        )
    };
    let Ok(filled) = usize::try_from(filled) else {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    // SAFETY: the kernel wrote `filled` events, at most `room.len()`, into the spare capacity.
    unsafe { events.set_len(events.len() + filled) };
    Ok(())
}

impl Interest {
    const fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
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
        set_timer_slack(1).unwrap();
        let asked = Duration::from_micros(150);
        let mut shortest = Duration::MAX;
        for _ in 0..50 {
            let before = clock::now();
            assert_eq!(poller.wait(Some(asked)).unwrap().count(), 0);
            let waited = clock::now().since(before);
            assert!(waited >= asked, "{waited:?}");
            shortest = shortest.min(waited);
        }
        assert!(poller.coarse || shortest < Duration::from_micros(900), "{shortest:?}");
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
        assert_eq!(poller.wait(Some(Duration::from_millis(200))).unwrap().count(), 0);
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
        poller.add(&second, u64::MAX, Interest::Read).unwrap();
        second.wake();
        let ready: Vec<_> = poller.wait(None).unwrap().collect();
        assert_eq!(ready, [Ready { token: u64::MAX, readable: true, writable: false, error: false }]);
        poller.remove(&second).unwrap();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    }

    #[test]
    fn interest_can_change() {
        let mut poller = Poller::new().unwrap();
        let waker = Waker::new().unwrap();
        poller.add(&waker, 1, Interest::Errors).unwrap();
        waker.wake();
        assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
        poller.modify(&waker, 2, Interest::ReadWrite).unwrap();
        let ready: Vec<_> = poller.wait(None).unwrap().collect();
        assert_eq!(ready, [Ready { token: 2, readable: true, writable: true, error: false }]);
    }
}
