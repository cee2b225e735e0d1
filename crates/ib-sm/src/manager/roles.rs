//! Between managers: who leads, whether the leader lives, handing over. IBA 1 §14.4.

use alloc::{boxed::Box, vec::Vec};

use ib_wire::{
    addr::{Guid, Lid, Tid},
    mad::{
        AttributeId, Mad, MadHeader, Method, MgmtClass, Status,
        attr::{NodeType, Notice, NoticeType, ProducerType, SmInfo, SmState, TrapNumber},
        smp::{LidSmp, Smp},
    },
    time::Instant,
    ud::MadAddress,
};
use tracing::{info, warn};

use super::SubnetManager;
use crate::{
    output::{Output, SmEvent},
    role::{Claim, Role, Signal, Verdict, judge},
    subnet::PortId,
    sweep::{
        Phase,
        discover::Thoroughness,
        job::{ACKNOWLEDGE, DISABLE, DISCOVER, HANDOVER, Job, STANDBY},
    },
    transact::{Outcome, answer},
};

/// A standby's eye on the master.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Where the master was found.
    master: Option<(PortId, Lid)>,
    /// When it is asked next.
    poll_at: Instant,
    /// Polls in a row that showed no living master.
    missed: u32,
    /// A poll is under way.
    is_asking: bool,
    /// The manager that has handed over and is to hear that it was relieved.
    relieves: Option<Guid>,
    /// Counts what was said of ourselves: it rises as long as we live.
    act_count: u32,
}

impl Watch {
    pub(super) const fn new(poll_at: Instant) -> Self {
        Self { master: None, poll_at, missed: 0, is_asking: false, relieves: None, act_count: 0 }
    }
}

impl SubnetManager {
    /// What this manager says of itself. The key is told to everybody, as OpenSM does: it takes no notice of a
    /// manager that has another.
    pub(super) const fn sm_info(&self) -> SmInfo {
        SmInfo {
            guid: self.port.guid,
            sm_key: self.config.administration.sm_key,
            act_count: self.watch.act_count,
            priority: self.config.priority & 0xf,
            state: self.role.state(),
        }
    }

    /// All managers of the subnet and their LIDs, this one first.
    pub(super) fn known_managers(&self) -> Vec<(Lid, SmInfo)> {
        let lid = |port: PortId| self.subnet.port(port).map_or(Lid::NONE, |port| port.lid);
        let others = self.sweep.managers.iter().map(|(port, info)| (lid(*port), *info));
        core::iter::once((self.subnet.own_lid(), self.sm_info())).chain(others).collect()
    }

    /// Another manager asks who we are, or tells us what to be.
    pub(super) fn handle_sm_info(&mut self, now: Instant, from: MadAddress, smp: &Smp, mad: &Mad) {
        let header = smp.header();
        self.watch.act_count = self.watch.act_count.wrapping_add(1);
        let told = SmInfo::parse(smp.data()).expect("21 of 64 bytes").0;
        let status =
            if header.method == Method::SET { self.obey(now, header.modifier, &told) } else { Status::OK };
        let mad = answer(mad, status, &self.sm_info().to_bytes());
        self.output.push_back(Output::Send { to: from, mad: Box::new(mad) });
    }

    fn obey(&mut self, now: Instant, modifier: u32, told: &SmInfo) -> Status {
        let signal = match modifier {
            HANDOVER => Signal::Handover,
            ACKNOWLEDGE => return Status::OK,
            DISABLE => Signal::Disable,
            STANDBY => Signal::Wait,
            DISCOVER => Signal::Discover,
            _ => return Status::BAD_FIELD,
        };
        let Ok(role) = self.role.after(signal) else { return Status::BAD_FIELD };
        info!(?signal, from = %told.guid, "told by another manager");
        if signal == Signal::Handover {
            self.watch.relieves = Some(told.guid);
        }
        let was = core::mem::replace(&mut self.role, role);
        match role {
            Role::Discovering | Role::Master => self.sweep.want(Thoroughness::Full, now),
            Role::Standby => self.watch_from(now),
            Role::NotActive if was != role => {
                self.output.push_back(Output::Event(SmEvent::NotActiveNow));
            }
            Role::NotActive => (),
        }
        Status::OK
    }

    /// All managers have been asked: lead, follow, or hand over.
    pub(super) fn decide(&mut self, now: Instant) {
        let own = Claim::new(self.config.priority, self.port.guid);
        let relieves = self.watch.relieves;
        // Who hands over may not yet call itself a standby.
        let others: Vec<SmInfo> = self
            .sweep
            .managers
            .iter()
            .map(|(_, info)| {
                if Some(info.guid) == relieves && info.state == SmState::MASTER {
                    SmInfo { state: SmState::STANDBY, ..*info }
                } else {
                    *info
                }
            })
            .collect();
        match judge(self.role, own, &others) {
            Verdict::Lead => self.lead(now),
            Verdict::Follow(at) => {
                let (port, info) = self.sweep.managers[at];
                self.follow(now, port, &info, Signal::SomebodyBetter);
            }
            Verdict::HandOverTo(at) => {
                let (port, _) = self.sweep.managers[at];
                self.sweep.phase = Phase::HandOver;
                self.sweep.work.push(Job::HandOver(port));
            }
        }
    }

