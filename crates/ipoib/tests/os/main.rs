//! The operating-system layer against the kernel it runs on: every test makes its own hosts, as root or in a user
//! namespace, and sends nothing anywhere else.

mod gone;
mod hosts;
mod monitor;
mod rootless;
mod taps;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use ib_wire::addr::Mac;
use ipoib::os::{
    link::{LinkConfig, Netlink, OperState},
    space::{HostSpace, HostSpec},
    tap::Tap,
};

/// A host called `name` with nothing but a loopback.
fn host(name: &str) -> HostSpace {
    HostSpace::create(&spec(name)).expect("tests make network namespaces: run them as root")
}

fn spec(name: &str) -> HostSpec {
    HostSpec { hostname: name.to_owned(), ..HostSpec::default() }
}

/// A host with an interface, as the lab makes them.
struct Wired {
    space: HostSpace,
    tap: Tap,
    netlink: Netlink,
}

/// Host number `n`: 10.77.0.n and fd77::n on an `ib0` that is up and has carrier.
fn wired(n: u8) -> Wired {
    let spec = spec(&format!("h{n}"));
    let (space, (tap, netlink)) = HostSpace::create_with(&spec, || interface(n)).unwrap();
    Wired { space, tap, netlink }
}

fn interface(n: u8) -> (Tap, Netlink) {
    let tap = Tap::create("ib0").unwrap();
    let mut netlink = Netlink::open().unwrap();
    let config = LinkConfig {
        mac: Some(mac(n)),
        mtu: Some(2044),
        queue_len: Some(256),
        alias: Some(format!("80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:0b:{n:02x}")),
        make_link_local: Some(false),
        up: Some(true),
    };
    netlink.configure(tap.index(), &config).unwrap();
    netlink.add_address(tap.index(), v4(n), 24, false).unwrap();
    netlink.add_address(tap.index(), v6(n), 64, true).unwrap();
    tap.set_carrier(true).unwrap();
    // Until then the host's own frames are dropped.
    eventually("operstate", || netlink.link(tap.index()).unwrap().oper_state == OperState::Up);
    (tap, netlink)
}

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

fn v4(n: u8) -> IpAddr {
    [10, 77, 0, n].into()
}

fn v6(n: u8) -> IpAddr {
    [0xfd77, 0, 0, 0, 0, 0, 0, u16::from(n)].into()
}

/// Waits until `true_now` is.
fn eventually(what: &str, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !true_now() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
