//! A port of nobody's fabric, written from docs/link.md: it comes up under any subnet manager behind a UDP socket,
//! joins the broadcast group, and answers ARP and ping. Of the project it uses bytes and numbers alone.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ib_wire::{
    addr::{
        Gid, Guid, HwAddr, Lid, LinkWidth, MKey, Mtu, PKey, PortNum, Psn, QKey, Qpn, Scope, ServiceLevel,
        SubnetPrefix, Tid, VirtualLane,
    },
    ipoib::{ArpOp, EtherType, Header, IbArp, broadcast_mgid},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        attr::{
            JoinState, McMemberRecord, NodeDescription, NodeInfo, NodeType, PKeyBlock, PhysicalState,
            PortInfo, PortState,
        },
        sa::{RecordId, RmppHeader, SaMad, mc_member_mask as mask},
        smp::{DirectedSmp, LidSmp, Smp},
    },
    offload::Offload,
    packet::{Packet, PacketSpec},
    payload::Payload,
};

const GUID: Guid = Guid(0x0200_5eff_fe00_0001);
const QPN: Qpn = Qpn::new(0x48);
const TICK: Duration = Duration::from_millis(50);

/// The peer, in a thread of its own. Ends, without a word to anybody, when dropped.
pub(crate) struct Peer {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(local: SocketAddr, remote: SocketAddr, ip: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind(local).unwrap_or_else(|error| panic!("{local}: {error}"));
        socket.connect(remote).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut port = Port::new(socket, ip);
            while !ended.load(Ordering::Relaxed) {
                port.turn();
            }
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the peer panicked");
        }
    }
}

struct Port {
    socket: UdpSocket,
    ip: Ipv4Addr,
    info: PortInfo,
    pkeys: PKeyBlock,
    /// The broadcast group, once joined.
    group: Option<McMemberRecord>,
    heard: bool,
    asked: Option<Instant>,
    psn: u32,
}

impl Port {
    fn new(socket: UdpSocket, ip: Ipv4Addr) -> Self {
        let mut info = PortInfo::from_bytes(&[0; 64]);
        info.gid_prefix = SubnetPrefix::LINK_LOCAL;
        info.local_port = PortNum(1);
        (info.state, info.physical_state) = (PortState::INITIALIZE, PhysicalState::LINK_UP);
        for width in
            [&mut info.link_width_enabled, &mut info.link_width_supported, &mut info.link_width_active]
        {
            *width = LinkWidth::X4;
        }
        (info.link_speed_supported, info.link_speed_enabled, info.link_speed_active) = (1, 1, 1);
        (info.mtu_cap, info.neighbor_mtu) = (Mtu::B2048, Mtu::B2048);
        (info.vl_cap, info.operational_vls, info.down_default_state) = (1, 1, 2);
        let mut pkeys = PKeyBlock::default();
        pkeys.0[0] = PKey::DEFAULT_FULL;
        Self { socket, ip, info, pkeys, group: None, heard: false, asked: None, psn: 0 }
    }

