//! A whole small subnet - fabric, manager, interfaces - and somebody who may put anything on its links, ask
//! anything of its agents, pull cables and plugs.
//!
//! Whatever is done: no panic, no storm without end, and what a tap sees is what a link would carry.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ib_fabric::{
    AgentSpec, Fabric, LinkFault, LinkId, MethodMask, PortId, TapFilter, TapId,
    topology::{self, Mishap, Shares},
};
use ib_lab::{InterfaceId, Lab, LabConfig, ManagerConfig, Output};
use ib_sm::Role;
use ib_wire::{
    addr::{
        Gid, Guid, Lid, Mac, MulticastGid, PKey, PortNum, Psn, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix,
        VirtualLane,
    },
    mad::{
        AttributeId, MAD_LEN, Mad, MadHeader, Method, MgmtClass,
        smp::{DirectedSmp, LidSmp},
    },
    offload::{Offload, SegmentKind, Segments},
    packet::{GlobalRoute, Packet, PacketSpec},
    payload::Payload,
    time::Instant,
    ud::{AddressVector, MadAddress, QpCommand, UdSend},
};

use crate::packet::with_checksums;

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
    }
    scene.wait(Duration::from_secs(20));
    let shown = scene.lab.fabric().snapshot();
    for link in &shown.links {
        assert!(link.under_way_from_a.max(link.under_way_from_b) <= shown.link_queue);
    }
    for manager in scene.lab.managers() {
        let _ = manager.sm.as_ref().map(|sm| sm.snapshot());
    }
    for (_, interface) in scene.lab.interfaces() {
        let _ = interface.engine.snapshot();
    }
    Ok(())
}

struct Scene {
    lab: Lab,
    now: Instant,
    ports: Vec<PortId>,
    links: Vec<LinkId>,
    taps: Vec<TapId>,
    managers_left: u32,
    agents_left: u32,
}

impl Scene {
    /// A subnet that is up.
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let plan = *input.choose(&["star:2", "line:2,hosts=1"])?;
        let topology = topology::generate(plan).expect("a plan that there is");
        let now = Instant::from_secs(1);
        let lab = Lab::new(LabConfig { seed: input.arbitrary()?, ..LabConfig::new(topology) }, now);
        let lab = lab.expect("a plan that can be built");
        let (ports, links) =
            (lab.fabric().end_ports().map(|(_, _, port)| port).collect(), lab.fabric().links().collect());
        let mut scene = Self { lab, now, ports, links, taps: vec![], managers_left: 2, agents_left: 4 };
        let interfaces = scene.lab.interfaces().len();
        for interface in 0..interfaces {
            scene.lab.handle_admin(now, InterfaceId(interface), true);
        }
        scene.wait(Duration::from_secs(3));
        let sm = scene.lab.managers()[0].sm.as_ref().expect("nobody ended it");
        assert_eq!(sm.role(), Role::Master);
        for (_, interface) in scene.lab.interfaces() {
            assert!(interface.engine.carrier().is_up(), "{}", interface.engine.carrier());
        }
        Ok(scene)
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        match input.int_in_range(0..=15)? {
            0 | 1 => self.wait(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            2 => {
                let raw = few(input)?;
                let bytes = if input.arbitrary()? { with_checksums(&raw) } else { raw };
                self.inject(input, &bytes)?;
            }
            3 | 4 => {
                let packet = datagram(input)?;
                self.inject_packet(input, &packet)?;
            }
            5 | 6 => {
                let packet = smp(input)?;
                self.inject_packet(input, &packet)?;
            }
            7 | 8 => {
                let packet = gmp(input)?;
                self.inject_packet(input, &packet)?;
            }
            9 => {
                let fault = fault(input)?;
                let link = *input.choose(&self.links)?;
                self.lab.with_fabric(now, |fabric| fabric.set_link_fault(now, link, fault));
            }
            10 => {
                let name = *input.choose(&["sw1", "sw2", "h1", "h2"])?;
                let on = input.arbitrary()?;
                self.lab.with_fabric(now, |fabric| {
                    if let Some(node) = fabric.node(name) {
                        fabric.set_node_power(now, node, on);
                    }
                });
            }
            11 => {
                let interface = InterfaceId(input.choose_index(self.lab.interfaces().len())?);
                if input.ratio(1, 4)? {
                    self.lab.handle_admin(now, interface, input.arbitrary()?);
                } else {
                    let frame = self.frame(input, interface)?;
                    self.lab.handle_host_frame(now, interface, Payload::from(&frame[..]), Offload::NONE);
                }
            }
            12 => self.tap(input)?,
            13 => self.queue_pair(input)?,
            14 => self.agent(input)?,
            _ => self.manager(input)?,
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..200_000 {
            self.drain();
            match self.lab.poll_timeout() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.lab.handle_timeout(self.now);
        }
        panic!("the subnet never rests");
    }

    fn drain(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            let Output::Tapped(tapped) = output else { continue };
            if tapped.packet.offload.is_pending() {
                continue;
            }
            let mut bytes = Vec::new();
            tapped.packet.emit(&mut bytes);
            let again = Packet::parse(&bytes).expect("a link carries whole packets");
            assert_eq!(again.payload, tapped.packet.payload);
            assert_eq!(again.bth.pkey, tapped.packet.bth.pkey);
        }
    }

