//! Rows about the fabric: links, forwarding tables, counters.

use std::collections::BTreeMap;

use ib_fabric::{
    FabricSnapshot, LinkSnapshot, NodeSnapshot, PortSnapshot,
    topology::{Link, Mishap, NodeIndex},
};

use super::super::Running;
use crate::{
    control::schema::{CounterRow, GroupRow, LinkFaults, LinkRow, RouteRow, UdpRow},
    os::clock,
};

/// One row per cable.
pub(super) fn links(lab: &Running, host: Option<&str>) -> Vec<LinkRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let plans = lab.topology.links.iter();
    let plans = plans.map(|plan| (plan, [plan.a, plan.b].map(|end| lab.topology.port_name(end))));
    let plugged = plans.filter(|(_, ends)| !ends.iter().any(|end| lab.runtime.udp.is_bound(end)));
    let inside = plugged.map(|(plan, [a, b])| {
        let seen = fabric.links.iter().find(|link| link.a == a && link.b == b);
        row(&fabric, plan, (a, b), seen)
    });
    let udp = lab.runtime.udp.rows(clock::now(), &lab.runtime.lab);
    let rows = inside.chain(udp.map(|(a, udp)| outside_row(lab, &fabric, a, udp)));
    rows.filter(|row| host.is_none_or(|host| is_of(&row.a, host) || is_of(&row.b, host))).collect()
}

/// The cable that leads out of the fabric at port `a`.
fn outside_row(lab: &Running, fabric: &FabricSnapshot, a: &str, udp: UdpRow) -> LinkRow {
    let end = lab.topology.find_port(a);
    let plan = end.and_then(|end| lab.topology.link_at(end)).copied();
    let plan = plan.unwrap_or_else(|| Link::new((NodeIndex(0), 0), (NodeIndex(0), 0)));
    let seen = fabric.links.iter().find(|link| link.a == a && link.b == "outside");
    let row = row(fabric, &plan, (a.to_owned(), String::new()), seen);
    let port = port(fabric, a);
    LinkRow {
        state: state_word(port.map_or("Down", |port| port.state.as_str())).to_owned(),
        mtu: port.and_then(|port| port.mtu).unwrap_or(0).into(),
        packets_from_b: port.and_then(|port| port.counters.get("rcv_packets")).copied().unwrap_or(0),
        b: format!("udp {}", udp.peer),
        udp: Some(udp),
        ..row
    }
}

fn state_word(state: &str) -> &'static str {
    match state {
        "Active" => "active",
        "Armed" => "armed",
        "Initialize" | "Init" => "init",
        _ => "down",
    }
}

fn row(
    fabric: &FabricSnapshot,
    plan: &Link,
    (a, b): (String, String),
    seen: Option<&LinkSnapshot>,
) -> LinkRow {
    let ends = [port(fabric, &a), port(fabric, &b)];
    let count = |end: Option<&PortSnapshot>, name| {
        end.and_then(|port: &PortSnapshot| port.counters.get(name)).copied().unwrap_or(0)
    };
    let state = ends.iter().map(|end| end.map_or("Down", |port| port.state.as_str()));
    let worst =
        state.min_by_key(|state| ["Down", "Initialize", "Armed", "Active"].iter().position(|s| s == state));
    let share = |link: &LinkSnapshot, mishap: Mishap| link.mishaps.get(mishap.name()).cloned();
    LinkRow {
        state: state_word(worst.unwrap_or("Down")).to_owned(),
        width: plan.width.lanes().map(|lanes| format!("{lanes}x")).unwrap_or_default(),
        speed: plan.speed.to_string(),
        mtu: ends[0].and_then(|port| port.mtu).unwrap_or(0).into(),
        faults: seen.map_or_else(LinkFaults::default, |link| LinkFaults {
            down: link.unplugged,
            loss: share(link, Mishap::Loss),
            mad_loss: share(link, Mishap::MadLoss),
            delay: Some(link.delay.clone()).filter(|delay| !delay.starts_with('0')),
            corrupt: share(link, Mishap::Corrupt),
            duplicate: share(link, Mishap::Duplicate),
            reorder: share(link, Mishap::Reorder),
        }),
        udp: None,
        packets_from_a: count(ends[0], "xmit_packets"),
        packets_from_b: count(ends[1], "xmit_packets"),
        errors_at_a: count(ends[0], "rcv_errors"),
        errors_at_b: count(ends[1], "rcv_errors"),
        a,
        b,
    }
}

/// One row per switch and LID that it forwards.
pub(super) fn routes(lab: &Running, groups: &[GroupRow]) -> Vec<RouteRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let owners: BTreeMap<u16, &str> = fabric.nodes.iter().flat_map(lids).collect();
    let groups: BTreeMap<&str, &str> =
        groups.iter().map(|group| (group.mlid.as_str(), group.mgid.as_str())).collect();
    let mut rows = Vec::new();
    for node in &fabric.nodes {
        let Some(switch) = &node.switch else { continue };
        rows.extend(switch.linear.iter().map(|(lid, port)| RouteRow {
            switch: node.name.clone(),
            lid: *lid,
            ports: vec![*port],
            to: owners.get(lid).map(|name| (*name).to_owned()),
        }));
        rows.extend(switch.multicast.iter().map(|(mlid, ports)| RouteRow {
            switch: node.name.clone(),
            lid: u16::from_str_radix(mlid.trim_start_matches("0x"), 16).unwrap_or(0),
            ports: ports.clone(),
            to: groups.get(mlid.as_str()).map(|mgid| (*mgid).to_owned()),
        }));
    }
    rows
}

/// One row per port that counted anything, and one per node for the programs that speak MADs in it.
pub(super) fn counters(lab: &Running) -> Vec<CounterRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let mut rows = Vec::new();
    for node in &fabric.nodes {
        rows.extend(node.ports.iter().filter(|port| has_anything(port)).map(|port| port_row(node, port)));
    }
    rows.extend(lab.runtime.program_counters());
    rows.extend(lab.runtime.udp.counters());
    rows
}

fn port_row(node: &NodeSnapshot, port: &PortSnapshot) -> CounterRow {
    let owned = |map: &BTreeMap<&'static str, u64>| map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
    let mut counters: BTreeMap<String, u64> = owned(&port.counters);
    let violations = [
        ("m_key_violations", port.m_key_violations),
        ("p_key_violations", port.p_key_violations),
        ("q_key_violations", port.q_key_violations),
    ];
    counters.extend(violations.map(|(name, n)| (name.to_owned(), u64::from(n))));
    CounterRow {
        node: node.name.clone(),
        part: format!("port {}", port.port),
        counters,
        drops: owned(&port.drops),
    }
}

fn has_anything(port: &PortSnapshot) -> bool {
    !port.counters.is_empty() || !port.drops.is_empty()
}

fn lids(node: &NodeSnapshot) -> impl Iterator<Item = (u16, &str)> {
    node.ports
        .iter()
        .filter(|port| port.guid.is_some())
        .filter_map(|port| Some((port.lid?, node.name.as_str())))
}

fn port<'a>(fabric: &'a FabricSnapshot, name: &str) -> Option<&'a PortSnapshot> {
    let (node, number) = name.rsplit_once(':')?;
    let node = fabric.nodes.iter().find(|n| n.name == node)?;
    node.ports.iter().find(|port| number.parse() == Ok(port.port))
}

fn is_of(end: &str, host: &str) -> bool {
    end.rsplit_once(':').map_or(end, |(node, _)| node) == host
}
