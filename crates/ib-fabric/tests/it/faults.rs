//! Links that lose, delay, corrupt; nodes that go.

use core::time::Duration;

use ib_fabric::{
    Drop, FabricConfig, LinkFault,
    topology::{Mishap, Probability},
};
use ib_wire::{
    addr::{PortNum, Qpn, Rate, ServiceLevel},
    mad::attr::{PhysicalState, PortState},
    offload::{Checksum, Offload, SegmentKind, Segments},
    ud::{AddressVector, PortEvent, UdSend},
};

use crate::world::{Datagram, World, star};

const FULL: u16 = 0xffff;

fn fault(world: &mut World, host: &str, fault: LinkFault) {
    let link = world.fabric.link(host, PortNum(1)).expect("cabled");
    world.fabric.set_link_fault(world.now, link, fault);
    assert_eq!(world.fabric.link_fault(link), fault);
    world.drain();
}

#[test]
fn a_lost_link_takes_both_ends_down_and_comes_back_as_new() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault { down: true, ..LinkFault::NONE });
    assert_eq!(world.events, [(world.port("h2"), PortEvent::Down)]);
    assert_eq!(world.port_info("sw1", 2).state, PortState::DOWN);
    world.post(("h1", a), ("h2", b), b"x");
    assert_eq!(world.drops("sw1", 2)["port_not_sending"], 1);
    world.post(("h2", b), ("h1", a), b"x");
    assert_eq!(world.drops("h2", 1)["port_not_sending"], 1);

    fault(&mut world, "h2", LinkFault::NONE);
    assert_eq!(world.port_info("sw1", 2).state, PortState::INITIALIZE);
    world.events.clear();
    world.sweep_states_of("h2", "sw1", 2);
    assert_eq!(world.events, [(world.port("h2"), PortEvent::Active)]);
    world.post(("h1", a), ("h2", b), b"x");
    assert_eq!(world.take().len(), 1);
    let snapshot = world.fabric.snapshot();
    let sw1 = snapshot.nodes.iter().find(|node| node.name == "sw1").expect("there");
    assert_eq!(sw1.ports[2].counters["link_downed"], 1);
}

impl World {
    /// Arms and activates both ends of a host's link.
    fn sweep_states_of(&mut self, host: &str, switch: &str, port: u8) {
        for state in [PortState::ARMED, PortState::ACTIVE] {
            self.edit_port(switch, port, |info| info.state = state);
            self.edit_port(host, 1, |info| info.state = state);
        }
    }
}

#[test]
fn a_port_disabled_by_an_sm_stays_down_until_it_is_enabled() {
    let mut world = World::star();
    world.edit_port("sw1", 2, |info| info.physical_state = PhysicalState::DISABLED);
    let info = world.port_info("sw1", 2);
    assert_eq!((info.state, info.physical_state), (PortState::DOWN, PhysicalState::DISABLED));
    let view = world.fabric.port_view(world.port("h2"));
    assert_eq!((view.state, view.physical_state, view.rate), (PortState::DOWN, PhysicalState::POLLING, None));
    world.edit_port("sw1", 2, |info| info.state = PortState::DOWN);
    assert_eq!(world.port_info("sw1", 2).physical_state, PhysicalState::DISABLED);
    world.edit_port("sw1", 2, |info| info.physical_state = PhysicalState::POLLING);
    assert_eq!(world.port_info("sw1", 2).state, PortState::INITIALIZE);
    let view = world.fabric.port_view(world.port("h2"));
    assert_eq!((view.state, view.physical_state), (PortState::INITIALIZE, PhysicalState::LINK_UP));
}

#[test]
fn training_takes_the_time_it_is_given() {
    let config = FabricConfig { training: Duration::from_secs(2), ..FabricConfig::default() };
    let mut world = World::raw(&star(), config);
    let state = |world: &World| world.fabric.port_view(world.sm).state;
    assert_eq!(state(&world), PortState::DOWN);
    world.pass(1_999);
    assert_eq!(state(&world), PortState::DOWN);
    world.pass(1);
    assert_eq!(state(&world), PortState::INITIALIZE);
    fault(&mut world, "h1", LinkFault { down: true, ..LinkFault::NONE });
    fault(&mut world, "h1", LinkFault::NONE);
    world.pass(1_000);
    fault(&mut world, "h1", LinkFault { down: true, ..LinkFault::NONE });
    fault(&mut world, "h1", LinkFault::NONE);
    world.pass(1_500);
    assert_eq!(state(&world), PortState::DOWN, "the second unplugging began anew");
    world.pass(500);
    assert_eq!(state(&world), PortState::INITIALIZE);
}

