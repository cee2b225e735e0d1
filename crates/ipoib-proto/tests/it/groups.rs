//! Multicast: listening, sending, and the groups in between.

use core::net::{IpAddr, Ipv4Addr};

use ib_wire::{
    addr::{Lid, Mac, Qpn},
    ipoib::{EtherType, group_mac},
    mad::{
        Method, Status,
        attr::TrapNumber,
        sa::{RecordId, mc_member_mask as mask},
    },
    ud::{MadAddress, QpCommand},
};
use ipoib_proto::{Drop, HostEvent};

use crate::{
    rig::{Rig, SM_LID, broadcast, ip4, mgid, peer},
    sa::Sa,
};

/// The host sends to the IPv4 group `ip`.
fn send(rig: &mut Rig, ip: &str) {
    let ip: Ipv4Addr = ip.parse().unwrap();
    rig.host(group_mac(ip.into()), EtherType::IPV4, &ip4(ip));
}

fn joined(rig: &mut Rig, ip: &str) {
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined(ip.parse().unwrap()));
    rig.drain();
}

fn left(rig: &mut Rig, ip: &str) {
    rig.interface.handle_host(rig.now, HostEvent::GroupLeft(ip.parse().unwrap()));
    rig.drain();
}

fn report(rig: &mut Rig, trap: TrapNumber, group: &str) {
    let from = MadAddress::gsi(SM_LID, Default::default());
    rig.interface.handle_mad(rig.now, from, &Sa::report(trap, mgid(group)));
    rig.drain();
}

fn state(rig: &Rig, group: &str) -> (&'static str, bool, u8) {
    let groups = rig.snapshot().groups;
    let found = groups.iter().find(|g| g.mgid.gid() == mgid(group)).expect("the group is known");
    (found.state, found.send_only, found.join_state)
}

#[test]
fn groups_that_share_an_ethernet_address_are_two() {
    let mut rig = Rig::up();
    joined(&mut rig, "239.1.1.1");
    joined(&mut rig, "239.129.1.1");
    send(&mut rig, "239.1.1.1");
    send(&mut rig, "239.129.1.1");
    let to: Vec<_> = rig.sent.iter().map(|s| (s.to.dlid, s.to.global.unwrap().dgid)).collect();
    let (a, b) = (mgid("ff12:401b:ffff::f01:101"), mgid("ff12:401b:ffff::f81:101"));
    assert_eq!(to, [(Lid(0xc001), a), (Lid(0xc002), b)]);
    assert!(rig.sent.iter().all(|s| s.dest_qp == Qpn::MULTICAST));
    left(&mut rig, "239.129.1.1");
    let body = ip4([239, 1, 1, 1].into());
    rig.datagram((peer(1), Lid(7)), Some(a), true, EtherType::IPV4, &body);
    rig.datagram((peer(1), Lid(7)), Some(b), true, EtherType::IPV4, &body);
    assert_eq!((rig.frames.len(), rig.drops(Drop::RxNotMember)), (1, 1));
    assert_eq!(rig.frames[0].head[..6], [1, 0, 0x5e, 1, 1, 1]);
}

#[test]
fn a_group_is_joined_with_the_links_parameters_and_left_when_the_host_leaves() {
    let mut rig = Rig::up();
    joined(&mut rig, "ff02::1:ff0e:8a11");
    let group = mgid("ff12:601b:ffff::1:ff0e:8a11");
    let (method, asked, bits, which) = rig.sa.memberships()[0];
    assert_eq!((method, asked, bits), (Method::SET, group, 1));
    let lesser = mask::Q_KEY
        | mask::MTU_SELECTOR
        | mask::MTU
        | mask::RATE_SELECTOR
        | mask::RATE
        | mask::TRAFFIC_CLASS
        | mask::SL
        | mask::FLOW_LABEL
        | mask::HOP_LIMIT;
    assert_eq!(which, mask::MGID | mask::PORT_GID | mask::P_KEY | mask::JOIN_STATE | lesser);
    left(&mut rig, "ff02::1:ff0e:8a11");
    let (method, asked, bits, which) = rig.sa.memberships()[1];
    assert_eq!((method, asked, bits), (Method::DELETE, group, 1));
    assert_eq!(which, mask::MGID | mask::PORT_GID | mask::JOIN_STATE);
    let (mgid, mlid) = (group.multicast().unwrap(), Lid(0xc001));
    assert_eq!(rig.qp, [QpCommand::Attach { mgid, mlid }, QpCommand::Detach { mgid, mlid }]);
    assert_eq!(rig.snapshot().bounds.groups, 1);
}

