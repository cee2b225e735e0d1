//! T14: a large cluster.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    super::{
        bench::Bench,
        lab::{Host, SHORT},
        process::{Process, seconds},
    },
    number_after,
};
use crate::control::schema::Noun;

/// Questions for a path that an interface may ask for each new peer.
const ASKED_PER_PEER: u64 = 1;

/// T14: all join, a sample of pairs talks while the manager sweeps, and nobody asks more than it must.
pub(in super::super) fn sample(bench: &mut Bench<'_>) -> Result<String> {
    let small = pairs(bench)?;
    if !bench.form.full {
        return Ok(small);
    }
    let lab = bench.another_lab(&["--topology", "fat-tree:k=8"])?;
    let large = pairs(&Bench::new(bench.form, Some(&lab), bench.path("large"), None)?)?;
    Ok(format!("{small}; {large}"))
}

fn pairs(bench: &Bench<'_>) -> Result<String> {
    let lab = bench.lab()?;
    let up = lab.show(Noun::Hosts)?.iter().filter(|row| row["state"] == "up").count();
    let hosts = &lab.hosts;
    if up < hosts.len() {
        bail!("{up} of {} hosts are up", hosts.len());
    }
    let before = asked(&lab.show(Noun::Counters)?);
    let begin = Instant::now();
    let mut pairs = 0;
    let is_large = hosts.len() > AT_ONCE;
    // Each asks a few whose distance grows: neighbours, others at its switch, others in other parts of the tree.
    let strides: &[usize] = bench.choose(&[1, 7], &[1, 3, 7, 31, 61]);
    for (number, stride) in strides.iter().enumerate() {
        if number > 0 && is_large {
            forget(bench)?;
        }
        if number == 1 {
            lab.client()?.sweep()?;
        }
        // Several at a time, as starting programs takes longer than their pings.
        for (chunk, some) in hosts.chunks(AT_ONCE).enumerate() {
            let mut running: Vec<(&Host, &Host, Process)> = Vec::new();
            for (i, from) in some.iter().enumerate() {
                let to = &hosts[(chunk * AT_ONCE + i + stride) % hosts.len()];
                // With -W instead of -w it would leave 50 ms after the last question, whatever is still under way.
                let words = ["ping", "-n", "-q", "-c", "2", "-i", "0.05", "-w", "4", &to.v4];
                running.push((from, to, bench.spawn(from, &words)?));
            }
            for (from, to, process) in running {
                let done = process.finish(bench.limit(Duration::from_secs(30)))?;
                let answered = number_after(&done.stdout, "transmitted,").unwrap_or(0.0);
                if answered < 2.0 {
                    bail!(
                        "{} has {answered} answers of 2 from {}: {}",
                        from.name,
                        to.name,
                        done.stderr.trim()
                    );
                }
                pairs += 1;
            }
        }
    }
    let took = begin.elapsed();
    let asked = asked(&lab.show(Noun::Counters)?) - before;
    // Whoever is asked learns a new peer, too; and who has forgotten one may be probed by it, and asks once more.
    let most = (if is_large { 3 } else { 2 }) * pairs * ASKED_PER_PEER;
    if asked > most {
        bail!("{asked} questions for paths by {} hosts, more than {most}", hosts.len());
    }
    Ok(format!("{up} hosts, {pairs} pairs in {}, no ping lost, {asked} path queries", seconds(took)))
}

/// Lets all hosts forget their neighbours: the kernel has one table for all of them, often of 1024.
fn forget(bench: &Bench<'_>) -> Result<()> {
    for some in bench.lab()?.hosts.chunks(AT_ONCE) {
        let flush = |host: &Host| bench.spawn(host, &["ip", "neigh", "flush", "dev", &host.interface]);
        let running: Vec<Process> = some.iter().map(flush).collect::<Result<_>>()?;
        running.into_iter().try_for_each(|process| process.finish(SHORT)?.ok().map(drop))?;
    }
    Ok(())
}

/// Programs that run at a time.
const AT_ONCE: usize = 32;

/// Questions for paths, of all interfaces.
fn asked(rows: &[Value]) -> u64 {
    rows.iter().filter_map(|row| row["counters"]["path_queries"].as_u64()).sum()
}
