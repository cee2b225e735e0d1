//! Walking the fabric: what each answer adds to the model, and what is asked next.
//!
//! A full sweep asks everything of everybody. A quick sweep walks from switch to switch and believes each that says
//! none of its ports has changed: it costs two SMPs for such a switch and none for what hangs on it. Ports behind
//! which nobody answered once are not asked by either as long as they stay as they are: that would hold up
//! everything else each time. They are probed beside the sweeps.

use alloc::{collections::BTreeSet, vec::Vec};

use ib_wire::{
    addr::{PKey, PortNum},
    mad::attr::{
        CapabilityMask, NodeDescription, NodeInfo, NodeType, PKeyBlock, PortInfo, PortState, SwitchInfo,
    },
};

use super::job::{Job, Work};
use crate::{
    output::{PortName, Warning},
    subnet::{LinearTable, MulticastTable, Node, NodeId, Port, PortId, Subnet, Switch},
};

/// How thorough a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thoroughness {
    /// Switches that say nothing changed are believed.
    Quick,
    /// Everything is asked.
    Full,
}

/// The walk of one sweep.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// Number of the sweep.
    pub(crate) number: u64,
    /// How thorough it is.
    pub(crate) thoroughness: Thoroughness,
    /// What went wrong.
    pub(crate) warnings: Vec<Warning>,
    /// Ports behind which nobody answered, though they have a link.
    pub(crate) silenced: BTreeSet<PortId>,
    /// Jobs that nobody answered.
    pub(crate) silent: usize,
    /// Links that came, by one of their ends.
    pub(crate) new_links: Vec<PortId>,
    /// Links that went, by one of their ends.
    pub(crate) lost_links: Vec<PortId>,
}

impl Walk {
    /// A walk that has not begun; its first job is `Job::Node(None)`.
    pub(crate) fn new(number: u64, thoroughness: Thoroughness) -> Self {
        Self {
            number,
            thoroughness,
            warnings: Vec::new(),
            silenced: BTreeSet::new(),
            silent: 0,
            new_links: Vec::new(),
            lost_links: Vec::new(),
        }
    }

    /// The answer to a job of the walk.
    pub(crate) fn handle_answer(&mut self, subnet: &mut Subnet, work: &mut Work, job: Job, data: &[u8; 64]) {
        match job {
            Job::Node(by) => self.node(subnet, work, by, attribute(data, NodeInfo::from_bytes)),
            Job::Description(id) => {
                subnet.node_mut(id).description = NodeDescription(*data).text();
            }
            Job::Switch(id) => self.switch(subnet, work, id, attribute(data, SwitchInfo::from_bytes)),
            Job::ClearChange(id) => self.read_ports(subnet, work, id),
            Job::Port(id) => self.port(subnet, work, id, attribute(data, PortInfo::from_bytes)),
            Job::PKeys(id, block) => pkeys(subnet, work, id, block, PKeyBlock::from_bytes(data)),
            _ => (),
        }
    }

    /// Nobody answered. True if that leaves the way to a switch in doubt, so that belief is not good enough.
    pub(crate) fn handle_silence(&mut self, subnet: &mut Subnet, job: Job) -> bool {
        let Some(id) = job.node() else { return false };
        let mut is_news = true;
        let (behind, is_doubtful) = match job {
            Job::Node(Some(by)) => {
                let peer = subnet.port(by).and_then(|port| port.peer);
                let was_switch = peer.is_some_and(|peer| subnet.node(peer.node).is_switch());
                let is_active = subnet.port(by).is_some_and(Port::is_active);
                if let Some(peer) = peer.filter(|_| is_active && !was_switch) {
                    // The link has been up all the time, and there is no other way to it.
                    let node = subnet.node_mut(peer.node);
                    node.seen = self.number;
                    node.troubled = true;
                } else {
                    self.unlink(subnet, by);
                    if let Some(port) = subnet.port_mut(by) {
                        is_news = !core::mem::replace(&mut port.silent, true);
                        self.silenced.insert(by);
                    }
                }
                (by, was_switch)
            }
            Job::Port(port) | Job::PKeys(port, _) => (port, false),
            job => (PortId { node: id, num: PortNum::MANAGEMENT }, !matches!(job, Job::Description(_))),
        };
        if !matches!(job, Job::Node(Some(_))) {
            subnet.node_mut(id).troubled = true;
        }
        self.silent += 1;
        if is_news {
            self.warnings.push(Warning::NoAnswer { behind: PortName::of(subnet, behind) });
        }
        is_doubtful && self.thoroughness != Thoroughness::Full
    }

