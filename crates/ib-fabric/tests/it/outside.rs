//! Links that lead out of the fabric, seen from one end: what leaves, what comes in, and what the port makes of it.

use std::{sync::Arc, time::Duration};

use ib_fabric::{
    BindError, Drop, LinkFault, LinkId, OutsideConfig, TapFilter,
    topology::{Mishap, Probability},
};
use ib_wire::{
    addr::{Guid, Lid, MKey, PKey, PortNum, Psn, QKey, Qpn, ServiceLevel, Tid, VirtualLane},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        attr::{NodeInfo, NodeType},
        smp::{DirectedSmp, Smp},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{Packet, PacketSpec},
    payload::Payload,
};

use crate::world::World;

const PORT: PortNum = PortNum(7);

/// The star whose switch has one port more in use, with nobody at the other end yet.
fn bound() -> (World, LinkId) {
    let mut world = World::star();
    let switch = world.node("sw1");
    let link = world.fabric.bind(world.now, switch, PORT, OutsideConfig::default()).unwrap();
    world.drain();
    (world, link)
}

/// An SMP as a neighbour at port 1 of a channel adapter puts it on the link.
fn neighbors(edit: impl FnOnce(&mut DirectedSmp)) -> Packet {
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
    edit(&mut smp);
    let spec = PacketSpec {
        vl: VirtualLane::MANAGEMENT,
        sl: ServiceLevel::new(0),
        slid: Lid::PERMISSIVE,
        dlid: Lid::PERMISSIVE,
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey(0),
        src_qp: Qpn::SMI,
        dest_qp: Qpn::SMI,
        psn: Psn::new(0),
    };
    Packet::new(spec, Payload::from(&smp.to_bytes()[..]), Offload::NONE)
}

fn question(tid: u64) -> Packet {
    neighbors(|smp| smp.header.tid = Tid(tid))
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.emit(&mut bytes);
    bytes
}

fn come(world: &mut World, link: LinkId, bytes: &[u8]) {
    world.fabric.handle_outside(world.now, link, Payload::from(bytes));
    world.drain();
}

/// The SMPs that have left.
fn left(world: &mut World) -> Vec<DirectedSmp> {
    let smps = world.left.drain(..).map(|packet| match Smp::parse(&packet.payload) {
        Ok(Smp::Directed(smp)) => smp,
        other => panic!("{other:?}"),
    });
    smps.collect()
}

fn state(world: &World) -> String {
    let shown = world.fabric.snapshot();
    let switch = shown.nodes.iter().find(|node| node.name == "sw1").unwrap();
    let port = switch.ports.iter().find(|port| port.port == PORT.0).unwrap();
    format!("{} {}", port.physical_state, port.state)
}

#[test]
fn a_port_asks_until_it_hears_anything_and_then_asks_when_it_has_nothing_to_say() {
    let (mut world, link) = bound();
    assert_eq!(state(&world), "Polling Down");
    let [first] = left(&mut world)[..] else { panic!("one question") };
    assert_eq!((first.header.method, first.header.attribute), (Method::GET, AttributeId::NODE_INFO));
    assert_eq!((first.header.tid, first.initial_path[1]), (Tid(0), PORT.0));
    assert_eq!((first.hop_pointer(), first.hop_count()), (1, 1));
    world.pass(3500);
    assert_eq!(left(&mut world).iter().map(|smp| smp.header.tid.0).collect::<Vec<_>>(), [0, 0, 0]);

    // Data that nobody would take is a sign of life, too.
    let mut data = question(0);
    (data.lrh.vl, data.bth.dest_qp) = (VirtualLane::new(0), Qpn::new(99));
    come(&mut world, link, &bytes(&data));
    assert_eq!(state(&world), "LinkUp Initialize");
    let [asked] = left(&mut world)[..] else { panic!("who it is") };
    assert_eq!(asked.header.tid, Tid(1));

    let info = NodeInfo { node_guid: Guid(0x77), node_type: NodeType::CA, ..world.nodes["h1"].info };
    let answer = neighbors(|smp| {
        smp.header.method = Method::GET_RESP;
        smp.header.tid = Tid(1);
        smp.set_status(Status::OK, true);
        smp.data[..40].copy_from_slice(&info.to_bytes());
    });
    let before = world.dropped(Drop::SmpUnclaimed);
    come(&mut world, link, &bytes(&answer));
    assert_eq!(world.fabric.outside(link).unwrap().neighbor, Some(info));
    assert_eq!(world.dropped(Drop::SmpUnclaimed), before);
    world.pass(4900);
    assert_eq!(left(&mut world).len(), 4);
    assert_eq!(state(&world), "LinkUp Initialize");
    world.pass(200);
    assert_eq!(state(&world), "Polling Down", "5 s after the last word");
    assert_eq!(left(&mut world).last().unwrap().header.tid, Tid(0));
}

