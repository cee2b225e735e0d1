//! Datagrams from queue pair to queue pair.

use ib_fabric::{Drop, FabricConfig, SendError, topology};
use ib_wire::{
    addr::{Gid, Guid, Lid, Mtu, PKey, PortNum, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix, VirtualLane},
    mad::{
        AttributeId, Status,
        attr::{LinearBlock, MulticastBlock, PortState, SlToVlTable},
    },
    packet::GlobalRoute,
    ud::{AddressVector, QpCommand},
};

use crate::world::{Datagram, MLID, World, mgid, star};

const FULL: u16 = 0xffff;

#[test]
fn a_datagram_goes_both_ways() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let (a, b) = (world.qp("h1", FULL), world.qp("h4", FULL));
    world.post(("h1", a), ("h4", b), b"there");
    world.post(("h4", b), ("h1", a), b"back");
    let (port_a, port_b) = (world.port("h1"), world.port("h4"));
    let (_, _, there) = world.received[0].clone();
    assert_eq!((there.slid, there.dlid), (world.lid("h1"), world.lid("h4")));
    assert_eq!((there.src_qp, there.pkey, there.grh), (a, PKey::DEFAULT_FULL, None));
    assert_eq!(world.take(), [(port_b, b, b"there".to_vec()), (port_a, a, b"back".to_vec())]);
}

#[test]
fn nothing_passes_before_the_sm_was_there() {
    let mut world = World::raw(&star(), FabricConfig::default());
    world.sweep();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    world.edit_port("sw1", 2, |info| info.state = PortState::DOWN);
    world.post(("h1", a), ("h2", b), b"early");
    assert_eq!(world.drops("sw1", 2)["port_not_sending"], 1);
    assert_eq!(world.edit_port("sw1", 2, |info| info.state = PortState::ARMED), Status::OK);
    world.post(("h1", a), ("h2", b), b"still early");
    assert_eq!(world.drops("sw1", 2)["port_not_sending"], 2);
    assert_eq!(world.edit_port("sw1", 2, |info| info.state = PortState::ACTIVE), Status::OK);
    world.post(("h1", a), ("h2", b), b"h2 is not yet armed");
    assert_eq!(world.drops("h2", 1)["port_not_receiving"], 1);
    assert!(world.take().is_empty());
}

#[test]
fn a_port_reaches_itself() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h1", FULL));
    world.post(("h1", a), ("h1", b), b"self");
    assert_eq!(world.take().len(), 1);
    world.post(("h1", a), ("h1", Qpn::new(7)), b"nobody");
    assert_eq!(world.drops("h1", 1)["no_qp"], 1);
}

#[test]
fn lids_without_route_are_dropped_by_the_switch() {
    let mut world = World::star();
    let a = world.qp("h1", FULL);
    let send = |dlid| {
        let to =
            AddressVector { dlid: Lid(dlid), sl: ServiceLevel::default(), rate: Rate::GBPS_10, global: None };
        to.datagram(Qpn::new(9), b"x")
    };
    world.post_raw(("h1", a), send(40));
    world.post_raw(("h1", a), send(64));
    assert_eq!(world.drops("sw1", 1)["no_route"], 2, "255 in the table, and above its top");
    let mut block = LinearBlock::default();
    block.0[..4].copy_from_slice(&[PortNum(200), PortNum(1), PortNum(7), PortNum(200)]);
    world.set("sw1", AttributeId::LINEAR_FORWARDING, 0, &block.to_bytes());
    world.post_raw(("h1", a), send(3));
    assert_eq!(world.drops("sw1", 1)["no_such_port"], 1);
    world.post_raw(("h1", a), send(2));
    assert_eq!(world.drops("sw1", 7)["port_not_sending"], 1);
    let h3 = world.qp("h3", FULL);
    world.post_raw(("h3", h3), send(3));
    assert_eq!(world.drops("sw1", 3)["no_such_port"], 1);
}

#[test]
fn a_loop_in_the_tables_ends() {
    let mut topology = topology::Topology::new();
    let switches: Vec<_> = (1..=3).map(|n| topology.add_switch(format!("sw{n}"), 4)).collect();
    let h1 = topology.add_host("h1", 1);
    topology.connect((switches[0], 1), (h1, 1));
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        topology.connect((switches[from], 2), (switches[to], 3));
    }
    let mut world = World::up(&topology);
    let a = world.qp("h1", FULL);
    for name in ["sw1", "sw2", "sw3"] {
        let mut block = LinearBlock::default();
        block.0[33] = PortNum(2);
        world.set(name, AttributeId::LINEAR_FORWARDING, 0, &block.to_bytes());
        let mut masks = MulticastBlock::default();
        masks.0[1] = 0b1110;
        world.set(name, AttributeId::MULTICAST_FORWARDING, 0, &masks.to_bytes());
    }
    let to = AddressVector { dlid: Lid(33), sl: ServiceLevel::default(), rate: Rate::GBPS_10, global: None };
    world.post_raw(("h1", a), to.datagram(Qpn::new(9), b"round"));
    assert_eq!(world.dropped(Drop::HopLimit), 1);
    world.post_group(("h1", a), 1, b"storm");
    assert!(world.dropped(Drop::MulticastStorm) + world.dropped(Drop::HopLimit) > 1);
}

