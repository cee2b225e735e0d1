//! A bell: any thread rings it, the thread that polls it wakes.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd. Clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Waker {
    fd: Arc<OwnedFd>,
}

impl Waker {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Makes the descriptor readable. Ringing twice before anybody listens is ringing once.
    pub fn wake(&self) {
        // The only failure is a counter that is full, and then the bell is ringing already.
        let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
    }

    /// Silences the bell; true if it had been rung.
    pub fn drain(&self) -> bool {
        rustix::io::read(&*self.fd, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_once_however_often_it_was_rung() {
        let waker = Waker::new().unwrap();
        assert!(!waker.drain());
        let other = waker.clone();
        std::thread::spawn(move || {
            other.wake();
            other.wake();
        })
        .join()
        .unwrap();
        assert!(waker.drain());
        assert!(!waker.drain());
    }
}
