//! A lab host as the system sees it: a network, a mount and a UTS namespace.
//!
//! The namespaces have no name and no process of their own: they live as long as the descriptors here, or a
//! process inside them, so that a killed lab leaves nothing behind.
//!
//! What a host has to itself: its interfaces, routes and sockets (network, abstract Unix sockets); its host name;
//! the files it was given, such as `/etc/hosts`; `/sys`, so that `/sys/class/net` is its own, with the classes of
//! devices it was given; `/run`, an empty
//! tmpfs, so that name services of the machine (nscd, resolved) do not answer for it. In `/run` stay `/run/user`
//! and the lab's own directory. All else, processes included, is the machine's.
#![expect(unsafe_code, reason = "unshare and code between fork and exec")]

mod ground;
mod join;
mod mounts;
mod setup;

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    panic,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::{
    io::Errno,
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
};

pub use self::{ground::Ground, join::JoinedSpace, setup::Skipped};
use super::{limits, signals};

/// What a host is to be.
#[derive(Clone, Debug, Default)]
pub struct HostSpec {
    /// The name it calls itself.
    pub hostname: String,
    /// Files it sees in place of the machine's: (where, what). Rewrite the latter in place, never by renaming.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The lab's directory, which stays visible if it lies in `/run`.
    pub run_dir: Option<PathBuf>,
    /// The mounts it begins with; the machine's if there is none.
    pub ground: Option<Ground>,
    /// What it sees in `/sys/class` that the machine may not have.
    pub classes: Option<Classes>,
}

/// Classes of devices that a host is to have.
#[derive(Clone, Debug)]
pub struct Classes {
    /// A directory with an empty directory for each of `dirs`.
    pub skeleton: PathBuf,
    /// Directories to show: name in `/sys/class`, and where it is.
    pub dirs: Vec<(String, PathBuf)>,
}

/// Why a host could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// The right is missing.
    #[error("no right to make network namespaces: run as root or allow user namespaces")]
    Forbidden,
    /// A limit of the system is reached.
    #[error("the system allows no more {0}: raise it with sysctl")]
    Limit(&'static str),
    /// A step failed for another reason.
    #[error("host {host}: cannot {step}")]
    Failed {
        /// The host.
        host: String,
        /// The step.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl SpaceError {
    fn failed(host: &str, step: &'static str, error: impl Into<io::Error>) -> Self {
        Self::Failed { host: host.to_owned(), step, source: error.into() }
    }
}

/// How long a command lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as it likes.
    Own,
    /// It is killed when the thread that started it ends, so start it from one that lives as long as the lab.
    Parent,
}

/// The namespaces of one host.
#[derive(Debug)]
pub(super) struct Namespaces {
    net: OwnedFd,
    mnt: OwnedFd,
    uts: OwnedFd,
}

/// The namespaces of one lab host, kept alive by this value. Clones stand for the same host.
#[derive(Clone, Debug)]
pub struct HostSpace {
    name: Arc<str>,
    namespaces: Arc<Namespaces>,
    skipped: Arc<[Skipped]>,
}

impl HostSpace {
    /// Makes a host: loopback up, nothing else on its network. Hosts may be made from several threads at once.
    pub fn create(spec: &HostSpec) -> Result<Self, SpaceError> {
        Self::create_with(spec, || ()).map(|(space, ())| space)
    }

    /// Makes a host and runs `inside` in it, in the thread that made it: the cheapest place to make interfaces.
    pub fn create_with<T: Send>(
        spec: &HostSpec,
        inside: impl FnOnce() -> T + Send,
    ) -> Result<(Self, T), SpaceError> {
        let made = in_fresh_thread(|| setup::create(spec).map(|made| (made, inside())));
        let ((namespaces, skipped), result) = made?;
        let name = spec.hostname.as_str().into();
        Ok((Self { name, namespaces: Arc::new(namespaces), skipped: skipped.into() }, result))
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What this machine did not let the host have.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The descriptors, to be given to a process that is to join the host ([`JoinedSpace`]).
    pub fn fds(&self) -> SpaceFds<'_> {
        let Namespaces { net, mnt, uts } = &*self.namespaces;
        SpaceFds { net: net.as_fd(), mnt: mnt.as_fd(), uts: uts.as_fd() }
    }

    /// Runs `inside` in the host, in a thread made for it. Descriptors opened there stay in the host's network.
    pub fn enter_with<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, SpaceError> {
        in_fresh_thread(|| {
            self.namespaces.enter().map_err(|error| SpaceError::failed(&self.name, "enter it", error))?;
            Ok(inside())
        })
    }

    /// A command that will run in the host, with the current directory it would have outside if the host has it.
    pub fn command(&self, program: impl AsRef<OsStr>, lifetime: Lifetime) -> Command {
        let mut command = Command::new(program);
        let namespaces = Arc::clone(&self.namespaces);
        let parent = getpid();
        let between = move || {
            limits::restore_open_files();
            signals::unblock()?;
            namespaces.enter()?;
            if lifetime == Lifetime::Parent {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                // It may have died before the signal was asked for.
                if getppid() != Some(parent) {
                    return Err(Errno::SRCH.into());
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls on memory it owns; it neither allocates nor locks.
        unsafe { command.pre_exec(between) };
        command
    }
}

/// The descriptors of a host's namespaces.
#[derive(Clone, Copy, Debug)]
pub struct SpaceFds<'a> {
    /// Network.
    pub net: BorrowedFd<'a>,
    /// Mounts.
    pub mnt: BorrowedFd<'a>,
    /// Host name.
    pub uts: BorrowedFd<'a>,
}

/// Drops many values in many threads at once: hosts with their interfaces.
///
/// Closing a TAP waits some 30 ms for the kernel, idly; 250 one after the other take 8 s, so 0.6 s.
pub fn drop_together<T: Send>(values: Vec<T>) {
    const THREADS: usize = 32;
    let threads = values.len().min(THREADS);
    let values = Mutex::new(values);
    let work = || {
        while let Some(value) = { values.lock().unwrap_or_else(PoisonError::into_inner).pop() } {
            drop(value);
        }
    };
    thread::scope(|scope| {
        // This thread is one of them, should no other start.
        for _ in 1..threads {
            let _ = thread::Builder::new().name("drop".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
}

/// Namespaces belong to threads: a thread that has entered some is not to be used for anything else.
fn in_fresh_thread<T: Send>(work: impl FnOnce() -> Result<T, SpaceError> + Send) -> Result<T, SpaceError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("host".to_owned()).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| SpaceError::failed("-", "start a thread", error))?;
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}
