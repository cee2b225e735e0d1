//! A fabric, an SM of forty lines, and what tests ask of both.

use std::collections::{BTreeMap, VecDeque};

use ib_fabric::{
    AgentId, AgentSpec, Drop, Fabric, FabricConfig, MethodMask, NodeId, Output, PortId, topology::Topology,
};
use ib_wire::{
    addr::{Gid, Lid, MKey, MulticastGid, PKey, PortNum, QKey, Qpn, Rate, ServiceLevel},
    mad::{
        AttributeId, MAD_LEN, Mad, MadHeader, Method, MgmtClass, Status,
        attr::{
            LinearBlock, MulticastBlock, NodeInfo, NodeType, Notice, PKeyBlock, PhysicalState, PortInfo,
            PortState, SwitchInfo,
        },
        smp::{DirectedRoute, DirectedSmp, LidSmp, Smp},
    },
    offload::Offload,
    packet::{GlobalRoute, Packet},
    time::Instant,
    ud::{AddressVector, MadAddress, PortEvent, QpCommand, UdReceived, UdSend},
};

pub(crate) const QKEY: QKey = QKey(0xb1b);
pub(crate) const MLID: Lid = Lid(0xc001);

/// A MAD that an agent got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) agent: AgentId,
    pub(crate) from: MadAddress,
    pub(crate) mad: Mad,
}

impl Got {
    pub(crate) fn header(&self) -> MadHeader {
        MadHeader::parse(&self.mad).expect("256 bytes").0
    }

    pub(crate) fn notice(&self) -> Notice {
        let mut bytes = [0; 80];
        bytes[..64].copy_from_slice(&self.mad[64..128]);
        Notice::from_bytes(&bytes)
    }
}

/// What the SM knows of a node.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) route: DirectedRoute,
    pub(crate) info: NodeInfo,
    pub(crate) lid: Lid,
    /// Own port, and the node and port at the other end.
    links: Vec<(PortNum, String, PortNum)>,
}

pub(crate) struct World {
    pub(crate) fabric: Fabric,
    pub(crate) now: Instant,
    /// The port of h1, where the SM sits.
    pub(crate) sm: PortId,
    pub(crate) agent: AgentId,
    pub(crate) nodes: BTreeMap<String, Known>,
    pub(crate) received: VecDeque<(PortId, Qpn, UdReceived)>,
    pub(crate) mads: VecDeque<Got>,
    pub(crate) events: VecDeque<(PortId, PortEvent)>,
    pub(crate) tapped: Vec<Output>,
    /// What has left the fabric.
    pub(crate) left: Vec<Packet>,
    last_tid: u64,
}

impl World {
    /// A fabric as it is when power comes.
    pub(crate) fn raw(topology: &Topology, config: FabricConfig) -> Self {
        let mut fabric = Fabric::new(topology, config, 7, Instant::ZERO).expect("the topology is sane");
        let sm = fabric.end_port("h1", PortNum(1)).expect("h1 is there");
        let spec = AgentSpec::new(MgmtClass::SUBN_LID, MethodMask::of(&[Method::TRAP]));
        let agent = fabric.register_agent(sm, spec).expect("the first agent");
        Self {
            fabric,
            now: Instant::ZERO,
            sm,
            agent,
            nodes: BTreeMap::new(),
            received: VecDeque::new(),
            mads: VecDeque::new(),
            events: VecDeque::new(),
            tapped: Vec::new(),
            left: Vec::new(),
            last_tid: 0,
        }
    }

    /// `sw1` with h1..h3 at ports 1..3.
    pub(crate) fn star() -> Self {
        Self::up(&star())
    }

    /// `topology` managed by the SM of h1, everything Active.
    pub(crate) fn up(topology: &Topology) -> Self {
        let mut world = Self::raw(topology, FabricConfig::default());
        world.sweep();
        world.events.clear();
        world
    }

