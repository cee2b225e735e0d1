//! MADs through open ports.
//!
//! OpenSM ends its receiver by `pthread_cancel`, and a thread is cancelled where it waits. That is `wait` here, and
//! nowhere else: below it there is only rustix, whose system calls are not libc's. So nothing that has to be dropped
//! may live in a function that calls it, and these functions let the unwinding through.

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    os::fd::RawFd,
    slice,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    buffer::{header, set},
    guarded, negative, set_errno,
};
use crate::{
    frame::HEADER,
    ports::{self, Arrival},
    report::trace,
};

/// Sends a MAD of `length` bytes, and returns 0 or -EIO, and `errno` says why.
///
/// An answer is waited for as long as `timeout_ms` says, and as often as `retries` says the request is sent again;
/// then it comes back with an error. `timeout_ms` 0: there will be no answer.
///
/// # Safety
///
/// `umad` is null or a buffer with a MAD of that length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umad_send(
    fd: c_int,
    agentid: c_int,
    umad: *mut c_void,
    length: c_int,
    timeout_ms: c_int,
    retries: c_int,
) -> c_int {
    let got = guarded(Err(Errno::IO), || {
        // SAFETY: the caller vouches for it.
        let header = unsafe { header(umad) }.ok_or(Errno::INVAL)?;
        set(header, 0, agentid.to_ne_bytes());
        set(header, 8, timeout_ms.to_ne_bytes());
        set(header, 12, retries.to_ne_bytes());
        let port = ports::find(fd)?;
        let length = usize::try_from(length).map_err(|_| Errno::INVAL)?;
        // SAFETY: it is not null, and the caller vouches for the length.
        let frame = unsafe { slice::from_raw_parts(umad.cast::<u8>(), HEADER + length) };
        port.send(frame)
    });
    trace(|| {
        format!("umad_send({fd}, agent {agentid}, {length} bytes, {timeout_ms} ms, {retries}) = {got:?}")
    });
    match got {
        Ok(()) => {
            set_errno(0);
            0
        }
        Err(errno) => {
            set_errno(errno.raw_os_error());
            negative(Errno::IO)
        }
    }
}

/// Receives a MAD into room for `length` bytes, tells its own length, and returns the agent it is for.
///
/// Waits for `timeout_ms`, for ever if that is negative. On error, `errno` says the same: -ETIMEDOUT; -EWOULDBLOCK if
/// it was not to wait; -ENOSPC if the MAD is longer, which waits for the next call, and `length` tells how long it
/// is; -EINVAL if there is not even room for its first 256 bytes; -EIO if a signal came or the lab is gone.
///
/// # Safety
///
/// `umad` is null or a buffer with room for a MAD of `length` bytes; `length` is null or points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn umad_recv(
    fd: c_int,
    umad: *mut c_void,
    length: *mut c_int,
    timeout_ms: c_int,
) -> c_int {
    set_errno(0);
    if umad.is_null() || length.is_null() {
        return failed(Errno::INVAL);
    }
    if let Err(errno) = guarded(Err(Errno::IO), || ports::find(fd).map(drop)) {
        return failed(errno);
    }
    let patience = Patience::new(timeout_ms);
    let mut look_first = true;
    loop {
        // What is there already needs no waiting: under load that is the rule.
        if timeout_ms != 0 && !core::mem::take(&mut look_first) {
            match wait(fd, patience.left()) {
                Ok(_) => {}
                Err(Errno::TIMEDOUT) => return failed(Errno::TIMEDOUT),
                Err(errno) => {
                    set_errno(errno.raw_os_error());
                    return negative(Errno::IO);
                }
            }
        }
        // SAFETY: neither is null, and the caller vouches for the rest.
        let got = guarded(Err(Errno::IO), || unsafe { receive(fd, umad, length) });
        trace(|| format!("umad_recv({fd}, {timeout_ms} ms) = {got:?}"));
        match got {
            Ok(Arrival::Mad { agent, .. }) => return agent,
            Ok(Arrival::TooLong { begun: true, .. }) => return failed(Errno::NOSPC),
            Ok(Arrival::TooLong { begun: false, .. }) => return failed(Errno::INVAL),
            Ok(Arrival::Gone) => {
                rest(patience.at_most(WITHOUT_LAB));
                return failed(Errno::IO);
            }
            Ok(Arrival::Nothing | Arrival::Beginning) if timeout_ms == 0 => return failed(Errno::WOULDBLOCK),
            Ok(Arrival::Beginning) if patience.left() == Some(Duration::ZERO) => {
                return failed(Errno::TIMEDOUT);
            }
            Ok(Arrival::Beginning) => rest(patience.at_most(REST_OF_FRAME)),
            // Another thread was faster.
            Ok(Arrival::Nothing) => {}
            Err(errno) => return failed(errno),
        }
    }
}

