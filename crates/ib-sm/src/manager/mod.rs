//! The subnet manager: state and order. What it decides stands in `sweep`, `route` and `role`.
//!
//! Every input ends in `settle`, which carries on whatever can be carried on: so one input, then all outputs.

mod jobs;
mod phases;
mod roles;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use ib_wire::{
    addr::{Guid, Lid, MulticastLid},
    mad::{
        AttributeId, Mad, MadHeader, Method, MgmtClass,
        attr::{Notice, PortState, TrapNumber},
        smp::Smp,
    },
    time::Instant,
    ud::{MadAddress, PortView},
};
use tracing::debug;

use self::roles::Watch;
use crate::{
    config::{SmConfig, SmPort},
    demand::GroupMember,
    output::{Output, SmEvent, Warning},
    partition::Partitions,
    role::Role,
    route::Routes,
    sa::{Administration, Manner},
    snapshot::SmSnapshot,
    subnet::{NodeId, Subnet},
    sweep::{Phase, Sweep, SweepCounters, discover::Thoroughness, job::Job, lids::LidBook},
    transact::{TransactionCounters, Transactions},
    trap::{PATIENCE, Reaction, TrapCounters, Traps},
};

/// One subnet manager at one port, with its subnet administration.
///
/// It begins to look around with the first input after `new`, and needs no sweep to be asked for.
#[derive(Debug)]
pub struct SubnetManager {
    config: SmConfig,
    port: SmPort,
    role: Role,
    stopped: bool,
    view: Option<PortView>,
    subnet: Subnet,
    lids: LidBook,
    routes: Routes,
    groups: BTreeMap<MulticastLid, Vec<GroupMember>>,
    /// Pages of multicast tables that are under way: one write of each at a time.
    pages: BTreeSet<(NodeId, u16, u8)>,
    administration: Administration,
    transactions: Transactions<Job>,
    sweep: Sweep,
    watch: Watch,
    traps: Traps,
    counters: SweepCounters,
    output: VecDeque<Output>,
}

impl SubnetManager {
    /// A manager at a port. The seed decides its first transaction identifier, nothing else.
    pub fn new(config: SmConfig, port: SmPort, seed: u64, now: Instant) -> Self {
        let first_tid = u32::try_from(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).expect("31 bits");
        let transactions = Transactions::new(
            config.window,
            config.response_timeout,
            config.retries,
            config.m_key,
            first_tid,
        );
        Self {
            role: Role::Discovering,
            stopped: false,
            view: None,
            subnet: Subnet::new(config.prefix),
            lids: LidBook::new(&config.lids),
            routes: Routes::default(),
            groups: BTreeMap::new(),
            pages: BTreeSet::new(),
            administration: Administration::new(config.administration.clone(), Partitions::default()),
            transactions,
            sweep: Sweep::new(now),
            watch: Watch::new(now + config.standby_poll),
            traps: Traps::default(),
            counters: SweepCounters::default(),
            output: VecDeque::from([Output::SetIsSm(true)]),
            config,
            port,
        }
    }

    /// A MAD came to the port: an answer, a trap, a request of another manager, a request to the administration.
    pub fn handle_mad(&mut self, now: Instant, from: MadAddress, mad: &Mad) {
        if self.stopped {
            return;
        }
        if MgmtClass(mad[1]) == MgmtClass::SUBN_ADM {
            self.administration.handle_mad(now, &self.subnet, from, mad);
        } else if let Ok(smp) = Smp::parse(mad) {
            self.handle_smp(now, from, &smp, mad);
        }
        self.settle(now);
    }

