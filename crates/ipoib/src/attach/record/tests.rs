//! Records are read as they were written, and nothing else is.

use proptest::prelude::*;

use ib_wire::{
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::GlobalRoute,
};

use super::{heads::Undone, *};

fn written(pieces: &Pieces<'_>) -> Payload {
    Payload::from(&pieces.slices().concat()[..])
}

fn route() -> GlobalRoute {
    GlobalRoute {
        sgid: Gid([1; 16]),
        dgid: Gid([0xff; 16]),
        traffic_class: 3,
        flow_label: 0x12345,
        hop_limit: 64,
    }
}

#[test]
fn requests_are_read_as_they_were_written() {
    let segments = Segments { kind: SegmentKind::Tcp6, size: 1000, header: 60, ecn: true };
    let offload = Offload { checksum: Checksum::Partial { start: 40, offset: 16 }, segments: Some(segments) };
    let send = UdSend {
        to: AddressVector {
            dlid: Lid(0xc001),
            sl: ServiceLevel::new(3),
            rate: Rate(7),
            global: Some(route()),
        },
        dest_qp: Qpn::MULTICAST,
        qkey: QKey(0x0b1b),
        payload: Payload::from(&[7; 3000][..]),
        offload,
    };
    let mgid = MulticastGid::try_from(Gid([0xff; 16])).unwrap();
    let requests = [
        PortRequest::Send(send),
        PortRequest::Mad { to: MadAddress::gsi(Lid(4), ServiceLevel::new(1)), mad: Box::new([9; 256]) },
        PortRequest::Qp(QpCommand::SetKeys { pkey: PKey(0x8001), qkey: QKey(5) }),
        PortRequest::Qp(QpCommand::Attach { mgid, mlid: Lid(0xc002) }),
        PortRequest::Qp(QpCommand::Detach { mgid, mlid: Lid(0xc002) }),
        PortRequest::Qp(QpCommand::Stop),
    ];
    for (nth, request) in requests.iter().enumerate() {
        let bytes = written(&of_request(nth, request));
        let read = from_driver(&bytes).unwrap();
        assert_eq!((read.nth, format!("{:?}", read.request)), (nth, format!("{request:?}")));
    }
}

#[test]
fn notices_are_read_as_they_were_written() {
    let datagram = received();
    let notice = PortNotice::Received { nth: 1, datagram: datagram.clone() };
    let bytes = written(&of_notice(&notice).unwrap());
    let Ok(FromFabric::Received { nth: 1, datagram: read }) = from_fabric(&bytes) else { panic!() };
    assert_eq!(format!("{read:?}"), format!("{datagram:?}"));
    assert_eq!(*read.payload, [8; 100]);
}

/// What a stranger puts on a link is dropped by the interface, not taken for a fabric that makes no sense.
#[test]
fn a_datagram_too_short_for_an_ipoib_header_reaches_its_driver_and_leaves_none() {
    for len in 0..4 {
        let payload = Payload::from(&[8, 0, 0, 0][..len]);
        let datagram = UdReceived { payload: payload.clone(), ..received() };
        let bytes = written(&of_notice(&PortNotice::Received { nth: 0, datagram }).unwrap());
        let Ok(FromFabric::Received { datagram: read, .. }) = from_fabric(&bytes) else { panic!("{len}") };
        assert_eq!(*read.payload, *payload);
        let to = AddressVector { dlid: Lid(1), sl: ServiceLevel::new(0), rate: Rate(3), global: None };
        let send = UdSend { to, dest_qp: Qpn::new(7), qkey: QKey(1), payload, offload: Offload::NONE };
        let bytes = written(&of_request(0, &PortRequest::Send(send)));
        assert_eq!(from_driver(&bytes).unwrap_err(), BadRecord::Length);
    }
}

fn received() -> UdReceived {
    UdReceived {
        slid: Lid(1),
        dlid: Lid(2),
        sl: ServiceLevel::new(3),
        src_qp: Qpn::new(4),
        pkey: PKey(5),
        grh: Some(Grh::parse(&[6; 40]).unwrap().0),
        payload: Payload::from(&[8; 100][..]),
        offload: Offload { checksum: Checksum::Verified, segments: None },
    }
}

#[test]
fn a_port_is_read_as_it_was_written() {
    let view = PortView {
        guid: Guid(1),
        prefix: SubnetPrefix(2),
        state: PortState::ACTIVE,
        physical_state: PhysicalState(5),
        lid: Lid(3),
        lmc: Lmc(1),
        sm_lid: Lid(4),
        sm_sl: ServiceLevel::new(5),
        mtu: Mtu(4),
        rate: None,
        subnet_timeout: Timeout(18),
        pkeys: vec![PKey::DEFAULT_FULL, PKey(0x8001)],
    };
    let mut keys = Vec::new();
    for event in PortEvent::ALL {
        let bytes = written(&of_port(event, &view, &mut keys));
        let Ok(FromFabric::Port { event: read, view: seen }) = from_fabric(&bytes) else { panic!() };
        assert_eq!((read, seen), (event, view.clone()));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut undone = Undone::from(&Offload::NONE);
    undone.segments = 1;
    assert_eq!(undone.read(100), Err(BadRecord::Value("the segments")), "a sum must be left to do");
    (undone.checksum, undone.start, undone.offset) = (2, 90, 16);
    assert_eq!(undone.read(100), Err(BadRecord::Value("the checksum")), "beyond the packet");
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(kind in 0u16..10, mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(first) = bytes.first_chunk_mut::<2>() {
            *first = kind.to_ne_bytes();
        }
        let record = Payload::from(&bytes[..]);
        let _ = from_driver(&record);
        let _ = from_fabric(&record);
    }
}
