//! Multicast groups and who belongs to them. IBA 1 §15.2.5.17.
//!
//! `join`, `leave` and `query` are the three things asked about groups; here is what they work on. A group
//! lives as long as it has a full member, or for ever if a partition demands it.

mod join;
mod leave;
mod mlid;
mod pace;
mod query;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use ib_wire::{
    addr::{Gid, Guid, MulticastGid, MulticastLid},
    mad::{
        attr::{JoinState, McMemberRecord, TrapNumber},
        sa::Selector,
    },
    time::Instant,
};

use self::{mlid::Mlids, pace::Pace};
use crate::{
    demand::GroupMember,
    partition::{GroupParameters, Partitions},
    subnet::{PortId, Subnet},
};

/// A multicast group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) parameters: GroupParameters,
    pub(super) mlid: MulticastLid,
    /// A partition demands it: it stays without members.
    pub(super) well_known: bool,
    /// By GUID of the port.
    pub(super) members: BTreeMap<Guid, Member>,
}

/// A port in a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) port: PortId,
    /// As it named itself.
    pub(super) gid: Gid,
    pub(super) join_state: JoinState,
    /// Somebody else joined for it.
    pub(super) proxy: bool,
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    by_mgid: BTreeMap<MulticastGid, Group>,
    by_port: BTreeMap<Guid, BTreeSet<MulticastGid>>,
    mlids: Mlids,
    members: usize,
    /// Counts the MGIDs that we made.
    made: u32,
    pace: Pace,
    /// Groups that came and went, in order.
    pub(super) events: Vec<(TrapNumber, GroupParameters)>,
}

impl Groups {
    pub(super) fn get(&self, mgid: MulticastGid) -> Option<&Group> {
        self.by_mgid.get(&mgid)
    }

    pub(super) fn by_gid(&self, gid: Gid) -> Option<&Group> {
        self.get(gid.multicast()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_mgid.values()
    }

    /// Makes the groups that partitions demand stand, and lets go those that they demand no more. Returns
    /// those for which no LID is free.
    pub(super) fn stand(&mut self, partitions: &Partitions, mlids: u16) -> Vec<MulticastGid> {
        let mut left_out = Vec::new();
        for parameters in partitions.groups() {
            if let Some(group) = self.by_mgid.get_mut(&parameters.mgid) {
                group.well_known = true;
            } else if let Some(mlid) = self.mlids.take(parameters.mgid, None, mlids) {
                self.insert(*parameters, mlid, true);
            } else {
                left_out.push(parameters.mgid);
            }
        }
        let demanded: BTreeSet<_> = partitions.groups().map(|parameters| parameters.mgid).collect();
        let others: Vec<_> = self
            .by_mgid
            .iter()
            .filter(|(mgid, g)| g.well_known && !demanded.contains(*mgid))
            .map(|(m, _)| *m)
            .collect();
        for mgid in others {
            if let Some(group) = self.by_mgid.get_mut(&mgid) {
                group.well_known = false;
            }
            self.clean_up(mgid);
        }
        left_out
    }

    /// Ends all memberships of a port that left the subnet.
    pub(super) fn remove_port(&mut self, guid: Guid) {
        for mgid in self.by_port.get(&guid).cloned().unwrap_or_default() {
            self.remove(mgid, guid);
        }
    }

    /// Time goes on.
    pub(super) fn advance(&mut self, now: Instant) {
        self.pace.advance(now);
    }

    /// When `advance` makes a change known that waits.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pace.next()
    }

    /// A LID whose members changed since this was asked last, and its members.
    pub(super) fn take_changed(&mut self) -> Option<(MulticastLid, Vec<GroupMember>)> {
        let mlid = self.pace.take()?;
        let members = self.members_of(mlid);
        self.pace.told(mlid, members.len());
        Some((mlid, members))
    }

    /// Who gets the packets of a LID, and who sends to it: the members of all groups that share it.
    pub(super) fn members_of(&self, mlid: MulticastLid) -> Vec<GroupMember> {
        let groups: Vec<_> = self.mlids.groups(mlid).filter_map(|mgid| self.get(mgid)).collect();
        if let [group] = groups[..] {
            let member = |m: &Member| GroupMember { port: m.port, receives: m.join_state.receives() };
            return group.members.values().map(member).collect();
        }
        let mut ports: BTreeMap<PortId, bool> = BTreeMap::new();
        for group in groups {
            for member in group.members.values() {
                *ports.entry(member.port).or_default() |= member.join_state.receives();
            }
        }
        ports.into_iter().map(|(port, receives)| GroupMember { port, receives }).collect()
    }