    fn inject_packet(&mut self, input: &mut Unstructured<'_>, packet: &Packet) -> Result<()> {
        let mut bytes = Vec::new();
        packet.emit(&mut bytes);
        self.inject(input, &bytes)
    }

    fn inject(&mut self, input: &mut Unstructured<'_>, bytes: &[u8]) -> Result<()> {
        let now = self.now;
        let (port, link, from_a) =
            (*input.choose(&self.ports)?, *input.choose(&self.links)?, input.arbitrary()?);
        let at_port = input.arbitrary()?;
        self.lab.with_fabric(now, |fabric| {
            if at_port {
                fabric.inject(now, port, bytes)
            } else {
                fabric.inject_on_link(now, link, from_a, bytes)
            }
        });
        Ok(())
    }

    /// ARP, or something to the other host.
    fn frame(&self, input: &mut Unstructured<'_>, interface: InterfaceId) -> Result<Vec<u8>> {
        let own = self.lab.interface(interface).engine.mac();
        let to =
            if input.arbitrary()? { Mac::BROADCAST } else { Mac([0x33, 0x33, 0, 0, 0, input.arbitrary()?]) };
        let arp =
            [&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..], &own.0, &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]];
        let other = [&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, 17, 1, 0xfe, 0x80][..], &[0; 22], &[0xff, 2]];
        let body = if input.arbitrary()? { arp } else { other };
        Ok([&to.0[..], &own.0, &body.concat(), &few(input)?].concat())
    }

    fn tap(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        if let Some(tap) = self.taps.pop() {
            self.lab.with_fabric(now, |fabric| fabric.remove_tap(tap));
            return Ok(());
        }
        let filter =
            if input.arbitrary()? { TapFilter::All } else { TapFilter::Link(*input.choose(&self.links)?) };
        self.taps.push(self.lab.with_fabric(now, |fabric| fabric.add_tap(filter)));
        Ok(())
    }

    fn queue_pair(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        let port = *input.choose(&self.ports)?;
        let qpn = qpn(input)?;
        let mgid =
            Gid([&[0xff, 0x12][..], &input.arbitrary::<[u8; 14]>()?].concat().try_into().expect("16 octets"));
        let mgid: MulticastGid = mgid.multicast().expect("its first octet is 0xff");
        let command = match input.int_in_range(0..=5)? {
            0 => Some(QpCommand::Attach { mgid, mlid: lid(input)? }),
            1 => Some(QpCommand::Detach { mgid, mlid: lid(input)? }),
            2 => Some(QpCommand::Stop),
            3 => Some(QpCommand::SetKeys { pkey: pkey(input)?, qkey: qkey(input)? }),
            _ => None,
        };
        let send = send(input)?;
        let what: u8 = input.int_in_range(0..=4)?;
        self.lab.with_fabric(now, |fabric: &mut Fabric| match (what, command) {
            (0, _) => drop(fabric.create_qp(port, Some(qpn))),
            (1, _) => fabric.destroy_qp(port, qpn),
            (2, Some(command)) => drop(fabric.command_qp(port, qpn, command)),
            _ => drop(fabric.post_send(now, port, qpn, send)),
        });
        Ok(())
    }

    /// Software at a port that sends MADs, as diagnostics do.
    fn agent(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(left) = self.agents_left.checked_sub(1) else { return Ok(()) };
        self.agents_left = left;
        let now = self.now;
        let class = *input.choose(&[MgmtClass::SUBN_LID, MgmtClass::SUBN_ADM, MgmtClass::PERFORMANCE])?;
        let port = *input.choose(&self.ports)?;
        let mut mad: Mad = [0; MAD_LEN];
        mad[..MadHeader::LEN].copy_from_slice(&header(input, class)?.to_bytes());
        let to = MadAddress { qpn: qpn(input)?, ..MadAddress::gsi(lid(input)?, ServiceLevel::new(0)) };
        let keep = input.arbitrary()?;
        self.lab.with_fabric(now, |fabric| {
            let methods = if keep { MethodMask::NONE } else { MethodMask::of(&[Method::SEND]) };
            let Ok(agent) = fabric.register_agent(port, AgentSpec::new(class, methods)) else { return };
            let _ = fabric.send_mad(now, port, agent, to, &mad);
            if !keep {
                fabric.unregister_agent(port, agent);
            }
        });
        Ok(())
    }

    fn manager(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        let count = self.lab.managers().len();
        match input.int_in_range(0..=3)? {
            0 => self.lab.sweep(now, input.choose_index(count)?),
            1 => self.lab.kill_manager(now, input.choose_index(count)?),
            2 => {
                let (manager, priority) = (input.choose_index(count)?, input.int_in_range(0..=15)?);
                self.lab.with_manager(now, manager, |sm| sm.set_priority(now, priority));
            }
            _ => {
                let Some(left) = self.managers_left.checked_sub(1) else { return Ok(()) };
                self.managers_left = left;
                let host = *input.choose(&["h1", "h2"])?;
                let place = Some((host.into(), PortNum(1)));
                let config = ManagerConfig { place, ..ManagerConfig::default() };
                let _ = self.lab.start_manager(now, config, input.arbitrary()?);
            }
        }
        Ok(())
    }
}

