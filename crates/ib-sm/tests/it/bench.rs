//! A fabric, managers at some of its ports, and the time.

use std::{collections::BTreeMap, time::Duration};

use ib_fabric::{
    AgentId, AgentSpec, Fabric, FabricConfig, LinkFault, MethodMask, Output as FabricOutput, PortId, topology,
};
use ib_sm::{Output, Role, SmConfig, SmEvent, SmPort, SubnetManager};
use ib_wire::{
    addr::{Guid, Lid, PortNum},
    mad::{Mad, Method, MgmtClass, attr::PortState},
    time::Instant,
    ud::PortEvent,
};

/// One manager and where it sits.
pub(crate) struct Seat {
    pub(crate) sm: Option<SubnetManager>,
    port: PortId,
    smp: AgentId,
    directed: AgentId,
    gmp: AgentId,
}

impl Seat {
    const fn agents(&self) -> [AgentId; 3] {
        [self.smp, self.directed, self.gmp]
    }
}

/// The whole bench.
pub(crate) struct Bench {
    pub(crate) fabric: Fabric,
    pub(crate) plan: topology::Topology,
    pub(crate) now: Instant,
    pub(crate) seats: Vec<Seat>,
    /// What managers told, with seat and time.
    pub(crate) events: Vec<(Instant, usize, SmEvent)>,
    /// MADs to agents that are no manager's.
    pub(crate) answers: Vec<(AgentId, Mad)>,
    /// Ports whose queue pairs received a datagram.
    pub(crate) received: Vec<PortId>,
    /// Ports that were told to register again.
    pub(crate) reregister: Vec<PortId>,
    /// MADs that managers sent and got.
    pub(crate) mads: u64,
    /// Of a thousand MADs between manager and port so many are lost.
    pub(crate) loss: u64,
    chance: u64,
}

impl Bench {
    pub(crate) fn new(plan: &str) -> Self {
        let plan = topology::generate(plan).unwrap();
        let now = Instant::from_secs(1);
        let fabric = Fabric::new(&plan, FabricConfig::default(), 1, now).unwrap();
        Self {
            fabric,
            plan,
            now,
            seats: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            received: Vec::new(),
            reregister: Vec::new(),
            mads: 0,
            loss: 0,
            chance: 12345,
        }
    }

    /// A manager at port 1 of a host, or port 0 of a switch.
    pub(crate) fn manager(&mut self, node: &str, config: SmConfig) -> usize {
        let num = if self.plan[self.plan.find(node).unwrap()].is_switch() { PortNum(0) } else { PortNum(1) };
        let port = self.fabric.end_port(node, num).unwrap();
        let methods = MethodMask::of(&[Method::GET, Method::SET, Method::TRAP, Method::TRAP_REPRESS]);
        let smp = self.fabric.register_agent(port, AgentSpec::new(MgmtClass::SUBN_LID, methods)).unwrap();
        let directed = AgentSpec::new(MgmtClass::SUBN_DIRECTED, methods);
        let directed = self.fabric.register_agent(port, directed).unwrap();
        let methods = MethodMask::of(&[Method::GET, Method::SET, Method::GET_TABLE, Method::DELETE]);
        let gmp = self.fabric.register_agent(port, AgentSpec::new(MgmtClass::SUBN_ADM, methods)).unwrap();
        let view = self.fabric.port_view(port);
        let seed = self.seats.len() as u64 + 7;
        let mut sm = SubnetManager::new(config, SmPort { guid: view.guid }, seed, self.now);
        sm.handle_port(self.now, &view);
        self.seats.push(Seat { sm: Some(sm), port, smp, directed, gmp });
        self.settle();
        self.seats.len() - 1
    }

    /// The manager dies: nobody answers any more.
    pub(crate) fn kill(&mut self, seat: usize) {
        self.seats[seat].sm = None;
        let (port, agents) = (self.seats[seat].port, self.seats[seat].agents());
        agents.into_iter().for_each(|agent| self.fabric.unregister_agent(port, agent));
        self.fabric.set_is_sm(self.now, port, false);
        self.settle();
    }

    pub(crate) fn sm(&mut self, seat: usize) -> &mut SubnetManager {
        self.seats[seat].sm.as_mut().unwrap()
    }