#[test]
fn a_neighbor_without_link_is_answered_and_takes_the_link_down_if_it_was_in_use() {
    let (mut world, link) = bound();
    left(&mut world);
    come(&mut world, link, &bytes(&question(0)));
    let answers = left(&mut world);
    let answer = answers.iter().find(|smp| smp.is_return()).expect("an answer");
    assert_eq!((answer.header.method, answer.header.tid), (Method::GET_RESP, Tid(0)));
    assert_eq!(NodeInfo::parse(&answer.data).unwrap().0.local_port, PORT);

    let switch = world.node("sw1");
    let downed = |world: &World| {
        let shown = world.fabric.snapshot();
        shown.nodes[0].ports.iter().find(|p| p.port == PORT.0).unwrap().counters.get("link_downed").copied()
    };
    come(&mut world, link, &bytes(&question(0)));
    assert_eq!(downed(&world), None, "nothing was lost: the port is in Initialize");
    world.edit_port("sw1", PORT.0, |info| info.state = ib_wire::mad::attr::PortState::ARMED);
    assert_eq!(state(&world), "LinkUp Armed");
    come(&mut world, link, &bytes(&question(1)));
    assert_eq!(state(&world), "LinkUp Armed", "it has a link and only wants to hear");
    come(&mut world, link, &bytes(&question(0)));
    assert_eq!(state(&world), "LinkUp Initialize");
    assert_eq!(downed(&world), Some(1));
    world.fabric.set_node_power(world.now, switch, false);
    come(&mut world, link, &bytes(&question(0)));
    assert_eq!(world.drops("sw1", PORT.0)["port_not_receiving"], 1);
}

#[test]
fn a_neighbors_questions_alarm_nobody_where_reading_takes_a_key() {
    let (mut world, link) = bound();
    world.edit_port("sw1", 0, |info| (info.m_key, info.m_key_protect) = (MKey(5), 2));
    left(&mut world);
    come(&mut world, link, &bytes(&question(0)));
    assert!(left(&mut world).iter().all(|smp| !smp.is_return()));
    assert_eq!(state(&world), "LinkUp Initialize", "a sign of life it is all the same");
    let shown = world.fabric.snapshot();
    assert!(shown.nodes[0].ports.iter().all(|port| port.m_key_violations == 0));
    assert_eq!(world.drops("sw1", PORT.0)["smp_m_key"], 1);
}

#[test]
fn what_is_no_packet_is_dropped_by_name_and_no_sign_of_life() {
    let (mut world, link) = bound();
    let good = bytes(&question(0));
    let mut flipped = good.clone();
    flipped[30] ^= 4;
    let mut raw = good.clone();
    raw.truncate(good.len() - 2);
    for (bytes, name) in [
        (&[][..], "truncated"),
        (&[1], "truncated"),
        (&[0; 9], "bad_vcrc"),
        (&flipped[..], "bad_vcrc"),
        (&raw[..], "bad_vcrc"),
        (&vec![0xff; 60_000][..], "bad_vcrc"),
    ] {
        let before = world.drops("sw1", PORT.0).get(name).copied().unwrap_or(0);
        come(&mut world, link, bytes);
        assert_eq!(world.drops("sw1", PORT.0)[name], before + 1, "{name}");
    }
    assert_eq!(state(&world), "Polling Down");
    assert_eq!(world.fabric.outside(link).unwrap().heard, None);
}

#[test]
fn a_bound_ports_own_cable_is_pulled_until_it_is_unbound() {
    let mut world = World::star();
    let (now, h2) = (world.now, world.node("h2"));
    let bind = |world: &mut World, node, port, config| world.fabric.bind(now, node, PortNum(port), config);
    let config = OutsideConfig::default();
    assert_eq!(bind(&mut world, h2, 2, config), Err(BindError::NoSuchPort(PortNum(2))));
    let switch = world.node("sw1");
    assert_eq!(bind(&mut world, switch, 0, config), Err(BindError::NoSuchPort(PortNum(0))));
    let hasty = OutsideConfig { idle: config.ask, ..config };
    assert!(matches!(bind(&mut world, h2, 1, hasty), Err(BindError::Times { .. })));
    let own = world.fabric.link("h2", PortNum(1)).unwrap();
    let link = bind(&mut world, h2, 1, config).unwrap();
    assert_eq!(bind(&mut world, h2, 1, config), Err(BindError::Bound(PortNum(1))));
    assert_eq!(world.fabric.link("h2", PortNum(1)), Some(link));
    world.drain();
    world.left.clear();
    assert_eq!(world.port_info("sw1", 2).state, ib_wire::mad::attr::PortState::DOWN);
    // A fault of the pulled cable is none of the port's.
    come(&mut world, link, &bytes(&question(0)));
    for down in [true, false] {
        world.fabric.set_link_fault(now, own, LinkFault { down, ..LinkFault::NONE });
    }
    assert!(world.fabric.outside(link).unwrap().up);

    world.fabric.unbind(now, link);
    world.fabric.unbind(now, link);
    assert!(world.fabric.outside(link).is_none());
    assert_eq!(world.fabric.link("h2", PortNum(1)), Some(own));
    assert!(world.fabric.snapshot().links.iter().all(|link| link.b != "outside" && link.up));
    come(&mut world, link, &bytes(&question(0)));
    world.pass(10_000);
    assert_eq!(bind(&mut world, h2, 1, config), Ok(link), "the same again");
}

