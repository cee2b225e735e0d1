//! Classes that no agent took: who asks is told, all else is dropped and counted.

use ib_fabric::{AgentSpec, Drop, MethodMask};
use ib_wire::{
    addr::{PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    mad::{AttributeId, Mad, MadHeader, Method, MgmtClass, Status},
    offload::Offload,
    packet::{Packet, PacketSpec},
    ud::QpCommand,
};

use crate::world::{World, empty_mad};

/// Puts a MAD for QP1 of h2 on its link, as if h1 had sent it; returns what comes out at h1 for its queue pair.
fn ask(world: &mut World, header: &MadHeader) -> Option<Mad> {
    let asker = world.qp("h1", 0xffff);
    let (h1, lids) = (world.port("h1"), (world.lid("h1"), world.lid("h2")));
    let keys = QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey::GSI };
    world.fabric.command_qp(h1, asker, keys).expect("a key of the port");
    let spec = PacketSpec {
        vl: VirtualLane::default(),
        sl: ServiceLevel::default(),
        slid: lids.0,
        dlid: lids.1,
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey::GSI,
        src_qp: asker,
        dest_qp: Qpn::GSI,
        psn: Psn::new(0),
    };
    let mut bytes = Vec::new();
    Packet::new(spec, empty_mad(header).as_slice().into(), Offload::NONE).emit(&mut bytes);
    let h2 = world.port("h2");
    world.fabric.inject(world.now, h2, &bytes);
    world.drain();
    let (.., bytes) = world.take().pop()?;
    Some(bytes.try_into().expect("256 bytes"))
}

const CLASSES: [u8; 9] = [0x03, 0x05, 0x06, 0x07, 0x08, 0x0a, 0x21, 0x32, 0x4f];

#[test]
fn a_request_of_a_class_that_nobody_serves_is_refused_in_words() {
    let mut world = World::star();
    for class in CLASSES {
        for method in [Method::GET, Method::SET] {
            let mut header = MadHeader::request(MgmtClass(class), method, AttributeId(0x16), 7);
            header.tid.0 = 0x1234;
            let answer = ask(&mut world, &header).expect("an answer");
            let (answer, _) = MadHeader::parse(&answer).expect("256 bytes");
            let status = Status::BAD_METHOD_ATTRIBUTE;
            assert_eq!(answer, MadHeader { method: Method::GET_RESP, status, ..header });
        }
    }
    let refused = u64::try_from(2 * CLASSES.len()).expect("few");
    assert_eq!(world.dropped(Drop::MadUnclaimed), refused);
    let snapshot = world.fabric.snapshot();
    let h2 = snapshot.nodes.iter().find(|node| node.name == "h2").expect("there");
    assert_eq!(h2.ports[0].counters["qp1_dropped"], refused);
    assert_eq!(world.get("h2", AttributeId::P_KEY_TABLE, 0)[..4], [0xff, 0xff, 0, 0], "0x21 is not 0x01");
}

#[test]
fn an_unknown_version_is_refused_in_words() {
    let mut world = World::star();
    let header = MadHeader::request(MgmtClass(0x05), Method::GET, AttributeId::CLASS_PORT_INFO, 0);
    let answer = ask(&mut world, &MadHeader { base_version: 2, ..header }).expect("an answer");
    assert_eq!(MadHeader::parse(&answer).expect("256 bytes").0.status, Status::BAD_VERSION);
}

#[test]
fn answers_and_other_methods_are_dropped_in_silence() {
    let mut world = World::star();
    let methods =
        [Method::GET_RESP, Method::SEND, Method::TRAP, Method::REPORT, Method::TRAP_REPRESS, Method(0x7f)];
    let mut dropped = 0;
    for class in CLASSES.into_iter().chain([MgmtClass::PERFORMANCE.0]) {
        for method in methods {
            let header = MadHeader::request(MgmtClass(class), method, AttributeId(0x11), 0);
            assert!(ask(&mut world, &header).is_none(), "{class:#x} {method}");
            dropped += 1;
            assert_eq!(world.dropped(Drop::MadUnclaimed), dropped);
        }
    }
}

#[test]
fn subnet_management_through_qp1_reaches_nobody() {
    let mut world = World::star();
    let manager = AgentSpec::new(MgmtClass::SUBN_LID, MethodMask::of(&[Method::GET]));
    world.fabric.register_agent(world.port("h2"), manager).expect("free");
    for class in [MgmtClass::SUBN_LID, MgmtClass::SUBN_DIRECTED] {
        let header = MadHeader::request(class, Method::GET, AttributeId::SM_INFO, 0);
        assert!(ask(&mut world, &header).is_none());
    }
    assert!(world.mads.is_empty(), "not the SM either");
    assert_eq!(world.dropped(Drop::MadUnclaimed), 2);
}
