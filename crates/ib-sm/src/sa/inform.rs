//! Subscriptions to events, and which event each of them wants. IBA 1 §13.4.8.3, §13.4.11.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use ib_wire::{
    addr::{Gid, Lid, PKey, Qpn},
    mad::{
        Method, Status,
        attr::{InformInfo, InformInfoRecord, Notice, ProducerType, TrapNumber},
    },
    ud::MadAddress,
};

use super::{
    answer::{Outcome, Records},
    config::Limits,
    counters::Events,
    mask::matches,
    request::{Request, common_key, holds},
};
use crate::subnet::{PortId, Subnet};

/// A subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    /// What is wanted; the queue pair is that of the subscriber.
    pub(super) info: InformInfo,
    /// Where reports go to.
    pub(super) to: MadAddress,
    pub(super) port: PortId,
    pub(super) gid: Gid,
    /// Reports in a row that were not answered.
    pub(super) unanswered: u8,
}

/// An event, and who may learn of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) notice: Notice,
    pub(super) about: About,
}

/// What an event is about: partitions decide who hears of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// A group of this partition.
    Group(PKey),
    /// A port.
    Port(PortId),
}

/// All subscriptions, each with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions {
    list: BTreeMap<u32, Subscription>,
    by_port: BTreeMap<PortId, BTreeSet<u32>>,
    next: u32,
}

impl Subscriptions {
    /// Set(InformInfo).
    pub(super) fn handle(&mut self, limits: &Limits, events: &mut Events, request: &Request<'_>) -> Outcome {
        if request.mad.header.method != Method::SET {
            return Err(Status::BAD_METHOD_ATTRIBUTE);
        }
        let (asked, _) = InformInfo::parse(&request.mad.data).map_err(|_| Status::SA_INVALID)?;
        match asked.subscribe {
            1 => self.subscribe(limits, events, request, asked)?,
            0 => self.unsubscribe(request, asked)?,
            _ => return Err(Status::SA_INVALID),
        }
        Ok(Records::raw(&asked.to_bytes()))
    }

    /// Get and GetTable of InformInfoRecord.
    pub(super) fn query(&self, limits: &Limits, request: &Request<'_>) -> Outcome {
        if !matches!(request.mad.header.method, Method::GET | Method::GET_TABLE) {
            return Err(Status::BAD_METHOD_ATTRIBUTE);
        }
        let mut records = Records::up_to(limits.table_bytes);
        for s in self.list.values().filter(|s| request.may_see(s.port)) {
            let record = InformInfoRecord { subscriber_gid: s.gid, subscriber_enum: 0, inform_info: s.info };
            let mask = request.mad.component_mask;
            records.add(&record, |bytes| matches::<InformInfoRecord>(mask, &request.mad.data, bytes))?;
        }
        Ok(records)
    }

    /// Ends the subscriptions of a port that left.
    pub(super) fn remove_port(&mut self, port: PortId) {
        for number in self.by_port.remove(&port).unwrap_or_default() {
            self.list.remove(&number);
        }
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(subscription) = self.list.remove(&number) else { return };
        if let Some(numbers) = self.by_port.get_mut(&subscription.port) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_port.remove(&subscription.port);
            }
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Subscription> {
        self.list.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.values()
    }

    /// Who is to hear of an event. A subscription for chosen ports that partitions forbid ends here.
    pub(super) fn wanting(&mut self, subnet: &Subnet, event: &Event) -> Vec<(u32, MadAddress)> {
        let (mut wanting, mut forbidden) = (Vec::new(), Vec::new());
        for (number, s) in self.list.iter().filter(|(_, s)| s.wants(&event.notice)) {
            let allowed = match event.about {
                About::Group(pkey) => holds(subnet, s.port, pkey),
                About::Port(port) => port == s.port || common_key(subnet, port, s.port).is_some(),
            };
            if allowed {
                let lid = subnet.port(s.port).map_or(s.to.lid, |port| port.lid);
                wanting.push((*number, MadAddress { lid, ..s.to }));
            } else if s.info.lid_range_begin != EVERY_LID && matches!(event.about, About::Port(_)) {
                forbidden.push(*number);
            }
        }
        for number in forbidden {
            self.remove(number);
        }
        wanting
    }

