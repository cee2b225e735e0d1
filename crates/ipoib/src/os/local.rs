//! Unix sockets for programs on this machine: a listener whose connections carry packets, and pairs of streams.

use std::{
    fs, io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with,
        bind, connect, listen, recv, recvmsg, send, sendmsg, shutdown, socket_with, socketpair,
    },
};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
/// Descriptors that go with one packet at most.
pub const MAX_FDS: usize = 4;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket in the file system that takes connections of sequenced packets, and goes when this does. None of its calls
/// waits.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Makes the socket at `path`, for its owner alone.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_for(path, 0o600)
    }

    /// Makes the socket at `path`, for those whom the file mode lets write. It takes the place of one that nobody listens
    /// to any more, and of nothing else.
    pub fn bind_for(path: &Path, mode: u32) -> io::Result<Self> {
        clear(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next connection, if one waits.
    pub fn accept(&self) -> io::Result<Option<Packets>> {
        Ok(unless_it_waits(accept_with(&self.socket, FLAGS))?.map(Packets))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the socket of somebody who was killed.
fn clear(path: &Path) -> io::Result<()> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match Packets::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else listens there")),
    }
}

/// A connection of sequenced packets.
#[derive(Debug)]
pub struct Packets(OwnedFd);

impl Drop for Packets {
    /// Ends the connection, whoever has a copy of the descriptor: a child between fork and exec has one.
    fn drop(&mut self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl Packets {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// The next packet, and the descriptors that came with it: its length in `space`, 0 at the end of the connection.
    /// None if there is none now.
    pub fn receive_with(&self, space: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Option<usize>> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = unless_it_waits(recvmsg(&self.0, &mut [IoSliceMut::new(space)], &mut control, flags))?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        Ok(received.map(|received| received.bytes))
    }

    /// True if the far side has closed the connection and nothing it said is left.
    pub fn is_over(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.0, &mut [0u8; 1][..], flags) {
            Ok((_, len)) => len == 0,
            Err(error) => error != Errno::AGAIN && error != Errno::INTR,
        }
    }

    /// The next packet: its length in `space`, 0 at the end of the connection. None if there is none now.
    pub fn receive(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(unless_it_waits(recv(&self.0, space, RecvFlags::empty()))?.map(|(len, _)| len))
    }

    /// Sends a packet, and up to [`MAX_FDS`] descriptors with it; an error if there is no room.
    pub fn send(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&self.0, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One end of a stream.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl Stream {
    /// Both ends of a new stream: one of ours, which never waits, and one for a program, which may.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((Self(ours), theirs))
    }

    /// What has come: its length in `space`, 0 at the end of the stream. None if nothing has.
    pub fn read(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(unless_it_waits(rustix::io::read(&self.0, space))?)
    }

    /// How much of `bytes` has gone, 0 if there is no room.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(unless_it_waits(send(&self.0, bytes, SendFlags::NOSIGNAL))?.unwrap_or(0))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn unless_it_waits<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn packets_keep_their_borders_and_carry_descriptors() {
        let path = std::env::temp_dir().join(format!("ipoib-local-{}", std::process::id()));
        let listener = Listener::bind(&path).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let client = Packets::connect(&path).unwrap();
        let server = listener.accept().unwrap().expect("a connection");
        let mut space = [0; 16];
        assert_eq!(server.receive(&mut space).unwrap(), None);
        client.send(b"one", &[]).unwrap();
        client.send(b"three", &[client.as_fd(), server.as_fd()]).unwrap();
        assert_eq!(server.receive(&mut space).unwrap(), Some(3));
        let mut fds = Vec::new();
        assert_eq!(server.receive_with(&mut space, &mut fds).unwrap(), Some(5));
        assert_eq!(fds.len(), 2);
        assert!(!server.is_over());
        drop(client);
        assert!(server.is_over(), "though a copy is open");
        drop(fds);
        assert_eq!(server.receive(&mut space).unwrap(), Some(0));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_listener_takes_the_place_of_the_dead_alone() {
        let path = std::env::temp_dir().join(format!("ipoib-place-{}", std::process::id()));
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        fs::remove_file(&path).unwrap();
        let living = Listener::bind(&path).unwrap();
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(living);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Listener::bind(&path).unwrap();
    }

    #[test]
    fn a_stream_takes_what_fits_and_waits_at_the_program_s_end_only() {
        let (ours, theirs) = Stream::pair().unwrap();
        let mut space = [0; 16];
        assert_eq!(ours.read(&mut space).unwrap(), None);
        let full = vec![7; 16 << 20];
        let went = ours.write(&full).unwrap();
        assert!((1..full.len()).contains(&went));
        assert_eq!(ours.write(&full).unwrap(), 0);
        let mut theirs = fs::File::from(theirs);
        theirs.read_exact(&mut vec![0; went]).unwrap();
        theirs.write_all(b"mad").unwrap();
        assert_eq!(ours.read(&mut space).unwrap(), Some(3));
        drop(theirs);
        assert_eq!(ours.read(&mut space).unwrap(), Some(0));
    }
}
