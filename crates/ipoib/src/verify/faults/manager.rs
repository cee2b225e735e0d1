//! F1 to F4: subnet managers that go, come and hand over; ours, for they can be ended as if they were killed.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::{
    super::{
        bench::{Bench, new_name},
        lab::{Host, Lab},
        process::{Process, eventually, pass, seconds},
    },
    links::{ACTIVE, BACK, SUBSCRIBED},
    watch::Watch,
};
use crate::control::schema::Noun;

/// Waits until the manager at `node` leads; how long that took.
fn leads(bench: &Bench<'_>, node: &str, within: Duration) -> Result<Duration> {
    let lab = bench.lab()?;
    let is_it = |row: &Value| row["node"] == node && row["role"] == "master";
    let what = format!("the manager at {node} leads");
    Ok(eventually(&what, bench.limit(within), || Ok(lab.show(Noun::Sm)?.iter().any(is_it).then_some(())))?.1)
}

/// Somebody who has not asked for the server yet.
fn a_new_peer(bench: &Bench<'_>, within: Duration) -> Result<Duration> {
    let (other, server) = (&bench.lab()?.hosts[1], bench.server()?);
    bench.sh(other, "ip neigh flush all")?;
    bench.comes_back(other, &server.v4, within)
}

/// F1: the manager is restarted at its place.
pub(in super::super) fn restarted(bench: &mut Bench<'_>) -> Result<String> {
    let lab = bench.lab()?;
    let address = lab.interface(bench.server()?)?["address"].clone();
    let watch = Watch::start(bench)?;
    let other = &lab.hosts[1];
    let asked = || lab.count(&other.name, &other.interface, "sa_requests");
    // What it asks for anyway is answered by now.
    pass(SUBSCRIBED)?;
    lab.client()?.kill_sm(None)?;
    let (before, away) = (asked()?, Instant::now());
    bench.sh(other, "ip neigh flush all")?;
    let waiting = bench.spawn(other, &["ping", "-n", "-q", "-i", "0.1", &bench.server()?.v4])?;
    pass(bench.choose(Duration::from_secs(1), Duration::from_secs(6)))?;
    if !bench.is_tricked("none comes") {
        lab.client()?.start_sm(None, None)?;
    }
    let (asked, away) = (asked()? - before, away.elapsed().as_secs() + 1);
    if asked > AT_FIRST + away {
        bail!("{} asked {asked} times in {away} s for somebody it did not know", other.name);
    }
    let took = leads(bench, "sw1", ACTIVE)?;
    let new = bench.comes_back(other, &bench.server()?.v4, BACK)?;
    drop(waiting);
    let count = watch.end(bench)?;
    if lab.interface(bench.server()?)?["address"] != address {
        bail!("the server's address is another");
    }
    Ok(format!(
        "none of {count} pings lost; who asked for a new peer asked {asked} times in {away} s; leads after {}, the new \
         peer answers in {}",
        seconds(took),
        seconds(new)
    ))
}

/// Questions to an administration that is away before they come no oftener than one a second: two, four times each.
const AT_FIRST: u64 = 8;

/// Sends OpenSM, which runs in a host of the lab, a signal.
pub(super) fn signal_opensm(lab: &Lab, signal: Signal) -> Result<()> {
    let pid = lab.inhabitants().into_iter().find(is_opensm).context("no OpenSM runs in the lab")?;
    let pid = Pid::from_raw(pid.cast_signed()).context("process 0")?;
    Ok(pidfd_send_signal(pidfd_open(pid, PidfdFlags::empty())?, signal)?)
}

fn is_opensm(pid: &u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "opensm")
}

/// Ends OpenSM with SIGTERM.
pub(super) fn end_opensm(lab: &Lab) -> Result<()> {
    signal_opensm(lab, Signal::TERM)?;
    let ended = || Ok((!lab.inhabitants().iter().any(is_opensm)).then_some(()));
    eventually("OpenSM ends", Duration::from_secs(10), ended).map(drop)
}

/// Starts OpenSM in a host and waits until the subnet is up; killed when dropped.
pub(super) fn start_opensm(bench: &Bench<'_>, host: &Host, options: &[&str]) -> Result<Process> {
    let log = bench.file("opensm.log");
    let opensm =
        bench.spawn(host, &[&["opensm", "-e", "-f", &log, "-D", "0x03", "-d", "2"], options].concat())?;
    eventually("the subnet is up", bench.limit(Duration::from_secs(20)), || {
        Ok(fs::read_to_string(&log).unwrap_or_default().contains("SUBNET UP").then_some(()))
    })?;
    Ok(opensm)
}

