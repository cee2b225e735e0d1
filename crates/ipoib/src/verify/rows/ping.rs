//! T11: pings of all kinds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{Process, eventually, pass, seconds},
    },
    number_after,
};
use crate::control::schema::Noun;

/// What an IPv4 packet of the interface's size holds besides two headers.
const FITS: u32 = 2016;
const SIZES: [u32; 13] = [0, 16, 56, 511, 1025, FITS, FITS + 1, 2044, 4096, 8192, 32768, 65492, 65507];

/// What a host's kernel has counted: questions that left by IPv4 and IPv6, and answers that came.
fn echoes(bench: &Bench<'_>, host: &Host) -> Result<[u64; 2]> {
    let said = bench.sh(host, "nstat -asz IcmpOutEchos Icmp6OutEchos IcmpInEchoReps Icmp6InEchoReplies")?;
    let count = |name: &str| -> Result<u64> {
        let number =
            said.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        number.with_context(|| format!("nstat: no {name}"))
    };
    Ok([
        count("IcmpOutEchos")? + count("Icmp6OutEchos")?,
        count("IcmpInEchoReps")? + count("Icmp6InEchoReplies")?,
    ])
}

/// Runs pings side by side to their end; how many questions they asked, each of which was answered in time.
///
/// The kernel's counters tell, for what ping itself calls lost depends on the machine: at its end it waits for the last
/// answers no longer than twice the slowest so far.
fn all_answered(bench: &Bench<'_>, host: &Host, what: &str, pings: &[Vec<&str>]) -> Result<u64> {
    let [asked, answered] = echoes(bench, host)?;
    let start = |words: &Vec<&str>| bench.spawn(host, words);
    let running: Vec<Process> = pings.iter().map(start).collect::<Result<_>>()?;
    for process in running {
        let done = process.finish(bench.limit(Duration::from_secs(60)))?;
        if !done.said().contains("packets transmitted") {
            bail!("no figures of ping: {}", done.said().trim());
        }
    }
    let end = Instant::now() + LATEST;
    loop {
        let now = echoes(bench, host)?;
        let (sent, came) = (now[0] - asked, now[1] - answered);
        if came >= sent {
            return Ok(sent);
        }
        if Instant::now() > end {
            bail!("{} of {sent} {what} lost", sent - came);
        }
        pass(Duration::from_millis(20))?;
    }
}

/// An answer that comes later than this is lost.
const LATEST: Duration = Duration::from_secs(2);

/// T11: all sizes in both families, whole and cut; a flood.
pub(in super::super) fn sizes(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    // Warm: the first packet of all waits for ARP and a path.
    bench.comes_back(client, &server.v4, bench.limit(Duration::from_secs(10)))?;
    bench.comes_back(client, &server.v6, bench.limit(Duration::from_secs(10)))?;
    let count = bench.choose("20", "100");
    let mut all = 0;
    for size in SIZES {
        let sizes = [size.to_string(), size.min(65487).to_string()];
        let both = [("-4", &server.v4), ("-6", &server.v6)].into_iter().zip(&sizes);
        let words = both.map(|((family, to), size)| {
            vec!["ping", "-n", "-q", family, "-c", count, "-i", "0.01", "-W", "2", "-s", size, to]
        });
        let pings: Vec<_> = words.collect();
        all += all_answered(bench, client, &format!("pings of {size} octets"), &pings)?;
    }
    for (family, fits) in [("-4", FITS), ("-6", FITS - 20)] {
        let ask = |size: u32| {
            let to = if family == "-4" { &server.v4 } else { &server.v6 };
            bench.run(
                client,
                &["ping", "-n", family, "-M", "do", "-c", "1", "-W", "2", "-s", &size.to_string(), to],
                20,
            )
        };
        ask(fits)?.ok().with_context(|| format!("{fits} octets in one packet"))?;
        let said = ask(fits + 1)?.said();
        if !said.contains("essage too long") {
            bail!("{} octets went in one packet: {}", fits + 1, said.trim());
        }
    }
    let flood = bench.choose("2000", "10000");
    let words = vec!["ping", "-n", "-f", "-q", "-c", flood, "-W", "2", "-s", "2044", &server.v4];
    all += all_answered(bench, client, "pings of a flood", &[words])?;
    Ok(format!("{all} pings of {} sizes, none lost; 2016 whole, 2017 not", SIZES.len()))
}

