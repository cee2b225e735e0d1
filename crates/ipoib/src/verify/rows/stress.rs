//! T15: as much as the hosts can send, and more than the machine can carry.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::{bench::Bench, lab::Host, process::Process};

const PORT: u16 = 5001;

/// T15: small and large datagrams from everybody to one.
pub(in super::super) fn floods(bench: &mut Bench<'_>) -> Result<String> {
    let lab = bench.lab()?;
    let (hosts, server) = (&lab.hosts, bench.server()?);
    let senders: &[Host] = &hosts[..hosts.len() - 1];
    let seconds = bench.choose("1", "10");
    // The first flood fills pools and tables, the second must not need more.
    let mut floods = Vec::new();
    for round in 0..2 {
        let mut got = Vec::new();
        for length in ["64", "65507"] {
            got.push(
                flood(bench, senders, server, length, seconds).with_context(|| format!("{length} octets"))?,
            );
        }
        floods.push((lab.memory()?, got));
        if round == 0 {
            bench.comes_back(&senders[0], &server.v4, bench.limit(Duration::from_secs(5)))?;
        }
    }
    let [(first, _), (second, got)] = &floods[..] else { bail!("two rounds were asked for") };
    let grown = second.saturating_sub(*first);
    if grown > (first / 20).max(SLACK) {
        bail!("the lab's memory grew from {} to {} KiB", first >> 10, second >> 10);
    }
    bench.comes_back(&senders[0], &server.v4, bench.limit(Duration::from_secs(5)))?;
    let dropped = lab.total("tx_pending_full")? + lab.total("host_refused")?;
    Ok(format!(
        "{} senders: {} Mb/s of 64 B, {} Mb/s of 65507 B arrive; {} MiB, {} KiB more; {dropped} drops by the lab",
        senders.len(),
        got[0],
        got[1],
        second >> 20,
        grown >> 10
    ))
}

/// What an allocator may do of its own.
const SLACK: u64 = 512 << 10;

/// Everybody sends as fast as it can; megabits a second that arrived.
pub(in super::super) fn flood(
    bench: &Bench<'_>,
    senders: &[Host],
    server: &Host,
    length: &str,
    seconds: &str,
) -> Result<f64> {
    let _listener = bench.serve(server, ("udp", PORT), &["iperf", "-s", "-u", "-l", length, "-w", "1M"])?;
    let arrived = || -> Result<f64> {
        let file = format!("/sys/class/net/{}/statistics/rx_bytes", server.interface);
        Ok(bench.sh(server, &format!("cat {file}"))?.trim().parse()?)
    };
    let before = arrived()?;
    let words = ["iperf", "-c", &server.v4, "-u", "-b", "10G", "-l", length, "-t", seconds];
    let begin = Instant::now();
    let running: Vec<Process> =
        senders.iter().map(|host| bench.spawn(host, &words)).collect::<Result<_>>()?;
    for process in running {
        // The server's report may be among what drowns; what counts is what came.
        process.finish(bench.limit(Duration::from_secs(90)))?;
    }
    let rate = (arrived()? - before) * 8.0 / 1e6 / begin.elapsed().as_secs_f64();
    bench.lab()?.client()?.info().context("the lab does not answer")?;
    if rate < 1.0 {
        bail!("{rate:.1} Mb/s arrived");
    }
    Ok(rate.round())
}
