//! Becoming a member, staying one, ceasing to be one. RFC 4391 §5, §10.

use ib_wire::{
    addr::MulticastGid,
    mad::{
        Method, Status,
        attr::{JoinState, McMemberRecord},
        sa::{RecordId, Selector, mc_member_mask as mask},
    },
    packet::GlobalRoute,
    ud::{AddressVector, QpCommand, UdSend},
};

use super::{Groups, group::State};
use crate::{
    Drop, Event, Output, SaFailure,
    broadcast::{Local, membership},
    chance::backoff,
    context::Context,
    lru::Id,
    queue::Waiting,
    sa::{Question, SaClient, Subject},
    timer::Timer,
};

impl Groups {
    /// Joins if that is wanted, possible, and neither under way nor put off. True if a join is under way.
    pub(super) fn join_if_wanted(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        id: Id,
    ) -> bool {
        let Some(group) = self.table.get(id) else { return false };
        let put_off = match group.state {
            State::Joining { .. } => return true,
            State::Waiting { until } | State::Absent { until } => until > cx.now,
            State::Idle => false,
        };
        let possible =
            group.broadcast || self.link.is_some() && (group.wants_full() || self.send_only.is_some());
        if put_off || !possible || !group.is_due() {
            return false;
        }
        self.join(cx, sa, local, id);
        true
    }

    /// Asks for membership.
    pub(super) fn join(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, id: Id) {
        let (link, send_only) = (self.link, self.send_only);
        let Some(group) = self.table.get_mut(id) else { return };
        let bits = match send_only {
            _ if group.wants_full() => JoinState::FULL,
            Some(send_only) => send_only,
            None => return,
        };
        group.state = State::Joining { bits };
        group.confirm = false;
        let mut record = membership(group.mgid, local.gid, local.pkey, bits);
        let mut which = mask::MGID | mask::PORT_GID | mask::P_KEY | mask::JOIN_STATE;
        if let Some(link) = link.filter(|_| !group.broadcast) {
            // RFC 4391 §10: what creates the group gives it the link's parameters.
            record.qkey = link.qkey;
            (record.mtu_selector, record.mtu) = (Selector::Exactly.into(), link.mtu);
            (record.rate_selector, record.rate) = (Selector::Exactly.into(), link.rate);
            record.traffic_class = link.traffic_class;
            (record.sl, record.flow_label, record.hop_limit) = (link.sl, link.flow_label, link.hop_limit);
            which |= mask::Q_KEY
                | mask::MTU_SELECTOR
                | mask::MTU
                | mask::RATE_SELECTOR
                | mask::RATE
                | mask::TRAFFIC_CLASS
                | mask::SL
                | mask::FLOW_LABEL
                | mask::HOP_LIMIT;
        }
        // A leave still on its way would undo what is asked here.
        sa.cancel(cx, Subject::Leave(group.mgid, bits.0));
        let question = Question::new(Method::SET, RecordId::MC_MEMBER, which, &record.to_bytes());
        sa.ask(cx, Subject::Join(group.mgid), &question);
    }

    /// The answer to a join: a record that has been checked, or why there is none.
    pub(crate) fn handle_answer(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        mgid: MulticastGid,
        answer: Result<McMemberRecord, SaFailure>,
    ) {
        let Some(id) = self.ids.get(&mgid).copied() else { return };
        let Some(group) = self.table.get(id) else { return };
        let State::Joining { bits } = group.state else { return };
        match answer {
            Ok(record) => self.joined(cx, sa, local, id, bits, &record),
            Err(why) => self.not_joined(cx, sa, local, id, bits, why),
        }
        // What was wanted may have changed meanwhile.
        self.join_if_wanted(cx, sa, local, id);
    }

    /// The host no longer listens; what waits to be sent still is.
    pub(super) fn stop_listening(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, id: Id) {
        let Some(group) = self.table.get_mut(id) else { return };
        if group.queue.is_empty() {
            return self.leave(cx, sa, local, id, Drop::TxFlushed);
        }
        let (mgid, held) = (group.mgid, group.held);
        group.lose(cx);
        group.state = State::Idle;
        sa.cancel(cx, Subject::Join(mgid));
        leave(cx, sa, local, mgid, held.and(JoinState::FULL));
        self.join_if_wanted(cx, sa, local, id);
    }

    /// Ends membership and forgets the group.
    pub(super) fn leave(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, id: Id, reason: Drop) {
        let Some(mut group) = self.table.remove(id) else { return };
        self.ids.remove(&group.mgid);
        cx.timers.cancel(Timer::Group(id));
        sa.cancel(cx, Subject::Join(group.mgid));
        // Of a join under way nobody knows whether it was granted.
        let asked = if let State::Joining { bits } = group.state { bits } else { JoinState::default() };
        let held = group.held.and(asked);
        let joined = group.to.is_some();
        group.lose(cx);
        group.queue.clear(cx, reason);
        leave(cx, sa, local, group.mgid, held);
        if joined {
            cx.event(Event::GroupLeft { mgid: group.mgid });
        }
    }

