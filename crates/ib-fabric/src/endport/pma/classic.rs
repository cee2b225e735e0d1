//! Counters as registers: the old ones that saturate, those of 64 bits, and the details of errors.
//!
//! Each attribute is a table: which bit of its counter select clears which counter.

use ib_wire::{
    addr::PortNum,
    mad::pma::{PortCounters, PortCountersExtended, PortRcvErrorDetails, PortXmitDiscardDetails},
};

use super::{Chosen, Data, Sum, put};
use crate::{
    counters::{
        Counter::{self, *},
        View,
    },
    port::Port,
};

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
/// Counter select 2 of the same attribute. What nothing here causes has no counter.
const EXTENDED_2: &Select = &[
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
    None,
    Some(Qp1Dropped),
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

/// The registers of one port, as both attributes have them.
pub(crate) fn registers(port: &Port) -> (PortCounters, PortCountersExtended) {
    let sum = Sum(core::slice::from_ref(port));
    (sum.counters(port.num, 0), sum.extended(port.num, 0, 0))
}

impl Chosen<'_> {
    pub(super) fn port_counters(&mut self, set: bool, data: &mut Data) {
        let (port, select) = head(data);
        if set {
            let second = PortCounters::parse(data).map_or(0, |(counters, _)| counters.counter_select2);
            self.clear(View::Classic, COUNTERS, select.into());
            self.clear(View::Classic, COUNTERS_2, second.into());
        }
        put(data, &self.sum().counters(port, select).to_bytes());
    }

    pub(super) fn port_counters_extended(&mut self, set: bool, data: &mut Data) {
        let (port, select) = head(data);
        let second = PortCountersExtended::parse(data).map_or(0, |(counters, _)| counters.counter_select2);
        if set {
            self.clear(View::Extended, EXTENDED, select.into());
            self.clear(View::Extended, EXTENDED_2, second);
        }
        put(data, &self.sum().extended(port, select, second).to_bytes());
    }

    pub(super) fn port_rcv_error_details(&mut self, set: bool, data: &mut Data) {
        let (port, select) = head(data);
        if set {
            self.clear(View::Classic, RCV_ERRORS, select.into());
        }
        put(data, &self.sum().rcv_errors(port, select).to_bytes());
    }

    pub(super) fn port_xmit_discard_details(&mut self, set: bool, data: &mut Data) {
        let (port, select) = head(data);
        if set {
            self.clear(View::Classic, XMIT_DISCARDS, select.into());
        }
        put(data, &self.sum().discards(port, select).to_bytes());
    }

    fn clear(&mut self, view: View, table: &Select, select: u32) {
        let selected = table.iter().enumerate().filter(|(bit, _)| select >> bit & 1 != 0);
        for counter in selected.filter_map(|(_, counter)| *counter) {
            self.0.iter_mut().for_each(|port| port.counters.clear(view, counter));
        }
    }
}

impl Sum<'_> {
    /// As a register shows it that stops at its largest value.
    fn classic<T: TryFrom<u64>>(&self, counter: Counter, largest: T) -> T {
        T::try_from(self.of(View::Classic, counter)).unwrap_or(largest)
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

    fn extended(&self, port: PortNum, counter_select: u16, counter_select2: u32) -> PortCountersExtended {
        let sum = |counter| self.of(View::Extended, counter);
        PortCountersExtended {
            port,
            counter_select,
            counter_select2,
            xmit_data: sum(XmitWords),
            rcv_data: sum(RcvWords),
            xmit_pkts: sum(XmitPackets),
            rcv_pkts: sum(RcvPackets),
            unicast_xmit_pkts: sum(XmitUnicast),
            unicast_rcv_pkts: sum(RcvUnicast),
            multicast_xmit_pkts: sum(XmitMulticast),
            multicast_rcv_pkts: sum(RcvMulticast),
            symbol_error: sum(SymbolError),
            link_error_recovery: sum(LinkRecovery),
            link_downed: sum(LinkDowned),
            rcv_errors: sum(RcvErrors),
            rcv_remote_physical_errors: sum(RcvRemotePhysical),
            rcv_switch_relay_errors: sum(RcvRelay),
            xmit_discards: sum(XmitDiscards),
            xmit_constraint_errors: sum(XmitConstraint),
            rcv_constraint_errors: sum(RcvConstraint),
            local_link_integrity_errors: 0,
            excessive_buffer_overrun_errors: 0,
            vl15_dropped: sum(Vl15Dropped),
            xmit_wait: 0,
            qp1_dropped: sum(Qp1Dropped),
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

/// Port and counter select.
const fn head(data: &Data) -> (PortNum, u16) {
    let [_, port, high, low, ..] = *data;
    (PortNum(port), u16::from_be_bytes([high, low]))
}
