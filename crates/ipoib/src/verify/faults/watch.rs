//! Pings between two hosts that run while something changes, and of which none may be lost.

use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{Process, eventually},
    },
    links::ACTIVE,
};

/// The pings.
#[derive(Debug)]
pub(super) struct Watch(Process);

impl Watch {
    /// Begins them between client and server, once an answer has come.
    pub(super) fn start(bench: &Bench<'_>) -> Result<Self> {
        Self::between(bench, bench.client()?, bench.server()?)
    }

    /// Begins them, once an answer has come.
    pub(super) fn between(bench: &Bench<'_>, from: &Host, to: &Host) -> Result<Self> {
        bench.reaches(from, &to.v4)?;
        let ping = bench.spawn(from, &["ping", "-n", "-i", "0.01", &to.v4])?;
        ping.wait_for("icmp_seq=20 ", ACTIVE)?;
        Ok(Self(ping))
    }

    /// Ends them; how many were answered. An answer that is missing is an error.
    pub(super) fn end(self, bench: &Bench<'_>) -> Result<usize> {
        // Whatever was asked before this moment is settled once later questions have been answered: the way keeps the
        // order. What ping itself counts as sent may have answers under way, the more the busier the machine is.
        let last = || numbers(&self.0.stdout()).last().copied().unwrap_or(0);
        let now = last();
        eventually("pings go on", bench.limit(ACTIVE), || Ok((last() >= now + SETTLED).then_some(())))?;
        self.0.signal(Signal::INT);
        let said = self.0.finish(bench.limit(Duration::from_secs(10)))?.stdout;
        let answered = numbers(&said);
        let asked = answered.last().copied().unwrap_or(0);
        let lost = asked.saturating_sub(answered.len());
        if lost > 0 {
            bail!("{lost} of {asked} pings between hosts that knew each other were lost");
        }
        Ok(answered.len())
    }
}

/// Answers to wait for at the end: a fifth of a second.
const SETTLED: usize = 20;

/// The questions that were answered, by their numbers, in order and each once.
fn numbers(said: &str) -> Vec<usize> {
    let lines = said.lines().filter(|line| line.contains("time="));
    let number = |line: &str| line.split_once("icmp_seq=")?.1.split_whitespace().next()?.parse().ok();
    let mut numbers: Vec<usize> = lines.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_is_a_loss() {
        let line = |n: usize| format!("64 bytes from 10.77.0.4: icmp_seq={n} ttl=64 time=0.05 ms\n");
        let said: String = [1, 2, 4, 4].into_iter().map(line).collect();
        assert_eq!(numbers(&(said + "From 10.77.0.1 icmp_seq=5 Destination Host Unreachable\n")), [1, 2, 4]);
    }
}
