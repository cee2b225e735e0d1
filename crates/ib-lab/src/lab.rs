//! The composition: who gets what the others put out.
//!
//! `Lab` decides nothing. It takes one input, lets the object concerned work, carries every output to its
//! receiver, and notes who wants to be woken when. It stops as soon as there is something for the caller, and goes on
//! when that was taken: of a packet to ten thousand hosts, each frame is taken before the next is made.

use alloc::{collections::VecDeque, format, string::String, vec::Vec};

use ib_fabric::{
    AgentId, AgentSpec, Fabric, MethodMask, Output as FabricOutput, PortId, RegisterError,
    topology::{NodeKind, Topology},
};
use ib_sm::{Output as SmOutput, SmPort, SubnetManager};
use ib_wire::{
    addr::{PKey, PortNum, Qpn},
    mad::{Mad, Method, MgmtClass},
    offload::Offload,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent},
};
use ipoib_proto::{Config, HostEvent, Interface, Output as InterfaceOutput};

use crate::{
    InterfaceConfig, InterfaceId, LabConfig, LabError, ManagerConfig, Output, RequestError, Tapped, ToHost,
    attached::{Attached, Manager},
    client::{ClientId, Clients, PortNotice},
    program::{AgentCounters, Outgoing, ProgramError, ProgramSpec, Programs},
    seat::{PortRequest, Seat},
    timers::Timers,
};

/// A subnet: fabric, managers, interfaces.
#[derive(Debug)]
pub struct Lab {
    fabric: Fabric,
    managers: Vec<Manager>,
    interfaces: Vec<Attached>,
    programs: Programs,
    clients: Clients,
    /// Who is at each end port, by the port's number.
    residents: Vec<Vec<Resident>>,
    timers: Timers,
    /// Where a manager runs that has no place of its own: the first switch, else the first host.
    manager_place: Option<(String, PortNum)>,
    out: VecDeque<Output>,
    /// Who has received something and is still to be asked what comes of it.
    asked: Option<InterfaceId>,
    /// The time of the last input.
    now: Instant,
}

/// Timers that are seen to before what they led to is carried on.
const AT_ONCE: usize = 256;

/// Who has a place at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resident {
    Interface(InterfaceId),
    /// The interface of this number of a driver that is elsewhere.
    Client(ClientId, usize),
}

/// Whose timer it is.
#[derive(Clone, Copy)]
enum Holder {
    Fabric,
    Programs,
    Manager(usize),
    Interface(usize),
}

impl Holder {
    const fn number(self) -> usize {
        match self {
            Self::Fabric => 0,
            Self::Programs => 1,
            Self::Manager(i) => 2 + 2 * i,
            Self::Interface(i) => 3 + 2 * i,
        }
    }

    const fn of(number: usize) -> Self {
        match number {
            0 => Self::Fabric,
            1 => Self::Programs,
            n if n % 2 == 0 => Self::Manager(n / 2 - 1),
            n => Self::Interface(n / 2 - 1),
        }
    }
}

impl Lab {
    /// Builds the lab and switches everything on; interfaces are administratively down.
    pub fn new(config: LabConfig, now: Instant) -> Result<Self, LabError> {
        let fabric = Fabric::new(&config.topology, config.fabric, config.seed, now)?;
        let mut lab = Self {
            fabric,
            managers: Vec::new(),
            interfaces: Vec::new(),
            programs: Programs::default(),
            clients: Clients::default(),
            residents: Vec::new(),
            timers: Timers::default(),
            manager_place: manager_place(&config.topology),
            out: VecDeque::new(),
            asked: None,
            now,
        };
        if let Some(interfaces) = &config.interfaces {
            lab.add_interfaces(&config.topology, interfaces, config.seed, now)?;
        }
        for manager in config.managers {
            lab.start_manager(now, manager, config.seed)?;
        }
        lab.settle(now);
        Ok(lab)
    }

    /// The host set an interface up or down.
    pub fn handle_admin(&mut self, now: Instant, id: InterfaceId, up: bool) {
        self.interfaces[id.0].engine.handle_admin(now, up);
        self.after_interface(now, id);
    }

    /// The host sends a frame, from the Ethernet header on; offsets in `offload` count from the IP header.
    pub fn handle_host_frame(&mut self, now: Instant, id: InterfaceId, frame: Payload, offload: Offload) {
        self.interfaces[id.0].engine.handle_host_frame(now, frame, offload);
        self.after_interface(now, id);
    }

