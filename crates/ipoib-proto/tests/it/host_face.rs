//! What the host says and hears: ARP, neighbour discovery, DHCP, and what is not carried.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ib_wire::{
    addr::{Gid, HwAddr, HwFlags, Lid, Mac, Qpn},
    ipoib::{
        ArpOp, EthArp, EtherType, IbArp,
        checksum::Sum,
        nd::{self, LinkLayer, NdKind, NdMessage},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::Payload,
};
use ipoib_proto::{Drop, HostEvent};

use crate::rig::{Rig, broadcast, ip, ip4, ip4_len, lid, peer};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

fn arp(rig: &Rig, op: ArpOp, to: Mac, target_ip: Ipv4Addr) -> EthArp {
    EthArp { op, sender_hw: rig.interface.mac(), sender_ip: HOST, target_hw: to, target_ip }
}

/// A neighbour discovery message: type, flags, target, option.
fn nd(kind: u8, from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, option: &[u8]) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, if kind == 136 { 0x60 } else { 0 }, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    body.extend_from_slice(option);
    let sum = Sum::pseudo6(from, to, 58, body.len()).with(&body).finish();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, 58, 255];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(&body);
    packet
}

fn option(kind: u8, addr: HwAddr) -> Vec<u8> {
    [&[kind, 3, 0, 0][..], &addr.to_bytes()].concat()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

#[test]
fn a_question_goes_to_all_and_an_answer_to_the_one_who_asked() {
    let mut rig = Rig::up();
    let question = arp(&rig, ArpOp::REQUEST, Mac::ZERO, ip(1));
    rig.host(Mac::BROADCAST, EtherType::ARP, &question.emit());
    let sent = rig.sent.pop().unwrap();
    assert_eq!(sent.to.global.unwrap().dgid, broadcast());
    let on_link = IbArp::parse(&sent.payload[4..]).unwrap();
    assert_eq!((on_link.sender_hw, on_link.target_hw), (rig.interface.hw_addr(), HwAddr::default()));

    let mac = rig.add_peer(1);
    let answer = arp(&rig, ArpOp::REPLY, mac, ip(1));
    rig.host(mac, EtherType::ARP, &answer.emit());
    let sent = rig.sent.pop().unwrap();
    assert_eq!((sent.to.dlid, sent.dest_qp), (lid(1), peer(1).qpn));
    assert_eq!(IbArp::parse(&sent.payload[4..]).unwrap().target_hw, peer(1));
}

#[test]
fn an_answer_to_somebody_forgotten_goes_to_all() {
    let mut rig = Rig::up();
    let stranger = Mac([2, 1, 2, 3, 4, 5]);
    let answer = arp(&rig, ArpOp::REPLY, stranger, ip(1));
    rig.host(stranger, EtherType::ARP, &answer.emit());
    assert_eq!(rig.sent[0].to.global.unwrap().dgid, broadcast());
}

#[test]
fn a_question_of_a_peer_reaches_the_host_in_its_own_form() {
    let mut rig = Rig::up();
    let flagged = HwAddr { flags: HwFlags::RC, ..peer(1) };
    let question = IbArp {
        op: ArpOp::REQUEST,
        sender_hw: flagged,
        sender_ip: ip(1),
        target_hw: HwAddr::default(),
        target_ip: HOST,
    };
    rig.datagram((peer(1), lid(1)), Some(broadcast()), true, EtherType::ARP, &question.emit());
    let frame = rig.frames.pop().unwrap();
    assert_eq!(frame.head[..6], Mac::BROADCAST.0);
    let seen = EthArp::parse(&frame.body).unwrap();
    assert_eq!((seen.target_hw, seen.sender_ip), (Mac::ZERO, ip(1)));
    let known = rig.snapshot().peers;
    assert_eq!((known[0].mac, known[0].hw_addr, known[0].gid), (seen.sender_hw, flagged, peer(1).gid));
}

#[test]
fn questions_between_others_are_not_remembered() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded(IpAddr::V4(HOST)));
    for n in 0..100 {
        let question = IbArp {
            op: ArpOp::REQUEST,
            sender_hw: peer(n),
            sender_ip: ip(n),
            target_hw: HwAddr::default(),
            target_ip: if n == 7 { HOST } else { ip(200) },
        };
        rig.datagram((peer(n), lid(n)), Some(broadcast()), true, EtherType::ARP, &question.emit());
    }
    assert_eq!((rig.frames.len(), rig.snapshot().bounds.peers), (100, 1));
}

