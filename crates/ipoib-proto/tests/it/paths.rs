//! Unicast: neighbours, paths, address handles.

use core::net::IpAddr;

use ib_wire::{
    addr::{Gid, HwAddr, Lid, Mac, QKey, Qpn},
    ipoib::EtherType,
    mad::{
        Method, Status,
        attr::{PathRecord, TrapNumber},
        sa::{RecordId, path_mask},
    },
    ud::MadAddress,
};
use ipoib_proto::{Drop, HostEvent};

use crate::{
    rig::{Rig, SM_LID, ip, ip4, lid, peer},
    sa::Sa,
};

#[test]
fn a_packet_asks_for_the_path_waits_for_it_and_goes() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let asked = rig.sa.asked.last().unwrap();
    let record = PathRecord::parse(&asked.data).unwrap().0;
    assert_eq!(
        asked.component_mask,
        path_mask::DGID
            | path_mask::SGID
            | path_mask::NUMB_PATH
            | path_mask::TRAFFIC_CLASS
            | path_mask::P_KEY
    );
    assert_eq!((record.dgid, record.sgid, record.numb_path), (peer(1).gid, rig.port.gid(), 1));
    let [sent] = &rig.sent[..] else { panic!("one datagram") };
    assert_eq!((sent.to.dlid, sent.dest_qp, sent.qkey), (lid(1), peer(1).qpn, QKey(0x0b1b)));
    assert_eq!(sent.to.global, None);
    assert_eq!(sent.payload[..4], [8, 0, 0, 0]);
    assert_eq!(sent.payload[4..], ip4([10, 0, 0, 1].into()));
    rig.ping(mac);
    assert_eq!(rig.sa.path_questions(peer(1).gid), 1);
}

#[test]
fn a_known_peers_packet_is_not_copied() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let mut frame = [&mac.0[..], &[2; 6], &[8, 0]].concat();
    frame.extend_from_slice(&ip4([10, 0, 0, 1].into()));
    let frame = ib_wire::payload::Payload::from(&frame[..]);
    let body = frame[14..].as_ptr();
    rig.interface.handle_host_frame(rig.now, frame, ib_wire::offload::Offload::NONE);
    rig.drain();
    assert_eq!(rig.sent.last().unwrap().payload[4..].as_ptr(), body);
}

#[test]
fn an_unanswered_path_question_is_asked_again() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.sa.mute = true;
    rig.ping(mac);
    rig.advance(150);
    assert_eq!(rig.sa.path_questions(peer(1).gid), 1);
    rig.advance(200);
    assert_eq!(rig.sa.path_questions(peer(1).gid), 2);
    rig.sa.mute = false;
    rig.advance(700);
    assert_eq!((rig.sa.path_questions(peer(1).gid), rig.sent.len()), (3, 1));
}

#[test]
fn a_path_that_cannot_be_had_is_not_asked_for_at_every_packet() {
    let mut rig = Rig::up();
    let mac = rig.arp_answer(1);
    for _ in 0..6000 {
        rig.ping(mac);
        rig.advance(10);
    }
    // 1 + 2 + 4 + 8 + 16 + 32 s
    assert!((5..=8).contains(&rig.sa.path_questions(peer(1).gid)), "{}", rig.sa.path_questions(peer(1).gid));
    assert_eq!(rig.drops(Drop::TxPathFailed), 6000);
    assert!(rig.forgotten.contains(&mac));
    rig.sa.paths.insert(peer(1).gid, lid(1));
    let from = MadAddress::gsi(SM_LID, Default::default());
    rig.interface.handle_mad(rig.now, from, &Sa::report(TrapNumber::GID_IN_SERVICE, peer(1).gid));
    rig.ping(mac);
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.replies.last().unwrap()[3], Method::REPORT_RESP.0);
}

