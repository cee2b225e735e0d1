//! A cluster in virtual time: what its hosts do, and what of that reaches subnet administration.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use ib_fabric::topology::{self, Topology};
use ib_lab::{InterfaceId, Lab, LabConfig, ManagerConfig, Simulation};
use ib_wire::{
    addr::{Gid, HwAddr, QKey, Qpn, Rate},
    ipoib::{ArpOp, EtherType, Header, IbArp},
    mad::sa::RecordId,
    offload::Offload,
    payload::Payload,
    ud::{AddressVector, UdSend},
};
use ipoib_proto::HostEvent;

/// Time between two samples.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The fabric, as generators are called: `fat-tree:k=36,hosts=10000`.
    pub(crate) topology: String,
    /// Peers that each host resolves.
    pub(crate) peers: usize,
    /// Groups that each host joins.
    pub(crate) groups: usize,
    /// Origin of all chance.
    pub(crate) seed: u64,
}

/// Requests that subnet administration answered within one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// For paths.
    pub(crate) paths: u64,
    /// For groups: joins and leaves.
    pub(crate) groups: u64,
    /// For anything else: subscriptions, what the administration can do.
    pub(crate) others: u64,
}

impl Load {
    /// All of them.
    pub(crate) const fn all(self) -> u64 {
        self.paths + self.groups + self.others
    }

    fn since(self, before: Self) -> Self {
        Self {
            paths: self.paths - before.paths,
            groups: self.groups - before.groups,
            others: self.others - before.others,
        }
    }
}

/// A cluster while things happen to it.
pub(crate) struct Scene {
    /// The hosts and all between them.
    pub(crate) simulation: Simulation,
    /// The load of each slot so far.
    pub(crate) load: Vec<Load>,
    plan: Plan,
    chance: Chance,
    topology: Topology,
    /// What each manager had answered at the end of the last slot.
    answered: Vec<Load>,
}

impl Scene {
    /// Switches everything on.
    pub(crate) fn new(plan: Plan) -> Self {
        let topology = topology::generate(&plan.topology).unwrap_or_else(|error| panic!("{error}"));
        let config = LabConfig { seed: plan.seed, ..LabConfig::new(topology.clone()) };
        let simulation = Simulation::new(config).unwrap_or_else(|error| panic!("{error}"));
        let chance = Chance(plan.seed);
        Self { simulation, load: Vec::new(), plan, chance, topology, answered: Vec::new() }
    }

