//! The subnet management agent: every attribute has an answer, and what a device says of itself is true.

use ib_fabric::{FabricConfig, LinkFault, topology::Topology};
use ib_wire::{
    addr::{Lid, MKey, PortNum, ServiceLevel, VirtualLane},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        attr::{
            CapabilityMask, FecMode, MlnxExtPortInfo, Notice, NoticeType, PhysicalState, PortInfoExtended,
            PortState, SlToVlTable, SwitchInfo, TrapNumber,
        },
        smp::{DirectedRoute, DirectedSmp, LidSmp, Smp},
    },
    ud::MadAddress,
};

use crate::world::{World, star};

const REFUSED: Status = Status::BAD_METHOD_ATTRIBUTE;

#[test]
fn every_attribute_is_answered_or_refused_in_words() {
    let mut world = World::star();
    let attributes = [
        (AttributeId::NOTICE, 0, Status::OK, Status::OK),
        (AttributeId::NODE_DESCRIPTION, 0, Status::OK, Status::OK),
        (AttributeId::NODE_INFO, 0, Status::OK, Status::OK),
        (AttributeId::SWITCH_INFO, 0, Status::OK, REFUSED),
        (AttributeId::GUID_INFO, 0, Status::OK, Status::OK),
        (AttributeId::PORT_INFO, 1, Status::OK, Status::OK),
        (AttributeId::P_KEY_TABLE, 1 << 16, Status::OK, Status::OK),
        (AttributeId::SL_TO_VL, 0x0102, Status::OK, Status::OK),
        (AttributeId::VL_ARBITRATION, 1 << 16 | 1, Status::OK, Status::OK),
        (AttributeId::LINEAR_FORWARDING, 0, Status::OK, REFUSED),
        (AttributeId::RANDOM_FORWARDING, 0, REFUSED, REFUSED),
        (AttributeId::MULTICAST_FORWARDING, 0, Status::OK, REFUSED),
        (AttributeId::VENDOR_DIAG, 0, REFUSED, REFUSED),
        (AttributeId::LED_INFO, 1, REFUSED, REFUSED),
        (AttributeId::PORT_INFO_EXTENDED, 1, Status::OK, Status::OK),
        (AttributeId::MLNX_EXT_PORT_INFO, 1, REFUSED, REFUSED),
        (AttributeId(0x0013), 0, REFUSED, REFUSED),
        (AttributeId(0xff00), 0, REFUSED, REFUSED),
    ];
    for (attribute, modifier, of_switch, of_adapter) in attributes {
        for (node, wanted) in [("sw1", of_switch), ("h2", of_adapter)] {
            let route = world.nodes[node].route;
            let answer = world.directed(&route, Method::GET, attribute, modifier, [0; 64]);
            assert_eq!(answer.expect("an answer").0, wanted, "Get({attribute}) of {node}");
        }
    }
    for attribute in [AttributeId::NODE_DESCRIPTION, AttributeId::NODE_INFO, AttributeId(0xff00)] {
        assert_eq!(world.set("h2", attribute, 0, &[0; 64]), REFUSED, "Set({attribute})");
    }
}

#[test]
fn versions_and_methods_that_do_not_exist_are_refused_in_words() {
    type Edit = fn(&mut MadHeader);
    let mut world = World::star();
    let lid = world.lid("h2");
    let route = world.nodes["h2"].route;
    let cases: [(Edit, Method, Status); 5] = [
        (|header| header.class_version = 2, Method::GET_RESP, Status::BAD_VERSION),
        (|header| header.base_version = 2, Method::GET_RESP, Status::BAD_VERSION),
        (|header| header.method = Method(0x7f), Method(0xff), Status::BAD_METHOD),
        (|header| header.method = Method::GET_TABLE, Method::GET_TABLE_RESP, Status::BAD_METHOD),
        (|header| header.method = Method::SEND, Method(0x83), Status::BAD_METHOD),
    ];
    for (i, (edit, method, status)) in cases.into_iter().enumerate() {
        let class = MgmtClass::SUBN_LID;
        let mut header = MadHeader::request(class, Method::GET, AttributeId::NODE_INFO, 0);
        edit(&mut header);
        let smp = LidSmp { header, m_key: MKey(0), data: [0; 64] };
        world.send(MadAddress::smi(lid), &smp.to_bytes());
        let answer = world.mads.pop_front().expect("an answer").header();
        assert_eq!((answer.method, answer.status), (method, status), "by LID, case {i}");

        let header = MadHeader { class: MgmtClass::SUBN_DIRECTED, ..header };
        world.send(MadAddress::DIRECTED, &directed(header, &route).to_bytes());
        let answer = world.mads.pop_front().expect("an answer");
        let Ok(Smp::Directed(smp)) = Smp::parse(&answer.mad) else { panic!("a directed answer") };
        assert_eq!((smp.header.method, smp.status()), (method, status), "directed, case {i}");
    }
}

