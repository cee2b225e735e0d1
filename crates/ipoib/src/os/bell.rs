//! A bell for each of two processes that need not trust each other.
//!
//! An eventfd would do, were it not for its flags, which belong to both who hold it: whoever takes non-blocking away
//! makes the other wait for ever. Of a socket each call says for itself that it does not wait.
//!
//! To hear a bell costs nothing but the waiting: a poller tells of each ring once ([`Interest::New`]), so what lies in the
//! socket need not be taken out for it to be heard again, only before the socket is full.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair, sockopt},
};

#[cfg(doc)]
use super::poller::Interest;

/// Room that is kept for each time a bell is heard, in bytes as the kernel counts them for a socket. A ring takes some 800,
/// and a far end that keeps to the rules rings a few times at most until it is heard.
const ROOM: usize = 6 << 10;

/// One end: what is rung here is heard at the other. Clones are the same end.
#[derive(Clone, Debug)]
pub struct Bell(Arc<End>);

#[derive(Debug)]
struct End {
    socket: OwnedFd,
    heard: AtomicU32,
    /// What lies in it is taken out every so many times it is heard, before it is full.
    every: u32,
}

impl Bell {
    /// Both ends.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((a.into(), b.into()))
    }

    /// Makes the far end readable. Ringing a bell that nobody has listened to for long is ringing it before.
    pub fn ring(&self) {
        let _ = send(&self.0.socket, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// A poller has told that the far end rang, or `hung_up`; false if the far end has gone.
    pub fn hear(&self, hung_up: bool) -> bool {
        let is_time = self.0.heard.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.0.every);
        !hung_up && (!is_time || self.drain())
    }

    /// Takes out what lies in our end; false if the far end has gone. A far end that rings without a pause is heard
    /// again, after everybody else.
    pub fn drain(&self) -> bool {
        match recv(&self.0.socket, &mut [0u8; 4096][..], RecvFlags::DONTWAIT) {
            Ok((_, len)) => len > 0,
            Err(error) => error == Errno::AGAIN || error == Errno::INTR,
        }
    }
}

impl From<OwnedFd> for Bell {
    fn from(socket: OwnedFd) -> Self {
        // Both ends are made alike, with the size that this machine gives to all.
        let room = sockopt::socket_send_buffer_size(&socket).unwrap_or(0);
        let every = u32::try_from(room / ROOM).unwrap_or(u32::MAX).max(1);
        Self(Arc::new(End { socket, heard: AtomicU32::new(0), every }))
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::time::Instant;

    use super::*;
    use crate::os::poller::{Interest, Poller};

    #[test]
    fn whatever_the_far_end_does_nobody_waits() {
        let (ours, theirs) = Bell::pair().unwrap();
        rustix::io::ioctl_fionbio(&theirs, false).unwrap();
        rustix::io::ioctl_fionbio(&ours, false).unwrap();
        assert!(ours.drain(), "nothing rang");
        (0..10_000).for_each(|_| ours.ring());
        assert!(theirs.drain());
        ours.ring();
        assert_eq!(recv(&theirs, &mut [0u8; 8][..], RecvFlags::DONTWAIT).unwrap().1, 1);
        // More than it takes in one go.
        let flood = [1; 9000];
        assert_eq!(send(&theirs, &flood, SendFlags::DONTWAIT).unwrap(), flood.len());
        (0..3).for_each(|_| assert!(ours.drain()));
        drop(theirs);
        assert!(!ours.drain());
        ours.ring();
    }

    #[test]
    fn each_ring_is_told_once_and_no_number_of_them_is_too_many() {
        let (ours, theirs) = Bell::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&theirs, 1, Interest::New).unwrap();
        let mut rings = |count: usize| {
            (0..count).for_each(|_| ours.ring());
            let told: Vec<_> = poller.wait(Some(Instant::ZERO)).unwrap().collect();
            told.iter().all(|ready| theirs.hear(ready.error)).then_some(told.len())
        };
        for _ in 0..1000 {
            assert_eq!([rings(1), rings(0), rings(3), rings(0)], [1, 0, 1, 0].map(Some));
        }
        // One that does not keep to the rules is not heard until it is listened to, and then again.
        rings(10_000);
        (0..100).for_each(|_| assert!(theirs.hear(false)));
        assert_eq!([rings(1), rings(0)], [1, 0].map(Some));
    }

    #[test]
    fn a_far_end_that_goes_is_noticed_at_once() {
        let (ours, theirs) = Bell::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&theirs, 1, Interest::New).unwrap();
        ours.ring();
        assert!(poller.wait(Some(Instant::ZERO)).unwrap().all(|ready| theirs.hear(ready.error)));
        drop(ours);
        let told: Vec<_> = poller.wait(Some(Instant::ZERO)).unwrap().collect();
        assert!(told.iter().any(|ready| !theirs.hear(ready.error)), "{told:?}");
    }

    #[test]
    fn a_bell_with_little_room_is_emptied_in_time() {
        let (ours, theirs) = Bell::pair().unwrap();
        for end in [&ours, &theirs] {
            sockopt::set_socket_send_buffer_size(end, 1).unwrap();
        }
        let [ours, theirs] = [ours, theirs].map(|end| Bell::from(end.as_fd().try_clone_to_owned().unwrap()));
        let mut poller = Poller::new().unwrap();
        poller.add(&theirs, 1, Interest::New).unwrap();
        for n in 0..1000 {
            ours.ring();
            let told: Vec<_> = poller.wait(Some(Instant::ZERO)).unwrap().collect();
            assert_eq!(told.len(), 1, "ring {n} is lost");
            assert!(theirs.hear(told[0].error));
        }
    }
}
