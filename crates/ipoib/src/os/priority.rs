//! The priority of a thread that carries packets, among the programs whose packets it carries.
//!
//! A network adapter does not wait for a processor; the thread in its place does. While long frames pass, it asks the
//! kernel for more turns: for a few if it sleeps between them, since whoever wakes has its turn anyway, and for many if it
//! always has something to do, where among eight programs that send as much as they can it would have its turn one time
//! in nine. It does not while short frames pass: whoever sends many is then interrupted before there are enough to be
//! carried together.
//!
//! Where a frame goes from process to process, none of them asks for many: a process that another wakes would only
//! interrupt it.
#![expect(unsafe_code, reason = "a scheduling policy that rustix does not know")]

use std::time::Duration;

use ib_wire::time::Instant;
use rustix::process::{getpriority_process, setpriority_process};

/// Time without long frames after which they are over.
const OVER: Duration = Duration::from_millis(2);
/// How often it is looked how the thread fares.
const LOOK: Duration = Duration::from_millis(10);
/// A thread that runs for longer than this before it sleeps, on average, always has something to do. With one stream it is
/// some 60 us, with one each way 400, with four 900.
const STRETCH: Duration = Duration::from_micros(150);
/// A few turns more: twice the share of a processor of each of the others.
const FEW: i32 = -3;
/// Many: thirty-five times.
const MANY: i32 = -16;
/// linux include/uapi/linux/sched.h: children begin with the usual priority.
const SCHED_RESET_ON_FORK: libc::c_int = 0x4000_0000;

/// Who carries long frames from host to host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// This thread and those of other processes, one after the other.
    Several,
    /// This thread.
    Alone,
}

/// The priority of the calling thread, which has to be the one that made this.
#[derive(Debug)]
pub struct Priority {
    usual: i32,
    /// How much nicer to itself the thread is than others, while long frames pass.
    by: i32,
    /// Set while they do.
    raised: Option<Raised>,
    /// The kernel lets us.
    allowed: bool,
}

/// A priority that is raised.
#[derive(Clone, Copy, Debug)]
struct Raised {
    /// When the last long frame passed.
    last: Instant,
    /// When it was looked last how the thread fares, and how it did.
    looked: (Instant, Fared),
}

impl Priority {
    /// That of the calling thread as it is; it is not raised if that is not allowed (`CAP_SYS_NICE`, `RLIMIT_NICE`).
    pub fn of_this_thread() -> Self {
        let usual = getpriority_process(None).unwrap_or(0);
        // SAFETY: the call reads a `sched_param`, which has nothing but a priority, and 0 is the calling thread.
        let reset = unsafe {
            let none: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_OTHER | SCHED_RESET_ON_FORK, &raw const none)
        };
        Self { usual, by: FEW, raised: None, allowed: reset == 0 }
    }

    /// Long frames have passed just now, or none.
    #[inline]
    pub fn adapt(&mut self, now: Instant, long: Option<Carrier>) {
        match (&mut self.raised, long) {
            (None, Some(_)) if self.allowed => {
                self.allowed = setpriority_process(None, self.usual + self.by).is_ok();
                if self.allowed {
                    self.raised = Some(Raised { last: now, looked: (now, Fared::by_now()) });
                }
            }
            (Some(raised), Some(carrier)) => {
                raised.last = now;
                if now.since(raised.looked.0) >= LOOK {
                    self.look(now, carrier);
                }
            }
            (Some(raised), None) if now.since(raised.last) >= OVER => {
                // To lower it is always allowed.
                let _ = setpriority_process(None, self.usual);
                self.raised = None;
            }
            _ => {}
        }
    }

    /// Asks for as much as the thread needs: one that sleeps has its turn when it wakes.
    #[cold]
    fn look(&mut self, now: Instant, carrier: Carrier) {
        let Some(raised) = &mut self.raised else { return };
        let fared = Fared::by_now();
        let busy = fared.is_busy_since(raised.looked.1);
        raised.looked = (now, fared);
        let by = if busy && carrier == Carrier::Alone { MANY } else { FEW };
        if by != self.by && setpriority_process(None, self.usual + by).is_ok() {
            self.by = by;
        }
    }
}

