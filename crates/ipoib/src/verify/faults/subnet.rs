//! F5 to F7 and F11: a manager that gives other LIDs, takes partitions away or changes the link's parameters, and a
//! switch that goes with all behind it. OpenSM manages, for its partitions and LIDs are set as administrators do it.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    super::{
        bench::{Bench, new_name},
        lab::{Host, Lab},
        process::{eventually, pass, seconds},
    },
    links::{ACTIVE, BACK, SUBSCRIBED},
    manager::{end_opensm, signal_opensm, start_opensm},
    watch::Watch,
};
use crate::control::{HostFault, schema::Noun};

/// Hosts find each other again within this time after their LIDs are others.
const FOUND: Duration = Duration::from_secs(3);
/// OpenSM takes a new file to heart within this time.
const HEEDS: Duration = Duration::from_secs(15);

/// F5: the next manager gives other LIDs.
pub(in super::super) fn other_lids(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    for host in &lab.hosts {
        for peer in lab.hosts.iter().filter(|peer| *peer != host) {
            bench.comes_back(host, &peer.v4, ACTIVE)?;
        }
    }
    let lids = || -> Result<Vec<Value>> {
        Ok(lab.show(Noun::Hosts)?.into_iter().map(|row| row["lid"].clone()).collect())
    };
    let before = lids()?;
    end_opensm(lab)?;
    // From another port and with leave to give all LIDs anew, its own becomes the first.
    let (at, leave): (&Host, &[&str]) =
        if bench.is_tricked("the same") { (client, &[]) } else { (server, &["-r"]) };
    let _second = start_opensm(bench, at, leave)?;
    eventually("the hosts have other LIDs", bench.limit(HEEDS), || Ok((lids()? != before).then_some(())))?;
    let mut slowest = Duration::ZERO;
    for host in &lab.hosts {
        for peer in lab.hosts.iter().filter(|peer| *peer != host) {
            slowest = slowest.max(bench.comes_back(host, &peer.v4, FOUND)?);
        }
    }
    // From now on nothing goes where somebody was.
    let astray = || -> Result<u64> {
        ["dlid_mismatch", "dgid_mismatch", "no_route", "no_qp"].iter().map(|name| lab.total(name)).sum()
    };
    let strayed = astray()?;
    for host in &lab.hosts {
        for peer in lab.hosts.iter().filter(|peer| *peer != host) {
            bench.ok(host, &["ping", "-n", "-q", "-c", "5", "-i", "0.02", "-w", "5", &peer.v4], 20)?;
        }
    }
    if astray()? > strayed {
        bail!("{} packets went to LIDs of before", astray()? - strayed);
    }
    Ok(format!(
        "LIDs {} became {}; all pairs again within {}, and no packet goes to a LID of before",
        list(&before),
        list(&lids()?),
        seconds(slowest)
    ))
}

fn list(lids: &[Value]) -> String {
    lids.iter().map(Value::to_string).collect::<Vec<_>>().join(" ")
}

/// The child interface of a host, as `ipoib show hosts` has it.
fn child(lab: &Lab, host: &Host) -> Result<Value> {
    let rows = lab.show(Noun::Hosts)?.into_iter();
    let mut rows = rows.filter(|row| row["name"] == *host.name && row["interface"] == "ib0.8001");
    rows.next().with_context(|| format!("{} has no ib0.8001", host.name))
}

fn address(row: &Value) -> Result<String> {
    let address = row["ipv4"][0].as_str().context("ib0.8001 has no address")?;
    Ok(address.split('/').next().unwrap_or_default().to_owned())
}

/// F6: a partition is taken from a port, and given back.
pub(in super::super) fn partition(bench: &mut Bench<'_>) -> Result<String> {
    let all = "Default=0x7fff, ipoib: ALL=full;\nred=0x0001, ipoib: ALL=full;\n";
    let file = bench.write("partitions.conf", all)?;
    let options = ["--topology", "star:3", "--sm", "opensm", "--partitions", &file, "--children", "0x8001"];
    let lab = Lab::start(bench.form, &new_name(), &options, false)?;
    let inner = Bench::new(bench.form, Some(&lab), bench.path("inner"), None)?;
    let [one, two, three] = &lab.hosts[..] else { bail!("the lab has not three hosts") };
    let (to_one, to_two) = (address(&child(&lab, one)?)?, address(&child(&lab, two)?)?);
    inner.reaches(one, &to_two)?;
    let guid = |host: &Host| -> Result<String> {
        let guid = child(&lab, host)?["guid"].as_str().unwrap_or_default().replace(':', "");
        Ok(format!("0x{guid}=full"))
    };
    if !bench.is_tricked("left as it is") {
        let some = format!("{}, {}", guid(one)?, guid(three)?);
        fs::write(&file, format!("Default=0x7fff, ipoib: ALL=full;\nred=0x0001, ipoib: {some};\n"))?;
    }
    signal_opensm(&lab, rustix::process::Signal::HUP)?;
    let (reason, down) = eventually("the carrier of who was put out is off", bench.limit(HEEDS), || {
        let row = child(&lab, two)?;
        Ok((row["state"] == "down").then(|| row["reason"].as_str().unwrap_or_default().to_owned()))
    })?;
    if !reason.contains("0x8001") {
        bail!("`ipoib show hosts` says `{reason}`, and not that the partition is missing");
    }
    if inner.answers(one, &to_two)? || inner.answers(two, &to_one)? {
        bail!("a packet got into a partition that its sender is no member of");
    }
    inner.reaches(one, &two.v4).context("in the default partition")?;
    fs::write(&file, all)?;
    signal_opensm(&lab, rustix::process::Signal::HUP)?;
    let (_, up) = eventually("the carrier is on again", bench.limit(HEEDS), || {
        Ok((child(&lab, two)?["state"] == "up").then_some(()))
    })?;
    let back = inner.comes_back(one, &to_two, ACTIVE)?;
    Ok(format!(
        "down {} after the signal ({reason}), nothing passes; up {} after it is given back, answers {} later",
        seconds(down),
        seconds(up),
        seconds(back)
    ))
}

