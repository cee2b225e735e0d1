//! F17 to F19: host channel adapters, interfaces and addresses that go, come back and move.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    super::{
        bench::Bench,
        process::{eventually, pass, seconds},
    },
    links::{ACTIVE, BACK, GONE},
};
use crate::control::HostFault;

/// F17: the adapter is taken out and put back.
pub(in super::super) fn unplugged(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    bench.reaches(client, &server.v4)?;
    let before = lab.interface(server)?;
    lab.fault_host(&server.name, HostFault::Unplug)?;
    let off = bench.carrier(server, false, GONE)?;
    let row = lab.interface(server)?;
    let reason = row["reason"].as_str().unwrap_or_default().to_owned();
    if row["state"] == "up" || reason.is_empty() {
        bail!("`ipoib show hosts` does not say why {} is down: {row}", server.name);
    }
    pass(bench.choose(Duration::from_millis(500), Duration::from_secs(10)))?;
    lab.fault_host(&server.name, HostFault::Plug)?;
    let on = bench.carrier(server, true, ACTIVE)?;
    let back = bench.comes_back(client, &server.v4, BACK)?;
    same_address(&before, &lab.interface(server)?)?;
    Ok(format!(
        "carrier off in {} ({reason}), on in {}, answers {} later",
        seconds(off),
        seconds(on),
        seconds(back)
    ))
}

fn same_address(before: &serde_json::Value, after: &serde_json::Value) -> Result<()> {
    for name in ["address", "mac", "qpn", "guid"] {
        if before[name] != after[name] {
            bail!("{name} was {} and is {}", before[name], after[name]);
        }
    }
    Ok(())
}

/// F18: the interface down and up, addresses taken and given, many times.
pub(in super::super) fn down_and_up(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    bench.reaches(client, &server.v4)?;
    let before = lab.interface(server)?;
    let handles = || lab.count(&server.name, &server.interface, "handles");
    let (had, descriptors, memory) = (handles()?, lab.descriptors()?, lab.memory()?);
    let times = bench.choose("50", "1000");
    let (interface, v4) = (&server.interface, &server.v4);
    let script = format!(
        "for i in $(seq {times}); do ip link set {interface} down; ip link set {interface} up; \
         ip address add 10.99.0.1/24 dev {interface}; ip address del 10.99.0.1/24 dev {interface}; done"
    );
    bench.ok(server, &["sh", "-euc", &script], 240)?;
    bench.carrier(server, true, ACTIVE)?;
    let back = bench.comes_back(client, v4, BACK)?;
    same_address(&before, &lab.interface(server)?)?;
    let grown = lab.memory()?.saturating_sub(memory);
    if handles()? > had + 1 || grown > MOST_GROWN {
        bail!("{} handles instead of {had}, {} KiB more", handles()?, grown >> 10);
    }
    lab.settles(descriptors)?;
    Ok(format!(
        "{times} times; the address is the same, answers after {}; {} KiB more",
        seconds(back),
        grown >> 10
    ))
}

/// What tables and an allocator may take the first time.
const MOST_GROWN: u64 = 2 << 20;

/// F18b: neighbours that come and go take their address handles along.
pub(in super::super) fn handles(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let times = bench.choose(20, 500);
    let count = || lab.count(&client.name, &client.interface, "handles");
    let forget = format!("ip neigh flush dev {0}; ip -6 neigh flush dev {0}", client.interface);
    let mut most = 0;
    for _ in 0..times {
        bench.ok(client, &["ping", "-n", "-q", "-c", "1", "-W", "2", &server.v4], 10)?;
        most = most.max(count()?);
        bench.sh(client, &forget)?;
        // The server's kernel may still ask back: then it is a neighbour once more.
        eventually("the handle is freed", bench.limit(Duration::from_secs(5)), || {
            if count()? == 0 {
                return Ok(Some(()));
            }
            bench.sh(client, &forget)?;
            Ok(None)
        })?;
    }
    if most == 0 {
        bail!("a ping without an address handle");
    }
    Ok(format!("{times} neighbours came and went, {most} handles at most, none at the end"))
}

/// F19: an address moves to another host.
pub(in super::super) fn moved(bench: &mut Bench<'_>) -> Result<String> {
    let hosts = &bench.lab()?.hosts;
    let (client, old, new) = (bench.client()?, &hosts[1], bench.server()?);
    let Some((net, _)) = client.v4.rsplit_once('.') else { bail!("{} has no IPv4 address", client.name) };
    let address = format!("{net}.240");
    let take = |host: &super::super::lab::Host| {
        bench.sh(host, &format!("ip address add {address}/24 dev {}", host.interface))
    };
    let leave = |host: &super::super::lab::Host| {
        bench.sh(host, &format!("ip address del {address}/24 dev {}", host.interface))
    };
    take(old)?;
    bench.comes_back(client, &address, ACTIVE)?;
    leave(old)?;
    take(new)?;
    bench.sh(new, &format!("arping -A -c 2 -I {} {address} >/dev/null", new.interface))?;
    let told = bench.comes_back(client, &address, bench.limit(ACTIVE))?;
    let mut text = format!("told by ARP, followed in {}", seconds(told));
    if bench.form.full {
        leave(new)?;
        take(old)?;
        // Nobody tells: the client's kernel finds out when it asks again.
        let untold = bench.comes_back(client, &address, Duration::from_secs(40))?;
        leave(old)?;
        text.push_str(&format!("; not told, in {}", seconds(untold)));
    } else {
        leave(new)?;
    }
    Ok(text)
}
