//! The open ports of this program, and MADs through them.
//!
//! Nothing is read ahead: what the program has not taken stays in the stream, so that `poll` on it tells the truth.

use std::{
    collections::BTreeMap,
    io::IoSlice,
    mem::{self, MaybeUninit},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, retry_on_intr},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg},
};

use crate::{
    client::{ClientError, Connection},
    frame::{self, HEADER, Header, MAX_MAD, PREFIX},
    protocol::{MAX_AGENTS, Registration},
    report::say,
};

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    ends: Arc<Ends>,
    asking: Mutex<()>,
    sending: Mutex<()>,
    receiving: Mutex<()>,
    /// Bit `n` for agent `n`.
    agents: AtomicU32,
    gone: AtomicBool,
}

#[derive(Debug)]
struct Ends {
    /// Its number is the port's, as the program knows it.
    stream: Arc<OwnedFd>,
    connection: Connection,
}

/// What there was to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing.
    Nothing,
    /// The beginning of a frame; the rest is on its way.
    Beginning,
    /// A MAD is in the buffer.
    Mad {
        agent: i32,
        /// Its bytes, without the header.
        length: usize,
    },
    /// A MAD waits for a larger buffer.
    TooLong {
        /// Its bytes, without the header.
        length: usize,
        /// Header and first segment are in the buffer.
        begun: bool,
    },
    /// Nothing, and nothing will come.
    Gone,
}

/// Bytes of a MAD as it travels; what is longer is a message of many.
const SEGMENT: usize = 256;

/// Shortest MAD that can be sent: the common header and that of RMPP.
const SHORTEST: usize = 36;

/// The open ports, by descriptor.
static TABLE: Mutex<Table> = Mutex::new(Table::new());

pub(crate) type Table = BTreeMap<RawFd, Arc<Port>>;

/// The open ports. Nothing that takes time may happen as long as it is held.
pub(crate) fn table() -> MutexGuard<'static, Table> {
    locked(&TABLE)
}

/// The open port of a descriptor.
pub(crate) fn find(fd: RawFd) -> Result<Arc<Port>, Errno> {
    table().get(&fd).cloned().ok_or(Errno::BADF)
}

/// Adds a port that was opened, and gives its descriptor.
pub(crate) fn add(connection: Connection, stream: OwnedFd) -> RawFd {
    let fd = stream.as_raw_fd();
    let ends = Arc::new(Ends { stream: Arc::new(stream), connection });
    let stale = table().insert(fd, Arc::new(Port::new(ends, 0, false)));
    if let Some(stale) = stale {
        // The program closed that one's descriptor itself; the number is the new port's.
        mem::forget(Arc::clone(&stale.ends.stream));
    }
    fd
}

/// After `fork`, in the child: whoever had a lock of a port is in the parent.
pub(crate) fn renew(table: &mut Table) {
    for port in table.values_mut() {
        let agents = port.agents.load(Ordering::Relaxed);
        let gone = port.gone.load(Ordering::Relaxed);
        *port = Arc::new(Port::new(Arc::clone(&port.ends), agents, gone));
    }
}

impl Port {
    fn new(ends: Arc<Ends>, agents: u32, gone: bool) -> Self {
        Self {
            ends,
            asking: Mutex::new(()),
            sending: Mutex::new(()),
            receiving: Mutex::new(()),
            agents: AtomicU32::new(agents),
            gone: AtomicBool::new(gone),
        }
    }

    /// Registers an agent, and gives its number.
    pub(crate) fn register(&self, registration: Registration) -> Result<u32, ClientError> {
        let _turn = locked(&self.asking);
        let agent = self.ends.connection.register(registration)?;
        if agent >= MAX_AGENTS {
            return Err(ClientError::Unreadable);
        }
        self.agents.fetch_or(1 << agent, Ordering::Relaxed);
        Ok(agent)
    }

