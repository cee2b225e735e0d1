//! Carrying on: demands of the administration, jobs into SMPs, outcomes into the model.

use ib_wire::{
    addr::PortNum,
    mad::{
        Status,
        attr::{LinearBlock, MulticastBlock, PKeyBlock, PortInfo, SmInfo, SmState, SwitchInfo},
    },
    time::Instant,
};

use super::SubnetManager;
use crate::{
    demand::Demand,
    output::{Output, PortName, Warning},
    role::Role,
    subnet::{MulticastTable, NodeId, PortId},
    sweep::{FIRST_PATIENCE, Phase, discover::Thoroughness, job::Job},
    transact::Outcome,
};

impl SubnetManager {
    /// Does all that can be done now.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            while let Some(job) = self.transactions.poll_given_up() {
                self.finish_job(now, job, &Outcome::GivenUp);
            }
            while let Some(demand) = self.administration.poll_output() {
                self.meet(demand);
            }
            self.send_jobs(now);
            if self.sweep.phase == Phase::Idle {
                if !self.begin_due(now) {
                    break;
                }
            } else if self.sweep.work.is_done() {
                self.advance(now);
            } else {
                break;
            }
        }
        while let Some((to, mad)) = self.transactions.poll_output() {
            self.output.push_back(Output::Send { to, mad });
        }
    }

    fn meet(&mut self, demand: Demand) {
        match demand {
            Demand::Send { to, mad } => {
                // What a group needs is on its way before the member hears that it has joined.
                while let Some((to, mad)) = self.transactions.poll_output() {
                    self.output.push_back(Output::Send { to, mad });
                }
                self.output.push_back(Output::Send { to, mad });
            }
            Demand::Group { mlid, members } => {
                let changed = self.routes.lay_tree(&mut self.subnet, mlid, &members);
                if members.is_empty() {
                    self.groups.remove(&mlid);
                } else {
                    self.groups.insert(mlid, members);
                }
                let block = u16::try_from(mlid.index() / MulticastTable::BLOCK).expect("14 bits by 5");
                changed.into_iter().for_each(|switch| self.write_pages(switch, Some(block)));
            }
        }
    }

    /// Orders the pages of a switch, of one block or all, that are not as wanted and not under way, before
    /// everything else.
    pub(super) fn write_pages(&mut self, switch: NodeId, block: Option<u16>) {
        let Some(table) = self.subnet.node(switch).switch.as_ref().map(|switch| &switch.mft) else { return };
        let blocks = block.map_or_else(|| 0..table.blocks(), |block| block..block + 1);
        for (block, position) in blocks.flat_map(|block| table.changed_of(block)) {
            if self.pages.insert((switch, block, position)) {
                self.sweep.work.push_first(Job::WriteMulticast(switch, block, position));
            }
        }
    }

    fn send_jobs(&mut self, now: Instant) {
        while self.transactions.has_room() {
            let Some(job) = self.sweep.work.take() else { return };
            let mut sm_info = self.sm_info();
            if matches!(job, Job::Acknowledge(_)) {
                // It thanks as what it was when it was handed the subnet.
                sm_info.state = SmState::STANDBY;
            }
            let sm_info = sm_info.to_bytes();
            match job.request(&self.subnet, &self.config, &sm_info) {
                Some(request) => self.transactions.start(now, &request, job),
                None => self.finish_job(now, job, &Outcome::GivenUp),
            }
        }
    }

    /// A job has ended.
    pub(super) fn finish_job(&mut self, now: Instant, job: Job, outcome: &Outcome) {
        self.sweep.work.done(job);
        match (job, outcome) {
            (Job::Poll { .. }, outcome) => self.handle_poll(now, outcome),
            (Job::Acknowledge(_), _) => (),
            (Job::Probe(port), outcome) => self.handle_probe(now, port, outcome),
            (Job::Manager(port), Outcome::Answered { status: Status::OK, data }) => {
                let info = SmInfo::parse(&data[..]).expect("21 of 64 bytes").0;
                self.sweep.managers.push((port, info));
            }
            // Nobody may be there: the bit stays for a while when a manager dies.
            (Job::Manager(_), _) => (),
            (Job::HandOver(port), outcome) => self.handle_handed_over(now, port, outcome),
            (job, Outcome::GivenUp) => self.handle_silence(now, job),
            (job, Outcome::Answered { status, data }) if *status == Status::OK => {
                self.handle_done(job, data);
            }
            (job, Outcome::Answered { status, .. }) => self.handle_refusal(job, *status),
        }
    }

    fn handle_done(&mut self, job: Job, data: &[u8; 64]) {
        let Self { subnet, sweep, .. } = self;
        match job {
            Job::Light(id) => {
                let info = SwitchInfo::parse(data).expect("20 of 64 bytes").0;
                let known = subnet.node(id).switch.as_ref().map(|switch| switch.info.linear_fdb_top);
                sweep.change_seen |= info.port_state_change || known != Some(info.linear_fdb_top);
            }
            Job::WriteSwitch(id) => {
                if let Some(switch) = subnet.switch_mut(id) {
                    switch.info = SwitchInfo::parse(data).expect("20 of 64 bytes").0;
                }
            }
            Job::WriteLinear(id, block) => {
                if let Some(switch) = subnet.switch_mut(id) {
                    switch.lft.confirm(block, LinearBlock::from_bytes(data).into());
                }
            }
            Job::WriteMulticast(id, block, position) => {
                if let Some(switch) = subnet.switch_mut(id) {
                    switch.mft.confirm(block, position, MulticastBlock::from_bytes(data));
                }
                self.page_done(id, block, position);
            }
            Job::WritePKeys(id, block) => {
                if let Some(port) = subnet.port_mut(id) {
                    let first = usize::from(block) * 32;
                    port.pkeys.resize(port.pkeys.len().max(first + 32), ib_wire::addr::PKey::INVALID);
                    port.pkeys[first..first + 32].copy_from_slice(&PKeyBlock::from_bytes(data).0);
                }
            }
            Job::WritePort(id) | Job::Activate(id) => {
                let info = PortInfo::from_bytes(data);
                if let Some(port) = subnet.port_mut(id) {
                    port.reregister &= matches!(job, Job::Activate(_));
                    port.info = Some(PortInfo { client_reregister: false, ..info });
                }
            }
            job => sweep.walk.handle_answer(subnet, &mut sweep.work, job, data),
        }
    }

    /// The page may have been wanted otherwise meanwhile.
    fn page_done(&mut self, switch: NodeId, block: u16, position: u8) {
        self.pages.remove(&(switch, block, position));
        let table = self.subnet.node(switch).switch.as_ref().map(|switch| &switch.mft);
        if table.is_some_and(|table| table.differs(block, position)) {
            self.pages.insert((switch, block, position));
            self.sweep.work.push_first(Job::WriteMulticast(switch, block, position));
        }
    }

    fn handle_silence(&mut self, now: Instant, job: Job) {
        if let Job::WriteMulticast(id, block, position) = job {
            self.pages.remove(&(id, block, position));
        }
        let Self { subnet, sweep, .. } = self;
        match job {
            Job::Light(_) => {
                sweep.want(Thoroughness::Full, now);
                return;
            }
            Job::Node(None) => return,
            job if job.is_walk() => {
                sweep.in_doubt |= sweep.walk.handle_silence(subnet, job);
                return;
            }
            _ => (),
        }
        let Some(node) = job.node() else { return };
        self.subnet.node_mut(node).troubled = true;
        self.sweep.failures += 1;
        let behind = PortName::of(&self.subnet, port_of(job, node));
        self.warn(Warning::NoAnswer { behind });
    }

    /// Whoever was silent has answered, or still is.
    fn handle_probe(&mut self, now: Instant, port: PortId, outcome: &Outcome) {
        if matches!(outcome, Outcome::Answered { .. })
            && let Some(known) = self.subnet.port_mut(port)
        {
            known.silent = false;
            // Whoever answers one question in four is not let wait longer each time.
            self.sweep.patience = FIRST_PATIENCE;
            self.sweep.want(Thoroughness::Quick, now);
        }
    }

    fn handle_refusal(&mut self, job: Job, status: Status) {
        let Some(node) = job.node() else { return };
        if let Job::WriteMulticast(id, block, position) = job {
            self.pages.remove(&(id, block, position));
        }
        // A node without P_Key table, or one that will not tell its name, is no trouble.
        if !matches!(job, Job::PKeys(..) | Job::Description(_)) {
            self.subnet.node_mut(node).troubled = true;
            self.sweep.failures += 1;
        }
        let by = PortName::of(&self.subnet, port_of(job, node));
        self.warn(Warning::Refused { by, status });
    }

    /// True if the manager is to keep the subnet.
    pub(super) fn is_master(&self) -> bool {
        self.role == Role::Master
    }
}

const fn port_of(job: Job, node: NodeId) -> PortId {
    match job {
        Job::Node(Some(port))
        | Job::Port(port)
        | Job::PKeys(port, _)
        | Job::WritePort(port)
        | Job::Activate(port)
        | Job::WritePKeys(port, _) => port,
        _ => PortId { node, num: PortNum::MANAGEMENT },
    }
}
