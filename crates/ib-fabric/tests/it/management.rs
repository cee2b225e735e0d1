//! SMPs: what an SM can read, write and reach; MADs of agents.

use ib_fabric::{AgentSpec, Drop, FabricConfig, LinkFault, MethodMask, RegisterError, SendError, topology};
use ib_wire::{
    addr::{Guid, Lid, LinkSpeed, LinkWidth, MKey, Mtu, PortNum, ServiceLevel},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        attr::{
            GuidBlock, MulticastBlock, NodeInfo, NodeType, PhysicalState, PortInfo, PortState, SmInfo,
            SwitchInfo,
        },
        smp::{DirectedRoute, DirectedSmp, LidSmp, Smp},
    },
    ud::{MadAddress, PortEvent},
};

use crate::world::{World, empty_mad, star};

#[test]
fn a_directed_walk_finds_every_node() {
    let topology = topology::generate("pair").expect("a generator");
    let world = World::up(&topology);
    let names: Vec<&str> = world.nodes.keys().map(String::as_str).collect();
    assert_eq!(names, ["h1", "h2", "h3", "h4", "sw1", "sw2"]);
    for node in &topology.nodes {
        let info = world.nodes[&node.name].info;
        assert_eq!(info.node_guid, node.guid);
        assert_eq!(info.num_ports, node.port_count);
        assert_eq!(info.node_type == NodeType::SWITCH, node.is_switch());
    }
    let h1 = world.fabric.port_view(world.port("h1"));
    assert_eq!((h1.state, h1.physical_state), (PortState::ACTIVE, PhysicalState::LINK_UP));
    assert_eq!((h1.lid, h1.sm_lid), (world.lid("h1"), world.lid("h1")));
    assert_eq!(h1.rate.and_then(|rate| rate.mbps()), Some(100_000));
}

#[test]
fn a_route_that_leads_nowhere_has_no_answer() {
    let mut world = World::raw(&star(), FabricConfig::default());
    let mut ask = |ports: &[u8]| {
        let route =
            ports.iter().fold(DirectedRoute::HERE, |route, port| route.then(PortNum(*port)).expect("short"));
        world.directed(&route, Method::GET, AttributeId::NODE_INFO, 0, [0; 64]).map(|(status, _)| status)
    };
    assert_eq!(ask(&[1]), Some(Status::OK));
    assert_eq!(ask(&[1, 2]), Some(Status::OK));
    assert_eq!(ask(&[1, 1]), Some(Status::OK), "back to the beginning");
    assert_eq!(ask(&[2]), None);
    assert_eq!(ask(&[1, 0]), None);
    assert_eq!(ask(&[1, 9]), None);
    assert_eq!(ask(&[1, 7]), None);
    assert_eq!(ask(&[1, 2, 1]), None, "through a channel adapter");
    assert_eq!(world.dropped(Drop::SmpNoPort), 3);
    assert_eq!(world.drops("sw1", 7)["port_not_sending"], 1);
    assert_eq!(world.drops("h2", 1)["smp_bad_hop"], 1);
}

#[test]
fn a_directed_part_may_follow_and_precede_parts_by_lid() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let (sm, sw1, h4) = (world.lid("h1"), world.lid("sw1"), world.lid("h4"));
    let route = world.nodes["h2"].route;
    let to_h2 = route.ports().last().expect("a way");
    let mut ask = |path: Option<PortNum>, dest_lid: Lid| {
        let header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
        let mut smp = DirectedSmp {
            header,
            m_key: MKey(0),
            source_lid: sm,
            dest_lid,
            data: [0; 64],
            initial_path: [0; 64],
            return_path: [0; 64],
        };
        smp.initial_path[1] = path.map_or(0, |port| port.0);
        smp.set_hops(0, u8::from(path.is_some()));
        world.send(MadAddress::smi(sw1), &smp.to_bytes());
        let got = world.mads.pop_front().expect("an answer");
        let Ok(Smp::Directed(smp)) = Smp::parse(&got.mad) else { panic!("a directed answer") };
        assert_eq!((smp.hop_pointer(), smp.status(), smp.is_return()), (0, Status::OK, true));
        NodeInfo::parse(&smp.data).expect("64 bytes").0.node_guid
    };
    let h2_guid = ask(Some(to_h2), Lid::PERMISSIVE);
    assert_eq!(ask(None, Lid::PERMISSIVE), world.nodes["sw1"].info.node_guid);
    assert_eq!(h2_guid, world.nodes["h2"].info.node_guid);

    let mut ask_beyond = |port: PortNum| {
        let header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
        let mut smp = DirectedSmp {
            header,
            m_key: MKey(0),
            source_lid: Lid::PERMISSIVE,
            dest_lid: h4,
            data: [0; 64],
            initial_path: [0; 64],
            return_path: [0; 64],
        };
        smp.initial_path[1] = port.0;
        smp.set_hops(0, 1);
        world.send(MadAddress::DIRECTED, &smp.to_bytes());
        let got = world.mads.pop_front().expect("an answer");
        let Ok(Smp::Directed(smp)) = Smp::parse(&got.mad) else { panic!("a directed answer") };
        NodeInfo::parse(&smp.data).expect("64 bytes").0.node_guid
    };
    let guid = ask_beyond(PortNum(1));
    assert_eq!(guid, world.nodes["h4"].info.node_guid);
}

