//! What is counted by lane or service level, and what was received of one operation.

use ib_wire::{
    mad::pma::{CounterBits, CounterHead, LaneCounters, PmaAttribute, PortOpRcvCounters},
    packet::Opcode,
};

use super::{Chosen, Data, put};
use crate::counters::{Counter, Row, View};

/// An attribute of up to sixteen counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByLane {
    attribute: PmaAttribute,
    width: CounterBits,
    /// What it counts; `None` if nothing here causes it.
    row: Option<Row>,
    /// If it counts one operation: where a port keeps which.
    operation: Option<usize>,
    /// Switches alone have it.
    of_switches: bool,
}

const fn by_lane(attribute: PmaAttribute, width: CounterBits, row: Option<Row>) -> ByLane {
    ByLane { attribute, width, row, operation: None, of_switches: false }
}

/// Those that count nothing may have fewer counters than sixteen: what follows is reserved, and zero as well.
const ATTRIBUTES: &[ByLane] = &[
    by_lane(PmaAttribute::PORT_FLOW_CTL_COUNTERS, CounterBits::ThirtyTwo, None),
    ByLane {
        operation: Some(1),
        ..by_lane(PmaAttribute::PORT_VL_OP_PACKETS, CounterBits::Sixteen, Some(Row::RcvPacketsByLane))
    },
    ByLane {
        operation: Some(2),
        ..by_lane(PmaAttribute::PORT_VL_OP_DATA, CounterBits::ThirtyTwo, Some(Row::RcvWordsByLane))
    },
    by_lane(PmaAttribute::PORT_VL_XMIT_FLOW_CTL_UPDATE_ERRORS, CounterBits::Two, None),
    by_lane(PmaAttribute::PORT_VL_XMIT_WAIT, CounterBits::Sixteen, None),
    ByLane {
        of_switches: true,
        ..by_lane(PmaAttribute::SW_PORT_VL_CONGESTION, CounterBits::Sixteen, Some(Row::CongestedByLane))
    },
    by_lane(PmaAttribute::PORT_RCV_CON_CTRL, CounterBits::ThirtyTwo, None),
    by_lane(PmaAttribute::PORT_SL_RCV_FECN, CounterBits::ThirtyTwo, None),
    by_lane(PmaAttribute::PORT_SL_RCV_BECN, CounterBits::ThirtyTwo, None),
    by_lane(PmaAttribute::PORT_XMIT_CON_CTRL, CounterBits::ThirtyTwo, None),
    by_lane(PmaAttribute::PORT_VL_XMIT_TIME_CONG, CounterBits::ThirtyTwo, None),
    by_lane(PmaAttribute::PORT_XMIT_DATA_SL, CounterBits::ThirtyTwo, Some(Row::XmitWordsBySl)),
    by_lane(PmaAttribute::PORT_RCV_DATA_SL, CounterBits::ThirtyTwo, Some(Row::RcvWordsBySl)),
];

/// Where a port keeps the operation that PortOpRcvCounters counts.
const OP_RCV: usize = 0;

/// The attribute as a switch or another node has it.
pub(super) fn attribute(attribute: PmaAttribute, is_switch: bool) -> Option<ByLane> {
    ATTRIBUTES.iter().find(|a| a.attribute == attribute && (is_switch || !a.of_switches)).copied()
}

impl Chosen<'_> {
    pub(super) fn lane_counters(&mut self, by_lane: ByLane, set: bool, data: &mut Data) {
        let ByLane { width, row, operation, .. } = by_lane;
        let mut head = LaneCounters::from_bytes(data, width).head;
        let mut clear = if set { head.counter_select } else { 0 };
        if let Some(place) = operation {
            if set && self.choose_operation(place, head.opcode) {
                clear = u16::MAX;
            }
            head.opcode = self.operation(place);
        } else {
            head.opcode = Opcode(0);
        }
        let mut counters = [0; 16];
        if let Some(row) = row {
            for (i, counter) in counters.iter_mut().enumerate() {
                if clear >> i & 1 != 0 {
                    self.0.iter_mut().for_each(|port| port.counters.clear_row(row, i));
                }
                let counts = self.counting(operation).map(|port| port.counters.row(row, i));
                *counter = u32::try_from(counts.sum::<u64>()).unwrap_or(u32::MAX);
            }
        }
        *data = LaneCounters { head, counters }.to_bytes(width);
    }

    pub(super) fn port_op_rcv_counters(&mut self, set: bool, data: &mut Data) {
        let Ok((PortOpRcvCounters { head, .. }, _)) = PortOpRcvCounters::parse(data) else { return };
        let mut clear = if set { head.counter_select } else { 0 };
        if set && self.choose_operation(OP_RCV, head.opcode) {
            clear = u16::MAX;
        }
        let mut read = |bit: u16, counter| {
            if clear >> bit & 1 != 0 {
                self.0.iter_mut().for_each(|port| port.counters.clear(View::Operation, counter));
            }
            let counting = self.counting(Some(OP_RCV));
            let sum: u64 = counting.map(|port| port.counters.since_clear(View::Operation, counter)).sum();
            u32::try_from(sum).unwrap_or(u32::MAX)
        };
        let (packets, words) = (read(0, Counter::RcvPackets), read(1, Counter::RcvWords));
        let head = CounterHead { opcode: self.operation(OP_RCV), ..head };
        put(data, &PortOpRcvCounters { head, packets, words }.to_bytes());
    }

    /// Says which operation to count; true if it is another one than before.
    fn choose_operation(&mut self, place: usize, opcode: Opcode) -> bool {
        let before = self.0.iter_mut().map(|port| core::mem::replace(&mut port.operations[place], opcode));
        before.fold(false, |changed, before| changed | (before != opcode))
    }

    fn operation(&self, place: usize) -> Opcode {
        self.0.first().map_or(Opcode(0), |port| port.operations[place])
    }

    /// The ports that count what passes here, which is datagrams.
    fn counting(&self, operation: Option<usize>) -> impl Iterator<Item = &crate::port::Port> {
        let counts =
            move |place| move |port: &&crate::port::Port| port.operations[place] == Opcode::UD_SEND_ONLY;
        self.0.iter().filter(move |port| operation.is_none_or(|place| counts(place)(port)))
    }
}
