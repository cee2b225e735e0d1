//! An interface between a hostile host, a hostile link and a hostile subnet administration.
//!
//! Whatever comes: no panic, no loop without end, no table above its bound, and what comes out is whole.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use arbitrary::{Result, Unstructured};
use ib_wire::{
    addr::{
        Gid, Guid, HwAddr, Lid, Lmc, Mac, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel,
        SubnetPrefix, Timeout,
    },
    ipoib::{Arp, ArpOp, EtherType, Header, IbArp, large::segments, nd},
    mad::{
        Mad, Method, Status,
        attr::{McMemberRecord, PathRecord, PhysicalState, PortState},
        sa::{RecordId, SaMad},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::Grh,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, QpCommand, UdReceived, UdSend},
};
use ipoib_proto::{Config, HostEvent, HostFrame, Interface, Output};

/// Plays the scenario that the bytes describe.
pub fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    // Running out of bytes only ends the scenario.
    let _ = play(&mut input);
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scene = Scene::new(input)?;
    while !input.is_empty() {
        scene.step(input)?;
        scene.drain();
        scene.bounds();
    }
    scene.interface.handle_admin(scene.now, false);
    scene.drain();
    scene.bounds();
    assert_eq!(
        scene.interface.snapshot().bounds.pending_bytes,
        0,
        "nothing waits in an interface that is down"
    );
    scene.wait(Duration::from_secs(60));
    Ok(())
}

struct Scene {
    interface: Interface,
    now: Instant,
    port: PortView,
    /// Questions to subnet administration without an answer yet.
    asked: Vec<SaMad>,
    /// Peers as the host was shown them.
    macs: Vec<Mac>,
    attached: BTreeSet<MulticastGid>,
}

