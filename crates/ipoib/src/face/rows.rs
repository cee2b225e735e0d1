//! The rows of `ipoib show` about interfaces, made of what engines and faces show of themselves.
//!
//! Who a peer is by name is left open: only a fabric knows.

use std::collections::BTreeMap;

use ib_wire::{
    addr::{Gid, Lid, Mtu, Rate},
    ipoib::{Group, IpoibMgid},
    mad::attr::JoinState,
};
use ipoib_proto::{Interface, Snapshot};
use serde_json::Value;

use super::Face;
use crate::control::schema::{CounterRow, GroupRow, HostRow, MemberRow, NeighborRow, Noun, PathRow, Shown};

/// The rows of `noun`, of interfaces and their faces; none for what interfaces know nothing about.
pub(crate) fn rows<'a>(noun: Noun, interfaces: impl Iterator<Item = (&'a Face, &'a Interface)>) -> Shown {
    let all = interfaces.map(|(face, engine)| (face, engine.snapshot()));
    match noun {
        Noun::Hosts => Shown::Hosts(all.map(|(face, snapshot)| host(face, snapshot)).collect()),
        Noun::Neighbors => {
            Shown::Neighbors(all.flat_map(|(face, snapshot)| neighbors(face, &snapshot)).collect())
        }
        Noun::Paths => Shown::Paths(all.flat_map(|(face, snapshot)| paths(face, &snapshot)).collect()),
        Noun::Groups => Shown::Groups(all.flat_map(|(face, snapshot)| groups(face, &snapshot)).collect()),
        Noun::Counters => Shown::Counters(all.map(|(face, snapshot)| counters(face, &snapshot)).collect()),
        Noun::Links => Shown::Links(Vec::new()),
        Noun::Routes => Shown::Routes(Vec::new()),
        Noun::Sm => Shown::Sm(Vec::new()),
    }
}

fn host(face: &Face, snapshot: Snapshot) -> HostRow {
    let text = |v4: bool| {
        let addresses = face.addresses.iter().filter(|(addr, _)| addr.is_ipv4() == v4);
        addresses.map(|(addr, prefix_len)| format!("{addr}/{prefix_len}")).collect()
    };
    HostRow {
        name: face.plan.host.to_string(),
        interface: face.plan.name.clone(),
        state: if snapshot.carrier.on { "up" } else { "down" }.to_owned(),
        reason: (!snapshot.carrier.on).then_some(snapshot.carrier.reason),
        address: snapshot.identity.hw_addr.to_string(),
        mac: snapshot.identity.mac.to_string(),
        lid: snapshot.identity.lid.0,
        guid: snapshot.identity.guid.to_string(),
        pkey: snapshot.identity.pkey.to_string(),
        qpn: snapshot.identity.qpn.to_string(),
        mtu: snapshot.link.as_ref().map_or(face.plan.mtu, |link| link.ip_mtu.into()),
        ipv4: text(true),
        ipv6: text(false),
        driver: None,
    }
}

fn neighbors(face: &Face, snapshot: &Snapshot) -> Vec<NeighborRow> {
    let row = |peer: &ipoib_proto::PeerSnapshot| {
        let ips = face.neighbors.iter().filter(|(_, mac)| **mac == peer.mac).map(|(ip, _)| ip.to_string());
        NeighborRow {
            host: face.plan.host.to_string(),
            interface: face.plan.name.clone(),
            peer: None,
            ip: ips.collect(),
            mac: peer.mac.to_string(),
            qpn: peer.qpn.to_string(),
            gid: peer.gid.to_string(),
            lid: peer.lid.unwrap_or(Lid::NONE).0,
            state: state_word(peer.state).to_owned(),
            packets: peer.tx_packets,
        }
    };
    snapshot.peers.iter().map(row).collect()
}

