//! Performance management reads what really passed.

use ib_fabric::{AgentId, AgentSpec};
use ib_wire::{
    addr::{Lid, Mtu, PKey, PortNum, Psn, QKey, Qpn, Rate, ServiceLevel, VirtualLane},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        pma::{PmaAttribute, PmaMad, PortCounters, PortCountersExtended, PortXmitDiscardDetails},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{Packet, PacketSpec},
    ud::{AddressVector, MadAddress, UdSend},
};

use crate::world::{QKEY, World};

const FULL: u16 = 0xffff;

pub(crate) struct Pma {
    pub(crate) world: World,
    agent: AgentId,
}

impl Pma {
    pub(crate) fn new() -> Self {
        let mut world = World::star();
        let spec = AgentSpec::client(MgmtClass::PERFORMANCE);
        let agent = world.fabric.register_agent(world.sm, spec).expect("free");
        Self { world, agent }
    }

    pub(crate) fn ask(
        &mut self,
        node: &str,
        method: Method,
        attribute: PmaAttribute,
        head: [u8; 4],
    ) -> (Status, [u8; 192]) {
        let header = MadHeader::request(MgmtClass::PERFORMANCE, method, AttributeId(attribute.0), 0);
        let mut mad = PmaMad { header, data: [0; 192] };
        mad.data[..4].copy_from_slice(&head);
        self.ask_mad(node, &mad)
    }

    pub(crate) fn ask_mad(&mut self, node: &str, mad: &PmaMad) -> (Status, [u8; 192]) {
        let to = MadAddress::gsi(self.world.lid(node), ServiceLevel::default());
        let World { fabric, now, sm, .. } = &mut self.world;
        fabric.send_mad(*now, *sm, self.agent, to, &mad.to_bytes()).expect("sent");
        self.world.drain();
        let got = self.world.mads.pop_back().expect("an answer");
        assert_eq!(got.agent, self.agent);
        let mad = PmaMad::from_bytes(&got.mad);
        (mad.header.status, mad.data)
    }

    pub(crate) fn counters(&mut self, node: &str, port: u8) -> PortCounters {
        let (status, data) = self.ask(node, Method::GET, PmaAttribute::PORT_COUNTERS, [0, port, 0, 0]);
        assert_eq!(status, Status::OK);
        PortCounters::parse(&data).expect("long enough").0
    }

    pub(crate) fn extended(&mut self, node: &str, port: u8) -> PortCountersExtended {
        let (status, data) =
            self.ask(node, Method::GET, PmaAttribute::PORT_COUNTERS_EXTENDED, [0, port, 0, 0]);
        assert_eq!(status, Status::OK);
        PortCountersExtended::parse(&data).expect("long enough").0
    }

    pub(crate) fn clear_all(&mut self, node: &str) {
        for attribute in [PmaAttribute::PORT_COUNTERS, PmaAttribute::PORT_COUNTERS_EXTENDED] {
            self.ask(node, Method::SET, attribute, [0, 255, 0xff, 0xff]);
        }
    }
}

/// A datagram as the fabric carries it, for its size.
fn as_packet(send: &UdSend) -> Packet {
    let spec = PacketSpec {
        vl: VirtualLane::default(),
        sl: ServiceLevel::default(),
        slid: Lid(1),
        dlid: Lid(2),
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey(0),
        src_qp: Qpn::new(9),
        dest_qp: Qpn::new(9),
        psn: Psn::new(0),
    };
    Packet::new(spec, send.payload.clone(), send.offload)
}

