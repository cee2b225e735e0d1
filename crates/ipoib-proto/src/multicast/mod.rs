//! Multicast groups of an interface: which it listens to, which it sends to, and how it becomes a member.
//! RFC 4391 §10.
//!
//! The broadcast group is one of them and always the first: no other is joined before it. A membership is
//! confirmed by joining again, never by leaving first, so that nothing is lost while it is confirmed.

mod group;
mod join;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use group::{Group, State};
use ib_wire::{
    addr::{MulticastGid, Qpn},
    ipoib,
    mad::attr::JoinState,
    offload::Offload,
    payload::Payload,
    time::Instant,
    ud::UdSend,
};

use crate::{
    Drop, GroupSnapshot,
    broadcast::{Link, Local},
    context::{Context, packets},
    lru::{Id, Lru},
    map::{Map, map},
    queue::Waiting,
    sa::SaClient,
    timer::Timer,
};

/// Who told that the host listens to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The host's kernel.
    Host,
    /// IGMP or MLD that the host sent.
    Snooped,
    /// The interface itself: every host listens to these.
    Always,
}

/// What a flush tells subnet administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing: nobody would hear it.
    Nothing,
    /// That groups are left which are not joined again.
    Abandoned,
    /// That all groups are left.
    Everything,
}

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    table: Lru<Group>,
    ids: Map<MulticastGid, Id>,
    broadcast: Option<Id>,
    link: Option<Link>,
    /// How to join to send only; none before it is known what subnet administration can do.
    send_only: Option<JoinState>,
}