    fn subscribe(
        &mut self,
        limits: &Limits,
        events: &mut Events,
        request: &Request<'_>,
        asked: InformInfo,
    ) -> Result<(), Status> {
        check_rights(request, &asked)?;
        // Reports go to whom they were asked by.
        let info = InformInfo { qpn: request.from.qpn, ..asked };
        let gid = request.subnet.port(request.port).ok_or(Status::SA_INVALID)?.gid(request.subnet.prefix());
        let subscription = Subscription { info, to: request.from, port: request.port, gid, unanswered: 0 };
        if let Some(old) = self.find(request.port, &info).and_then(|number| self.list.get_mut(&number)) {
            *old = subscription;
            return Ok(());
        }
        if self.list.len() >= limits.subscriptions {
            events.subscription_limit += 1;
            return Err(Status::SA_NO_RESOURCES);
        }
        while self.list.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        self.list.insert(self.next, subscription);
        self.by_port.entry(request.port).or_default().insert(self.next);
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    fn unsubscribe(&mut self, request: &Request<'_>, asked: InformInfo) -> Result<(), Status> {
        // The queue pair that subscribed; many leave it out and mean their own.
        let qpn = if asked.qpn == Qpn::SMI { request.from.qpn } else { asked.qpn };
        let found = self.find(request.port, &InformInfo { qpn, ..asked });
        self.remove(found.ok_or(Status::SA_INVALID)?);
        Ok(())
    }

    fn find(&self, port: PortId, info: &InformInfo) -> Option<u32> {
        let numbers = self.by_port.get(&port)?;
        numbers.iter().copied().find(|number| self.list.get(number).is_some_and(|s| is_same(&s.info, info)))
    }
}

impl Subscription {
    /// True if the event is one of those that are wanted.
    fn wants(&self, notice: &Notice) -> bool {
        let info = &self.info;
        let from_there = if info.gid == Gid::ZERO {
            let end = last_lid(info);
            info.lid_range_begin == EVERY_LID || (info.lid_range_begin..=end).contains(&notice.issuer_lid)
        } else {
            info.gid == notice.issuer_gid || is_about_gid(notice) && info.gid == notice.gid()
        };
        from_there
            && notice.generic == (info.is_generic != 0)
            && (info.kind == EVERY_KIND || info.kind == u16::from(notice.kind.0))
            && (info.trap == TrapNumber::ALL || info.trap == notice.trap)
            && (info.producer == ProducerType::ALL || info.producer == notice.producer)
    }
}

const EVERY_LID: Lid = Lid::PERMISSIVE;
const EVERY_KIND: u16 = 0xffff;

fn is_about_gid(notice: &Notice) -> bool {
    notice.generic && (TrapNumber::GID_IN_SERVICE..=TrapNumber::GROUP_DELETED).contains(&notice.trap)
}

/// A range without end is one LID.
fn last_lid(info: &InformInfo) -> Lid {
    if info.lid_range_end == Lid::NONE { info.lid_range_begin } else { info.lid_range_end }
}

/// True if both ask the same for the same queue pair.
fn is_same(a: &InformInfo, b: &InformInfo) -> bool {
    let range =
        |info: &InformInfo| (info.gid == Gid::ZERO).then_some((info.lid_range_begin, info.lid_range_end));
    (a.gid, range(a), a.is_generic, a.kind, a.trap, a.qpn, a.producer)
        == (b.gid, range(b), b.is_generic, b.kind, b.trap, b.qpn, b.producer)
}

/// Who subscribes to the events of chosen ports must be allowed to talk with all of them.
fn check_rights(request: &Request<'_>, info: &InformInfo) -> Result<(), Status> {
    let subnet = request.subnet;
    if info.gid.is_multicast() {
        return Ok(());
    }
    if info.gid != Gid::ZERO {
        let port = subnet.end_port_by_gid(info.gid).ok_or(Status::SA_INVALID)?;
        return if request.may_see(port) { Ok(()) } else { Err(Status::SA_INVALID) };
    }
    if info.lid_range_begin == EVERY_LID {
        return Ok(());
    }
    let (begin, end) = (info.lid_range_begin, last_lid(info));
    if !begin.is_unicast() || !end.is_unicast() || begin > end {
        return Err(Status::SA_INVALID);
    }
    let mut ports = (begin.0..=end.0).filter_map(|lid| subnet.end_port_by_lid(Lid(lid)));
    if ports.all(|port| request.may_see(port)) { Ok(()) } else { Err(Status::SA_INVALID) }
}