#[test]
fn counters_equal_what_was_sent_large_sends_included() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    let dlid = pma.world.lid("h3");
    let segments = Segments { kind: SegmentKind::Tcp4, size: 1400, header: 40, ecn: false };
    let offload = Offload { checksum: Checksum::Complete, segments: Some(segments) };
    let to = AddressVector { dlid, sl: ServiceLevel::default(), rate: Rate::GBPS_10, global: None };
    let datagram = |len: usize, offload| UdSend {
        to,
        dest_qp: b,
        qkey: QKEY,
        payload: vec![0; len].as_slice().into(),
        offload,
    };
    let sends = [datagram(100, Offload::NONE), datagram(2044, Offload::NONE), datagram(60_004, offload)];
    let expected = sends
        .iter()
        .map(|send| as_packet(send).measure())
        .fold((0, 0), |sum, measure| (sum.0 + u64::from(measure.packets), sum.1 + u64::from(measure.words)));
    assert_eq!(expected.0, 1 + 1 + 43);
    pma.clear_all("sw1");
    let before = pma.extended("sw1", 2);
    for send in sends {
        pma.world.post_raw(("h2", a), send);
    }
    let (ingress, egress) = (pma.extended("sw1", 2), pma.extended("sw1", 3));
    assert_eq!((before.rcv_pkts, before.rcv_data), (0, 0));
    assert_eq!((ingress.rcv_pkts, ingress.rcv_data), expected);
    assert_eq!((egress.xmit_pkts, egress.xmit_data), expected);
    assert_eq!((egress.unicast_xmit_pkts, egress.multicast_xmit_pkts), (expected.0, 0));
    let classic = pma.counters("sw1", 3);
    assert_eq!((u64::from(classic.xmit_pkts), u64::from(classic.xmit_data)), expected);
}

#[test]
fn every_mad_counts_too() {
    let mut pma = Pma::new();
    pma.clear_all("h2");
    let first = pma.extended("h2", 1);
    let second = pma.extended("h2", 1);
    assert_eq!(second.rcv_pkts - first.rcv_pkts, 1);
    assert_eq!(second.xmit_pkts - first.xmit_pkts, 1);
    let words = (8 + 12 + 8 + 256 + 4) / 4;
    assert_eq!(second.rcv_data - first.rcv_data, words);
}

#[test]
fn clearing_takes_what_is_selected_of_one_port_or_all() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    pma.world.post(("h2", a), ("h3", b), b"x");
    let select_packets = [0, 3, 0x40, 0];
    pma.ask("sw1", Method::SET, PmaAttribute::PORT_COUNTERS, select_packets);
    let (cleared, other) = (pma.counters("sw1", 3), pma.counters("sw1", 2));
    assert_eq!(cleared.xmit_pkts, 0);
    assert!(cleared.xmit_data > 0 && other.xmit_pkts > 0);
    let sum = pma.counters("sw1", 255);
    let parts: u32 = (0..=8).map(|port| pma.counters("sw1", port).rcv_switch_relay_errors as u32).sum();
    assert_eq!(u32::from(sum.rcv_switch_relay_errors), parts);
    assert_eq!(sum.port, PortNum::ALL);
    pma.clear_all("sw1");
    assert_eq!(pma.counters("sw1", 2).xmit_pkts, 0);
}

#[test]
fn old_counters_stop_at_their_largest_value() {
    let mut pma = Pma::new();
    let a = pma.world.qp("h2", FULL);
    let lost = ("h9", Qpn::new(9));
    pma.world.nodes.insert(lost.0.to_owned(), pma.world.nodes["h3"].clone());
    pma.world.nodes.get_mut("h9").expect("just put there").lid = Lid(50);
    for _ in 0..70_000 {
        pma.world.post(("h2", a), lost, b"x");
    }
    assert_eq!(pma.counters("sw1", 2).rcv_switch_relay_errors, 0xffff);
    pma.ask("sw1", Method::SET, PmaAttribute::PORT_COUNTERS, [0, 2, 0, 0x20]);
    assert_eq!(pma.counters("sw1", 2).rcv_switch_relay_errors, 0);
}

/// Whoever owns the fabric need not send MADs to read what they would.
#[test]
fn an_end_ports_counters_are_read_without_mads_too() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    pma.world.post(("h2", a), ("h3", b), b"x");
    let port = pma.world.fabric.end_port("h2", PortNum(1)).expect("h2 has it");
    let by_mad = pma.extended("h2", 1);
    let (_, read) = pma.world.fabric.port_counters(port);
    // The answer had not left when it was written.
    assert_eq!(read.unicast_xmit_pkts, by_mad.unicast_xmit_pkts + 1);
    assert_eq!(read.unicast_rcv_pkts, by_mad.unicast_rcv_pkts);
    pma.ask("h2", Method::SET, PmaAttribute::PORT_COUNTERS_EXTENDED, [0, 1, 0, 0xff]);
    let (classic, extended) = pma.world.fabric.port_counters(port);
    assert_eq!(extended.unicast_xmit_pkts, 1, "cleared, but for the answer that says so");
    assert!(classic.xmit_pkts > 1, "the others are cleared for themselves");
}