    /// Takes out what was not met; its places wait.
    pub(crate) fn finish(&mut self, subnet: &mut Subnet) -> Vec<NodeId> {
        let gone: Vec<NodeId> =
            subnet.nodes().filter(|(_, node)| node.seen != self.number).map(|(id, _)| id).collect();
        for &id in &gone {
            self.unlink_all(subnet, id);
            subnet.node_mut(id).present = false;
        }
        gone
    }

    fn node(&mut self, subnet: &mut Subnet, work: &mut Work, by: Option<PortId>, info: NodeInfo) {
        let known = subnet.place_of(info.node_guid);
        let other_kind =
            |node: &Node| (node.info.node_type, node.info.num_ports) != (info.node_type, info.num_ports);
        if let (Some(id), Some(by)) = (known, by)
            && self.is_double(subnet, id, by, &info)
        {
            self.warnings
                .push(Warning::DuplicateGuid { guid: info.node_guid, behind: PortName::of(subnet, by) });
            self.unlink(subnet, by);
            subnet.node_mut(by.node).troubled = true;
            return;
        }
        if let Some(id) = known.filter(|id| other_kind(subnet.node(*id))) {
            self.unlink_all(subnet, id);
            *subnet.node_mut(id) = Node::new(info);
        }
        let id = subnet.insert(info);
        let is_switch = info.node_type == NodeType::SWITCH;
        let num = if is_switch && by.is_none() { PortNum::MANAGEMENT } else { info.local_port };
        let port = PortId { node: id, num };
        if subnet.port(port).is_none() {
            self.handle_silence(subnet, Job::Node(by));
            return;
        }
        match by {
            None => subnet.set_own(port),
            Some(by) => self.link(subnet, by, port),
        }
        subnet.set_port_guid(
            PortId { num: if is_switch { PortNum::MANAGEMENT } else { num }, ..port },
            info.port_guid,
        );
        let node = subnet.node_mut(id);
        let is_new = core::mem::replace(&mut node.seen, self.number) != self.number;
        if is_new {
            node.via = by;
            node.info = info;
            node.dirty |= self.thoroughness == Thoroughness::Full || !node.present;
            if !node.present && is_switch {
                node.switch = None;
            }
            node.present = true;
            if node.dirty {
                work.push(Job::Description(id));
            }
        }
        match (is_switch, is_new) {
            (true, true) => work.push(Job::Switch(id)),
            (true, false) => (),
            (false, _) => work.push(Job::Port(port)),
        }
    }

    /// Two ends cannot be the far end of one port, nor can a port be its own, and one node cannot be of two kinds.
    fn is_double(&self, subnet: &Subnet, id: NodeId, by: PortId, info: &NodeInfo) -> bool {
        let node = subnet.node(id);
        let local = PortId { node: id, num: info.local_port };
        let elsewhere = subnet
            .port(local)
            .is_some_and(|port| port.linked == self.number && port.peer.is_some_and(|peer| peer != by));
        let here = subnet
            .port(by)
            .is_some_and(|port| port.linked == self.number && port.peer.is_some_and(|peer| peer != local));
        let kind = (node.info.node_type, node.info.num_ports) != (info.node_type, info.num_ports);
        elsewhere || here || local == by || (node.seen == self.number && kind)
    }

    fn switch(&mut self, subnet: &mut Subnet, work: &mut Work, id: NodeId, info: SwitchInfo) {
        let node = subnet.node_mut(id);
        let ports = node.info.num_ports;
        match &mut node.switch {
            Some(switch) => {
                if switch.info.linear_fdb_top != info.linear_fdb_top {
                    switch.lft.forget();
                    switch.mft.forget(false);
                    node.ports.iter_mut().for_each(|port| port.pkeys.clear());
                    node.dirty = true;
                }
                switch.info = info;
            }
            None => {
                let (lft, mft) = (LinearTable::new(), MulticastTable::new(ports));
                node.switch = Some(Switch { info, lft, mft });
                node.ports.iter_mut().for_each(|port| port.pkeys.clear());
                node.dirty = true;
            }
        }
        if info.port_state_change {
            work.push(Job::ClearChange(id));
        } else if subnet.node(id).dirty {
            self.read_ports(subnet, work, id);
        } else {
            self.believe(subnet, work, id);
        }
    }

    fn read_ports(&self, subnet: &Subnet, work: &mut Work, id: NodeId) {
        let node = subnet.node(id);
        for num in (0..=node.info.num_ports).map(PortNum) {
            work.push(Job::Port(PortId { node: id, num }));
        }
        if node.dirty {
            work.push(Job::PKeys(PortId { node: id, num: PortNum::MANAGEMENT }, 0));
        }
    }