    /// Something changed in the host's network stack.
    pub fn handle_host(&mut self, now: Instant, id: InterfaceId, event: HostEvent) {
        self.interfaces[id.0].engine.handle_host(now, event);
        self.after_interface(now, id);
    }

    /// Lets those work whose time has come, until somebody puts something out: take that, and call again while
    /// `poll_timeout` is not after `now`. So what many do at one time does not pile up.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.out.is_empty() && self.timers.next().is_some_and(|at| at <= now) {
            // What several say to all reaches each of these in one go.
            for _ in 0..AT_ONCE {
                let Some(holder) = self.timers.expire(now) else { break };
                self.wake(now, Holder::of(holder));
            }
            self.settle(now);
        }
    }

    fn wake(&mut self, now: Instant, holder: Holder) {
        match holder {
            Holder::Fabric => self.fabric.handle_timeout(now),
            Holder::Programs => self.programs.handle_timeout(now, &mut self.fabric),
            Holder::Manager(i) => {
                if let Some(sm) = &mut self.managers[i].sm {
                    sm.handle_timeout(now);
                }
                self.run_manager(now, i);
            }
            Holder::Interface(i) => {
                self.interfaces[i].engine.handle_timeout(now);
                self.run_interface(now, InterfaceId(i));
            }
        }
    }

    /// Starts a subnet manager where its configuration says. Its number comes back.
    pub fn start_manager(
        &mut self,
        now: Instant,
        config: ManagerConfig,
        seed: u64,
    ) -> Result<usize, LabError> {
        let (node, number) = config.place.or_else(|| self.manager_place.clone()).ok_or(LabError::Empty)?;
        let port = self.end_port(&node, number)?;
        let view = self.fabric.port_view(port);
        let smp = MethodMask::of(&[Method::GET, Method::SET, Method::TRAP, Method::TRAP_REPRESS]);
        let sa = MethodMask::of(&[
            Method::GET,
            Method::SET,
            Method::GET_TABLE,
            Method::GET_MULTI,
            Method::DELETE,
            Method::TRAP,
        ]);
        let agents = self.register_agents(
            port,
            [(MgmtClass::SUBN_LID, smp), (MgmtClass::SUBN_DIRECTED, smp), (MgmtClass::SUBN_ADM, sa)],
        )?;
        let mut sm = SubnetManager::new(config.sm, SmPort { guid: view.guid }, seed, now);
        sm.set_partitions(now, config.partitions);
        sm.handle_port(now, &view);
        let index = self.managers.len();
        self.managers.push(Manager { sm: Some(sm), node, port, agents });
        self.run_manager(now, index);
        self.settle(now);
        Ok(index)
    }

    /// Ends a subnet manager as if its process were killed: nothing is undone in the fabric.
    pub fn kill_manager(&mut self, now: Instant, index: usize) {
        let Some(manager) = self.managers.get_mut(index) else { return };
        if manager.sm.take().is_some() {
            let (port, agents) = (manager.port, manager.agents);
            agents.into_iter().for_each(|agent| self.fabric.unregister_agent(port, agent));
            self.fabric.set_is_sm(now, port, false);
            self.timers.set(Holder::Manager(index).number(), None);
            self.settle(now);
        }
    }

    /// Asks a manager for a full sweep.
    pub fn sweep(&mut self, now: Instant, index: usize) {
        self.with_manager(now, index, |sm| sm.sweep(now));
    }

    /// Gives a manager something to do and carries on what comes of it. Nothing if it was killed.
    pub fn with_manager(&mut self, now: Instant, index: usize, work: impl FnOnce(&mut SubnetManager)) {
        if let Some(sm) = self.managers.get_mut(index).and_then(|m| m.sm.as_mut()) {
            work(sm);
            self.run_manager(now, index);
            self.settle(now);
        }
    }

    /// Changes the fabric - a fault, a tap, an injected packet - and carries on what comes of it.
    pub fn with_fabric<T>(&mut self, now: Instant, work: impl FnOnce(&mut Fabric) -> T) -> T {
        let result = work(&mut self.fabric);
        self.settle(now);
        result
    }

    /// Opens an agent for a program at a port.
    pub fn open_agent(&mut self, port: PortId, spec: ProgramSpec) -> Result<AgentId, RegisterError> {
        self.programs.open(&mut self.fabric, port, spec)
    }

    /// Ends a program's agent: what it waits for will not come.
    pub fn close_agent(&mut self, agent: AgentId) {
        self.programs.close(&mut self.fabric, agent);
    }

    /// Sends a program's MAD.
    pub fn send_for_program(
        &mut self,
        now: Instant,
        agent: AgentId,
        outgoing: Outgoing,
    ) -> Result<(), ProgramError> {
        let result = self.programs.send(now, &mut self.fabric, agent, outgoing);
        self.settle(now);
        result
    }

    /// Gives a driver that is elsewhere a port that nobody has: a queue pair for each of its interfaces, with the
    /// number wanted or any.
    pub fn attach(&mut self, port: PortId, wanted: &[Option<Qpn>]) -> Result<ClientId, LabError> {
        if !self.residents(port).is_empty() {
            return Err(LabError::PortTaken);
        }
        let id = self.clients.add(&mut self.fabric, port, wanted)?;
        self.residents_mut(port).extend((0..wanted.len()).map(|nth| Resident::Client(id, nth)));
        Ok(id)
    }

    /// Takes a port away from a driver that is elsewhere; its queue pairs are gone.
    pub fn detach(&mut self, now: Instant, client: ClientId) {
        for seat in self.clients.remove(&mut self.fabric, client) {
            self.residents_mut(seat.port).clear();
        }
        self.settle(now);
    }

    /// The queue pairs of a driver that is elsewhere, in the order of its interfaces; none once it is detached.
    pub fn queue_pairs(&self, client: ClientId) -> impl Iterator<Item = Qpn> {
        self.clients.seats(client).iter().map(|seat| seat.qpn)
    }

    /// Does what the interface `nth` of a driver that is elsewhere asks of its port.
    pub fn handle_request(
        &mut self,
        now: Instant,
        client: ClientId,
        nth: usize,
        request: PortRequest,
    ) -> Result<(), RequestError> {
        let seat = self.clients.seats(client).get(nth).ok_or(RequestError::NoSuchInterface)?;
        let done = seat.carry(now, &mut self.fabric, request);
        self.settle(now);
        Ok(done?)
    }

    /// What a program's agent has seen; none once it is closed.
    pub fn agent_counters(&self, agent: AgentId) -> Option<AgentCounters> {
        self.programs.counters(agent)
    }

    /// What the caller is to do; what the last input led to goes on until there is something.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.out.is_empty() { self.carry() } else { self.out.pop_front() }
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek()
    }

    /// The fabric, to look at.
    pub const fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The interfaces in the order they were made: by host, by port, the parent before its children.
    pub fn interfaces(&self) -> impl ExactSizeIterator<Item = (InterfaceId, &Attached)> {
        self.interfaces.iter().enumerate().map(|(i, attached)| (InterfaceId(i), attached))
    }

    /// One interface.
    pub fn interface(&self, id: InterfaceId) -> &Attached {
        &self.interfaces[id.0]
    }

    /// The subnet managers in the order they were started, killed ones included.
    pub fn managers(&self) -> &[Manager] {
        &self.managers
    }

    /// Registers all of these agents at a port, or none.
    fn register_agents<const N: usize>(
        &mut self,
        port: PortId,
        wanted: [(MgmtClass, MethodMask); N],
    ) -> Result<[AgentId; N], RegisterError> {
        let mut agents = Vec::with_capacity(N);
        for (class, methods) in wanted {
            match self.fabric.register_agent(port, AgentSpec::new(class, methods)) {
                Ok(agent) => agents.push(agent),
                Err(error) => {
                    agents.into_iter().for_each(|agent| self.fabric.unregister_agent(port, agent));
                    return Err(error);
                }
            }
        }
        Ok(agents.try_into().expect("one for each that was wanted"))
    }

    fn end_port(&self, node: &str, port: PortNum) -> Result<PortId, LabError> {
        self.fabric.end_port(node, port).ok_or_else(|| LabError::NoSuchPort { node: node.into(), port })
    }

    /// Gives every port of every host its interfaces.
    fn add_interfaces(
        &mut self,
        topology: &Topology,
        settings: &InterfaceConfig,
        seed: u64,
        now: Instant,
    ) -> Result<(), LabError> {
        for node in topology.nodes.iter().filter(|node| node.kind == NodeKind::Hca) {
            for number in 1..=node.port_count {
                let parent = format!("ib{}", number - 1);
                let port = self.end_port(&node.name, PortNum(number))?;
                self.add_interface(
                    &node.name,
                    parent.clone(),
                    port,
                    PKey::DEFAULT_FULL,
                    settings,
                    seed,
                    now,
                )?;
                for child in settings.children_of(self.fabric.port_view(port).guid) {
                    let name = format!("{parent}.{:04x}", child.0);
                    self.add_interface(&node.name, name, port, child, settings, seed, now)?;
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each is a fact about the one interface")]
    fn add_interface(
        &mut self,
        host: &str,
        name: String,
        port: PortId,
        pkey: PKey,
        settings: &InterfaceConfig,
        seed: u64,
        now: Instant,
    ) -> Result<(), LabError> {
        let view = self.fabric.port_view(port);
        let first_here = self.residents(port).is_empty();
        let seat = Seat::take(&mut self.fabric, port, None, first_here)?;
        let config = Config {
            scope: settings.scope,
            max_address_vector: settings.max_address_vector,
            max_groups: settings.max_groups,
            tx_ring_size: settings.tx_ring_size,
            ..Config::new(format!("{host}/{name}"), view.guid, seat.qpn, pkey)
        };
        let id = InterfaceId(self.interfaces.len());
        let engine = Interface::new(config, &view, id.seed(seed), now)?;
        self.interfaces.push(Attached { host: host.into(), name, engine, seat });
        self.residents_mut(port).push(Resident::Interface(id));
        self.run_interface(now, id);
        Ok(())
    }

    /// What an interface put out is at the fabric; what that leads to is carried on when the caller asks.
    fn after_interface(&mut self, now: Instant, id: InterfaceId) {
        self.run_interface(now, id);
        self.now = now;
    }

    /// Carries on what an input led to, until there is something for the caller.
    fn settle(&mut self, now: Instant) {
        self.now = now;
        if self.out.is_empty()
            && let Some(output) = self.carry()
        {
            self.out.push_front(output);
        }
    }

    /// Carries the fabric's outputs to their receivers until there are none, or something for the caller.
    fn carry(&mut self) -> Option<Output> {
        let now = self.now;
        // Whether there is anything is asked first: to hand out that there is nothing costs as much as an output.
        loop {
            if let Some(id) = self.asked {
                if self.interfaces[id.0].engine.has_output()
                    && let Some(output) = self.ask_interface(now, id)
                {
                    return Some(output);
                }
                self.asked = None;
                self.note_timeout(id);
            }
            if !self.fabric.has_output() {
                break;
            }
            match self.fabric.poll_output() {
                None => break,
                Some(FabricOutput::Received { port, qpn, mut datagram }) => {
                    match self.resident(port, |seat| seat.qpn == qpn) {
                        Some(Resident::Interface(id)) => {
                            datagram.payload.make_own();
                            self.interfaces[id.0].engine.handle_datagram(now, datagram);
                            self.asked = Some(id);
                            continue;
                        }
                        Some(Resident::Client(client, nth)) => {
                            self.notify(client, PortNotice::Received { nth, datagram });
                        }
                        None => {}
                    }
                }
                Some(FabricOutput::Mad { port, agent, from, mad }) => {
                    let for_program = self.programs.handle_mad(now, &mut self.fabric, agent, from, &mad);
                    if !for_program {
                        self.deliver_mad(now, port, agent, from, &mad);
                    }
                }
                Some(FabricOutput::Port { port, event }) => self.port_changed(now, port, event),
                Some(FabricOutput::Tapped { tap, link, from_a, at, packet }) => {
                    self.out.push_back(Output::Tapped(Tapped { tap, link, from_a, at, packet }));
                }
                Some(FabricOutput::Leaves { link, packet }) => {
                    self.out.push_back(Output::Leaves { link, packet })
                }
                Some(FabricOutput::Outside { link, up }) => self.out.push_back(Output::Outside { link, up }),
            }
            if !self.out.is_empty() {
                return self.out.pop_front();
            }
        }
        while let Some(incoming) = self.programs.poll_output() {
            self.out.push_back(Output::Program(incoming));
        }
        self.timers.set(Holder::Fabric.number(), self.fabric.poll_timeout());
        self.timers.set(Holder::Programs.number(), self.programs.poll_timeout());
        self.out.pop_front()
    }

    fn residents(&self, port: PortId) -> &[Resident] {
        self.residents.get(port.index()).map_or(&[], Vec::as_slice)
    }

    fn residents_mut(&mut self, port: PortId) -> &mut Vec<Resident> {
        if self.residents.len() <= port.index() {
            self.residents.resize(port.index() + 1, Vec::new());
        }
        &mut self.residents[port.index()]
    }

    #[inline]
    fn resident(&self, port: PortId, is_meant: impl Fn(&Seat) -> bool) -> Option<Resident> {
        let has = |resident: &Resident| match *resident {
            Resident::Interface(id) => is_meant(&self.interfaces[id.0].seat),
            Resident::Client(id, nth) => self.clients.seats(id).get(nth).is_some_and(&is_meant),
        };
        self.residents(port).iter().copied().find(has)
    }

    fn notify(&mut self, client: ClientId, notice: PortNotice) {
        self.out.push_back(Output::Client { client, notice });
    }

    fn deliver_mad(
        &mut self,
        now: Instant,
        port: PortId,
        agent: AgentId,
        from: MadAddress,
        payload: &Payload,
    ) {
        let Ok(mad) = <&Mad>::try_from(&**payload) else { return };
        let manager = |m: &Manager| m.sm.is_some() && m.port == port && m.agents.contains(&agent);
        if let Some(i) = self.managers.iter().position(manager) {
            if let Some(sm) = &mut self.managers[i].sm {
                sm.handle_mad(now, from, mad);
            }
            self.run_manager(now, i);
            return;
        }
        let Some(owner) = self.resident(port, |seat| seat.agent == agent) else { return };
        // A report reaches the port once; every interface on it may have asked for it.
        let report = mad[3] == Method::REPORT.0;
        let receivers = if report { self.residents(port).to_vec() } else { alloc::vec![owner] };
        for receiver in receivers {
            match receiver {
                Resident::Interface(id) => {
                    self.interfaces[id.0].engine.handle_mad(now, from, mad);
                    self.run_interface(now, id);
                }
                Resident::Client(client, nth) => {
                    self.notify(client, PortNotice::Mad { nth, from, mad: payload.clone() });
                }
            }
        }
    }

    fn port_changed(&mut self, now: Instant, port: PortId, event: PortEvent) {
        self.out.push_back(Output::Port(port));
        let view = self.fabric.port_view(port);
        for i in 0..self.managers.len() {
            let manager = &mut self.managers[i];
            if let Some(sm) = manager.sm.as_mut().filter(|_| manager.port == port) {
                sm.handle_port(now, &view);
                self.run_manager(now, i);
            }
        }
        for resident in self.residents(port).to_vec() {
            match resident {
                Resident::Interface(id) => {
                    self.interfaces[id.0].engine.handle_port(now, event, &view);
                    self.run_interface(now, id);
                }
                // A driver hears once, and tells its interfaces.
                Resident::Client(client, 0) => self.notify(client, PortNotice::Port(event)),
                Resident::Client(..) => {}
            }
        }
    }

    fn run_interface(&mut self, now: Instant, id: InterfaceId) {
        while let Some(output) = self.ask_interface(now, id) {
            self.out.push_back(output);
        }
        self.note_timeout(id);
    }

    /// Does at the port what an interface puts out, until there is something for its host.
    fn ask_interface(&mut self, now: Instant, id: InterfaceId) -> Option<Output> {
        let Self { interfaces, fabric, .. } = self;
        let attached = &mut interfaces[id.0];
        loop {
            match attached.engine.poll_output()? {
                // The two that every packet makes.
                InterfaceOutput::Send(send) => attached.seat.send(now, fabric, send),
                InterfaceOutput::ToHost(frame) => {
                    return Some(Output::Host { interface: id, what: ToHost::Frame(frame) });
                }
                other => {
                    if let Some(what) = attached.carry_out(now, fabric, other) {
                        return Some(Output::Host { interface: id, what });
                    }
                }
            }
        }
    }

    #[inline]
    fn note_timeout(&mut self, id: InterfaceId) {
        let deadline = self.interfaces[id.0].engine.poll_timeout();
        self.timers.set(Holder::Interface(id.0).number(), deadline);
    }

    fn run_manager(&mut self, now: Instant, index: usize) {
        let manager = &mut self.managers[index];
        let Some(sm) = &mut manager.sm else { return };
        while let Some(output) = sm.poll_output() {
            match output {
                SmOutput::Send { to, mad } => {
                    let agent = manager.agents[if to.qpn == Qpn::SMI { 0 } else { 2 }];
                    let _ = self.fabric.send_mad(now, manager.port, agent, to, &mad);
                }
                SmOutput::SetIsSm(on) => self.fabric.set_is_sm(now, manager.port, on),
                SmOutput::Event(event) => self.out.push_back(Output::Manager { manager: index, event }),
            }
        }
        self.timers.set(Holder::Manager(index).number(), sm.poll_timeout());
    }
}

fn manager_place(topology: &Topology) -> Option<(String, PortNum)> {
    let of_kind = |kind, port| {
        let node = topology.nodes.iter().find(|node| node.kind == kind);
        node.map(|node| (node.name.clone(), PortNum(port)))
    };
    of_kind(NodeKind::Switch, 0).or_else(|| of_kind(NodeKind::Hca, 1))
}