#[test]
fn that_a_path_cannot_be_had_outlives_the_hosts_entry() {
    let mut rig = Rig::up();
    for _ in 0..600 {
        // The host does as it is told: it forgets, asks, is answered, sends. What it removes, Linux calls failed first.
        let mac = rig.arp_answer(1);
        rig.ping(mac);
        let failed = HostEvent::NeighborFailed { ip: ip(1).into(), mac: Some(mac) };
        rig.interface.handle_host(rig.now, failed);
        let gone = HostEvent::NeighborGone { ip: Some(ip(1).into()), mac };
        rig.interface.handle_host(rig.now, gone);
        rig.advance(100);
    }
    let asked = rig.sa.path_questions(peer(1).gid);
    // Once a second at most: whoever is heard may be reachable again.
    assert!((5..=62).contains(&asked), "{asked}");
    assert_eq!(rig.snapshot().paths.len(), 1);
    rig.advance(300_000);
    assert_eq!((rig.snapshot().paths.len(), rig.snapshot().bounds.peers), (0, 0));
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.sa.mute = true;
    for _ in 0..100 {
        rig.ping(mac);
    }
    assert_eq!(rig.drops(Drop::TxPathQueueFull), 36);
    rig.sa.mute = false;
    rig.advance(1000);
    assert_eq!((rig.sent.len(), rig.snapshot().bounds.pending_bytes), (64, 0));
}

#[test]
fn never_more_handles_than_max_address_vector_and_everybody_reachable() {
    let mut rig = Rig::up();
    let macs: Vec<Mac> = (0..4096).map(|n| rig.add_peer(n)).collect();
    for (n, mac) in macs.iter().enumerate() {
        rig.ping(*mac);
        rig.advance(2);
        assert!(n % 64 != 0 || rig.handles() <= 2048);
        assert_eq!(rig.sent.len(), n + 1);
    }
    assert_eq!((rig.handles(), rig.snapshot().counters.handles_evicted), (2048, 2048));
    rig.sent.clear();
    for mac in macs.iter().rev() {
        rig.ping(*mac);
        rig.advance(2);
    }
    assert_eq!((rig.sent.len(), rig.snapshot().counters.drops.tx()), (4096, 0));
    assert_eq!(rig.snapshot().counters.handles_evicted, 4096);
}

#[test]
fn with_the_hosts_entry_the_handle_goes_at_once() {
    let mut rig = Rig::up();
    for round in 0..50 {
        let macs: Vec<Mac> = (0..200).map(|n| rig.add_peer(n)).collect();
        macs.iter().for_each(|mac| rig.ping(*mac));
        rig.advance(1000);
        assert_eq!(rig.handles(), 200, "round {round}");
        for (n, mac) in macs.into_iter().enumerate() {
            let ip = Some(IpAddr::V4(ip(u16::try_from(n).unwrap())));
            rig.interface.handle_host(rig.now, HostEvent::NeighborGone { ip, mac });
        }
        assert_eq!(rig.handles(), 0);
    }
    rig.advance(200_000);
    assert_eq!(rig.snapshot().bounds.peers, 0);
}

#[test]
fn a_frame_to_nobody_makes_the_host_ask_again() {
    let mut rig = Rig::up();
    let nobody = Mac([2, 9, 9, 9, 9, 9]);
    rig.ping(nobody);
    rig.ping(nobody);
    assert_eq!((&rig.forgotten[..], rig.drops(Drop::TxUnknownPeer)), (&[nobody][..], 2));
    rig.advance(100);
    rig.ping(nobody);
    assert_eq!(rig.forgotten, [nobody, nobody]);
}

#[test]
fn a_peer_at_another_lid_is_reached_there_at_once() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.advance(10_000);
    rig.sa.paths.insert(peer(1).gid, Lid(777));
    // Its next packet with a GRH, or its next ARP, shows it.
    rig.datagram((peer(1), Lid(777)), None, true, EtherType::IPV4, &ip4([10, 0, 0, 100].into()));
    rig.sent.clear();
    rig.ping(mac);
    assert_eq!(rig.sent[0].to.dlid, Lid(777));
    assert_eq!(rig.sa.path_questions(peer(1).gid), 2);
    assert_eq!(rig.snapshot().paths[0].state, "valid");
}

#[test]
fn a_lid_that_goes_to_another_makes_the_old_owner_suspect() {
    let mut rig = Rig::up();
    let first = rig.add_peer(1);
    rig.ping(first);
    rig.advance(10_000);
    rig.sa.paths.insert(peer(1).gid, Lid(999));
    rig.arp_from(peer(2), lid(1), ip(2));
    rig.ping(first);
    assert_eq!(rig.sa.path_questions(peer(1).gid), 2);
    assert_eq!(rig.snapshot().paths[0].lid, Some(Lid(999)));
}

