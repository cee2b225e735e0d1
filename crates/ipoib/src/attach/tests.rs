//! A fabric and drivers that mean it no good.

use std::{
    env,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use ib_fabric::topology;
use ib_lab::{Lab, LabConfig};
use ib_wire::{payload::Pool, time::Instant};
use proptest::prelude::*;

use super::{
    AttachConfig, Hello, VERSION, Wanted,
    hello::{Greeting, MAX_MESSAGE, emit, read},
    server::{Attach, FIRST_TOKEN, Heard},
};
use crate::os::{local::Packets, poller::Poller};

/// The fabric's side, turned by hand.
struct Fabric {
    path: PathBuf,
    poller: Poller,
    lab: Lab,
    attach: Attach,
    pool: Pool,
}

impl Fabric {
    fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ipoib-attach-{}-{number}", std::process::id()));
        let poller = Poller::new().unwrap();
        let mut config = LabConfig::new(topology::generate("star:3").unwrap());
        config.interfaces = None;
        let lab = Lab::new(config, Instant::ZERO).unwrap();
        let small = AttachConfig { ring: crate::os::ring::MIN_RING, ..AttachConfig::default() };
        let attach = Attach::start(&path, small, &poller).unwrap();
        Self { path, poller, lab, attach, pool: Pool::new(crate::face::BUFFER, 4) }
    }

    /// Does all there is to do, at most `turns` times.
    fn turn(&mut self, turns: usize) {
        for _ in 0..turns {
            let ready: Vec<_> = self.poller.wait(Some(std::time::Duration::ZERO)).unwrap().collect();
            for ready in &ready {
                assert!(ready.token >= FIRST_TOKEN);
                let heard = self.attach.handle(Instant::ZERO, *ready, &mut self.lab, &self.poller);
                let Heard::Ring(id) = heard else { continue };
                for _ in 0..64 {
                    let Self { attach, lab, poller, pool, .. } = self;
                    let Some((client, said)) = attach.read(Instant::ZERO, id, lab, poller, pool) else {
                        break;
                    };
                    let _ = lab.handle_request(Instant::ZERO, client, said.nth, said.request);
                }
            }
            while self.lab.poll_output().is_some() {}
        }
    }

    fn greet(&mut self, node: &str) -> (Packets, Vec<OwnedFd>) {
        let packets = Packets::connect(&self.path).unwrap();
        let hello = Hello {
            version: VERSION,
            node: node.to_owned(),
            port: 1,
            pid: 1,
            token: None,
            takeover: false,
            interfaces: vec![Wanted { name: "ib0".to_owned(), qpn: None }],
        };
        packets.send(&emit(&hello), &[]).unwrap();
        self.turn(3);
        let (mut space, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let len = packets.receive_with(&mut space, &mut fds).unwrap().expect("an answer");
        assert!(matches!(read(&space[..len]).unwrap(), Greeting::Welcome { .. }));
        (packets, fds)
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever one driver writes to its memory, its bell and its connection, the fabric goes on and another driver
    /// gets its port and keeps it.
    #[test]
    fn a_hostile_driver_harms_itself_alone(
        scribbles in prop::collection::vec((0u64..20_000, prop::collection::vec(any::<u8>(), 1..64)), 0..60),
        rings in 0usize..20,
        message in prop::collection::vec(any::<u8>(), 0..200),
        closes_bell in any::<bool>(),
    ) {
        let mut fabric = Fabric::new();
        let (good, _good_fds) = fabric.greet("h1");
        let (evil, mut evil_fds) = fabric.greet("h2");
        let _ = rustix::io::ioctl_fionbio(&evil_fds[1], false);
        for (offset, bytes) in scribbles {
            rustix::io::pwrite(&evil_fds[0], &bytes, offset).unwrap();
        }
        for _ in 0..rings {
            let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
            let _ = rustix::net::send(evil_fds[1].as_fd(), b"x", flags);
            fabric.turn(2);
        }
        let _ = evil.send(&message, &[]);
        if closes_bell {
            evil_fds.pop();
        }
        fabric.turn(4);
        drop((evil, evil_fds));
        fabric.turn(4);
        let (_third, _fds) = fabric.greet("h2");
        prop_assert!(!good.is_over());
    }
}

#[test]
fn nonsense_before_the_hello_is_the_end_of_a_connection() {
    let mut fabric = Fabric::new();
    for nonsense in [&b""[..], b"\0\0\0", b"{}", b"[1,2", &[b'['; 60_000]] {
        let packets = Packets::connect(&fabric.path).unwrap();
        packets.send(nonsense, &[]).unwrap();
        fabric.turn(3);
        assert!(packets.is_over(), "{:?}", nonsense.len());
    }
    fabric.greet("h3");
}

#[test]
fn a_port_has_one_driver_and_its_token_keeps_the_queue_pair() {
    let mut fabric = Fabric::new();
    let hello = |token, takeover| Hello {
        version: VERSION,
        node: "h1".to_owned(),
        port: 1,
        pid: 7,
        token,
        takeover,
        interfaces: vec![Wanted { name: "ib0".to_owned(), qpn: None }],
    };
    let mut held = Vec::new();
    let mut say = |hello: &Hello| {
        let packets = Packets::connect(&fabric.path).unwrap();
        packets.send(&emit(hello), &[]).unwrap();
        fabric.turn(4);
        let (mut space, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let len = packets.receive_with(&mut space, &mut fds).unwrap().expect("an answer");
        let greeting: Greeting = read(&space[..len]).unwrap();
        held.extend(fds);
        (packets, greeting)
    };
    let (first, Greeting::Welcome { token, qpns }) = say(&hello(None, false)) else { panic!() };
    let (_, Greeting::Refused { why, .. }) = say(&hello(Some(token), false)) else { panic!() };
    assert!(why.contains("process 7") && why.contains("--takeover"), "{why}");
    let (_, Greeting::Refused { why, .. }) = say(&hello(None, true)) else { panic!() };
    assert!(why.contains("--state"), "{why}");
    let (second, Greeting::Welcome { qpns: kept, .. }) = say(&hello(Some(token), true)) else { panic!() };
    assert_eq!(kept, qpns);
    let mut space = [0; 1000];
    let len = first.receive(&mut space).unwrap().expect("told to leave");
    assert!(String::from_utf8_lossy(&space[..len]).contains("took the port over"));
    drop(second);
    // Somebody else may have the port now, but is somebody else.
    let (_, Greeting::Welcome { qpns: other, .. }) = say(&hello(None, false)) else { panic!() };
    assert_ne!(other, qpns);
    let old = Hello { version: VERSION + 1, ..hello(Some(token), true) };
    let (_, Greeting::Refused { why, .. }) = say(&old) else { panic!() };
    assert!(why.contains("one release"), "{why}");
}
