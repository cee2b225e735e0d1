//! The priority of a thread that carries packets, among the programs whose packets it carries.
//!
//! A network adapter does not wait for a processor; the thread in its place does, and among eight programs that send
//! as much as they can it has its turn one time in nine. While long frames pass, it asks the kernel for more turns. It
//! does not while short ones do: whoever sends many is then interrupted before there are enough to be carried together.
#![expect(unsafe_code, reason = "a scheduling policy that rustix does not know")]

use std::time::Duration;

use ib_wire::time::Instant;
use rustix::process::{getpriority_process, setpriority_process};

/// How much nicer to itself the thread is: nine times the share of a processor of each of the others.
const RAISED: i32 = -10;
/// Time without long frames after which they are over.
const OVER: Duration = Duration::from_millis(2);
/// linux include/uapi/linux/sched.h: children begin with the usual priority.
const SCHED_RESET_ON_FORK: libc::c_int = 0x4000_0000;

/// The priority of the calling thread, which has to be the one that made this.
#[derive(Debug)]
pub struct Priority {
    usual: i32,
    /// When the last long frame passed, while the priority is raised for it.
    raised: Option<Instant>,
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

    /// Long frames have passed just now, or not.
    #[inline]
    pub fn adapt(&mut self, now: Instant, long: bool) {
        match self.raised {
            None if long && self.allowed => {
                self.allowed = setpriority_process(None, self.usual + RAISED).is_ok();
                self.raised = self.allowed.then_some(now);
            }
            Some(_) if long => self.raised = Some(now),
            Some(last) if now.since(last) >= OVER => {
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
            priority.adapt(now, false);
            assert_eq!(current(), usual);
            priority.adapt(now, true);
            // Where it is not allowed nothing happens.
            let raised = current();
            assert!(raised == usual + RAISED || raised == usual && !priority.allowed, "{raised}");
            assert_eq!(of_child(), usual.max(0));
            now += OVER / 2;
            priority.adapt(now, false);
            assert_eq!(current(), raised);
            priority.adapt(now, true);
            now += OVER / 2;
            priority.adapt(now, false);
            assert_eq!(current(), raised);
            now += OVER;
            priority.adapt(now, false);
            assert_eq!(current(), usual);
        })
        .join()
        .unwrap();
    }
}