pub(crate) fn datagram(input: &mut Unstructured<'_>) -> Result<Packet> {
    let spec = spec(input)?;
    let mut payload = few(input)?;
    if input.arbitrary()? {
        payload.splice(..0, *input.choose(&[[8, 0, 0, 0], [8, 6, 0, 0], [0x86, 0xdd, 0, 0]])?);
    }
    payload.resize(payload.len() + usize::from(input.ratio(1, 16)?) * 4000, 0);
    Ok(Packet::new(spec, Payload::from(&payload[..]), Offload::NONE))
}

pub(crate) fn smp(input: &mut Unstructured<'_>) -> Result<Packet> {
    let mut data = [0; 64];
    let given = few(input)?;
    let len = given.len().min(64);
    data[..len].copy_from_slice(&given[..len]);
    let class = *input.choose(&[MgmtClass::SUBN_DIRECTED, MgmtClass::SUBN_LID])?;
    let header = header(input, class)?;
    let bytes = if header.class == MgmtClass::SUBN_LID {
        LidSmp { header, m_key: ib_wire::addr::MKey(0), data }.to_bytes()
    } else {
        let mut path = [0; 64];
        for port in &mut path[1..5] {
            *port = input.int_in_range(0..=3)?;
        }
        let far = input.ratio(1, 8)?;
        let mut smp = DirectedSmp {
            header,
            m_key: ib_wire::addr::MKey(0),
            source_lid: if far { lid(input)? } else { Lid::PERMISSIVE },
            dest_lid: if far { lid(input)? } else { Lid::PERMISSIVE },
            data,
            initial_path: path,
            return_path: path,
        };
        let count = input.int_in_range(0..=5)?;
        let pointer = if input.ratio(1, 8)? { input.arbitrary()? } else { input.int_in_range(0..=1)? };
        smp.set_hops(pointer, count);
        smp.set_status(smp.status(), input.ratio(1, 8)?);
        smp.to_bytes()
    };
    let spec = PacketSpec {
        vl: if input.ratio(7, 8)? { VirtualLane::MANAGEMENT } else { VirtualLane::new(0) },
        dlid: if input.ratio(3, 4)? { Lid::PERMISSIVE } else { lid(input)? },
        src_qp: Qpn::SMI,
        dest_qp: Qpn::SMI,
        qkey: QKey(0),
        ..spec(input)?
    };
    Ok(Packet::new(spec, Payload::from(&bytes[..]), Offload::NONE))
}

