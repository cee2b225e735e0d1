//! T4: iperf 2.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{Process, eventually},
    },
    megabits,
    ttcp::own_queues,
};
use crate::control::schema::Noun;

const PORT: u16 = 5001;

/// Rates in the form for programs: nine fields, the last is bits per second.
fn rates(said: &str) -> Vec<f64> {
    let fields = said.lines().map(|line| line.split(',').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.len() >= 9)
        .filter_map(|f| f[8].parse::<f64>().ok())
        .map(|bits| bits / 1e6)
        .collect()
}

/// Lost and all datagrams, from `0/4685 (0%)` of a server's report.
fn lost(said: &str) -> Result<(u64, u64)> {
    let report = said
        .split_once("Server Report")
        .with_context(|| format!("no report of the server: {}", said.trim()))?
        .1;
    let share = report.split_whitespace().find_map(|word| {
        let (lost, all) = word.split_once('/')?;
        Some((lost.parse().ok()?, all.parse().ok()?))
    });
    share.with_context(|| format!("no datagrams in the report: {}", report.trim()))
}

/// T4: many streams, both ways, datagrams.
pub(in super::super) fn streams(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let seconds = bench.choose("1", "5");
    let listener = bench.serve(server, ("tcp", PORT), &["iperf", "-s"])?;
    let base = ["iperf", "-c", &server.v4, "-t", seconds, "-y", "C"];
    let eight = rates(&bench.ok(client, &[&base[..], &["-P", "8", "-l", "8K"]].concat(), 40)?);
    if eight.len() < 8 || eight.iter().any(|rate| *rate <= 0.0) {
        bail!("-P 8: {eight:?} Mb/s");
    }
    let both = rates(&bench.ok(client, &[&base[..], &["-d"]].concat(), 40)?);
    if both.len() < 2 || both.iter().any(|rate| *rate <= 0.0) {
        bail!("-d: {both:?} Mb/s");
    }
    drop(listener);
    let _listener = bench.serve(server, ("udp", PORT), &["iperf", "-s", "-u"])?;
    let words = ["iperf", "-c", &server.v4, "-u", "-b", "20M", "-l", "1400", "-t", seconds];
    let before = own_queues(bench)?;
    let (missing, all) = lost(&bench.ok(client, &words, 40)?)?;
    // On a machine with much else to do, a server that has no turn loses what its own queue does not hold.
    let queues = own_queues(bench)? - before;
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = (missing as f64 - queues).max(0.0) / all.max(1) as f64;
    if all < 1000 || share > MOST_LOST {
        bail!("UDP: {missing} of {all} lost, {queues} of them by full queues of the hosts");
    }
    let sum = |rates: &[f64]| megabits(rates.iter().sum());
    Ok(format!("8 streams {}, both ways {}, UDP {missing} of {all} lost", sum(&eight[..8]), sum(&both)))
}

/// Of datagrams at a rate far below what the machine can do.
const MOST_LOST: f64 = 0.01;

/// T4b: all to all.
pub(in super::super) fn all_to_all(bench: &mut Bench<'_>) -> Result<String> {
    let hosts = &bench.lab()?.hosts;
    let hosts: &[Host] = &hosts[..hosts.len().min(8)];
    let seconds = bench.choose("1", "10");
    let mut listeners = Vec::new();
    for host in hosts {
        listeners.push(bench.serve(host, ("tcp", PORT), &["iperf", "-s"])?);
    }
    let mut running: Vec<(String, Process)> = Vec::new();
    for from in hosts {
        for to in hosts.iter().filter(|to| *to != from) {
            let words = ["iperf", "-c", &to.v4, "-t", seconds, "-y", "C"];
            running.push((format!("{} to {}", from.name, to.name), bench.spawn(from, &words)?));
        }
    }
    let (count, mut sum) = (running.len(), 0.0);
    for (pair, process) in running {
        let done = process
            .finish(bench.limit(Duration::from_secs(90)))
            .and_then(|done| done.ok())
            .context(pair.clone())?;
        match rates(&done.stdout).last() {
            Some(rate) if *rate > 0.0 => sum += rate,
            _ => bail!("{pair}: nothing came: {}", done.said().trim()),
        }
    }
    Ok(format!("{count} streams between {} hosts, {}", hosts.len(), megabits(sum)))
}

