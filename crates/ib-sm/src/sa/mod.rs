//! Subnet administration: answers questions about the subnet, keeps groups, subscriptions and services.
//! IBA 1 chapter 15.
//!
//! [`Administration`] holds state and order only. A request goes through `handle_mad` to the file of its
//! attribute (`path`, `member`, `service`, `inform`, `records`), which returns records or a status; `answer`
//! makes the MAD, `transfer` sends tables. It acts for the master only, knows the subnet as the manager's
//! model of it, and asks the manager to write switches by a [`Demand`].

mod answer;
mod config;
mod counters;
mod inform;
mod manner;
mod mask;
mod member;
mod path;
mod records;
mod report;
mod request;
mod selector;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;
mod transfer;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use ib_wire::{
    addr::{Guid, Lid, MulticastLid},
    mad::{
        Mad, Method, MgmtClass, Status,
        attr::{ClassPortInfo, Notice, SmInfo, TrapNumber},
        rmpp,
        sa::{RecordId, RmppFlags, RmppStatus, RmppType, SaMad},
    },
    time::Instant,
    ud::MadAddress,
};
use tracing::{debug, info};

pub use config::{Limits, SaConfig};
pub use counters::{Answered, Counters, Events};
pub use manner::Manner;
pub use snapshot::{GroupView, MemberView, ServiceView, Snapshot, SubscriptionView};

use self::{
    answer::{Outcome, Records, response},
    inform::{About, Event, Subscriptions},
    manner::Waiting,
    member::Groups,
    path::Paths,
    report::Reports,
    request::Request,
    service::Services,
    transfer::Transfers,
};
use crate::{
    demand::{Demand, GroupMember, PortChange},
    partition::Partitions,
    subnet::{PortId, Subnet},
};

/// The subnet administration of one manager.
#[derive(Debug)]
pub struct Administration {
    config: SaConfig,
    partitions: Partitions,
    is_master: bool,
    managers: Vec<(Lid, SmInfo)>,
    groups: Groups,
    subscriptions: Subscriptions,
    services: Services,
    transfers: Transfers,
    reports: Reports,
    manner: Manner,
    /// Requests that a slow manner keeps.
    waiting: Waiting,
    output: VecDeque<Demand>,
    counters: Counters,
}

