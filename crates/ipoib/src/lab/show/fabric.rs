//! Rows about the fabric: links, forwarding tables, counters.

use std::collections::BTreeMap;

use ib_fabric::{FabricSnapshot, LinkSnapshot, NodeSnapshot, PortSnapshot, topology::Link};
use serde_json::Value;

use super::super::Running;
use crate::control::schema::{CounterRow, LinkFaults, LinkRow, RouteRow};

/// One row per cable.
pub(super) fn links(lab: &Running, host: Option<&str>) -> Vec<LinkRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let plans = lab.topology.links.iter();
    let rows = plans.map(|plan| {
        let (a, b) = (lab.topology.port_name(plan.a), lab.topology.port_name(plan.b));
        let seen = fabric.links.iter().find(|link| link.a == a && link.b == b);
        row(&fabric, plan, (a, b), seen)
    });
    rows.filter(|row| host.is_none_or(|host| is_of(&row.a, host) || is_of(&row.b, host))).collect()
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
    let share = |text: &String| (text != "0%").then(|| text.clone());
    LinkRow {
        state: match worst {
            Some("Active") => "active",
            Some("Armed") => "armed",
            Some("Initialize" | "Init") => "init",
            _ => "down",
        }
        .to_owned(),
        width: plan.width.lanes().map(|lanes| format!("{lanes}x")).unwrap_or_default(),
        speed: plan.speed.to_string(),
        mtu: ends[0].and_then(|port| port.mtu).unwrap_or(0).into(),
        faults: seen.map_or_else(LinkFaults::default, |link| LinkFaults {
            down: link.unplugged,
            loss: share(&link.loss),
            delay: Some(link.delay.clone()).filter(|delay| !delay.starts_with('0')),
            corrupt: share(&link.corrupt),
        }),
        packets_from_a: count(ends[0], "xmit_packets"),
        packets_from_b: count(ends[1], "xmit_packets"),
        errors_at_a: count(ends[0], "rcv_errors"),
        errors_at_b: count(ends[1], "rcv_errors"),
        a,
        b,
    }
}

/// One row per switch and LID that it forwards.
pub(super) fn routes(lab: &Running) -> Vec<RouteRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let owners: BTreeMap<u16, &str> = fabric.nodes.iter().flat_map(lids).collect();
    let groups: BTreeMap<String, String> =
        super::manager::groups(lab, None).into_iter().map(|group| (group.mlid, group.mgid)).collect();
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
            to: groups.get(mlid).cloned(),
        }));
    }
    rows
}

/// One row per port, one per interface.
pub(super) fn counters(lab: &Running, host: Option<&str>) -> Vec<CounterRow> {
    let fabric = lab.runtime.lab.fabric().snapshot();
    let mut rows = Vec::new();
    for node in fabric.nodes.iter().filter(|node| host.is_none_or(|host| host == node.name)) {
        rows.extend(node.ports.iter().filter(|port| has_anything(port)).map(|port| port_row(node, port)));
    }
    for (face, (_, attached)) in lab.runtime.faces.iter().zip(lab.runtime.lab.interfaces()) {
        if host.is_some_and(|host| host != attached.host) {
            continue;
        }
        let snapshot = attached.engine.snapshot();
        let (mut counters, mut drops) = (numbers(&snapshot.counters), numbers(&snapshot.counters.drops));
        counters.extend(numbers(&snapshot.bounds));
        drops.insert("host_bad_frame".to_owned(), face.counters.bad_frame);
        drops.insert("host_refused".to_owned(), face.counters.host_refused);
        rows.push(CounterRow { node: attached.host.clone(), part: attached.name.clone(), counters, drops });
    }
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

/// The numbers of a flat structure by their names.
fn numbers(value: &impl serde::Serialize) -> BTreeMap<String, u64> {
    let Ok(Value::Object(map)) = serde_json::to_value(value) else { return BTreeMap::new() };
    map.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
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