pub(crate) fn gmp(input: &mut Unstructured<'_>) -> Result<Packet> {
    let class = *input.choose(&[
        MgmtClass::SUBN_ADM,
        MgmtClass::PERFORMANCE,
        MgmtClass::COMMUNICATION,
        MgmtClass(9),
    ])?;
    let mut mad = vec![0; MAD_LEN];
    mad[..MadHeader::LEN].copy_from_slice(&header(input, class)?.to_bytes());
    let given = few(input)?;
    let at = *input.choose(&[24, 36, 48, 56, 64])?;
    let len = given.len().min(MAD_LEN - at);
    mad[at..at + len].copy_from_slice(&given[..len]);
    if input.ratio(1, 16)? {
        mad.truncate(input.int_in_range(0..=MAD_LEN)?);
    }
    let spec = PacketSpec { dest_qp: Qpn::GSI, qkey: QKey::GSI, ..spec(input)? };
    Ok(Packet::new(spec, Payload::from(&mad[..]), Offload::NONE))
}

/// A MAD header that mostly asks something that there is.
fn header(input: &mut Unstructured<'_>, class: MgmtClass) -> Result<MadHeader> {
    let method = *input.choose(&[0x01, 0x02, 0x01, 0x02, 0x05, 0x06, 0x07, 0x12, 0x15, 0x81, 0x92, 0x7f])?;
    let attribute = match input.int_in_range(0..=2)? {
        0 => input.int_in_range(0..=0x40)?,
        1 => *input
            .choose(&[0x11, 0x12, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1b, 0x20, 0x31, 0xff90, 0x35, 0x38, 0x3])?,
        _ => *input.choose(&[0x10, 0x14, 0x1d, 0x33, 0x01, 0x02, 0xf3, 0x39, 0x3a])?,
    };
    let modifier = if input.ratio(3, 4)? { input.int_in_range(0..=4)? } else { input.arbitrary()? };
    let mut header = MadHeader::request(class, Method(method), AttributeId(attribute), modifier);
    header.tid.0 = input.int_in_range(0..=0xff)?;
    Ok(header)
}

pub(crate) fn spec(input: &mut Unstructured<'_>) -> Result<PacketSpec> {
    let route = GlobalRoute {
        sgid: gid(input)?,
        dgid: gid(input)?,
        traffic_class: 0,
        flow_label: 0,
        hop_limit: input.int_in_range(0..=2)?,
    };
    Ok(PacketSpec {
        vl: VirtualLane::new(if input.ratio(1, 16)? { input.arbitrary()? } else { 0 }),
        sl: ServiceLevel::new(if input.ratio(1, 16)? { input.arbitrary()? } else { 0 }),
        slid: lid(input)?,
        dlid: lid(input)?,
        global: input.arbitrary::<bool>()?.then_some(route),
        pkey: pkey(input)?,
        qkey: qkey(input)?,
        src_qp: qpn(input)?,
        dest_qp: qpn(input)?,
        psn: Psn::new(0),
    })
}