fn directed(header: MadHeader, route: &DirectedRoute) -> DirectedSmp {
    let mut smp = DirectedSmp {
        header,
        m_key: MKey(0),
        source_lid: Lid::PERMISSIVE,
        dest_lid: Lid::PERMISSIVE,
        data: [0; 64],
        initial_path: *route.initial_path(),
        return_path: [0; 64],
    };
    smp.set_hops(0, route.hop_count());
    smp
}

#[test]
fn capabilities_are_those_there_are() {
    let mut world = World::star();
    let adapter = world.port_info("h2", 1);
    let switch = world.port_info("sw1", 0);
    let bits = |mask: CapabilityMask| (0..32).filter(|bit| mask.0 >> bit & 1 != 0).collect::<Vec<_>>();
    assert_eq!(bits(adapter.capability_mask), [2, 3, 6, 11, 14, 15, 16, 22, 25, 26, 29]);
    assert_eq!(bits(switch.capability_mask), [2, 3, 6, 11, 12, 14, 15, 22, 25, 26, 29, 30]);
    assert_eq!(world.port_info("sw1", 2).capability_mask, CapabilityMask(0), "port 0 speaks for it");
    assert_eq!(adapter.capability_mask2, 1 << 1 | 1 << 4 | 1 << 5 | 1 << 10);
    let info = SwitchInfo::parse(&world.get("sw1", AttributeId::SWITCH_INFO, 0)).expect("64 bytes").0;
    assert_eq!((info.random_fdb_cap, info.optimized_sl_to_vl), (0, 1));
}

#[test]
fn links_have_no_error_correction_and_say_so() {
    let mut world = World::star();
    for (node, port) in [("h2", 1), ("sw1", 2)] {
        let data = world.get(node, AttributeId::PORT_INFO_EXTENDED, port);
        let info = PortInfoExtended::from_bytes(&data);
        assert_eq!((info.capability_mask, info.fec_active), (PortInfoExtended::FEC, FecMode::NONE));
        assert_eq!((info.fdr_fec_supported, info.edr_fec_supported, info.hdr_fec_supported), (1, 1, 0));
        assert_eq!(world.set(node, AttributeId::PORT_INFO_EXTENDED, port, &data), Status::OK);
        let reed_solomon = PortInfoExtended { edr_fec_enabled: FecMode::REED_SOLOMON.bit(), ..info };
        let status = world.set(node, AttributeId::PORT_INFO_EXTENDED, port, &reed_solomon.to_bytes());
        assert_eq!(status, Status::BAD_FIELD);
    }
    let route = world.nodes["sw1"].route;
    let beyond = world.directed(&route, Method::GET, AttributeId::PORT_INFO_EXTENDED, 9, [0; 64]);
    assert_eq!(beyond.expect("an answer").0, Status::BAD_FIELD);
}

#[test]
fn a_vendor_is_told_of_its_own_speed_that_there_is_none() {
    let mut topology: Topology = star();
    topology.nodes[0].vendor_id = 0x2c9;
    let mut world = World::up(&topology);
    let data = world.get("sw1", AttributeId::MLNX_EXT_PORT_INFO, 2);
    assert_eq!(data, [0; 64]);
    let mut asked = MlnxExtPortInfo::from_bytes(&data);
    assert_eq!(world.set("sw1", AttributeId::MLNX_EXT_PORT_INFO, 2, &asked.to_bytes()), Status::OK);
    (asked.state_change_enable, asked.link_speed_enabled) = (1, 1);
    let status = world.set("sw1", AttributeId::MLNX_EXT_PORT_INFO, 2, &asked.to_bytes());
    assert_eq!(status, Status::BAD_FIELD);
    let route = world.nodes["h2"].route;
    let other = world.directed(&route, Method::GET, AttributeId::MLNX_EXT_PORT_INFO, 1, [0; 64]);
    assert_eq!(other.expect("an answer").0, REFUSED, "not of that vendor");
}

