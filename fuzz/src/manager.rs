//! A subnet manager whose fabric lies: answers lost, doubled, changed; strangers' MADs between them; clients of
//! subnet administration that ask anything.
//!
//! No panic, no storm, bounded memory; and once nobody lies any more, the fabric is configured.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use ib_fabric::{
    AgentId, AgentSpec, Fabric, FabricConfig, MethodMask, Output as FabricOutput, PortId, topology,
};
use ib_sm::{Output, Role, SmConfig, SmPort, SubnetManager, partition::Partitions};
use ib_wire::{
    addr::{Gid, Guid, Lid, PKey, PortNum, Qpn, ServiceLevel, SubnetPrefix},
    mad::{
        AttributeId, MAD_LEN, Mad, MadHeader, Method, MgmtClass,
        attr::{JoinState, McMemberRecord, PathRecord, PortState},
        sa::{RecordId, RmppHeader, SaMad, mc_member_mask, path_mask},
    },
    time::Instant,
    ud::MadAddress,
};

/// Plays the scenario that the bytes describe.
pub fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    // Running out of bytes only ends the lies.
    let _ = play(&mut input);
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scene = Scene::new(input)?;
    let told = scene.lies(input);
    scene.truth();
    told
}

struct Scene {
    fabric: Fabric,
    manager: SubnetManager,
    now: Instant,
    port: PortId,
    subnet: AgentId,
    administration: AgentId,
    /// A request of another manager's may have ended this one.
    ended: bool,
    sent: u64,
}

