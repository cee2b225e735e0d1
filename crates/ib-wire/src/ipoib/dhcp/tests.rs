//! Exchanges of a client and a server, with dhcproto and etherparse as judges.

use alloc::{vec, vec::Vec};
use core::net::Ipv4Addr;

use dhcproto::{
    Decodable, Decoder, Encodable, Encoder,
    v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode},
};
use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

const MAC: Mac = Mac([0x02, 0x02, 0xc9, 0x0e, 0x8a, 0x11]);
const GUID: Guid = Guid(0x0002_c903_000e_8a11);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LEASE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const HOST_SERVER: [u8; 4] = [10, 77, 0, 1];

fn translator() -> DhcpTranslator {
    DhcpTranslator::new(MAC, client_id(GUID, PKey::DEFAULT_FULL))
}

/// Type 1 and the MAC: what most clients send.
fn mac_id() -> Vec<u8> {
    [&[1], &MAC.0[..]].concat()
}

fn request(xid: u32, kind: MessageType, ciaddr: Ipv4Addr, id: Option<&[u8]>) -> Message {
    let mut message = Message::new_with_id(xid, ciaddr, ANY, ANY, ANY, &MAC.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message.opts_mut().insert(DhcpOption::Hostname("h1".into()));
    if let Some(id) = id {
        message.opts_mut().insert(DhcpOption::ClientIdentifier(id.to_vec()));
    }
    message
}

/// What a server says to `asked`, hardware fields and identifier echoed.
fn reply(asked: &Message, kind: MessageType) -> Message {
    let mut message = asked.clone();
    message.set_opcode(Opcode::BootReply).set_yiaddr(LEASE);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

fn packet(message: &Message, ports: (u16, u16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).unwrap();
    raw_packet(&bytes, ports)
}

fn raw_packet(message: &[u8], (from, to): (u16, u16)) -> Vec<u8> {
    let builder = PacketBuilder::ipv4([0; 4], HOST_SERVER, 64).udp(from, to);
    let mut packet = vec![0; builder.size(message.len())];
    builder.write_to_slice(&mut packet, message).unwrap();
    packet
}

/// Reads a packet, every length and checksum of which must be right.
fn open(packet: &[u8]) -> Message {
    let (ip, rest) = etherparse::Ipv4Header::from_slice(packet).unwrap();
    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    assert_eq!(usize::from(ip.total_len), packet.len());
    let udp = etherparse::UdpSlice::from_slice(rest).unwrap();
    assert_eq!(usize::from(udp.length()), rest.len());
    let header = udp.to_header();
    assert_eq!(header.checksum, header.calc_checksum_ipv4(&ip, udp.payload()).unwrap());
    assert!(udp.payload().len() >= 300);
    Message::decode(&mut Decoder::new(udp.payload())).unwrap()
}

fn id_of(message: &Message) -> Option<&[u8]> {
    match message.opts().get(OptionCode::ClientIdentifier) {
        Some(DhcpOption::ClientIdentifier(id)) => Some(id),
        _ => None,
    }
}

/// Sends a client's message out and gives what is on the link, having looked at what RFC 4390 asks for.
fn sent(translator: &mut DhcpTranslator, message: &Message) -> Message {
    let out = open(&translator.handle_out(&packet(message, (68, 67)), Checksum::Complete).unwrap());
    assert_eq!((out.htype(), out.hlen(), out.chaddr()), (HType::Infiniband, 0, &[][..]));
    assert_eq!(out.xid(), message.xid());
    assert!(out.opts().contains(OptionCode::Hostname));
    out
}

/// Lets a server's message in and gives what the client sees.
fn seen(translator: &DhcpTranslator, message: &Message) -> Message {
    let seen = open(&translator.handle_in(&packet(message, (67, 68)), Checksum::Complete).unwrap());
    assert_eq!((seen.htype(), seen.hlen(), seen.chaddr()), (HType::Eth, 6, &MAC.0[..]));
    assert_eq!((seen.xid(), seen.yiaddr()), (message.xid(), LEASE));
    seen
}

#[test]
fn a_lease_is_taken_by_a_client_that_knows_only_ethernet() {
    let mut translator = translator();
    for (ask, answer) in
        [(MessageType::Discover, MessageType::Offer), (MessageType::Request, MessageType::Ack)]
    {
        let out = sent(&mut translator, &request(7, ask, ANY, Some(&mac_id())));
        assert!(out.flags().broadcast());
        assert_eq!(id_of(&out), Some(&client_id(GUID, PKey::DEFAULT_FULL)[..]));
        let seen = seen(&translator, &reply(&out, answer));
        assert_eq!((id_of(&seen), seen.flags().broadcast()), (Some(&mac_id()[..]), false));
        assert_eq!(seen.opts().msg_type(), Some(answer));
    }
}

#[test]
fn a_client_without_identifier_gets_none_back() {
    let mut translator = translator();
    let out = sent(&mut translator, &request(7, MessageType::Discover, ANY, None));
    assert!(id_of(&out).is_some());
    assert_eq!(id_of(&seen(&translator, &reply(&out, MessageType::Offer))), None);
}

#[test]
fn an_identifier_of_rfc_4361_is_kept() {
    let own = [255, 1, 2, 3, 4, 0, 2, 0, 0, 0xab, 0x11, 9, 9];
    let mut translator = translator();
    let out = sent(&mut translator, &request(7, MessageType::Discover, ANY, Some(&own)));
    assert_eq!(id_of(&out), Some(&own[..]));
    assert_eq!(id_of(&seen(&translator, &reply(&out, MessageType::Offer))), Some(&own[..]));
}

#[test]
fn a_server_that_echoes_no_identifier_is_understood() {
    let mut translator = translator();
    let out = sent(&mut translator, &request(7, MessageType::Discover, ANY, Some(&mac_id())));
    let mut offer = reply(&out, MessageType::Offer);
    offer.opts_mut().remove(OptionCode::ClientIdentifier);
    assert_eq!(id_of(&seen(&translator, &offer)), None);
}

#[test]
fn renewal_and_release_ask_for_no_broadcast() {
    let mut translator = translator();
    for kind in [MessageType::Request, MessageType::Release, MessageType::Inform] {
        let mut message = request(8, kind, LEASE, Some(&mac_id()));
        message.set_flags(Flags::default().set_broadcast());
        let out = sent(&mut translator, &message);
        assert_eq!((out.flags().broadcast(), out.ciaddr()), (false, LEASE), "{kind:?}");
        assert!(seen(&translator, &reply(&out, MessageType::Ack)).flags().broadcast());
    }
    assert!(!sent(&mut translator, &request(9, MessageType::Decline, ANY, None)).flags().broadcast());
}

#[test]
fn what_others_are_told_passes_untouched() {
    let mut translator = translator();
    let out = sent(&mut translator, &request(7, MessageType::Discover, ANY, Some(&mac_id())));
    let mut other = reply(&out, MessageType::Offer);
    other.opts_mut().insert(DhcpOption::ClientIdentifier(vec![255, 0, 0, 0, 0, 0, 4, 1]));
    assert_eq!(translator.handle_in(&packet(&other, (67, 68)), Checksum::Complete), None, "same xid");
    other.set_xid(99);
    assert_eq!(translator.handle_in(&packet(&other, (67, 68)), Checksum::Complete), None);
    other.opts_mut().remove(OptionCode::ClientIdentifier);
    assert_eq!(translator.handle_in(&packet(&other, (67, 68)), Checksum::Complete), None);
}

#[test]
fn an_answer_that_comes_after_a_restart_is_known_by_its_identifier() {
    let out = sent(&mut translator(), &request(7, MessageType::Discover, ANY, Some(&mac_id())));
    assert_eq!(id_of(&seen(&translator(), &reply(&out, MessageType::Offer))), None);
}

#[test]
fn servers_and_relays_pass_untouched_in_both_directions() {
    let mut host = translator();
    let asked = sent(&mut translator(), &request(7, MessageType::Discover, ANY, None));
    assert_eq!(host.handle_in(&packet(&asked, (68, 67)), Checksum::Complete), None, "request to a server");
    let offer = reply(&asked, MessageType::Offer);
    assert_eq!(host.handle_out(&packet(&offer, (67, 68)), Checksum::Complete), None, "answer of a server");
    let mut relayed = request(7, MessageType::Discover, ANY, None);
    relayed.set_giaddr([10, 0, 0, 1]);
    assert_eq!(host.handle_out(&packet(&relayed, (67, 67)), Checksum::Complete), None);
    assert_eq!(host.handle_out(&packet(&relayed, (68, 67)), Checksum::Complete), None);
    assert_eq!(
        host.handle_out(&packet(&asked, (68, 67)), Checksum::Complete),
        None,
        "speaks RFC 4390 itself"
    );
}

/// The message of a packet, and the packet with another.
fn edit(message: &Message, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet(message, (68, 67))[28..].to_vec();
    edit(&mut bytes);
    raw_packet(&bytes, (68, 67))
}

#[test]
fn a_missing_end_option_is_put_in_and_a_cut_one_passes_untouched() {
    let message = request(7, MessageType::Discover, ANY, Some(&mac_id()));
    let endless = edit(&message, |bytes| while bytes.pop() != Some(255) {});
    open(&translator().handle_out(&endless, Checksum::Complete).unwrap());
    let cut = edit(&message, |bytes| {
        while bytes.pop() != Some(255) {}
        bytes.pop();
    });
    assert_eq!(translator().handle_out(&cut, Checksum::Complete), None);
    let bootp = edit(&message, |bytes| bytes[236] = 0);
    assert_eq!(translator().handle_out(&bootp, Checksum::Complete), None);
}

#[test]
fn an_answer_with_its_identifier_in_the_boot_file_is_restored_there() {
    let mut translator = translator();
    let out = sent(&mut translator, &request(7, MessageType::Discover, ANY, Some(&mac_id())));
    let mut offer = reply(&out, MessageType::Offer);
    offer.opts_mut().remove(OptionCode::ClientIdentifier);
    offer.opts_mut().insert(DhcpOption::OptionOverload(1));
    let mut bytes = packet(&offer, (67, 68))[28..].to_vec();
    let sent_id = client_id(GUID, PKey::DEFAULT_FULL);
    bytes[108..110].copy_from_slice(&[61, 17]);
    bytes[110..127].copy_from_slice(&sent_id);
    bytes[127] = 255;
    let seen = translator.handle_in(&raw_packet(&bytes, (67, 68)), Checksum::Complete).unwrap();
    let file = &seen[28 + 108..28 + 236];
    assert_eq!(file[..10], [&[61, 7], &mac_id()[..], &[255]].concat());
    assert_eq!(file[10..], [0; 118]);
}

#[test]
fn damage_is_not_made_good() {
    let message = request(7, MessageType::Discover, ANY, None);
    let mut damaged = packet(&message, (68, 67));
    damaged[28 + 4] ^= 1;
    assert_eq!(translator().handle_out(&damaged, Checksum::Complete), None);
    let partial = Checksum::Partial { start: 20, offset: 6 };
    open(&translator().handle_out(&damaged, partial).unwrap());
    damaged[8] ^= 1;
    assert_eq!(translator().handle_out(&damaged, partial), None, "IPv4 header");
}

#[test]
fn a_message_too_long_to_grow_passes_untouched() {
    let message = request(7, MessageType::Discover, ANY, None);
    let full = |room: usize| {
        edit(&message, |bytes| {
            while bytes.pop() != Some(255) {}
            while bytes.len() + 1 + room < 65_535 - 28 {
                let len = (65_535 - 28 - bytes.len() - 1 - room - 2).min(250);
                bytes.extend([224, u8::try_from(len).unwrap()]);
                bytes.resize(bytes.len() + len, 7);
            }
            bytes.push(255);
        })
    };
    assert!(translator().handle_out(&full(19), Checksum::Complete).is_some());
    assert_eq!(translator().handle_out(&full(18), Checksum::Complete), None);
}

#[test]
fn questions_remembered_are_bounded() {
    let mut translator = translator();
    let messages: Vec<_> = (0..100)
        .map(|xid| sent(&mut translator, &request(xid, MessageType::Discover, ANY, Some(&mac_id()))))
        .collect();
    assert_eq!(translator.asked.len(), MAX_ASKED);
    assert_eq!(id_of(&seen(&translator, &reply(&messages[99], MessageType::Offer))), Some(&mac_id()[..]));
    assert_eq!(id_of(&seen(&translator, &reply(&messages[0], MessageType::Offer))), None);
}

#[test]
fn partitions_of_a_port_are_interfaces_of_one_node() {
    let (first, child) = (client_id(GUID, PKey::DEFAULT_FULL), client_id(GUID, PKey(0x0005)));
    assert_eq!(first, [255, 0, 0, 0xff, 0xff, 0, 3, 0, 32, 0, 2, 0xc9, 3, 0, 0x0e, 0x8a, 0x11]);
    assert_eq!(child[1..5], [0, 0, 0x80, 0x05]);
    assert_eq!(first[5..], child[5..]);
}

#[test]
fn dhcp_is_known_by_its_ports() {
    let message = request(7, MessageType::Discover, ANY, None);
    assert!(is_dhcp(&packet(&message, (68, 67))) && is_dhcp(&packet(&message, (67, 68))));
    assert!(!is_dhcp(&packet(&message, (67, 67))) && !is_dhcp(&packet(&message, (68, 53))));
    let mut fragment = packet(&message, (68, 67));
    fragment[6] = 0x20;
    assert!(!is_dhcp(&fragment) && !is_dhcp(&[]));
}

proptest! {
    #[test]
    fn any_identifier_comes_back(id in proptest::collection::vec(any::<u8>(), 1..256), xid: u32) {
        let mut translator = translator();
        let out = sent(&mut translator, &request(xid, MessageType::Request, ANY, Some(&id)));
        let seen = seen(&translator, &reply(&out, MessageType::Ack));
        prop_assert_eq!(id_of(&seen), Some(&id[..]));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, tail: Vec<u8>, at in 0..300usize, value: u8, way: bool) {
        let mut translator = translator();
        let message = request(7, MessageType::Discover, ANY, Some(&mac_id()));
        let out = reply(&sent(&mut translator, &message), MessageType::Offer);
        let mut message = packet(if way { &message } else { &out }, (68, 67))[28..].to_vec();
        message.truncate(240);
        message.extend([53, 1, 1]);
        message.extend(tail);
        if let Some(byte) = message.get_mut(at) {
            *byte = value;
        }
        let ports = if way { (68, 67) } else { (67, 68) };
        for bytes in [&bytes[..], &raw_packet(&message, ports)] {
            for checksum in [Checksum::Complete, Checksum::Verified] {
                let (out, seen) = (translator.handle_out(bytes, checksum), translator.handle_in(bytes, checksum));
                prop_assert!(out.iter().chain(&seen).all(|packet| is_dhcp(packet)));
            }
        }
    }
}
