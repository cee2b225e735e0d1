//! What a port counts, and how performance management reads it.
//!
//! Every counter is one number that only grows. A "clear" remembers where the number stood; a view of some
//! width shows the difference, at most its largest value, which is what a saturating register shows.
//!
//! Words are counted by service level and lane, packets by kind; the totals are their sums, made when somebody asks.
//!
//! A large fabric has more ports than a cache holds, so what nearly every packet counts stands together ([`Busy`]), and
//! what a port may never count takes no memory before it does ([`Rest`]).

use alloc::boxed::Box;
use core::ops::Range;

use ib_wire::{
    addr::{ServiceLevel, VirtualLane},
    packet::Measure,
};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $label:literal;)*) => {
        /// A counter of a port.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter {
            $($(#[$doc])* $name,)*
        }

        impl Counter {
            /// Every counter.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in snapshots.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counters! {
    /// Packets sent: a sum.
    XmitPackets "xmit_packets";
    /// 4-byte words sent: a sum.
    XmitWords "xmit_words";
    /// Packets received: a sum.
    RcvPackets "rcv_packets";
    /// 4-byte words received: a sum.
    RcvWords "rcv_words";
    /// Unicast packets among those sent.
    XmitUnicast "xmit_unicast_packets";
    /// Unicast packets among those received.
    RcvUnicast "rcv_unicast_packets";
    /// Multicast packets among those sent.
    XmitMulticast "xmit_multicast_packets";
    /// Multicast packets among those received.
    RcvMulticast "rcv_multicast_packets";
    /// Minor link errors.
    SymbolError "symbol_errors";
    /// Times the link came back by itself.
    LinkRecovery "link_error_recovery";
    /// Times it went down.
    LinkDowned "link_downed";
    /// Packets received with errors.
    RcvErrors "rcv_errors";
    /// Packets received that the sender had marked as bad.
    RcvRemotePhysical "rcv_remote_physical_errors";
    /// Packets a switch received and could not forward.
    RcvRelay "rcv_switch_relay_errors";
    /// Packets not sent.
    XmitDiscards "xmit_discards";
    /// Packets not sent for their P_Key.
    XmitConstraint "xmit_constraint_errors";
    /// Packets refused for their P_Key.
    RcvConstraint "rcv_constraint_errors";
    /// MADs dropped on QP1.
    Qp1Dropped "qp1_dropped";
    /// SMPs dropped.
    Vl15Dropped "vl15_dropped";
    /// Of `RcvErrors`: checksums and the like.
    LocalPhysical "local_physical_errors";
    /// Of `RcvErrors`: malformed packets.
    Malformed "malformed_packet_errors";
    /// Of `RcvErrors`: no room for the packet.
    BufferOverrun "buffer_overrun_errors";
    /// Of `RcvErrors` and `RcvRelay`: no way to the DLID.
    DlidMapping "dlid_mapping_errors";
    /// Of `RcvErrors` and `RcvRelay`: lane not in use.
    VlMapping "vl_mapping_errors";
    /// Of `RcvRelay`: out where it came in.
    Looping "looping_errors";
    /// Of `XmitDiscards`: port not in a state to send.
    Inactive "inactive_discards";
    /// Of `XmitDiscards`: larger than the neighbour takes.
    NeighborMtu "neighbor_mtu_discards";
    /// Of `XmitDiscards`: too long in the switch.
    SwitchLifetime "switch_lifetime_discards";
    /// Of `XmitDiscards`: too long at the head of the queue.
    HoqLifetime "hoq_lifetime_discards";
}

const COUNT: usize = Counter::ALL.len();

/// What is counted sixteenfold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// 4-byte words sent, by service level.
    XmitWordsBySl,
    /// 4-byte words received, by service level.
    RcvWordsBySl,
    /// Packets received, by lane.
    RcvPacketsByLane,
    /// 4-byte words received, by lane.
    RcvWordsByLane,
    /// Packets dropped because they would have waited too long, by lane.
    CongestedByLane,
}

const ROWS: usize = Row::CongestedByLane as usize + 1;

/// Two sets of registers read the same counters: the old ones that saturate, and the 64-bit ones. A third counts
/// what was received of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Classic = 0,
    Extended = 1,
    Operation = 2,
}