impl Groups {
    /// No groups.
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: Lru::new(), ids: map(seed), broadcast: None, link: None, send_only: None }
    }

    /// Joins the broadcast group, and after it all others.
    pub(crate) fn start(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local) {
        let mgid = local.broadcast();
        let id = self.open(cx, mgid);
        self.broadcast = Some(id);
        self.table.get_mut(id).expect("just opened").broadcast = true;
        self.join(cx, sa, local, id);
    }

    /// The broadcast group is joined and says this; everything else may follow.
    pub(crate) fn set_link(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, link: Link) {
        if self.link.replace(link) == Some(link) {
            return;
        }
        self.each(|groups, id| {
            let group = groups.table.get_mut(id).expect("just listed");
            // What was joined with other parameters is joined again with these.
            group.confirm |= group.to.is_some() && !group.broadcast;
            groups.join_if_wanted(cx, sa, local, id)
        });
    }

    /// How to join to send only.
    pub(crate) fn set_send_only(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        state: JoinState,
    ) {
        self.send_only = Some(state);
        self.each(|groups, id| {
            // What is joined already waits for its own time to be confirmed.
            let waits = groups.table.get(id).is_some_and(|group| group.to.is_none());
            waits && groups.join_if_wanted(cx, sa, local, id)
        });
    }

    /// True if it is known how to join to send only.
    pub(crate) const fn knows_send_only(&self) -> bool {
        self.send_only.is_some()
    }

    /// The host listens to `ip`.
    pub(crate) fn listen(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        ip: IpAddr,
        source: Source,
    ) {
        let Some(mgid) = mgid_of(local, ip).filter(|mgid| *mgid != local.broadcast()) else { return };
        if !self.ids.contains_key(&mgid) && !self.has_room(cx) {
            cx.counters.groups_refused += 1;
            return tracing::warn!(interface = %cx.config.name, %ip, "too many groups: not joined");
        }
        let id = self.open(cx, mgid);
        let group = self.table.get_mut(id).expect("just opened");
        if group.listen(ip, source) {
            self.join_if_wanted(cx, sa, local, id);
        }
    }

    /// The host no longer listens to `ip`, as far as `source` knows.
    pub(crate) fn unlisten(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        ip: IpAddr,
        source: Source,
    ) {
        let Some(id) = mgid_of(local, ip).and_then(|mgid| self.ids.get(&mgid)).copied() else { return };
        let Some(group) = self.table.get_mut(id) else { return };
        if group.unlisten(ip, source) && !group.wants_full() {
            self.stop_listening(cx, sa, local, id);
        }
    }

    /// Sends `payload` to the group `mgid`, or lets it wait, or discards it. `ip` is the IP group if there is
    /// one: where nobody listens on this link, routers may know of listeners on others.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        (mgid, ip): (MulticastGid, Option<IpAddr>),
        (payload, offload): (Payload, Offload),
    ) {
        let packets = packets(&payload, &offload);
        let id = match self.ids.get(&mgid).copied() {
            Some(id) => id,
            None if self.has_room(cx) => self.open(cx, mgid),
            None => return cx.discard_all(Drop::TxTooManyGroups, packets),
        };
        let (Some(group), Some(link)) = (self.table.touch(id), &self.link) else {
            return cx.discard_all(Drop::TxNoCarrier, packets);
        };
        group.last_used = cx.now;
        if let Some(to) = group.to {
            group.tx += packets;
            let datagram = UdSend { to, dest_qp: Qpn::MULTICAST, qkey: link.qkey, payload, offload };
            return cx.send(datagram, true);
        }
        match group.state {
            State::Absent { until } if until > cx.now => {
                return self.send_to_routers(cx, sa, local, ip, (payload, offload));
            }
            State::Waiting { until } if until > cx.now && group.given_up() => {
                return cx.discard_all(Drop::TxGroupFailed, packets);
            }
            _ => {}
        }
        group.ip = ip;
        let limit = cx.config.group_queue;
        let mac = ip.map_or(ib_wire::addr::Mac::BROADCAST, ipoib::group_mac);
        let packet = Waiting { mac, dest_qp: Qpn::MULTICAST, payload, offload };
        group.queue.push(cx, limit, Drop::TxGroupQueueFull, packet);
        self.join_if_wanted(cx, sa, local, id);
    }

    /// True if the host takes packets of `mgid`; counts as many.
    #[inline]
    pub(crate) fn receives(&mut self, mgid: MulticastGid, packets: u64) -> bool {
        // What comes to a group mostly comes to the broadcast group.
        let is_meant = |id: &Id| self.table.get(*id).is_some_and(|group| group.mgid == mgid);
        let id = self.broadcast.filter(is_meant).or_else(|| self.ids.get(&mgid).copied());
        let Some(group) = id.and_then(|id| self.table.get_mut(id)).filter(|group| group.attached.is_some())
        else {
            return false;
        };
        group.rx += packets;
        true
    }

    /// The time of `Timer::Group(id)` has come.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, id: Id) {
        let Some(group) = self.table.get_mut(id) else { return };
        if !matches!(group.state, State::Joining { .. }) {
            group.state = State::Idle;
        }
        if self.join_if_wanted(cx, sa, local, id) {
            return;
        }
        let Some(group) = self.table.get(id) else { return };
        let idle_at = group.last_used + cx.config.send_only_idle;
        if group.wants_full() || matches!(group.state, State::Joining { .. }) {
            return;
        }
        if idle_at > cx.now {
            cx.timers.set(Timer::Group(id), idle_at);
        } else if group.queue.is_empty() {
            self.leave(cx, sa, local, id, Drop::TxGroupFailed);
        } else {
            cx.timers.set(Timer::Group(id), cx.now + cx.config.send_only_idle);
        }
    }

    /// The group was created: who waits for it need not wait longer.
    pub(crate) fn handle_created(&mut self, cx: &mut Context, mgid: MulticastGid) {
        let Some(id) = self.ids.get(&mgid).copied() else { return };
        let Some(group) = self.table.get_mut(id) else { return };
        if matches!(group.state, State::Joining { .. }) || group.held.keeps_alive() {
            return;
        }
        group.confirm = true;
        cx.timers.set(Timer::Group(id), cx.now + cx.chance.up_to(REACTION));
    }

    /// The group was deleted: its LID may soon be another's.
    pub(crate) fn handle_deleted(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        mgid: MulticastGid,
    ) {
        let Some(id) = self.ids.get(&mgid).copied() else { return };
        let Some(group) = self.table.get_mut(id) else { return };
        if matches!(group.state, State::Joining { .. }) {
            return;
        }
        group.lose(cx);
        group.state = State::Idle;
        if !self.join_if_wanted(cx, sa, local, id) {
            cx.timers.set(Timer::Group(id), cx.now + cx.config.send_only_idle);
        }
    }

    /// Confirms every membership within the spread; nothing stops meanwhile.
    pub(crate) fn reregister(&mut self, cx: &mut Context) {
        for id in self.table.ids() {
            let Some(group) = self.table.get_mut(id) else { continue };
            group.confirm = true;
            if !matches!(group.state, State::Joining { .. }) {
                group.state = State::Idle;
                let half = cx.config.reregister_spread / 2;
                // The broadcast group in the first half: the others take its parameters.
                let offset =
                    if group.broadcast { cx.chance.up_to(half) } else { half + cx.chance.up_to(half) };
                cx.timers.set(Timer::Group(id), cx.now + offset);
            }
        }
    }

    /// Gives up everything but what the host listens to.
    pub(crate) fn flush(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, leave: Leave) {
        self.link = None;
        for id in self.table.ids() {
            if let Some(group) = self.table.get_mut(id) {
                let keep = group.wants_full() && !group.broadcast;
                let asked =
                    if let State::Joining { bits } = group.state { bits } else { JoinState::default() };
                let tell = match leave {
                    Leave::Nothing => false,
                    Leave::Abandoned => !group.wants_full(),
                    Leave::Everything => true,
                };
                let held = if tell { group.held.and(asked) } else { JoinState::default() };
                cx.timers.cancel(Timer::Group(id));
                group.lose(cx);
                group.queue.clear(cx, Drop::TxFlushed);
                (group.state, group.failures, group.confirm) = (State::Idle, 0, false);
                let mgid = group.mgid;
                sa.cancel(cx, crate::sa::Subject::Join(mgid));
                join::leave(cx, sa, local, mgid, held);
                if !keep {
                    self.table.remove(id);
                    self.ids.remove(&mgid);
                }
            }
        }
        self.broadcast = None;
    }

    /// True if the broadcast group is joined.
    pub(crate) fn is_joined(&self) -> bool {
        self.broadcast.and_then(|id| self.table.get(id)).is_some_and(|group| group.to.is_some())
    }

    /// True if the broadcast group is wanted.
    pub(crate) const fn is_started(&self) -> bool {
        self.broadcast.is_some()
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.table.len()
    }

    /// What they show, by MGID.
    pub(crate) fn snapshot(&self, now: Instant) -> Vec<GroupSnapshot> {
        let mut all: Vec<_> = self.table.iter().map(|(_, group)| group.snapshot(now)).collect();
        all.sort_unstable_by_key(|group| group.mgid);
        all
    }

    /// To the routers, if the group reaches beyond the link and there are any. RFC 4391 §10.
    fn send_to_routers(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        ip: Option<IpAddr>,
        packet: (Payload, Offload),
    ) {
        let routers = ip.filter(|ip| is_beyond_link(*ip)).map(all_routers);
        match routers.and_then(|routers| mgid_of(local, routers)) {
            Some(mgid) => {
                cx.counters.tx_to_routers += 1;
                self.send(cx, sa, local, (mgid, None), packet);
            }
            None => cx.discard_all(Drop::TxNoGroup, packets(&packet.0, &packet.1)),
        }
    }

    /// True if one more may come; the broadcast group has its place in any case.
    fn has_room(&self, cx: &Context) -> bool {
        self.table.len() + usize::from(self.broadcast.is_none()) < cx.config.max_groups
    }

    fn open(&mut self, cx: &Context, mgid: MulticastGid) -> Id {
        if let Some(id) = self.ids.get(&mgid) {
            return *id;
        }
        let id = self.table.insert(Group::new(mgid, cx.now));
        self.ids.insert(mgid, id);
        id
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, Id) -> bool) {
        for id in self.table.ids() {
            act(self, id);
        }
    }
}

/// The group of an IP multicast address.
fn mgid_of(local: &Local, ip: IpAddr) -> Option<MulticastGid> {
    ip.is_multicast().then(|| match ip {
        IpAddr::V4(ip) => ipoib::ipv4_mgid(local.scope, local.pkey, ip),
        IpAddr::V6(ip) => ipoib::ipv6_mgid(local.scope, local.pkey, ip),
    })
}

/// The group that all routers of the link listen to.
const fn all_routers(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 2)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2)),
    }
}

/// True if routers may carry packets to `ip` to other links.
const fn is_beyond_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !matches!(ip.octets(), [224, 0, 0, _]),
        IpAddr::V6(ip) => ip.octets()[1] & 0xf > 2,
    }
}

/// Time within which a group that came into being is joined.
const REACTION: core::time::Duration = core::time::Duration::from_millis(200);
