//! Signals as readable events instead of interruptions.
#![expect(unsafe_code, reason = "signal sets and signalfd are libc's")]

use std::{
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr,
};

use rustix::{
    io::Errno,
    process::{getpid, getppid, set_parent_process_death_signal},
};

/// What the main loop is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Asked to end.
    Terminate,
    /// The terminal went away.
    HangUp,
    /// A child ended or stopped; several may share one signal, so reap until none is left.
    Child,
}

const TAKEN: [(libc::c_int, Signal); 4] = [
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGHUP, Signal::HangUp),
    (libc::SIGCHLD, Signal::Child),
];

/// A descriptor that delivers the signals of [`Signal`].
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks the signals in this thread and those it will start, so call it in `main` before any other exists.
    ///
    /// The signals stay blocked after the value is gone: nobody wants the default action in the last moments.
    pub fn block() -> io::Result<Self> {
        let set = taken();
        mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: `set` is initialised; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call just returned this descriptor, and nobody else knows it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal, `None` if there is none now.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(_) => Ok(decode(&info)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives the child that `command` starts the signals back, which it would inherit blocked.
///
/// [`HostSpace::command`](super::space::HostSpace::command) does this by itself.
pub fn restore_in_child(command: &mut Command) -> &mut Command {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(unblock) }
}

/// Sends the child that `command` starts SIGTERM when the thread that started it ends, however that comes.
pub fn end_with_parent(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let between = move || {
        set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // It may have died before the signal was asked for.
        if getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls on memory it owns; it neither allocates nor locks.
    unsafe { command.pre_exec(between) }
}

/// Unblocks the signals between fork and exec: system calls only.
pub(super) fn unblock() -> io::Result<()> {
    mask(libc::SIG_UNBLOCK, &taken())
}

fn decode(info: &[u8]) -> Option<Signal> {
    let number = u32::from_ne_bytes(info.first_chunk().copied()?);
    TAKEN.iter().find(|(n, _)| n.unsigned_abs() == number).map(|&(_, signal)| signal)
}

fn taken() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given, and the numbers added are valid.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for (number, _) in TAKEN {
            libc::sigaddset(set.as_mut_ptr(), number);
        }
        set.assume_init()
    }
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialised, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, set, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(number: libc::c_int) {
        // SAFETY: sends a signal, which this thread blocks, to this thread alone.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), number) }, 0);
    }

    #[test]
    fn signals_are_read_one_by_one() {
        std::thread::spawn(|| {
            let signals = Signals::block().unwrap();
            assert_eq!(signals.read().unwrap(), None);
            raise(libc::SIGTERM);
            assert_eq!(signals.read().unwrap(), Some(Signal::Terminate));
            raise(libc::SIGCHLD);
            assert_eq!(signals.read().unwrap(), Some(Signal::Child));
            assert_eq!(signals.read().unwrap(), None);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn children_get_their_signals_back() {
        std::thread::spawn(|| {
            let _signals = Signals::block().unwrap();
            let mut grep = Command::new("grep");
            grep.args(["-q", "^SigBlk:.*0000000000000000", "/proc/self/status"]);
            let status = restore_in_child(&mut grep).status().unwrap();
            assert!(status.success());
        })
        .join()
        .unwrap();
    }
}