#[test]
fn whom_the_host_waits_for_is_remembered_by_any_message() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded(IpAddr::V4(HOST)));
    let question = arp(&rig, ArpOp::REQUEST, Mac::ZERO, ip(1));
    rig.host(Mac::BROADCAST, EtherType::ARP, &question.emit());
    let elsewhere = IbArp {
        op: ArpOp::REQUEST,
        sender_hw: peer(1),
        sender_ip: ip(1),
        target_hw: HwAddr::default(),
        target_ip: ip(200),
    };
    rig.datagram((peer(1), lid(1)), Some(broadcast()), true, EtherType::ARP, &elsewhere.emit());
    rig.sa.paths.insert(peer(1).gid, lid(1));
    let mac = EthArp::parse(&rig.frames.pop().unwrap().body).unwrap().sender_hw;
    rig.sent.clear();
    rig.ping(mac);
    assert_eq!(rig.sent[0].to.dlid, lid(1));
}

#[test]
fn ill_and_forged_arp_is_dropped_by_name() {
    let mut rig = Rig::up();
    let good = IbArp {
        op: ArpOp::REPLY,
        sender_hw: peer(1),
        sender_ip: ip(1),
        target_hw: rig.interface.hw_addr(),
        target_ip: HOST,
    };
    let mut short = good.emit();
    short[4] = 6;
    rig.datagram((peer(1), lid(1)), None, false, EtherType::ARP, &short);
    rig.datagram((peer(1), lid(1)), None, false, EtherType::ARP, &good.emit()[..55]);
    let group = IbArp { sender_hw: HwAddr { gid: broadcast(), ..peer(1) }, ..good };
    rig.datagram((peer(1), lid(1)), None, false, EtherType::ARP, &group.emit());
    assert_eq!(rig.drops(Drop::RxBadArp), 3);
    let other_qp = HwAddr { qpn: Qpn::new(0x999), ..peer(1) };
    rig.datagram((other_qp, lid(1)), None, false, EtherType::ARP, &good.emit());
    rig.datagram((peer(2), lid(2)), None, true, EtherType::ARP, &good.emit());
    let ours = IbArp { sender_hw: rig.interface.hw_addr(), ..good };
    rig.datagram((peer(1), lid(1)), None, false, EtherType::ARP, &ours.emit());
    assert_eq!((rig.drops(Drop::RxForgedArp), rig.frames.len()), (3, 0));
    assert_eq!(rig.snapshot().bounds.peers, 0);
}

#[test]
fn neighbour_discovery_is_translated_both_ways() {
    let mut rig = Rig::up();
    let (own, theirs) = (v6("fe80::202:c903:e:8a11"), v6("fe80::1001"));
    let group = v6("ff02::1:ff0e:8a11");
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined(group.into()));
    rig.drain();
    let asks = nd(135, theirs, group, own, &option(1, peer(1)));
    let mgid: Gid = "ff12:601b:ffff::1:ff0e:8a11".parse().unwrap();
    rig.datagram((peer(1), lid(1)), Some(mgid), true, EtherType::IPV6, &asks);
    let frame = rig.frames.pop().unwrap();
    assert_eq!(frame.head[..6], [0x33, 0x33, 0xff, 0x0e, 0x8a, 0x11]);
    let seen = NdMessage::parse(&frame.body, Checksum::Complete).unwrap();
    let Some(LinkLayer::Ethernet(mac)) = seen.source_link else { panic!("{seen:?}") };
    assert_eq!(frame.head[6..12], mac.0);

    rig.sa.paths.insert(peer(1).gid, lid(1));
    let target = [&[2, 1][..], &rig.interface.mac().0].concat();
    rig.host(mac, EtherType::IPV6, &nd(136, own, theirs, own, &target));
    let sent = rig.sent.pop().unwrap();
    assert_eq!((sent.to.dlid, sent.dest_qp, sent.offload), (lid(1), peer(1).qpn, Offload::NONE));
    let on_link = NdMessage::parse(&sent.payload[4..], Checksum::Complete).unwrap();
    assert_eq!(on_link.kind, NdKind::NeighborAdvertisement);
    assert_eq!(on_link.target_link, Some(LinkLayer::Ib(rig.interface.hw_addr())));
}

#[test]
fn what_grows_beyond_the_mtu_in_translation_is_dropped_by_name() {
    let mut rig = Rig::up();
    let (own, all) = (v6("fe80::202:c903:e:8a11"), v6("ff02::1"));
    let group = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let source = [&[2, 1][..], &rig.interface.mac().0].concat();
    // With a nonce of so many units of eight bytes; the address takes two units more on the link.
    let of = |units: u8| {
        let mut nonce = vec![0; usize::from(units) * 8];
        nonce[..2].copy_from_slice(&[14, units]);
        nd(136, own, all, own, &[&source[..], &nonce].concat())
    };
    let (fits, grows) = (of(244), of(245));
    assert_eq!((fits.len() + 16, grows.len() + 16), (2040, 2048));
    rig.host(group, EtherType::IPV6, &fits);
    assert_eq!((rig.sent.pop().unwrap().payload.len(), rig.drops(Drop::TxTooLong)), (4 + 2040, 0));
    let translated = rig.snapshot().counters.translated;
    rig.host(group, EtherType::IPV6, &grows);
    assert_eq!((rig.sent.len(), rig.drops(Drop::TxTooLong)), (0, 1));
    assert_eq!(rig.snapshot().counters.translated, translated);
}