    /// Removes an agent.
    pub(crate) fn unregister(&self, agent: u32) -> Result<(), ClientError> {
        let _turn = locked(&self.asking);
        self.ends.connection.unregister(agent)?;
        if agent < MAX_AGENTS {
            self.agents.fetch_and(!(1 << agent), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends header and MAD, as they are in the program's buffer.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        let Some((header, mad)) = frame.split_first_chunk() else { return Err(Errno::INVAL) };
        let agent = Header::parse(header).agent;
        if agent >= MAX_AGENTS || self.agents.load(Ordering::Relaxed) & 1 << agent == 0 {
            return Err(Errno::INVAL);
        }
        if !(SHORTEST..=MAX_MAD).contains(&mad.len()) {
            return Err(Errno::INVAL);
        }
        let prefix = u32::try_from(frame.len()).map_err(|_| Errno::INVAL)?.to_ne_bytes();
        let mut parts = [IoSlice::new(&prefix), IoSlice::new(frame)];
        let mut parts = &mut parts[..];
        let _turn = locked(&self.sending);
        while !parts.is_empty() {
            let mut nothing = SendAncillaryBuffer::default();
            match sendmsg(&self.ends.stream, parts, &mut nothing, SendFlags::NOSIGNAL) {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT),
                Err(Errno::BADF | Errno::NOTSOCK) => return Err(Errno::BADF),
                Err(_) => {
                    self.lose();
                    return Err(Errno::IO);
                }
            }
        }
        Ok(())
    }

    /// Receives a MAD if there is one, into room for header and MAD.
    pub(crate) fn receive(&self, buffer: &mut [MaybeUninit<u8>]) -> Arrival {
        let _turn = locked(&self.receiving);
        let mut space = [MaybeUninit::uninit(); PREFIX + HEADER + SEGMENT];
        let ahead = match recv(&self.ends.stream, &mut space, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return self.lose(),
            Ok(((bytes, _), _)) => &*bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Arrival::Nothing,
            Err(_) => return self.lose(),
        };
        let Some((prefix, begin)) = ahead.split_first_chunk() else { return Arrival::Beginning };
        let Ok(whole) = frame::length(prefix) else { return self.lose() };
        let Some(header) = begin.first_chunk() else { return Arrival::Beginning };
        let length = whole - HEADER;
        let agent = Header::parse(header).agent.cast_signed();

        let Some(room) = buffer.get_mut(..whole) else {
            // As the kernel does: of a message of many MADs, the first is shown.
            let begun = length > SEGMENT && buffer.len() >= HEADER + SEGMENT;
            if begun {
                fill(buffer, begin);
                tell_length(buffer, whole);
            }
            return Arrival::TooLong { length, begun };
        };
        let taken = match space.get_mut(..PREFIX + whole) {
            // One MAD: all of it in one go.
            Some(frame) => {
                let taken = self.take(frame);
                room.copy_from_slice(&frame[PREFIX..]);
                taken
            }
            None => self.take(&mut space[..PREFIX]) && self.take(room),
        };
        if !taken {
            return self.lose();
        }
        tell_length(room, whole);
        Arrival::Mad { agent, length }
    }

    /// Whether nothing will come any more, and there is nothing left.
    pub(crate) fn is_gone(&self) -> bool {
        let mut byte = [0];
        match recv(&self.ends.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.lose() == Arrival::Gone,
            _ => false,
        }
    }

    /// Takes bytes off the stream, which are there or about to come; false if it ended before.
    fn take(&self, mut room: &mut [MaybeUninit<u8>]) -> bool {
        while !room.is_empty() {
            match recv(&self.ends.stream, &mut *room, RecvFlags::WAITALL) {
                Ok((_, 0)) => return false,
                Ok((_, taken)) => room = &mut room[taken..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN),
                Err(_) => return false,
            }
        }
        true
    }

    /// Waits, should the program have made its descriptor one that does not block.
    fn wait(&self, for_what: PollFlags) {
        // Whatever comes of it is seen by the next call on the stream.
        let _ = retry_on_intr(|| poll(&mut [PollFd::new(&self.ends.stream, for_what)], None));
    }

    fn lose(&self) -> Arrival {
        if !self.gone.swap(true, Ordering::Relaxed) {
            say(format_args!("{}: this port is closed; start the program again in a lab", ClientError::Gone));
        }
        Arrival::Gone
    }
}

/// The kernel says how long header and MAD are.
fn tell_length(buffer: &mut [MaybeUninit<u8>], length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    fill(&mut buffer[16..20], &length.to_ne_bytes());
}

fn fill(room: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    for (to, from) in room.iter_mut().zip(bytes) {
        to.write(*from);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
