//! Partitions, queue keys, management keys.

use ib_fabric::{Drop, QpError};
use ib_wire::{
    addr::{Lid, MKey, PKey, QKey, Qpn, Rate, ServiceLevel},
    mad::{
        AttributeId, Method, Status,
        attr::{BadKeyDetails, BadMKeyDetails, PortInfo, TrapNumber},
    },
    ud::{AddressVector, PortEvent, QpCommand},
};

use crate::world::{Datagram, QKEY, World};

const FULL: u16 = 0xffff;

#[test]
fn limited_members_do_not_hear_each_other() {
    let mut world = World::star();
    world.set_pkeys("h1", 0, &[FULL, 0x0001]);
    world.set_pkeys("h2", 0, &[FULL, 0x0001]);
    world.set_pkeys("h3", 0, &[FULL, 0x8001]);
    let [a, b, c] = ["h1", "h2", "h3"].map(|host| world.qp(host, 0x8001));
    world.post(("h1", a), ("h2", b), b"limited to limited");
    assert!(world.take().is_empty());
    assert_eq!(world.drops("h2", 1)["pkey_mismatch"], 1);
    world.post(("h1", a), ("h3", c), b"limited to full");
    world.post(("h3", c), ("h1", a), b"full to limited");
    assert_eq!(world.take().len(), 2);
    assert_eq!(world.port_info("h2", 1).p_key_violations, 1);
    world.edit_port("h2", 1, |info| info.p_key_violations = 0);
    assert_eq!(world.port_info("h2", 1).p_key_violations, 0);
}

#[test]
fn a_queue_pair_has_a_place_in_the_table_not_a_key() {
    let mut world = World::star();
    world.set_pkeys("h2", 0, &[FULL, 0x8001]);
    world.set_pkeys("h1", 0, &[FULL, 0x8001]);
    let (a, b) = (world.qp("h1", 0x8001), world.qp("h2", 0x8001));
    world.events.clear();
    world.set_pkeys("h2", 0, &[FULL, 0x8002, 0x8001]);
    assert_eq!(world.events, [(world.port("h2"), PortEvent::PKeyChange)]);
    world.set_pkeys("h2", 0, &[FULL, 0x8002, 0x8001]);
    assert_eq!(world.events.len(), 1, "nothing changed");
    world.post(("h1", a), ("h2", b), b"moved");
    assert_eq!(world.dropped(Drop::PKeyMismatch), 1);
    let keys = QpCommand::SetKeys { pkey: PKey(0x8001), qkey: QKEY };
    world.fabric.command_qp(world.port("h2"), b, keys).expect("it is in the table");
    world.post(("h1", a), ("h2", b), b"found again");
    assert_eq!(world.take().len(), 1);
    world.set_pkeys("h2", 0, &[FULL]);
    world.post(("h2", b), ("h1", a), b"without a key");
    assert_eq!(world.drops("h2", 1)["no_pkey"], 1);
    let gone = QpCommand::SetKeys { pkey: PKey(0x8005), qkey: QKey(1) };
    assert_eq!(world.fabric.command_qp(world.port("h2"), b, gone), Err(QpError::NoPKey(PKey(0x8005))));
}

#[test]
fn a_wrong_q_key_is_counted_and_told() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    let mut send = |qkey| {
        let to = AddressVector {
            dlid: world.lid("h2"),
            sl: ServiceLevel::default(),
            rate: Rate::GBPS_10,
            global: None,
        };
        let mut send = to.datagram(b, b"x");
        send.qkey = QKey(qkey);
        world.post_raw(("h1", a), send);
        world.take().len()
    };
    assert_eq!(send(0xb1b), 1);
    assert_eq!(send(0x8000_0000), 1, "a controlled key means the queue pair's own");
    assert_eq!(send(0x123), 0);
    assert_eq!(send(0x123), 0);
    assert_eq!(world.drops("h2", 1)["qkey_mismatch"], 2);
    assert_eq!(world.port_info("h2", 1).q_key_violations, 2);
    let traps = world.traps();
    assert_eq!(traps.len(), 1, "the same violation is told once until repressed");
    let (from, _, notice) = traps[0];
    assert_eq!((from.lid, notice.trap), (world.lid("h2"), TrapNumber::BAD_Q_KEY));
    let details = BadKeyDetails::from_bytes(&notice.data);
    assert_eq!((details.lid1, details.lid2), (world.lid("h1"), world.lid("h2")));
    assert_eq!((details.key, details.qp1, details.qp2), (0x123, a, b));
}

