//! Bytes into a file or pipe, gathered into large writes.

use std::{
    fs::File,
    io::{self, ErrorKind, Seek, Write},
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use ib_wire::time::Instant;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl},
};

use super::{
    cut, pcapng,
    pcapng::InterfaceStatistics,
    sink::{Counters, Recorded},
};

/// What our moments are in the world's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Nanoseconds from 1970 to [`Instant::ZERO`].
    origin: u64,
}

impl Timeline {
    /// A timeline on which `now` is this moment.
    pub fn starting(now: Instant) -> Self {
        #[expect(clippy::disallowed_methods, reason = "time stamps are of the wall clock")]
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { origin: u64::try_from(unix).unwrap_or(u64::MAX).saturating_sub(now.as_nanos()) }
    }

    /// A timeline whose origin is that many nanoseconds after 1970.
    pub const fn from_origin(nanos: u64) -> Self {
        Self { origin: nanos }
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self, at: Instant) -> u64 {
        self.origin.saturating_add(at.as_nanos())
    }
}

/// A capture file being written.
#[derive(Debug)]
pub(super) struct Writer<W> {
    to: W,
    timeline: Timeline,
    buffer: Vec<u8>,
    packets: u64,
    first: Option<u64>,
    last: u64,
}

impl<W: Write> Writer<W> {
    /// Describes section and interfaces, and writes nothing yet.
    pub(super) fn new(to: W, interfaces: &[String], timeline: Timeline) -> Self {
        let mut buffer = Vec::with_capacity(2 * FULL);
        pcapng::section_header(&mut buffer);
        for name in interfaces {
            pcapng::interface(&mut buffer, name);
        }
        Self { to, timeline, buffer, packets: 0, first: None, last: 0 }
    }

    /// Writes the beginning, so that whoever waits for the file can read it.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Writes a packet, or those it stands for; false if it cannot be told what a link would carry.
    pub(super) fn packet(&mut self, recorded: Recorded) -> io::Result<bool> {
        let Recorded { at, interface, direction, packet } = recorded;
        let time = self.timeline.unix_nanos(at);
        self.first.get_or_insert(time);
        self.last = self.last.max(time);
        let interface = u32::try_from(interface).unwrap_or(u32::MAX);
        let (buffer, packets) = (&mut self.buffer, &mut self.packets);
        let written = cut::for_each(packet, |part| {
            pcapng::packet(buffer, interface, time, direction, part);
            *packets += 1;
        });
        if self.buffer.len() >= FULL {
            self.flush()?;
        }
        Ok(written.is_ok())
    }

    /// Writes what has gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
        self.buffer.clear();
        result
    }

    /// Writes the statistics, which end the file.
    pub(super) fn end(&mut self, interfaces: &[Counters]) -> io::Result<()> {
        for (number, counters) in (0..).zip(interfaces) {
            let counted = InterfaceStatistics {
                received: counters.received.load(Ordering::Relaxed),
                dropped: counters.dropped.load(Ordering::Relaxed),
            };
            pcapng::statistics(&mut self.buffer, number, self.first.unwrap_or(self.last), self.last, counted);
        }
        self.flush()
    }

    /// Packets written so far.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }
}

/// A file that somebody handed us, perhaps one that does not block: a write waits for it all the same.
#[derive(Debug)]
pub struct PatientFile(pub File);

impl PatientFile {
    /// Cuts off what stands in a file from where writing is to begin; nothing of one that is opened to append.
    pub fn clear(&self) -> io::Result<()> {
        if self.0.metadata()?.is_file() && !fcntl_getfl(&self.0)?.contains(OFlags::APPEND) {
            self.0.set_len((&self.0).stream_position()?)?;
        }
        Ok(())
    }
}

impl Write for PatientFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes at which a write is worth it.
const FULL: usize = 256 << 10;