    fn joined(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        id: Id,
        bits: JoinState,
        record: &McMemberRecord,
    ) {
        let Some(qkey) = self.link.map(|link| link.qkey) else { return };
        let group = self.table.get_mut(id).expect("the caller found it");
        let mgid = group.mgid;
        let new = !group.held.has(bits);
        let to = vector(local, mgid, record);
        group.held = group.held.and(bits);
        (group.state, group.failures, group.to) = (State::Idle, 0, Some(to));
        if bits == JoinState::FULL && group.attached != Some(record.mlid) {
            cx.emit(Output::Qp(QpCommand::Attach { mgid, mlid: record.mlid }));
            if let Some(mlid) = group.attached.replace(record.mlid) {
                cx.emit(Output::Qp(QpCommand::Detach { mgid, mlid }));
            }
        }
        cx.counters.joins += 1;
        while let Some(waiting) = group.queue.pop(cx) {
            group.tx += waiting.packets();
            let Waiting { payload, offload, dest_qp, .. } = waiting;
            cx.send(UdSend { to, dest_qp, qkey, payload, offload }, true);
        }
        if bits == JoinState::FULL {
            // A full member sends as well; the lesser membership has served.
            let lesser = group.held.without(JoinState::FULL);
            group.held = JoinState::FULL;
            leave(cx, sa, local, mgid, lesser);
        } else {
            cx.timers.set(Timer::Group(id), group.last_used.max(cx.now) + cx.config.send_only_idle);
        }
        if new {
            let send_only = bits != JoinState::FULL;
            cx.event(Event::GroupJoined { mgid, mlid: record.mlid, send_only });
        }
    }

    fn not_joined(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        id: Id,
        bits: JoinState,
        why: SaFailure,
    ) {
        let group = self.table.get_mut(id).expect("the caller found it");
        group.failures = group.failures.saturating_add(1);
        cx.counters.join_failures += 1;
        let wait = backoff(cx.config.join_backoff, cx.config.max_join_backoff, group.failures);
        let mut until = cx.now + cx.chance.jitter(wait);
        if why == SaFailure::NoAnswer {
            // Nobody said that what is held is lost.
            group.confirm = group.to.is_some();
        } else {
            group.lose(cx);
        }
        group.state = State::Waiting { until };
        cx.event(Event::GroupFailed { mgid: group.mgid, why, attempt: group.failures });
        if bits == JoinState::SEND_ONLY_NON_MEMBER && is_absence(why) {
            until = cx.now + cx.chance.jitter(cx.config.max_join_backoff);
            group.state = State::Absent { until };
            (group.failures, group.confirm) = (0, false);
            let ip = group.ip;
            while let Some(group) = self.table.get_mut(id)
                && let Some(packet) = group.queue.pop(cx)
            {
                self.send_to_routers(cx, sa, local, ip, (packet.payload, packet.offload));
            }
        } else if group.given_up() && group.to.is_none() {
            group.queue.clear(cx, Drop::TxGroupFailed);
        }
        cx.timers.set(Timer::Group(id), until);
    }
}

/// Tells subnet administration that memberships end, each kind on its own.
pub(super) fn leave(cx: &mut Context, sa: &mut SaClient, local: &Local, mgid: MulticastGid, held: JoinState) {
    for bit in [1, 2, 4, 8].into_iter().filter(|bit| held.has(JoinState(*bit))) {
        let record = membership(mgid, local.gid, local.pkey, JoinState(bit));
        let which = mask::MGID | mask::PORT_GID | mask::JOIN_STATE;
        let question = Question::new(Method::DELETE, RecordId::MC_MEMBER, which, &record.to_bytes());
        sa.ask(cx, Subject::Leave(mgid, bit), &question);
    }
}

/// Where packets to a group go; all fields of its GRH from its record.
const fn vector(local: &Local, mgid: MulticastGid, record: &McMemberRecord) -> AddressVector {
    AddressVector {
        dlid: record.mlid,
        sl: record.sl,
        rate: record.rate,
        global: Some(GlobalRoute {
            sgid: local.gid,
            dgid: mgid.gid(),
            traffic_class: record.traffic_class,
            flow_label: record.flow_label,
            hop_limit: record.hop_limit,
        }),
    }
}

/// True if a send-only join was refused because there is no such group.
const fn is_absence(why: SaFailure) -> bool {
    matches!(
        why,
        SaFailure::Refused(Status::SA_INVALID | Status::SA_NO_RECORDS | Status::SA_INSUFFICIENT_COMPONENTS)
    )
}