#[test]
fn ten_thousand_packets_to_a_group_are_one_question() {
    let mut rig = Rig::up();
    for _ in 0..10_000 {
        send(&mut rig, "239.1.1.1");
    }
    assert_eq!((rig.sent.len(), rig.sa.count(Method::SET, RecordId::MC_MEMBER)), (10_000, 1));
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101"), ("joined", true, 8));
    assert!(!rig.qp.iter().any(|c| matches!(c, QpCommand::Attach { .. })));
}

#[test]
fn a_group_only_sent_to_is_left_when_idle() {
    let mut rig = Rig::up();
    send(&mut rig, "239.1.1.1");
    rig.advance(40_000);
    send(&mut rig, "239.1.1.1");
    rig.advance(59_000);
    assert_eq!(rig.sa.count(Method::DELETE, RecordId::MC_MEMBER), 0);
    rig.advance(2_000);
    assert_eq!(rig.sa.memberships().last().map(|(m, _, bits, _)| (*m, *bits)), Some((Method::DELETE, 8)));
    assert_eq!(rig.snapshot().bounds.groups, 1);
}

#[test]
fn a_sender_that_begins_to_listen_loses_nothing_and_drops_the_lesser_membership() {
    let mut rig = Rig::up();
    send(&mut rig, "239.1.1.1");
    rig.sa.mute = true;
    joined(&mut rig, "239.1.1.1");
    send(&mut rig, "239.1.1.1");
    assert_eq!(rig.sent.len(), 2);
    rig.sa.mute = false;
    rig.advance(2000);
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101"), ("joined", false, 1));
    let bits: Vec<_> = rig.sa.memberships().iter().map(|(m, _, bits, _)| (*m, *bits)).collect();
    assert_eq!(bits, [(Method::SET, 8), (Method::SET, 1), (Method::SET, 1), (Method::DELETE, 8)]);
}

#[test]
fn a_queue_survives_the_step_from_sender_to_listener() {
    let mut rig = Rig::up();
    rig.sa.mute = true;
    for _ in 0..70 {
        send(&mut rig, "239.1.1.1");
    }
    joined(&mut rig, "239.1.1.1");
    rig.sa.mute = false;
    rig.advance(3000);
    assert_eq!((rig.sent.len(), rig.drops(Drop::TxGroupQueueFull)), (64, 6));
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101").2, 1);
}

#[test]
fn what_waits_goes_out_though_the_host_stops_listening() {
    let mut rig = Rig::up();
    rig.sa.mute = true;
    joined(&mut rig, "239.1.1.1");
    send(&mut rig, "239.1.1.1");
    left(&mut rig, "239.1.1.1");
    rig.sa.mute = false;
    rig.advance(3000);
    assert_eq!((rig.sent.len(), state(&rig, "ff12:401b:ffff::f01:101")), (1, ("joined", true, 8)));
}

#[test]
fn a_group_nobody_listens_to_goes_to_the_routers_until_it_is_created() {
    let mut rig = Rig::cold();
    rig.sa.send_only_full = false;
    rig.sa.create(mgid("ff12:401b:ffff::2"));
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(2000);
    rig.forget();
    send(&mut rig, "239.1.1.1");
    send(&mut rig, "224.0.0.9");
    let to: Vec<_> = rig.sent.iter().map(|s| s.to.global.unwrap().dgid).collect();
    assert_eq!((to, rig.drops(Drop::TxNoGroup)), (vec![mgid("ff12:401b:ffff::2")], 1));
    assert_eq!(rig.snapshot().counters.tx_to_routers, 1);
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101").0, "absent");

    rig.sa.create(mgid("ff12:401b:ffff::f01:101"));
    report(&mut rig, TrapNumber::GROUP_CREATED, "ff12:401b:ffff::f01:101");
    rig.advance(1000);
    send(&mut rig, "239.1.1.1");
    assert_eq!(rig.sent[1].to.global.unwrap().dgid, mgid("ff12:401b:ffff::f01:101"));
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101"), ("joined", true, 4));
}

#[test]
fn without_routers_it_is_dropped_with_a_name() {
    let mut rig = Rig::cold();
    rig.sa.send_only_full = false;
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(2000);
    send(&mut rig, "239.1.1.1");
    send(&mut rig, "239.1.1.1");
    assert_eq!(rig.drops(Drop::TxNoGroup), 2);
    assert_eq!(rig.snapshot().bounds.pending_bytes, 0);
}

