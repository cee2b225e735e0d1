//! F20, F23 and F25: tables that are full, disks that are full, everybody asking at once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    super::{
        bench::Bench,
        process::{Process, eventually, seconds},
        rows::stress::flood,
    },
    links::ACTIVE,
};
use crate::control::schema::Noun;

/// F20: more peers than address handles.
pub(in super::super) fn full_table(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client) = (bench.lab()?, bench.client()?);
    let count = |name| lab.count(&client.name, &client.interface, name);
    for _ in 0..bench.choose(2, 20) {
        for peer in &lab.hosts[1..] {
            bench.ok(client, &["ping", "-n", "-q", "-c", "1", "-W", "3", &peer.v4], 20)?;
        }
    }
    let (handles, bound, evicted) =
        (count("handles")?, count("max_address_vector")?, count("handles_evicted")?);
    if handles > bound {
        bail!("{handles} address handles, though {bound} are the most");
    }
    if evicted == 0 {
        bail!("{} peers did not meet the bound of {bound}", lab.hosts.len() - 1);
    }
    Ok(format!("{} peers with {bound} handles: all answer, {evicted} evicted", lab.hosts.len() - 1))
}

/// Joins so many groups, and stays in them.
const JOIN: &str = r#"
import socket, struct, sys, time
name, count = sys.argv[1], int(sys.argv[2])
index, joined = socket.if_nametoindex(name), []
for n in range(count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    group = struct.pack('=4s4si', socket.inet_aton('239.7.%d.%d' % (n >> 8, n & 255)), bytes(4), index)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    joined.append(s)
time.sleep(600)
"#;

/// F20b: more groups than one interface may be in.
pub(in super::super) fn full_groups(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let count = |name| lab.count(&client.name, &client.interface, name);
    let bound = count("max_groups")?;
    let wanted: u64 = bench.choose(20, 200);
    let joined = bench.spawn(client, &["python3", "-c", JOIN, &client.interface, &wanted.to_string()])?;
    let (refused, _) = eventually("groups are refused", bench.limit(ACTIVE), || {
        Ok(Some(count("groups_refused")?).filter(|refused| *refused > 0))
    })?;
    let groups = count("groups")?;
    if groups > bound {
        bail!("{groups} groups, though {bound} are the most");
    }
    // Broadcast has its place in any case.
    bench.sh(client, "ip neigh flush all")?;
    bench.comes_back(client, &server.v4, ACTIVE)?;
    drop(joined);
    eventually("groups are left", bench.limit(ACTIVE), || Ok((count("groups")? < bound).then_some(())))?;
    Ok(format!(
        "{wanted} groups wanted with {bound} at most: {refused} refused, peers answer, room is left again"
    ))
}

/// F23: the disk for a capture is full.
pub(in super::super) fn full_disk(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let capture = Process::start(&mut lab.ipoib(&["capture", "-w", "/dev/full"]))?;
    let load = bench.spawn(client, &["ping", "-n", "-q", "-i", "0.01", "-s", "2000", &server.v4])?;
    let done = capture.finish(bench.limit(Duration::from_secs(20)))?.exits(2)?.says("cannot write")?;
    drop(load);
    bench.comes_back(client, &server.v4, ACTIVE)?;
    Ok(format!("`{}`, and the lab goes on", done.stderr.lines().next().unwrap_or_default().trim()))
}

/// F23b: memory is short.
pub(in super::super) fn little_memory(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let before = lab.memory()?;
    lab.limit_memory(ROOM)?;
    // Whatever is sent stays in the lab for a while.
    lab.fault_link(&server.name, "delay 50ms")?;
    let senders = &lab.hosts[..lab.hosts.len() - 1];
    let mut rates = Vec::new();
    for length in ["64", "65507"] {
        rates.push(flood(bench, senders, server, length, bench.choose("1", "5"))?);
    }
    lab.fault_link(&server.name, "clear")?;
    bench.comes_back(client, &server.v4, ACTIVE)?;
    Ok(format!(
        "{} MiB more allowed, {} MiB more taken while {} hosts flood one over a link of 50 ms: {} and {} Mb/s arrive",
        ROOM >> 20,
        lab.memory()?.saturating_sub(before) >> 20,
        senders.len(),
        rates[0],
        rates[1]
    ))
}

/// Memory that all queues of a small lab fit in.
const ROOM: u64 = 128 << 20;

/// F25: a spine goes, and everybody forgets everybody.
pub(in super::super) fn storm(bench: &mut Bench<'_>) -> Result<String> {
    let lab = bench.lab()?;
    let hosts = &lab.hosts;
    let total = |name: &str| lab.total(name);
    // One link from a switch to a switch, of those that a host's packets may take.
    let links = lab.show(Noun::Links)?;
    let is_switch = |end: &str| !hosts.iter().any(|host| end.split(':').next() == Some(host.name.as_str()));
    let mut spine = links.iter().filter_map(|row| row["a"].as_str().zip(row["b"].as_str()));
    let Some((spine, _)) = spine.find(|(a, b)| is_switch(a) && is_switch(b)) else {
        bail!("the lab has no link between switches")
    };
    let pairs = |strides: &[usize]| -> Result<usize> {
        let mut running = Vec::new();
        for stride in strides {
            for (i, host) in hosts.iter().enumerate() {
                let to = &hosts[(i + stride) % hosts.len()].v4;
                running
                    .push(bench.spawn(host, &["ping", "-n", "-q", "-c", "3", "-i", "0.3", "-W", "5", to])?);
            }
        }
        let mut answered = 0;
        for process in running {
            answered += usize::from(process.finish(bench.limit(Duration::from_secs(30)))?.status.success());
        }
        Ok(answered)
    };
    let strides: &[usize] = bench.choose(&[1, 5], &[1, 2, 3, 5, 8, 13]);
    let all = hosts.len() * strides.len();
    let first = pairs(strides)?;
    if first < all {
        bail!("{first} of {all} pairs before");
    }
    let (asked, again, unanswered) = (total("path_queries")?, total("sa_retries")?, total("sa_timeouts")?);
    let begin = Instant::now();
    lab.fault_link(spine, "down")?;
    for host in hosts {
        bench.sh(host, "ip neigh flush all")?;
    }
    let second = pairs(strides)?;
    let took = begin.elapsed();
    lab.fault_link(spine, "up")?;
    if second < all {
        bail!("{second} of {all} pairs after {spine} went");
    }
    let (asked, again) = (total("path_queries")? - asked, total("sa_retries")? - again);
    // Each end of a pair may ask once for what it forgot, and once more when the routes have changed.
    let most = u64::try_from(4 * all)?;
    if asked + again > most || total("sa_timeouts")? > unanswered {
        bail!("{asked} questions for paths, {again} repetitions, for {all} pairs");
    }
    eventually("the manager answers", bench.limit(ACTIVE), || Ok(lab.client()?.sweep().ok()))?;
    Ok(format!(
        "{all} pairs of {} hosts in {}, {asked} questions, {again} repetitions",
        hosts.len(),
        seconds(took)
    ))
}