/// The counters of one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    busy: Busy,
    /// Packets and words received on lane 15: those of managers.
    management: [u64; 2],
    rest: Option<Box<Rest>>,
    /// Where the counters stood when they were cleared; `None` while none has been.
    cleared: Option<Box<Cleared>>,
}

/// What a packet counts that goes by service level 0 and lane 0: a line of a cache.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Busy {
    /// Unicast and multicast packets, sent and received.
    kinds: [u64; 4],
    /// The rows of level and lane 0, but for those that congestion delayed.
    rows: [u64; 4],
}

/// All else.
#[derive(Clone, Debug)]
struct Rest {
    values: [u64; COUNT],
    /// By level or lane, then by row: what one packet counts stands together.
    rows: [[u64; ROWS]; 16],
}

impl Default for Rest {
    fn default() -> Self {
        Self { values: [0; COUNT], rows: Default::default() }
    }
}

#[derive(Clone, Debug, Default)]
struct Cleared {
    views: [[u64; COUNT]; 3],
    rows: [[u64; ROWS]; 16],
}

impl Counters {
    /// Counts what was sent.
    #[inline]
    pub(crate) fn sent(&mut self, measure: Measure, multicast: bool, sl: ServiceLevel) {
        self.busy.kinds[usize::from(multicast)] += u64::from(measure.packets);
        let words = u64::from(measure.words);
        match level(sl) {
            0 => self.busy.rows[Row::XmitWordsBySl as usize] += words,
            sl => *self.slot(Row::XmitWordsBySl, sl) += words,
        }
    }

    /// Counts what was received.
    #[inline]
    pub(crate) fn received(&mut self, measure: Measure, multicast: bool, sl: ServiceLevel, vl: VirtualLane) {
        let (packets, words) = (u64::from(measure.packets), u64::from(measure.words));
        self.busy.kinds[2 + usize::from(multicast)] += packets;
        let rows =
            [(Row::RcvWordsBySl, words), (Row::RcvPacketsByLane, packets), (Row::RcvWordsByLane, words)];
        match (level(sl), lane(vl)) {
            (0, 0) => rows.into_iter().for_each(|(row, n)| self.busy.rows[row as usize] += n),
            (sl, vl) => {
                let places = [sl, vl, vl];
                rows.into_iter().zip(places).for_each(|((row, n), i)| *self.slot(row, i) += n);
            }
        }
    }

    /// Counts packets that would have waited too long.
    pub(crate) fn congested(&mut self, vl: VirtualLane, packets: u32) {
        *self.slot(Row::CongestedByLane, lane(vl)) += u64::from(packets);
    }

    /// Counts `n` more; not for sums.
    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        match counter.place() {
            Place::Busy(kind) => self.busy.kinds[kind] += n,
            Place::Rest => self.rest.get_or_insert_default().values[counter as usize] += n,
            Place::Kinds(..) | Place::Row(_) => debug_assert!(false, "a sum follows from its parts"),
        }
    }

    /// Since the fabric was built.
    pub(crate) fn total(&self, counter: Counter) -> u64 {
        match counter.place() {
            Place::Busy(kind) => self.busy.kinds[kind],
            Place::Rest => self.rest.as_ref().map_or(0, |rest| rest.values[counter as usize]),
            Place::Kinds(kinds) => self.busy.kinds[kinds].iter().sum(),
            Place::Row(row) => (0..16).map(|i| self.one(row, i)).sum(),
        }
    }

    /// Since the view was cleared.
    pub(crate) fn since_clear(&self, view: View, counter: Counter) -> u64 {
        let base = self.cleared.as_ref().map_or(0, |cleared| cleared.views[view as usize][counter as usize]);
        self.total(counter) - base
    }

    /// Clears one counter of a view.
    pub(crate) fn clear(&mut self, view: View, counter: Counter) {
        let total = self.total(counter);
        self.cleared.get_or_insert_default().views[view as usize][counter as usize] = total;
    }

    /// One of a row, since it was cleared.
    pub(crate) fn row(&self, row: Row, i: usize) -> u64 {
        let base = self.cleared.as_ref().map_or(0, |cleared| cleared.rows[i][row as usize]);
        self.one(row, i) - base
    }

    /// Clears one of a row.
    pub(crate) fn clear_row(&mut self, row: Row, i: usize) {
        let total = self.one(row, i);
        self.cleared.get_or_insert_default().rows[i][row as usize] = total;
    }

    fn one(&self, row: Row, i: usize) -> u64 {
        match Spot::of(row, i) {
            Spot::Busy => self.busy.rows[row as usize],
            Spot::Management(at) => self.management[at],
            Spot::Rest => self.rest.as_ref().map_or(0, |rest| rest.rows[i][row as usize]),
        }
    }

    fn slot(&mut self, row: Row, i: usize) -> &mut u64 {
        match Spot::of(row, i) {
            Spot::Busy => &mut self.busy.rows[row as usize],
            Spot::Management(at) => &mut self.management[at],
            Spot::Rest => &mut self.rest.get_or_insert_default().rows[i][row as usize],
        }
    }
}

