//! The whole: what there is, and what goes in and out.
//!
//! State and order only. How a packet moves is in `walk` and `crossing`, what a port does with it in `endport`,
//! what a link does in `training`.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use ib_wire::{
    addr::{Guid, PKey, PortNum, Qpn},
    mad::{
        attr::{NodeDescription, NodeInfo, PortInfo},
        pma::{PortCounters, PortCountersExtended},
    },
    time::Instant,
    ud::{PortEvent, PortView, QpCommand},
};
use rand_core::Rng;
use rand_pcg::Pcg32;

use crate::{
    agenda::Agenda,
    config::FabricConfig,
    drop::Drop,
    endport::{AgentSpec, EndPort, pma, sma},
    error::{CreateQpError, QpError, RegisterError},
    express::Express,
    flight::{Flight, Parked, Step},
    id::{AgentId, LinkId, NodeId, PortId, TapId},
    link::{Link, LinkFault},
    node::Node,
    outbox::Outbox,
    output::Output,
    port::{Logical, Physical, Port},
    spread::Spreads,
    switch::Switch,
    tap::{TapFilter, Taps},
    topology::Probability,
};

/// A fabric: one object, no IO, no clock. Give it one input, then take all outputs.
///
/// # Panics
/// Every method may panic if a handle came from a larger fabric than this one.
#[derive(Debug)]
pub struct Fabric {
    pub(crate) config: FabricConfig,
    pub(crate) nodes: Vec<Node>,
    pub(crate) ports: Vec<Port>,
    pub(crate) ends: Vec<EndPort>,
    pub(crate) switches: Vec<Switch>,
    pub(crate) links: Vec<Link>,
    /// Nodes by name.
    pub(crate) names: BTreeMap<String, usize>,
    /// What is still to be done before this input is done with.
    pub(crate) work: VecDeque<Work>,
    /// What is to be done later.
    pub(crate) agenda: Agenda<Later>,
    /// Ways that are clear.
    pub(crate) express: Express,
    /// Who gets multicast packets at each switch.
    pub(crate) spreads: Spreads,
    /// Packets on slow links.
    pub(crate) parked: Parked,
    pub(crate) taps: Taps,
    pub(crate) outputs: Outbox,
    pub(crate) random: Pcg32,
    pub(crate) last_agent: u32,
    /// Multicast copies that may still be made for this input.
    pub(crate) copies_left: usize,
    /// Kept for its memory: the effects of one Set.
    pub(crate) effects: Vec<sma::Effect>,
}

/// Something to do before an input is done with.
#[derive(Debug)]
pub(crate) enum Work {
    /// Carry a packet on.
    Carry(Step, Flight),
    /// Take a link down at the wish of the SM that manages this port, and let it come up again.
    Retrain(usize),
    /// Change what a port does with its cable.
    Physical(usize, Physical),
    /// Ask what is at the outer end of a link for a sign of life.
    Ask(usize),
}

/// Something to do at its time.
#[derive(Debug)]
pub(crate) enum Later {
    /// A packet comes out of a link.
    Arrive {
        /// The packet.
        parked: usize,
        /// The port it comes in through.
        port: usize,
        /// The link.
        link: usize,
        /// The direction.
        from_a: bool,
        /// The link's epoch when it was put on.
        epoch: u32,
    },
    /// A link has been trained.
    Trained {
        /// The link.
        link: usize,
        /// Its epoch when training began.
        epoch: u32,
    },
    /// Traps of an end port are to be sent again.
    Traps {
        /// The end port.
        end: usize,
    },
    /// The lease of an M_Key may have run out.
    Lease {
        /// The end port.
        end: usize,
    },
    /// A sampling of counters begins or ends.
    Sample {
        /// The end port whose agent was asked for it.
        end: usize,
    },
    /// A link that leads out of the fabric is to be looked at.
    Watch {
        /// The link.
        link: usize,
    },
}

