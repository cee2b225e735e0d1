//! From phase to phase: what begins when everything of the phase before has ended.

use alloc::vec::Vec;

use ib_wire::{addr::PortNum, mad::attr::CapabilityMask, time::Instant};
use tracing::{debug, info};

use super::SubnetManager;
use crate::{
    demand::PortChange,
    output::{Output, PortName, SmEvent, Warning},
    role::Role,
    subnet::{MulticastTable, NodeId, PortId},
    sweep::{
        FIRST_PATIENCE, Phase,
        discover::{Thoroughness, Walk},
        job::Job,
        wanted,
    },
};

impl SubnetManager {
    /// Begins the sweep that is due. False if none is.
    pub(super) fn begin_due(&mut self, now: Instant) -> bool {
        if !self.is_looking() {
            return false;
        }
        if let Some(thoroughness) = self.sweep.take_due(now) {
            self.begin(now, thoroughness);
            return true;
        }
        if self.is_master() && self.sweep.light_at <= now {
            self.begin_light(now);
            return true;
        }
        false
    }

    /// Goes on: all jobs of the phase have ended.
    pub(super) fn advance(&mut self, now: Instant) {
        match self.sweep.phase {
            Phase::Idle => (),
            Phase::Light => self.end_light(now),
            Phase::Walk => self.end_walk(now),
            Phase::Managers => self.decide(now),
            Phase::HandOver => self.configure(now),
            Phase::Write => {
                self.sweep.phase = Phase::Activate;
                wanted::order_activation(&self.subnet, &mut self.sweep.work);
            }
            Phase::Activate => self.complete(now),
        }
    }

    fn begin(&mut self, now: Instant, thoroughness: Thoroughness) {
        let sweep = &mut self.sweep;
        debug!(?thoroughness, "sweep");
        match thoroughness {
            Thoroughness::Full => self.counters.full += 1,
            Thoroughness::Quick => self.counters.quick += 1,
        }
        sweep.silent.append(&mut sweep.walk.silenced);
        sweep.walk = Walk::new(sweep.walk.number + 1, thoroughness);
        sweep.phase = Phase::Walk;
        sweep.in_doubt = false;
        sweep.failures = 0;
        sweep.managers.clear();
        sweep.began = now;
        sweep.smps_before = self.transactions.counters().sent;
        sweep.work.push(Job::Node(None));
    }

    fn begin_light(&mut self, now: Instant) {
        self.counters.light += 1;
        self.sweep.phase = Phase::Light;
        self.sweep.light_at = now + self.config.sweep_interval;
        self.sweep.change_seen = false;
        for (id, _) in self.subnet.switches() {
            self.sweep.work.push(Job::Light(id));
        }
    }

    fn end_light(&mut self, now: Instant) {
        self.sweep.phase = Phase::Idle;
        // Two adapters back to back have no switch that could tell.
        if self.sweep.change_seen || self.subnet.switches().next().is_none() {
            self.sweep.want(Thoroughness::Quick, now);
        }
    }

    fn end_walk(&mut self, now: Instant) {
        if self.sweep.in_doubt {
            self.counters.doubted += 1;
            return self.begin(now, Thoroughness::Full);
        }
        let own = self.subnet.own_port();
        let is_linked = own.is_some_and(|own| {
            self.subnet.node(own.node).seen == self.sweep.walk.number
                && (own.num == PortNum::MANAGEMENT
                    || self.subnet.port(own).is_some_and(|port| port.peer.is_some()))
        });
        if !is_linked {
            return self.give_up(now);
        }
        self.sweep.is_cut_off = false;
        let gone = self.sweep.walk.finish(&mut self.subnet);
        self.tell_lost(now, &gone);
        self.sweep.phase = Phase::Managers;
        let managers: Vec<PortId> = self
            .subnet
            .end_ports()
            .filter(|(id, port)| Some(*id) != own && port.capabilities().has(CapabilityMask::IS_SM))
            .map(|(id, _)| id)
            .collect();
        managers.into_iter().for_each(|port| self.sweep.work.push(Job::Manager(port)));
    }