    /// The manager's own port changed.
    pub fn handle_port(&mut self, now: Instant, view: &PortView) {
        let was = self.view.as_ref().map_or(PortState::DOWN, |view| view.state);
        self.view = Some(view.clone());
        // What the manager itself wrote makes the port Armed or Active; anything else came from outside.
        let came_up = view.state == PortState::INITIALIZE && was != PortState::INITIALIZE;
        let went_down = view.state == PortState::DOWN && was != PortState::DOWN;
        if self.is_looking() && (came_up || went_down) {
            self.sweep.want(Thoroughness::Quick, now);
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.transactions.handle_timeout(now);
        self.administration.handle_timeout(now, &self.subnet);
        self.watch_master(now);
        self.probe(now);
        self.settle(now);
    }

    /// Sweeps in full, as soon as the sweep that is on has ended. A standby does not sweep.
    pub fn sweep(&mut self, now: Instant) {
        if self.is_looking() {
            self.sweep.want(Thoroughness::Full, now);
        }
        self.settle(now);
    }

    /// Other partitions hold from now on: P_Key tables are written anew.
    pub fn set_partitions(&mut self, now: Instant, partitions: Partitions) {
        self.administration.set_partitions(now, &self.subnet, partitions);
        if self.role == Role::Master {
            self.sweep.want(Thoroughness::Quick, now);
        }
        self.settle(now);
    }

    /// Lets the administration answer in this manner from now on.
    pub fn set_manner(&mut self, manner: Manner) {
        self.administration.set_manner(manner);
    }

    /// Another priority, 0 to 15. A standby tells the master, which then may hand over.
    pub fn set_priority(&mut self, now: Instant, priority: u8) {
        self.config.priority = priority & 0xf;
        match self.role {
            Role::Master => self.sweep.want(Thoroughness::Quick, now),
            Role::Standby => self.tell_master(),
            Role::Discovering | Role::NotActive => (),
        }
        self.settle(now);
    }

    /// Ends. What is set up in the fabric goes on working; a standby will find that nobody answers.
    pub fn shut_down(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.sweep.stop();
            self.transactions.retain(|_| false);
            self.output.push_back(Output::SetIsSm(false));
        }
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let is_idle = self.sweep.phase == Phase::Idle;
        let timers = [
            self.transactions.poll_timeout(),
            self.administration.poll_timeout(),
            self.sweep.next.filter(|_| is_idle && self.is_looking()).map(|(_, at)| at),
            (is_idle && self.role == Role::Master).then_some(self.sweep.light_at),
            self.poll_watch(),
            self.poll_probe(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Every LID ever given, by port GUID: what `SmConfig::lids` wants to see after a restart.
    pub fn remembered_lids(&self) -> Vec<(Guid, Lid)> {
        self.lids.promised().collect()
    }

    /// What the manager is doing.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The subnet as the sweeps saw it.
    pub const fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    /// The administration.
    pub const fn administration(&self) -> &Administration {
        &self.administration
    }

    /// Counters of sweeps.
    pub const fn sweeps(&self) -> SweepCounters {
        self.counters
    }

    /// Counters of SMPs.
    pub const fn smps(&self) -> TransactionCounters {
        self.transactions.counters()
    }

    /// Role, subnet, counters.
    pub fn snapshot(&self) -> SmSnapshot {
        SmSnapshot::of(self)
    }

    pub(crate) const fn about(&self) -> (Guid, u8, Phase) {
        (self.port.guid, self.config.priority, self.sweep.phase)
    }

    pub(crate) const fn counters(&self) -> (SweepCounters, TransactionCounters, TrapCounters) {
        (self.counters, self.transactions.counters(), self.traps.counters())
    }

    fn handle_smp(&mut self, now: Instant, from: MadAddress, smp: &Smp, mad: &Mad) {
        let header = smp.header();
        match (header.method, header.attribute) {
            (Method::GET_RESP, _) => {
                if let Some((job, outcome)) = self.transactions.handle_answer(mad) {
                    self.finish_job(now, job, &outcome);
                }
            }
            (Method::GET | Method::SET, AttributeId::SM_INFO) => self.handle_sm_info(now, from, smp, mad),
            (Method::TRAP, AttributeId::NOTICE) => {
                let (notice, _) = Notice::parse(&padded(smp.data())).expect("80 bytes");
                self.handle_trap(now, from, mad, &notice);
            }
            _ => debug!(method = %header.method, attribute = %header.attribute, "SMP for nobody"),
        }
    }

    fn handle_trap(&mut self, now: Instant, from: MadAddress, mad: &Mad, notice: &Notice) {
        if self.role != Role::Master {
            return;
        }
        let mut repress = *mad;
        let header = MadHeader { method: Method::TRAP_REPRESS, ..header_of(mad) };
        repress[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
        self.output.push_back(Output::Send { to: from, mad: Box::new(repress) });
        self.administration.handle_notice(now, &self.subnet, notice);
        let (issuer, trap) = (notice.issuer_lid, notice.trap);
        let reaction = self.traps.handle(now, notice);
        debug!(%issuer, %trap, ?reaction, "trap");
        match reaction {
            Reaction::Sweep => self.look_at(notice, now),
            Reaction::SweepLater { is_news } => {
                self.look_at(notice, now + PATIENCE);
                if is_news {
                    self.warn(Warning::Babbling { issuer, trap });
                }
            }
            Reaction::Tell => self.warn(Warning::Trap { issuer, trap }),
            Reaction::Count { is_news: true } => self.warn(Warning::Babbling { issuer, trap }),
            Reaction::Count { is_news: false } => (),
        }
    }

    /// A switch that reports a link says by its mark which it is; anybody else is asked anew.
    fn look_at(&mut self, notice: &Notice, at: Instant) {
        if let Some(port) = self.subnet.end_port_by_lid(notice.data_lid()) {
            let node = self.subnet.node_mut(port.node);
            if notice.trap != TrapNumber::LINK_STATE {
                node.dirty = true;
            } else if self.sweep.phase == Phase::Walk && node.seen != self.sweep.walk.number {
                // The sweep that is on has yet to ask it: both ends of a link report, and one look is enough.
                return;
            }
        }
        self.sweep.want(Thoroughness::Quick, at);
    }

    fn is_looking(&self) -> bool {
        !self.stopped && matches!(self.role, Role::Master | Role::Discovering)
    }

    fn warn(&mut self, warning: Warning) {
        self.output.push_back(Output::Event(SmEvent::Warning(warning)));
    }
}

fn header_of(mad: &Mad) -> MadHeader {
    MadHeader::from_bytes(mad.first_chunk().expect("24 of 256 bytes"))
}

/// A notice has 80 bytes, an SMP has room for 64: the issuer's GID is the administration's to fill in.
fn padded(data: &[u8; 64]) -> [u8; 80] {
    let mut bytes = [0; 80];
    bytes[..64].copy_from_slice(data);
    bytes
}