impl Fabric {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, later)) = self.agenda.take_due(now) {
            match later {
                Later::Arrive { parked, port, link, from_a, epoch } => {
                    self.come_out(at, parked, port, link, from_a, epoch);
                }
                Later::Trained { link, epoch } => self.trained(at, link, epoch),
                Later::Traps { end } => {
                    self.ends[end].traps.disarm(at);
                    self.send_due_traps(at, end);
                }
                Later::Lease { end } => self.end_lease(at, end),
                Later::Sample { end } => self.sample(at, end),
                Later::Watch { link } => self.watch(at, link),
            }
            self.run(at);
        }
    }

    /// Starts a capture; costs nothing on links it does not look at.
    pub fn add_tap(&mut self, filter: TapFilter) -> TapId {
        let tap = self.taps.add(filter);
        self.taps.mark(&mut self.links, &self.nodes);
        self.express.forget();
        tap
    }

    /// Ends a capture.
    pub fn remove_tap(&mut self, tap: TapId) {
        self.taps.remove(tap);
        self.taps.mark(&mut self.links, &self.nodes);
        self.express.forget();
    }

    /// Creates a UD queue pair: with the number wanted, or with a free one from 0x400 on.
    pub fn create_qp(&mut self, port: PortId, want: Option<Qpn>) -> Result<Qpn, CreateQpError> {
        self.forget_spreads();
        let end = &mut self.ends[port.index()];
        if end.management_only { Err(CreateQpError::ManagementOnly) } else { end.qps.create(want) }
    }

    /// Destroys a queue pair; no matter if there is none.
    pub fn destroy_qp(&mut self, port: PortId, qpn: Qpn) {
        self.forget_spreads();
        self.ends[port.index()].qps.destroy(qpn);
    }

    /// Does what a driver asks of its queue pair.
    pub fn command_qp(&mut self, port: PortId, qpn: Qpn, command: QpCommand) -> Result<(), QpError> {
        self.forget_spreads();
        let end = &mut self.ends[port.index()];
        end.qps.command(qpn, command, &self.ports[end.port].pkeys)
    }

    /// Registers an agent for one class; its number goes into the transaction identifiers of its requests.
    pub fn register_agent(&mut self, port: PortId, spec: AgentSpec) -> Result<AgentId, RegisterError> {
        let agent = AgentId(self.last_agent + 1);
        self.ends[port.index()].agents.register(agent, spec)?;
        self.last_agent += 1;
        Ok(agent)
    }

    /// Removes an agent; answers to it are dropped from now on.
    pub fn unregister_agent(&mut self, port: PortId, agent: AgentId) {
        self.ends[port.index()].agents.unregister(agent);
    }

    /// True if `poll_output` has something.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// What came out, in order; what several multicast packets led to may come receiver by receiver.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.count_spreads();
        self.outputs.take()
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.next_time()
    }

    /// The node of that name.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).map(|index| NodeId::of(*index))
    }

    /// The end port with that number of the node of that name; a switch has port 0, an adapter those from 1 on.
    pub fn end_port(&self, node: &str, port: PortNum) -> Option<PortId> {
        let node = &self.nodes[*self.names.get(node)?];
        self.ports[node.port(port)?].end.map(PortId::of)
    }

    /// The end ports of the node of that name, by their numbers; none if there is no such node.
    pub fn end_ports_of(&self, node: &str) -> impl Iterator<Item = (PortNum, PortId)> + use<'_> {
        let ends = self.names.get(node).map_or(0..0, |index| self.nodes[*index].ends.clone());
        ends.map(|end| (self.ports[self.ends[end].port].num, PortId::of(end)))
    }

    /// All end ports, each with its node and its number there, in the order of the topology.
    pub fn end_ports(&self) -> impl Iterator<Item = (&str, PortNum, PortId)> {
        self.nodes.iter().flat_map(|node| {
            let ends = self.end_ports_of(&node.name);
            ends.map(|(num, port)| (node.name.as_str(), num, port))
        })
    }

    /// The link at a port of the node of that name.
    pub fn link(&self, node: &str, port: PortNum) -> Option<LinkId> {
        let node = &self.nodes[*self.names.get(node)?];
        self.ports[node.port(port)?].cable.map(|cable| LinkId::of(cable.link))
    }

    /// All links, in the order of the topology.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.links.len()).map(LinkId::of)
    }

    /// What a link does to packets at present.
    pub fn link_fault(&self, link: LinkId) -> LinkFault {
        self.links[link.index()].fault
    }

    /// What software sees of its port.
    pub fn port_view(&self, port: PortId) -> PortView {
        let end = &self.ends[port.index()];
        let port = &self.ports[end.port];
        PortView {
            guid: end.guid,
            prefix: port.info.gid_prefix,
            state: port.state.code(),
            physical_state: port.physical.code(),
            lid: port.info.lid,
            lmc: port.info.lmc,
            sm_lid: port.info.master_sm_lid,
            sm_sl: port.info.master_sm_sl,
            mtu: port.info.neighbor_mtu,
            rate: if port.state == Logical::Down { None } else { port.info.active_rate() },
            subnet_timeout: port.info.subnet_timeout,
            pkeys: port.pkeys.as_slice().into(),
        }
    }

    /// PortInfo of an end port, as an SM reads it.
    pub fn port_info(&self, port: PortId) -> PortInfo {
        let port = &self.ports[self.ends[port.index()].port];
        port.port_info(port.num)
    }

    /// The P_Key table of an end port, up to the last block that was written.
    pub fn port_pkeys(&self, port: PortId) -> &[PKey] {
        self.ports[self.ends[port.index()].port].pkeys.as_slice()
    }

    /// GUIDs that an SM gave an end port besides its own: entries 1 and on of its table, zero where there is none.
    pub fn port_aliases(&self, port: PortId) -> &[Guid] {
        &self.ends[port.index()].aliases
    }

    /// What performance management reads at an end port: counters of the widths of old, and of 64 bits.
    pub fn port_counters(&self, port: PortId) -> (PortCounters, PortCountersExtended) {
        pma::classic::registers(&self.ports[self.ends[port.index()].port])
    }

    /// NodeInfo of the node an end port is of, as asked through it.
    pub fn node_info(&self, port: PortId) -> NodeInfo {
        let end = &self.ends[port.index()];
        let port = &self.ports[end.port];
        self.nodes[port.node].node_info(end.guid, port.num)
    }

    /// NodeDescription of the node an end port is of.
    pub fn node_description(&self, port: PortId) -> NodeDescription {
        self.nodes[self.ports[self.ends[port.index()].port].node].description
    }

    /// How often a packet was dropped for `reason` at any port of the fabric.
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.ports.iter().map(|port| port.drops.get(reason)).sum()
    }

    /// Names, counts and logs the end of a packet.
    #[cold]
    pub(crate) fn drop_at(&mut self, port: usize, reason: Drop, flight: &Flight) -> Step {
        let at = &mut self.ports[port];
        at.dropped(reason, flight.measure.packets);
        if matches!(reason, Drop::SwitchLifetime | Drop::LinkQueueFull) {
            at.counters.congested(flight.packet.lrh.vl, flight.measure.packets);
        }
        let (slid, dlid) = (flight.packet.lrh.slid, flight.packet.lrh.dlid);
        tracing::trace!(node = %self.nodes[at.node].name, port = %at.num, %slid, %dlid, reason = reason.name(), "dropped");
        Step::Done
    }

    /// Tells the software at an end port.
    pub(crate) fn tell(&mut self, end: usize, event: PortEvent) {
        self.outputs.put(Output::Port { port: PortId::of(end), event });
    }

    /// Throws dice.
    pub(crate) fn happens(&mut self, probability: Probability) -> bool {
        const BILLION: u64 = 1_000_000_000;
        let roll = |random: &mut Pcg32| (u64::from(random.next_u32()) * BILLION) >> 32;
        probability != Probability::NEVER && roll(&mut self.random) < u64::from(probability.ppb())
    }
}
