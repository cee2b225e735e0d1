//! T3: NetPIPE.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::{bench::Bench, process::Done};

const PORT: u16 = 5002;

/// One run of NPtcp on both sides; what each said.
fn netpipe(bench: &Bench<'_>, words: &[&str], within: u64) -> Result<[Done; 2]> {
    let (client, server) = (bench.client()?, bench.server()?);
    let both = [&["NPtcp"], words].concat();
    let receiver = bench.serve(server, ("tcp", PORT), &[&both[..], &["-o", "np.rx"]].concat())?;
    let sent = bench.run(client, &[&both[..], &["-h", &server.v4, "-o", "np.tx"]].concat(), within)?.ok()?;
    let received = receiver.finish(bench.limit(Duration::from_secs(10)))?.ok()?;
    Ok([sent, received])
}

/// T3: both directions at once, all sizes.
pub(in super::super) fn both_ways(bench: &mut Bench<'_>) -> Result<String> {
    // The short form does each size a few times instead of for a quarter of a second.
    let repeat: &[&str] = bench.choose(&["-n", "20"], &[]);
    netpipe(bench, &[&["-I", "-2", "-u", "16384"], repeat].concat(), 120)?;
    let text = std::fs::read_to_string(bench.path("np.tx")).context("what NPtcp wrote")?;
    // It counts what goes both ways.
    let sizes: Vec<u32> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok())
        .map(|size| size / 2)
        .collect();
    for wanted in
        [1].into_iter().chain([64, 1024, 16384].into_iter().flat_map(|size| [size - 3, size, size + 3]))
    {
        if !sizes.contains(&wanted) {
            bail!("size {wanted} is missing among {}", sizes.len());
        }
    }
    let best = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
        .fold(0.0, f64::max);
    Ok(format!("{} sizes up to 16387 B, {}", sizes.len(), super::megabits(best)))
}

/// T3b: what came is what was sent.
pub(in super::super) fn integrity(bench: &mut Bench<'_>) -> Result<String> {
    let done = netpipe(bench, &["-i", "-u", "65536", "-n", "20"], 60)?;
    let said = done.map(|done| done.said()).concat();
    let passed = said.matches("Integrity check passed").count();
    if passed == 0 || said.to_lowercase().contains("fail") {
        bail!("{passed} checks passed: {}", said.trim());
    }
    Ok(format!("{passed} checks passed"))
}

/// T3c: many connections one after the other.
pub(in super::super) fn connections(bench: &mut Bench<'_>) -> Result<String> {
    let count = bench.choose(20, 100);
    for number in 1..=count {
        netpipe(bench, &["-u", "4096", "-p", "0", "-n", "10"], 10)
            .with_context(|| format!("connection {number}"))?;
    }
    Ok(format!("{count} runs"))
}