impl Scene {
    fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let plan = *input.choose(&["star:2", "line:2,hosts=1", "pair", "ring:3,hosts=1"])?;
        let topology = topology::generate(plan).expect("a plan that there is");
        let now = Instant::from_secs(1);
        let fabric = Fabric::new(&topology, FabricConfig::default(), 7, now);
        let mut fabric = fabric.expect("a plan that can be built");
        let port = match input.arbitrary()? {
            true => fabric.end_port("sw1", PortNum(0)),
            false => fabric.end_port(&topology.nodes.last().expect("there are nodes").name, PortNum(1)),
        };
        let port = port.expect("every plan has it");
        let mut agent = |class, methods: &[Method]| {
            let spec = AgentSpec::new(class, MethodMask::of(methods));
            fabric.register_agent(port, spec).expect("nobody else is there")
        };
        let smps = [Method::GET, Method::SET, Method::TRAP, Method::TRAP_REPRESS];
        let subnet = agent(MgmtClass::SUBN_LID, &smps);
        agent(MgmtClass::SUBN_DIRECTED, &smps);
        let administration = agent(
            MgmtClass::SUBN_ADM,
            &[Method::GET, Method::SET, Method::GET_TABLE, Method::GET_MULTI, Method::DELETE, Method::TRAP],
        );
        let view = fabric.port_view(port);
        let config = SmConfig { window: input.int_in_range(1..=8)?, ..SmConfig::default() };
        let mut manager = SubnetManager::new(config, SmPort { guid: view.guid }, input.arbitrary()?, now);
        manager.handle_port(now, &view);
        Ok(Self { fabric, manager, now, port, subnet, administration, ended: false, sent: 0 })
    }

    fn lies(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.settle(Some(&mut *input))?;
        while !input.is_empty() {
            let now = self.now;
            match input.int_in_range(0..=9)? {
                0..=2 => {
                    self.wait(Duration::from_millis(input.int_in_range(0..=3000)?), Some(&mut *input))?
                }
                3 => {
                    let mut mad: Mad = [0; MAD_LEN];
                    input.fill_buffer(&mut mad[..128])?;
                    (mad[0], mad[2]) = (1, 1);
                    mad[1] = *input.choose(&[0x01, 0x81])?;
                    mad[3] = *input.choose(&[0x01, 0x02, 0x05, 0x07, 0x81])?;
                    (mad[16], mad[17]) = (0, *input.choose(&[0x02, 0x11, 0x12, 0x15, 0x16, 0x20])?);
                    // Whether a manager that is told to end does so, its own tests know.
                    self.ended |= (mad[3], mad[17]) == (0x02, 0x20);
                    self.manager.handle_mad(now, MadAddress::smi(lid(input)?), &mad);
                }
                4..=7 => {
                    let from =
                        MadAddress { qpn: Qpn::GSI, ..MadAddress::gsi(lid(input)?, ServiceLevel::new(0)) };
                    let mad = request(input)?;
                    self.manager.handle_mad(now, from, &mad);
                }
                8 => self.manager.sweep(now),
                _ => {
                    let text = *input.choose(&[
                        "",
                        "Default=0x7fff,ipoib:ALL=full;",
                        "Default=0x7fff,ipoib:ALL=full;\nB=5,ipoib:ALL;",
                    ])?;
                    let partitions = Partitions::parse("partitions.conf", text).expect("they are right");
                    self.manager.set_partitions(now, partitions);
                }
            }
            self.settle(Some(&mut *input))?;
        }
        Ok(())
    }

    /// Nobody lies any more.
    fn truth(&mut self) {
        let partitions = Partitions::default();
        self.manager.set_partitions(self.now, partitions);
        for _ in 0..4 {
            let _ = self.wait(Duration::from_secs(30), None);
            self.manager.sweep(self.now);
        }
        let _ = self.wait(Duration::from_secs(30), None);
        let _ = self.manager.snapshot();
        if self.ended {
            return;
        }
        assert_eq!(self.manager.role(), Role::Master);
        let mut lids: Vec<u16> = Vec::new();
        for (_, _, port) in self.fabric.end_ports() {
            let view = self.fabric.port_view(port);
            assert_eq!(view.state, PortState::ACTIVE, "{port:?} {view:?}");
            assert!(view.pkeys.contains(&PKey::DEFAULT_FULL), "{view:?}");
            lids.push(view.lid.0);
        }
        lids.sort_unstable();
        assert!(lids.windows(2).all(|two| two[0] < two[1]), "a LID twice: {lids:?}");
    }

    fn wait(&mut self, time: Duration, mut input: Option<&mut Unstructured<'_>>) -> Result<()> {
        let until = self.now + time;
        for _ in 0..100_000 {
            let next = [self.manager.poll_timeout(), self.fabric.poll_timeout()].into_iter().flatten().min();
            match next {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return Ok(());
                }
            }
            self.fabric.handle_timeout(self.now);
            self.manager.handle_timeout(self.now);
            self.settle(input.as_deref_mut())?;
        }
        panic!("the manager never rests");
    }

    /// Carries MADs until none is under way; those to the manager as `input` has it.
    fn settle(&mut self, mut input: Option<&mut Unstructured<'_>>) -> Result<()> {
        let now = self.now;
        let before = self.sent;
        loop {
            while let Some(output) = self.manager.poll_output() {
                match output {
                    Output::Send { to, mad } => {
                        let smp = matches!(MgmtClass(mad[1]), MgmtClass::SUBN_LID | MgmtClass::SUBN_DIRECTED);
                        let agent = if smp { self.subnet } else { self.administration };
                        self.sent += 1;
                        let _ = self.fabric.send_mad(now, self.port, agent, to, &mad);
                    }
                    Output::SetIsSm(is_sm) => self.fabric.set_is_sm(now, self.port, is_sm),
                    Output::Event(event) => drop(format!("{event:?}")),
                }
            }
            assert!(self.sent - before < 10_000, "a storm");
            let Some(output) = self.fabric.poll_output() else { return Ok(()) };
            match output {
                FabricOutput::Mad { port, from, mad, .. } if port == self.port => {
                    let Ok(mad) = <Mad>::try_from(&*mad) else { continue };
                    match &mut input {
                        Some(input) if !input.is_empty() => self.lie(input, from, mad)?,
                        _ => self.manager.handle_mad(now, from, &mad),
                    }
                }
                FabricOutput::Port { port, .. } if port == self.port => {
                    let view = self.fabric.port_view(port);
                    self.manager.handle_port(now, &view);
                }
                _ => {}
            }
        }
    }

    /// Hands a MAD to the manager, or what becomes of it on the way.
    fn lie(&mut self, input: &mut Unstructured<'_>, from: MadAddress, mut mad: Mad) -> Result<()> {
        let now = self.now;
        match input.int_in_range(0..=15)? {
            0 => return Ok(()),
            1 => self.manager.handle_mad(now, from, &mad),
            2 => mad[4..6].copy_from_slice(&input.arbitrary::<u16>()?.to_be_bytes()),
            3 | 4 => {
                for _ in 0..input.int_in_range(1..=4)? {
                    mad[input.int_in_range(64..=127)?] = input.arbitrary()?;
                }
            }
            5 => mad[usize::from(input.arbitrary::<u8>()?)] ^= 1 << input.int_in_range(0..=7)?,
            _ => {}
        }
        self.ended |= mad[17] == 0x20 && mad[3] == 0x02;
        self.manager.handle_mad(now, from, &mad);
        Ok(())
    }
}

