//! Reference programs: two TAPs, and the least that a program between them can do. No protocol.
//!
//! Standard input and output are the TAPs of the two hosts.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use ipoib::os::tap::MAX_READ;
use rustix::{
    event::epoll,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::merge::Merger;

/// Frames taken from one TAP before the other has its turn.
const BATCH: usize = 64;

/// How a copier is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Design {
    /// A thread for each direction.
    Thr,
    /// One thread with epoll.
    Ep1,
    /// The same, and polls for 20 us after the last frame before it sleeps.
    Spin,
    /// As ep1; small UDP datagrams of a burst leave as one large one.
    Gro,
}

/// Copies until it is killed.
pub(crate) fn run(design: Design) -> io::Result<()> {
    let (a, b) = (io::stdin(), io::stdout());
    let taps = [a.as_fd(), b.as_fd()];
    match design {
        Design::Thr => threads(taps),
        Design::Ep1 => one_thread(taps, Duration::ZERO, false),
        Design::Spin => one_thread(taps, Duration::from_micros(20), false),
        Design::Gro => one_thread(taps, Duration::ZERO, true),
    }
}

/// Lets reading a TAP wait.
pub(crate) fn blocking(tap: BorrowedFd<'_>) -> io::Result<()> {
    Ok(fcntl_setfl(tap, fcntl_getfl(tap)? - OFlags::NONBLOCK)?)
}

fn threads(taps: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    for tap in taps {
        blocking(tap)?;
    }
    std::thread::scope(|scope| {
        for (from, to) in [(taps[0], taps[1]), (taps[1], taps[0])] {
            scope.spawn(move || {
                let mut buffer = vec![0; MAX_READ];
                while let Ok(len) = rustix::io::read(from, &mut buffer) {
                    let _ = rustix::io::write(to, &buffer[..len]);
                }
            });
        }
    });
    Ok(())
}

fn one_thread(taps: [BorrowedFd<'_>; 2], spin: Duration, merge: bool) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (i, tap) in (0..).zip(taps) {
        epoll::add(&epoll, tap, epoll::EventData::new_u64(i), epoll::EventFlags::IN)?;
    }
    let mut buffer = vec![0; MAX_READ];
    let mut merger = merge.then(Merger::new);
    let mut last = Instant::now();
    loop {
        let mut readable = [true; 2];
        if spin.is_zero() || last.elapsed() >= spin {
            let mut events = [MaybeUninit::uninit(); 2];
            let (ready, _) = epoll::wait(&epoll, &mut events, None)?;
            readable = [0, 1].map(|i| ready.iter().any(|event| event.data.u64() == i));
        }
        for (i, (from, to)) in [(taps[0], taps[1]), (taps[1], taps[0])].into_iter().enumerate() {
            for _ in 0..if readable[i] { BATCH } else { 0 } {
                let len = match rustix::io::read(from, &mut buffer) {
                    Ok(len) => len,
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                };
                if !spin.is_zero() {
                    last = Instant::now();
                }
                match &mut merger {
                    Some(merger) => merger.pass(&mut buffer, len, to),
                    None => drop(rustix::io::write(to, &buffer[..len])),
                }
            }
            if let Some(merger) = &mut merger {
                merger.flush(to);
            }
        }
    }
}