/// F7: the broadcast group comes back with another MTU and Q_Key.
pub(in super::super) fn parameters(bench: &mut Bench<'_>) -> Result<String> {
    let file = bench.write("partitions.conf", "Default=0x7fff, ipoib: ALL=full;\n")?;
    let options = ["--topology", "star:3", "--sm", "opensm", "--partitions", &file];
    let lab = Lab::start(bench.form, &new_name(), &options, false)?;
    let inner = Bench::new(bench.form, Some(&lab), bench.path("inner"), None)?;
    let (client, server) = (inner.client()?, inner.server()?);
    inner.reaches(client, &server.v4)?;
    end_opensm(&lab)?;
    if !bench.is_tricked("left as it is") {
        fs::write(&file, "Default=0x7fff, ipoib, mtu=3, Q_Key=0x12345: ALL=full;\n")?;
    }
    let _second = start_opensm(&inner, client, &["-P", &file, "-p", "2"])?;
    let (_, took) = eventually("all interfaces are up with an MTU of 1020", bench.limit(HEEDS), || {
        let rows = lab.show(Noun::Hosts)?;
        Ok(rows.iter().all(|row| row["mtu"] == 1020 && row["state"] == "up").then_some(()))
    })?;
    let seen = inner.sh(client, &format!("cat /sys/class/net/{}/mtu", client.interface))?;
    let groups = lab.show(Noun::Groups)?;
    let broadcast = groups.iter().find(|row| row["ip"] == "broadcast").context("no broadcast group")?;
    if seen != "1020\n" || broadcast["qkey"] != "0x00012345" {
        bail!("the kernel has MTU {}, the group {}", seen.trim(), broadcast["qkey"]);
    }
    let back = inner.comes_back(client, &server.v4, BACK)?;
    let ping = |size| {
        inner.run(client, &["ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", size, &server.v4], 10)
    };
    ping("992")?.ok()?;
    ping("993")?.says("essage too long")?;
    Ok(format!("MTU 1020 and Q_Key 0x12345 in {}, answers {} later", seconds(took), seconds(back)))
}

/// F11: a switch is taken out with all behind it, and put back.
pub(in super::super) fn switch(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let near = &lab.hosts[1];
    for to in [near, server] {
        bench.reaches(client, &to.v4)?;
    }
    let reports = || lab.count(&client.name, &client.interface, "sa_reports");
    // Interfaces ask to be told of such events within a second after they came up.
    pass(SUBSCRIBED)?;
    let told = reports()?;
    let beside = Watch::between(bench, client, near)?;
    if !bench.is_tricked("it stays") {
        lab.fault_host("sw2", HostFault::Unplug)?;
    }
    let (_, gone) =
        eventually("who was behind it is unreachable", bench.limit(Duration::from_secs(20)), || {
            let words = ["ping", "-n", "-c", "2", "-i", "0.2", "-w", "4", &server.v4];
            Ok(bench.run(client, &words, 20)?.said().contains("Unreachable").then_some(()))
        })?;
    eventually("the administration tells that they are gone", bench.limit(ACTIVE), || {
        Ok((reports()? > told).then_some(()))
    })?;
    pass(bench.choose(Duration::ZERO, Duration::from_secs(5)))?;
    lab.fault_host("sw2", HostFault::Plug)?;
    let back = bench.comes_back(client, &server.v4, bench.limit(ACTIVE))?;
    let pings = beside.end(bench)?;
    Ok(format!(
        "unreachable in {}, {} reports, answers {} after it is back; none of {pings} pings beside it lost",
        seconds(gone),
        reports()? - told,
        seconds(back)
    ))
}