#[test]
fn what_is_written_is_read_back() {
    let mut world = World::star();
    let status = world.edit_port("h2", 1, |info| {
        info.master_sm_sl = ServiceLevel::new(3);
        info.subnet_timeout.0 = 17;
        info.hoq_life = 9;
        info.vl_stall_count = 3;
        info.vl_high_limit = 4;
        info.operational_vls = 3;
        info.neighbor_mtu = Mtu::B1024;
        info.local_phy_errors = 2;
        info.overrun_errors = 1;
        info.lmc.0 = 1;
    });
    assert_eq!(status, Status::OK);
    let info = world.port_info("h2", 1);
    assert_eq!((info.master_sm_sl.get(), info.subnet_timeout.0, info.hoq_life), (3, 17, 9));
    assert_eq!((info.vl_stall_count, info.vl_high_limit, info.operational_vls), (3, 4, 3));
    assert_eq!((info.neighbor_mtu, info.lmc.0, info.local_phy_errors), (Mtu::B1024, 1, 2));
    let events: Vec<PortEvent> = world.events.iter().map(|(_, event)| *event).collect();
    assert_eq!(events, [PortEvent::LidChange, PortEvent::SmChange]);
    world.events.clear();
    world.edit_port("h2", 1, |info| info.client_reregister = true);
    assert_eq!(world.events, [(world.port("h2"), PortEvent::ClientReregister)]);
    assert!(!world.port_info("h2", 1).client_reregister, "an event, not a state");

    let mut masks = MulticastBlock::default();
    masks.0[31] = 0x1234;
    let modifier = 3 << 28 | 31;
    assert_eq!(world.set("sw1", AttributeId::MULTICAST_FORWARDING, modifier, &masks.to_bytes()), Status::OK);
    assert_eq!(world.get("sw1", AttributeId::MULTICAST_FORWARDING, modifier), masks.to_bytes());
    let arbitration = [7; 64];
    let modifier = 3 << 16 | 2;
    assert_eq!(world.set("sw1", AttributeId::VL_ARBITRATION, modifier, &arbitration), Status::OK);
    assert_eq!(world.get("sw1", AttributeId::VL_ARBITRATION, modifier), arbitration);
    let mut guids = GuidBlock::default();
    guids.0[1] = Guid(77);
    assert_eq!(world.set("h2", AttributeId::GUID_INFO, 0, &guids.to_bytes()), Status::OK);
    guids.0[0] = world.fabric.port_view(world.port("h2")).guid;
    assert_eq!(world.get("h2", AttributeId::GUID_INFO, 0), guids.to_bytes(), "the first one is fixed");
}

