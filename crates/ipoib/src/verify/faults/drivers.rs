//! F15b and F16b: drivers that are processes of their own are stopped and killed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{eventually, pass, seconds},
    },
    links::{ACTIVE, BACK},
    stream::Stream,
    watch::Watch,
};
use crate::control::schema::Noun;

/// The process of a host's driver, once there is one.
fn driver(bench: &Bench<'_>, host: &Host) -> Result<Pid> {
    let lab = bench.lab()?;
    // While there is none, there may be no row.
    let number = || {
        let rows = lab.show(Noun::Hosts)?.into_iter();
        Ok(rows.filter(|row| row["name"] == *host.name).find_map(|row| row["driver"].as_i64()))
    };
    let (number, _) = eventually(&format!("{} has a driver", host.name), ACTIVE, number)?;
    i32::try_from(number).ok().and_then(Pid::from_raw).context("the number of a process")
}

/// F15b: a driver is stopped; only who talks to it notices.
pub(in super::super) fn stopped(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client) = (bench.lab()?, bench.client()?);
    let victim = &lab.hosts[1];
    let time = bench.choose(2, 30);
    bench.reaches(bench.server()?, &victim.v4)?;
    let stream = Stream::start(bench, client, victim, 3)?;
    let watch = Watch::start(bench)?;
    let process = driver(bench, victim)?;
    let memory = lab.memory()?;
    if !bench.is_tricked("it runs on") {
        kill_process(process, Signal::STOP)?;
    }
    let flood = format!("ping -q -f -s 60000 -w {time} {} || true", victim.v4);
    bench.ok(bench.server()?, &["sh", "-c", &flood], time + 20)?;
    let row = lab.interface(victim)?;
    let grown = lab.memory()?.saturating_sub(memory);
    // Before anything else, so that it goes on whatever is found.
    kill_process(process, Signal::CONT)?;
    if row["reason"].as_str().is_none_or(|reason| !reason.contains("does not answer")) {
        bail!("`ipoib show hosts` does not say that the driver does not answer: {row}");
    }
    let full = lab.count(&victim.name, "driver", "driver_ring_full")?;
    if full == 0 || grown > MOST_GROWN {
        bail!("{full} packets were more than the driver's ring holds, {} KiB more", grown >> 10);
    }
    let back = bench.comes_back(client, &victim.v4, BACK)?;
    let octets = stream.finish(bench, 120)?;
    let pings = watch.end(bench)?;
    Ok(format!(
        "stopped for {time} s under a flood of which {full} packets did not fit, {} KiB more; answers {} after; its \
         stream of {} MiB the same, none of {pings} pings of others lost",
        grown >> 10,
        seconds(back),
        octets >> 20
    ))
}

/// What the queues of one driver may take.
const MOST_GROWN: u64 = 64 << 20;

/// F16b: a driver is killed; the next is the same to everybody.
pub(in super::super) fn killed(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client) = (bench.lab()?, bench.client()?);
    let victim = &lab.hosts[1];
    // One that lives as long as this is started again at once, another the later the oftener it ends.
    let (times, lives) = bench.choose((3, Duration::from_millis(200)), (10, Duration::from_millis(1100)));
    let identity = || -> Result<_> {
        let row = lab.interface(victim)?;
        Ok(["address", "mac", "qpn", "guid", "ipv4"].map(|name| row[name].clone()))
    };
    let before = identity()?;
    let stream = Stream::start(bench, client, victim, bench.choose(4, 20))?;
    let watch = Watch::start(bench)?;
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let process = driver(bench, victim)?;
        if !bench.is_tricked("it runs on") {
            kill_process(process, Signal::KILL)?;
        }
        eventually("another driver runs", bench.limit(ACTIVE), || {
            Ok((driver(bench, victim)? != process).then_some(()))
        })?;
        slowest = slowest.max(bench.comes_back(client, &victim.v4, ACTIVE)?);
        pass(lives)?;
    }
    let octets = stream.finish(bench, 120)?;
    let pings = watch.end(bench)?;
    if identity()? != before {
        bail!("{} was {before:?} and is {:?}", victim.name, identity()?);
    }
    Ok(format!(
        "killed {times} times, answers {} after at most, addresses and queue pair the same; its stream of {} MiB the \
         same, none of {pings} pings of others lost",
        seconds(slowest),
        octets >> 20
    ))
}
