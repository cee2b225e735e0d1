//! The driver's side: the port, while there is one.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use ib_lab::PortRequest;
use ib_wire::payload::{Payload, Pool};

use super::{
    hello::{Greeting, Hello, MAX_MESSAGE, ToDriver, ToFabric, Token, emit, read},
    record::{self, ENCAPSULATION, FromFabric, LONGEST, SENT_AT},
};
use crate::{
    control::schema::Shown,
    face::LONG,
    os::{
        bell::Bell,
        local::Packets,
        ring::{Rings, Side},
    },
};

/// Why there is no port, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The fabric ended, or cannot be reached.
    #[error("the fabric is gone")]
    Gone,
    /// The fabric does not want us, now or ever.
    #[error("{why}")]
    Refused {
        /// A sentence for people.
        why: String,
        /// It may be another time.
        again: bool,
    },
    /// What it says makes no sense.
    #[error("the fabric makes no sense: {0}")]
    Broken(String),
}

/// A connection to a fabric that has not answered yet.
#[derive(Debug)]
pub(crate) struct Asking {
    packets: Packets,
}

impl Asking {
    /// Connects, and says hello.
    pub(crate) fn start(socket: &Path, hello: &Hello) -> io::Result<Self> {
        let packets = Packets::connect(socket)?;
        packets.send(&emit(hello), &[])?;
        Ok(Self { packets })
    }

    /// The port, once the fabric has answered.
    pub(crate) fn poll(self) -> Result<Result<(Port, Granted), Self>, Lost> {
        let (mut space, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let len = match self.packets.receive_with(&mut space, &mut fds) {
            Ok(None) => return Ok(Err(self)),
            Ok(Some(0)) | Err(_) => return Err(Lost::Gone),
            Ok(Some(len)) => len,
        };
        match read(&space[..len]).map_err(Lost::Broken)? {
            Greeting::Refused { why, again } => Err(Lost::Refused { why, again }),
            Greeting::Welcome { token, qpns } => {
                let port = Port::new(self.packets, fds).map_err(|error| Lost::Broken(error.to_string()))?;
                Ok(Ok((port, Granted { token, qpns })))
            }
        }
    }
}

impl AsFd for Asking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

/// What came with a port.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// To be shown the next time.
    pub(crate) token: Token,
    /// The queue pairs.
    pub(crate) qpns: Vec<u32>,
}

/// A port of a fabric that runs elsewhere.
#[derive(Debug)]
pub(crate) struct Port {
    packets: Packets,
    rings: Rings,
    bell: Bell,
    /// The ring to the fabric was full, and is not drained yet.
    full: bool,
}

impl Port {
    fn new(packets: Packets, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let short =
            |_| io::Error::new(io::ErrorKind::InvalidData, "two descriptors should come with a welcome");
        let [memory, bell] = <[OwnedFd; 2]>::try_from(fds).map_err(short)?;
        let bell = Bell::from(bell);
        let rings = Rings::map(memory.as_fd(), Side::Guest, &bell)?;
        Ok(Self { packets, rings, bell, full: false })
    }

    /// The connection: readable when the fabric has something to say beside the rings.
    pub(crate) const fn connection(&self) -> &Packets {
        &self.packets
    }

    /// The bell: readable when the rings have something, or room.
    pub(crate) const fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The next thing that the fabric says in its ring, there or in a buffer of the pool's.
    pub(crate) fn read(&mut self, pool: &mut Pool) -> Result<Option<FromFabric>, Lost> {
        let broken = |error: &dyn std::error::Error| Lost::Broken(error.to_string());
        loop {
            if let Some(loan) = self.rings.reader.lend(LONG, LONGEST).map_err(|error| broken(&error))? {
                let record = record::from_fabric(&Payload::from_lent(Arc::new(loan)));
                return record.map(Some).map_err(|error| broken(&error));
            }
            let mut buffer = pool.take();
            let Some(space) = Arc::get_mut(&mut buffer) else { return Ok(None) };
            if let Some(len) = self.rings.reader.read(space).map_err(|error| broken(&error))? {
                let whole = Payload::from_buffer(buffer, 0, len);
                let record = record::from_fabric(&whole);
                // A datagram has it as long as it lives.
                pool.recycle(whole);
                return record.map(Some).map_err(|error| broken(&error));
            }
            pool.give(buffer);
            if self.rings.reader.sleeps() {
                return Ok(None);
            }
        }
    }

    /// Room in the ring for the next frame of a host, of `len` bytes at most: if it is sent at once, it need not be
    /// copied there. Its first `before` bytes are what a datagram carries its IPoIB header instead of. None if there is
    /// no room.
    pub(crate) fn space(&mut self, before: usize, len: usize) -> Result<Option<Payload>, Lost> {
        let skipped = SENT_AT + ENCAPSULATION - before;
        let loan = self.rings.writer.reserve(skipped + len);
        let loan = loan.map_err(|error| Lost::Broken(error.to_string()))?;
        Ok(loan.map(|loan| {
            let mut space = Payload::from_lent(Arc::new(loan));
            space.trim_front(skipped);
            space
        }))
    }

    /// Forgets what was read and is no longer used, so that the fabric has room.
    pub(crate) fn let_go(&mut self) {
        self.rings.reader.let_go();
    }

    /// Says what interface `nth` wants. False if there is no room: the bell rings when there is.
    pub(crate) fn write(&mut self, nth: usize, request: &PortRequest) -> Result<bool, Lost> {
        let pieces = record::of_request(nth, request);
        let broken = |error: crate::os::ring::Broken| Lost::Broken(error.to_string());
        loop {
            if self.rings.writer.write(&pieces.slices()).map_err(broken)? {
                return Ok(true);
            }
            if self.rings.writer.waits_for_room(LONGEST).map_err(broken)? {
                return Ok(false);
            }
        }
    }

    /// True if whatever may come next has room. Once it has not, it has when the ring is drained, and the bell rings then.
    pub(crate) fn has_room(&mut self) -> Result<bool, Lost> {
        let writer = &mut self.rings.writer;
        let waits = if self.full { writer.waits_until_drained() } else { writer.waits_for_room(LONGEST) };
        self.full = waits.map_err(|error| Lost::Broken(error.to_string()))?;
        Ok(!self.full)
    }

    /// What the fabric says beside the rings.
    pub(crate) fn listen(&self) -> Result<Option<ToDriver>, Lost> {
        let mut space = vec![0; MAX_MESSAGE];
        match self.packets.receive(&mut space) {
            Ok(None) => Ok(None),
            Ok(Some(0)) | Err(_) => Err(Lost::Gone),
            Ok(Some(len)) => read(&space[..len]).map(Some).map_err(Lost::Broken),
        }
    }

    /// Says how many interfaces carry traffic.
    pub(crate) fn tell_up(&self, interfaces: usize) {
        // A fabric that has gone is noticed by reading.
        let _ = self.packets.send(&emit(&ToFabric::Up { interfaces }), &[]);
    }

    /// Answers a question.
    pub(crate) fn answer(&self, id: u64, shown: &Shown) -> io::Result<()> {
        let memory = rustix::fs::memfd_create("ipoib answer", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(&serde_json::to_vec(shown)?)?;
        self.packets.send(&emit(&ToFabric::Shown { id }), &[file.as_fd()])
    }
}
