//! A bell for each of two processes that need not trust each other.
//!
//! An eventfd would do, were it not for its flags, which belong to both who hold it: whoever takes non-blocking away
//! makes the other wait for ever. Of a socket each call says for itself that it does not wait.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};

/// One end: what is rung here is heard at the other. Clones are the same end.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// Both ends.
    pub fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((a.into(), b.into()))
    }

    /// Makes the far end readable. Ringing a bell that nobody has listened to for long is ringing it before.
    pub fn ring(&self) {
        let _ = send(&*self.0, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Silences our end; false if the far end has gone. A far end that rings without a pause is heard again, after
    /// everybody else.
    pub fn drain(&self) -> bool {
        match recv(&*self.0, &mut [0u8; 4096][..], RecvFlags::DONTWAIT) {
            Ok((_, len)) => len > 0,
            Err(error) => error == Errno::AGAIN || error == Errno::INTR,
        }
    }
}

impl From<OwnedFd> for Bell {
    fn from(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_far_end_does_nobody_waits() {
        let (ours, theirs) = Bell::pair().unwrap();
        rustix::io::ioctl_fionbio(&theirs, false).unwrap();
        rustix::io::ioctl_fionbio(&ours, false).unwrap();
        assert!(ours.drain(), "nothing rang");
        (0..10_000).for_each(|_| ours.ring());
        assert!(theirs.drain());
        ours.ring();
        assert_eq!(recv(&*theirs.0, &mut [0u8; 8][..], RecvFlags::DONTWAIT).unwrap().1, 1);
        // More than it takes in one go.
        let flood = [1; 9000];
        assert_eq!(send(&*theirs.0, &flood, SendFlags::DONTWAIT).unwrap(), flood.len());
        (0..3).for_each(|_| assert!(ours.drain()));
        drop(theirs);
        assert!(!ours.drain());
        ours.ring();
    }
}
