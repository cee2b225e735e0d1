//! Interfaces and the frames that pass them.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use ipoib::os::{
    clock,
    link::OperState,
    poller::{Interest, Poller},
    space::Lifetime,
    tap::{MAX_READ, Tap, TapError},
    vnet::{VNET_HEADER_LEN, VnetHeader},
    wake::Waker,
};

use crate::{host, mac, v4, v6, wired};

/// Carries frames between two interfaces until told to stop; counts the large ones.
fn copy(a: &Tap, b: &Tap, stop: &Waker, large: &AtomicU32) {
    let mut poller = Poller::new().unwrap();
    poller.add(a, 0, Interest::Read).unwrap();
    poller.add(b, 1, Interest::Read).unwrap();
    poller.add(stop, 2, Interest::Read).unwrap();
    let mut buf = vec![0; MAX_READ];
    loop {
        let ready: Vec<_> = poller.wait(None).unwrap().map(|r| r.token).collect();
        for token in ready {
            let (from, to) = match token {
                0 => (a, b),
                1 => (b, a),
                _ => return,
            };
            while let Some(len) = from.read(&mut buf).unwrap() {
                let (head, body) = buf[..len].split_at(VNET_HEADER_LEN + 14);
                let header = VnetHeader::parse(head.first_chunk().unwrap());
                large.fetch_add(u32::from(header.segmentation() != VnetHeader::GSO_NONE), Ordering::Relaxed);
                to.write(head, body).unwrap();
            }
        }
    }
}

/// Runs `work` while two hosts are joined by a copier; returns how many large frames passed.
fn joined(work: impl FnOnce(&crate::Wired, &crate::Wired)) -> u32 {
    let (a, b) = (wired(1), wired(2));
    let (stop, large, done) = (Waker::new().unwrap(), AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(&a.tap, &b.tap, &stop, &large);
            assert!(done.load(Ordering::Relaxed), "the copier ended early");
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&a, &b)));
        done.store(true, Ordering::Relaxed);
        stop.wake();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    large.into_inner()
}

#[test]
fn hosts_joined_by_their_taps_answer_each_other() {
    joined(|a, b| {
        for (echo, asker) in [(v4(2), v4(1)), (v6(2), v6(1))] {
            let server = b.space.enter_with(|| UdpSocket::bind((echo, 7)).unwrap()).unwrap();
            let client = a.space.enter_with(|| UdpSocket::bind((asker, 0)).unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            client.send_to(b"ping", (echo, 7)).unwrap();
            let mut buf = [0; 16];
            let (len, from) = server.recv_from(&mut buf).unwrap();
            assert_eq!(from.ip(), asker);
            server.send_to(&buf[..len], from).unwrap();
            assert_eq!(client.recv(&mut buf).unwrap(), 4);
        }
        let ping =
            a.space.command("ping", Lifetime::Parent).args(["-c1", "-W10", "10.77.0.2"]).output().unwrap();
        assert!(ping.status.success(), "{ping:?}");
    });
}

#[test]
fn large_sends_pass_whole() {
    const LEN: usize = 4 << 20;
    let large = joined(|a, b| {
        let server = b.space.enter_with(|| TcpListener::bind((v4(2), 5001)).unwrap()).unwrap();
        let sender = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut received = Vec::new();
                server.accept().unwrap().0.read_to_end(&mut received).unwrap();
                received.len()
            });
            let mut stream = a.space.enter_with(|| TcpStream::connect((v4(2), 5001)).unwrap()).unwrap();
            stream.write_all(&vec![7; LEN]).unwrap();
            drop(stream);
            receiver.join().unwrap()
        });
        assert_eq!(sender, LEN);
    });
    assert!(large > 0, "TCP was cut before it reached the TAP");
}

/// A frame of ours, and the kernel's answer to it.
#[test]
fn the_host_answers_an_arp_request() {
    let host = wired(1);
    assert!(host.tap.offloads().checksum && host.tap.offloads().tso, "{:?}", host.tap.offloads());
    let mut head = vec![0; VNET_HEADER_LEN];
    head.extend([0xff; 6]);
    head.extend(mac(2).0);
    head.extend([8, 6]);
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend([&mac(2).0[..], &[10, 77, 0, 2], &[0; 6], &[10, 77, 0, 1]].concat());
    host.tap.write(&head, &arp).unwrap();
    let mut poller = Poller::new().unwrap();
    poller.add(&host.tap, 0, Interest::Read).unwrap();
    let mut buf = vec![0; MAX_READ];
    let mut frame = Vec::new();
    while frame.get(12..14) != Some(&[8, 6]) {
        assert!(poller.wait(Some(clock::now() + Duration::from_secs(10))).unwrap().count() > 0, "no answer");
        let len = host.tap.read(&mut buf).unwrap().unwrap_or(VNET_HEADER_LEN);
        frame = buf[VNET_HEADER_LEN..len].to_vec();
    }
    assert_eq!(frame[..6], mac(2).0);
    assert_eq!(frame[20..32], [&[0, 2][..], &mac(1).0, &[10, 77, 0, 1]].concat());
}

#[test]
fn carrier_is_what_the_driver_says() {
    let mut host = wired(1);
    let index = host.tap.index();
    for on in [false, true] {
        host.tap.set_carrier(on).unwrap();
        let link = host.netlink.link(index).unwrap();
        assert_eq!(link.carrier, on);
        // The state follows a moment later.
        crate::eventually("operstate", || {
            let state = host.netlink.link(index).unwrap().oper_state;
            state == if on { OperState::Up } else { OperState::Down }
        });
        let read = || std::fs::read_to_string("/sys/class/net/ib0/carrier").unwrap();
        assert_eq!(host.space.enter_with(read).unwrap(), format!("{}\n", u8::from(on)));
    }
}

#[test]
fn a_new_interface_is_down_and_has_no_carrier() {
    let space = host("h1");
    let (tap, link) = space
        .enter_with(|| {
            let tap = Tap::create("ib0").unwrap();
            let link = ipoib::os::link::Netlink::open().unwrap().link(tap.index()).unwrap();
            (tap, link)
        })
        .unwrap();
    assert_eq!((tap.name(), link.name.as_str()), ("ib0", "ib0"));
    assert!(!link.is_up() && !link.carrier, "{link:?}");
}

#[test]
fn errors_say_what_is_wrong() {
    let space = host("h1");
    let errors = space.enter_with(|| {
        let _first = Tap::create("ib0").unwrap();
        (
            Tap::create("ib0").unwrap_err(),
            Tap::create("a/b").unwrap_err(),
            Tap::create("sixteen-octets-x").unwrap_err(),
        )
    });
    let (exists, slash, long) = errors.unwrap();
    assert!(matches!(exists, TapError::Exists(_)), "{exists:?}");
    assert!(matches!(slash, TapError::Name(_)), "{slash:?}");
    assert!(matches!(long, TapError::Name(_)), "{long:?}");
}

#[test]
fn a_write_to_an_interface_that_is_down_says_so() {
    let mut host = wired(1);
    host.netlink.set_up(host.tap.index(), false).unwrap();
    let error = host.tap.write(&[0; VNET_HEADER_LEN + 14], &[0; 46]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(host.tap.read(&mut [0; 100]).unwrap(), None);
}