/// T11a: a broadcast and all nodes are answered by everybody.
pub(in super::super) fn everybody(bench: &mut Bench<'_>) -> Result<String> {
    let hosts = &bench.lab()?.hosts;
    let client = bench.client()?;
    let peers: &[Host] = &hosts[1..];
    for host in hosts {
        bench.sh(host, "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")?;
    }
    let show = format!("ip -4 -o address show dev {}", client.interface);
    let broadcast = bench.sh(client, &show)?;
    let broadcast = match broadcast.split_once(" brd ") {
        Some((_, rest)) => rest.split_whitespace().next().unwrap_or_default().to_owned(),
        // As the lab sets it: none is told, so it is the last of the network.
        None => client.v4.rsplit_once('.').map(|(net, _)| format!("{net}.255")).unwrap_or_default(),
    };
    let multicast = format!("ff02::1%{}", client.interface);
    let count = bench.choose("5", "25");
    for (words, addresses) in [
        (["-b", &broadcast], peers.iter().map(|peer| peer.v4.clone()).collect::<Vec<_>>()),
        (["-6", &multicast], peers.iter().map(|peer| peer.local.clone()).collect()),
    ] {
        let line = [&["ping", "-n", "-i", "0.2", "-c", count], &words[..]].concat();
        let said = bench.run(client, &line, 40)?.said();
        for address in addresses {
            // An answer is late for the last question if the machine is busy.
            let answers = said.matches(&format!("from {address}")).count()
                + said.matches(&format!("from {address}%")).count();
            if answers + 1 < count.parse::<usize>().unwrap_or(0) {
                bail!("{address} answered {answers} of {count} questions to {}", words[1]);
            }
        }
    }
    Ok(format!("{} hosts answer a broadcast and ff02::1", peers.len()))
}

/// T11b: nobody there.
pub(in super::super) fn nobody(bench: &mut Bench<'_>) -> Result<String> {
    const PATIENCE: Duration = Duration::from_secs(4);
    let client = bench.client()?;
    let nobody = bench.nobody()?;
    let queued = || -> Result<u64> {
        let rows = bench.lab()?.show(Noun::Counters)?;
        let ours = rows.iter().filter(|row| row["node"] == *client.name);
        Ok(ours.filter_map(|row| row["counters"]["pending_bytes"].as_u64()).sum())
    };
    let begin = Instant::now();
    let process = bench.spawn(client, &["ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", &nobody])?;
    process.wait_for("Destination Host Unreachable", PATIENCE)?;
    let took = begin.elapsed();
    process.finish(bench.limit(Duration::from_secs(20)))?.exits(1)?;
    eventually("no packet waits any more", Duration::from_secs(5), || Ok((queued()? == 0).then_some(())))?;
    let rows = bench.lab()?.show(Noun::Neighbors)?;
    let has = |row: &&Value| row["ip"].as_array().is_some_and(|ips| ips.contains(&nobody.as_str().into()));
    if let Some(row) = rows.iter().find(has) {
        bail!("{nobody} became a neighbour: {row}");
    }
    Ok(format!("unreachable after {}", seconds(took)))
}

/// T11c: the address that no tool of the time could show, and the length of the queue.
pub(in super::super) fn shown(bench: &mut Bench<'_>) -> Result<String> {
    let client = bench.client()?;
    let row = bench.lab()?.interface(client)?;
    let address = row["address"].as_str().unwrap_or_default();
    if address.split(':').count() != 20 {
        bail!("`ipoib show hosts` has no address of 20 octets: {address}");
    }
    let link = bench.sh(client, &format!("ip -d link show {}", client.interface))?;
    if !link.contains(address) {
        bail!("`ip link` has another alias than {address}: {}", link.trim());
    }
    let queue = number_after(&link, "qlen")?;
    let mtu = number_after(&link, "mtu")?;
    if bench.lab()?.is_own() && (queue != 256.0 || mtu != 2044.0) {
        bail!("queue of {queue} instead of 256, MTU {mtu} instead of 2044");
    }
    if bench.lab()?.is_own() {
        let lab = bench.another_lab(&["--topology", "star:2", "--tx-ring-size", "512"])?;
        let words = lab
            .command("h1", &["ip", "link", "show", "ib0"])
            .stdin(super::super::bench::nothing())
            .output()?;
        let said = String::from_utf8_lossy(&words.stdout).into_owned();
        let queue = number_after(&said, "qlen")?;
        if queue != 1024.0 {
            bail!("--tx-ring-size 512: queue of {queue} instead of 1024");
        }
    }
    Ok(format!("{address}, queue {queue}"))
}