    /// All ports of the switch are as they were: goes on to what is behind them.
    fn believe(&self, subnet: &mut Subnet, work: &mut Work, id: NodeId) {
        let ports: Vec<PortId> =
            subnet.node(id).physical_ports().map(|(num, _)| PortId { node: id, num }).collect();
        for port in ports {
            self.pass(subnet, work, port);
        }
    }

    /// Goes on over a port that is as it was.
    fn pass(&self, subnet: &mut Subnet, work: &mut Work, port: PortId) {
        let Some(known) = subnet.port(port).filter(|port| port.has_link()) else { return };
        let Some(peer) = known.peer else {
            if !known.silent {
                work.push(Job::Node(Some(port)));
            }
            return;
        };
        let is_switch = subnet.node(peer.node).is_switch();
        let node = subnet.node_mut(peer.node);
        if node.seen == self.number || node.asked == self.number {
            return;
        }
        if is_switch || node.dirty {
            node.asked = self.number;
            work.push(Job::Node(Some(port)));
        } else {
            node.seen = self.number;
            node.via = Some(port);
        }
    }

    fn port(&mut self, subnet: &mut Subnet, work: &mut Work, id: PortId, info: PortInfo) {
        let is_switch = subnet.node(id.node).is_switch();
        let dirty = subnet.node(id.node).dirty;
        let is_own = subnet.own_port() == Some(id);
        let Some(port) = subnet.port_mut(id) else { return };
        let was = port.state();
        port.info = Some(PortInfo { client_reregister: false, ..info });
        port.silent &= info.state == was;
        let is_silent = port.silent;
        let fell_back = info.state == PortState::INITIALIZE && was != PortState::INITIALIZE;
        if !is_switch {
            port.reregister |= fell_back || !port.announced;
            if dirty || info.state == PortState::INITIALIZE {
                work.push(Job::PKeys(id, 0));
            }
        } else if id.num == PortNum::MANAGEMENT {
            port.reregister |=
                dirty && !port.announced && info.capability_mask.has(CapabilityMask::CLIENT_REREGISTER);
            return;
        }
        if !port.has_link() {
            return self.unlink(subnet, id);
        }
        if is_own {
            work.push(Job::Node(Some(id)));
        } else if is_switch {
            let entry = subnet.node(id.node).via.and_then(|via| subnet.port(via)).and_then(|port| port.peer);
            let unchanged = is_silent || (info.state == PortState::ACTIVE && was == PortState::ACTIVE);
            if is_silent || (unchanged && self.thoroughness == Thoroughness::Quick && !dirty) {
                self.pass(subnet, work, id);
            } else if entry != Some(id) {
                work.push(Job::Node(Some(id)));
            }
        }
    }

    fn link(&mut self, subnet: &mut Subnet, a: PortId, b: PortId) {
        let old = subnet.port(a).and_then(|port| port.peer);
        if old != Some(b) {
            self.unlink(subnet, a);
            self.unlink(subnet, b);
            subnet.link(a, b);
            self.new_links.push(a);
        }
        for end in [a, b] {
            if let Some(port) = subnet.port_mut(end) {
                port.linked = self.number;
                port.silent = false;
            }
        }
    }

    fn unlink_all(&mut self, subnet: &mut Subnet, id: NodeId) {
        let ports: Vec<PortNum> = subnet.node(id).physical_ports().map(|(num, _)| num).collect();
        for num in ports {
            let id = PortId { node: id, num };
            self.unlink(subnet, id);
            // Nobody probes behind a switch that has left: when it is back, its ports are looked at afresh.
            if let Some(port) = subnet.port_mut(id) {
                port.silent = false;
            }
        }
    }

    fn unlink(&mut self, subnet: &mut Subnet, id: PortId) {
        if subnet.port(id).is_some_and(|port| port.peer.is_some()) {
            subnet.unlink(id);
            self.lost_links.push(id);
        }
    }
}

/// Adds a block to a table; the next one is asked for if this one is full.
fn pkeys(subnet: &mut Subnet, work: &mut Work, id: PortId, block: u16, keys: PKeyBlock) {
    let cap = subnet.node(id.node).info.partition_cap;
    let Some(port) = subnet.port_mut(id) else { return };
    let first = usize::from(block) * 32;
    port.pkeys.resize(first, PKey::INVALID);
    port.pkeys.extend(keys.0);
    if keys.0[31].is_valid() && (block + 1) * 32 < cap {
        work.push(Job::PKeys(id, block + 1));
    }
}

fn attribute<const N: usize, T>(data: &[u8; 64], read: impl Fn(&[u8; N]) -> T) -> T {
    read(data.first_chunk().expect("no attribute is longer than 64 bytes"))
}
