//! UDP sockets that carry many datagrams a call: the kernel cuts what it is given whole, and hands over whole what it
//! merged (UDP_SEGMENT, UDP_GRO), where it can; elsewhere one call still takes several.
#![expect(unsafe_code, reason = "sendmmsg and recvmmsg with control messages are called directly")]

use std::{
    io, mem,
    net::{self, SocketAddr},
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
    sync::Arc,
};

/// Messages a call takes.
const BATCH: usize = 16;
/// Room for what one message can be: a datagram, or those that the kernel merged.
pub const MAX_MESSAGE: usize = 65535;
/// Bytes of datagrams that one message may stand for: what an IPv4 packet holds.
pub const MAX_SEND: usize = 65507;
/// Datagrams that one message may stand for; older kernels take no more.
pub const MAX_SEGMENTS: usize = 64;
/// Bytes that the kernel is asked to queue in either direction, for a burst that comes while the thread does
/// something else.
const QUEUE: libc::c_int = 8 << 20;

/// A socket with one peer; never waits.
#[derive(Debug)]
pub struct UdpSocket {
    socket: net::UdpSocket,
    /// The kernel cuts.
    segments: bool,
}

/// Why there is no socket, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Somebody has that port.
    #[error("{0}: in use by another program or link: choose another port")]
    InUse(SocketAddr),
    /// Not an address of this machine.
    #[error("{0}: not an address of this machine: `ip address` lists them")]
    NotHere(SocketAddr),
    /// A port that ordinary users may not have.
    #[error("{0}: permission denied: ports below 1024 need root")]
    Forbidden(SocketAddr),
    /// No route to the peer.
    #[error("{0}: no route from here: see `ip route get`")]
    NoRoute(SocketAddr),
    /// Something else.
    #[error("{0}: no UDP socket")]
    Other(SocketAddr, #[source] io::Error),
}

/// Datagrams to be sent, one behind the other in a buffer: all but the last are `segment` bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where in the buffer.
    pub range: Range<usize>,
    /// Length of a datagram.
    pub segment: usize,
}

impl Message {
    /// Datagrams in it.
    pub fn count(&self) -> usize {
        self.range.len().div_ceil(self.segment.max(1))
    }

    /// The same datagrams, a message each.
    fn apart(&self) -> impl Iterator<Item = Self> + use<> {
        let Self { range, segment } = self.clone();
        range.clone().step_by(segment.max(1)).map(move |start| {
            let end = range.end.min(start + segment);
            Self { range: start..end, segment }
        })
    }
}

/// What became of messages, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Taken by the kernel.
    pub sent: usize,
    /// Its queue was full.
    pub full: usize,
    /// There was no way to the peer.
    pub unreachable: usize,
    /// Larger than the way to the peer takes.
    pub too_large: usize,
    /// Nobody listened there for something sent before.
    pub refused: usize,
}

/// A message that came: so many bytes, in datagrams of `segment` bytes but for the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub len: usize,
    /// Length of a datagram.
    pub segment: usize,
}