    fn insert(&mut self, parameters: GroupParameters, mlid: MulticastLid, well_known: bool) {
        self.by_mgid
            .insert(parameters.mgid, Group { parameters, mlid, well_known, members: BTreeMap::new() });
        self.events.push((TrapNumber::GROUP_CREATED, parameters));
    }

    fn add(&mut self, mgid: MulticastGid, guid: Guid, member: Member) -> JoinState {
        let Some(group) = self.by_mgid.get_mut(&mgid) else { return JoinState::default() };
        let before = group.members.get(&guid).copied();
        let old = before.map(|m| m.join_state).unwrap_or_default();
        let join_state = old.and(member.join_state);
        group
            .members
            .insert(guid, Member { join_state, proxy: before.map_or(member.proxy, |m| m.proxy), ..member });
        if before.is_none() || old.receives() != join_state.receives() {
            self.pace.changed(group.mlid, group.members.len());
        }
        if before.is_none() {
            self.members += 1;
            self.by_port.entry(guid).or_default().insert(mgid);
        }
        join_state
    }

    /// Leaves `bits` of a membership; what is left of it.
    fn subtract(&mut self, mgid: MulticastGid, guid: Guid, bits: JoinState) -> JoinState {
        let Some(group) = self.by_mgid.get_mut(&mgid) else { return JoinState::default() };
        let Some(member) = group.members.get_mut(&guid) else { return JoinState::default() };
        let old = member.join_state;
        let left = old.without(bits);
        if left.is_empty() {
            self.remove(mgid, guid);
            return left;
        }
        member.join_state = left;
        if old.receives() != left.receives() {
            self.pace.changed(group.mlid, group.members.len());
        }
        self.clean_up(mgid);
        left
    }

    fn remove(&mut self, mgid: MulticastGid, guid: Guid) {
        let Some(group) = self.by_mgid.get_mut(&mgid) else { return };
        if group.members.remove(&guid).is_some() {
            self.members -= 1;
            self.pace.changed(group.mlid, group.members.len());
        }
        if let Some(groups) = self.by_port.get_mut(&guid) {
            groups.remove(&mgid);
            if groups.is_empty() {
                self.by_port.remove(&guid);
            }
        }
        self.clean_up(mgid);
    }

    /// Deletes the group if nothing keeps it alive.
    fn clean_up(&mut self, mgid: MulticastGid) {
        let alive = |g: &Group| g.well_known || g.members.values().any(|m| m.join_state.keeps_alive());
        if self.get(mgid).is_none_or(alive) {
            return;
        }
        let Some(group) = self.by_mgid.remove(&mgid) else { return };
        self.members -= group.members.len();
        for guid in group.members.keys() {
            if let Some(groups) = self.by_port.get_mut(guid) {
                groups.remove(&mgid);
                if groups.is_empty() {
                    self.by_port.remove(guid);
                }
            }
        }
        self.mlids.give_back(mgid, group.mlid);
        self.pace.changed(group.mlid, group.members.len());
        self.events.push((TrapNumber::GROUP_DELETED, group.parameters));
    }
}

/// The record that shows a group, and a member of it.
fn record(
    parameters: &GroupParameters,
    mlid: MulticastLid,
    gid: Gid,
    join: JoinState,
    proxy: bool,
) -> McMemberRecord {
    McMemberRecord {
        mgid: parameters.mgid.gid(),
        port_gid: gid,
        qkey: parameters.qkey,
        mlid: mlid.into(),
        mtu_selector: Selector::Exactly.into(),
        mtu: parameters.mtu,
        traffic_class: parameters.traffic_class,
        pkey: parameters.pkey,
        rate_selector: Selector::Exactly.into(),
        rate: parameters.rate,
        life_selector: Selector::Exactly.into(),
        life: parameters.life,
        sl: parameters.sl,
        flow_label: parameters.flow_label,
        hop_limit: parameters.hop_limit,
        scope: parameters.mgid.scope(),
        join_state: join,
        proxy_join: proxy,
    }
}

/// Multicast LIDs that every switch can forward.
pub(super) fn forwardable_lids(subnet: &Subnet, limit: u16) -> u16 {
    let caps =
        subnet.switches().filter_map(|(_, node)| node.switch.as_ref()).map(|s| s.info.multicast_fdb_cap);
    caps.min().map_or(limit, |cap| cap.min(limit))
}
