//! A fabric and drivers that mean it no good.

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use rustix::net::SendFlags;

use super::{
    Hello, VERSION, Wanted,
    hello::{Greeting, MAX_MESSAGE, ToFabric, emit, read},
    hostile::{self, Evil, Honest, Scene},
};
use crate::{
    control::schema::{Noun, Shown},
    os::local::Packets,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_hostile_driver_harms_itself_alone(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile::driver(&bytes);
    }

    #[test]
    fn a_hostile_fabric_is_found_out(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        hostile::fabric(&bytes);
    }
}

/// Else the others would wait for as long as somebody goes on with it.
#[test]
fn what_makes_no_sense_takes_its_turn_as_all_else() {
    let mut scene = Scene::new();
    let mut evil = Evil::attach(&mut scene, None);
    for _ in 0..1000 {
        assert!(evil.rings.writer.write(&[b"\xff\xff"]).unwrap());
    }
    scene.turn(1);
    assert!((1..200).contains(&bad_records(&scene)), "{}", bad_records(&scene));
    scene.turn(20);
    assert_eq!(bad_records(&scene), 1000);

    for interfaces in 1..=64 {
        evil.packets.send(&emit(&ToFabric::Up { interfaces }), &[]).unwrap();
    }
    scene.turn(1);
    assert!(scene.attach.up() < 64);
    scene.turn(10);
    assert_eq!(scene.attach.up(), 64);
}

/// It writes, rings and speaks while it has the port, while it loses it, and after that.
#[test]
fn a_driver_that_never_pauses_makes_nobody_wait() {
    let mut scene = Scene::new();
    let (mut one, mut other) = (Honest::attach(&mut scene, "h1"), Honest::attach(&mut scene, "h3"));
    let mut evil = Evil::attach(&mut scene, None);
    let token = evil.token;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..100 {
                    let _ = evil.rings.writer.write(&[b"\xff\xff"]);
                }
                let _ = rustix::net::send(evil.bell.as_ref().unwrap(), &[1; 4096], flags);
                let _ = evil.packets.send(&emit(&ToFabric::Up { interfaces: 1 }), &[]);
            }
        });
        let mut number = 0;
        // How much of the processor it has meanwhile is the machine's affair.
        while number < 200 || bad_records(&scene) <= 1000 && number < 100_000 {
            one.talk(&mut other, &mut scene, number);
            number += 1;
        }
        let packets = Packets::connect(&scene.path).unwrap();
        packets.send(&emit(&hello("h2", Some(token), true)), &[]).unwrap();
        scene.turn(4);
        assert!(!packets.is_over());
        (number..number + 100).for_each(|number| one.talk(&mut other, &mut scene, number));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(bad_records(&scene) > 1000, "{}", bad_records(&scene));
}

/// Those of h2.
fn bad_records(scene: &Scene) -> u64 {
    count(scene, "driver_bad_record")
}

/// One of h2's counters.
fn count(scene: &Scene, name: &str) -> u64 {
    let Shown::Counters(rows) = scene.attach.rows(Noun::Counters, &[], &[]) else {
        panic!("counters are counters")
    };
    let row = rows.iter().find(|row| row.node == "h2").expect("it had a driver");
    row.drops.get(name).or_else(|| row.counters.get(name)).copied().unwrap_or_default()
}

/// Its ring is never drained in time, but it reads.
#[test]
fn a_driver_that_is_slow_is_waited_for_again() {
    let mut scene = Scene::new();
    let [mut one, mut slow] = ["h1", "h2"].map(|node| Honest::attach(&mut scene, node));
    let long = [&b"\x08\0\0\0"[..], &[7; 2000]].concat();
    for times in 1..20 {
        while count(&scene, "waited_for_driver") < times {
            one.send(&slow, &mut scene, &long);
        }
        // A quarter of its ring, and what else has come since.
        slow.hear(40);
        scene.wait(Duration::from_millis(11));
        scene.turn(3);
    }
    assert_eq!(count(&scene, "driver_ring_full"), 0);
    assert!(slow.has_heard(&long));
}

