//! What driver and fabric say to each other about packets: the records of the rings.
//!
//! A record is a head of fixed size for its kind, and behind it the payload as it is. Both processes are of one
//! machine and one version ([`VERSION`](super::hello::VERSION)), so numbers stand as the machine has them. What was
//! read is checked here: beyond, a record of a stranger is as good as one of our own.

mod heads;

use ib_lab::{PortNotice, PortRequest};
use ib_wire::{
    addr::{
        Gid, Guid, Lid, Lmc, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout,
    },
    mad::{
        MAD_LEN, Mad,
        attr::{PhysicalState, PortState},
    },
    packet::Grh,
    payload::Payload,
    ud::{AddressVector, MadAddress, PortEvent, PortView, QpCommand, UdReceived, UdSend},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub(super) use self::heads::ENCAPSULATION;
use self::heads::{MadHead, PortHead, QpHead, ReceivedHead, Route, SendHead};

/// Longest record: head, IPoIB header, the largest IP packet.
pub(crate) const LONGEST: usize = HEAD + 4 + 65_535 + 1;
/// No head is longer.
const HEAD: usize = 96;
/// Where in the record of a datagram that a driver sends its payload begins.
pub(crate) const SENT_AT: usize = size_of::<SendHead>();

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

/// Reads what a driver said. A payload shares the buffer of the record.
pub(crate) fn from_driver(record: &Payload) -> Result<FromDriver, BadRecord> {
    let bytes = &record[..];
    let request = match kind_of(bytes)? {
        kind::SEND => {
            let (head, payload) = head_and_payload::<SendHead>(record)?;
            // Strangers on a link may send less than an IPoIB header, drivers of ours do not.
            if payload.len() < ENCAPSULATION {
                return Err(BadRecord::Length);
            }
            let offload = head.undone.read(payload.len())?;
            let global = head.route.global();
            let to = AddressVector {
                dlid: Lid(head.route.lid),
                sl: ServiceLevel::new(head.route.sl),
                rate: Rate(head.route.rate),
                global,
            };
            let (dest_qp, qkey) = (Qpn::new(head.qpn), QKey(head.qkey));
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
pub(crate) fn from_fabric(record: &Payload) -> Result<FromFabric, BadRecord> {
    let bytes = &record[..];
    Ok(match kind_of(bytes)? {
        kind::RECEIVED => {
            let (head, payload) = head_and_payload::<ReceivedHead>(record)?;
            let offload = head.undone.read(payload.len())?;
            let grh = (head.has_grh != 0).then(|| Grh::parse(&head.grh)).transpose();
            let datagram = UdReceived {
                slid: Lid(head.slid),
                dlid: Lid(head.dlid),
                sl: ServiceLevel::new(head.sl),
                src_qp: Qpn::new(head.src_qp),
                pkey: PKey(head.pkey),
                grh: grh.map_err(|_| BadRecord::Value("the GRH"))?.map(|(grh, _)| grh),
                payload,
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

fn kind_of(bytes: &[u8]) -> Result<u16, BadRecord> {
    let first = bytes.first_chunk::<4>().ok_or(BadRecord::Length)?;
    Ok(u16::from_ne_bytes([first[0], first[1]]))
}

/// The head of a record, and where its payload begins.
fn head<T: FromBytes>(bytes: &[u8]) -> Result<(T, usize), BadRecord> {
    let (head, _) = T::read_from_prefix(bytes).map_err(|_| BadRecord::Length)?;
    Ok((head, size_of::<T>()))
}

/// The head of a record, and its payload, which lies where the record does.
fn head_and_payload<T: FromBytes>(record: &Payload) -> Result<(T, Payload), BadRecord> {
    let (head, start) = head(record)?;
    let mut payload = record.clone();
    payload.trim_front(start);
    Ok((head, payload))
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
    let event = PortEvent::ALL.get(usize::from(head.event)).copied().ok_or(BadRecord::Value("the event"))?;
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

/// The event's place among all.
pub(crate) fn event_code(event: PortEvent) -> u8 {
    let place = PortEvent::ALL.iter().position(|known| *known == event);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn number(nth: usize) -> u16 {
    u16::try_from(nth).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
