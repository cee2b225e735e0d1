//! What performance management counts by lane, by service level and of one operation.

use ib_fabric::LinkFault;
use ib_wire::{
    addr::{PortNum, Rate, ServiceLevel},
    mad::{
        Method, Status,
        pma::{CounterBits, LaneCounters, PmaAttribute, PortOpRcvCounters},
    },
    ud::AddressVector,
};

use crate::{
    counters::Pma,
    world::{Datagram, World},
};

const FULL: u16 = 0xffff;
/// Words of a datagram with 80 bytes: LRH, BTH, DETH, payload, ICRC.
const WORDS: u32 = (8 + 12 + 8 + 80 + 4) / 4;
const UD: u8 = 0x64;

impl Pma {
    fn lanes(&mut self, node: &str, attribute: PmaAttribute, width: CounterBits, port: u8) -> LaneCounters {
        let (status, data) = self.ask(node, Method::GET, attribute, [0, port, 0, 0]);
        assert_eq!(status, Status::OK, "{attribute}");
        LaneCounters::from_bytes(&data, width)
    }

    fn op_rcv(&mut self, method: Method, head: [u8; 4]) -> PortOpRcvCounters {
        let (status, data) = self.ask("sw1", method, PmaAttribute::PORT_OP_RCV_COUNTERS, head);
        assert_eq!(status, Status::OK);
        PortOpRcvCounters::parse(&data).expect("long enough").0
    }
}

/// Sends from h2 to h3 at a service level, which is the lane too.
fn send(world: &mut World, sl: u8, times: u32) {
    let (a, b) = (world.qp("h2", FULL), world.qp("h3", FULL));
    let dlid = world.lid("h3");
    let to = AddressVector { dlid, sl: ServiceLevel::new(sl), rate: Rate::GBPS_10, global: None };
    for _ in 0..times {
        world.post_raw(("h2", a), to.datagram(b, &[0; 80]));
    }
}

#[test]
fn words_are_counted_by_service_level_and_packets_by_lane() {
    let mut pma = Pma::new();
    send(&mut pma.world, 3, 2);
    send(&mut pma.world, 5, 1);
    let wide = CounterBits::ThirtyTwo;
    let sent = pma.lanes("sw1", PmaAttribute::PORT_XMIT_DATA_SL, wide, 3).counters;
    assert_eq!((sent[3], sent[4], sent[5]), (2 * WORDS, 0, WORDS));
    let received = pma.lanes("sw1", PmaAttribute::PORT_RCV_DATA_SL, wide, 2).counters;
    assert_eq!((received[3], received[4], received[5]), (2 * WORDS, 0, WORDS));
    let packets = pma.lanes("sw1", PmaAttribute::PORT_VL_OP_PACKETS, CounterBits::Sixteen, 2);
    assert_eq!((packets.counters[3], packets.counters[4], packets.counters[5]), (2, 0, 1));
    assert_eq!((packets.head.opcode.0, packets.head.port), (UD, PortNum(2)));
    let words = pma.lanes("sw1", PmaAttribute::PORT_VL_OP_DATA, wide, 2).counters;
    assert_eq!((words[3], words[4], words[5]), (2 * WORDS, 0, WORDS));
    assert!(words[15] > 0, "the lane of management");
    let total = pma.extended("sw1", 2).rcv_data;
    assert_eq!(words.iter().map(|words| u64::from(*words)).sum::<u64>(), total, "nothing came since");
}

#[test]
fn all_ports_at_once_are_the_sum_and_one_counter_is_cleared_for_itself() {
    let mut pma = Pma::new();
    send(&mut pma.world, 3, 1);
    send(&mut pma.world, 5, 1);
    let attribute = PmaAttribute::PORT_XMIT_DATA_SL;
    let lanes = |pma: &mut Pma, port| {
        let counters = pma.lanes("sw1", attribute, CounterBits::ThirtyTwo, port).counters;
        (counters[3], counters[5])
    };
    assert_eq!(lanes(&mut pma, 255), (WORDS, WORDS));
    pma.ask("sw1", Method::SET, attribute, [0, 3, 0, 1 << 3]);
    assert_eq!(lanes(&mut pma, 3), (0, WORDS));
    let received = pma.lanes("sw1", PmaAttribute::PORT_RCV_DATA_SL, CounterBits::ThirtyTwo, 2).counters;
    assert_eq!((received[3], received[5]), (WORDS, WORDS), "another attribute");
    assert!(pma.extended("sw1", 3).xmit_data >= u64::from(2 * WORDS), "and the total stays");
}