#[test]
fn a_group_reaches_all_attached_and_the_sender_itself_once() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let hosts = ["h1", "h2", "h3", "h4"];
    let qps: Vec<Qpn> = hosts.iter().map(|host| world.qp(host, FULL)).collect();
    for (host, qpn) in hosts.iter().zip(&qps).filter(|(host, _)| **host != "h3") {
        world.attach(host, *qpn, 1);
    }
    world.attach("h3", qps[2], 2);
    world.post_group(("h1", qps[0]), 1, b"all");
    let mut got: Vec<Qpn> = world.received.iter().map(|(_, qpn, _)| *qpn).collect();
    got.sort();
    let mut expected = vec![qps[0], qps[1], qps[3]];
    expected.sort();
    assert_eq!(got, expected);
    let grh = world.received[1].2.grh.expect("multicast has one");
    assert_eq!((grh.sgid, grh.dgid), (world.gid("h1"), mgid(1).gid()));
    assert_eq!(world.drops("h3", 1)["not_attached"], 1, "same LID, another group");
    let detach = QpCommand::Detach { mgid: mgid(1), mlid: MLID };
    world.fabric.command_qp(world.port("h2"), qps[1], detach).expect("attached");
    world.take();
    world.post_group(("h4", qps[3]), 1, b"fewer");
    assert_eq!(world.take().len(), 2);
}

#[test]
fn a_wrong_gid_is_refused_and_both_prefixes_work() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    world.edit_port("h2", 1, |info| info.gid_prefix = SubnetPrefix(0xfec0 << 48));
    let mut send = |dgid: Gid| {
        let route = GlobalRoute { sgid: Gid::ZERO, dgid, traffic_class: 0, flow_label: 0, hop_limit: 64 };
        let to = AddressVector {
            dlid: world.lid("h2"),
            sl: ServiceLevel::default(),
            rate: Rate::GBPS_10,
            global: Some(route),
        };
        world.post_raw(("h1", a), to.datagram(b, b"x"));
        world.take().len()
    };
    let guid = Guid(0x0269_6202_0000_0201);
    assert_eq!(send(Gid::new(SubnetPrefix(0xfec0 << 48), guid)), 1);
    assert_eq!(send(Gid::new(SubnetPrefix::LINK_LOCAL, guid)), 1);
    assert_eq!(send(Gid::new(SubnetPrefix(5), guid)), 0);
    assert_eq!(send(Gid::new(SubnetPrefix::LINK_LOCAL, Guid(1))), 0);
    assert_eq!(world.drops("h2", 1)["dgid_mismatch"], 2);
}

#[test]
fn what_the_neighbour_does_not_take_is_not_sent() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    world.edit_port("sw1", 2, |info| info.neighbor_mtu = Mtu::B256);
    world.post(("h1", a), ("h2", b), &[1; 256]);
    world.post(("h1", a), ("h2", b), &[1; 257]);
    assert_eq!(world.take().len(), 1);
    assert_eq!(world.drops("sw1", 2)["neighbor_mtu"], 1);
    let to = AddressVector { dlid: Lid(2), sl: ServiceLevel::default(), rate: Rate::GBPS_10, global: None };
    let send = to.datagram(b, &[0; 4097]);
    let refused = world.fabric.post_send(world.now, world.port("h1"), a, send);
    assert_eq!(refused, Err(SendError::TooLarge { len: 4097, mtu: 4096 }));
}

#[test]
fn service_levels_without_lane_are_dropped() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    let mut table = SlToVlTable([0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7].map(VirtualLane::new));
    table.0[3] = VirtualLane::MANAGEMENT;
    let modifier = 1 << 8 | 2;
    assert_eq!(world.set("sw1", AttributeId::SL_TO_VL, modifier, &table.to_bytes()), Status::OK);
    assert_eq!(world.get("sw1", AttributeId::SL_TO_VL, modifier)[..8], table.to_bytes());
    for sl in [3, 5] {
        let to = AddressVector {
            dlid: world.lid("h2"),
            sl: ServiceLevel::new(sl),
            rate: Rate::GBPS_10,
            global: None,
        };
        world.post_raw(("h1", a), to.datagram(b, b"x"));
    }
    assert_eq!(world.received.len(), 1);
    assert_eq!(world.received[0].2.sl.get(), 5);
    assert_eq!(world.drops("sw1", 1)["no_lane"], 1);
}

#[test]
fn mistakes_of_the_caller_are_errors() {
    let mut world = World::star();
    let port = world.port("h1");
    let qpn = world.fabric.create_qp(port, None).expect("free");
    let to = |dlid| AddressVector {
        dlid: Lid(dlid),
        sl: ServiceLevel::default(),
        rate: Rate::GBPS_10,
        global: None,
    };
    let mut post = |qpn, dlid| world.fabric.post_send(world.now, port, qpn, to(dlid).datagram(qpn, b"x"));
    assert_eq!(post(Qpn::new(3), 1), Err(SendError::NoQp(Qpn::new(3))));
    assert_eq!(post(qpn, 1), Err(SendError::NotReady(qpn)));
    let keys = QpCommand::SetKeys { pkey: PKey::DEFAULT_LIMITED, qkey: QKey(1) };
    world.fabric.command_qp(port, qpn, keys).expect("the partition is there, as a full member");
    let mut post = |qpn, dlid| world.fabric.post_send(world.now, port, qpn, to(dlid).datagram(qpn, b"x"));
    assert_eq!(post(qpn, 0), Err(SendError::BadLid(Lid(0))));
    assert_eq!(post(qpn, 0xffff), Err(SendError::BadLid(Lid(0xffff))));
    assert_eq!(post(qpn, 0xc000), Err(SendError::NoGlobalRoute(Lid(0xc000))));
    world.fabric.command_qp(port, qpn, QpCommand::Stop).expect("known");
    let mut post = |qpn, dlid| world.fabric.post_send(world.now, port, qpn, to(dlid).datagram(qpn, b"x"));
    assert_eq!(post(qpn, 1), Err(SendError::NotReady(qpn)));
}
