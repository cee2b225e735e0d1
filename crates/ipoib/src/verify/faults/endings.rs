//! F14 to F16: programs and labs that are ended, stopped and killed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::{
    super::{
        bench::{Bench, new_name},
        lab::{ENDS, Lab},
        process::{Process, eventually, pass, seconds},
    },
    links::{ACTIVE, BACK},
    stream::Stream,
};

const STAR: &[&str] = &["--topology", "star:2"];

/// F14: Ctrl-C and SIGTERM under load.
pub(in super::super) fn ended(bench: &mut Bench<'_>) -> Result<String> {
    let mut slowest = Duration::ZERO;
    for signal in [Signal::INT, Signal::TERM] {
        let name = new_name();
        let lab = Lab::start(bench.form, &name, STAR, false)?;
        let load = Process::start(
            &mut lab.command("h1", &["ping", "-n", "-f", "-q", "-s", "8192", &lab.hosts[1].v4]),
        )?;
        pass(Duration::from_millis(300))?;
        if bench.is_tricked("stopped") {
            lab.signal(Signal::STOP)?;
        }
        let (done, took) = lab.end(signal, ENDS)?;
        done.exits(0)?;
        slowest = slowest.max(took);
        drop(load);
        // The name is free, and nothing is in the way.
        let again = Lab::start(bench.form, &name, STAR, false).context("the next lab of the name")?;
        let words = ["ping", "-n", "-c", "1", "-W", "2", &again.hosts[1].v4];
        Process::start(&mut again.command("h1", &words))?.finish(ACTIVE)?.ok()?;
    }
    Ok(format!("exit status 0 in {} at most, started again at once", seconds(slowest)))
}

/// F15: Ctrl-Z, of the lab and of a program.
pub(in super::super) fn stopped(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let times: &[u64] = bench.choose(&[1], &[1, 30]);
    let stream = Stream::start(bench, client, server, bench.choose(3, 40))?;
    let mut slowest = Duration::ZERO;
    for time in times {
        pass(Duration::from_millis(500))?;
        lab.signal(Signal::STOP)?;
        pass(Duration::from_secs(*time))?;
        lab.signal(Signal::CONT)?;
        slowest = slowest.max(bench.comes_back(client, &server.v4, BACK)?);
    }
    stream.signal(Signal::STOP);
    pass(Duration::from_secs(1))?;
    stream.signal(Signal::CONT);
    let octets = stream.finish(bench, 120)?;
    let longest = times.last().copied().unwrap_or(0);
    Ok(format!(
        "stopped for {longest} s, answers {} after; stream of {} MiB the same",
        seconds(slowest),
        octets >> 20
    ))
}

/// F16: the lab is killed.
pub(in super::super) fn killed(bench: &mut Bench<'_>) -> Result<String> {
    let name = new_name();
    let with_command = [STAR, &["--", "sleep", "600"]].concat();
    let lab = Lab::start(bench.form, &name, &with_command, false)?;
    let address = lab.interface(&lab.hosts[1])?["address"].clone();
    eventually("the command runs", ACTIVE, || Ok((!lab.inhabitants().is_empty()).then_some(())))?;
    // What a user left in a host is nobody's business but the user's, so it would be seen.
    let left = bench
        .is_tricked("left behind")
        .then(|| Process::start(&mut lab.command("h1", &["sh", "-c", "echo begun; exec sleep 600"])));
    if let Some(Ok(left)) = &left {
        left.wait_for("begun", ACTIVE)?;
    }
    lab.signal(Signal::KILL)?;
    eventually("the process is gone", ENDS, || Ok(lab.has_ended().then_some(())))?;
    eventually("nobody is left in its hosts", ENDS, || Ok(lab.inhabitants().is_empty().then_some(())))?;
    let again = Lab::start(bench.form, &name, STAR, false).context("the next lab of the name")?;
    let now = again.interface(&again.hosts[1])?["address"].clone();
    if now != address {
        bail!("h2 had {address}, and {now} after the restart");
    }
    let words = ["ping", "-n", "-c", "1", "-W", "2", &again.hosts[1].v4];
    Process::start(&mut again.command("h1", &words))?.finish(ACTIVE)?.ok()?;
    Ok("its command ends with it, nothing is left, the name is free, the addresses are the same".into())
}