/// F1b: the same with OpenSM, which is a program.
pub(in super::super) fn opensm_restarted(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client) = (bench.lab()?, bench.client()?);
    let watch = Watch::start(bench)?;
    end_opensm(lab)?;
    pass(bench.choose(Duration::from_secs(1), Duration::from_secs(5)))?;
    let begin = Instant::now();
    let opensm = if bench.is_tricked("none comes") { None } else { Some(start_opensm(bench, client, &[])?) };
    let took = begin.elapsed();
    let new = a_new_peer(bench, BACK)?;
    let count = watch.end(bench)?;
    drop(opensm);
    Ok(format!(
        "none of {count} pings lost; subnet up {} after its start, a new peer answers in {}",
        seconds(took),
        seconds(new)
    ))
}

/// F2: one with a higher priority takes over.
pub(in super::super) fn handed_over(bench: &mut Bench<'_>) -> Result<String> {
    let watch = Watch::start(bench)?;
    let priority = if bench.is_tricked("equal") { 0 } else { 10 };
    bench.lab()?.client()?.start_sm(Some("sw2".to_owned()), Some(priority))?;
    let took = leads(bench, "sw2", Duration::from_secs(30))?;
    let new = a_new_peer(bench, BACK)?;
    let count = watch.end(bench)?;
    Ok(format!(
        "none of {count} pings lost; sw2 leads after {}, a new peer answers in {}",
        seconds(took),
        seconds(new)
    ))
}

/// F3: the manager is killed and one that stands by takes over.
pub(in super::super) fn taken_over(bench: &mut Bench<'_>) -> Result<String> {
    let lab = bench.lab()?;
    let groups = || -> Result<BTreeSet<String>> {
        let rows = lab.show(Noun::Groups)?.into_iter();
        Ok(rows.filter_map(|row| row["mgid"].as_str().map(str::to_owned)).collect())
    };
    let before = groups()?;
    if !bench.is_tricked("nobody stands by") {
        lab.client()?.start_sm(Some("sw2".to_owned()), None)?;
        let stands_by = |row: &Value| row["node"] == "sw2" && row["role"] == "standby";
        eventually("sw2 stands by", Duration::from_secs(30), || {
            Ok(lab.show(Noun::Sm)?.iter().any(stands_by).then_some(()))
        })?;
    }
    let watch = Watch::start(bench)?;
    lab.client()?.kill_sm(Some("sw1".to_owned()))?;
    let took = leads(bench, "sw2", Duration::from_secs(90))?;
    let new = a_new_peer(bench, ACTIVE)?;
    let count = watch.end(bench)?;
    eventually("the groups are the same", bench.limit(Duration::from_secs(30)), || {
        Ok(before.is_subset(&groups()?).then_some(()))
    })?;
    Ok(format!(
        "none of {count} pings lost; sw2 leads after {}, a new peer answers in {}, {} groups the same",
        seconds(took),
        seconds(new),
        before.len()
    ))
}

/// F4: no manager, then one.
pub(in super::super) fn none(bench: &mut Bench<'_>) -> Result<String> {
    let lab = Lab::start(bench.form, &new_name(), &["--sm", "none"], true)?;
    pass(bench.choose(Duration::from_secs(1), Duration::from_secs(20)))?;
    let rows = lab.show(Noun::Hosts)?;
    let reason = rows.first().and_then(|row| row["reason"].as_str()).unwrap_or_default().to_owned();
    if rows.iter().any(|row| row["state"] == "up" || row["reason"].as_str().is_none_or(str::is_empty)) {
        bail!("not all interfaces say what they wait for: {rows:?}");
    }
    if !bench.is_tricked("none comes") {
        lab.client()?.start_sm(None, None)?;
    }
    let (_, took) = eventually("all interfaces come up by themselves", bench.limit(ACTIVE), || {
        Ok(lab.show(Noun::Hosts)?.iter().all(|row| row["state"] == "up").then_some(()))
    })?;
    let (from, to) = (&lab.hosts[0], &lab.hosts[lab.hosts.len() - 1]);
    let words = ["ping", "-n", "-c", "1", "-W", "2", &to.v4];
    let ping = Process::start(&mut lab.command(&from.name, &words))?;
    ping.finish(ACTIVE)?.ok()?;
    Ok(format!("waits ({reason}), up {} after a manager came", seconds(took)))
}
