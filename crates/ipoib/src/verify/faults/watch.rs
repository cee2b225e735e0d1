//! Pings between client and server that run while something changes, and of which none may be lost.

use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::{
    super::{bench::Bench, process::Process, rows::number_after},
    links::ACTIVE,
};

/// The pings.
#[derive(Debug)]
pub(super) struct Watch(Process);

impl Watch {
    /// Begins them, once an answer has come.
    pub(super) fn start(bench: &Bench<'_>) -> Result<Self> {
        let (client, server) = (bench.client()?, bench.server()?);
        bench.reaches(client, &server.v4)?;
        let ping = bench.spawn(client, &["ping", "-n", "-i", "0.01", "-W", "2", &server.v4])?;
        ping.wait_for("icmp_seq=20 ", ACTIVE)?;
        Ok(Self(ping))
    }

    /// Ends them; how many were asked. An answer that is missing is an error.
    pub(super) fn end(self, bench: &Bench<'_>) -> Result<usize> {
        self.0.signal(Signal::INT);
        let said = self.0.finish(bench.limit(Duration::from_secs(10)))?.said();
        let sent = number_after(&said, "ping statistics ---\n")?;
        let answered = number_after(&said, "transmitted,")?;
        // The last may be under way.
        if answered + 1.0 < sent {
            bail!("{} of {sent} pings between hosts that knew each other were lost", sent - answered);
        }
        Ok(said.lines().filter(|line| line.contains("time=")).count())
    }
}