    /// Hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        self.simulation.lab().interfaces().len()
    }

    /// Lets time pass, slot by slot.
    pub(crate) fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / SLOT.as_millis() {
            self.simulation.run_for(SLOT);
            let load = self.sample();
            self.load.push(load);
        }
    }

    /// The load of all slots from the `first` on.
    pub(crate) fn load_since(&self, first: usize) -> Load {
        self.load[first..].iter().fold(Load::default(), |sum, load| Load {
            paths: sum.paths + load.paths,
            groups: sum.groups + load.groups,
            others: sum.others + load.others,
        })
    }

    /// Every host joins its groups, all at one moment. There are as many groups as a hundredth of the hosts.
    pub(crate) fn join_groups(&mut self) {
        let most = (self.hosts() / 100).max(self.plan.groups);
        for host in 0..self.hosts() {
            for group in self.chance.different(self.plan.groups, most, None) {
                let group = Ipv4Addr::from_bits(0xef01_0000 + u32::try_from(group).unwrap_or(0));
                let joined = HostEvent::GroupJoined(group.into());
                self.simulation.with_lab(|lab, now| lab.handle_host(now, InterfaceId(host), joined));
            }
        }
    }

    /// Every host meets its peers, all at one moment: it asks each by ARP who that is, and pings it a second later. The
    /// question goes to the peer alone: as broadcasts those of a large cluster would be billions of packets, and the
    /// administration would hear none of them. Returns how many pairs met that had not before.
    pub(crate) fn meet_peers(&mut self) -> usize {
        let n = self.hosts();
        let mut meetings = Vec::new();
        for from in 0..n {
            for to in self.chance.different(self.plan.peers, n, Some(from)) {
                meetings.push((from, to));
                self.simulation.with_lab(|lab, now| {
                    let (port, qpn, question) = question(lab, from, to);
                    let sent = lab.with_fabric(now, |fabric| fabric.post_send(now, port, qpn, question));
                    sent.expect("a host that is up can send");
                });
            }
        }
        self.pass(Duration::from_secs(1));
        for (from, to) in &meetings {
            self.simulation.ping(InterfaceId(*from), InterfaceId(*to));
        }
        let pairs: BTreeSet<_> = meetings.iter().map(|(from, to)| (from.min(to), from.max(to))).collect();
        pairs.len()
    }

    /// The last switch of the highest level loses its power.
    pub(crate) fn lose_spine(&mut self) {
        let spine = self.topology.switches().last().map(|(_, node)| node.name.clone());
        let node = spine.and_then(|name| self.simulation.lab().fabric().node(&name)).expect("a tree has one");
        self.simulation.with_lab(|lab, now| lab.with_fabric(now, |f| f.set_node_power(now, node, false)));
    }

    /// The manager dies, and one on another switch takes charge: all clients are asked to register again.
    pub(crate) fn replace_manager(&mut self) {
        let second =
            self.topology.switches().nth(1).map(|(_, node)| node.name.clone()).expect("two switches");
        let place = Some((second, ib_wire::addr::PortNum::MANAGEMENT));
        let manager = ManagerConfig { place, ..ManagerConfig::default() };
        let seed = self.plan.seed + 1;
        self.simulation.with_lab(|lab, now| {
            lab.kill_manager(now, 0);
            lab.start_manager(now, manager, seed).expect("a switch takes a manager");
        });
    }

    /// Pings that came back, of all hosts.
    pub(crate) fn replies(&self) -> u64 {
        (0..self.hosts()).filter_map(|i| self.simulation.host(InterfaceId(i))).map(|host| host.replies).sum()
    }

    fn sample(&mut self) -> Load {
        let managers = self.simulation.lab().managers();
        self.answered.resize(managers.len(), Load::default());
        let mut sum = Load::default();
        for (manager, before) in managers.iter().zip(&mut self.answered) {
            let Some(sm) = &manager.sm else { continue };
            let mut now = Load::default();
            for answered in sm.administration().counters().table() {
                let is = |record: RecordId| answered.attribute == record.to_string();
                *(if is(RecordId::PATH) {
                    &mut now.paths
                } else if is(RecordId::MC_MEMBER) {
                    &mut now.groups
                } else {
                    &mut now.others
                }) += answered.count;
            }
            let load = now.since(*before);
            *before = now;
            (sum.paths, sum.groups, sum.others) =
                (sum.paths + load.paths, sum.groups + load.groups, sum.others + load.others);
        }
        sum
    }
}

/// What `from` asks `to`, and the queue pair it asks from.
fn question(lab: &Lab, from: usize, to: usize) -> (ib_fabric::PortId, Qpn, UdSend) {
    let [from, to] = [from, to].map(InterfaceId);
    let (asker, asked) = (lab.interface(from), lab.interface(to));
    let arp = IbArp {
        op: ArpOp::REQUEST,
        sender_hw: asker.engine.hw_addr(),
        sender_ip: Simulation::address(from),
        target_hw: HwAddr::new(Qpn::new(0), Gid::ZERO),
        target_ip: Simulation::address(to),
    };
    let mut payload = Payload::from(&arp.emit()[..]);
    payload.prepend(&Header::new(EtherType::ARP).emit());
    let view = lab.fabric().port_view(asked.port());
    let to = AddressVector { dlid: view.lid, sl: view.sm_sl, rate: Rate(3), global: None };
    let dest_qp = asked.engine.config().qpn;
    let send = UdSend { to, dest_qp, qkey: QKey(0x0b1b), payload, offload: Offload::NONE };
    (asker.port(), asker.engine.config().qpn, send)
}

/// Numbers that look random, the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % n
    }

    /// So many different numbers below `n`, none of them `but`.
    fn different(&mut self, count: usize, n: usize, but: Option<usize>) -> BTreeSet<usize> {
        let mut set = BTreeSet::new();
        while set.len() < count.min(n - usize::from(but.is_some())) {
            set.insert(self.below(n));
            if let Some(but) = but {
                set.remove(&but);
            }
        }
        set
    }
}