/// Where one of a row is.
enum Spot {
    Busy,
    Management(usize),
    Rest,
}

impl Spot {
    const fn of(row: Row, i: usize) -> Self {
        match (i, row) {
            (_, Row::CongestedByLane) => Self::Rest,
            (0, _) => Self::Busy,
            (15, Row::RcvPacketsByLane) => Self::Management(0),
            (15, Row::RcvWordsByLane) => Self::Management(1),
            _ => Self::Rest,
        }
    }
}

/// Where a counter is, or what it is the sum of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Busy(usize),
    Rest,
    Kinds(Range<usize>),
    Row(Row),
}

impl Counter {
    const fn place(self) -> Place {
        match self {
            Self::XmitUnicast => Place::Busy(0),
            Self::XmitMulticast => Place::Busy(1),
            Self::RcvUnicast => Place::Busy(2),
            Self::RcvMulticast => Place::Busy(3),
            Self::XmitPackets => Place::Kinds(0..2),
            Self::RcvPackets => Place::Kinds(2..4),
            Self::XmitWords => Place::Row(Row::XmitWordsBySl),
            Self::RcvWords => Place::Row(Row::RcvWordsBySl),
            _ => Place::Rest,
        }
    }
}

/// The mask changes nothing; it shows the compiler that the index fits.
#[inline]
fn level(sl: ServiceLevel) -> usize {
    usize::from(sl.get() & 0xf)
}

#[inline]
fn lane(vl: VirtualLane) -> usize {
    usize::from(vl.get() & 0xf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(counters: &mut Counters, (packets, words): (u32, u32), multicast: bool, [sl, vl]: [u8; 2]) {
        let measure = Measure { packets, words };
        counters.received(measure, multicast, ServiceLevel::new(sl), VirtualLane::new(vl));
    }

    #[test]
    fn each_view_is_cleared_for_itself() {
        let mut counters = Counters::default();
        counters.sent(Measure { packets: 3, words: 70 }, true, ServiceLevel::new(1));
        counters.clear(View::Classic, Counter::XmitWords);
        counters.sent(Measure { packets: 1, words: 5 }, false, ServiceLevel::new(2));
        assert_eq!(counters.since_clear(View::Classic, Counter::XmitWords), 5);
        assert_eq!(counters.since_clear(View::Extended, Counter::XmitWords), 75);
        assert_eq!(counters.since_clear(View::Classic, Counter::XmitPackets), 4);
        assert_eq!(counters.total(Counter::XmitMulticast), 3);
        assert_eq!((counters.row(Row::XmitWordsBySl, 1), counters.row(Row::XmitWordsBySl, 2)), (70, 5));
    }

    #[test]
    fn totals_are_the_sums_of_service_levels_and_of_lanes() {
        let mut counters = Counters::default();
        receive(&mut counters, (2, 20), false, [15, 15]);
        receive(&mut counters, (1, 7), true, [3, 15]);
        counters.clear_row(Row::RcvWordsByLane, 15);
        receive(&mut counters, (1, 9), true, [3, 4]);
        assert_eq!(counters.total(Counter::RcvWords), 36);
        assert_eq!(counters.total(Counter::RcvPackets), 4);
        assert_eq!((counters.row(Row::RcvWordsBySl, 15), counters.row(Row::RcvWordsBySl, 3)), (20, 16));
        assert_eq!((counters.row(Row::RcvWordsByLane, 15), counters.row(Row::RcvWordsByLane, 4)), (0, 9));
        assert_eq!(counters.row(Row::RcvPacketsByLane, 15), 3);
    }
}
