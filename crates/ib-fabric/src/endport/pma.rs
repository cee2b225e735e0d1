//! Performance management: counters read and cleared by MAD. IBA 1 §16.1.
//!
//! Each attribute is a table: which bit of its counter select clears which counter.

use ib_wire::{
    addr::{Lid, PortNum, Timeout},
    mad::{
        Mad, MadHeader, Method, Status,
        attr::ClassPortInfo,
        pma::{
            PmaAttribute, PmaMad, PortCounters, PortCountersExtended, PortRcvErrorDetails,
            PortXmitDiscardDetails,
        },
    },
};

use crate::{
    counters::{
        Counter::{self, *},
        View,
    },
    port::Port,
};

type Data = [u8; 192];
/// The counter that each bit of a select clears; bits beyond the table clear nothing.
type Select = [Option<Counter>];

const COUNTERS: &Select = &[
    Some(SymbolError),
    Some(LinkRecovery),
    Some(LinkDowned),
    Some(RcvErrors),
    Some(RcvRemotePhysical),
    Some(RcvRelay),
    Some(XmitDiscards),
    Some(XmitConstraint),
    Some(RcvConstraint),
    None,
    None,
    Some(Vl15Dropped),
    Some(XmitWords),
    Some(RcvWords),
    Some(XmitPackets),
    Some(RcvPackets),
];
/// Counter select 2 of the same attribute: time spent waiting, which never passes here, and this one.
const COUNTERS_2: &Select = &[None, Some(Qp1Dropped)];
const EXTENDED: &Select = &[
    Some(XmitWords),
    Some(RcvWords),
    Some(XmitPackets),
    Some(RcvPackets),
    Some(XmitUnicast),
    Some(RcvUnicast),
    Some(XmitMulticast),
    Some(RcvMulticast),
];
const RCV_ERRORS: &Select = &[
    Some(LocalPhysical),
    Some(Malformed),
    Some(BufferOverrun),
    Some(DlidMapping),
    Some(VlMapping),
    Some(Looping),
];
const XMIT_DISCARDS: &Select = &[Some(Inactive), Some(NeighborMtu), Some(SwitchLifetime), Some(HoqLifetime)];

/// All ports at once, 64-bit counters, QP1 drops.
const CAPABILITIES: u16 = 1 << 8 | 1 << 9 | 1 << 15;

/// Answers a Get or Set about `ports`, which are those of one node.
pub(super) fn answer(ports: &mut [Port], header: &MadHeader, mad: &Mad) -> Mad {
    let mut answer = PmaMad::from_bytes(mad);
    answer.header.method = Method::GET_RESP;
    answer.header.status = match serve(ports, header, &mut answer.data) {
        Ok(()) => Status::OK,
        Err(status) => status,
    };
    answer.to_bytes()
}

fn serve(ports: &mut [Port], header: &MadHeader, data: &mut Data) -> Result<(), Status> {
    if header.base_version != 1 || header.class_version != 1 {
        return Err(Status::BAD_VERSION);
    }
    let attribute = PmaAttribute(header.attribute.0);
    if attribute == PmaAttribute::CLASS_PORT_INFO {
        return class_port_info(header.method, data);
    }
    let [_, num, high, low, ..] = *data;
    let num = PortNum(num);
    let select = u16::from_be_bytes([high, low]);
    let mut chosen = Chosen::new(ports, num)?;
    if header.method == Method::SET {
        match attribute {
            PmaAttribute::PORT_COUNTERS => {
                let second = PortCounters::parse(data).map_or(0, |(counters, _)| counters.counter_select2);
                chosen.clear(View::Classic, COUNTERS, select);
                chosen.clear(View::Classic, COUNTERS_2, second.into());
            }
            PmaAttribute::PORT_COUNTERS_EXTENDED => chosen.clear(View::Extended, EXTENDED, select),
            PmaAttribute::PORT_RCV_ERROR_DETAILS => chosen.clear(View::Classic, RCV_ERRORS, select),
            PmaAttribute::PORT_XMIT_DISCARD_DETAILS => chosen.clear(View::Classic, XMIT_DISCARDS, select),
            _ => {}
        }
    }
    match attribute {
        PmaAttribute::PORT_COUNTERS => put(data, &chosen.counters(num, select).to_bytes()),
        PmaAttribute::PORT_COUNTERS_EXTENDED => put(data, &chosen.extended(num, select).to_bytes()),
        PmaAttribute::PORT_RCV_ERROR_DETAILS => put(data, &chosen.rcv_errors(num, select).to_bytes()),
        PmaAttribute::PORT_XMIT_DISCARD_DETAILS => put(data, &chosen.discards(num, select).to_bytes()),
        _ => return Err(Status::BAD_METHOD_ATTRIBUTE),
    }
    Ok(())
}