#[test]
fn a_switch_without_power_forgets_what_it_was_told() {
    let mut world = World::star();
    let sw1 = world.node("sw1");
    world.fabric.set_node_power(world.now, sw1, false);
    world.drain();
    let downs: Vec<_> = world.events.iter().filter(|(_, event)| *event == PortEvent::Down).collect();
    assert_eq!(downs.len(), 3);
    world.fabric.set_node_power(world.now, sw1, true);
    let snapshot = world.fabric.snapshot();
    let switch = snapshot.nodes.iter().find(|node| node.name == "sw1").expect("there");
    assert!(switch.power && switch.switch.as_ref().expect("a switch").linear.is_empty());
    assert_eq!(switch.ports[0].lid, None);
    assert_eq!((switch.ports[0].state.as_str(), switch.ports[1].state.as_str()), ("Active", "Initialize"));
    world.sweep();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    world.post(("h1", a), ("h2", b), b"again");
    assert_eq!(world.take().len(), 1);
}

#[test]
fn a_delay_is_kept_and_order_with_it() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault { delay: Duration::from_millis(5), ..LinkFault::NONE });
    world.post(("h1", a), ("h2", b), b"1");
    world.pass(1);
    fault(&mut world, "h2", LinkFault::NONE);
    world.post(("h1", a), ("h2", b), b"2");
    world.pass(3);
    assert!(world.take().is_empty());
    world.pass(1);
    let payloads: Vec<Vec<u8>> = world.take().into_iter().map(|(.., payload)| payload).collect();
    assert_eq!(payloads, [b"1", b"2"]);

    fault(&mut world, "h2", LinkFault { delay: Duration::from_millis(5), ..LinkFault::NONE });
    world.post(("h1", a), ("h2", b), b"3");
    fault(&mut world, "h2", LinkFault { down: true, ..LinkFault::NONE });
    world.pass(10);
    assert!(world.take().is_empty());
    assert_eq!(world.drops("h2", 1)["link_down"], 1);
}

#[test]
fn a_slow_link_holds_only_so_many_packets() {
    let mut world = World::raw(&star(), FabricConfig { link_queue: 10, ..FabricConfig::default() });
    world.sweep();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault { rate: Some(1_000_000), ..LinkFault::NONE });
    for n in 0..15 {
        world.post(("h1", a), ("h2", b), &[n; 91]);
    }
    assert_eq!(world.drops("sw1", 2)["link_queue_full"], 5);
    world.pass(9);
    let n = world.take().len();
    assert_eq!(n, 9, "124 bytes at 1 Mb/s are 992 us");
    world.pass(1);
    assert_eq!(world.take().len(), 1);
    assert_eq!(world.fabric.snapshot().link_queue, 10);
}

#[test]
fn loss_takes_about_its_share_and_a_seed_repeats_it() {
    let run = || {
        let mut world = World::star();
        let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
        fault(&mut world, "h2", LinkFault::of(Mishap::Loss, Probability::from_ppb(100_000_000)));
        for n in 0..1_000u16 {
            world.post(("h1", a), ("h2", b), &n.to_be_bytes());
        }
        let lost = world.drops("h2", 1)["link_loss"];
        let got: Vec<Vec<u8>> = world.take().into_iter().map(|(.., payload)| payload).collect();
        assert_eq!(got.len() as u64 + lost, 1_000);
        got
    };
    let first = run();
    assert!((850..950).contains(&first.len()), "{}", first.len());
    assert_eq!(first, run());
}

#[test]
fn a_corrupted_packet_is_never_delivered() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault::of(Mishap::Corrupt, Probability::ALWAYS));
    for _ in 0..200 {
        world.post(("h1", a), ("h2", b), &[7; 100]);
    }
    assert!(world.take().is_empty());
    assert_eq!(world.drops("h2", 1)["bad_vcrc"], 200);
    let snapshot = world.fabric.snapshot();
    let h2 = snapshot.nodes.iter().find(|node| node.name == "h2").expect("there");
    assert_eq!(h2.ports[0].counters["symbol_errors"], 200);
    assert_eq!(h2.ports[0].counters["rcv_errors"], 200);
}

#[test]
fn a_duplicated_packet_comes_out_twice_and_its_twin_is_not_duplicated_again() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    for host in ["h1", "h2"] {
        fault(&mut world, host, LinkFault::of(Mishap::Duplicate, Probability::ALWAYS));
    }
    world.post(("h1", a), ("h2", b), b"x");
    let payloads: Vec<Vec<u8>> = world.take().into_iter().map(|(.., payload)| payload).collect();
    assert_eq!(payloads, [b"x", b"x", b"x"], "two of the first link, of which one is doubled by the second");
}