    /// The own port leads nowhere: there is nothing to manage until it comes up. Nobody tells when it does.
    fn give_up(&mut self, now: Instant) {
        self.sweep.phase = Phase::Idle;
        if !core::mem::replace(&mut self.sweep.is_cut_off, true) {
            self.warn(Warning::NoLink);
        }
        self.sweep.want(Thoroughness::Full, now + FIRST_PATIENCE);
        self.sweep.light_at = now + self.config.sweep_interval;
    }

    /// Decides what everybody gets and orders what differs.
    pub(super) fn configure(&mut self, now: Instant) {
        self.sweep.phase = Phase::Write;
        self.administration.set_managers(self.known_managers());
        let without = self.lids.assign(&mut self.subnet);
        if without > 0 {
            self.warn(Warning::NoLidLeft { ports: without });
        }
        let afresh = self.sweep.walk.thoroughness == Thoroughness::Full;
        self.routes.compute(&mut self.subnet, afresh);
        // The administration stands up, and takes down, before trees are laid for what it knows.
        self.administration.set_master(now, &self.subnet, true);
        for (mlid, members) in &self.groups {
            self.routes.lay_tree(&mut self.subnet, *mlid, members);
        }
        let switches: Vec<NodeId> = self.subnet.switches().map(|(id, _)| id).collect();
        switches.into_iter().for_each(|switch| self.write_pages(switch, None));
        wanted::assign_pkeys(&mut self.subnet, &self.config, self.administration.partitions());
        wanted::order_writes(&self.subnet, &self.config, &mut self.sweep.work);
    }

    fn complete(&mut self, now: Instant) {
        self.sweep.phase = Phase::Idle;
        let (found, is_first) = (self.tell_found(now), self.counters.completed == 0);
        let smps = self.transactions.counters().sent - self.sweep.smps_before;
        let took = now.since(self.sweep.began);
        self.counters.completed += 1;
        self.counters.last_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counters.last_smps = smps;
        let hosts = self.subnet.end_ports().filter(|(id, _)| id.num != PortNum::MANAGEMENT).count();
        let switches = self.subnet.switches().count();
        if is_first {
            info!(hosts, switches, ?took, smps, "subnet up");
        } else {
            self.tell_nodes(found);
        }
        self.output.push_back(Output::Event(SmEvent::SubnetUp { hosts, switches, took, smps }));
        let warnings = core::mem::take(&mut self.sweep.walk.warnings);
        warnings.into_iter().for_each(|warning| self.warn(warning));
        self.look_again(now);
        self.sweep.light_at = now + self.config.sweep_interval;
    }

    /// What left something undone is looked at again, ever less often.
    fn look_again(&mut self, now: Instant) {
        let number = self.sweep.walk.number;
        let ids: Vec<NodeId> = self.subnet.nodes().map(|(id, _)| id).collect();
        let mut is_dirty = false;
        for id in ids {
            let node = self.subnet.node_mut(id);
            node.dirty = core::mem::take(&mut node.troubled) || (node.dirty && node.seen != number);
            is_dirty |= node.dirty;
        }
        self.counters.failures += (self.sweep.failures + self.sweep.walk.silent) as u64;
        let Self { subnet, sweep, .. } = self;
        sweep.silent.append(&mut sweep.walk.silenced);
        sweep
            .silent
            .retain(|id| subnet.node(id.node).present && subnet.port(*id).is_some_and(|port| port.silent));
        let is_silent = !sweep.silent.is_empty();
        if is_dirty {
            self.sweep.want(Thoroughness::Quick, now + self.sweep.patience);
        }
        if is_dirty || is_silent {
            self.sweep.probe_at = now + self.sweep.patience;
            self.sweep.patience = (self.sweep.patience * 2).min(self.config.sweep_interval);
        } else {
            self.sweep.patience = FIRST_PATIENCE;
        }
    }

    /// Asks behind the ports that are silent, if that is due.
    pub(super) fn probe(&mut self, now: Instant) {
        if self.poll_probe().is_none_or(|at| at > now) {
            return;
        }
        self.sweep.probe_at = now + self.sweep.patience;
        self.sweep.patience = (self.sweep.patience * 2).min(self.config.sweep_interval);
        let sweep = &mut self.sweep;
        sweep.silent.iter().for_each(|port| sweep.work.push(Job::Probe(*port)));
    }