fn paths(face: &Face, snapshot: &Snapshot) -> Vec<PathRow> {
    let row = |path: &ipoib_proto::PathSnapshot| PathRow {
        host: face.plan.host.to_string(),
        interface: face.plan.name.clone(),
        peer: None,
        gid: path.gid.to_string(),
        state: state_word(path.state).to_owned(),
        lid: path.lid.unwrap_or(Lid::NONE).0,
        sl: path.sl.map_or(0, |sl| sl.get()),
        mtu: path.mtu.and_then(Mtu::bytes).unwrap_or(0).into(),
        rate: path.rate.map(gbps).unwrap_or_default(),
        neighbors: snapshot.peers.iter().filter(|peer| peer.gid == path.gid).count() as u64,
    };
    snapshot.paths.iter().map(row).collect()
}

/// The groups the interface has joined, each with it as the only member.
fn groups(face: &Face, snapshot: &Snapshot) -> Vec<GroupRow> {
    let Some(link) = &snapshot.link else { return Vec::new() };
    let joined = snapshot.groups.iter().filter_map(|group| Some((group, group.mlid?)));
    let row = |(group, mlid): (&ipoib_proto::GroupSnapshot, Lid)| GroupRow {
        mgid: group.mgid.to_string(),
        ip: ip_group(group.mgid.gid()),
        mlid: mlid.to_string(),
        pkey: snapshot.identity.pkey.to_string(),
        qkey: link.qkey.to_string(),
        mtu: link.mtu.bytes().unwrap_or(0).into(),
        rate: gbps(link.rate),
        sl: link.sl.get(),
        members: vec![MemberRow {
            port: face.plan.host.to_string(),
            join: join_words(JoinState(group.join_state)),
        }],
    };
    joined.map(row).collect()
}

fn counters(face: &Face, snapshot: &Snapshot) -> CounterRow {
    let (mut counters, mut drops) = (numbers(&snapshot.counters), numbers(&snapshot.counters.drops));
    counters.extend(numbers(&snapshot.bounds));
    drops.insert("host_bad_frame".to_owned(), face.counters.bad_frame);
    drops.insert("host_refused".to_owned(), face.counters.host_refused);
    CounterRow { node: face.plan.host.to_string(), part: face.plan.name.clone(), counters, drops }
}

/// The numbers of a flat structure by their names.
pub(crate) fn numbers(value: &impl serde::Serialize) -> BTreeMap<String, u64> {
    let Ok(Value::Object(map)) = serde_json::to_value(value) else { return BTreeMap::new() };
    map.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
}

/// A rate as `100` or `2.5`.
fn gbps(rate: Rate) -> String {
    rate.to_string().trim_end_matches(" Gb/s").to_owned()
}

/// The IP group that a multicast GID carries.
pub(crate) fn ip_group(gid: Gid) -> Option<String> {
    Some(match IpoibMgid::parse(gid.multicast()?)?.group {
        Group::Broadcast => "broadcast".to_owned(),
        Group::V4(ip) => ip.to_string(),
        Group::V6(low) => {
            let mut bytes = [0; 16];
            bytes[..2].copy_from_slice(&[0xff, gid.0[1]]);
            bytes[1] &= 0x0f;
            bytes[6..].copy_from_slice(&low);
            std::net::Ipv6Addr::from(bytes).to_string()
        }
    })
}

/// How a port is in a group.
pub(crate) fn join_words(state: JoinState) -> String {
    let words = [
        (JoinState::FULL, "full"),
        (JoinState::NON_MEMBER, "non"),
        (JoinState::SEND_ONLY_NON_MEMBER, "send-only"),
        (JoinState::SEND_ONLY_FULL, "send-only-full"),
    ];
    let held: Vec<&str> = words.iter().filter(|(bit, _)| state.has(*bit)).map(|(_, word)| *word).collect();
    held.join(",")
}

/// The engine's word in the words of `show`.
fn state_word(state: &str) -> &'static str {
    match state {
        "valid" => "ready",
        "stale" => "stale",
        "failed" => "failed",
        "querying" => "resolving",
        _ => "idle",
    }
}