impl Administration {
    /// An administration that is not in charge yet.
    pub fn new(config: SaConfig, partitions: Partitions) -> Self {
        Self {
            config,
            partitions,
            is_master: false,
            managers: Vec::new(),
            groups: Groups::default(),
            subscriptions: Subscriptions::default(),
            services: Services::default(),
            transfers: Transfers::default(),
            reports: Reports::default(),
            manner: Manner::default(),
            waiting: Waiting::default(),
            output: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A MAD of the SA class that came to the manager's port.
    pub fn handle_mad(&mut self, now: Instant, subnet: &Subnet, from: MadAddress, mad: &Mad) {
        let mad = SaMad::from_bytes(mad);
        if !self.is_master {
            self.counters.events.not_master += 1;
            return;
        }
        if mad.header.class != MgmtClass::SUBN_ADM {
            self.counters.events.stray_response += 1;
            return;
        }
        if mad.rmpp.flags.has(RmppFlags::ACTIVE) && mad.rmpp.version != 0 {
            let single = RmppFlags::FIRST.and(RmppFlags::LAST);
            match mad.rmpp.kind {
                RmppType::NONE => (),
                RmppType::DATA if mad.rmpp.flags.has(single) && !mad.header.is_response() => (),
                RmppType::DATA => {
                    self.counters.events.long_request += 1;
                    self.send(from, &rmpp::refuse(&mad, RmppStatus::RESOURCES_EXHAUSTED));
                    return;
                }
                _ => return self.handle_rmpp(now, from, &mad),
            }
        }
        if mad.header.is_response() {
            return self.handle_response(from, &mad);
        }
        if let Manner::Slow(time) = self.manner {
            let fits = self.waiting.push(now + time, from, mad, self.config.limits.waiting);
            self.counters.events.waiting_limit += u64::from(!fits);
            return;
        }
        self.groups.advance(now);
        self.handle_request(now, subnet, from, &mad);
        self.publish_groups(now, subnet);
    }

    /// Answers in this manner from now on; what waits already goes on waiting.
    pub const fn set_manner(&mut self, manner: Manner) {
        self.manner = manner;
    }

    /// A trap that the manager received: subscribers hear of it.
    pub fn handle_notice(&mut self, now: Instant, subnet: &Subnet, notice: &Notice) {
        let Some(port) = subnet.end_port_by_lid(notice.issuer_lid) else { return };
        let Some(issuer) = subnet.port(port) else { return };
        let notice = Notice { issuer_gid: issuer.gid(subnet.prefix()), ..*notice };
        self.publish(now, subnet, Event { notice, about: About::Port(port) });
    }

    /// An end port came into the subnet, or left it: then all it had ends.
    pub fn handle_port_change(&mut self, now: Instant, subnet: &Subnet, change: PortChange) {
        let (id, trap) = match change {
            PortChange::Appeared(id) => (id, TrapNumber::GID_IN_SERVICE),
            PortChange::Vanished(id) => (id, TrapNumber::GID_OUT_OF_SERVICE),
        };
        let Some(guid) = subnet.port(id).map(|port| port.guid).filter(|_| self.is_master) else { return };
        self.groups.advance(now);
        if trap == TrapNumber::GID_OUT_OF_SERVICE {
            self.forget_port(id, guid);
        }
        let gid = ib_wire::addr::Gid::new(subnet.prefix(), guid);
        let notice = Notice::about_gid(trap, gid, subnet.own_lid(), subnet.own_gid());
        self.publish(now, subnet, Event { notice, about: About::Port(id) });
        self.publish_groups(now, subnet);
    }

    /// Sends again, gives up, lets leases end, answers what waited.
    pub fn handle_timeout(&mut self, now: Instant, subnet: &Subnet) {
        self.groups.advance(now);
        while let Some((from, mad)) = self.waiting.pop_due(now) {
            self.handle_request(now, subnet, from, &mad);
            self.publish_groups(now, subnet);
        }
        let Self { output, counters, subscriptions, config, .. } = self;
        let events = &mut counters.events;
        events.expired_services += self.services.handle_timeout(now);
        events.failed_transfers += self.transfers.handle_timeout(now, |to, mad| send(output, to, &mad));
        let given_up = |number| {
            events.unanswered_reports += 1;
            let Some(subscription) = subscriptions.get_mut(number) else { return };
            subscription.unanswered = subscription.unanswered.saturating_add(1);
            if subscription.unanswered >= config.dead_after {
                debug!(gid = %subscription.gid, "subscriber does not answer: dropped");
                events.dead_subscribers += 1;
                subscriptions.remove(number);
            }
        };
        self.reports.handle_timeout(now, config, |to, mad| send(output, to, &mad), given_up);
    }

    /// The manager takes charge, or lets it go. A new master knows nobody: clients register again. The groups
    /// that partitions demand stand at once.
    pub fn set_master(&mut self, now: Instant, subnet: &Subnet, is_master: bool) {
        if self.is_master == is_master {
            return;
        }
        self.is_master = is_master;
        self.groups = Groups::default();
        self.subscriptions = Subscriptions::default();
        self.services = Services::default();
        self.transfers = Transfers::default();
        self.reports = Reports::default();
        self.waiting = Waiting::default();
        self.output.clear();
        if is_master {
            self.stand_groups(now, subnet);
        }
    }

    /// Other partitions hold from now on. The manager writes the P_Key tables.
    pub fn set_partitions(&mut self, now: Instant, subnet: &Subnet, partitions: Partitions) {
        self.partitions = partitions;
        if self.is_master {
            self.stand_groups(now, subnet);
        }
    }

    /// The managers of the subnet and where they are, ourselves among them: what SMInfo records show.
    pub fn set_managers(&mut self, managers: Vec<(Lid, SmInfo)>) {
        self.managers = managers;
    }

    /// What is to be sent, and which groups are to be laid anew. A group comes before the answer to the join
    /// that changed it; only a group of hundreds may wait some milliseconds, so that many joins are one change.
    pub fn poll_output(&mut self) -> Option<Demand> {
        if let Some((mlid, members)) = self.groups.take_changed() {
            return Some(Demand::Group { mlid, members });
        }
        self.output.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let tables = [self.groups.poll_timeout(), self.services.poll_timeout(), self.waiting.next()];
        let transactions = [self.transfers.poll_timeout(), self.reports.poll_timeout()];
        tables.into_iter().chain(transactions).flatten().min()
    }

    /// The members of all groups with that LID.
    pub fn members(&self, mlid: MulticastLid) -> Vec<GroupMember> {
        self.groups.members_of(mlid)
    }

    /// The partitions that hold.
    pub const fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// What was counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Groups, subscriptions, services, counters.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self)
    }

    fn handle_rmpp(&mut self, now: Instant, from: MadAddress, mad: &SaMad) {
        let output = &mut self.output;
        let progress = self.transfers.handle_mad(now, from, mad, |to, mad| send(output, to, &mad));
        self.counters.events.stray_rmpp += u64::from(progress.stray);
        self.counters.events.failed_transfers += u64::from(progress.failed);
    }

    fn handle_response(&mut self, from: MadAddress, mad: &SaMad) {
        let answered = (mad.header.method == Method::REPORT_RESP)
            .then(|| self.reports.handle_answer(from, mad.header.tid))
            .flatten();
        match answered {
            Some(number) => {
                if let Some(subscription) = self.subscriptions.get_mut(number) {
                    subscription.unanswered = 0;
                }
            }
            None => self.counters.events.stray_response += 1,
        }
    }

    fn handle_request(&mut self, now: Instant, subnet: &Subnet, from: MadAddress, mad: &SaMad) {
        if mad.header.base_version != 1 || mad.header.class_version != 2 {
            return self.answer(now, from, mad, Err(Status::BAD_VERSION));
        }
        if mad.sm_key != 0 && mad.sm_key != self.config.sm_key {
            self.counters.events.bad_sm_key += 1;
            return;
        }
        let Some(request) = Request::new(now, subnet, from, mad) else {
            self.counters.events.unknown_requester += 1;
            return;
        };
        if mad.header.method == Method::GET_TABLE && self.transfers.has(from, mad) {
            self.counters.events.asked_again += 1;
            return;
        }
        let outcome = match self.manner.status(mad.header.method) {
            Some(status) => Err(status),
            None => self.dispatch(&request),
        };
        self.answer(now, from, mad, outcome);
    }

    fn dispatch(&mut self, request: &Request<'_>) -> Outcome {
        let method = request.mad.header.method;
        let known = [Method::GET, Method::SET, Method::GET_TABLE, Method::DELETE, Method::GET_MULTI];
        if !known.contains(&method) {
            return Err(Status::BAD_METHOD);
        }
        let limits = &self.config.limits;
        let events = &mut self.counters.events;
        match (RecordId(request.mad.header.attribute.0), method) {
            (RecordId::CLASS_PORT_INFO, Method::GET) => Ok(self.class_port_info()),
            (RecordId::INFORM_INFO, _) => self.subscriptions.handle(limits, events, request),
            (RecordId::INFORM_INFO_RECORD, _) => self.subscriptions.query(limits, request),
            (RecordId::SERVICE, _) => self.services.handle(limits, events, request),
            (RecordId::MC_MEMBER, Method::SET) => {
                self.groups.join(&self.config, events, request).map(|record| Records::one(&record))
            }
            (RecordId::MC_MEMBER, Method::DELETE) => {
                self.groups.leave(request).map(|record| Records::one(&record))
            }
            (RecordId::MC_MEMBER, Method::GET | Method::GET_TABLE) => {
                self.groups.query(request, limits.table_bytes)
            }
            (RecordId::PATH, _) => {
                let Self { config, partitions, groups, .. } = self;
                Paths { config, partitions, groups }.query(request)
            }
            _ => records::query(request, &self.managers, limits.table_bytes),
        }
    }

    fn answer(&mut self, now: Instant, to: MadAddress, request: &SaMad, outcome: Outcome) {
        let method = request.header.method;
        let is_table = method == Method::GET_TABLE;
        let outcome = if method == Method::GET { outcome.and_then(Records::single) } else { outcome };
        let status = match outcome {
            Ok(records) if is_table => {
                let (mad, bytes) = records.answer(request);
                if self.transfers.has_room(&self.config.limits, bytes.len()) {
                    let output = &mut self.output;
                    let out = |to, mad: SaMad| send(output, to, &mad);
                    self.transfers.start(now, self.config.rmpp, to, (mad, bytes), out);
                    Status::OK
                } else {
                    self.refuse(to, request, Status::SA_NO_RESOURCES)
                }
            }
            Ok(records) => {
                let (mut mad, bytes) = records.answer(request);
                mad.data[..bytes.len()].copy_from_slice(&bytes);
                self.send(to, &mad);
                Status::OK
            }
            Err(status) => self.refuse(to, request, status),
        };
        self.counters.answered(RecordId(request.header.attribute.0), method, status);
    }

    fn refuse(&mut self, to: MadAddress, request: &SaMad, status: Status) -> Status {
        let mut mad = response(request, status);
        if RecordId(request.header.attribute.0) == RecordId::INFORM_INFO {
            mad.data[SUBSCRIBE] = 0;
        }
        if status == Status::SA_NO_RESOURCES && request.header.method == Method::GET_TABLE {
            self.counters.events.transfer_limit += 1;
        }
        debug!(lid = %to.lid, attribute = %RecordId(request.header.attribute.0), method = %request.header.method,
            %status, "request refused");
        self.send(to, &mad);
        status
    }

    /// Multicast is there, the capability mask of ports can be searched, and who only sends may keep a group.
    fn class_port_info(&self) -> Records {
        const MULTICAST: u16 = 1 << 9;
        const CAPABILITY_MATCH: u16 = 1 << 13;
        const SEND_ONLY_FULL_MEMBER: u32 = 1 << 12;
        let (none, _) = ClassPortInfo::parse(&[0; ClassPortInfo::LEN]).expect("as long as it is");
        Records::raw(
            &ClassPortInfo {
                base_version: 1,
                class_version: 2,
                capability_mask: MULTICAST | CAPABILITY_MATCH,
                capability_mask2: SEND_ONLY_FULL_MEMBER,
                response_time: self.config.response_time,
                ..none
            }
            .to_bytes(),
        )
    }

    fn forget_port(&mut self, id: PortId, guid: Guid) {
        self.groups.remove_port(guid);
        self.subscriptions.remove_port(id);
        self.services.remove_port(id);
    }

    fn stand_groups(&mut self, now: Instant, subnet: &Subnet) {
        self.groups.advance(now);
        let lids = member::forwardable_lids(subnet, self.config.limits.mlids);
        for mgid in self.groups.stand(&self.partitions, lids) {
            self.counters.events.mlid_limit += 1;
            info!(%mgid, "no multicast LID is free for a group that a partition demands");
        }
        self.publish_groups(now, subnet);
    }

    fn publish_groups(&mut self, now: Instant, subnet: &Subnet) {
        for (trap, group) in core::mem::take(&mut self.groups.events) {
            debug!(mgid = %group.mgid, %trap, "multicast group");
            let notice = Notice::about_gid(trap, group.mgid.gid(), subnet.own_lid(), subnet.own_gid());
            self.publish(now, subnet, Event { notice, about: About::Group(group.pkey) });
        }
    }

    fn publish(&mut self, now: Instant, subnet: &Subnet, event: Event) {
        if !self.is_master {
            return;
        }
        for (number, to) in self.subscriptions.wanting(subnet, &event) {
            match self.reports.send(now, &self.config, number, to, event.notice) {
                Some(mad) => {
                    self.counters.events.reports += 1;
                    self.send(to, &mad);
                }
                None => self.counters.events.report_limit += 1,
            }
        }
    }

    fn send(&mut self, to: MadAddress, mad: &SaMad) {
        send(&mut self.output, to, mad);
    }
}

/// Byte of InformInfo that says "subscribed": zero in a refusal.
const SUBSCRIBE: usize = 23;

fn send(output: &mut VecDeque<Demand>, to: MadAddress, mad: &SaMad) {
    output.push_back(Demand::Send { to, mad: Box::new(mad.to_bytes()) });
}