#[test]
fn faults_and_captures_work_on_it_in_both_directions() {
    let (mut world, link) = bound();
    let tap = world.fabric.add_tap(TapFilter::Link(link));
    come(&mut world, link, &bytes(&question(0)));
    assert_eq!(world.tapped.len(), 3, "the question, ours, and the answer");
    world.fabric.remove_tap(tap);
    left(&mut world);

    let now = world.now;
    world.fabric.set_link_fault(now, link, LinkFault { delay: Duration::from_millis(5), ..LinkFault::NONE });
    come(&mut world, link, &bytes(&question(1)));
    assert!(left(&mut world).is_empty());
    world.pass(9);
    assert!(left(&mut world).is_empty());
    world.pass(1);
    assert_eq!(left(&mut world).len(), 1, "there and back");

    let mut lossy = LinkFault::NONE;
    lossy.shares.set(Mishap::Loss, Probability::ALWAYS);
    world.fabric.set_link_fault(world.now, link, lossy);
    come(&mut world, link, &bytes(&question(1)));
    world.pass(6000);
    assert_eq!(state(&world), "Polling Down", "what is lost is not heard");
    assert!(left(&mut world).is_empty());
    world.fabric.set_link_fault(world.now, link, LinkFault { down: true, ..LinkFault::NONE });
    come(&mut world, link, &bytes(&question(1)));
    assert_eq!(world.drops("sw1", PORT.0)["link_down"], 1);
    world.fabric.set_link_fault(world.now, link, LinkFault::NONE);
    world.drain();
    assert_eq!(left(&mut world).len(), 1, "it asks at once");
}

#[test]
fn a_large_send_leaves_whole_and_packets_that_come_together_are_one_again() {
    let (mut world, link) = bound();
    come(&mut world, link, &bytes(&question(0)));
    left(&mut world);
    let mut ip = vec![0; 40 + 9000];
    (ip[0], ip[8], ip[9], ip[32], ip[33]) = (0x45, 64, 6, 5 << 4, 0x10);
    let segments = Segments { kind: SegmentKind::Tcp4, size: 2000, header: 40, ecn: false };
    let offload = Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: Some(segments) };
    let mut packet = question(0);
    (packet.lrh.vl, packet.offload) = (VirtualLane::new(0), offload);
    packet.payload = Payload::from(&[&[8, 0, 0, 0], &ip[..]].concat()[..]);

    let mut buffer = vec![0; 10];
    let length = packet.emit_all(&mut buffer).unwrap();
    let tap = world.fabric.add_tap(TapFilter::Link(link));
    let come = |world: &mut World, bytes: &[u8]| {
        let mut shared: Arc<[u8]> = bytes.into();
        let range = 10..bytes.len();
        world.fabric.handle_outside_many(world.now, link, &mut shared, range, length);
        world.drain();
        let tapped = std::mem::take(&mut world.tapped).into_iter();
        tapped
            .map(|output| match output {
                ib_fabric::Output::Tapped { packet, .. } => packet,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let [whole] = &come(&mut world, &buffer)[..] else { panic!("one large send") };
    assert_eq!(whole.measure().packets, 5);
    let mut again = vec![0; 10];
    assert_eq!(whole.emit_all(&mut again), Ok(length));
    assert_eq!(again, buffer);

    let damaged = 10 + length + 100;
    buffer[damaged] ^= 1;
    let came: Vec<_> = come(&mut world, &buffer).iter().map(|packet| packet.measure().packets).collect();
    assert_eq!(came, [1, 3]);
    assert_eq!(world.drops("sw1", PORT.0)["bad_vcrc"], 1);
    world.fabric.remove_tap(tap);
}

#[test]
fn the_example_of_the_manual_is_the_question_of_a_port_1() {
    let manual = include_str!("../../../../docs/link.md");
    let mut example = Vec::new();
    for line in manual.lines().filter_map(|line| line.strip_prefix("    ")) {
        let Some((at, hex)) = line.split_once("  ").filter(|(at, _)| at.len() == 4) else { continue };
        let Ok(at) = usize::from_str_radix(at, 16) else { continue };
        example.resize(at, 0);
        example.extend(hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    assert_eq!(example, bytes(&question(0)));
    let (mut world, link) = bound();
    come(&mut world, link, &example);
    assert_eq!(state(&world), "LinkUp Initialize");
}
