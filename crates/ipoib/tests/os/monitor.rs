//! What the driver hears of its host.

use std::{
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    time::{Duration, Instant},
};

use ib_wire::addr::Mac;
use ipoib::os::{
    clock,
    link::NeighborState,
    monitor::{HostEvent, Monitor},
    poller::{Interest, Poller},
};

use crate::{Wired, mac, v4, v6, wired};

fn watched(n: u8) -> (Wired, Monitor) {
    let host = wired(n);
    let index = host.tap.index();
    let mut monitor = host.space.enter_with(|| Monitor::open(index).unwrap()).unwrap();
    monitor.resync().unwrap();
    (host, monitor)
}

/// Waits for `wanted`, passing over others.
fn expect(monitor: &mut Monitor, wanted: HostEvent) {
    let mut poller = Poller::new().unwrap();
    poller.add(&*monitor, 0, Interest::Read).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    loop {
        match monitor.poll_event().unwrap() {
            Some(event) if event == wanted => return,
            Some(event) => seen.push(event),
            None => {
                assert!(Instant::now() < deadline, "{wanted:?} not in {seen:?}");
                poller.wait(Some(clock::now() + Duration::from_secs(1))).unwrap().for_each(drop);
            }
        }
    }
}

#[test]
fn neighbours_are_told_when_they_come_and_go() {
    let (mut host, mut monitor) = watched(1);
    let index = host.tap.index();
    for addr in [v4(9), v6(9)] {
        host.netlink.set_neighbor(index, addr, mac(9)).unwrap();
        expect(
            &mut monitor,
            HostEvent::NeighborUpdated { addr, mac: mac(9), state: NeighborState::Permanent },
        );
        assert_eq!(host.netlink.neighbors(index).unwrap().iter().map(|n| n.addr).collect::<Vec<_>>(), [addr]);
        host.netlink.delete_neighbor(index, addr).unwrap();
        // The kernel names the address in neither; the monitor remembers it.
        expect(&mut monitor, HostEvent::NeighborFailed { addr, mac: Some(mac(9)) });
        expect(&mut monitor, HostEvent::NeighborGone { addr, mac: Some(mac(9)) });
        assert_eq!(host.netlink.neighbors(index).unwrap(), []);
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_told() {
    let (host, mut monitor) = watched(1);
    let send = || UdpSocket::bind((v4(1), 0)).unwrap().send_to(b"x", (v4(9), 9)).unwrap();
    host.space.enter_with(send).unwrap();
    expect(&mut monitor, HostEvent::NeighborFailed { addr: v4(9), mac: None });
}

#[test]
fn groups_are_told_when_the_host_joins_and_leaves() {
    let (host, mut monitor) = watched(1);
    let (v4_group, v6_group) = (Ipv4Addr::new(239, 1, 2, 3), "ff12::1234".parse::<Ipv6Addr>().unwrap());
    let index = host.tap.index();
    let socket = |addr| host.space.enter_with(|| UdpSocket::bind((addr, 0)).unwrap()).unwrap();
    let (four, six) = (socket(v4(1)), socket(v6(1)));
    four.join_multicast_v4(&v4_group, &Ipv4Addr::new(10, 77, 0, 1)).unwrap();
    six.join_multicast_v6(&v6_group, index).unwrap();
    if monitor.has_group_events() {
        expect(&mut monitor, HostEvent::GroupJoined { group: v4_group.into() });
        expect(&mut monitor, HostEvent::GroupJoined { group: v6_group.into() });
    } else {
        println!("NOT TESTED: this kernel tells nothing of groups (needs 6.14)");
    }
    let groups = monitor.resync().unwrap().groups;
    assert!(groups.contains(&v4_group.into()) && groups.contains(&v6_group.into()), "{groups:?}");
    drop((four, six));
    if monitor.has_group_events() {
        expect(&mut monitor, HostEvent::GroupLeft { group: v4_group.into() });
        expect(&mut monitor, HostEvent::GroupLeft { group: v6_group.into() });
    }
    assert!(!monitor.resync().unwrap().groups.contains(&v4_group.into()));
}

#[test]
fn changes_of_the_interface_are_told() {
    let (mut host, mut monitor) = watched(1);
    let index = host.tap.index();
    host.netlink.set_mtu(index, 1500).unwrap();
    expect(&mut monitor, HostEvent::MtuChanged { mtu: 1500 });
    host.netlink.set_mac(index, Mac([2, 1, 1, 1, 1, 1])).unwrap();
    expect(&mut monitor, HostEvent::MacChanged { mac: Mac([2, 1, 1, 1, 1, 1]) });
    host.netlink.add_address(index, v4(77), 24, false).unwrap();
    expect(&mut monitor, HostEvent::AddressAdded { addr: v4(77), prefix_len: 24 });
    host.netlink.delete_address(index, v4(77), 24).unwrap();
    expect(&mut monitor, HostEvent::AddressRemoved { addr: v4(77), prefix_len: 24 });
    host.netlink.set_up(index, false).unwrap();
    expect(&mut monitor, HostEvent::LinkDown);
    host.netlink.set_up(index, true).unwrap();
    expect(&mut monitor, HostEvent::LinkUp);
    drop(host.tap);
    expect(&mut monitor, HostEvent::LinkGone);
    assert_eq!(monitor.resync().unwrap().link, None);
}

#[test]
fn carrier_is_no_administrators_doing() {
    let (host, mut monitor) = watched(1);
    host.tap.set_carrier(false).unwrap();
    host.tap.set_carrier(true).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    while let Some(event) = monitor.poll_event().unwrap() {
        assert!(!matches!(event, HostEvent::LinkUp | HostEvent::LinkDown), "{event:?}");
    }
}

#[test]
fn a_flood_ends_in_an_overrun_and_the_state_is_had_again() {
    let (mut host, mut monitor) = watched(1);
    let index = host.tap.index();
    for round in 0..20_000u16 {
        let [high, low] = round.to_be_bytes();
        host.netlink.set_neighbor(index, v4(9), Mac([2, 0, 0, 0, high, low])).unwrap();
    }
    expect(&mut monitor, HostEvent::Overrun);
    let state = monitor.resync().unwrap();
    assert_eq!(state.neighbors.len(), 1);
    assert_eq!(state.addresses.len(), 2);
    assert_eq!(state.link.unwrap().mtu, 2044);
    assert_eq!(monitor.poll_event().unwrap(), None);
    host.netlink.delete_neighbor(index, v4(9)).unwrap();
    expect(&mut monitor, HostEvent::NeighborGone { addr: v4(9), mac: state.neighbors[0].mac });
}