/// Waits until there is something to receive, for `timeout_ms`, for ever if that is negative.
///
/// Returns 0, -ETIMEDOUT, or -EIO if a signal came. Without a lab there is something: that it is gone.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn umad_poll(fd: c_int, timeout_ms: c_int) -> c_int {
    let patience = Patience::new(timeout_ms);
    let got = wait(fd, patience.left());
    trace(|| format!("umad_poll({fd}, {timeout_ms} ms) = {got:?}"));
    match got {
        Ok(events) => {
            let ended = events & (libc::POLLHUP | libc::POLLERR) != 0;
            if ended && guarded(false, || ports::find(fd).is_ok_and(|port| port.is_gone())) {
                rest(patience.at_most(WITHOUT_LAB));
            }
            0
        }
        Err(Errno::TIMEDOUT) => negative(Errno::TIMEDOUT),
        Err(errno) => {
            set_errno(errno.raw_os_error());
            negative(Errno::IO)
        }
    }
}

/// How long a call lasts at most once the lab is gone: who does not stop asking shall not keep a processor busy.
const WITHOUT_LAB: Duration = Duration::from_secs(1);

/// How long to wait for what belongs to a header and was not there with its beginning.
const REST_OF_FRAME: Duration = Duration::from_millis(1);

/// The time until a call must return; there may be no end.
#[derive(Clone, Copy, Debug)]
struct Patience(Option<Instant>);

impl Patience {
    fn new(timeout_ms: c_int) -> Self {
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        Self(timeout.map(|timeout| Instant::now() + timeout))
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    fn at_most(self, limit: Duration) -> Duration {
        self.left().map_or(limit, |left| left.min(limit))
    }
}

unsafe extern "C-unwind" {
    /// libc's, but declared as what it is: a place where a thread may be cancelled.
    fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int;
}

/// Waits until there is something to read, and gives what `poll` says there is.
fn wait(fd: RawFd, timeout: Option<Duration>) -> Result<i16, Errno> {
    let mut watched = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // Rounded up, so that it does not return shortly before the time.
    let milliseconds = timeout
        .map_or(-1, |timeout| c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX));
    // SAFETY: one descriptor is watched, and nothing is alive here that has to be dropped.
    match unsafe { poll(&raw mut watched, 1, milliseconds) } {
        0 => Err(Errno::TIMEDOUT),
        // SAFETY: libc gives the place of this thread's errno.
        -1 => Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() })),
        _ => Ok(watched.revents),
    }
}

/// Waits in any case. No descriptor is watched, so it ends with the time or with a signal.
fn rest(time: Duration) {
    let _ = wait(-1, Some(time));
}

/// # Safety
///
/// As for [`umad_recv`], and neither is null.
unsafe fn receive(fd: c_int, umad: *mut c_void, length: *mut c_int) -> Result<Arrival, Errno> {
    let port = ports::find(fd)?;
    // SAFETY: the caller vouches for both.
    let length = unsafe { &mut *length };
    let room = usize::try_from(*length).map_err(|_| Errno::INVAL)?;
    // SAFETY: the caller vouches for the room; what is in it may be anything.
    let buffer = unsafe { slice::from_raw_parts_mut(umad.cast::<MaybeUninit<u8>>(), HEADER + room) };
    let arrival = port.receive(buffer);
    if let Arrival::Mad { length: bytes, .. } | Arrival::TooLong { length: bytes, .. } = arrival {
        *length = c_int::try_from(bytes).map_err(|_| Errno::IO)?;
    }
    Ok(arrival)
}

fn failed(errno: Errno) -> c_int {
    set_errno(errno.raw_os_error());
    negative(errno)
}
