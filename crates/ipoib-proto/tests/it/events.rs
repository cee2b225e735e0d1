//! What the port, the partition and the subnet manager do to an interface that is up.

use ib_wire::{
    addr::{Lid, PKey, QKey, SubnetPrefix},
    ipoib::{ArpOp, EtherType, IbArp},
    mad::{Method, attr::PortState, sa::RecordId},
    ud::{PortEvent, QpCommand},
};
use ipoib_proto::{Drop, HostEvent};

use crate::rig::{Rig, broadcast, ip4, lid, peer};

#[test]
fn reregistration_stops_neither_carrier_nor_traffic() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined("239.1.1.1".parse().unwrap()));
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.advance(60_000);
    rig.forget();
    rig.sa.subscribed.clear();
    rig.port_event(PortEvent::ClientReregister);
    rig.sa.mute = true;
    for _ in 0..2000 {
        rig.ping(mac);
        rig.host(ib_wire::addr::Mac::BROADCAST, EtherType::IPV4, &ip4([255; 4].into()));
        rig.advance(1);
    }
    assert_eq!(rig.sent.len(), 4000);
    assert!(!rig.noted("carrier"), "{:?}", rig.log);
    assert_eq!(rig.sa.count(Method::DELETE, RecordId::MC_MEMBER), 0);
    rig.sa.mute = false;
    rig.advance(20_000);
    rig.ping(mac);
    assert!(rig.sa.memberships().iter().any(|(_, mgid, ..)| *mgid == broadcast()));
    assert_eq!(rig.sa.subscribed.len(), 4);
    assert_eq!(rig.snapshot().paths[0].state, "valid");
    assert!(!rig.noted("carrier") && rig.qp.is_empty(), "{:?}", rig.log);
    assert_eq!(rig.snapshot().counters.flush_light, 1);
}

#[test]
fn members_of_a_subnet_do_not_register_again_at_the_same_moment() {
    let times: std::collections::BTreeSet<u64> = (0..20)
        .map(|seed| {
            let mut rig = Rig::up_with(|config| config.name = format!("ib{seed}"));
            // The seed of the rig is fixed; use up some chance.
            for n in 0..seed {
                let mac = rig.add_peer(n);
                rig.ping(mac);
            }
            rig.forget();
            let start = rig.now;
            rig.port_event(PortEvent::ClientReregister);
            while !rig.sa.memberships().iter().any(|(_, mgid, ..)| *mgid == broadcast()) {
                rig.advance(1);
            }
            u64::try_from((rig.now - start).as_millis()).unwrap()
        })
        .collect();
    assert!(times.len() > 10 && times.iter().all(|t| *t <= 501), "{times:?}");
}

#[test]
fn a_reregistration_takes_over_what_changed() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined("239.1.1.1".parse().unwrap()));
    rig.drain();
    rig.forget();
    for (record, _) in rig.sa.groups.values_mut() {
        record.qkey = QKey(0x1234);
        record.mlid = Lid(record.mlid.0 + 0x100);
    }
    rig.port_event(PortEvent::ClientReregister);
    rig.advance(2000);
    let mgid = broadcast().multicast().unwrap();
    assert_eq!(
        rig.qp[..3],
        [
            QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey(0x1234) },
            QpCommand::Attach { mgid, mlid: Lid(0xc100) },
            QpCommand::Detach { mgid, mlid: Lid(0xc000) },
        ]
    );
    assert_eq!(rig.qp.len(), 5);
    let mac = rig.add_peer(1);
    rig.ping(mac);
    assert_eq!(rig.sent.last().unwrap().qkey, QKey(0x1234));
    assert!(!rig.noted("carrier"));
}

#[test]
fn unicast_outlives_the_subnet_manager() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.sa.mute = true;
    rig.port.sm_lid = Lid::NONE;
    rig.port_event(PortEvent::SmChange);
    rig.sent.clear();
    for _ in 0..3600 {
        rig.ping(mac);
        rig.advance(1000);
    }
    assert_eq!(rig.sent.len(), 3600);
    assert!(rig.interface.carrier().is_up());
}

#[test]
fn another_subnet_manager_is_asked_and_told_without_a_gap() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.forget();
    rig.port.sm_lid = Lid(2);
    rig.port_event(PortEvent::SmChange);
    rig.advance(2000);
    assert_eq!(rig.sa.count(Method::SET, RecordId::INFORM_INFO), 4);
    assert_eq!(rig.sa.count(Method::SET, RecordId::MC_MEMBER), 1);
    assert_eq!((rig.sa.count(Method::GET, RecordId::PATH), rig.log.len()), (0, 0));
}

