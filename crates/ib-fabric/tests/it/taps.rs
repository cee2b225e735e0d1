//! Captures and snapshots.

use ib_fabric::{Output, TapFilter, topology};
use ib_wire::{addr::PortNum, packet::Packet};

use crate::world::World;

const FULL: u16 = 0xffff;

#[test]
fn a_tap_sees_a_packet_once_for_each_link_that_matches() {
    let mut world = World::up(&topology::generate("pair").expect("a generator"));
    let (a, b) = (world.qp("h1", FULL), world.qp("h4", FULL));
    let link = world.fabric.link("h1", PortNum(1)).expect("cabled");
    let node = world.node("sw2");
    let all = world.fabric.add_tap(TapFilter::All);
    let one = world.fabric.add_tap(TapFilter::Link(link));
    let sw2 = world.fabric.add_tap(TapFilter::Node(node));
    world.post(("h1", a), ("h4", b), b"hello");
    let seen = |tap| {
        let is_tap = move |output: &&Output| matches!(output, Output::Tapped { tap: t, .. } if *t == tap);
        world.tapped.iter().filter(is_tap).count()
    };
    assert_eq!((seen(all), seen(one), seen(sw2)), (3, 1, 2));
    let Output::Tapped { packet, from_a, .. } = &world.tapped[0] else { panic!("only taps") };
    assert!(!from_a, "switches come first in a topology");
    let mut bytes = Vec::new();
    packet.emit(&mut bytes);
    let read = Packet::parse(&bytes).expect("as on the link");
    assert_eq!((&read.payload[..], read.bth.dest_qp), (&b"hello"[..], b));

    for tap in [all, one, sw2] {
        world.fabric.remove_tap(tap);
    }
    world.tapped.clear();
    world.post(("h1", a), ("h4", b), b"unseen");
    assert!(world.tapped.is_empty());
}

#[test]
fn a_snapshot_shows_what_there_is() {
    let mut world = World::star();
    let qpn = world.qp("h2", FULL);
    world.attach("h2", qpn, 1);
    let snapshot = world.fabric.snapshot();
    let json = serde_json::to_value(&snapshot).expect("plain data");
    let node = |name: &str| {
        let nodes = json["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["name"] == name).expect("there").clone()
    };
    assert_eq!(node("sw1")["switch"]["linear"]["1"], 1);
    assert_eq!(node("sw1")["switch"]["multicast"]["0xc001"], serde_json::json!([1, 2, 3]));
    let port = &node("h2")["ports"][0];
    assert_eq!((&port["state"], &port["lid"]), (&"Active".into(), &3.into()));
    assert_eq!(port["queue_pairs"][0]["groups"][0]["mlid"], "0xc001");
    assert_eq!(json["links"][0]["a"], "sw1:1");
    assert_eq!(json["links"].as_array().map(Vec::len), Some(3));
}