#[test]
fn a_probe_for_duplicates_passes_both_ways_without_an_address() {
    let mut rig = Rig::up();
    let own = v6("fe80::202:c903:e:8a11");
    let group = v6("ff02::1:ff0e:8a11");
    let probe = nd(135, Ipv6Addr::UNSPECIFIED, group, own, &[]);
    rig.host(Mac([0x33, 0x33, 0xff, 0x0e, 0x8a, 0x11]), EtherType::IPV6, &probe);
    let sent = rig.sent.pop().unwrap();
    assert_eq!(sent.payload[4..], probe);
    let mgid = sent.to.global.unwrap().dgid;
    assert_eq!(mgid, "ff12:601b:ffff::1:ff0e:8a11".parse().unwrap());
    // Its echo is not heard, the same probe of another host is.
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined(group.into()));
    rig.drain();
    rig.datagram((rig.interface.hw_addr(), Lid(5)), Some(mgid), true, EtherType::IPV6, &probe);
    assert!(rig.frames.is_empty());
    rig.datagram((peer(1), lid(1)), Some(mgid), true, EtherType::IPV6, &probe);
    assert_eq!(rig.frames.len(), 1);
}

#[test]
fn forged_discovery_is_dropped_by_name() {
    let mut rig = Rig::up();
    let (own, theirs) = (v6("fe80::202:c903:e:8a11"), v6("fe80::1001"));
    let forged = nd(136, theirs, own, theirs, &option(2, peer(2)));
    rig.datagram((peer(1), lid(1)), None, true, EtherType::IPV6, &forged);
    let mut broken = nd(136, theirs, own, theirs, &option(2, peer(1)));
    broken[60] ^= 1;
    rig.datagram((peer(1), lid(1)), None, true, EtherType::IPV6, &broken);
    assert_eq!((rig.drops(Drop::RxForgedNd), rig.drops(Drop::RxBadNd), rig.frames.len()), (1, 1, 0));
}

#[test]
fn an_announcement_moves_only_who_is_known() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::GroupJoined("ff02::1".parse().unwrap()));
    rig.drain();
    let all = "ff12:601b:ffff::1".parse().unwrap();
    for n in [1, 2] {
        let told = nd::announcement(v6("fe80::1001"), peer(n), false);
        rig.datagram((peer(n), lid(n)), Some(all), true, EtherType::IPV6, &told);
        assert_eq!(rig.snapshot().bounds.peers, 0);
    }
    let theirs = v6("fe80::1001");
    let asked = nd(136, theirs, v6("fe80::202:c903:e:8a11"), theirs, &option(2, peer(1)));
    rig.datagram((peer(1), lid(1)), None, true, EtherType::IPV6, &asked);
    let told = nd::announcement(theirs, peer(2), false);
    rig.datagram((peer(2), lid(2)), Some(all), true, EtherType::IPV6, &told);
    let known = rig.snapshot().peers;
    assert_eq!((known.len(), known[0].hw_addr), (1, peer(2)));
    assert!(rig.noted("PeerMoved"));
}

#[test]
fn dhcp_leaves_and_arrives_by_rfc_4390() {
    let mut rig = Rig::up();
    let mut discover = ip4_len([255; 4].into(), 20 + 8 + 240 + 4);
    discover[12..16].fill(0);
    discover[20..24].copy_from_slice(&[0, 68, 0, 67]);
    discover[24..26].copy_from_slice(&252u16.to_be_bytes());
    discover[28..31].copy_from_slice(&[1, 1, 6]);
    discover[32..36].copy_from_slice(&[1, 2, 3, 4]);
    let mac = rig.interface.mac();
    discover[56..62].copy_from_slice(&mac.0);
    discover[264..268].copy_from_slice(&[99, 130, 83, 99]);
    discover[268..272].copy_from_slice(&[53, 1, 1, 255]);
    let sum = Sum::ZERO.with(&discover[..20]).finish();
    discover[10..12].copy_from_slice(&sum.to_be_bytes());
    rig.host(Mac::BROADCAST, EtherType::IPV4, &discover);
    let sent = rig.sent.pop().unwrap();
    let bootp = &sent.payload[4 + 28..];
    assert_eq!((bootp[1], bootp[2], &bootp[28..44]), (32, 0, &[0; 16][..]));
    assert_eq!(bootp[10] & 0x80, 0x80);
    assert_eq!(rig.snapshot().counters.translated, 1);
}