    /// Everything an SM does until data passes.
    pub(crate) fn sweep(&mut self) {
        self.discover();
        self.give_lids();
        self.write_routes();
        for state in [PortState::ARMED, PortState::ACTIVE] {
            self.set_states(state);
        }
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.fabric.poll_output() {
            match output {
                Output::Received { port, qpn, datagram } => self.received.push_back((port, qpn, datagram)),
                Output::Mad { agent, from, mad, .. } => {
                    let mad = mad[..].try_into().expect("256 bytes");
                    self.mads.push_back(Got { agent, from, mad });
                }
                Output::Port { port, event } => self.events.push_back((port, event)),
                Output::Leaves { packet, .. } => self.left.push(packet),
                Output::Outside { .. } => {}
                tapped @ Output::Tapped { .. } => self.tapped.push(tapped),
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = Instant::from_millis(self.now.as_nanos() / 1_000_000 + millis);
        while let Some(at) = self.fabric.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.fabric.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    // The SM.

    /// A directed SMP and its answer.
    pub(crate) fn directed(
        &mut self,
        route: &DirectedRoute,
        method: Method,
        attribute: AttributeId,
        modifier: u32,
        data: [u8; 64],
    ) -> Option<(Status, [u8; 64])> {
        self.last_tid += 1;
        let mut header = MadHeader::request(MgmtClass::SUBN_DIRECTED, method, attribute, modifier);
        header.tid.0 = self.last_tid;
        let mut smp = DirectedSmp {
            header,
            m_key: MKey(0),
            source_lid: Lid::PERMISSIVE,
            dest_lid: Lid::PERMISSIVE,
            data,
            initial_path: *route.initial_path(),
            return_path: [0; 64],
        };
        smp.set_hops(0, route.hop_count());
        self.send(MadAddress::DIRECTED, &smp.to_bytes());
        match self.answer(self.last_tid)? {
            Smp::Directed(smp) => {
                assert!(smp.is_return() && smp.hop_pointer() == 0, "it has come all the way back");
                Some((smp.status(), smp.data))
            }
            Smp::Lid(_) => panic!("a directed question has a directed answer"),
        }
    }

    /// An SMP by LID and its answer.
    pub(crate) fn by_lid(
        &mut self,
        lid: Lid,
        m_key: MKey,
        method: Method,
        attribute: AttributeId,
        modifier: u32,
        data: [u8; 64],
    ) -> Option<(Status, [u8; 64])> {
        self.last_tid += 1;
        let mut header = MadHeader::request(MgmtClass::SUBN_LID, method, attribute, modifier);
        header.tid.0 = self.last_tid;
        let smp = LidSmp { header, m_key, data };
        self.send(MadAddress::smi(lid), &smp.to_bytes());
        match self.answer(self.last_tid)? {
            Smp::Lid(smp) => Some((smp.header.status, smp.data)),
            Smp::Directed(_) => panic!("a question by LID has an answer by LID"),
        }
    }

    pub(crate) fn get(&mut self, node: &str, attribute: AttributeId, modifier: u32) -> [u8; 64] {
        let route = self.nodes[node].route;
        let (status, data) =
            self.directed(&route, Method::GET, attribute, modifier, [0; 64]).expect("an answer");
        assert_eq!(status, Status::OK, "{attribute} {modifier:#x} of {node}");
        data
    }

    pub(crate) fn set(&mut self, node: &str, attribute: AttributeId, modifier: u32, data: &[u8]) -> Status {
        let route = self.nodes[node].route;
        let mut padded = [0; 64];
        padded[..data.len()].copy_from_slice(data);
        self.directed(&route, Method::SET, attribute, modifier, padded).expect("an answer").0
    }

    pub(crate) fn port_info(&mut self, node: &str, port: u8) -> PortInfo {
        PortInfo::from_bytes(&self.get(node, AttributeId::PORT_INFO, port.into()))
    }

    /// Reads PortInfo, changes it and writes it back; states stay unless changed.
    pub(crate) fn edit_port(&mut self, node: &str, port: u8, edit: impl FnOnce(&mut PortInfo)) -> Status {
        let mut info = self.port_info(node, port);
        (info.state, info.physical_state) = (PortState::NO_CHANGE, PhysicalState::NO_CHANGE);
        edit(&mut info);
        self.set(node, AttributeId::PORT_INFO, port.into(), &info.to_bytes())
    }

    pub(crate) fn set_pkeys(&mut self, node: &str, port: u8, keys: &[u16]) {
        let mut block = PKeyBlock::default();
        for (slot, key) in block.0.iter_mut().zip(keys) {
            *slot = PKey(*key);
        }
        let modifier = u32::from(port) << 16;
        assert_eq!(self.set(node, AttributeId::P_KEY_TABLE, modifier, &block.to_bytes()), Status::OK);
    }

    pub(crate) fn send(&mut self, to: MadAddress, mad: &Mad) {
        self.fabric.send_mad(self.now, self.sm, self.agent, to, mad).expect("the agent may send");
        self.drain();
    }

    /// Takes the answer out of what came.
    fn answer(&mut self, tid: u64) -> Option<Smp> {
        let place = self.mads.iter().position(|got| {
            let header = got.header();
            got.agent == self.agent && header.is_response() && header.tid.0 & 0xffff_ffff == tid
        })?;
        Smp::parse(&self.mads.remove(place)?.mad).ok()
    }

    fn discover(&mut self) {
        self.nodes.clear();
        let mut guids = BTreeMap::new();
        let mut queue = VecDeque::from([(DirectedRoute::HERE, None::<(String, PortNum)>)]);
        while let Some((route, from)) = queue.pop_front() {
            let ask = |world: &mut Self, attribute| {
                world.directed(&route, Method::GET, attribute, 0, [0; 64]).expect("an answer").1
            };
            let info = NodeInfo::parse(&ask(self, AttributeId::NODE_INFO)).expect("64 bytes").0;
            let text = ask(self, AttributeId::NODE_DESCRIPTION);
            let text = String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned();
            let name = text.split(' ').next().unwrap_or_default().to_owned();
            if let Some((peer, port)) = &from {
                let link = (*port, name.clone(), info.local_port);
                self.nodes.get_mut(peer).expect("known").links.push(link);
                let link = (info.local_port, peer.clone(), *port);
                if let Some(known) = self.nodes.get_mut(&name) {
                    if !known.links.contains(&link) {
                        known.links.push(link);
                    }
                    continue;
                }
            }
            assert!(guids.insert(info.node_guid, name.clone()).is_none(), "GUIDs are unique");
            let links = from.map(|(peer, port)| (info.local_port, peer, port)).into_iter().collect();
            let lid = Lid(u16::try_from(self.nodes.len() + 1).expect("few nodes"));
            self.nodes.insert(name.clone(), Known { route, info, lid, links });
            let ports = if route.is_empty() && info.node_type == NodeType::CA {
                vec![info.local_port]
            } else if info.node_type == NodeType::SWITCH {
                (1..=info.num_ports).map(PortNum).filter(|port| *port != info.local_port).collect()
            } else {
                Vec::new()
            };
            for port in ports {
                if self.port_info(&name, port.0).state != PortState::DOWN {
                    let route = route.then(port).expect("a short way");
                    queue.push_back((route, Some((name.clone(), port))));
                }
            }
        }
    }

    fn give_lids(&mut self) {
        let sm_lid = self.nodes["h1"].lid;
        for (name, known) in self.nodes.clone() {
            let port = end_port_number(&known);
            let status = self.edit_port(&name, port.0, |info| {
                (info.lid, info.master_sm_lid) = (known.lid, sm_lid);
            });
            assert_eq!(status, Status::OK);
        }
    }

    fn write_routes(&mut self) {
        let nodes = self.nodes.clone();
        let tree = self.tree();
        for (name, known) in nodes.iter().filter(|(_, known)| known.info.node_type == NodeType::SWITCH) {
            let mut block = LinearBlock::default();
            block.0[usize::from(known.lid.0)] = PortNum(0);
            for (target, to) in nodes.iter().filter(|(target, _)| *target != name) {
                if let Some(port) = first_hop(&nodes, name, target) {
                    block.0[usize::from(to.lid.0)] = port;
                }
            }
            assert_eq!(self.set(name, AttributeId::LINEAR_FORWARDING, 0, &block.to_bytes()), Status::OK);
            let (mut info, _) =
                SwitchInfo::parse(&self.get(name, AttributeId::SWITCH_INFO, 0)).expect("64 bytes");
            (info.linear_fdb_top, info.port_state_change) = (Lid(63), true);
            assert_eq!(self.set(name, AttributeId::SWITCH_INFO, 0, &info.to_bytes()), Status::OK);
            let mut masks = MulticastBlock::default();
            for port in tree.get(name).into_iter().flatten() {
                masks.0[1] |= 1 << port.0;
            }
            assert_eq!(self.set(name, AttributeId::MULTICAST_FORWARDING, 0, &masks.to_bytes()), Status::OK);
        }
    }

    fn set_states(&mut self, state: PortState) {
        for (name, known) in self.nodes.clone() {
            for (port, ..) in known.links {
                assert_eq!(self.edit_port(&name, port.0, |info| info.state = state), Status::OK);
            }
        }
    }

    /// Ports of each switch that belong to a tree over all nodes.
    fn tree(&self) -> BTreeMap<String, Vec<PortNum>> {
        let mut tree: BTreeMap<String, Vec<PortNum>> = BTreeMap::new();
        let mut seen = vec!["h1".to_owned()];
        let mut next = 0;
        while let Some(name) = seen.get(next).cloned() {
            next += 1;
            for (port, peer, peer_port) in &self.nodes[&name].links {
                if !seen.contains(peer) {
                    seen.push(peer.clone());
                    tree.entry(name.clone()).or_default().push(*port);
                    tree.entry(peer.clone()).or_default().push(*peer_port);
                }
            }
        }
        tree
    }

    /// What the SM found behind a port: node and port.
    pub(crate) fn peer(&self, node: &str, port: u8) -> Option<(String, PortNum)> {
        let link = self.nodes[node].links.iter().find(|(own, ..)| own.0 == port)?;
        Some((link.1.clone(), link.2))
    }

    // Software at the ports.

    pub(crate) fn port(&self, host: &str) -> PortId {
        self.fabric.end_port(host, PortNum(1)).expect("a host")
    }

    pub(crate) fn node(&self, name: &str) -> NodeId {
        self.fabric.node(name).expect("a node")
    }

    pub(crate) fn lid(&self, node: &str) -> Lid {
        self.nodes[node].lid
    }

    pub(crate) fn gid(&self, host: &str) -> Gid {
        self.fabric.port_view(self.port(host)).gid()
    }

    /// A queue pair that is ready to send.
    pub(crate) fn qp(&mut self, host: &str, pkey: u16) -> Qpn {
        let port = self.port(host);
        let qpn = self.fabric.create_qp(port, None).expect("a free number");
        let keys = QpCommand::SetKeys { pkey: PKey(pkey), qkey: QKEY };
        self.fabric.command_qp(port, qpn, keys).expect("a key of the port");
        qpn
    }

    pub(crate) fn attach(&mut self, host: &str, qpn: Qpn, group: u8) {
        let attach = QpCommand::Attach { mgid: mgid(group), mlid: MLID };
        self.fabric.command_qp(self.port(host), qpn, attach).expect("attached");
    }

    /// Sends from one host to another.
    pub(crate) fn post(&mut self, from: (&str, Qpn), to: (&str, Qpn), payload: &[u8]) {
        let to = AddressVector {
            dlid: self.lid(to.0),
            sl: ServiceLevel::new(0),
            rate: Rate::GBPS_10,
            global: None,
        }
        .datagram(to.1, payload);
        self.post_raw(from, to);
    }

    pub(crate) fn post_group(&mut self, from: (&str, Qpn), group: u8, payload: &[u8]) {
        self.post_group_raw(from, group, payload, Offload::NONE);
    }

    pub(crate) fn post_group_raw(&mut self, from: (&str, Qpn), group: u8, payload: &[u8], offload: Offload) {
        let global = Some(GlobalRoute {
            sgid: Gid::ZERO,
            dgid: mgid(group).gid(),
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 0,
        });
        let to = AddressVector { dlid: MLID, sl: ServiceLevel::new(0), rate: Rate::GBPS_10, global };
        self.post_raw(from, UdSend { offload, ..to.datagram(Qpn::MULTICAST, payload) });
    }

    pub(crate) fn post_raw(&mut self, from: (&str, Qpn), send: UdSend) {
        self.fabric.post_send(self.now, self.port(from.0), from.1, send).expect("sent");
        self.drain();
    }

    /// What came for datagrams since the last call: host port, queue pair, bytes.
    pub(crate) fn take(&mut self) -> Vec<(PortId, Qpn, Vec<u8>)> {
        self.received.drain(..).map(|(port, qpn, datagram)| (port, qpn, datagram.payload.to_vec())).collect()
    }

    /// Drops at a port by name in the snapshot.
    pub(crate) fn drops(&self, node: &str, port: u8) -> BTreeMap<&'static str, u64> {
        let snapshot = self.fabric.snapshot();
        let node = snapshot.nodes.iter().find(|n| n.name == node).expect("a node");
        node.ports.iter().find(|p| p.port == port).expect("a port").drops.clone()
    }

    pub(crate) fn dropped(&self, reason: Drop) -> u64 {
        self.fabric.dropped(reason)
    }

    /// All notices that came and the address of who sent them.
    pub(crate) fn traps(&mut self) -> Vec<(MadAddress, MadHeader, Notice)> {
        let is_trap = |got: &Got| got.header().method == Method::TRAP;
        let traps = self.mads.iter().filter(|got| is_trap(got));
        let traps = traps.map(|got| (got.from, got.header(), got.notice())).collect();
        self.mads.retain(|got| !is_trap(got));
        traps
    }

    /// Tells the sender of a trap that it was heard.
    pub(crate) fn repress(&mut self, from: MadAddress, trap: &MadHeader, notice: &Notice) {
        let header = MadHeader { method: Method::TRAP_REPRESS, ..*trap };
        let data = core::array::from_fn(|i| notice.to_bytes()[i]);
        let smp = LidSmp { header, m_key: MKey(0), data };
        self.send(from, &smp.to_bytes());
    }
}

/// A datagram to an address.
pub(crate) trait Datagram {
    fn datagram(self, dest_qp: Qpn, payload: &[u8]) -> UdSend;
}

impl Datagram for AddressVector {
    fn datagram(self, dest_qp: Qpn, payload: &[u8]) -> UdSend {
        UdSend { to: self, dest_qp, qkey: QKEY, payload: payload.into(), offload: Offload::NONE }
    }
}

pub(crate) fn star() -> Topology {
    let mut topology = Topology::new();
    let sw1 = topology.add_switch("sw1", 8);
    for (name, port) in [("h1", 1), ("h2", 2), ("h3", 3)] {
        let host = topology.add_host(name, 1);
        topology.connect((sw1, port), (host, 1));
    }
    topology
}

pub(crate) fn mgid(group: u8) -> MulticastGid {
    let bytes = [0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, group];
    MulticastGid::try_from(Gid(bytes)).expect("multicast")
}

pub(crate) fn empty_mad(header: &MadHeader) -> Mad {
    let mut mad = [0; MAD_LEN];
    mad[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
    mad
}

fn end_port_number(known: &Known) -> PortNum {
    if known.info.node_type == NodeType::SWITCH { PortNum(0) } else { known.links[0].0 }
}

/// The port through which `from` reaches `to` on a shortest way.
fn first_hop(nodes: &BTreeMap<String, Known>, from: &str, to: &str) -> Option<PortNum> {
    let mut seen = vec![(from, None)];
    let mut next = 0;
    while let Some((name, hop)) = seen.get(next).copied() {
        if name == to {
            return hop;
        }
        next += 1;
        for (port, peer, _) in &nodes[name].links {
            if !seen.iter().any(|(seen, _)| seen == peer) {
                seen.push((peer, hop.or(Some(*port))));
            }
        }
    }
    None
}