    /// One datagram, or a little while without one. Who has just begun asks before it listens: what comes in may be for
    /// the one before it.
    fn turn(&mut self) {
        if self.asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(1)) {
            if !self.heard {
                self.asked = Some(Instant::now());
                self.ask();
            } else if self.info.state == PortState::ACTIVE && self.group.is_none() {
                self.asked = Some(Instant::now());
                self.join();
            }
        }
        let mut bytes = [0; 4300];
        let came = self.socket.recv(&mut bytes).ok().and_then(|len| Packet::parse(&bytes[..len]).ok());
        if let Some(packet) = came {
            self.heard = true;
            self.take(&packet);
        }
    }

    /// Asks the neighbour who it is, as a port without a link does.
    fn ask(&mut self) {
        let header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
        let mut smp = DirectedSmp {
            header,
            m_key: MKey(0),
            source_lid: Lid::PERMISSIVE,
            dest_lid: Lid::PERMISSIVE,
            data: [0; 64],
            initial_path: [0; 64],
            return_path: [0; 64],
        };
        smp.initial_path[1] = 1;
        smp.set_hops(1, 1);
        self.send_smp(Lid::PERMISSIVE, Lid::PERMISSIVE, &Smp::Directed(smp));
    }

    fn take(&mut self, packet: &Packet) {
        if packet.lrh.vl == VirtualLane::MANAGEMENT {
            if let Ok(smp) = Smp::parse(&packet.payload) {
                self.manage(packet, smp);
            }
        } else if packet.bth.dest_qp == Qpn::GSI && packet.lrh.dlid == self.info.lid {
            self.joined(&packet.payload);
        } else if self.info.state == PortState::ACTIVE {
            self.datagram(packet);
        }
    }

    /// The agent: what any port answers.
    fn manage(&mut self, packet: &Packet, smp: Smp) {
        let header = *smp.header();
        if !matches!(header.method, Method::GET | Method::SET) {
            return;
        }
        let is_set = header.method == Method::SET;
        let data = match header.attribute {
            AttributeId::NODE_INFO => Some(padded(&self.node_info().to_bytes())),
            AttributeId::NODE_DESCRIPTION => Some(NodeDescription::new("a peer of nobody's").0),
            AttributeId::PORT_INFO => {
                if is_set {
                    self.set_port(&PortInfo::from_bytes(smp.data()));
                }
                Some(self.info.to_bytes())
            }
            AttributeId::P_KEY_TABLE => {
                if is_set {
                    self.pkeys = PKeyBlock::from_bytes(smp.data());
                }
                Some(self.pkeys.to_bytes())
            }
            _ => None,
        };
        let status = if data.is_some() { Status::OK } else { Status(0x000c) };
        let answered = MadHeader { method: Method::GET_RESP, status, ..header };
        let data = data.unwrap_or_else(|| *smp.data());
        let (slid, answer) = match smp {
            Smp::Lid(_) => (self.info.lid, Smp::Lid(LidSmp { header: answered, data, m_key: MKey(0) })),
            // The route ends here: our own port goes into the way back, and the pointer to its end.
            Smp::Directed(mut asked) => {
                let count = asked.hop_count();
                asked.return_path[usize::from(count)] = 1;
                let mut answer = DirectedSmp { header: answered, data, m_key: MKey(0), ..asked };
                answer.set_hops(count, count);
                answer.set_status(status, true);
                (Lid::PERMISSIVE, Smp::Directed(answer))
            }
        };
        let to = if slid == Lid::PERMISSIVE { Lid::PERMISSIVE } else { packet.lrh.slid };
        self.send_smp(slid, to, &answer);
    }

    fn node_info(&self) -> NodeInfo {
        NodeInfo {
            base_version: 1,
            class_version: 1,
            node_type: NodeType::CA,
            num_ports: 1,
            system_image_guid: GUID,
            node_guid: GUID,
            port_guid: GUID,
            partition_cap: 32,
            device_id: 1,
            revision: 0,
            local_port: PortNum(1),
            vendor_id: 0x02_005e,
        }
    }

    fn set_port(&mut self, asked: &PortInfo) {
        let PortInfo { lid, lmc, master_sm_lid, master_sm_sl, gid_prefix, neighbor_mtu, .. } = *asked;
        self.info = PortInfo { lid, lmc, master_sm_lid, master_sm_sl, gid_prefix, neighbor_mtu, ..self.info };
        match (self.info.state, asked.state) {
            (_, PortState::DOWN) => self.info.state = PortState::INITIALIZE,
            (PortState::INITIALIZE, PortState::ARMED) | (PortState::ARMED, PortState::ACTIVE) => {
                self.info.state = asked.state;
            }
            _ => {}
        }
        if asked.client_reregister || asked.state == PortState::DOWN {
            (self.group, self.asked) = (None, None);
        }
    }

    /// Asks subnet administration to be a member of the group that every IPoIB interface is in.
    fn join(&mut self) {
        let mut record = McMemberRecord::from_bytes(&[0; 52]);
        record.mgid = broadcast_mgid(Scope::LINK_LOCAL, PKey::DEFAULT_FULL).gid();
        record.port_gid = self.gid();
        record.join_state = JoinState::FULL;
        let mut header = MadHeader::request(MgmtClass::SUBN_ADM, Method::SET, RecordId::MC_MEMBER.into(), 0);
        header.tid = Tid(7);
        let mut data = [0; 200];
        data[..52].copy_from_slice(&record.to_bytes());
        let component_mask = mask::MGID | mask::PORT_GID | mask::JOIN_STATE;
        let mad =
            SaMad { header, rmpp: RmppHeader::NONE, sm_key: 0, attribute_offset: 7, component_mask, data };
        let to = self.info.master_sm_lid;
        self.send(VirtualLane::new(0), (self.info.lid, to), (Qpn::GSI, Qpn::GSI), QKey::GSI, &mad.to_bytes());
    }

    fn joined(&mut self, payload: &[u8]) {
        let Ok((mad, _)) = SaMad::parse(payload) else { return };
        let is_ours = mad.header.method == Method::GET_RESP
            && mad.header.attribute == RecordId::MC_MEMBER.into()
            && (mad.header.tid, mad.header.status) == (Tid(7), Status::OK);
        if is_ours {
            self.group = McMemberRecord::parse(&mad.data).ok().map(|(record, _)| record);
        }
    }

    /// IP and ARP, for us or for all.
    fn datagram(&mut self, packet: &Packet) {
        let Some(group) = self.group.filter(|group| group.qkey == packet.deth.qkey) else { return };
        let to_group = packet.lrh.dlid == group.mlid && packet.bth.dest_qp == Qpn::MULTICAST;
        let to_us = packet.lrh.dlid == self.info.lid && packet.bth.dest_qp == QPN;
        if !to_group && !to_us {
            return;
        }
        let Ok((header, bytes)) = Header::parse(&packet.payload) else { return };
        let answer = match header.ethertype {
            EtherType::ARP => self.arp(bytes),
            EtherType::IPV4 if to_us => self.ping(bytes),
            _ => None,
        };
        if let Some(answer) = answer {
            let payload = [&header.ethertype.0.to_be_bytes()[..], &[0, 0], &answer].concat();
            let lids = (self.info.lid, packet.lrh.slid);
            let vl = VirtualLane::new(0);
            self.send(vl, lids, (QPN, packet.deth.src_qp), group.qkey, &payload);
        }
    }

    fn arp(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let asked = IbArp::parse(bytes).ok()?;
        (asked.op == ArpOp::REQUEST && asked.target_ip == self.ip).then(|| {
            let own = HwAddr::new(QPN, self.gid());
            let answer = IbArp {
                op: ArpOp::REPLY,
                sender_hw: own,
                sender_ip: self.ip,
                target_hw: asked.sender_hw,
                target_ip: asked.sender_ip,
            };
            answer.emit().to_vec()
        })
    }

    /// The same back, with addresses exchanged and the type of an answer.
    fn ping(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut ip = bytes.to_vec();
        let is_echo =
            ip.len() >= 28 && (ip[0], ip[9], ip[20]) == (0x45, 1, 8) && ip[16..20] == self.ip.octets();
        is_echo.then(|| {
            let (from, to) = (ip[12..16].to_vec(), ip[16..20].to_vec());
            ip[12..16].copy_from_slice(&to);
            ip[16..20].copy_from_slice(&from);
            ip[20] = 0;
            ip[22..24].fill(0);
            let sum = ip[20..].chunks(2).fold(0u32, |sum, pair| {
                sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = (sum & 0xffff) + (sum >> 16);
            ip[22..24].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
            ip
        })
    }

    fn gid(&self) -> Gid {
        Gid::new(self.info.gid_prefix, GUID)
    }

    fn send_smp(&mut self, from: Lid, to: Lid, smp: &Smp) {
        self.send(VirtualLane::MANAGEMENT, (from, to), (Qpn::SMI, Qpn::SMI), QKey(0), &smp.to_bytes());
    }

    fn send(&mut self, vl: VirtualLane, lids: (Lid, Lid), qps: (Qpn, Qpn), qkey: QKey, payload: &[u8]) {
        let spec = PacketSpec {
            vl,
            sl: ServiceLevel::new(0),
            slid: lids.0,
            dlid: lids.1,
            global: None,
            pkey: PKey::DEFAULT_FULL,
            qkey,
            src_qp: qps.0,
            dest_qp: qps.1,
            psn: Psn::new(self.psn),
        };
        self.psn += 1;
        let mut bytes = Vec::new();
        Packet::new(spec, Payload::from(payload), Offload::NONE).emit(&mut bytes);
        // Nobody may listen there yet.
        let _ = self.socket.send(&bytes);
    }
}

fn padded(bytes: &[u8]) -> [u8; 64] {
    let mut padded = [0; 64];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}