#[test]
fn a_peer_that_restarts_with_another_queue_pair_is_no_black_hole() {
    let mut rig = Rig::up();
    let old = rig.add_peer(1);
    rig.ping(old);
    let restarted = HwAddr { qpn: Qpn::new(0x222), ..peer(1) };
    let new = rig.arp_from(restarted, lid(1), ip(1));
    assert_ne!(old, new);
    assert!(rig.noted("PeerMoved"));
    rig.sent.clear();
    // Whoever still sends to the old address is told to ask, instead of being heard by nobody.
    rig.ping(old);
    assert_eq!((&rig.forgotten[..], rig.sent.len()), (&[old][..], 0));
    rig.ping(new);
    assert_eq!(rig.sent[0].dest_qp, Qpn::new(0x222));
}

#[test]
fn a_port_that_went_away_loses_its_handle() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let from = MadAddress::gsi(SM_LID, Default::default());
    rig.interface.handle_mad(rig.now, from, &Sa::report(TrapNumber::GID_OUT_OF_SERVICE, peer(1).gid));
    assert_eq!(rig.handles(), 0);
    rig.ping(mac);
    assert_eq!(rig.handles(), 1);
}

#[test]
fn reports_of_strangers_are_not_believed() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let from = MadAddress::gsi(Lid(66), Default::default());
    rig.interface.handle_mad(rig.now, from, &Sa::report(TrapNumber::GID_OUT_OF_SERVICE, peer(1).gid));
    assert_eq!((rig.handles(), rig.snapshot().counters.sa_unexpected), (1, 1));
}

#[test]
fn a_neighbour_that_failed_has_its_path_confirmed() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    rig.advance(5000);
    rig.interface.handle_host(rig.now, HostEvent::NeighborFailed { ip: ip(1).into(), mac: None });
    rig.ping(mac);
    assert_eq!((rig.sa.path_questions(peer(1).gid), rig.sent.len()), (2, 2));
}

#[test]
fn beyond_routers_packets_carry_a_grh() {
    let mut rig = Rig::up();
    rig.sa.hop_limit = 3;
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let global = rig.sent[0].to.global.unwrap();
    assert_eq!((global.dgid, global.hop_limit), (peer(1).gid, 3));
}

#[test]
fn questions_do_not_storm() {
    let mut rig = Rig::up();
    let macs: Vec<Mac> = (0..500).map(|n| rig.add_peer(n)).collect();
    rig.sa.mute = true;
    macs.iter().for_each(|mac| rig.ping(*mac));
    assert_eq!(rig.sa.count(Method::GET, RecordId::PATH), 32);
    assert_eq!(rig.snapshot().bounds.sa_outstanding, 32);
    rig.sa.mute = false;
    rig.advance(5_000);
    assert_eq!(rig.sent.len(), 500);
}

#[test]
fn a_sender_without_grh_whose_arp_was_missed_is_found_out() {
    let mut rig = Rig::up();
    rig.sa.paths.insert(peer(1).gid, lid(1));
    let body = ip4([10, 0, 0, 100].into());
    rig.datagram((peer(1), lid(1)), None, false, EtherType::IPV4, &body);
    rig.datagram((peer(1), lid(1)), None, false, EtherType::IPV4, &body);
    assert_eq!(rig.frames.len(), 2);
    assert_ne!(rig.frames[0].head[6..12], rig.frames[1].head[6..12]);
    assert_eq!(Mac(*rig.frames[1].head[6..].first_chunk().unwrap()), rig.arp_answer(1));
    assert_eq!(rig.snapshot().counters.rx_unknown_source, 1);
}

#[test]
fn a_path_to_nowhere_is_refused() {
    let mut rig = Rig::up();
    rig.sa.paths.insert(Gid::ZERO, Lid::NONE);
    rig.sa.paths.insert(peer(1).gid, Lid(0xc005));
    let mac = rig.arp_answer(1);
    rig.ping(mac);
    assert_eq!((rig.handles(), rig.drops(Drop::TxPathFailed)), (0, 1));
    rig.sa.refuse = Some(Status::SA_NO_RECORDS);
    rig.advance(5000);
    rig.ping(mac);
    assert_eq!(rig.drops(Drop::TxPathFailed), 2);
}
