//! Two fabrics joined by the bytes of a link alone, in virtual time: one subnet under one manager.

use std::{collections::VecDeque, time::Duration};

use ib_fabric::{Drop, LinkId, OutsideConfig, OutsideView, topology};
use ib_lab::{InterfaceId, LabConfig, Simulation};
use ib_wire::{addr::PortNum, payload::Payload};

/// Where the cable is, at both ends.
const PORT: PortNum = PortNum(7);
/// How often the two look at each other.
const STEP: Duration = Duration::from_micros(200);

struct Side {
    simulation: Simulation,
    link: LinkId,
    /// Bytes on the way to it.
    coming: VecDeque<Vec<u8>>,
}

impl Side {
    /// A star that is fabric `number` of those that are joined.
    fn new(hosts: usize, number: u8, managed: bool) -> Self {
        let mut topology = topology::generate(&format!("star:{hosts}")).unwrap();
        topology.set_fabric_number(number);
        let mut config = LabConfig::new(topology);
        if !managed {
            config.managers.clear();
        }
        let mut simulation = Simulation::new(config).unwrap();
        let link = simulation.with_lab(|lab, now| {
            lab.with_fabric(now, |fabric| {
                let switch = fabric.node("sw1").unwrap();
                fabric.bind(now, switch, PORT, OutsideConfig::default()).unwrap()
            })
        });
        Self { simulation, link, coming: VecDeque::new() }
    }

    fn view(&self) -> OutsideView {
        self.simulation.lab().fabric().outside(self.link).expect("it is bound")
    }

    /// What has left, as bytes, one datagram each.
    fn leaving(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while let Some((link, packet)) = self.simulation.poll_leaving() {
            assert_eq!(link, self.link);
            let mut bytes = Vec::new();
            let len = packet.emit_all(&mut bytes).unwrap();
            datagrams.extend(bytes.chunks(len).map(<[u8]>::to_vec));
        }
        datagrams
    }

    fn take_in(&mut self) {
        let link = self.link;
        for bytes in std::mem::take(&mut self.coming) {
            self.simulation.with_lab(|lab, now| {
                lab.with_fabric(now, |fabric| fabric.handle_outside(now, link, Payload::from(&bytes[..])));
            });
        }
    }

    fn all_up(&self) -> bool {
        self.simulation.up() == self.simulation.lab().interfaces().len()
    }

    fn state(&self) -> String {
        let shown = self.simulation.lab().fabric().snapshot();
        let switch = shown.nodes.iter().find(|node| node.name == "sw1").unwrap();
        let port = switch.ports.iter().find(|port| port.port == PORT.0).unwrap();
        format!("{} {}", port.physical_state, port.state)
    }
}

/// Lets time pass for both; what one sends the other has a moment later, unless the `cut` says no.
fn pass(a: &mut Side, b: &mut Side, time: Duration, cut: bool) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(STEP);
        carry(a, b, step, cut);
        carry(b, a, step, cut);
        left -= step;
    }
}