#[test]
fn a_large_send_is_cut_before_its_packets_are_duplicated() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault::of(Mishap::Duplicate, Probability::ALWAYS));
    send_large(&mut world, a, b);
    assert_eq!(world.received.len(), 6);
    assert!(world.take().iter().all(|(.., payload)| payload.len() == 4 + 40 + 1000));
}

#[test]
fn a_reordered_packet_is_overtaken_by_what_is_sent_within_a_millisecond() {
    let run = |share| {
        let mut world = World::star();
        let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
        fault(&mut world, "h2", LinkFault::of(Mishap::Reorder, share));
        for n in 0..200u8 {
            world.post(("h1", a), ("h2", b), &[n]);
        }
        world.pass(1);
        world.take().into_iter().map(|(.., payload)| payload[0]).collect::<Vec<u8>>()
    };
    let in_order: Vec<u8> = (0..200).collect();
    assert_eq!(run(Probability::ALWAYS), in_order, "those that are late keep their order");
    let got = run(Probability::from_ppb(100_000_000));
    let late: Vec<u8> = got.iter().rev().copied().take_while(|n| *n != 199).collect();
    assert!((5..40).contains(&late.len()), "{late:?}");
    assert_eq!(got, run(Probability::from_ppb(100_000_000)), "a seed repeats it");
    let mut sorted = got;
    sorted.sort_unstable();
    assert_eq!(sorted, in_order, "none is lost");
}

#[test]
fn a_link_that_loses_management_packets_carries_data() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    fault(&mut world, "h2", LinkFault::of(Mishap::MadLoss, Probability::ALWAYS));
    world.post(("h1", a), ("h2", b), b"x");
    assert_eq!(world.take().len(), 1);
    world.post(("h1", a), ("h2", Qpn::GSI), b"x");
    assert_eq!(world.drops("h2", 1)["link_mad_loss"], 1);
}

/// IPoIB header, IPv4, TCP with 3000 bytes.
fn large_send() -> (Vec<u8>, Offload) {
    let mut payload = vec![8, 0, 0, 0];
    let ip_len = 40 + 3000u16;
    payload.extend([0x45, 0]);
    payload.extend(ip_len.to_be_bytes());
    payload.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    payload.extend([0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    payload.extend((0..3000u16).map(|n| n.to_le_bytes()[0]));
    let segments = Segments { kind: SegmentKind::Tcp4, size: 1000, header: 40, ecn: false };
    let checksum = Checksum::Partial { start: 20, offset: 16 };
    (payload, Offload { checksum, segments: Some(segments) })
}

fn send_large(world: &mut World, from: Qpn, to: Qpn) {
    let dlid = world.lid("h2");
    let vector = AddressVector { dlid, sl: ServiceLevel::default(), rate: Rate::GBPS_10, global: None };
    let (payload, offload) = large_send();
    world.post_raw(("h1", from), UdSend { offload, ..vector.datagram(to, &payload) });
}

#[test]
fn a_large_send_stays_whole_until_a_link_looks_at_packets() {
    let mut world = World::star();
    let (a, b) = (world.qp("h1", FULL), world.qp("h2", FULL));
    let (payload, offload) = large_send();
    send_large(&mut world, a, b);
    assert_eq!(world.received[0].2.offload, offload);
    assert_eq!(world.take()[0].2, payload);

    fault(&mut world, "h2", LinkFault { rate: Some(1_000_000_000), ..LinkFault::NONE });
    send_large(&mut world, a, b);
    world.pass(1);
    assert_eq!(world.received.len(), 3);
    assert!(world.received.iter().all(|(.., datagram)| !datagram.offload.is_pending()));
    assert!(world.take().iter().all(|(.., payload)| payload.len() == 4 + 40 + 1000));
    assert_eq!(world.dropped(Drop::BadOffload), 0);
}

#[test]
fn a_large_send_to_a_group_is_no_storm() {
    let mut world = World::star();
    let (a, b, c) = (world.qp("h1", FULL), world.qp("h2", FULL), world.qp("h3", FULL));
    world.attach("h2", b, 1);
    world.attach("h3", c, 1);
    fault(&mut world, "h1", LinkFault { rate: Some(1_000_000_000), ..LinkFault::NONE });
    let (payload, mut offload) = large_send();
    offload.segments = offload.segments.map(|segments| Segments { size: 10, ..segments });
    world.post_group_raw(("h1", a), 1, &payload, offload);
    world.pass(10);
    assert_eq!(world.received.len(), 2 * 300);
    assert_eq!(world.dropped(Drop::MulticastStorm), 0);
}