#[test]
fn a_lost_link_takes_the_carrier_and_brings_it_back() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined("239.1.1.1".parse().unwrap()));
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.forget();
    rig.port.state = PortState::DOWN;
    rig.port_event(PortEvent::Down);
    assert!(rig.noted("carrier no-link"));
    assert_eq!(rig.handles(), 0);
    assert!(rig.qp.iter().filter(|c| matches!(c, QpCommand::Detach { .. })).count() == 2);
    rig.ping(mac);
    assert_eq!(rig.drops(Drop::TxNoCarrier), 1);
    rig.advance(5000);
    rig.port.state = PortState::ACTIVE;
    rig.port_event(PortEvent::Active);
    rig.advance(1000);
    assert!(rig.interface.carrier().is_up());
    assert_eq!(rig.snapshot().groups.iter().filter(|g| g.state == "joined").count(), 2);
    rig.ping(mac);
    assert_eq!(rig.sent.last().unwrap().to.dlid, lid(1));
}

#[test]
fn a_new_lid_joins_again_and_forgets_paths() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.forget();
    rig.port.lid = Lid(9);
    rig.port_event(PortEvent::LidChange);
    let carrier: Vec<_> = rig.log.iter().filter(|l| l.contains("carrier")).collect();
    assert_eq!(carrier.len(), 2, "{:?}", rig.log);
    assert!(rig.interface.carrier().is_up());
    rig.ping(mac);
    assert_eq!(rig.sa.path_questions(peer(1).gid), 1);
    assert_eq!(rig.snapshot().counters.flush_normal, 1);
}

#[test]
fn a_partition_that_goes_and_comes_back_needs_nobodys_help() {
    let mut rig = Rig::up();
    rig.port.pkeys = vec![PKey(0x8005)];
    rig.port_event(PortEvent::PKeyChange);
    assert_eq!(rig.interface.carrier().code(), "no-pkey");
    assert_eq!(rig.qp.last(), Some(&QpCommand::Stop));
    rig.advance(60_000);
    rig.forget();
    rig.port.pkeys = vec![PKey(0x8005), PKey::DEFAULT_FULL];
    rig.port_event(PortEvent::PKeyChange);
    rig.advance(100);
    assert!(rig.interface.carrier().is_up());
    assert_eq!(rig.snapshot().counters.flush_heavy, 1);
}

#[test]
fn a_partition_table_that_only_moved_changes_nothing() {
    let mut rig = Rig::up();
    rig.port.pkeys = vec![PKey(0x8005), PKey::DEFAULT_FULL];
    rig.port_event(PortEvent::PKeyChange);
    rig.advance(5000);
    assert!(rig.log.is_empty(), "{:?}", rig.log);
    assert_eq!(rig.qp, [QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey(0x0b1b) }]);
}

#[test]
fn another_prefix_is_announced() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded("10.0.0.100".parse().unwrap()));
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded("fe80::202:c903:e:8a11".parse().unwrap()));
    rig.port.prefix = SubnetPrefix(0xfec0_0000_0000_0001);
    rig.port_event(PortEvent::GidChange);
    assert!(rig.noted("AddressChanged"));
    assert_eq!(rig.interface.hw_addr().gid.prefix(), SubnetPrefix(0xfec0_0000_0000_0001));
    rig.advance(5000);
    let of = |t: EtherType| rig.sent.iter().filter(move |s| s.payload[..2] == t.0.to_be_bytes());
    let arps: Vec<_> = of(EtherType::ARP).map(|s| IbArp::parse(&s.payload[4..]).unwrap()).collect();
    assert_eq!((arps.len(), of(EtherType::IPV6).count()), (2, 2));
    assert_eq!(arps[0].sender_hw, rig.interface.hw_addr());
    assert_eq!((arps[0].op, arps[0].sender_ip, arps[0].target_ip.octets()), {
        (ArpOp::REQUEST, arps[0].target_ip, [10, 0, 0, 100])
    });
    // Registered anew under the new GID, with the carrier on all the time.
    assert!(!rig.noted("carrier"));
}

#[test]
fn coming_up_announces_the_hosts_addresses() {
    let mut rig = Rig::cold();
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded("10.0.0.100".parse().unwrap()));
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.advance(10_000);
    assert_eq!(rig.sent.len(), 2);
    assert_eq!(rig.snapshot().counters.announcements, 2);
}

#[test]
fn children_in_other_partitions_are_interfaces_of_their_own() {
    let mut rig =
        Rig::with(|config| (config.pkey, config.qpn) = (PKey(0x0001), ib_wire::addr::Qpn::new(0x49)));
    let parent = Rig::cold();
    assert_ne!(rig.interface.mac(), parent.interface.mac());
    rig.sa.create("ff12:401b:8001::ffff:ffff".parse().unwrap());
    rig.port.pkeys = vec![PKey::DEFAULT_FULL, PKey(0x8001)];
    rig.activate();
    rig.interface.handle_admin(rig.now, true);
    rig.drain();
    assert!(rig.interface.carrier().is_up());
    assert_eq!(rig.qp[0], QpCommand::SetKeys { pkey: PKey(0x8001), qkey: QKey(0x0b1b) });
}

#[test]
fn the_hosts_smaller_mtu_is_respected_and_a_larger_one_taken_back() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::MtuChanged(1500));
    assert_eq!(rig.interface.mtu(), 1500);
    rig.interface.handle_host(rig.now, HostEvent::MtuChanged(9000));
    rig.drain();
    assert_eq!(rig.interface.mtu(), 2044);
    assert!(rig.noted("mtu 2044"));
}
