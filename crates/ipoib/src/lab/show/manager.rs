//! Rows about subnet managers and what they administer.

use std::collections::{BTreeMap, btree_map::Entry};

use ib_fabric::{PortId, topology::format_duration};
use ib_lab::Manager;
use ib_sm::{Role, SubnetManager, sa::Manner};
use ib_wire::{
    addr::Lid,
    mad::attr::{CapabilityMask, JoinState},
};

use super::{super::Running, interface::Owners};
use crate::{
    control::schema::{GroupRow, MemberRow, SmRow},
    face::{ip_group, join_words},
};

/// One row per group as the master among our managers keeps them; none if another manages the subnet.
pub(super) fn groups(lab: &Running, owners: &Owners) -> Option<Vec<GroupRow>> {
    let managers = lab.runtime.lab.managers().iter().filter_map(|m| m.sm.as_ref());
    let master = managers.map(SubnetManager::snapshot).find(|sm| sm.administration.is_master);
    master.map(|sm| kept(owners, &sm.administration))
}

/// Groups as their members know them, each with all its members in one row.
pub(super) fn together(rows: Vec<GroupRow>) -> Vec<GroupRow> {
    let mut groups: BTreeMap<String, GroupRow> = BTreeMap::new();
    for row in rows {
        match groups.entry(row.mgid.clone()) {
            Entry::Vacant(slot) => drop(slot.insert(row)),
            Entry::Occupied(mut known) => known.get_mut().members.extend(row.members),
        }
    }
    groups.into_values().collect()
}

fn kept(owners: &Owners, administration: &ib_sm::sa::Snapshot) -> Vec<GroupRow> {
    let groups = administration.groups.iter();
    groups
        .map(|group| GroupRow {
            mgid: group.mgid.clone(),
            ip: group.mgid.parse().ok().and_then(ip_group),
            mlid: group.mlid.clone(),
            pkey: group.pkey.clone(),
            qkey: group.qkey.clone(),
            mtu: group.mtu.unwrap_or(0).into(),
            rate: group.rate.trim_end_matches(" Gb/s").to_owned(),
            sl: group.sl,
            members: group
                .members
                .iter()
                .map(|member| MemberRow {
                    port: member
                        .gid
                        .parse()
                        .ok()
                        .and_then(|gid| owners.name(gid))
                        .map_or_else(|| member.gid.clone(), str::to_owned),
                    join: join_words(JoinState(member.join_state)),
                })
                .collect(),
        })
        .collect()
}

/// One row per manager: ours, then those that programs are.
pub(super) fn managers(lab: &Running) -> Vec<SmRow> {
    let running = lab.runtime.lab.managers().iter().filter_map(|m| Some((m, m.sm.as_ref()?)));
    let mut rows: Vec<SmRow> = running.map(|(manager, sm)| ours(lab, manager, sm)).collect();
    rows.extend(programs(lab));
    rows
}

fn ours(lab: &Running, manager: &Manager, sm: &SubnetManager) -> SmRow {
    let (view, snapshot) = (lab.runtime.lab.fabric().port_view(manager.port), sm.snapshot());
    let ports = snapshot.nodes.iter().flat_map(|node| &node.ports);
    SmRow {
        node: manager.node.clone(),
        guid: view.guid.to_string(),
        lid: view.lid.0,
        kind: "embedded".to_owned(),
        role: role_word(snapshot.role).to_owned(),
        priority: Some(snapshot.priority),
        answers: Some(manner(snapshot.administration.manner)),
        sweeps: Some(snapshot.sweeps.completed),
        last_sweep_us: Some(snapshot.sweeps.last_us).filter(|us| *us > 0),
        last_sweep_mads: (snapshot.sweeps.completed > 0).then_some(snapshot.sweeps.last_smps),
        mads_sent: Some(snapshot.smps.sent),
        mads_received: Some(snapshot.smps.answered),
        mads_timed_out: Some(snapshot.smps.timed_out),
        lids: Some(ports.filter(|port| port.lid != 0).count() as u64),
        nodes: Some(snapshot.nodes.len() as u64),
        links: Some(links(sm)),
        groups: Some(snapshot.administration.groups.len() as u64),
    }
}

fn manner(manner: Manner) -> String {
    match manner {
        Manner::Prompt => "promptly".to_owned(),
        Manner::Busy => "busy".to_owned(),
        Manner::NoRecords => "no_records".to_owned(),
        Manner::Slow(time) => format!("slow {}", format_duration(time)),
    }
}

/// Ports that say a manager is there, and it is none of ours.
fn programs(lab: &Running) -> Vec<SmRow> {
    let fabric = lab.runtime.lab.fabric();
    let managers = lab.runtime.lab.managers();
    let is_ours = |port: PortId| managers.iter().any(|m| m.sm.is_some() && m.port == port);
    let rows = fabric.end_ports().filter_map(|(node, _, port)| {
        let (info, view) = (fabric.port_info(port), fabric.port_view(port));
        let is_sm = info.capability_mask.has(CapabilityMask::IS_SM) && !is_ours(port);
        let leads = view.lid != Lid::NONE && view.sm_lid == view.lid;
        is_sm.then(|| SmRow {
            node: node.to_owned(),
            guid: view.guid.to_string(),
            lid: view.lid.0,
            kind: "program".to_owned(),
            role: if leads { "master" } else { "not-master" }.to_owned(),
            ..SmRow::default()
        })
    });
    rows.collect()
}

/// Links between nodes the manager found; each has two ends.
fn links(sm: &SubnetManager) -> u64 {
    let ends = sm.subnet().nodes().flat_map(|(_, node)| &node.ports).filter(|port| port.peer.is_some());
    ends.count() as u64 / 2
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Discovering => "discovering",
        Role::Standby => "standby",
        Role::Master => "master",
        Role::NotActive => "not-active",
    }
}
