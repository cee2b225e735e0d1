//! The priority of a thread that carries packets, among the programs whose packets it carries.
//!
//! A network adapter does not wait for a processor; the thread in its place does, and among eight programs that send
//! as much as they can it has its turn one time in nine. While long frames pass, it asks the kernel for more turns. It
//! does not while short ones do: whoever sends many is then interrupted before there are enough to be carried together.
//!
//! Where a frame goes from process to process, each of them has its turns, and needs fewer: a process that another wakes
//! would only interrupt it.
#![expect(unsafe_code, reason = "a scheduling policy that rustix does not know")]

use std::time::Duration;

use ib_wire::time::Instant;
use rustix::process::{getpriority_process, setpriority_process};

/// Time without long frames after which they are over.
const OVER: Duration = Duration::from_millis(2);
/// linux include/uapi/linux/sched.h: children begin with the usual priority.
const SCHED_RESET_ON_FORK: libc::c_int = 0x4000_0000;

/// Who carries long frames from host to host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// This thread and those of other processes, one after the other.
    Several,
    /// This thread.
    Alone,
}

impl Carrier {
    /// How much nicer to itself the thread is than others.
    const fn raise(self) -> i32 {
        match self {
            // Twice the share of a processor of each of the others.
            Self::Several => -3,
            // Nine times.
            Self::Alone => -10,
        }
    }
}

/// The priority of the calling thread, which has to be the one that made this.
#[derive(Debug)]
pub struct Priority {
    usual: i32,
    /// For whom the priority is raised, and when the last long frame passed.
    raised: Option<(Carrier, Instant)>,
    /// The kernel lets us.
    allowed: bool,
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
        Self { usual, raised: None, allowed: reset == 0 }
    }

    /// Long frames have passed just now, or none.
    #[inline]
    pub fn adapt(&mut self, now: Instant, long: Option<Carrier>) {
        match (self.raised, long) {
            (Some((raised, _)), Some(long)) if long <= raised => self.raised = Some((raised, now)),
            (_, Some(long)) if self.allowed => {
                self.allowed = setpriority_process(None, self.usual + long.raise()).is_ok();
                if self.allowed {
                    self.raised = Some((long, now));
                }
            }
            (Some((_, last)), None) if now.since(last) >= OVER => {
                // To lower it is always allowed.
                let _ = setpriority_process(None, self.usual);
                self.raised = None;
            }
            _ => {}
        }
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

    #[test]
    fn it_is_higher_while_long_frames_pass_and_children_do_not_have_it() {
        std::thread::spawn(|| {
            let (mut priority, mut now, usual) =
                (Priority::of_this_thread(), Instant::from_secs(1), current());
            priority.adapt(now, None);
            assert_eq!(current(), usual);
            for long in [Carrier::Several, Carrier::Alone] {
                priority.adapt(now, Some(long));
                // Where it is not allowed nothing happens.
                let raised = current();
                assert!(raised == usual + long.raise() || raised == usual && !priority.allowed, "{raised}");
                assert_eq!(of_child(), usual.max(0));
                now += OVER / 2;
                priority.adapt(now, None);
                assert_eq!(current(), raised);
                priority.adapt(now, Some(Carrier::Several));
                now += OVER / 2;
                priority.adapt(now, None);
                assert_eq!(current(), raised);
            }
            now += OVER;
            priority.adapt(now, None);
            assert_eq!(current(), usual);
        })
        .join()
        .unwrap();
    }
}