/// By who sends to it, that is, and by nobody else.
#[test]
fn a_driver_that_has_no_turn_is_waited_for_but_not_for_ever() {
    let mut scene = Scene::new();
    let [mut one, mut late, mut other] = ["h1", "h2", "h3"].map(|node| Honest::attach(&mut scene, node));
    let long = [&b"\x08\0\0\0"[..], &[7; 2000]].concat();
    let waited = |scene: &Scene| count(scene, "waited_for_driver");
    let lost = |scene: &Scene| count(scene, "driver_ring_full");
    let send_until_held = |one: &mut Honest, late: &Honest, scene: &mut Scene| {
        let before = waited(scene);
        let sent = (0..1000).take_while(|_| {
            one.send(late, scene, &long);
            waited(scene) == before
        });
        assert!((50..500).contains(&sent.count()));
    };

    send_until_held(&mut one, &late, &mut scene);
    other.talk(&mut one, &mut scene, 1);
    one.send(&other, &mut scene, b"\x08\0\0\0held");
    assert!(!other.has_heard(b"\x08\0\0\0held"));
    assert!(late.has_heard(&long));
    scene.turn(3);
    assert!(other.has_heard(b"\x08\0\0\0held"), "there is room again");

    // It does not come back.
    send_until_held(&mut one, &late, &mut scene);
    one.send(&other, &mut scene, b"\x08\0\0\0held for long");
    scene.wait(Duration::from_millis(9));
    assert!(!other.has_heard(b"\x08\0\0\0held for long"));
    assert_eq!(lost(&scene), 0);
    scene.wait(Duration::from_millis(2));
    scene.turn(3);
    assert!(other.has_heard(b"\x08\0\0\0held for long"));
    for number in 2..200 {
        one.send(&late, &mut scene, &long);
        one.talk(&mut other, &mut scene, number);
    }
    assert_eq!(waited(&scene), 2);
    assert!((100..200).contains(&lost(&scene)), "{}", lost(&scene));

    // It does, and is trusted anew.
    assert!(late.has_heard(&long));
    send_until_held(&mut one, &late, &mut scene);
    drop(late);
    scene.turn(3);
    one.talk(&mut other, &mut scene, 200);
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_read() {
    let mut scene = Scene::new();
    let evil = Evil::attach(&mut scene, None);
    let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let say = |id| evil.packets.send(&emit(&ToFabric::Shown { id }), &[file.as_fd()]).unwrap();
    say(7);
    scene.turn(2);
    assert_eq!(scene.answers, 0);
    scene.attach.ask(7, Noun::Hosts);
    say(7);
    say(7);
    scene.turn(2);
    assert_eq!(scene.answers, 1);
}

#[test]
fn nonsense_before_the_hello_is_the_end_of_a_connection() {
    let mut scene = Scene::new();
    for nonsense in [&b""[..], b"\0\0\0", b"{}", b"[1,2", &[b'['; 60_000]] {
        let packets = Packets::connect(&scene.path).unwrap();
        packets.send(nonsense, &[]).unwrap();
        scene.turn(3);
        assert!(packets.is_over(), "{:?}", nonsense.len());
    }
    let packets = Packets::connect(&scene.path).unwrap();
    packets.send(&emit(&hello("h3", None, false)), &[]).unwrap();
    scene.turn(3);
    assert!(!packets.is_over());
}

#[test]
fn a_port_has_one_driver_and_its_token_keeps_the_queue_pair() {
    let mut scene = Scene::new();
    let mut held = Vec::new();
    let mut say = |hello: &Hello| {
        let packets = Packets::connect(&scene.path).unwrap();
        packets.send(&emit(hello), &[]).unwrap();
        scene.turn(4);
        let (mut space, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let len = packets.receive_with(&mut space, &mut fds).unwrap().expect("an answer");
        let greeting: Greeting = read(&space[..len]).unwrap();
        held.extend(fds);
        (packets, greeting)
    };
    let (first, Greeting::Welcome { token, qpns }) = say(&hello("h1", None, false)) else { panic!() };
    let (_, Greeting::Refused { why, .. }) = say(&hello("h1", Some(token), false)) else { panic!() };
    assert!(why.contains("process 7") && why.contains("--takeover"), "{why}");
    let (_, Greeting::Refused { why, .. }) = say(&hello("h1", None, true)) else { panic!() };
    assert!(why.contains("--state"), "{why}");
    let (second, Greeting::Welcome { qpns: kept, .. }) = say(&hello("h1", Some(token), true)) else {
        panic!()
    };
    assert_eq!(kept, qpns);
    let mut space = [0; 1000];
    let len = first.receive(&mut space).unwrap().expect("told to leave");
    assert!(String::from_utf8_lossy(&space[..len]).contains("took the port over"));
    drop(second);
    // Somebody else may have the port now, but is somebody else.
    let (_, Greeting::Welcome { qpns: other, .. }) = say(&hello("h1", None, false)) else { panic!() };
    assert_ne!(other, qpns);
    let old = Hello { version: VERSION + 1, ..hello("h1", Some(token), true) };
    let (_, Greeting::Refused { why, .. }) = say(&old) else { panic!() };
    assert!(why.contains("one release"), "{why}");
}

fn hello(node: &str, token: Option<super::Token>, takeover: bool) -> Hello {
    let interfaces = vec![Wanted { name: "ib0".to_owned(), qpn: None }];
    Hello { version: VERSION, node: node.to_owned(), port: 1, pid: 7, token, takeover, interfaces }
}