    fn lead(&mut self, now: Instant) {
        if self.role != Role::Master {
            if self.role.after(Signal::NobodyBetter).is_err() {
                return self.sweep.stop();
            }
            info!("master");
            self.take_charge(now);
        }
        if let Some(relieved) = self.watch.relieves.take() {
            let found = self.sweep.managers.iter().find(|(_, info)| info.guid == relieved);
            found
                .map(|(port, _)| *port)
                .into_iter()
                .for_each(|port| self.sweep.work.push(Job::Acknowledge(port)));
        }
        self.configure(now);
    }

    fn follow(&mut self, now: Instant, port: PortId, info: &SmInfo, signal: Signal) {
        let Ok(role) = self.role.after(signal) else { return self.sweep.stop() };
        info!(master = %info.guid, "standby");
        self.role = role;
        self.sweep.stop();
        self.pages.clear();
        self.groups.clear();
        self.transactions.retain(|job| !job.is_sweep());
        self.administration.set_master(now, &self.subnet, false);
        let lid = self.subnet.port(port).and_then(|port| port.info).map_or(Lid::NONE, |info| info.lid);
        self.watch.master = Some((port, lid));
        self.watch_from(now);
        self.output.push_back(Output::Event(SmEvent::StandbyNow { master: info.guid }));
    }

    fn watch_from(&mut self, now: Instant) {
        self.watch.missed = 0;
        self.watch.relieves = None;
        self.watch.poll_at = now + self.config.standby_poll;
    }

    /// The other manager has taken the handover, or not; then it is tried again with the next sweep.
    pub(super) fn handle_handed_over(&mut self, now: Instant, port: PortId, outcome: &Outcome) {
        let info = self.sweep.managers.iter().find(|(id, _)| *id == port).map(|(_, info)| *info);
        match (outcome, info) {
            (Outcome::Answered { status: Status::OK, .. }, Some(info)) => {
                self.follow(now, port, &info, Signal::HandedOver);
            }
            _ => warn!("handover was not taken"),
        }
    }

    /// Asks the master whether it lives, if that is due.
    pub(super) fn watch_master(&mut self, now: Instant) {
        if self.role != Role::Standby || self.watch.poll_at > now {
            return;
        }
        self.watch.poll_at = now + self.config.standby_poll;
        if self.watch.is_asking {
            return;
        }
        let Some((port, lid)) = self.watch.master else { return };
        let told = self.view.as_ref().map_or(Lid::NONE, |view| view.sm_lid);
        let own = self.view.as_ref().map_or(Lid::NONE, |view| view.lid);
        let lid = if told.is_unicast() && told != own { told } else { lid };
        self.watch.is_asking = true;
        let by_lid = own.is_unicast() && lid.is_unicast();
        self.sweep.work.push(Job::Poll { lid: if by_lid { lid } else { Lid::NONE }, port });
    }

    /// When the master is asked next.
    pub(super) fn poll_watch(&self) -> Option<Instant> {
        (self.role == Role::Standby).then_some(self.watch.poll_at)
    }

    /// The master answered, or did not.
    pub(super) fn handle_poll(&mut self, now: Instant, outcome: &Outcome) {
        self.watch.is_asking = false;
        if self.role != Role::Standby {
            return;
        }
        let lives = match outcome {
            Outcome::Answered { status: Status::OK, data } => {
                SmInfo::parse(&data[..]).is_ok_and(|(info, _)| info.state == SmState::MASTER)
            }
            _ => false,
        };
        self.watch.missed = if lives { 0 } else { self.watch.missed + 1 };
        if self.watch.missed >= self.config.standby_retries
            && let Ok(role) = self.role.after(Signal::MasterLost)
        {
            info!("the master does not answer");
            self.role = role;
            self.sweep.want(Thoroughness::Full, now);
        }
    }

    /// Tells the master that something of ours changed, so that it asks. Said once: it sweeps anyway in the end.
    pub(super) fn tell_master(&mut self) {
        let Some(view) = self.view.as_ref().filter(|view| view.lid.is_unicast() && view.sm_lid.is_unicast())
        else {
            return;
        };
        let own = self.subnet.own_port();
        let capabilities = own.and_then(|own| self.subnet.port(own)).map_or(0, |port| port.capabilities().0);
        let is_switch = own.is_some_and(|own| self.subnet.node(own.node).info.node_type == NodeType::SWITCH);
        let mut data = [0; 54];
        data[2..4].copy_from_slice(&view.lid.0.to_be_bytes());
        data[6..10].copy_from_slice(&capabilities.to_be_bytes());
        let producer = if is_switch { ProducerType::SWITCH } else { ProducerType::CA };
        let notice = Notice::from_port(
            TrapNumber::CAPABILITY_CHANGE,
            NoticeType::INFORMATIONAL,
            producer,
            view.lid,
            data,
        );
        let header = MadHeader {
            tid: Tid(u64::from(self.watch.act_count) | 1 << 31),
            ..MadHeader::request(MgmtClass::SUBN_LID, Method::TRAP, AttributeId::NOTICE, 0)
        };
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&notice.to_bytes()[..64]);
        let smp = LidSmp { header, m_key: self.config.m_key, data: bytes };
        let to = MadAddress::smi(view.sm_lid);
        self.output.push_back(Output::Send { to, mad: Box::new(smp.to_bytes()) });
    }
}