fn carry(from: &mut Side, to: &mut Side, step: Duration, cut: bool) {
    from.simulation.run_for(step);
    let sent = from.leaving();
    if !cut {
        to.coming.extend(sent);
    }
    to.take_in();
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn two_fabrics_are_one_subnet_under_one_manager() {
    let (mut a, mut b) = (Side::new(1, 1, true), Side::new(3, 2, false));
    pass(&mut a, &mut b, seconds(3), false);
    assert!(a.all_up() && b.all_up());
    assert_eq!((a.state(), b.state()), ("LinkUp Active".into(), "LinkUp Active".into()));
    let guid = b.simulation.lab().fabric().snapshot().nodes[0].guid.clone();
    assert_eq!(a.view().neighbor.unwrap().node_guid.to_string(), guid);
    assert_eq!(a.view().neighbor.unwrap().local_port, PORT);
    let sm = a.simulation.lab().managers()[0].sm.as_ref().unwrap().snapshot();
    assert_eq!(sm.nodes.len(), 6, "{sm:#?}");

    // The third host of `b`; `a` has one alone.
    a.simulation.ping(InterfaceId(0), InterfaceId(2));
    pass(&mut a, &mut b, seconds(1), false);
    assert_eq!(a.simulation.host(InterfaceId(0)).unwrap().replies, 1);
    assert_eq!(b.simulation.host(InterfaceId(2)).unwrap().answered, 1);
    for side in [&a, &b] {
        let fabric = side.simulation.lab().fabric();
        assert_eq!(fabric.dropped(Drop::SmpUnclaimed) + fabric.dropped(Drop::BadVcrc), 0);
    }
}

#[test]
fn a_link_that_carries_nothing_stays_up_and_one_without_a_word_goes_down() {
    let (mut a, mut b) = (Side::new(1, 1, true), Side::new(1, 2, false));
    pass(&mut a, &mut b, seconds(60), false);
    let asked = a.view().asked + b.view().asked;
    assert!((50..130).contains(&asked), "about once a second: {asked}");
    let sweeps =
        |side: &Side| side.simulation.lab().managers()[0].sm.as_ref().unwrap().snapshot().sweeps.full;
    let before = sweeps(&a);
    assert!(a.view().up && b.view().up);

    pass(&mut a, &mut b, seconds(4), true);
    assert!(a.view().up && b.view().up, "not yet");
    pass(&mut a, &mut b, seconds(2), true);
    assert_eq!((a.state(), b.state()), ("Polling Down".into(), "Polling Down".into()));
    assert!(a.all_up() && b.all_up(), "what is set up goes on working");

    pass(&mut a, &mut b, seconds(4), false);
    assert_eq!((a.state(), b.state()), ("LinkUp Active".into(), "LinkUp Active".into()));
    assert!(a.all_up() && b.all_up());
    println!("{} full sweeps more", sweeps(&a) - before);
}

#[test]
fn a_neighbor_that_begins_anew_within_the_idle_time_is_noticed() {
    let (mut a, mut b) = (Side::new(1, 1, true), Side::new(1, 2, false));
    pass(&mut a, &mut b, seconds(3), false);
    let mut b = Side::new(1, 2, false);
    assert_eq!(a.state(), "LinkUp Active");
    pass(&mut a, &mut b, Duration::from_millis(1), false);
    assert_ne!(a.state(), "LinkUp Active", "it was told at once");
    pass(&mut a, &mut b, seconds(3), false);
    assert_eq!((a.state(), b.state()), ("LinkUp Active".into(), "LinkUp Active".into()));
    assert!(a.all_up() && b.all_up());
}

#[test]
fn an_end_that_was_unplugged_for_a_moment_is_noticed_at_the_other() {
    let (mut a, mut b) = (Side::new(1, 1, true), Side::new(1, 2, false));
    pass(&mut a, &mut b, seconds(3), false);
    let link = b.link;
    for down in [true, false] {
        b.simulation.with_lab(|lab, now| {
            lab.with_fabric(now, |fabric| {
                let fault = ib_fabric::LinkFault { down, ..fabric.link_fault(link) };
                fabric.set_link_fault(now, link, fault);
            });
        });
    }
    pass(&mut a, &mut b, seconds(3), false);
    let log: Vec<_> = a.simulation.log().filter(|line| line.contains("outside down")).collect();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(a.all_up() && b.all_up());
}

#[test]
fn two_fabrics_with_the_same_guids_are_told_apart_in_words() {
    let (mut a, mut b) = (Side::new(2, 0, true), Side::new(3, 0, false));
    pass(&mut a, &mut b, seconds(30), false);
    assert!(a.all_up(), "what was there first goes on");
    let log: Vec<_> = a.simulation.log().filter(|line| line.contains("DuplicateGuid")).collect();
    assert!((1..20).contains(&log.len()), "{log:#?}");
    assert!(log[0].contains("PortNum(7)"), "{log:#?}");
    assert_eq!(a.view().neighbor.unwrap().node_guid, b.view().neighbor.unwrap().node_guid);
    a.simulation.ping(InterfaceId(0), InterfaceId(1));
    pass(&mut a, &mut b, seconds(1), false);
    assert_eq!(a.simulation.host(InterfaceId(0)).unwrap().replies, 1);
}
