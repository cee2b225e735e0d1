//! SMPs whose way is partly by LID, partly by directed route: what a tool sends that asks for a switch's neighbour.

use ib_fabric::{AgentId, AgentSpec, PortId, topology};
use ib_wire::{
    addr::{Lid, MKey, PortNum},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        attr::NodeInfo,
        smp::{DirectedSmp, Smp},
    },
    ud::MadAddress,
};

use crate::world::World;

/// Asks the node behind a port of the switch that has `lid`.
fn ask_behind(world: &mut World, from: (PortId, AgentId), lid: Lid, port: u8) -> Option<NodeInfo> {
    let own = world.fabric.port_view(from.0).lid;
    let mut smp = DirectedSmp {
        header: MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0),
        m_key: MKey(0),
        source_lid: own,
        dest_lid: Lid::PERMISSIVE,
        data: [0; 64],
        initial_path: [0; 64],
        return_path: [0; 64],
    };
    smp.initial_path[1] = port;
    smp.set_hops(0, 1);
    let to = MadAddress::smi(lid);
    world.fabric.send_mad(world.now, from.0, from.1, to, &smp.to_bytes()).expect("sent");
    world.drain();
    let got = world.mads.pop_front()?;
    let Ok(Smp::Directed(answer)) = Smp::parse(&got.mad) else { panic!("a directed answer") };
    assert_eq!(got.agent, from.1);
    assert_eq!((answer.is_return(), answer.status(), answer.hop_pointer()), (true, Status::OK, 0));
    Some(NodeInfo::parse(&answer.data).expect("64 bytes").0)
}

#[test]
fn a_neighbour_of_another_switch_answers() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let from = (world.sm, world.agent);
    let guid = |world: &World, name: &str| world.nodes[name].info.node_guid;
    let mut found = 0;
    for switch in ["sw1", "sw2"] {
        let lid = world.lid(switch);
        for port in 1..=world.nodes[switch].info.num_ports {
            let info = ask_behind(&mut world, from, lid, port);
            let peer = world.peer(switch, port);
            assert_eq!(info.map(|info| info.node_guid), peer.clone().map(|(name, _)| guid(&world, &name)));
            assert_eq!(info.map(|info| info.local_port), peer.map(|(_, port)| port));
            found += usize::from(info.is_some());
        }
    }
    assert!(found >= 6, "four hosts, and each switch behind the other");
}

#[test]
fn a_neighbour_of_the_own_switch_answers() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let port = world.fabric.end_port("sw2", PortNum(0)).expect("a switch");
    let agent = world.fabric.register_agent(port, AgentSpec::client(MgmtClass::SUBN_DIRECTED)).expect("free");
    let own = world.lid("sw2");
    let mut found = 0;
    for num in 1..=world.nodes["sw2"].info.num_ports {
        let info = ask_behind(&mut world, (port, agent), own, num);
        let peer = world.peer("sw2", num);
        assert_eq!(info.map(|info| info.local_port), peer.map(|(_, port)| port));
        found += usize::from(info.is_some());
    }
    assert!(found >= 3);
    let other = world.lid("sw1");
    assert!(ask_behind(&mut world, (port, agent), other, 1).is_some());
}

#[test]
fn a_channel_adapter_starts_no_directed_route_that_comes_back_by_lid() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let from = (world.sm, world.agent);
    let own = world.lid("h1");
    assert!(ask_behind(&mut world, from, own, 1).is_none());
    assert_eq!(world.drops("h1", 1)["smp_bad_hop"], 1, "no switch, so the way back ends nowhere");
}