#[test]
fn a_switch_port_keeps_partitions_apart_in_both_directions() {
    let mut world = World::star();
    for host in ["h1", "h2", "h3"] {
        world.set_pkeys(host, 0, &[FULL, 0x8001]);
    }
    world.set_pkeys("sw1", 2, &[FULL]);
    world.edit_port("sw1", 2, |info| {
        info.partition_enforcement_inbound = true;
        info.partition_enforcement_outbound = true;
    });
    let (a, b) = (world.qp("h1", 0x8001), world.qp("h2", 0x8001));
    world.post(("h1", a), ("h2", b), b"out of the switch");
    world.post(("h2", b), ("h1", a), b"into the switch");
    assert!(world.take().is_empty());
    let drops = world.drops("sw1", 2);
    assert_eq!((drops["pkey_outbound"], drops["pkey_inbound"]), (1, 1));
    let snapshot = world.fabric.snapshot();
    let port = &snapshot.nodes.iter().find(|n| n.name == "sw1").expect("there").ports[2];
    assert_eq!(port.counters["xmit_constraint_errors"], 1);
    assert_eq!(port.counters["rcv_constraint_errors"], 1);
    let traps = world.traps();
    assert_eq!(traps.len(), 2, "two senders");
    assert!(traps.iter().all(|(.., notice)| notice.trap == TrapNumber::SWITCH_BAD_P_KEY));
    world.set_pkeys("sw1", 2, &[FULL, 0x0001]);
    world.post(("h1", a), ("h2", b), b"a limited member lets full ones pass");
    assert_eq!(world.take().len(), 1);
    // As a manager sets it up: the switch port has the key of the limited member behind it.
    world.set_pkeys("h2", 0, &[FULL, 0x0001]);
    let b = world.qp("h2", 0x0001);
    world.post(("h2", b), ("h1", a), b"and what it sends itself");
    assert_eq!(world.take().len(), 1);
}

#[test]
fn an_m_key_locks_a_port_until_its_lease_is_over() {
    let mut world = World::star();
    let lid = world.lid("h2");
    let key = MKey(0xfeed);
    let status = world.edit_port("h2", 1, |info| {
        (info.m_key, info.m_key_protect, info.m_key_lease_period) = (key, 2, 10);
    });
    assert_eq!(status, Status::OK);
    let get = |world: &mut World, key| {
        world.by_lid(lid, key, Method::GET, AttributeId::NODE_INFO, 0, [0; 64]).map(|(status, _)| status)
    };
    assert_eq!(get(&mut world, key), Some(Status::OK));
    assert_eq!(get(&mut world, MKey(1)), None, "refused in silence");
    assert_eq!(world.drops("h2", 1)["smp_m_key"], 1);
    let traps = world.traps();
    assert_eq!(traps.len(), 1);
    assert_eq!(traps[0].2.trap, TrapNumber::BAD_M_KEY);
    let details = BadMKeyDetails::from_bytes(&traps[0].2.data);
    assert_eq!((details.lid, details.m_key, details.method), (world.lid("h1"), MKey(1), Method::GET));

    world.pass(9_000);
    assert_eq!(get(&mut world, key), Some(Status::OK), "which ends the countdown");
    world.pass(9_000);
    assert_eq!(get(&mut world, MKey(1)), None, "it begins again");
    world.pass(10_000);
    assert_eq!(get(&mut world, MKey(1)), Some(Status::OK), "anybody may read now");
    let set = world.by_lid(lid, MKey(1), Method::SET, AttributeId::PORT_INFO, 1, [0; 64]);
    assert_eq!(set, None, "but not write");
}

#[test]
fn a_hidden_m_key_is_shown_to_nobody_else() {
    let mut world = World::star();
    let lid = world.lid("h2");
    world.edit_port("h2", 1, |info| (info.m_key, info.m_key_protect) = (MKey(5), 1));
    let mut shown = |key| {
        let answer = world.by_lid(lid, key, Method::GET, AttributeId::PORT_INFO, 1, [0; 64]);
        PortInfo::from_bytes(&answer.expect("readable").1).m_key
    };
    assert_eq!(shown(MKey(5)), MKey(5));
    assert_eq!(shown(MKey(0)), MKey(0));
}

#[test]
fn qp1_wants_its_own_key() {
    let mut world = World::star();
    let a = world.qp("h1", FULL);
    let to = AddressVector {
        dlid: world.lid("h2"),
        sl: ServiceLevel::default(),
        rate: Rate::GBPS_10,
        global: None,
    };
    world.post_raw(("h1", a), to.datagram(Qpn::GSI, &[0; 256]));
    world.post_raw(("h1", a), to.datagram(Qpn::SMI, &[0; 256]));
    let drops = world.drops("h2", 1);
    assert_eq!((drops["qkey_mismatch"], drops["qp0_lane"]), (1, 1));
    assert_eq!(to.dlid, Lid(3));
}
