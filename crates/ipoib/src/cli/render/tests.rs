//! What people see.

use serde_json::json;

use super::*;
use crate::control::schema::{
    CounterRow, GroupRow, HostRow, LinkFaults, LinkRow, MemberRow, NeighborRow, PathRow, RouteRow, Shown,
    SmRow,
};

fn show(shown: &Shown, noun: Noun) -> String {
    table(noun, &shown.document(), false).unwrap()
}

fn host() -> HostRow {
    HostRow {
        name: "h1".into(),
        interface: "ib0".into(),
        state: "up".into(),
        address: "80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01".into(),
        mac: "02:00:48:00:00:01".into(),
        lid: 3,
        guid: "0002:c903:0000:0001".into(),
        ipv4: vec!["10.77.0.1/24".into()],
        ipv6: vec!["fd77::1/64".into(), "fe80::2:c903:0:1/64".into()],
        ..HostRow::default()
    }
}

#[test]
fn hosts_show_both_of_their_addresses() {
    let down = HostRow {
        name: "h2".into(),
        state: "down".into(),
        reason: Some("waits for the broadcast group".into()),
        lid: 0,
        ..host()
    };
    let text = show(&Shown::Hosts(vec![host(), down]), Noun::Hosts);
    assert!(text.contains("80:00:00:48:fe:80:00:00:00:00:00:00:"), "{text}");
    assert!(text.contains("00:02:c9:03:00:00:00:01"), "{text}");
}

/// One full row of every noun.
fn all() -> Vec<(Noun, Shown)> {
    let link = LinkRow {
        a: "sw1:36".into(),
        b: "leaf12:36".into(),
        state: "active".into(),
        width: "4x".into(),
        speed: "EDR".into(),
        mtu: 4096,
        faults: LinkFaults {
            down: true,
            loss: Some("0.125%".into()),
            delay: Some("5ms".into()),
            ..LinkFaults::default()
        },
        udp: None,
        packets_from_a: 123_456_789_012,
        packets_from_b: 123_456_789_012,
        errors_at_a: 1,
        errors_at_b: 2,
    };
    let neighbor = NeighborRow {
        host: "h100".into(),
        interface: "ib0.8001".into(),
        peer: Some("h2".into()),
        ip: vec!["10.77.0.2".into(), "fe80::2:c903:0:2".into()],
        mac: "02:00:48:00:00:02".into(),
        qpn: "0x000048".into(),
        gid: "fe80::2:c903:0:2".into(),
        lid: 49151,
        state: "resolving".into(),
        packets: 1_234_567_890,
    };
    let path = PathRow {
        host: "h100".into(),
        interface: "ib0.8001".into(),
        peer: Some("h2".into()),
        gid: "fe80::2:c903:0:2".into(),
        state: "ready".into(),
        lid: 4,
        sl: 0,
        mtu: 2048,
        rate: "100".into(),
        neighbors: 1,
    };
    let member = |port: &str, join: &str| MemberRow { port: port.into(), join: join.into() };
    let group = GroupRow {
        mgid: "ff12:401b:ffff::ffff:ffff".into(),
        ip: Some("broadcast".into()),
        mlid: "0xc000".into(),
        pkey: "0xffff".into(),
        qkey: "0x00000b1b".into(),
        mtu: 2048,
        rate: "10".into(),
        sl: 0,
        members: vec![member("h1", "full"), member("h2", "send-only")],
    };
    let route =
        RouteRow { switch: "sw1".into(), lid: 0xc001, ports: vec![1, 2, 36], to: Some("ff12::1".into()) };
    let counter = CounterRow {
        node: "h1".into(),
        part: "ib0".into(),
        counters: [("rx_packets".to_owned(), 7), ("tx_packets".to_owned(), 0)].into(),
        drops: [("no-path".to_owned(), 3), ("own-echo".to_owned(), 0)].into(),
    };
    let sm = SmRow {
        node: "sw1".into(),
        guid: "0002:c903:0000:0001".into(),
        lid: 1,
        kind: "embedded".into(),
        role: "discovering".into(),
        priority: Some(15),
        answers: Some("slow 5s".into()),
        sweeps: Some(12),
        last_sweep_us: Some(1234),
        last_sweep_mads: Some(123_456),
        mads_sent: Some(1_234_567),
        mads_received: Some(1_234_567),
        mads_timed_out: Some(4),
        lids: Some(10_000),
        nodes: Some(10_000),
        links: Some(6),
        groups: Some(100),
    };
    vec![
        (Noun::Hosts, Shown::Hosts(vec![host()])),
        (Noun::Links, Shown::Links(vec![link])),
        (Noun::Neighbors, Shown::Neighbors(vec![neighbor])),
        (Noun::Paths, Shown::Paths(vec![path])),
        (Noun::Groups, Shown::Groups(vec![group])),
        (Noun::Routes, Shown::Routes(vec![route])),
        (Noun::Counters, Shown::Counters(vec![counter])),
        (Noun::Sm, Shown::Sm(vec![sm])),
    ]
}

#[test]
fn every_table_fits_a_hundred_columns_without_broken_words() {
    for (noun, shown) in all() {
        let text = show(&shown, noun);
        println!("{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(usize::from(WIDTH)), "{noun}: {widest:?}\n{text}");
    }
}

#[test]
fn counters_that_are_zero_show_only_when_asked_for() {
    let (noun, shown) = all().swap_remove(6);
    let text = show(&shown, noun);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("drop: no-path"), "{text}");
    let everything = table(noun, &shown.document(), true).unwrap();
    assert_eq!(everything.lines().count(), 5, "{everything}");
}

#[test]
fn a_lab_of_another_version_is_shown_as_far_as_it_goes() {
    for noun in Noun::ALL {
        let document =
            json!({ "schema": 9, noun.name(): [{ "name": 7, "node": "x\u{1b}[31m", "faults": 3 }, 4] });
        let text = table(noun, &document, true).unwrap_or_default();
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(table(noun, &json!({}), true), None);
    }
}

#[test]
fn labs_show_how_long_they_are_up() {
    let info = json!({ "name": "lab", "pid": 7, "state": "up", "hosts": 4, "switches": 2, "links": 6, "uptime_seconds": 3700 });
    let text = labs(&json!({ "schema": 1, "labs": [info, { "name": "b", "state": "silent" }] })).unwrap();
    let expected = "\
LAB  STATE   HOSTS  SWITCHES  LINKS    UP  PROCESS
lab  up          4         2      6  1h1m        7
b    silent      -         -      -     -        -
";
    assert_eq!(text, expected);
    assert_eq!(labs(&json!({ "labs": [] })), None);
}