#[test]
fn what_is_not_carried_is_counted_by_name() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.host(mac, EtherType::VLAN, &[0; 64]);
    rig.host(mac, EtherType(0x88cc), &[0; 64]);
    rig.host(mac, EtherType::IPV4, &ip4_len(ip(1), 2045));
    rig.host(mac, EtherType::ARP, &[0; 20]);
    rig.interface.handle_host_frame(rig.now, Payload::from(&[0; 13][..]), Offload::NONE);
    rig.datagram((peer(1), lid(1)), None, false, EtherType(0x88cc), &[0; 64]);
    let snapshot = rig.snapshot();
    for reason in [
        Drop::TxVlan,
        Drop::TxUnsupportedProtocol,
        Drop::TxTooLong,
        Drop::TxBadArp,
        Drop::TxRunt,
        Drop::RxUnsupportedProtocol,
    ] {
        assert_eq!(snapshot.counters.drops.get(reason), 1, "{reason:?}");
    }
    assert_eq!(snapshot.counters.drops.tx() + snapshot.counters.drops.rx(), 6);
    assert!(rig.sent.is_empty());
}

#[test]
fn a_large_send_stays_whole_and_counts_as_what_it_stands_for() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.ping(mac);
    let before = rig.snapshot().counters;
    let segments = Segments { kind: SegmentKind::Tcp4, size: 2004, header: 40, ecn: false };
    let offload = Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: Some(segments) };
    let mut frame = [&mac.0[..], &[2; 6], &[8, 0]].concat();
    frame.extend_from_slice(&ip4_len(ip(1), 40 + 2004 * 3));
    rig.interface.handle_host_frame(rig.now, Payload::from(&frame[..]), offload);
    rig.drain();
    let after = rig.snapshot().counters;
    assert_eq!(rig.sent.last().unwrap().offload, offload);
    assert_eq!((after.tx_packets - before.tx_packets, after.tx_bytes - before.tx_bytes), (3, 3 * 2044));
    let oversize = Offload { segments: Some(Segments { size: 2005, ..segments }), ..offload };
    rig.interface.handle_host_frame(rig.now, Payload::from(&frame[..]), oversize);
    assert_eq!(rig.drops(Drop::TxTooLong), 3);
}

#[test]
fn reserved_octets_are_ignored_and_packets_come_with_or_without_grh() {
    let mut rig = Rig::up();
    let mac = rig.add_peer(1);
    rig.frames.clear();
    for global in [false, true] {
        rig.datagram((peer(1), lid(1)), None, global, EtherType::IPV4, &ip4(HOST));
    }
    for frame in &rig.frames {
        assert_eq!(frame.head[..6], rig.interface.mac().0);
        assert_eq!(frame.head[6..12], mac.0);
        assert_eq!(frame.head[12..], [8, 0]);
    }
    assert_eq!(rig.frames.len(), 2);
    assert_eq!(rig.snapshot().peers[0].rx_packets, 2);
}

#[test]
fn nothing_passes_while_down() {
    let mut rig = Rig::cold();
    rig.ping(Mac([2; 6]));
    rig.datagram((peer(1), lid(1)), None, false, EtherType::IPV4, &ip4(HOST));
    assert_eq!((rig.drops(Drop::TxNoCarrier), rig.drops(Drop::RxDown)), (1, 1));
    assert!(rig.frames.is_empty() && rig.sent.is_empty());
}

/// Two hosts look for each other at once. The question of one, for a third, reaches the other's kernel before its own is
/// answered: it is an answer to that kernel, which sends at once.
#[test]
fn a_question_for_another_is_answer_enough() {
    let mut rig = Rig::up();
    rig.interface.handle_host(rig.now, HostEvent::AddressAdded(IpAddr::V4(HOST)));
    rig.sa.paths.insert(peer(1).gid, lid(1));
    let question = IbArp {
        op: ArpOp::REQUEST,
        sender_hw: peer(1),
        sender_ip: ip(1),
        target_hw: HwAddr::new(Qpn::new(0), Gid::ZERO),
        target_ip: ip(2),
    };
    rig.datagram((peer(1), lid(1)), Some(broadcast()), true, EtherType::ARP, &question.emit());
    assert_eq!(rig.snapshot().bounds.peers, 0, "who asks for others is no peer");
    let mac = Mac(*rig.frames.pop().unwrap().head[6..].first_chunk().unwrap());
    rig.sent.clear();
    rig.ping(mac);
    rig.advance(100);
    assert_eq!(rig.sent.len(), 1);
    assert_eq!((rig.sent[0].to.dlid, rig.sent[0].dest_qp), (lid(1), peer(1).qpn));
    assert_eq!((rig.drops(Drop::TxUnknownPeer), rig.forgotten.len()), (0, 0));
    assert_eq!(rig.snapshot().bounds.peers, 1);
}
