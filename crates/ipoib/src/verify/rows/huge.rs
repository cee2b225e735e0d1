//! T16: messages as large as they may be.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{super::bench::Bench, megabits, number_after};

const PORT: u16 = 11111;

/// T16: datagrams of 65507 octets that are compared, and writes of a MiB.
pub(in super::super) fn messages(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let seconds = bench.choose("1", "5");
    let responder = bench.serve(server, ("udp", PORT), &["sockperf", "sr", "-i", &server.v4])?;
    let words = [
        "sockperf",
        "pp",
        "-i",
        &server.v4,
        "-m",
        "65507",
        "--data-integrity",
        "-t",
        seconds,
        "--mps",
        "200",
    ];
    let said = bench.ok(client, &words, 40)?;
    let count = number_after(&said, "ReceivedMessages=")?;
    if count < 20.0 || said.to_lowercase().contains("data integrity test failed") {
        bail!("{count} datagrams came back as they were sent: {}", said.trim());
    }
    drop(responder);
    bench.random("tx", bench.choose(16 << 20, 256 << 20))?;
    let receiver = bench.serve(server, ("tcp", 5000), &["sh", "-c", "exec nuttcp -1 -s --nofork >rx"])?;
    let sender = bench.spawn_reading(client, &["nuttcp", "-t", "-s", "-l1048576", &server.v4], "tx")?;
    let done = sender.finish(bench.limit(Duration::from_secs(60)))?.ok()?;
    receiver.finish(bench.limit(Duration::from_secs(10)))?.ok()?;
    let octets = bench.same("tx", "rx")?;
    let rate = megabits(number_after(&done.said(), "sec =")?);
    Ok(format!("{count} datagrams of 65507 B; {} MiB in writes of 1 MiB, {rate}", octets >> 20))
}
