//! F23c: the wall clock jumps. The lab runs under libfaketime, so that it alone sees another time.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use super::{
    super::{
        bench::{Bench, new_name},
        lab::{Lab, SHORT},
        process::{Process, pass, seconds},
        rows::capture::{Recording, fields},
    },
    links::BACK,
    watch::Watch,
};

/// An hour forward, and two back: in seconds from the truth.
const JUMPS: [i64; 2] = [3600, -3600];
/// A time stamp this far from the wanted one is of another clock.
const NEAR: f64 = 60.0;

/// F23c: nothing but time stamps follows the wall clock.
pub(in super::super) fn jumps(bench: &mut Bench<'_>) -> Result<String> {
    let clock = set(bench, 0)?;
    let library = library()?;
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let lab = Lab::start_in(bench.form, &new_name(), &["--topology", "star:3"], false, &environment)?;
    let inner = Bench::new(bench.form, Some(&lab), bench.path("inner"), None)?;
    let (client, other, server) = (inner.client()?, &lab.hosts[1], inner.server()?);
    let watch = Watch::start(&inner)?;
    inner.reaches(server, &other.v4)?;
    let names = ["path_queries", "sa_retries", "sa_timeouts", "flush_normal"];
    let counts = || -> Result<Vec<u64>> {
        names.iter().map(|name| lab.count(&client.name, &client.interface, name)).collect()
    };
    let (before, begin) = (counts()?, Instant::now());
    let whole = Recording::start(&inner, "whole.pcapng", &[])?;
    let mut slowest = Duration::ZERO;
    for jump in JUMPS {
        if !bench.is_tricked("it stands") {
            set(bench, jump)?;
        }
        pass(bench.choose(Duration::from_millis(300), Duration::from_secs(2)))?;
        let ahead = stamps(&inner, Recording::start(&inner, "short.pcapng", &[])?)?[0] - now();
        #[expect(clippy::cast_precision_loss, reason = "seconds of an hour")]
        if (ahead - jump as f64).abs() > NEAR {
            bail!(
                "the lab's clock has not jumped: captures are {:.0} s ahead, and not {jump} s",
                ahead.abs()
            );
        }
        inner.sh(other, "ip neigh flush all")?;
        slowest = slowest.max(inner.comes_back(other, &server.v4, BACK)?);
    }
    // Its packets keep their distances, whatever the wall clock says when they come.
    let (stamps, took) = (stamps(&inner, whole)?, begin.elapsed().as_secs_f64());
    let spans = stamps[stamps.len() - 1] - stamps[0];
    if spans < 0.0 || spans > took || stamps.windows(2).any(|pair| pair[1] < pair[0]) {
        bail!("a capture of {took:.1} s has time stamps of {spans:.1} s");
    }
    let pings = watch.end(&inner)?;
    if counts()? != before {
        bail!("{names:?} of {} were {before:?} and are {:?}", client.name, counts()?);
    }
    Ok(format!(
        "an hour forward, two back: none of {pings} pings lost, nothing asked anew, a new peer answers in {} at most; \
         time stamps of captures follow",
        seconds(slowest)
    ))
}

/// Sets the lab's wall clock so many seconds off the truth; the file that says so.
fn set(bench: &Bench<'_>, seconds: i64) -> Result<String> {
    // In one go, for the lab may read it at any moment.
    let new = bench.write("clock.new", format!("{seconds:+}\n"))?;
    fs::rename(new, bench.path("clock"))?;
    Ok(bench.file("clock"))
}

/// What `faketime` has programs preload that have threads.
fn library() -> Result<String> {
    let said =
        Process::start(Command::new("faketime").args(["-m", "-f", "+0", "env"]))?.finish(SHORT)?.ok()?;
    let line = said.stdout.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
    Ok(line.context("faketime preloads nothing")?.to_owned())
}

/// The time stamps of a capture, once a few pings are in it.
fn stamps(bench: &Bench<'_>, recording: Recording) -> Result<Vec<f64>> {
    pass(Duration::from_millis(200))?;
    let file = recording.end()?;
    let rows = fields(bench, &file, "icmp", &["frame.time_epoch"])?;
    let stamps: Vec<f64> = rows.iter().filter_map(|row| row.first()?.parse().ok()).collect();
    if stamps.len() < 2 {
        bail!("{}: {} pings in a capture", file, stamps.len());
    }
    Ok(stamps)
}

/// Seconds since 1970.
fn now() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "time stamps are of the wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs_f64()
}