impl Scene {
    /// An interface that is up and has its broadcast group, with tables that are soon full.
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let mut config = Config::new("ib0", GUID, Qpn::new(0x48), PKey::DEFAULT_FULL);
        config.max_address_vector = input.int_in_range(1..=4)?;
        config.max_peers = config.max_address_vector + input.int_in_range(0..=4)?;
        config.max_groups = 8;
        config.path_queue = input.int_in_range(1..=3)?;
        config.group_queue = input.int_in_range(1..=3)?;
        config.queue_bytes = 1 << 16;
        config.max_pending_bytes = 1 << 17;
        config.sa_window = input.int_in_range(1..=3)?;
        config.snoop_memberships = input.arbitrary()?;
        config.check_sender = input.arbitrary()?;
        let port = PortView {
            guid: GUID,
            prefix: SubnetPrefix::LINK_LOCAL,
            state: PortState::ACTIVE,
            physical_state: PhysicalState::LINK_UP,
            lid: Lid(5),
            lmc: Lmc(0),
            sm_lid: Lid(1),
            sm_sl: ServiceLevel::new(0),
            mtu: Mtu::B4096,
            rate: Some(Rate(7)),
            subnet_timeout: Timeout(18),
            pkeys: vec![PKey::DEFAULT_FULL, PKey::INVALID],
        };
        let now = Instant::from_secs(100);
        let interface = Interface::new(config, &port, input.arbitrary()?, now).expect("within the ranges");
        let mut scene = Self { interface, now, port, asked: vec![], macs: vec![], attached: BTreeSet::new() };
        scene.interface.handle_admin(now, true);
        for _ in 0..8 {
            scene.wait(Duration::from_millis(100));
            while let Some(question) = scene.asked.pop() {
                scene.answer(&good_answer(&question));
                scene.drain();
            }
        }
        assert!(scene.interface.carrier().is_up(), "{}", scene.interface.carrier());
        Ok(scene)
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        match input.int_in_range(0..=11)? {
            0 => self.wait(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            1 => {
                let frame = bytes(input)?;
                self.interface.handle_host_frame(now, Payload::from(&frame[..]), offload(input)?);
            }
            2 | 3 => {
                let frame =
                    [&self.destination(input)?.0[..], &self.interface.mac().0, &body(input)?].concat();
                self.interface.handle_host_frame(now, Payload::from(&frame[..]), offload(input)?);
            }
            4 | 5 => {
                let datagram = self.datagram(input)?;
                self.interface.handle_datagram(now, datagram);
            }
            6 => {
                let datagram = self.arp(input)?;
                self.interface.handle_datagram(now, datagram);
            }
            7 if !self.asked.is_empty() => {
                let question = self.asked.swap_remove(input.choose_index(self.asked.len())?);
                let mut answer = good_answer(&question);
                if input.ratio(1, 4)? {
                    answer.header.status = Status(input.arbitrary::<u16>()? & 0x0f1f);
                }
                let mut mad = answer.to_bytes();
                for _ in 0..input.int_in_range(0..=3)? {
                    mad[usize::from(input.arbitrary::<u8>()?)] = input.arbitrary()?;
                }
                self.answer(&SaMad::from_bytes(&mad));
            }
            8 => {
                let mut mad: Mad = [0; 256];
                input.fill_buffer(&mut mad)?;
                mad[..4].copy_from_slice(&[1, 3, 2, *input.choose(&[0x06, 0x81, 0x92, 0x95, 0x05, 0x01])?]);
                let from = MadAddress::gsi(*input.choose(&[Lid(1), Lid(7)])?, ServiceLevel::new(0));
                self.interface.handle_mad(now, from, &mad);
            }
            9 => self.port_event(input)?,
            10 => {
                let event = self.host_event(input)?;
                self.interface.handle_host(now, event);
            }
            11 => self.interface.handle_admin(now, input.ratio(3, 4)?),
            _ => {}
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        for _ in 0..10_000 {
            match self.interface.poll_timeout() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.interface.handle_timeout(self.now);
            self.drain();
        }
        panic!("the interface never rests");
    }

    fn drain(&mut self) {
        for _ in 0..10_000 {
            match self.interface.poll_output() {
                None => return,
                Some(Output::Send(send)) => self.sent(&send),
                Some(Output::ToHost(frame)) => self.shown(&frame),
                Some(Output::Mad { mad, .. }) => {
                    let mad = SaMad::from_bytes(&mad);
                    if mad.header.method != Method::REPORT_RESP {
                        self.asked.push(mad);
                    }
                    let too_many = self.asked.len().saturating_sub(32);
                    self.asked.drain(..too_many);
                }
                Some(Output::Carrier { on, reason }) => assert_eq!(on, reason.is_up()),
                Some(Output::Mtu(mtu)) => assert!(mtu <= 4092, "{mtu}"),
                Some(Output::Qp(QpCommand::Attach { mgid, .. })) => {
                    self.attached.insert(mgid);
                }
                Some(Output::Qp(QpCommand::Detach { mgid, .. })) => {
                    self.attached.remove(&mgid);
                }
                Some(Output::Qp(QpCommand::Stop)) => self.attached.clear(),
                Some(
                    Output::Qp(QpCommand::SetKeys { .. }) | Output::ForgetNeighbor { .. } | Output::Event(_),
                ) => {}
            }
        }
        panic!("the interface never stops talking");
    }

    /// A datagram for the link: not longer than the link's MTU, or to be cut.
    fn sent(&mut self, send: &UdSend) {
        assert!(self.interface.carrier().is_up(), "nothing is sent without carrier");
        let (_, ip) = Header::parse(&send.payload).expect("every datagram has its header");
        // A host that describes its large sends wrong harms itself: they are dropped where they are cut. What it
        // set its MTU to binds its own packets, not what is made of them: ARP of 56 octets for 28.
        if let (Ok(cut), Some(link)) = (segments(ip, &send.offload), &self.interface.snapshot().link) {
            let (len, mtu) = (cut.max_len() + Header::LEN, usize::from(link.mtu.bytes().unwrap_or(0)));
            assert!(len <= mtu, "{len} octets where the link takes {mtu}");
        }
        assert_eq!(
            send.to.dlid.0 >= 0xc000,
            send.dest_qp == Qpn::MULTICAST,
            "{:?} {}",
            send.to,
            send.dest_qp
        );
        assert!(send.to.dlid.0 < 0xc000 || send.to.global.is_some(), "multicast has a GRH");
    }

    fn shown(&mut self, frame: &HostFrame) {
        let [.., s0, s1, s2, s3, s4, s5, t0, t1] = frame.head;
        let source = Mac([s0, s1, s2, s3, s4, s5]);
        assert!(!source.is_multicast(), "a group as a source");
        assert_ne!(source, self.interface.mac(), "the host would take it for its own");
        if EtherType(u16::from_be_bytes([t0, t1])) == EtherType::ARP {
            assert!(frame.body.len() >= 28);
        }
        self.macs.push(source);
        let too_many = self.macs.len().saturating_sub(4);
        self.macs.drain(..too_many);
    }

    fn bounds(&self) {
        let shown = self.interface.snapshot();
        let bounds = &shown.bounds;
        assert!(bounds.handles <= bounds.max_address_vector, "{bounds:?}");
        assert!(bounds.peers <= bounds.max_peers, "{bounds:?}");
        // The broadcast group gets in though the table be full.
        assert!(bounds.groups <= bounds.max_groups + 1, "{bounds:?}");
        assert!(bounds.pending_bytes <= bounds.max_pending_bytes, "{bounds:?}");
        assert!(bounds.sa_outstanding <= bounds.sa_window, "{bounds:?}");
        assert!(self.attached.len() <= bounds.max_groups + 1, "{:?}", self.attached);
        assert_eq!(shown.peers.len(), bounds.peers);
        assert_eq!(shown.carrier.on, self.interface.carrier().is_up());
        let macs: BTreeSet<Mac> = shown.peers.iter().map(|peer| peer.mac).collect();
        assert_eq!(macs.len(), shown.peers.len(), "two peers behind one address");
        assert!(!macs.contains(&self.interface.mac()));
    }

    fn answer(&mut self, answer: &SaMad) {
        let from = MadAddress::gsi(self.port.sm_lid, self.port.sm_sl);
        self.interface.handle_mad(self.now, from, &answer.to_bytes());
    }

    fn destination(&self, input: &mut Unstructured<'_>) -> Result<Mac> {
        Ok(match input.int_in_range(0..=7)? {
            0 => Mac::BROADCAST,
            1 => Mac([0x01, 0, 0x5e, 0, input.arbitrary()?, input.arbitrary()?]),
            2 => Mac([0x33, 0x33, 0, 0, 0, input.arbitrary()?]),
            3 => Mac(input.arbitrary()?),
            _ => *self.macs.get(usize::from(input.arbitrary::<u8>()? & 3)).unwrap_or(&Mac::BROADCAST),
        })
    }

    fn datagram(&self, input: &mut Unstructured<'_>) -> Result<UdReceived> {
        let (from, slid) = peer(input)?;
        let group = match input.int_in_range(0..=3)? {
            0 => {
                Some(ib_wire::ipoib::broadcast_mgid(self.interface.config().scope, PKey::DEFAULT_FULL).gid())
            }
            1 => Some(Gid(input.arbitrary()?)),
            _ => None,
        };
        let mut body = body(input)?;
        body.splice(2..2, [0, 0]);
        if input.arbitrary()? {
            repair(&mut body);
        }
        Ok(self.received(from, slid, group, input.arbitrary()?, &body, offload(input)?))
    }

    /// A question or an answer of a peer's.
    fn arp(&self, input: &mut Unstructured<'_>) -> Result<UdReceived> {
        let (from, slid) = peer(input)?;
        let arp = IbArp {
            op: if input.arbitrary()? { ArpOp::REPLY } else { ArpOp::REQUEST },
            sender_hw: if input.ratio(1, 8)? { peer(input)?.0 } else { from },
            sender_ip: [10, 0, 0, input.int_in_range(0..=5)?].into(),
            target_hw: if input.arbitrary()? { self.interface.hw_addr() } else { peer(input)?.0 },
            target_ip: [10, 0, 0, input.int_in_range(0..=5)?].into(),
        };
        let arp: Arp<HwAddr> = arp;
        let payload = [&Header::new(EtherType::ARP).emit()[..], &arp.emit()].concat();
        Ok(self.received(from, slid, None, input.arbitrary()?, &payload, Offload::NONE))
    }

    fn received(
        &self,
        from: HwAddr,
        slid: Lid,
        group: Option<Gid>,
        global: bool,
        payload: &[u8],
        offload: Offload,
    ) -> UdReceived {
        let dgid = group.unwrap_or_else(|| self.port.gid());
        let grh = Grh {
            version: 6,
            traffic_class: 0,
            flow_label: 0,
            payload_length: 0,
            next_header: Grh::NEXT_BTH,
            hop_limit: 0,
            sgid: from.gid,
            dgid,
        };
        UdReceived {
            slid,
            dlid: if group.is_some() { Lid(0xc000) } else { self.port.lid },
            sl: ServiceLevel::new(0),
            src_qp: from.qpn,
            pkey: PKey::DEFAULT_FULL,
            grh: (global || group.is_some()).then_some(grh),
            payload: Payload::from(payload),
            offload,
        }
    }

    fn port_event(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let port = &mut self.port;
        let event = match input.int_in_range(0..=6)? {
            0 => PortEvent::Down,
            1 => PortEvent::LidChange,
            2 => PortEvent::SmChange,
            3 => PortEvent::ClientReregister,
            4 => PortEvent::PKeyChange,
            5 => PortEvent::GidChange,
            _ => PortEvent::Active,
        };
        match event {
            PortEvent::Active => port.state = PortState::ACTIVE,
            PortEvent::Down => port.state = *input.choose(&[PortState::DOWN, PortState::INITIALIZE])?,
            PortEvent::LidChange => port.lid = *input.choose(&[Lid(5), Lid(6), Lid::NONE])?,
            PortEvent::SmChange => port.sm_lid = *input.choose(&[Lid(1), Lid(2), Lid::NONE])?,
            PortEvent::ClientReregister => {}
            PortEvent::PKeyChange => {
                port.pkeys =
                    vec![*input.choose(&[PKey::DEFAULT_FULL, PKey::DEFAULT_LIMITED, PKey(0x8001)])?];
            }
            PortEvent::GidChange => port.prefix = SubnetPrefix(0xfe80 << 48 | input.int_in_range(0..=1)?),
        }
        let view = port.clone();
        self.interface.handle_port(self.now, event, &view);
        Ok(())
    }

    fn host_event(&self, input: &mut Unstructured<'_>) -> Result<HostEvent> {
        let mac = self.destination(input)?;
        let ip = ip(input)?;
        Ok(match input.int_in_range(0..=6)? {
            0 => HostEvent::NeighborGone { ip: input.arbitrary::<bool>()?.then_some(ip), mac },
            1 => HostEvent::NeighborFailed { ip, mac: input.arbitrary::<bool>()?.then_some(mac) },
            2 => HostEvent::GroupJoined(ip),
            3 => HostEvent::GroupLeft(ip),
            4 => HostEvent::AddressAdded(ip),
            5 => HostEvent::AddressRemoved(ip),
            // What Linux lets an Ethernet device have.
            _ => HostEvent::MtuChanged(input.int_in_range(68..=u16::MAX)?),
        })
    }
}

/// What a healthy subnet administration says.
fn good_answer(question: &SaMad) -> SaMad {
    let mut answer = *question;
    let deleted = question.header.method == Method::DELETE;
    answer.header.method = if deleted { Method::DELETE_RESP } else { Method::GET_RESP };
    match RecordId(question.header.attribute.0) {
        RecordId::MC_MEMBER => {
            let (mut record, _) = McMemberRecord::parse(&question.data).expect("200 bytes are enough");
            (record.mtu_selector, record.mtu) = (2, Mtu::B2048);
            (record.rate_selector, record.rate) = (2, Rate::GBPS_10);
            (record.qkey, record.pkey) = (QKey(0x0b1b), PKey::DEFAULT_FULL);
            record.mlid = Lid(0xc000 | u16::from(record.mgid.0[15] & 0x3f));
            answer.data[..McMemberRecord::LEN].copy_from_slice(&record.to_bytes());
        }
        RecordId::PATH => {
            let (mut record, _) = PathRecord::parse(&question.data).expect("200 bytes are enough");
            record.slid = Lid(5);
            if record.dlid == Lid(0) {
                record.dlid = Lid(0x10 + u16::from(record.dgid.0[15] & 7));
            } else {
                record.dgid = gid(record.dlid.0);
            }
            (record.mtu_selector, record.mtu) = (2, Mtu::B4096);
            (record.rate_selector, record.rate) = (2, Rate(7));
            record.pkey = PKey::DEFAULT_FULL;
            answer.data[..PathRecord::LEN].copy_from_slice(&record.to_bytes());
        }
        _ => {}
    }
    answer
}

/// One of a few peers, seldom a stranger.
fn peer(input: &mut Unstructured<'_>) -> Result<(HwAddr, Lid)> {
    if input.ratio(1, 16)? {
        return Ok((
            HwAddr::new(Qpn::new(input.arbitrary()?), Gid(input.arbitrary()?)),
            Lid(input.arbitrary()?),
        ));
    }
    let number: u16 = input.int_in_range(0..=7)?;
    Ok((HwAddr::new(Qpn::new(0x100 + u32::from(number & 3)), gid(number)), Lid(0x10 + number)))
}

fn gid(number: u16) -> Gid {
    Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x0002_c903_0000_0000 | u64::from(number & 7)))
}

