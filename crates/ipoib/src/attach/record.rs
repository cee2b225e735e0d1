//! What driver and fabric say to each other about packets: the records of the rings.
//!
//! A record is a head of fixed size for its kind, and behind it the payload as it is. Both processes are of one
//! machine and one version ([`VERSION`](super::hello::VERSION)), so numbers stand as the machine has them. What was
//! read is checked here: beyond, a record of a stranger is as good as one of our own.

use ib_lab::{PortNotice, PortRequest};
use ib_wire::{
    addr::{
        Gid, Guid, Lid, Lmc, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout,
    },
    mad::{
        MAD_LEN, Mad,
        attr::{PhysicalState, PortState},
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{GlobalRoute, Grh},
    payload::Payload,
    ud::{AddressVector, MadAddress, PortEvent, PortView, QpCommand, UdReceived, UdSend},
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest record: head, IPoIB header, the largest IP packet.
pub(crate) const LONGEST: usize = HEAD + 4 + 65_535 + 1;
/// No head is longer.
const HEAD: usize = 96;
/// Bytes of the IPoIB header, in front of what offsets count from.
const ENCAPSULATION: usize = 4;

/// A record that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    /// It ends within its head, or its payload has not the length it must have.
    #[error("a record is too short or too long")]
    Length,
    /// There are no such records.
    #[error("record kind {0} is unknown")]
    Kind(u16),
    /// A field has a value that means nothing.
    #[error("{0} of a record makes no sense")]
    Value(&'static str),
}

/// What a driver says.
#[derive(Debug)]
pub(crate) struct FromDriver {
    /// The interface that wants it, from 0 on.
    pub(crate) nth: usize,
    /// What it wants.
    pub(crate) request: PortRequest,
}

/// What a fabric says.
#[derive(Debug)]
pub(crate) enum FromFabric {
    /// A datagram.
    Received {
        /// For this interface.
        nth: usize,
        /// What.
        datagram: UdReceived,
    },
    /// A MAD.
    Mad {
        /// For this interface.
        nth: usize,
        /// From where.
        from: MadAddress,
        /// The bytes.
        mad: Box<Mad>,
    },
    /// The port changed.
    Port {
        /// How.
        event: PortEvent,
        /// What it is now.
        view: PortView,
    },
}

mod kind {
    pub(super) const SEND: u16 = 1;
    pub(super) const MAD: u16 = 2;
    pub(super) const SET_KEYS: u16 = 3;
    pub(super) const ATTACH: u16 = 4;
    pub(super) const DETACH: u16 = 5;
    pub(super) const STOP: u16 = 6;
    pub(super) const RECEIVED: u16 = 7;
    pub(super) const PORT: u16 = 8;
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Route {
    lid: u16,
    sl: u8,
    rate: u8,
    has_global: u8,
    hop_limit: u8,
    traffic_class: u8,
    zero: u8,
    flow_label: u32,
    sgid: [u8; 16],
    dgid: [u8; 16],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Undone {
    checksum: u8,
    segments: u8,
    ecn: u8,
    zero: u8,
    start: u16,
    offset: u16,
    size: u16,
    header: u16,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SendHead {
    kind: u16,
    nth: u16,
    qpn: u32,
    qkey: u32,
    route: Route,
    undone: Undone,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct MadHead {
    kind: u16,
    nth: u16,
    qpn: u32,
    pkey: u16,
    zero: u16,
    route: Route,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct QpHead {
    kind: u16,
    nth: u16,
    qkey: u32,
    pkey: u16,
    mlid: u16,
    mgid: [u8; 16],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ReceivedHead {
    kind: u16,
    nth: u16,
    src_qp: u32,
    slid: u16,
    dlid: u16,
    pkey: u16,
    sl: u8,
    has_grh: u8,
    grh: [u8; 40],
    undone: Undone,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PortHead {
    kind: u16,
    event: u8,
    state: u8,
    physical_state: u8,
    lmc: u8,
    lid: u16,
    guid: u64,
    prefix: u64,
    sm_lid: u16,
    sm_sl: u8,
    mtu: u8,
    rate: u8,
    subnet_timeout: u8,
    zero: u16,
}

const _: () = assert!(LONGEST <= crate::face::BUFFER);
const _: () = assert!(size_of::<SendHead>() <= HEAD && size_of::<ReceivedHead>() <= HEAD);

/// A record in the pieces it is written in. The first is made here, the second is the caller's.
pub(crate) struct Pieces<'a> {
    head: [u8; HEAD],
    len: usize,
    body: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn new(head: &(impl IntoBytes + Immutable), body: &'a [u8]) -> Self {
        let bytes = head.as_bytes();
        let mut head = [0; HEAD];
        head[..bytes.len()].copy_from_slice(bytes);
        Self { head, len: bytes.len(), body }
    }

    /// One behind the other.
    pub(crate) fn slices(&self) -> [&[u8]; 2] {
        [&self.head[..self.len], self.body]
    }
}

/// What interface `nth` wants, as a record.
pub(crate) fn of_request(nth: usize, request: &PortRequest) -> Pieces<'_> {
    let nth = number(nth);
    let keys = |kind, pkey: PKey, qkey: QKey| {
        Pieces::new(&QpHead { kind, nth, qkey: qkey.0, pkey: pkey.0, mlid: 0, mgid: [0; 16] }, &[])
    };
    let group = |kind, mgid: MulticastGid, mlid: Lid| {
        Pieces::new(&QpHead { kind, nth, qkey: 0, pkey: 0, mlid: mlid.0, mgid: mgid.gid().0 }, &[])
    };
    match request {
        PortRequest::Send(send) => {
            let route = Route::of(send.to.dlid, send.to.sl, send.to.rate, send.to.global.as_ref());
            let (qpn, qkey) = (send.dest_qp.get(), send.qkey.0);
            let head = SendHead { kind: kind::SEND, nth, qpn, qkey, route, undone: (&send.offload).into() };
            Pieces::new(&head, &send.payload)
        }
        PortRequest::Mad { to, mad } => of_mad(nth, to, &mad[..]),
        PortRequest::Qp(QpCommand::SetKeys { pkey, qkey }) => keys(kind::SET_KEYS, *pkey, *qkey),
        PortRequest::Qp(QpCommand::Attach { mgid, mlid }) => group(kind::ATTACH, *mgid, *mlid),
        PortRequest::Qp(QpCommand::Detach { mgid, mlid }) => group(kind::DETACH, *mgid, *mlid),
        PortRequest::Qp(QpCommand::Stop) => keys(kind::STOP, PKey(0), QKey(0)),
    }
}

/// What a port has for a driver, as a record; none of a change of the port, for that needs [`of_port`].
pub(crate) fn of_notice(notice: &PortNotice) -> Option<Pieces<'_>> {
    Some(match notice {
        PortNotice::Received { nth, datagram } => {
            let head = ReceivedHead {
                kind: kind::RECEIVED,
                nth: number(*nth),
                src_qp: datagram.src_qp.get(),
                slid: datagram.slid.0,
                dlid: datagram.dlid.0,
                pkey: datagram.pkey.0,
                sl: datagram.sl.get(),
                has_grh: datagram.grh.is_some().into(),
                grh: datagram.grh.map_or([0; 40], |grh| grh.to_bytes()),
                undone: (&datagram.offload).into(),
            };
            Pieces::new(&head, &datagram.payload)
        }
        PortNotice::Mad { nth, from, mad } => of_mad(number(*nth), from, mad),
        PortNotice::Port(_) => return None,
    })
}

/// A change of the port, as a record. `keys` is space for what stands behind the head.
pub(crate) fn of_port<'a>(event: PortEvent, view: &PortView, keys: &'a mut Vec<u8>) -> Pieces<'a> {
    keys.clear();
    view.pkeys.iter().for_each(|pkey| keys.extend(pkey.0.to_ne_bytes()));
    let head = PortHead {
        kind: kind::PORT,
        event: event_code(event),
        state: view.state.0,
        physical_state: view.physical_state.0,
        lmc: view.lmc.0,
        lid: view.lid.0,
        guid: view.guid.0,
        prefix: view.prefix.0,
        sm_lid: view.sm_lid.0,
        sm_sl: view.sm_sl.get(),
        mtu: view.mtu.0,
        rate: view.rate.map_or(0, |rate| rate.0),
        subnet_timeout: view.subnet_timeout.0,
        zero: 0,
    };
    Pieces::new(&head, keys)
}

/// Reads what a driver said. The record stands in `buffer[..len]`; the payload keeps the buffer.
pub(crate) fn from_driver(buffer: Buffer, len: usize) -> Result<FromDriver, BadRecord> {
    let bytes = buffer.get(..len).ok_or(BadRecord::Length)?;
    let request = match kind_of(bytes)? {
        kind::SEND => {
            let (head, start) = head::<SendHead>(bytes)?;
            let offload = head.undone.read(len - start)?;
            let global = head.route.global();
            let to = AddressVector {
                dlid: Lid(head.route.lid),
                sl: ServiceLevel::new(head.route.sl),
                rate: Rate(head.route.rate),
                global,
            };
            let (dest_qp, qkey) = (Qpn::new(head.qpn), QKey(head.qkey));
            let payload = Payload::from_buffer(buffer.clone(), start, len);
            PortRequest::Send(UdSend { to, dest_qp, qkey, payload, offload })
        }
        kind::MAD => {
            let (_, to, mad) = mad(bytes)?;
            PortRequest::Mad { to, mad }
        }
        which => PortRequest::Qp(command(which, bytes)?),
    };
    let nth = u16::from_ne_bytes([bytes[2], bytes[3]]);
    Ok(FromDriver { nth: nth.into(), request })
}

/// Reads what a fabric said, as [`from_driver`] does.
pub(crate) fn from_fabric(buffer: Buffer, len: usize) -> Result<FromFabric, BadRecord> {
    let bytes = buffer.get(..len).ok_or(BadRecord::Length)?;
    Ok(match kind_of(bytes)? {
        kind::RECEIVED => {
            let (head, start) = head::<ReceivedHead>(bytes)?;
            let offload = head.undone.read(len - start)?;
            let grh = (head.has_grh != 0).then(|| Grh::parse(&head.grh)).transpose();
            let datagram = UdReceived {
                slid: Lid(head.slid),
                dlid: Lid(head.dlid),
                sl: ServiceLevel::new(head.sl),
                src_qp: Qpn::new(head.src_qp),
                pkey: PKey(head.pkey),
                grh: grh.map_err(|_| BadRecord::Value("the GRH"))?.map(|(grh, _)| grh),
                payload: Payload::from_buffer(buffer.clone(), start, len),
                offload,
            };
            FromFabric::Received { nth: head.nth.into(), datagram }
        }
        kind::MAD => {
            let (nth, from, mad) = mad(bytes)?;
            FromFabric::Mad { nth, from, mad }
        }
        kind::PORT => port(bytes)?,
        other => return Err(BadRecord::Kind(other)),
    })
}

/// A buffer that a record was read into.
pub(crate) type Buffer = std::sync::Arc<[u8]>;

fn kind_of(bytes: &[u8]) -> Result<u16, BadRecord> {
    let first = bytes.first_chunk::<4>().ok_or(BadRecord::Length)?;
    Ok(u16::from_ne_bytes([first[0], first[1]]))
}

/// The head of a record, and where its payload begins.
fn head<T: FromBytes>(bytes: &[u8]) -> Result<(T, usize), BadRecord> {
    let (head, _) = T::read_from_prefix(bytes).map_err(|_| BadRecord::Length)?;
    Ok((head, size_of::<T>()))
}

fn of_mad<'a>(nth: u16, address: &MadAddress, mad: &'a [u8]) -> Pieces<'a> {
    let route = Route::of(address.lid, address.sl, Rate(0), address.global.as_ref());
    let (qpn, pkey) = (address.qpn.get(), address.pkey.0);
    Pieces::new(&MadHead { kind: kind::MAD, nth, qpn, pkey, zero: 0, route }, mad)
}

fn mad(bytes: &[u8]) -> Result<(usize, MadAddress, Box<Mad>), BadRecord> {
    let (head, start) = head::<MadHead>(bytes)?;
    let mad: Mad = bytes[start..].try_into().map_err(|_| BadRecord::Length)?;
    debug_assert_eq!(mad.len(), MAD_LEN);
    let address = MadAddress {
        lid: Lid(head.route.lid),
        qpn: Qpn::new(head.qpn),
        sl: ServiceLevel::new(head.route.sl),
        pkey: PKey(head.pkey),
        global: head.route.global(),
    };
    Ok((head.nth.into(), address, Box::new(mad)))
}

fn command(which: u16, bytes: &[u8]) -> Result<QpCommand, BadRecord> {
    if !(kind::SET_KEYS..=kind::STOP).contains(&which) {
        return Err(BadRecord::Kind(which));
    }
    let (head, _) = head::<QpHead>(bytes)?;
    let mgid = || MulticastGid::try_from(Gid(head.mgid)).map_err(|_| BadRecord::Value("the group"));
    Ok(match which {
        kind::SET_KEYS => QpCommand::SetKeys { pkey: PKey(head.pkey), qkey: QKey(head.qkey) },
        kind::ATTACH => QpCommand::Attach { mgid: mgid()?, mlid: Lid(head.mlid) },
        kind::DETACH => QpCommand::Detach { mgid: mgid()?, mlid: Lid(head.mlid) },
        _ => QpCommand::Stop,
    })
}

fn port(bytes: &[u8]) -> Result<FromFabric, BadRecord> {
    let (head, start) = head::<PortHead>(bytes)?;
    let event = EVENTS.get(usize::from(head.event)).copied().ok_or(BadRecord::Value("the event"))?;
    let keys = bytes[start..].chunks_exact(2);
    let view = PortView {
        guid: Guid(head.guid),
        prefix: SubnetPrefix(head.prefix),
        state: PortState(head.state),
        physical_state: PhysicalState(head.physical_state),
        lid: Lid(head.lid),
        lmc: Lmc(head.lmc),
        sm_lid: Lid(head.sm_lid),
        sm_sl: ServiceLevel::new(head.sm_sl),
        mtu: Mtu(head.mtu),
        rate: (head.rate != 0).then_some(Rate(head.rate)),
        subnet_timeout: Timeout(head.subnet_timeout),
        pkeys: keys.map(|key| PKey(u16::from_ne_bytes([key[0], key[1]]))).collect(),
    };
    Ok(FromFabric::Port { event, view })
}

/// Events by their codes.
pub(crate) const EVENTS: [PortEvent; 7] = [
    PortEvent::Active,
    PortEvent::Down,
    PortEvent::LidChange,
    PortEvent::SmChange,
    PortEvent::ClientReregister,
    PortEvent::PKeyChange,
    PortEvent::GidChange,
];

/// The event's place among [`EVENTS`].
pub(crate) fn event_code(event: PortEvent) -> u8 {
    let place = EVENTS.iter().position(|known| *known == event);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn number(nth: usize) -> u16 {
    u16::try_from(nth).unwrap_or(u16::MAX)
}

impl Route {
    fn of(lid: Lid, sl: ServiceLevel, rate: Rate, global: Option<&GlobalRoute>) -> Self {
        let none =
            GlobalRoute { sgid: Gid::ZERO, dgid: Gid::ZERO, traffic_class: 0, flow_label: 0, hop_limit: 0 };
        let route = global.unwrap_or(&none);
        Self {
            lid: lid.0,
            sl: sl.get(),
            rate: rate.0,
            has_global: global.is_some().into(),
            hop_limit: route.hop_limit,
            traffic_class: route.traffic_class,
            zero: 0,
            flow_label: route.flow_label,
            sgid: route.sgid.0,
            dgid: route.dgid.0,
        }
    }

    fn global(&self) -> Option<GlobalRoute> {
        (self.has_global != 0).then_some(GlobalRoute {
            sgid: Gid(self.sgid),
            dgid: Gid(self.dgid),
            traffic_class: self.traffic_class,
            flow_label: self.flow_label & 0xf_ffff,
            hop_limit: self.hop_limit,
        })
    }
}

impl From<&Offload> for Undone {
    fn from(offload: &Offload) -> Self {
        let (checksum, start, offset) = match offload.checksum {
            Checksum::Complete => (0, 0, 0),
            Checksum::Verified => (1, 0, 0),
            Checksum::Partial { start, offset } => (2, start, offset),
        };
        let kind = |segments: Segments| match segments.kind {
            SegmentKind::Tcp4 => 1,
            SegmentKind::Tcp6 => 2,
            SegmentKind::Udp => 3,
        };
        let segments = offload.segments;
        Self {
            checksum,
            segments: segments.map_or(0, kind),
            ecn: segments.is_some_and(|segments| segments.ecn).into(),
            zero: 0,
            start,
            offset,
            size: segments.map_or(0, |segments| segments.size),
            header: segments.map_or(0, |segments| segments.header),
        }
    }
}

impl Undone {
    /// What is left to do for a payload of `len` bytes, if it can be done.
    fn read(&self, len: usize) -> Result<Offload, BadRecord> {
        let ip_len = len.checked_sub(ENCAPSULATION).ok_or(BadRecord::Length)?;
        let checksum = match self.checksum {
            0 => Checksum::Complete,
            1 => Checksum::Verified,
            2 if usize::from(self.start) + usize::from(self.offset) + 2 <= ip_len => {
                Checksum::Partial { start: self.start, offset: self.offset }
            }
            _ => return Err(BadRecord::Value("the checksum")),
        };
        let kind = match self.segments {
            0 => return Ok(Offload { checksum, segments: None }),
            1 => SegmentKind::Tcp4,
            2 => SegmentKind::Tcp6,
            3 => SegmentKind::Udp,
            _ => return Err(BadRecord::Value("the segments")),
        };
        let unfinished = matches!(checksum, Checksum::Partial { .. });
        if !unfinished || self.size == 0 || usize::from(self.header) > ip_len {
            return Err(BadRecord::Value("the segments"));
        }
        let segments = Segments { kind, size: self.size, header: self.header, ecn: self.ecn != 0 };
        Ok(Offload { checksum, segments: Some(segments) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buffer(pieces: &Pieces<'_>) -> (Buffer, usize) {
        let bytes = pieces.slices().concat();
        let len = bytes.len();
        (bytes.into(), len)
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
        let offload =
            Offload { checksum: Checksum::Partial { start: 40, offset: 16 }, segments: Some(segments) };
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
            let (bytes, len) = buffer(&of_request(nth, request));
            let read = from_driver(bytes, len).unwrap();
            assert_eq!((read.nth, format!("{:?}", read.request)), (nth, format!("{request:?}")));
        }
    }

    #[test]
    fn notices_are_read_as_they_were_written() {
        let datagram = UdReceived {
            slid: Lid(1),
            dlid: Lid(2),
            sl: ServiceLevel::new(3),
            src_qp: Qpn::new(4),
            pkey: PKey(5),
            grh: Some(Grh::parse(&[6; 40]).unwrap().0),
            payload: Payload::from(&[8; 100][..]),
            offload: Offload { checksum: Checksum::Verified, segments: None },
        };
        let notice = PortNotice::Received { nth: 1, datagram: datagram.clone() };
        let (bytes, len) = buffer(&of_notice(&notice).unwrap());
        let Ok(FromFabric::Received { nth: 1, datagram: read }) = from_fabric(bytes, len) else { panic!() };
        assert_eq!(format!("{read:?}"), format!("{datagram:?}"));
        assert_eq!(*read.payload, [8; 100]);
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
        for event in EVENTS {
            let (bytes, len) = buffer(&of_port(event, &view, &mut keys));
            let Ok(FromFabric::Port { event: read, view: seen }) = from_fabric(bytes, len) else { panic!() };
            assert_eq!((read, seen), (event, view.clone()));
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let mut undone = Undone::from(&Offload::NONE);
        assert_eq!(undone.read(3), Err(BadRecord::Length), "not even an IPoIB header");
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
            let (len, buffer) = (bytes.len(), Buffer::from(bytes));
            let _ = from_driver(buffer.clone(), len);
            let _ = from_fabric(buffer.clone(), len);
            prop_assert!(from_driver(buffer, len + 1).is_err());
        }
    }
}