/// A question to subnet administration.
fn request(input: &mut Unstructured<'_>) -> Result<Mad> {
    let method = Method(*input.choose(&[0x01, 0x02, 0x12, 0x15, 0x12, 0x02, 0x06, 0x86, 0x14, 0x81])?);
    let records = [
        0x38, 0x35, 0x11, 0x12, 0x31, 0x03, 0xf3, 0x38, 0x35, 0x38, 0x01, 0x13, 0x14, 0x15, 0x17, 0x18, 0x20,
        0x30, 0x33, 0x36, 0x39,
    ];
    let record = if input.ratio(1, 16)? { input.arbitrary()? } else { *input.choose(&records)? };
    let mut header = MadHeader::request(MgmtClass::SUBN_ADM, method, AttributeId(record), 0);
    header.tid.0 = input.int_in_range(0..=7)?;
    let mut data = [0; SaMad::DATA_LEN];
    let mut component_mask = 0;
    match RecordId(record) {
        RecordId::MC_MEMBER if input.ratio(7, 8)? => {
            let mut record = McMemberRecord::from_bytes(&[0; McMemberRecord::LEN]);
            record.mgid = mgid(input)?;
            record.port_gid = gid(input)?;
            record.join_state = JoinState(input.int_in_range(0..=15)?);
            component_mask = mc_member_mask::MGID | mc_member_mask::PORT_GID | mc_member_mask::JOIN_STATE;
            if input.arbitrary()? {
                use mc_member_mask::*;
                component_mask |= Q_KEY
                    | P_KEY
                    | SL
                    | TRAFFIC_CLASS
                    | FLOW_LABEL
                    | MTU
                    | MTU_SELECTOR
                    | RATE
                    | RATE_SELECTOR;
                record.pkey = PKey(*input.choose(&[0xffff, 0x7fff, 0x8005, 0])?);
                (record.mtu_selector, record.mtu.0) =
                    (input.int_in_range(0..=3)?, input.int_in_range(0..=6)?);
                (record.rate_selector, record.rate.0) =
                    (input.int_in_range(0..=3)?, input.int_in_range(0..=25)?);
            }
            data[..McMemberRecord::LEN].copy_from_slice(&record.to_bytes());
        }
        RecordId::PATH if input.ratio(7, 8)? => {
            let mut record = PathRecord::from_bytes(&[0; PathRecord::LEN]);
            (record.dgid, record.sgid) = (gid(input)?, gid(input)?);
            (record.dlid, record.slid) = (lid(input)?, lid(input)?);
            record.numb_path = input.arbitrary::<u8>()? & 0x7f;
            component_mask = path_mask::NUMB_PATH;
            component_mask |= *input.choose(&[path_mask::DGID, path_mask::DLID, 0])?;
            component_mask |= *input.choose(&[path_mask::SGID, path_mask::SLID, 0])?;
            data[..PathRecord::LEN].copy_from_slice(&record.to_bytes());
        }
        _ => {
            let len = usize::from(input.arbitrary::<u8>()? & 63).min(input.len());
            data[..len].copy_from_slice(input.bytes(len)?);
            component_mask |= if input.arbitrary()? { input.arbitrary()? } else { 0 };
        }
    }
    if input.ratio(1, 8)? {
        component_mask ^= 1 << input.int_in_range(0..=25)?;
    }
    let mut rmpp = RmppHeader::NONE;
    if input.ratio(1, 4)? {
        let mut bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[1] = input.int_in_range(0..=5)?;
        bytes[2] = input.int_in_range(0..=7)?;
        bytes[7] = input.int_in_range(0..=9)?;
        bytes[11] = input.arbitrary()?;
        rmpp = RmppHeader::from_bytes(&bytes);
    }
    let sm_key = input.int_in_range(0..=1)?;
    let offset = u16::from(input.arbitrary::<u8>()? & 31);
    Ok(SaMad { header, rmpp, sm_key, attribute_offset: offset, component_mask, data }.to_bytes())
}

fn lid(input: &mut Unstructured<'_>) -> Result<Lid> {
    Ok(Lid(if input.ratio(1, 16)? { input.arbitrary()? } else { input.int_in_range(0..=7)? }))
}

fn gid(input: &mut Unstructured<'_>) -> Result<Gid> {
    if input.ratio(1, 16)? {
        return Ok(Gid(input.arbitrary()?));
    }
    let kind: u64 = *input.choose(&[0x0269_6204_0000_0001, 0x0269_6202_0000_0001, 0x0269_6201_0000_0000])?;
    let number = input.int_in_range(1..=3)?;
    Ok(Gid::new(SubnetPrefix::LINK_LOCAL, Guid(kind | number << 8)))
}

fn mgid(input: &mut Unstructured<'_>) -> Result<Gid> {
    let mut gid = [0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    match input.int_in_range(0..=3)? {
        0 => gid[12..].fill(0xff),
        1 => return Ok(Gid(input.arbitrary()?)),
        2 => gid = [0; 16],
        _ => gid[15] = input.arbitrary()?,
    }
    Ok(Gid(gid))
}