#[test]
fn after_a_delete_report_the_old_lid_is_not_used() {
    let mut rig = Rig::up();
    send(&mut rig, "239.1.1.1");
    rig.sa.groups.remove(&mgid("ff12:401b:ffff::f01:101"));
    report(&mut rig, TrapNumber::GROUP_DELETED, "ff12:401b:ffff::f01:101");
    send(&mut rig, "239.1.1.1");
    let lids: Vec<_> = rig.sent.iter().map(|s| s.to.dlid).collect();
    assert_eq!(lids, [Lid(0xc001), Lid(0xc002)]);
}

#[test]
fn a_listener_is_not_put_off_by_refusals() {
    let mut rig = Rig::up();
    rig.sa.refuse = Some(Status::SA_NO_RESOURCES);
    joined(&mut rig, "239.1.1.1");
    rig.advance(60_000);
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101").0, "backoff");
    assert!((6..=9).contains(&rig.sa.count(Method::SET, RecordId::MC_MEMBER)));
    rig.sa.refuse = None;
    rig.advance(20_000);
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101").0, "joined");
    assert!(rig.interface.carrier().is_up());
}

#[test]
fn a_sender_gives_its_queue_up_at_the_second_refusal() {
    let mut rig = Rig::up();
    rig.sa.refuse = Some(Status::SA_NO_RESOURCES);
    send(&mut rig, "239.1.1.1");
    assert_eq!(rig.drops(Drop::TxGroupFailed), 0);
    rig.advance(2000);
    assert_eq!(rig.drops(Drop::TxGroupFailed), 1);
    rig.sa.refuse = None;
    rig.advance(3000);
    send(&mut rig, "239.1.1.1");
    assert_eq!(rig.sent.len(), 1);
}

#[test]
fn own_echoes_are_not_heard() {
    let mut rig = Rig::up();
    let own = rig.interface.hw_addr();
    let body = ip4([255, 255, 255, 255].into());
    rig.datagram((own, Lid(5)), Some(broadcast()), true, EtherType::IPV4, &body);
    assert_eq!((rig.frames.len(), rig.snapshot().counters.rx_own_echo), (0, 1));
    assert_eq!(rig.snapshot().counters.drops.rx(), 0);
    // The same LID and queue pair beyond a router is somebody else.
    let other = ib_wire::addr::HwAddr { gid: peer(1).gid, ..own };
    rig.datagram((other, Lid(5)), Some(broadcast()), true, EtherType::IPV4, &body);
    assert_eq!(rig.frames.len(), 1);
    assert_eq!(rig.frames[0].head[..6], Mac::BROADCAST.0);
}

#[test]
fn igmp_of_the_host_is_enough() {
    let mut rig = Rig::up_with(|config| config.snoop_memberships = true);
    assert_eq!(state(&rig, "ff12:401b:ffff::1"), ("joined", false, 1));
    assert_eq!(state(&rig, "ff12:601b:ffff::1"), ("joined", false, 1));
    let mut report = ip4(Ipv4Addr::new(224, 0, 0, 22));
    report[9] = 2;
    report[20..36].copy_from_slice(&[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 1, 1]);
    let to = group_mac(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 22)));
    rig.host(to, EtherType::IPV4, &report);
    assert_eq!(state(&rig, "ff12:401b:ffff::f01:101"), ("joined", false, 1));
    assert_eq!(state(&rig, "ff12:401b:ffff::16"), ("joined", true, 8));
    report[28] = 3;
    rig.host(to, EtherType::IPV4, &report);
    assert!(rig.snapshot().groups.iter().all(|g| g.mgid.gid() != mgid("ff12:401b:ffff::f01:101")));
}

#[test]
fn too_many_groups_are_refused_by_name() {
    let mut rig = Rig::up_with(|config| config.max_groups = 8);
    for n in 1..=9 {
        send(&mut rig, &format!("239.0.0.{n}"));
    }
    assert_eq!((rig.snapshot().bounds.groups, rig.drops(Drop::TxTooManyGroups)), (8, 2));
}

#[test]
fn the_broadcast_group_has_its_place_among_them() {
    let mut rig = Rig::with(|config| config.max_groups = 8);
    for n in 1..=9 {
        joined(&mut rig, &format!("239.0.0.{n}"));
    }
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(2000);
    assert!(rig.interface.carrier().is_up());
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.bounds.groups, snapshot.counters.groups_refused), (8, 2));
    assert_eq!(snapshot.counters.joins, 8);
}

#[test]
fn broadcast_goes_to_the_broadcast_group() {
    let mut rig = Rig::up();
    rig.host(Mac::BROADCAST, EtherType::IPV4, &ip4([10, 0, 0, 255].into()));
    assert_eq!(rig.sent[0].to.global.unwrap().dgid, broadcast());
    assert_eq!(rig.sent[0].to.dlid, Lid(0xc000));
}
