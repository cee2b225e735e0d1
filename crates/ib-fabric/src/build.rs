//! A fabric from its plan.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use ib_wire::{
    addr::{Lid, PortNum},
    mad::attr::{CapabilityMask, NodeDescription, NodeInfo},
    time::Instant,
};
use rand_pcg::Pcg32;

use crate::{
    agenda::Agenda,
    config::FabricConfig,
    endport::EndPort,
    error::BuildError,
    express::Express,
    fabric::Fabric,
    flight::Parked,
    link::Link,
    node::{Node, node_type},
    outbox::Outbox,
    port::{Cable, Logical, Physical, Port, initial_info},
    spread::Spreads,
    switch::Switch,
    tap::Taps,
    topology::{self, Topology},
};

/// What every end port can do.
const END_PORT: CapabilityMask = CapabilityMask(
    CapabilityMask::NOTICE.0
        | CapabilityMask::TRAP.0
        | CapabilityMask::SL_MAPPING.0
        | CapabilityMask::SYSTEM_IMAGE_GUID.0
        | CapabilityMask::EXTENDED_SPEEDS.0
        | CapabilityMask::MASK2.0
        | CapabilityMask::MASK_NOTICE.0
        | CapabilityMask::CLIENT_REREGISTER.0
        | CapabilityMask::OTHER_CHANGES_NOTICE.0
        | CapabilityMask::MULTICAST_PKEY_TRAP_SUPPRESSION.0,
);

/// What port 0 of a switch can do besides.
const SWITCH: CapabilityMask =
    CapabilityMask(CapabilityMask::PKEY_SWITCH_TRAP.0 | CapabilityMask::MULTICAST_FDB_TOP.0);

impl Fabric {
    /// Builds the plan, all power on. Links train from `now` on. The same seed and the same inputs give the same
    /// outputs.
    pub fn new(
        topology: &Topology,
        config: FabricConfig,
        seed: u64,
        now: Instant,
    ) -> Result<Self, BuildError> {
        topology.validate()?;
        let mut fabric = Self {
            config,
            nodes: Vec::with_capacity(topology.nodes.len()),
            ports: Vec::new(),
            ends: Vec::new(),
            switches: Vec::new(),
            links: Vec::with_capacity(topology.links.len()),
            names: BTreeMap::new(),
            work: VecDeque::new(),
            agenda: Agenda::default(),
            express: Express::default(),
            spreads: Spreads::default(),
            parked: Parked::default(),
            taps: Taps::default(),
            outputs: Outbox::default(),
            random: Pcg32::new(seed, 0),
            last_agent: 0,
            copies_left: 0,
            effects: Vec::new(),
        };
        for node in &topology.nodes {
            fabric.add_node(node);
        }
        for link in &topology.links {
            fabric.add_link(topology, link)?;
        }
        fabric.copies_left = fabric.ports.len();
        for link in 0..fabric.links.len() {
            fabric.train(now, link);
        }
        Ok(fabric)
    }

    fn add_node(&mut self, spec: &topology::Node) {
        let index = self.nodes.len();
        let switch = spec.is_switch().then_some(self.switches.len());
        if switch.is_some() {
            self.switches.push(Switch::new(&self.config, spec.port_count, spec.enhanced_port0));
        }
        let (first_port, first_end) = (self.ports.len(), self.ends.len());
        for num in u8::from(switch.is_none())..=spec.port_count {
            self.add_port(index, switch, spec, PortNum(num));
        }
        self.names.insert(spec.name.clone(), index);
        self.nodes.push(Node {
            name: spec.name.clone(),
            kind: spec.kind,
            description: NodeDescription::new(&spec.description),
            info: NodeInfo {
                base_version: 1,
                class_version: 1,
                node_type: node_type(spec.kind),
                num_ports: spec.port_count,
                system_image_guid: spec.system_guid,
                node_guid: spec.guid,
                port_guid: spec.guid,
                partition_cap: self.config.partition_cap,
                device_id: spec.device_id,
                revision: 0,
                local_port: PortNum(0),
                vendor_id: spec.vendor_id,
            },
            ports: first_port..self.ports.len(),
            ends: first_end..self.ends.len(),
            switch,
            power: true,
        });
    }

    fn add_port(&mut self, node: usize, switch: Option<usize>, spec: &topology::Node, num: PortNum) {
        let end_spec = spec.end_port(num);
        let is_switch = switch.is_some();
        let (mask, partitions) = match end_spec {
            None => (CapabilityMask(0), self.config.partition_enforcement_cap),
            Some(_) if is_switch => (END_PORT.and(SWITCH), self.config.partition_cap),
            Some(_) => (END_PORT.and(CapabilityMask::COMMUNICATION), self.config.partition_cap),
        };
        let mut port = Port::new(node, num, initial_info(&self.config, mask), partitions);
        port.switch = switch;
        if num == PortNum::MANAGEMENT {
            (port.state, port.physical) = (Logical::Active, Physical::LinkUp);
        }
        if let Some(end) = end_spec {
            port.end = Some(self.ends.len());
            port.info.guid_cap = self.config.guid_cap;
            port.info.lid = end.lid.map_or(Lid::NONE, Lid::from);
            port.info.lmc = end.lmc;
            let management_only = is_switch && !spec.enhanced_port0;
            self.ends.push(EndPort::new(self.ports.len(), end.guid, management_only));
        }
        self.ports.push(port);
    }

    fn add_link(&mut self, topology: &Topology, spec: &topology::Link) -> Result<(), BuildError> {
        let mtu = spec.mtu.unwrap_or(self.config.mtu_cap);
        if mtu.bytes().is_none() {
            let node = topology[spec.a.node].name.clone();
            return Err(BuildError::Mtu { node, port: spec.a.port });
        }
        let [a, b] = [spec.a, spec.b].map(|end| {
            self.nodes[end.node.0].port(end.port).expect("a valid topology has the ports its links name")
        });
        let link = self.links.len();
        for (port, peer, is_a) in [(a, b, true), (b, a, false)] {
            self.ports[port].fit(spec.width, spec.speed, mtu);
            self.ports[port].cable = Some(Cable { link, peer, is_a });
        }
        self.links.push(Link::new([a, b], spec.model.into()));
        Ok(())
    }
}