#[test]
fn what_has_no_meaning_is_refused_and_changes_nothing() {
    let mut world = World::star();
    let before = world.port_info("h2", 1);
    let edits: [fn(&mut PortInfo); 10] = [
        |info| info.state = PortState::ARMED,
        |info| info.state = PortState::INITIALIZE,
        |info| info.physical_state = PhysicalState::LINK_UP,
        |info| info.neighbor_mtu = Mtu(6),
        |info| info.neighbor_mtu = Mtu(0),
        |info| info.operational_vls = 5,
        |info| info.lid = Lid(0xc000),
        |info| info.master_sm_lid = Lid(0),
        |info| info.link_width_enabled = LinkWidth::X12,
        |info| info.link_speed_ext_enabled = 8,
    ];
    for (i, edit) in edits.into_iter().enumerate() {
        assert_eq!(world.edit_port("h2", 1, edit), Status::BAD_FIELD, "edit {i}");
    }
    assert_eq!(world.port_info("h2", 1), before);
    let tables = [
        ("sw1", AttributeId::LINEAR_FORWARDING, 768, Status::BAD_FIELD),
        ("sw1", AttributeId::MULTICAST_FORWARDING, 32, Status::BAD_FIELD),
        ("sw1", AttributeId::PORT_INFO, 9, Status::BAD_FIELD),
        ("sw1", AttributeId::P_KEY_TABLE, 9 << 16, Status::BAD_FIELD),
        ("sw1", AttributeId::VL_ARBITRATION, 5 << 16 | 1, Status::BAD_FIELD),
        ("h2", AttributeId::GUID_INFO, 4, Status::BAD_FIELD),
        ("h2", AttributeId::P_KEY_TABLE, 4, Status::BAD_FIELD),
        ("h2", AttributeId::LINEAR_FORWARDING, 0, Status::BAD_METHOD_ATTRIBUTE),
        ("h2", AttributeId::SWITCH_INFO, 0, Status::BAD_METHOD_ATTRIBUTE),
        ("h2", AttributeId::LED_INFO, 0, Status::BAD_METHOD_ATTRIBUTE),
        ("h2", AttributeId::NODE_INFO, 0, Status::BAD_METHOD_ATTRIBUTE),
    ];
    for (node, attribute, modifier, status) in tables {
        assert_eq!(world.set(node, attribute, modifier, &[0; 64]), status, "{attribute} {modifier:#x}");
    }
}

#[test]
fn port_state_change_is_cleared_by_writing_one() {
    let mut world = World::star();
    let state_change = |world: &mut World| {
        let data = world.get("sw1", AttributeId::SWITCH_INFO, 0);
        SwitchInfo::parse(&data).expect("64 bytes").0
    };
    assert!(!state_change(&mut world).port_state_change);
    let link = world.fabric.link("h3", PortNum(1)).expect("cabled");
    let down = LinkFault { down: true, ..LinkFault::NONE };
    world.fabric.set_link_fault(world.now, link, down);
    let mut info = state_change(&mut world);
    assert!(info.port_state_change);
    info.port_state_change = false;
    world.set("sw1", AttributeId::SWITCH_INFO, 0, &info.to_bytes());
    assert!(state_change(&mut world).port_state_change, "writing 0 leaves it");
    info.port_state_change = true;
    world.set("sw1", AttributeId::SWITCH_INFO, 0, &info.to_bytes());
    assert!(!state_change(&mut world).port_state_change);
}

#[test]
fn enabled_speeds_and_widths_count_from_the_next_training_on() {
    let mut world = World::star();
    world.edit_port("sw1", 2, |info| {
        (info.link_width_enabled, info.link_speed_ext_enabled) = (LinkWidth::X1, 30);
    });
    assert_eq!(world.port_info("h2", 1).active_speed(), LinkSpeed::Edr);
    world.edit_port("sw1", 2, |info| info.state = PortState::DOWN);
    let info = world.port_info("h2", 1);
    assert_eq!((info.active_speed(), info.link_width_active), (LinkSpeed::Qdr, LinkWidth::X1));
    assert_eq!(info.state, PortState::INITIALIZE);
}

#[test]
fn the_answer_to_a_set_that_cuts_the_way_still_arrives() {
    let mut world = World::star();
    let status = world.edit_port("sw1", 1, |info| info.physical_state = PhysicalState::DISABLED);
    assert_eq!(status, Status::OK);
    let view = world.fabric.port_view(world.port("h1"));
    assert_eq!((view.state, view.physical_state), (PortState::DOWN, PhysicalState::POLLING));
    assert_eq!(world.events, [(world.port("h1"), PortEvent::Down)]);
}

