//! The way from the data thread to a file: a bounded queue and a thread that writes.
//!
//! Traffic never waits for a capture. What the writer cannot keep up with is dropped and counted, and the
//! numbers stand at the end of the file.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use ib_wire::{packet::Packet, time::Instant};
use tokio::sync::watch;

use super::{
    pcapng::Direction,
    writer::{Timeline, Writer},
};

/// A running capture, as the thread that sees the packets holds it. Dropping it ends the capture.
#[derive(Debug)]
pub struct CaptureSink {
    queue: SyncSender<Job>,
    shared: Arc<Shared>,
    most_bytes: usize,
    summary: watch::Receiver<Option<CaptureSummary>>,
    finished: Receiver<()>,
}

/// How much may wait for the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Packets, large sends counted as one.
    pub packets: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

impl Default for Bound {
    fn default() -> Self {
        Self { packets: 16_384, bytes: 64 << 20 }
    }
}

impl CaptureSink {
    /// Starts a thread that writes to `to`. Interfaces are known by their position in `interfaces`, names of link
    /// ends such as `sw1:3`.
    pub fn new(
        to: impl Write + Send + 'static,
        interfaces: &[String],
        timeline: Timeline,
        bound: Bound,
    ) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(bound.packets.max(1));
        let (result, summary) = watch::channel(None);
        let (alive, finished) = sync_channel::<()>(0);
        let shared = Arc::new(Shared::new(interfaces.len()));
        let work = Work { jobs, shared: Arc::clone(&shared), result, _alive: alive };
        let writer = Writer::new(to, interfaces, timeline);
        thread::Builder::new().name("capture".into()).spawn(move || work.run(writer))?;
        Ok(Self { queue, shared, most_bytes: bound.bytes, summary, finished })
    }

    /// Hands over a packet that passed `interface` at `at`; never waits. False if the capture has ended, and the
    /// sink may go.
    pub fn offer(&self, at: Instant, interface: usize, direction: Direction, packet: Packet) -> bool {
        let Some(counters) = self.shared.interfaces.get(interface) else {
            return !self.has_ended();
        };
        if self.has_ended() {
            return false;
        }
        let count = u64::from(packet.measure().packets);
        counters.received.fetch_add(count, Ordering::Relaxed);
        let bytes = packet.payload.len();
        if self.shared.waiting.load(Ordering::Relaxed) + bytes > self.most_bytes {
            counters.dropped.fetch_add(count, Ordering::Relaxed);
            return true;
        }
        self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        // Buffers of the data path are large and few: a short packet moves into its own.
        let packet = Packet { payload: packet.payload.clone().compact(), ..packet };
        match self.queue.try_send(Job::Packet(Recorded { at, interface, direction, packet })) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
                counters.dropped.fetch_add(count, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// True once nothing more is wanted: the capture was stopped, or writing failed.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// The capture as other threads see it.
    pub fn status(&self) -> CaptureStatus {
        CaptureStatus {
            shared: Arc::clone(&self.shared),
            wake: self.queue.clone(),
            summary: self.summary.clone(),
        }
    }

    /// Ends the capture and waits until all that was accepted is written, for at most `patience`. `None` if it was
    /// not; the thread goes on by itself.
    pub fn finish(self, patience: Duration) -> Option<CaptureSummary> {
        self.status().stop();
        // The writer's end only goes away, nothing is ever sent.
        let _ = self.finished.recv_timeout(patience);
        self.summary.borrow().clone()
    }
}

impl Drop for CaptureSink {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let _ = self.queue.try_send(Job::End);
    }
}

/// A running capture, from any thread.
#[derive(Clone, Debug)]
pub struct CaptureStatus {
    shared: Arc<Shared>,
    wake: SyncSender<Job>,
    summary: watch::Receiver<Option<CaptureSummary>>,
}

impl CaptureStatus {
    /// Ends the capture: what waits is still written, then the statistics.
    pub fn stop(&self) {
        self.shared.ended.store(true, Ordering::Release);
        // If the queue is full the writer is awake, and sees the mark.
        let _ = self.wake.try_send(Job::End);
    }

    /// Waits for the end, whoever brings it about.
    pub async fn ended(&self) -> CaptureSummary {
        let mut summary = self.summary.clone();
        match summary.wait_for(Option::is_some).await {
            Ok(summary) => summary.clone().unwrap_or_default(),
            // The writer is gone without a word.
            Err(_) => CaptureSummary { error: Some("the writer failed".into()), ..CaptureSummary::default() },
        }
    }
}

/// What became of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Packets in the file.
    pub packets: u64,
    /// Packets that came too fast.
    pub dropped: u64,
    /// Why it ended early, if it did.
    pub error: Option<String>,
}

/// A packet on its way into the file.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) at: Instant,
    pub(super) interface: usize,
    pub(super) direction: Direction,
    pub(super) packet: Packet,
}

#[derive(Debug)]
enum Job {
    Packet(Recorded),
    /// Look at the mark.
    End,
}

#[derive(Debug)]
struct Shared {
    ended: AtomicBool,
    /// Bytes in the queue.
    waiting: AtomicUsize,
    interfaces: Vec<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Shared {
    fn new(interfaces: usize) -> Self {
        let interfaces = (0..interfaces).map(|_| Counters::default()).collect();
        Self { ended: AtomicBool::new(false), waiting: AtomicUsize::new(0), interfaces }
    }
}

/// What the writing thread has.
struct Work {
    jobs: Receiver<Job>,
    shared: Arc<Shared>,
    result: watch::Sender<Option<CaptureSummary>>,
    /// Gone when the thread is.
    _alive: SyncSender<()>,
}

impl Work {
    fn run<W: Write>(self, mut writer: Writer<W>) {
        let outcome = writer.begin().and_then(|()| self.copy(&mut writer));
        // Nothing is taken any more, so the numbers are final.
        self.shared.ended.store(true, Ordering::Release);
        let outcome = outcome.and_then(|()| writer.end(&self.shared.interfaces));
        let dropped = |c: &Counters| c.dropped.load(Ordering::Relaxed);
        let summary = CaptureSummary {
            packets: writer.packets(),
            dropped: self.shared.interfaces.iter().map(dropped).sum(),
            error: outcome.err().map(|error| error.to_string()),
        };
        let _ = self.result.send(Some(summary));
    }

    /// Writes until the end is asked for, then what waits.
    fn copy<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        loop {
            match self.jobs.recv_timeout(QUIET) {
                Ok(Job::Packet(recorded)) => self.write(writer, recorded)?,
                Ok(Job::End) | Err(RecvTimeoutError::Timeout) => writer.flush()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.shared.ended.load(Ordering::Acquire) {
                while let Ok(job) = self.jobs.try_recv() {
                    if let Job::Packet(recorded) = job {
                        self.write(writer, recorded)?;
                    }
                }
                return Ok(());
            }
        }
    }

    fn write<W: Write>(&self, writer: &mut Writer<W>, recorded: Recorded) -> io::Result<()> {
        let (bytes, interface) = (recorded.packet.payload.len(), recorded.interface);
        let packets = u64::from(recorded.packet.measure().packets);
        let written = writer.packet(recorded);
        self.shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        if !written? {
            self.shared.interfaces[interface].dropped.fetch_add(packets, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// After so long without a packet, what is buffered goes out: somebody may be watching.
const QUIET: Duration = Duration::from_millis(50);
