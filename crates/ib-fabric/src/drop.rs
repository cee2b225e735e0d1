//! Every way in which a packet can end other than at its destination.

use alloc::boxed::Box;

use ib_wire::packet::PacketError;

use crate::counters::Counter;

macro_rules! drops {
    ($($(#[$doc:meta])* $name:ident $label:literal => [$($counter:ident),*];)*) => {
        /// Why a packet was dropped. Counted at the port that dropped it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Drop {
            $($(#[$doc])* $name,)*
        }

        impl Drop {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in snapshots.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The counters of performance management that it also counts in.
            pub const fn counters(self) -> &'static [Counter] {
                match self { $(Self::$name => &[$(Counter::$counter),*],)* }
            }
        }
    };
}

drops! {
    /// The link's model lost it.
    LinkLoss "link_loss" => [];
    /// The link's model lost it, as it loses management packets alone.
    LinkMadLoss "link_mad_loss" => [];
    /// It was under way when the link went down.
    LinkDown "link_down" => [];
    /// Too many packets were under way on a slow link.
    LinkQueueFull "link_queue_full" => [XmitDiscards, HoqLifetime];
    /// It would have waited in the switch longer than the switch's lifetime allows.
    SwitchLifetime "switch_lifetime" => [XmitDiscards, SwitchLifetime];
    /// A large send that cannot be cut: what it says of itself is wrong.
    BadOffload "bad_offload" => [XmitDiscards];

    /// The link's checksum does not match.
    BadVcrc "bad_vcrc" => [SymbolError, RcvErrors, LocalPhysical];
    /// The end-to-end checksum does not match.
    BadIcrc "bad_icrc" => [RcvErrors, LocalPhysical];
    /// It ends within a header.
    Truncated "truncated" => [RcvErrors, Malformed];
    /// Its length does not agree with its header.
    BadLength "bad_length" => [RcvErrors, Malformed];
    /// A version number other than the one known.
    BadVersion "bad_version" => [RcvErrors, Malformed];
    /// A raw packet: nobody here takes them.
    RawPacket "raw_packet" => [RcvErrors, Malformed];
    /// A malformed global route header.
    BadGrh "bad_grh" => [RcvErrors, Malformed];
    /// An operation other than a datagram.
    BadOpcode "bad_opcode" => [RcvErrors, Malformed];

    /// The SM took the key of its queue pair out of the port's table.
    NoPKey "no_pkey" => [];
    /// The port may not send: it has no link, or is not Active.
    PortNotSending "port_not_sending" => [XmitDiscards, Inactive];
    /// The port may not receive data: it is not yet Armed.
    PortNotReceiving "port_not_receiving" => [];
    /// Larger than the neighbour takes.
    NeighborMtu "neighbor_mtu" => [XmitDiscards, NeighborMtu];
    /// Larger than the port can take.
    Oversize "oversize" => [RcvErrors, BufferOverrun];
    /// It came on a lane that is not in use.
    BadLane "bad_lane" => [RcvErrors, VlMapping];
    /// The way out has no lane for its service level.
    NoLane "no_lane" => [RcvRelay, VlMapping];
    /// A switch port refused its P_Key as it came in.
    PKeyInbound "pkey_inbound" => [RcvConstraint];
    /// A switch port refused its P_Key as it went out.
    PKeyOutbound "pkey_outbound" => [XmitConstraint];

    /// The forwarding table has no port for its LID.
    NoRoute "no_route" => [RcvRelay, DlidMapping];
    /// Nobody is in its multicast group.
    NoGroup "no_group" => [RcvRelay, DlidMapping];
    /// The forwarding table sends it back where it came from.
    RouteBack "route_back" => [RcvRelay, Looping];
    /// The forwarding table names a port that the switch does not have.
    NoSuchPort "no_such_port" => [RcvRelay];
    /// It passed more switches than any way is long: the tables hold a loop.
    HopLimit "hop_limit" => [RcvRelay];
    /// More copies of a multicast packet than there are ports: the tables hold a loop.
    MulticastStorm "multicast_storm" => [RcvRelay];

    /// Its LID is not the port's.
    DlidMismatch "dlid_mismatch" => [RcvErrors, DlidMapping];
    /// Its GID is not the port's.
    DgidMismatch "dgid_mismatch" => [];
    /// Multicast without a global route header.
    NoGrh "no_grh" => [];
    /// Multicast for another queue pair than 0xffffff.
    NotMulticastQp "not_multicast_qp" => [];
    /// No queue pair here is attached to its group.
    NotAttached "not_attached" => [];
    /// There is no such queue pair.
    NoQp "no_qp" => [];
    /// The queue pair is stopped.
    QpNotReady "qp_not_ready" => [];
    /// Its P_Key is not one of the receiver.
    PKeyMismatch "pkey_mismatch" => [];
    /// Its Q_Key is not that of the receiver.
    QKeyMismatch "qkey_mismatch" => [];
    /// QP0 on another lane than 15, or another queue pair on lane 15.
    Qp0Lane "qp0_lane" => [Vl15Dropped];

    /// An SMP that is not 256 bytes long, or of another class.
    SmpMalformed "smp_malformed" => [Vl15Dropped];
    /// A directed route whose pointer does not fit, or that goes on behind a channel adapter.
    SmpBadHop "smp_bad_hop" => [Vl15Dropped];
    /// A directed route through a port that does not exist.
    SmpNoPort "smp_no_port" => [Vl15Dropped];
    /// An SMP without the right to do what it asks.
    SmpMKey "smp_m_key" => [];
    /// An SMP that no agent takes.
    SmpUnclaimed "smp_unclaimed" => [Vl15Dropped];
    /// A MAD that is not 256 bytes long.
    MadMalformed "mad_malformed" => [Qp1Dropped];
    /// A MAD that no agent takes.
    MadUnclaimed "mad_unclaimed" => [Qp1Dropped];
}

impl From<PacketError> for Drop {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Truncated(_) => Self::Truncated,
            PacketError::Length { .. } => Self::BadLength,
            PacketError::Version(_) => Self::BadVersion,
            PacketError::Raw => Self::RawPacket,
            PacketError::Grh => Self::BadGrh,
            PacketError::Opcode(_) => Self::BadOpcode,
            PacketError::Icrc => Self::BadIcrc,
            PacketError::Vcrc => Self::BadVcrc,
        }
    }
}

/// How often each reason applied at one port. Takes memory from the first drop on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Option<Box<[u64; Drop::ALL.len()]>>);

impl Drops {
    /// Counts `packets` more.
    pub(crate) fn add(&mut self, reason: Drop, packets: u32) {
        let counts = self.0.get_or_insert_with(|| Box::new([0; Drop::ALL.len()]));
        counts[reason as usize] += u64::from(packets);
    }

    /// How often.
    pub(crate) fn get(&self, reason: Drop) -> u64 {
        self.0.as_ref().map_or(0, |counts| counts[reason as usize])
    }

    /// The reasons that applied.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Drop, u64)> {
        Drop::ALL.iter().map(|reason| (*reason, self.get(*reason))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};

    use super::*;

    #[test]
    fn names_are_unique_and_only_what_happened_is_listed() {
        let names: BTreeSet<_> = Drop::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Drop::ALL.len());
        let mut drops = Drops::default();
        drops.add(Drop::NoQp, 2);
        drops.add(Drop::LinkLoss, 1);
        assert_eq!(drops.iter().collect::<Vec<_>>(), [(Drop::LinkLoss, 1), (Drop::NoQp, 2)]);
    }
}