fn send(input: &mut Unstructured<'_>) -> Result<UdSend> {
    let spec = spec(input)?;
    let payload = vec![0x45; input.int_in_range(0..=6000)?];
    let how = Segments {
        kind: SegmentKind::Udp,
        size: input.int_in_range(0..=3000)?,
        header: input.int_in_range(0..=60)?,
        ecn: false,
    };
    let segments = input.ratio(1, 4)?.then_some(how);
    Ok(UdSend {
        to: AddressVector {
            dlid: spec.dlid,
            sl: spec.sl,
            rate: Rate(input.int_in_range(0..=30)?),
            global: spec.global,
        },
        dest_qp: spec.dest_qp,
        qkey: spec.qkey,
        payload: Payload::from(&payload[..]),
        offload: Offload { segments, ..Offload::NONE },
    })
}

pub(crate) fn fault(input: &mut Unstructured<'_>) -> Result<LinkFault> {
    let share = |input: &mut Unstructured<'_>| {
        Ok(topology::Probability::from_ppb(*input.choose(&[0, 0, 10_000_000, 500_000_000, 1_000_000_000])?))
    };
    let mut shares = Shares::NONE;
    for mishap in Mishap::ALL {
        shares.set(mishap, share(input)?);
    }
    Ok(LinkFault {
        down: input.ratio(1, 4)?,
        delay: Duration::from_micros(*input.choose(&[0, 0, 1, 5000, 3_000_000])?),
        shares,
        rate: *input.choose(&[None, None, Some(0), Some(1), Some(1_000_000), Some(u64::MAX)])?,
    })
}

fn lid(input: &mut Unstructured<'_>) -> Result<Lid> {
    Ok(Lid(match input.int_in_range(0..=7)? {
        0 => input.arbitrary()?,
        1 => 0xc000 + input.int_in_range(0..=3)?,
        2 => *input.choose(&[0, 0xffff, 0xbfff, 0xc3ff])?,
        _ => input.int_in_range(1..=5)?,
    }))
}

fn gid(input: &mut Unstructured<'_>) -> Result<Gid> {
    Ok(match input.int_in_range(0..=3)? {
        0 => Gid(input.arbitrary()?),
        1 => ib_wire::ipoib::broadcast_mgid(ib_wire::addr::Scope::LINK_LOCAL, PKey::DEFAULT_FULL).gid(),
        _ => {
            let host = input.int_in_range(1..=2)?;
            Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x0269_6204_0000_0001 | host << 8))
        }
    })
}

fn qpn(input: &mut Unstructured<'_>) -> Result<Qpn> {
    Ok(match input.int_in_range(0..=7)? {
        0 => Qpn::new(input.arbitrary()?),
        1 => Qpn::MULTICAST,
        2 => Qpn::GSI,
        3 => Qpn::SMI,
        _ => Qpn::new(0x400 + input.int_in_range(0..=2)?),
    })
}

fn pkey(input: &mut Unstructured<'_>) -> Result<PKey> {
    Ok(if input.ratio(1, 8)? { PKey(input.arbitrary()?) } else { PKey::DEFAULT_FULL })
}

fn qkey(input: &mut Unstructured<'_>) -> Result<QKey> {
    Ok(if input.ratio(1, 8)? { QKey(input.arbitrary()?) } else { QKey(0x0b1b) })
}

/// Few bytes, so that a scenario has many steps.
pub(crate) fn few(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = usize::from(input.arbitrary::<u8>()?).min(input.len());
    Ok(input.bytes(len)?.to_vec())
}