/// What the calling thread did since it began.
#[derive(Clone, Copy, Debug)]
struct Fared {
    ran: Duration,
    /// Times.
    slept: u64,
}

impl Fared {
    fn by_now() -> Self {
        // SAFETY: the call writes the structure, of which all bits zero is a value.
        let used = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut used);
            used
        };
        let ran = [used.ru_utime, used.ru_stime].map(|time| {
            let micros = Duration::from_micros(time.tv_usec.cast_unsigned());
            Duration::from_secs(time.tv_sec.cast_unsigned()) + micros
        });
        Self { ran: ran[0] + ran[1], slept: used.ru_nvcsw.cast_unsigned() }
    }

    fn is_busy_since(self, before: Self) -> bool {
        let slept = u32::try_from(self.slept - before.slept).unwrap_or(u32::MAX);
        self.ran.saturating_sub(before.ran) >= STRETCH * slept.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> i32 {
        getpriority_process(None).unwrap()
    }

    /// What the kernel says of the thread, and of a child of it.
    fn of_child() -> i32 {
        let nice = std::process::Command::new("nice").output().unwrap();
        String::from_utf8(nice.stdout).unwrap().trim().parse().unwrap()
    }

    /// Runs in a thread of its own, with its priority and the usual one; a moment of its own, too.
    fn in_a_thread(test: impl FnOnce(Priority, i32, Instant) + Send + 'static) {
        let thread =
            std::thread::spawn(|| test(Priority::of_this_thread(), current(), Instant::from_secs(1)));
        thread.join().unwrap();
    }

    /// Where it is not allowed nothing happens.
    #[track_caller]
    fn assert_raised(priority: &Priority, usual: i32, by: i32) {
        let raised = current();
        assert!(raised == usual + by || raised == usual && !priority.allowed, "{raised}");
    }

    #[test]
    fn it_is_higher_while_long_frames_pass_and_children_do_not_have_it() {
        in_a_thread(|mut priority, usual, mut now| {
            priority.adapt(now, None);
            assert_eq!(current(), usual);
            priority.adapt(now, Some(Carrier::Alone));
            assert_raised(&priority, usual, FEW);
            assert_eq!(of_child(), usual.max(0));
            for long in [None, Some(Carrier::Several), None] {
                now += OVER / 2;
                priority.adapt(now, long);
                assert_raised(&priority, usual, FEW);
            }
            now += OVER;
            priority.adapt(now, None);
            assert_eq!(current(), usual);
        });
    }

    #[test]
    fn a_thread_that_always_has_something_to_do_has_many_turns_if_it_is_alone() {
        in_a_thread(|mut priority, usual, mut now| {
            let mut look = |carrier, by| {
                now += LOOK;
                priority.adapt(now, Some(carrier));
                assert_raised(&priority, usual, by);
            };
            let run = || {
                let (began, enough) = (Fared::by_now(), Duration::from_millis(5));
                while Fared::by_now().ran < began.ran + enough {}
            };
            look(Carrier::Alone, FEW);
            run();
            look(Carrier::Alone, MANY);
            run();
            look(Carrier::Several, FEW);
            run();
            look(Carrier::Alone, MANY);
            (0..50).for_each(|_| std::thread::sleep(Duration::from_micros(20)));
            look(Carrier::Alone, FEW);
            // Nothing to do, and no sleep either.
            look(Carrier::Alone, FEW);
        });
    }

    #[test]
    fn when_long_frames_pass_again_it_begins_where_it_was() {
        in_a_thread(|mut priority, usual, mut now| {
            priority.by = MANY;
            for long in [Some(Carrier::Alone), None, Some(Carrier::Alone)] {
                priority.adapt(now, long);
                let raised = long.map_or(0, |_| MANY);
                assert_raised(&priority, usual, raised);
                now += OVER;
            }
        });
    }
}
