//! Rows about IPoIB interfaces: hosts, neighbours, paths.

use std::net::IpAddr;

use ib_lab::Attached;
use ib_wire::addr::{Gid, Lid, Mtu, Rate};
use ipoib_proto::Snapshot;

use super::super::{Running, hosts::Face};
use crate::control::schema::{HostRow, NeighborRow, PathRow};

/// One row per interface.
pub(super) fn hosts(lab: &Running, host: Option<&str>) -> Vec<HostRow> {
    of_host(lab, host)
        .map(|(face, attached, snapshot)| {
            let addresses: Vec<IpAddr> = snapshot.identity.addresses.clone();
            let text =
                |v4: bool| addresses.iter().filter(|a| a.is_ipv4() == v4).map(ToString::to_string).collect();
            HostRow {
                name: attached.host.clone(),
                interface: attached.name.clone(),
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
            }
        })
        .collect()
}

/// One row per neighbour of each interface.
pub(super) fn neighbors(lab: &Running, host: Option<&str>) -> Vec<NeighborRow> {
    let mut rows = Vec::new();
    for (face, attached, snapshot) in of_host(lab, host) {
        rows.extend(snapshot.peers.iter().map(|peer| {
            let ips =
                face.neighbors.iter().filter(|(_, mac)| **mac == peer.mac).map(|(ip, _)| ip.to_string());
            NeighborRow {
                host: attached.host.clone(),
                interface: attached.name.clone(),
                peer: owner(lab, peer.gid),
                ip: ips.collect(),
                mac: peer.mac.to_string(),
                qpn: peer.qpn.to_string(),
                gid: peer.gid.to_string(),
                lid: peer.lid.unwrap_or(Lid::NONE).0,
                state: state_word(peer.state).to_owned(),
                packets: peer.tx_packets,
            }
        }));
    }
    rows
}

/// One row per path of each interface.
pub(super) fn paths(lab: &Running, host: Option<&str>) -> Vec<PathRow> {
    let mut rows = Vec::new();
    for (_, attached, snapshot) in of_host(lab, host) {
        for path in &snapshot.paths {
            rows.push(PathRow {
                host: attached.host.clone(),
                interface: attached.name.clone(),
                peer: owner(lab, path.gid),
                gid: path.gid.to_string(),
                state: state_word(path.state).to_owned(),
                lid: path.lid.unwrap_or(Lid::NONE).0,
                sl: path.sl.map_or(0, |sl| sl.get()),
                mtu: path.mtu.and_then(Mtu::bytes).unwrap_or(0).into(),
                rate: path.rate.map(gbps).unwrap_or_default(),
                neighbors: snapshot.peers.iter().filter(|peer| peer.gid == path.gid).count() as u64,
            });
        }
    }
    rows
}

/// Which host of the lab has a GID.
pub(super) fn owner(lab: &Running, gid: Gid) -> Option<String> {
    let interfaces = lab.runtime.lab.interfaces();
    interfaces.map(|(_, a)| a).find(|a| a.engine.hw_addr().gid == gid).map(|a| a.host.clone())
}

/// A rate as `100` or `2.5`.
pub(super) fn gbps(rate: Rate) -> String {
    rate.to_string().trim_end_matches(" Gb/s").to_owned()
}

fn of_host<'a>(
    lab: &'a Running,
    host: Option<&'a str>,
) -> impl Iterator<Item = (&'a Face, &'a Attached, Snapshot)> {
    let all = lab.runtime.lab.interfaces().zip(&lab.runtime.faces);
    all.filter(move |((_, attached), _)| host.is_none_or(|host| host == attached.host))
        .map(|((_, attached), face)| (face, attached, attached.engine.snapshot()))
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