#[test]
fn one_operation_is_counted_from_when_it_was_chosen() {
    let mut pma = Pma::new();
    let before = pma.op_rcv(Method::GET, [0, 2, 0, 0]);
    send(&mut pma.world, 0, 3);
    let after = pma.op_rcv(Method::GET, [0, 2, 0, 0]);
    assert_eq!((after.packets - before.packets, after.words - before.words), (3, 3 * WORDS));
    assert_eq!(after.head.opcode.0, UD);

    let other = pma.op_rcv(Method::SET, [0x04, 2, 0, 0]);
    assert_eq!((other.head.opcode.0, other.packets, other.words), (0x04, 0, 0));
    send(&mut pma.world, 0, 1);
    assert_eq!(pma.op_rcv(Method::GET, [UD, 2, 0, 0]).packets, 0, "a Get chooses nothing");
    assert_eq!(pma.op_rcv(Method::SET, [UD, 2, 0, 0]).packets, 0, "what passed before is not its");
    send(&mut pma.world, 0, 1);
    assert_eq!(pma.op_rcv(Method::GET, [0, 2, 0, 0]).packets, 1);
    let cleared = pma.op_rcv(Method::SET, [UD, 2, 0, 1]);
    assert_eq!((cleared.packets, cleared.words), (0, WORDS));
    let lanes = pma.lanes("sw1", PmaAttribute::PORT_VL_OP_PACKETS, CounterBits::Sixteen, 2);
    assert_eq!((lanes.head.opcode.0, lanes.counters[0]), (UD, 5), "each attribute has its own operation");
}

#[test]
fn what_waits_too_long_in_a_switch_is_counted_by_lane() {
    let mut pma = Pma::new();
    let link = pma.world.fabric.link("h3", PortNum(1)).expect("cabled");
    let slow = LinkFault { rate: Some(1_000), ..LinkFault::NONE };
    pma.world.fabric.set_link_fault(pma.world.now, link, slow);
    send(&mut pma.world, 6, 4);
    let dropped = pma.world.drops("sw1", 3)["switch_lifetime"];
    assert!(dropped > 0);
    let attribute = PmaAttribute::SW_PORT_VL_CONGESTION;
    let counters = pma.lanes("sw1", attribute, CounterBits::Sixteen, 3).counters;
    assert_eq!(u64::from(counters[6]), dropped);
    assert_eq!(counters.iter().sum::<u32>(), counters[6]);
    let (status, _) = pma.ask("h2", Method::GET, attribute, [0, 1, 0, 0]);
    assert_eq!(status, Status::BAD_METHOD_ATTRIBUTE, "not a switch");
}

#[test]
fn what_nothing_here_causes_is_zero() {
    let mut pma = Pma::new();
    send(&mut pma.world, 1, 2);
    let attributes = [
        PmaAttribute::PORT_FLOW_CTL_COUNTERS,
        PmaAttribute::PORT_VL_XMIT_FLOW_CTL_UPDATE_ERRORS,
        PmaAttribute::PORT_VL_XMIT_WAIT,
        PmaAttribute::PORT_EXTENDED_SPEEDS_COUNTERS,
        PmaAttribute::PORT_RCV_CON_CTRL,
        PmaAttribute::PORT_SL_RCV_FECN,
        PmaAttribute::PORT_SL_RCV_BECN,
        PmaAttribute::PORT_XMIT_CON_CTRL,
        PmaAttribute::PORT_VL_XMIT_TIME_CONG,
    ];
    for attribute in attributes {
        for method in [Method::GET, Method::SET] {
            let (status, data) = pma.ask("sw1", method, attribute, [0, 2, 0xff, 0xff]);
            assert_eq!((status, data[1]), (Status::OK, 2), "{attribute}");
            assert!(data[4..].iter().all(|byte| *byte == 0), "{attribute}");
        }
    }
}