#[test]
fn sm_info_is_for_the_sm_and_silence_without_one() {
    let mut world = World::star();
    let lid = world.lid("h2");
    let ask = |world: &mut World| world.by_lid(lid, MKey(0), Method::GET, AttributeId::SM_INFO, 0, [0; 64]);
    assert_eq!(ask(&mut world), None);
    assert_eq!(world.drops("h2", 1)["smp_unclaimed"], 1);

    let methods = MethodMask::of(&[Method::GET, Method::SET]);
    let spec = AgentSpec::new(MgmtClass::SUBN_LID, methods);
    let port = world.port("h2");
    let agent = world.fabric.register_agent(port, spec).expect("free");
    assert_eq!(
        world.fabric.register_agent(port, spec),
        Err(RegisterError::Taken { class: MgmtClass::SUBN_LID, method: Method::GET })
    );
    assert_eq!(ask(&mut world), None, "the other SM has not answered yet");
    let got = world.mads.pop_front().expect("it was asked");
    assert_eq!(got.agent, agent);
    let Ok(Smp::Lid(question)) = Smp::parse(&got.mad) else { panic!("by LID") };
    let mut answer = LidSmp { data: [0; 64], ..question };
    answer.header.method = Method::GET_RESP;
    answer.data[..SmInfo::LEN].copy_from_slice(&[1; SmInfo::LEN]);
    world.fabric.send_mad(world.now, port, agent, got.from, &answer.to_bytes()).expect("sent");
    world.drain();
    let back = world.mads.pop_front().expect("an answer");
    assert_eq!((back.agent, back.from.lid), (world.agent, lid));
    assert_eq!(back.header().tid, question.header.tid, "answers keep the asker's number");

    world.fabric.unregister_agent(port, agent);
    let refused = world.fabric.send_mad(world.now, port, agent, got.from, &answer.to_bytes());
    assert_eq!(refused, Err(SendError::NoAgent(agent)));
}

#[test]
fn general_mads_go_from_agent_to_agent_and_others_are_refused() {
    let mut world = World::star();
    let (h2, h3) = (world.port("h2"), world.port("h3"));
    let class = MgmtClass::SUBN_ADM;
    let client = world.fabric.register_agent(h2, AgentSpec::client(class)).expect("free");
    let header = MadHeader::request(class, Method::GET, AttributeId::CLASS_PORT_INFO, 0);
    let to = MadAddress::gsi(world.lid("h3"), ServiceLevel::default());
    world.fabric.send_mad(world.now, h2, client, to, &empty_mad(&header)).expect("sent");
    world.drain();
    let refusal = world.mads.pop_front().expect("an answer");
    assert_eq!(
        (refusal.agent, refusal.header().status, refusal.header().method),
        (client, Status::BAD_METHOD_ATTRIBUTE, Method::GET_RESP)
    );
    assert_eq!(world.drops("h3", 1)["mad_unclaimed"], 1);

    let methods = MethodMask::of(&[Method::GET]);
    let server = world.fabric.register_agent(h3, AgentSpec::new(class, methods)).expect("free");
    world.fabric.send_mad(world.now, h2, client, to, &empty_mad(&header)).expect("sent");
    world.drain();
    let question = world.mads.pop_front().expect("the question");
    assert_eq!((question.agent, question.from.lid), (server, world.lid("h2")));
    let answer = MadHeader { method: Method::GET_RESP, ..question.header() };
    world.fabric.send_mad(world.now, h3, server, question.from, &empty_mad(&answer)).expect("sent");
    world.drain();
    assert_eq!(world.mads.pop_front().expect("the answer").agent, client);

    let report = MadHeader::request(class, Method::REPORT, AttributeId::NOTICE, 0);
    world.fabric.send_mad(world.now, h2, client, to, &empty_mad(&report)).expect("sent");
    world.drain();
    assert!(world.mads.is_empty(), "what is no Get or Set is dropped in silence");
    assert_eq!(world.drops("h3", 1)["mad_unclaimed"], 2);
    let smp = MadHeader::request(MgmtClass::SUBN_LID, Method::GET, AttributeId::NODE_INFO, 0);
    let refused = world.fabric.send_mad(world.now, h2, client, to, &empty_mad(&smp));
    assert_eq!(refused, Err(SendError::WrongClass(MgmtClass::SUBN_LID)));
}
