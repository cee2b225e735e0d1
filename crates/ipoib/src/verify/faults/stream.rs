//! A stream that is under way while things go wrong: a file, sent slowly, compared at the end.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use super::super::{bench::Bench, lab::Host, process::Process};

/// Octets a second: 40 Mb/s.
const PACE: usize = 5 << 20;

/// The stream.
#[derive(Debug)]
pub(super) struct Stream {
    sender: Process,
    receiver: Process,
}

impl Stream {
    /// Begins one that takes about so long if nothing goes wrong.
    pub(super) fn start(bench: &Bench<'_>, from: &Host, to: &Host, seconds: usize) -> Result<Self> {
        bench.random("stream.tx", seconds * PACE)?;
        let receiver =
            bench.serve(to, ("tcp", 5000), &["sh", "-c", "exec nuttcp -1 -s --nofork >stream.rx"])?;
        let sender = bench.spawn_reading(from, &["nuttcp", "-t", "-s", "-R40m", &to.v4], "stream.tx")?;
        Ok(Self { sender, receiver })
    }

    /// Sends its receiver a signal. The sender takes a write that a stop cut short for the end of its file.
    pub(super) fn signal(&self, signal: Signal) {
        self.receiver.signal(signal);
    }

    /// Waits for its end, and compares; how many octets it were.
    pub(super) fn finish(self, bench: &Bench<'_>, within: u64) -> Result<u64> {
        let within = bench.limit(Duration::from_secs(within));
        self.sender.finish(within)?.ok()?;
        self.receiver.finish(within)?.ok()?;
        bench.same("stream.tx", "stream.rx")
    }
}