/// T4c: a group reaches its members, and not those of a group that differs in the bits an Ethernet address has lost.
pub(in super::super) fn multicast(bench: &mut Bench<'_>) -> Result<String> {
    const GROUPS: [&str; 2] = ["239.1.1.1", "239.129.1.1"];
    let (client, server) = (bench.client()?, bench.server()?);
    for host in [client, server] {
        bench.sh(host, &format!("ip route replace 224.0.0.0/4 dev {}", host.interface))?;
    }
    let mut listeners = Vec::new();
    for (group, port) in GROUPS.into_iter().zip(["5001", "5101"]) {
        let bound = format!("{group}%{}", server.interface);
        let words = ["iperf", "-s", "-u", "-B", &bound, "-p", port];
        listeners.push(bench.serve(server, ("udp", port.parse()?), &words)?);
    }
    // The fabric must know the members before anything is sent.
    let is_member = |row: &Value| {
        let of = |member: &Value| {
            member["port"] == *server.name
                && member["join"].as_str().is_some_and(|join| join.split(',').any(|j| j == "full"))
        };
        row["members"].as_array().is_some_and(|members| members.iter().any(of))
    };
    let (mgids, _) =
        eventually("the server is in both groups", bench.limit(Duration::from_secs(10)), || {
            let rows = bench.lab()?.show(Noun::Groups)?;
            let of = |group: &str| {
                rows.iter().find(|row| row["ip"] == group && is_member(row)).map(|row| row["mgid"].clone())
            };
            Ok(of(GROUPS[0]).zip(of(GROUPS[1])))
        })?;
    if mgids.0 == mgids.1 {
        bail!("{} and {} are one group, {}", GROUPS[0], GROUPS[1], mgids.0);
    }
    let seconds = bench.choose("1", "5");
    let words = ["iperf", "-c", GROUPS[0], "-u", "-T", "4", "-b", "5M", "-t", seconds];
    let sent = bench.ok(client, &words, 20)?;
    let sent: u64 = sent
        .split_once("Sent ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("iperf does not say what it sent: {}", sent.trim()))?;
    // It reports when it hears iperf's own full stop, one datagram that a group gets once.
    listeners[0].wait_for("Lost/Total", bench.limit(Duration::from_secs(5))).with_context(|| {
        format!("{sent} datagrams sent, and {} does not hear the end of them", server.name)
    })?;
    let share = || {
        listeners[0].stdout().split_whitespace().rev().find_map(|word| {
            let (lost, all) = word.split_once('/')?;
            Some((lost.parse::<u64>().ok()?, all.parse::<u64>().ok()?))
        })
    };
    let ((missing, all), _) =
        eventually("the server's report", bench.limit(Duration::from_secs(5)), || Ok(share()))?;
    if missing * 100 > all || all + 5 < sent {
        bail!("{sent} datagrams sent, {all} came to {}, {missing} lost", server.name);
    }
    if listeners[1].stdout().contains("Lost/Total") {
        bail!("{} heard what was for {}", GROUPS[1], GROUPS[0]);
    }
    Ok(format!("{missing} of {all} lost; {} and {} apart", text(&mgids.0), text(&mgids.1)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_the_last_of_nine_fields() {
        let said = "noise\n19700101000000,10.77.0.1,53478,10.77.0.3,5001,5,0.0-1.0,73146428,573714348\n";
        assert_eq!(rates(said), [573.714_348]);
    }

    #[test]
    fn the_servers_report_says_what_was_lost() {
        let said = "[  1] Sent 4686 datagrams\n[  1] Server Report:\n[ ID] Interval  Lost/Total Datagrams\n\
                    [  1] 0.0-1.0 sec  6.26 MBytes  52.4 Mbits/sec   0.010 ms 3/4685 (0.06%)\n";
        assert_eq!(lost(said).unwrap(), (3, 4685));
        assert!(lost("[  1] WARNING: did not receive ack").is_err());
    }
}