fn class_port_info(method: Method, data: &mut Data) -> Result<(), Status> {
    if method != Method::GET {
        return Err(Status::BAD_METHOD_ATTRIBUTE);
    }
    let zero = ClassPortInfo::from_bytes(&[0; ClassPortInfo::LEN]);
    let info = ClassPortInfo {
        base_version: 1,
        class_version: 1,
        capability_mask: CAPABILITIES,
        response_time: Timeout(16),
        redirect_lid: Lid::NONE,
        ..zero
    };
    put(data, &info.to_bytes());
    Ok(())
}

fn put(data: &mut Data, bytes: &[u8]) {
    data.fill(0);
    data[..bytes.len()].copy_from_slice(bytes);
}

/// The ports that a request means: one, or all at once.
struct Chosen<'a>(&'a mut [Port]);

impl<'a> Chosen<'a> {
    fn new(ports: &'a mut [Port], num: PortNum) -> Result<Self, Status> {
        if num == PortNum::ALL {
            return Ok(Self(ports));
        }
        let index = ports.iter().position(|port| port.num == num).ok_or(Status::BAD_FIELD)?;
        Ok(Self(&mut ports[index..=index]))
    }

    fn clear(&mut self, view: View, table: &Select, select: u16) {
        let selected = table.iter().enumerate().filter(|(bit, _)| select >> bit & 1 != 0);
        for counter in selected.filter_map(|(_, counter)| *counter) {
            self.0.iter_mut().for_each(|port| port.counters.clear(view, counter));
        }
    }

    fn sum(&self, view: View, counter: Counter) -> u64 {
        self.0.iter().map(|port| port.counters.since_clear(view, counter)).sum()
    }

    /// As a register shows it that stops at its largest value.
    fn classic<T: TryFrom<u64>>(&self, counter: Counter, largest: T) -> T {
        T::try_from(self.sum(View::Classic, counter)).unwrap_or(largest)
    }

    fn counters(&self, port: PortNum, counter_select: u16) -> PortCounters {
        let byte = |counter| self.classic(counter, u8::MAX);
        let short = |counter| self.classic(counter, u16::MAX);
        let long = |counter| self.classic(counter, u32::MAX);
        PortCounters {
            port,
            counter_select,
            symbol_error: short(SymbolError),
            link_error_recovery: byte(LinkRecovery),
            link_downed: byte(LinkDowned),
            rcv_errors: short(RcvErrors),
            rcv_remote_physical_errors: short(RcvRemotePhysical),
            rcv_switch_relay_errors: short(RcvRelay),
            xmit_discards: short(XmitDiscards),
            xmit_constraint_errors: byte(XmitConstraint),
            rcv_constraint_errors: byte(RcvConstraint),
            counter_select2: 0,
            local_link_integrity_errors: 0,
            excessive_buffer_overrun_errors: 0,
            qp1_dropped: short(Qp1Dropped),
            vl15_dropped: short(Vl15Dropped),
            xmit_data: long(XmitWords),
            rcv_data: long(RcvWords),
            xmit_pkts: long(XmitPackets),
            rcv_pkts: long(RcvPackets),
            xmit_wait: 0,
        }
    }

    fn extended(&self, port: PortNum, counter_select: u16) -> PortCountersExtended {
        let sum = |counter| self.sum(View::Extended, counter);
        PortCountersExtended {
            port,
            counter_select,
            counter_select2: 0,
            xmit_data: sum(XmitWords),
            rcv_data: sum(RcvWords),
            xmit_pkts: sum(XmitPackets),
            rcv_pkts: sum(RcvPackets),
            unicast_xmit_pkts: sum(XmitUnicast),
            unicast_rcv_pkts: sum(RcvUnicast),
            multicast_xmit_pkts: sum(XmitMulticast),
            multicast_rcv_pkts: sum(RcvMulticast),
        }
    }

    fn rcv_errors(&self, port: PortNum, counter_select: u16) -> PortRcvErrorDetails {
        let short = |counter| self.classic(counter, u16::MAX);
        PortRcvErrorDetails {
            port,
            counter_select,
            local_physical_errors: short(LocalPhysical),
            malformed_packet_errors: short(Malformed),
            buffer_overrun_errors: short(BufferOverrun),
            dlid_mapping_errors: short(DlidMapping),
            vl_mapping_errors: short(VlMapping),
            looping_errors: short(Looping),
        }
    }

    fn discards(&self, port: PortNum, counter_select: u16) -> PortXmitDiscardDetails {
        let short = |counter| self.classic(counter, u16::MAX);
        PortXmitDiscardDetails {
            port,
            counter_select,
            inactive_discards: short(Inactive),
            neighbor_mtu_discards: short(NeighborMtu),
            switch_lifetime_discards: short(SwitchLifetime),
            hoq_lifetime_discards: short(HoqLifetime),
        }
    }
}