    pub(crate) fn roles(&self) -> Vec<Option<Role>> {
        self.seats.iter().map(|seat| seat.sm.as_ref().map(SubnetManager::role)).collect()
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.settle();
            let timers = self.seats.iter().filter_map(|seat| seat.sm.as_ref()?.poll_timeout());
            let next = timers.chain(self.fabric.poll_timeout()).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if self.fabric.poll_timeout().is_some_and(|at| at <= self.now) {
                self.fabric.handle_timeout(self.now);
            }
            for seat in &mut self.seats {
                if let Some(sm) =
                    seat.sm.as_mut().filter(|sm| sm.poll_timeout().is_some_and(|at| at <= self.now))
                {
                    sm.handle_timeout(self.now);
                }
            }
        }
    }

    /// Cuts a cable, or mends it.
    pub(crate) fn set_link(&mut self, node: &str, port: u8, down: bool) {
        let link = self.fabric.link(node, PortNum(port)).unwrap();
        self.fabric.set_link_fault(self.now, link, LinkFault { down, ..LinkFault::NONE });
        self.settle();
    }

    pub(crate) fn set_power(&mut self, node: &str, on: bool) {
        let id = self.fabric.node(node).unwrap();
        self.fabric.set_node_power(self.now, id, on);
        self.settle();
    }

    /// Port state and LID of a host's port 1.
    pub(crate) fn host(&self, name: &str) -> (PortState, Lid) {
        let view = self.fabric.port_view(self.fabric.end_port(name, PortNum(1)).unwrap());
        (view.state, view.lid)
    }

    /// Every host's port GUID and LID; all must be Active.
    pub(crate) fn all_active(&self) -> BTreeMap<Guid, Lid> {
        let hosts = self.plan.hosts().map(|(_, node)| {
            let view = self.fabric.port_view(self.fabric.end_port(&node.name, PortNum(1)).unwrap());
            assert_eq!(view.state, PortState::ACTIVE, "{}", node.name);
            assert!(view.lid.is_unicast(), "{}", node.name);
            (view.guid, view.lid)
        });
        hosts.collect()
    }

    /// Every pair of hosts has a path in the manager's model whose tables the switches have confirmed.
    pub(crate) fn check_paths(&mut self, seat: usize) {
        let guids: Vec<Guid> = self.all_active().into_keys().collect();
        let subnet = self.sm(seat).subnet();
        let ends: Vec<_> = guids.iter().map(|guid| subnet.end_port_by_guid(*guid).unwrap()).collect();
        for from in ends.iter().step_by(ends.len() / 32 + 1) {
            for to in &ends {
                assert!(subnet.path(*from, *to).is_some(), "{from:?} to {to:?}");
            }
        }
    }

    /// How often something happened.
    pub(crate) fn count(&self, which: impl Fn(&SmEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, _, event)| which(event)).count()
    }

    pub(crate) fn settle(&mut self) {
        loop {
            let mut idle = true;
            for i in 0..self.seats.len() {
                while let Some(output) = self.seats[i].sm.as_mut().and_then(SubnetManager::poll_output) {
                    idle = false;
                    self.carry_out(i, output);
                }
            }
            while let Some(output) = self.fabric.poll_output() {
                idle = false;
                match output {
                    FabricOutput::Mad { port, agent, from, mad } => {
                        let mad: Mad = (*mad).try_into().unwrap();
                        if !self.seats.iter().any(|seat| seat.agents().contains(&agent)) {
                            self.answers.push((agent, mad));
                            continue;
                        }
                        self.mads += 1;
                        if self.is_lost() {
                            continue;
                        }
                        let now = self.now;
                        let to = |seat: &&mut Seat| seat.port == port && seat.agents().contains(&agent);
                        if let Some(sm) = self.seats.iter_mut().find(to).and_then(|seat| seat.sm.as_mut()) {
                            sm.handle_mad(now, from, &mad);
                        }
                    }
                    FabricOutput::Port { port, event } => {
                        if event == PortEvent::ClientReregister {
                            self.reregister.push(port);
                        }
                        let view = self.fabric.port_view(port);
                        for seat in self.seats.iter_mut().filter(|seat| seat.port == port) {
                            if let Some(sm) = &mut seat.sm {
                                sm.handle_port(self.now, &view);
                            }
                        }
                    }
                    FabricOutput::Received { port, .. } => self.received.push(port),
                    FabricOutput::Tapped { .. }
                    | FabricOutput::Leaves { .. }
                    | FabricOutput::Outside { .. } => (),
                }
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out(&mut self, i: usize, output: Output) {
        let seat = &self.seats[i];
        match output {
            Output::Send { to, mad } => {
                self.mads += 1;
                let agent = if MgmtClass(mad[1]) == MgmtClass::SUBN_ADM { seat.gmp } else { seat.smp };
                let port = seat.port;
                if !self.is_lost() {
                    self.fabric.send_mad(self.now, port, agent, to, &mad).unwrap();
                }
            }
            Output::SetIsSm(is_sm) => self.fabric.set_is_sm(self.now, seat.port, is_sm),
            Output::Event(event) => self.events.push((self.now, i, event)),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % 1000 < self.loss
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