impl UdpSocket {
    /// A socket at `local` that talks to `peer` alone.
    pub fn open(local: SocketAddr, peer: SocketAddr) -> Result<Self, UdpError> {
        let socket = net::UdpSocket::bind(local).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => UdpError::InUse(local),
            io::ErrorKind::AddrNotAvailable => UdpError::NotHere(local),
            io::ErrorKind::PermissionDenied => UdpError::Forbidden(local),
            _ => UdpError::Other(local, error),
        })?;
        socket.connect(peer).map_err(|error| match error.kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => UdpError::NoRoute(peer),
            _ => UdpError::Other(peer, error),
        })?;
        socket.set_nonblocking(true).map_err(|error| UdpError::Other(local, error))?;
        for (forced, asked) in
            [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            // Who may not have so much gets what the machine allows everybody.
            if set(&socket, libc::SOL_SOCKET, forced, QUEUE).is_err() {
                let _ = set(&socket, libc::SOL_SOCKET, asked, QUEUE);
            }
        }
        // A kernel without it hands over every datagram for itself.
        let _ = set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
        Ok(Self { socket, segments: true })
    }

    /// Sends the messages in `buffer`. What the kernel does not take is lost, and counted.
    pub fn send(&mut self, buffer: &[u8], messages: &[Message]) -> Sent {
        let mut report = Sent::default();
        let uncut =
            if self.segments { self.send_until_uncut(buffer, messages, &mut report) } else { messages };
        if !uncut.is_empty() {
            let apart: Vec<Message> = uncut.iter().flat_map(Message::apart).collect();
            self.send_until_uncut(buffer, &apart, &mut report);
        }
        report
    }

    /// Sends messages until there are none, or one that the kernel is to cut and does not; returns it and those after it.
    fn send_until_uncut<'a>(
        &mut self,
        buffer: &[u8],
        messages: &'a [Message],
        report: &mut Sent,
    ) -> &'a [Message] {
        let mut rest = messages;
        while let Some(first) = rest.first() {
            let lost = first.count();
            match self.send_some(buffer, rest).map_err(|error| (error.raw_os_error(), error)) {
                Ok(n) => {
                    report.sent += rest[..n].iter().map(Message::count).sum::<usize>();
                    rest = &rest[n..];
                    continue;
                }
                Err((Some(libc::EINTR), _)) => continue,
                // Told of an earlier datagram; this one was not sent yet.
                Err((Some(libc::ECONNREFUSED), _)) => {
                    report.refused += 1;
                    continue;
                }
                Err((Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM), _)) => {
                    report.full += rest.iter().map(Message::count).sum::<usize>();
                    return &[];
                }
                // The device cannot, or the datagrams do not fit its packets: IP is to cut them.
                Err((Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE), _)) if lost > 1 => {
                    self.segments = false;
                    return rest;
                }
                Err((Some(libc::EMSGSIZE), _)) => report.too_large += lost,
                Err((_, error)) => {
                    tracing::debug!(%error, "sending UDP");
                    report.unreachable += lost;
                }
            }
            rest = &rest[1..];
        }
        rest
    }

    fn send_some(&self, buffer: &[u8], messages: &[Message]) -> io::Result<usize> {
        let mut batch = Batch::new();
        let count = messages.len().min(BATCH);
        for (i, message) in messages[..count].iter().enumerate() {
            let bytes = &buffer[message.range.clone()];
            // The kernel only reads through it.
            batch.vectors[i] =
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            if message.count() > 1 {
                batch.controls[i].set_segment(message.segment);
                batch.headers[i].msg_hdr.msg_controllen = size_of::<Control>();
            }
        }
        batch.point();
        let count = u32::try_from(count).unwrap_or(0);
        // SAFETY: `point` has made every one of the first `count` headers name an iovec and, where it has a length, a
        // control buffer of `batch`, which outlives the call; the iovecs are parts of `buffer`, which is only read.
        let n = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), batch.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT)
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }

    /// Datagrams that came while the queue was full.
    pub fn overruns(&self) -> u32 {
        // linux include/uapi/linux/sock_diag.h: SK_MEMINFO_DROPS of SK_MEMINFO_VARS.
        let mut info = [0u32; 9];
        let mut len = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or(0);
        // SAFETY: the option fills at most `len` bytes at the pointer, which are all of `info`.
        let done = unsafe {
            let to = info.as_mut_ptr().cast();
            libc::getsockopt(self.socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, to, &raw mut len)
        };
        if done == 0 { info[8] } else { 0 }
    }

    /// Takes messages into `buffers`, from `offset` on, one each and at most 16; `received` tells of those that were
    /// filled, none if nothing has come.
    ///
    /// # Panics
    /// If a buffer is shared or ends less than [`MAX_MESSAGE`] bytes behind `offset`.
    pub fn receive(
        &self,
        buffers: &mut [Arc<[u8]>],
        offset: usize,
        received: &mut Vec<Received>,
    ) -> io::Result<()> {
        received.clear();
        let mut batch = Batch::new();
        let count = buffers.len().min(BATCH);
        for (i, buffer) in buffers[..count].iter_mut().enumerate() {
            let bytes = Arc::get_mut(buffer).expect("nobody else holds a spare buffer");
            let room = &mut bytes[offset..offset + MAX_MESSAGE];
            batch.vectors[i] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            batch.headers[i].msg_hdr.msg_controllen = size_of::<Control>();
        }
        batch.point();
        let count_u32 = u32::try_from(count).unwrap_or(0);
        // SAFETY: `point` has made every one of the first `count` headers name an iovec and a control buffer of `batch`,
        // which outlives the call; the iovecs are parts of `buffers`, borrowed mutably and held by nobody else.
        let n = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                count_u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        };
        for (header, control) in batch.headers[..n].iter().zip(&batch.controls) {
            let len = usize::try_from(header.msg_len).unwrap_or(0);
            let merged = control.segment(header.msg_hdr.msg_controllen);
            received.push(Received { len, segment: merged.unwrap_or(len) });
        }
        Ok(())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for one control message, aligned as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control {
    len: usize,
    level: libc::c_int,
    kind: libc::c_int,
    data: [u8; 8],
}

// What libc's CMSG macros would come to for an int.
const _: () = assert!(mem::offset_of!(Control, data) == size_of::<libc::cmsghdr>());
const _: () = assert!(size_of::<Control>().is_multiple_of(size_of::<usize>()));

impl Control {
    const EMPTY: Self = Self { len: 0, level: 0, kind: 0, data: [0; 8] };

    fn set_segment(&mut self, segment: usize) {
        let segment = u16::try_from(segment).unwrap_or(u16::MAX);
        (self.len, self.level, self.kind) =
            (mem::offset_of!(Self, data) + 2, libc::SOL_UDP, libc::UDP_SEGMENT);
        self.data[..2].copy_from_slice(&segment.to_ne_bytes());
    }

    /// The length of the datagrams that the kernel merged, if it says so in `filled` bytes.
    fn segment(&self, filled: usize) -> Option<usize> {
        let is_it = filled >= mem::offset_of!(Self, data) + 4
            && (self.level, self.kind) == (libc::SOL_UDP, libc::UDP_GRO);
        let [a, b, c, d, ..] = self.data;
        let segment = usize::try_from(i32::from_ne_bytes([a, b, c, d])).ok()?;
        (is_it && segment > 0).then_some(segment)
    }
}

/// What the calls for many messages are given.
struct Batch {
    headers: [libc::mmsghdr; BATCH],
    vectors: [libc::iovec; BATCH],
    controls: [Control; BATCH],
}

impl Batch {
    fn new() -> Self {
        // SAFETY: all zeroes are a valid header: null pointers with lengths of 0.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { headers: [header; BATCH], vectors: [vector; BATCH], controls: [Control::EMPTY; BATCH] }
    }

    /// Makes every header name its iovec and its control buffer, if it is to have one. Not to be moved from here on.
    fn point(&mut self) {
        for i in 0..BATCH {
            let header = &mut self.headers[i].msg_hdr;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            if header.msg_controllen > 0 {
                header.msg_control = (&raw mut self.controls[i]).cast();
            }
        }
    }
}

fn set(socket: &net::UdpSocket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = u32::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the option takes an int, which `value` is, for as long as the call lasts.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
