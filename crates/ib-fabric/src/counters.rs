//! What a port counts, and how performance management reads it.
//!
//! Every counter is one number that only grows. A "clear" remembers where the number stood; a view of some
//! width shows the difference, at most its largest value, which is what a saturating register shows.

use alloc::boxed::Box;

use ib_wire::packet::Measure;

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
    /// Packets sent.
    XmitPackets "xmit_packets";
    /// 4-byte words sent.
    XmitWords "xmit_words";
    /// Packets received.
    RcvPackets "rcv_packets";
    /// 4-byte words received.
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

/// Two sets of registers read the same counters: the old ones that saturate, and the 64-bit ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Classic = 0,
    Extended = 1,
}

/// The counters of one port.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    values: [u64; COUNT],
    /// Where the counters stood when a view cleared them; `None` while no view has.
    cleared: Option<Box<[[u64; COUNT]; 2]>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { values: [0; COUNT], cleared: None }
    }
}

impl Counters {
    /// Counts what was sent.
    #[inline]
    pub(crate) fn sent(&mut self, measure: Measure, multicast: bool) {
        let packets = u64::from(measure.packets);
        self.values[Counter::XmitPackets as usize] += packets;
        self.values[Counter::XmitWords as usize] += u64::from(measure.words);
        let kind = if multicast { Counter::XmitMulticast } else { Counter::XmitUnicast };
        self.values[kind as usize] += packets;
    }

    /// Counts what was received.
    #[inline]
    pub(crate) fn received(&mut self, measure: Measure, multicast: bool) {
        let packets = u64::from(measure.packets);
        self.values[Counter::RcvPackets as usize] += packets;
        self.values[Counter::RcvWords as usize] += u64::from(measure.words);
        let kind = if multicast { Counter::RcvMulticast } else { Counter::RcvUnicast };
        self.values[kind as usize] += packets;
    }

    /// Counts `n` more.
    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        self.values[counter as usize] += n;
    }

    /// Since the fabric was built.
    pub(crate) const fn total(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// Since the view was cleared.
    pub(crate) fn since_clear(&self, view: View, counter: Counter) -> u64 {
        let base = self.cleared.as_ref().map_or(0, |cleared| cleared[view as usize][counter as usize]);
        self.values[counter as usize] - base
    }

    /// Clears one counter of a view.
    pub(crate) fn clear(&mut self, view: View, counter: Counter) {
        let cleared = self.cleared.get_or_insert_with(|| Box::new([[0; COUNT]; 2]));
        cleared[view as usize][counter as usize] = self.values[counter as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_is_cleared_for_itself() {
        let mut counters = Counters::default();
        counters.sent(Measure { packets: 3, words: 70 }, true);
        counters.clear(View::Classic, Counter::XmitWords);
        counters.sent(Measure { packets: 1, words: 5 }, false);
        assert_eq!(counters.since_clear(View::Classic, Counter::XmitWords), 5);
        assert_eq!(counters.since_clear(View::Extended, Counter::XmitWords), 75);
        assert_eq!(counters.since_clear(View::Classic, Counter::XmitPackets), 4);
        assert_eq!(counters.total(Counter::XmitMulticast), 3);
    }
}