fn ip(input: &mut Unstructured<'_>) -> Result<IpAddr> {
    Ok(match input.int_in_range(0..=3)? {
        0 => IpAddr::from([10, 0, 0, input.int_in_range(0..=5)?]),
        1 => IpAddr::from([239, 0, input.int_in_range(0..=1)?, input.arbitrary()?]),
        2 => IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, input.arbitrary::<u16>()? & 0xf]),
        _ => IpAddr::from(input.arbitrary::<[u8; 16]>()?),
    })
}

/// An EtherType, and something that begins like what it promises.
fn body(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let starts: [&[u8]; 12] = [
        &[8, 0],
        &[8, 6],
        &[0x86, 0xdd],
        &[8, 6, 0, 1, 8, 0, 6, 4, 0],
        &[8, 6, 0, 32, 8, 0, 20, 4, 0],
        &[8, 0, 0x45, 0, 1, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 68, 0, 67],
        &[8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 100, 10, 0, 0],
        &[8, 0, 0x46, 0, 0, 40, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 239, 1, 1],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255, 0xfe, 0x80],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 36, 0, 1, 0xfe, 0x80],
        &[0x80, 0x35],
        &[],
    ];
    let mut body = input.choose(&starts)?.to_vec();
    body.extend(bytes(input)?);
    let len = *input.choose(&[0, 0, 0, 0, 0, 2 + 2028, 2 + 2044, 3000])?;
    body.resize(body.len().max(2).max(len), 0);
    Ok(body)
}