#[test]
fn details_tell_why_packets_were_not_sent() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    pma.world.edit_port("sw1", 3, |info| info.neighbor_mtu = Mtu::B256);
    pma.world.post(("h2", a), ("h3", b), &[0; 300]);
    let (status, data) = pma.ask("sw1", Method::GET, PmaAttribute::PORT_XMIT_DISCARD_DETAILS, [0, 3, 0, 0]);
    let (details, _) = PortXmitDiscardDetails::parse(&data).expect("long enough");
    assert_eq!((status, details.neighbor_mtu_discards, details.inactive_discards), (Status::OK, 1, 0));
    assert_eq!(pma.counters("sw1", 3).xmit_discards, 1);
}

#[test]
fn the_error_counters_of_64_bits_are_cleared_for_themselves() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    pma.world.edit_port("sw1", 3, |info| info.neighbor_mtu = Mtu::B256);
    for _ in 0..3 {
        pma.world.post(("h2", a), ("h3", b), &[0; 300]);
    }
    pma.ask("sw1", Method::SET, PmaAttribute::PORT_COUNTERS, [0, 3, 0, 0x40]);
    assert_eq!(pma.counters("sw1", 3).xmit_discards, 0);
    assert_eq!(pma.extended("sw1", 3).xmit_discards, 3, "another set of registers");
    let header = MadHeader::request(
        MgmtClass::PERFORMANCE,
        Method::SET,
        AttributeId(PmaAttribute::PORT_COUNTERS_EXTENDED.0),
        0,
    );
    let mut mad = PmaMad { header, data: [0; 192] };
    (mad.data[1], mad.data[7]) = (3, 1 << 5);
    pma.ask_mad("sw1", &mad);
    assert_eq!(pma.extended("sw1", 3).xmit_discards, 3, "that was another counter");
    mad.data[7] = 1 << 6;
    pma.ask_mad("sw1", &mad);
    assert_eq!(pma.extended("sw1", 3).xmit_discards, 0);
}

#[test]
fn the_agent_says_what_it_can_do() {
    let mut pma = Pma::new();
    for node in ["sw1", "h2"] {
        let (status, data) = pma.ask(node, Method::GET, PmaAttribute::CLASS_PORT_INFO, [0; 4]);
        assert_eq!((status, &data[..4]), (Status::OK, &[1, 1, 0x93, 0x00][..]));
        assert_eq!(u32::from_be_bytes([data[4], data[5], data[6], data[7]]) >> 5, 0x2);
        let (status, _) = pma.ask(node, Method::SET, PmaAttribute::CLASS_PORT_INFO, [0; 4]);
        assert_eq!(status, Status::BAD_METHOD_ATTRIBUTE);
    }
}

#[test]
fn unknown_ports_versions_and_attributes_are_refused() {
    let mut pma = Pma::new();
    let mut status = |port, attribute| pma.ask("sw1", Method::GET, attribute, [0, port, 0, 0]).0;
    assert_eq!(status(9, PmaAttribute::PORT_COUNTERS), Status::BAD_FIELD);
    assert_eq!(status(9, PmaAttribute::PORT_XMIT_DATA_SL), Status::BAD_FIELD);
    assert_eq!(status(1, PmaAttribute::PORT_SAMPLES_RESULT_EXTENDED), Status::BAD_METHOD_ATTRIBUTE);
    assert_eq!(status(9, PmaAttribute(0x13)), Status::BAD_METHOD_ATTRIBUTE);
    assert_eq!(status(0, PmaAttribute::CLASS_PORT_INFO), Status::OK);
    let mut header = MadHeader::request(MgmtClass::PERFORMANCE, Method::GET, AttributeId::CLASS_PORT_INFO, 0);
    header.class_version = 2;
    let (status, _) = pma.ask_mad("sw1", &PmaMad { header, data: [0; 192] });
    assert_eq!(status, Status::BAD_VERSION);
}