#[test]
fn a_switch_takes_one_mapping_for_many_ways() {
    let mut world = World::star();
    let table = |vl| SlToVlTable([VirtualLane::new(vl); 16]);
    let set = |world: &mut World, modifier, vl| {
        assert_eq!(world.set("sw1", AttributeId::SL_TO_VL, modifier, &table(vl).to_bytes()), Status::OK);
    };
    let vl = |world: &mut World, from: u32, to: u32| {
        let data = world.get("sw1", AttributeId::SL_TO_VL, from << 8 | to);
        let table = SlToVlTable::from_bytes(&core::array::from_fn(|i| data[i]));
        table.vl(ServiceLevel::new(9)).get()
    };
    set(&mut world, SlToVlTable::ALL_IN | SlToVlTable::ALL_OUT, 5);
    assert_eq!((vl(&mut world, 0, 1), vl(&mut world, 1, 8), vl(&mut world, 8, 2)), (5, 5, 5));
    set(&mut world, SlToVlTable::ALL_IN | 2, 6);
    assert_eq!((vl(&mut world, 1, 2), vl(&mut world, 2, 1), vl(&mut world, 0, 2)), (6, 5, 6));
    set(&mut world, SlToVlTable::ALL_OUT | 3 << 8, 7);
    assert_eq!((vl(&mut world, 3, 2), vl(&mut world, 3, 1), vl(&mut world, 2, 3)), (7, 7, 5));
    let refused = world.set("sw1", AttributeId::SL_TO_VL, SlToVlTable::ALL_IN | 9, &[0; 8]);
    assert_eq!(refused, Status::BAD_FIELD);
}

#[test]
fn a_port_that_is_disabled_is_told_by_the_switch_at_its_other_end() {
    let mut world = World::star();
    let status = world.edit_port("h2", 1, |info| info.physical_state = PhysicalState::DISABLED);
    assert_eq!(status, Status::OK);
    let view = world.fabric.port_view(world.port("h2"));
    assert_eq!((view.state, view.physical_state), (PortState::DOWN, PhysicalState::DISABLED));
    let facing = world.port_info("sw1", 2);
    assert_eq!((facing.state, facing.physical_state), (PortState::DOWN, PhysicalState::POLLING));
    let traps = world.traps();
    assert_eq!(traps.len(), 1);
    assert_eq!((traps[0].2.trap, traps[0].2.data_lid()), (TrapNumber::LINK_STATE, world.lid("sw1")));
}

#[test]
fn a_port_that_an_sm_disables_at_the_switch_surprises_nobody_there() {
    let mut world = World::star();
    world.edit_port("sw1", 2, |info| info.physical_state = PhysicalState::DISABLED);
    assert!(world.traps().is_empty());
    let info = SwitchInfo::parse(&world.get("sw1", AttributeId::SWITCH_INFO, 0)).expect("64 bytes").0;
    assert!(!info.port_state_change, "the SM knows what it did");
    world.edit_port("sw1", 2, |info| info.physical_state = PhysicalState::POLLING);
    assert_eq!(world.port_info("sw1", 2).state, PortState::INITIALIZE);
    assert_eq!(world.traps().len(), 1, "that the link came up is news");
}

#[test]
fn notices_can_be_asked_for_and_taken() {
    let mut world = World::star();
    let notice = |world: &mut World| {
        let data = world.get("sw1", AttributeId::NOTICE, 0);
        let mut bytes = [0; Notice::LEN];
        bytes[..64].copy_from_slice(&data);
        (Notice::from_bytes(&bytes), data)
    };
    assert_eq!(notice(&mut world).0.kind, NoticeType::EMPTY);
    let link = world.fabric.link("h3", PortNum(1)).expect("cabled");
    world.fabric.set_link_fault(world.now, link, LinkFault { down: true, ..LinkFault::NONE });
    world.drain();
    assert_eq!(world.traps().len(), 1);
    let (read, data) = notice(&mut world);
    assert_eq!((read.trap, read.count), (TrapNumber::LINK_STATE, 1));
    assert_eq!(world.set("sw1", AttributeId::NOTICE, 0, &data), Status::OK);
    assert_eq!(notice(&mut world).0.kind, NoticeType::EMPTY);
    world.pass(10_000);
    assert!(world.traps().is_empty(), "who has read it needs no trap any more");
}

#[test]
fn a_port_without_lid_has_no_notices() {
    let mut world = World::raw(&star(), FabricConfig::default());
    let data = world.directed(&DirectedRoute::HERE, Method::GET, AttributeId::NOTICE, 0, [0; 64]);
    assert_eq!(data.expect("an answer").1[0], 0xff, "generic and empty");
}