/// Neighbor Discovery behind a Header with length and checksum made right, so that it is not thrown away at once.
fn repair(payload: &mut [u8]) {
    let Some(ip6) = payload.get_mut(4..).filter(|ip6| nd::is_nd(ip6)) else { return };
    let len = u16::try_from(ip6.len() - 40).unwrap_or(u16::MAX);
    ip6[4..6].copy_from_slice(&len.to_be_bytes());
    if ip6.len() >= 44 {
        ip6[42..44].fill(0);
        let sum = !crate::judge::transport_sum(&ip6[8..40], 58, &ip6[40..]);
        ip6[42..44].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Few bytes, so that a scenario has many steps.
fn bytes(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
    Ok(input.bytes(len)?.to_vec())
}

fn offload(input: &mut Unstructured<'_>) -> Result<Offload> {
    if input.ratio(3, 4)? {
        return Ok(Offload::NONE);
    }
    let checksum = match input.int_in_range(0..=2)? {
        0 => Checksum::Verified,
        1 => Checksum::Partial { start: input.arbitrary()?, offset: input.arbitrary()? },
        _ => Checksum::Partial { start: 20, offset: 16 },
    };
    let kind = *input.choose(&[SegmentKind::Tcp4, SegmentKind::Tcp6, SegmentKind::Udp])?;
    let how = Segments { kind, size: input.arbitrary()?, header: input.int_in_range(0..=80)?, ecn: false };
    Ok(Offload { checksum, segments: input.arbitrary::<bool>()?.then_some(how) })
}

const GUID: Guid = Guid(0x0002_c903_000e_8a11);