    /// When `probe` is due.
    pub(super) fn poll_probe(&self) -> Option<Instant> {
        (self.is_master() && !self.sweep.silent.is_empty()).then_some(self.sweep.probe_at)
    }

    /// Tells of what the walk did not meet any more. Memberships and subscriptions of these ports end.
    fn tell_lost(&mut self, now: Instant, gone: &[NodeId]) {
        let mut lost = Vec::new();
        for (id, node) in self.subnet.places() {
            let own = self.subnet.own_port();
            for (num, port) in node.end_ports().filter(|(_, port)| port.announced) {
                let port_id = PortId { node: id, num };
                let is_here = num == PortNum::MANAGEMENT || port.peer.is_some() || Some(port_id) == own;
                if !(node.present && is_here) {
                    lost.push(port_id);
                }
            }
        }
        for id in lost {
            if let Some(port) = self.subnet.port_mut(id) {
                port.announced = false;
            }
            self.administration.handle_port_change(now, &self.subnet, PortChange::Vanished(id));
        }
        if self.counters.completed == 0 {
            self.sweep.walk.lost_links.clear();
            self.sweep.walk.new_links.clear();
        }
        for link in core::mem::take(&mut self.sweep.walk.lost_links) {
            let event = SmEvent::LinkDown(PortName::of(&self.subnet, link));
            self.output.push_back(Output::Event(event));
        }
        for id in gone {
            let node = self.subnet.node_mut(*id);
            if core::mem::take(&mut node.announced) {
                let (guid, kind) = (node.guid(), node.info.node_type);
                let description = node.description.clone();
                let event = SmEvent::NodeGone { guid, kind, description };
                self.output.push_back(Output::Event(event));
            }
        }
    }

    /// Tells the administration of ports that came; returns the nodes that nobody was told of.
    fn tell_found(&mut self, now: Instant) -> Vec<NodeId> {
        let is_new = |id: PortId, port: &crate::subnet::Port| {
            !port.announced && port.lid.is_unicast() && (port.is_active() || id.num == PortNum::MANAGEMENT)
        };
        let ports: Vec<PortId> =
            self.subnet.end_ports().filter(|(id, port)| is_new(*id, port)).map(|(id, _)| id).collect();
        for id in ports {
            if let Some(port) = self.subnet.port_mut(id) {
                port.announced = true;
            }
            self.administration.handle_port_change(now, &self.subnet, PortChange::Appeared(id));
        }
        let nodes: Vec<NodeId> =
            self.subnet.nodes().filter(|(_, node)| !node.announced).map(|(id, _)| id).collect();
        for id in &nodes {
            self.subnet.node_mut(*id).announced = true;
        }
        nodes
    }

    fn tell_nodes(&mut self, nodes: Vec<NodeId>) {
        for id in nodes {
            let node = self.subnet.node(id);
            let (guid, kind) = (node.guid(), node.info.node_type);
            let event = SmEvent::NodeAppeared { guid, kind, description: node.description.clone() };
            self.output.push_back(Output::Event(event));
        }
        for link in core::mem::take(&mut self.sweep.walk.new_links) {
            let event = SmEvent::LinkUp(PortName::of(&self.subnet, link));
            self.output.push_back(Output::Event(event));
        }
    }

    /// Takes charge: what other managers left behind counts for nothing, and clients register again.
    pub(super) fn take_charge(&mut self, now: Instant) {
        self.role = Role::Master;
        self.output.push_back(Output::Event(SmEvent::MasterNow));
        self.groups.clear();
        self.sweep.light_at = now + self.config.sweep_interval;
        let ids: Vec<PortId> = self.subnet.end_ports().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(port) = self.subnet.port_mut(id) {
                port.reregister = true;
                port.announced = false;
            }
        }
        let switches: Vec<NodeId> = self.subnet.switches().map(|(id, _)| id).collect();
        for id in switches {
            let ports = self.subnet.node(id).info.num_ports;
            if let Some(switch) = self.subnet.switch_mut(id) {
                switch.lft.forget();
                switch.mft = MulticastTable::new(ports);
            }
        }
    }
}
