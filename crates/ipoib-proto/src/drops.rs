//! Every reason why a packet goes no further, each with its counter.

use serde::{Serialize, Serializer, ser::SerializeMap};

macro_rules! drops {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, )*) => {
        /// Why a packet was discarded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Drop {
            $( $(#[$doc])* $name, )*
        }

        impl Drop {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// The counter's name: stable over releases.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$name => $text, )*
                }
            }
        }
    };
}

drops! {
    /// From the host: the carrier is off.
    TxNoCarrier = "tx_no_carrier",
    /// From the host: shorter than its headers.
    TxRunt = "tx_runt",
    /// From the host: a VLAN tag; partitions take its place here.
    TxVlan = "tx_vlan",
    /// From the host: an EtherType that IPoIB does not carry.
    TxUnsupportedProtocol = "tx_unsupported_protocol",
    /// From the host: longer than the link's MTU, as it came or once translated.
    TxTooLong = "tx_too_long",
    /// From the host: an Ethernet address that stands for no peer.
    TxUnknownPeer = "tx_unknown_peer",
    /// From the host: ARP that makes no sense.
    TxBadArp = "tx_bad_arp",
    /// From the host: neighbour discovery that makes no sense.
    TxBadNd = "tx_bad_nd",
    /// From the host: a DHCP message that cannot be translated.
    TxBadDhcp = "tx_bad_dhcp",
    /// Waited for a path that cannot be had.
    TxPathFailed = "tx_path_failed",
    /// The oldest of too many that waited for a path.
    TxPathQueueFull = "tx_path_queue_full",
    /// Waited for a peer that went away.
    TxPeerGone = "tx_peer_gone",
    /// Waited for a path that was given up for another.
    TxPathEvicted = "tx_path_evicted",
    /// Would have to wait, but too many bytes wait already.
    TxPendingFull = "tx_pending_full",
    /// To a group that has no member.
    TxNoGroup = "tx_no_group",
    /// Waited for a group that cannot be joined.
    TxGroupFailed = "tx_group_failed",
    /// The oldest of too many that waited for a group.
    TxGroupQueueFull = "tx_group_queue_full",
    /// To a group beyond the bound on groups.
    TxTooManyGroups = "tx_too_many_groups",
    /// Waited when the interface went down.
    TxFlushed = "tx_flushed",
    /// From the fabric: the interface is down.
    RxDown = "rx_down",
    /// From the fabric: shorter than its headers.
    RxRunt = "rx_runt",
    /// From the fabric: an EtherType that IPoIB does not carry.
    RxUnsupportedProtocol = "rx_unsupported_protocol",
    /// From the fabric: another partition's.
    RxWrongPartition = "rx_wrong_partition",
    /// From the fabric: to a group that the host does not listen to.
    RxNotMember = "rx_not_member",
    /// From the fabric: ARP that makes no sense, for example with addresses of another length than 20.
    RxBadArp = "rx_bad_arp",
    /// From the fabric: ARP that claims another sender than the one it came from.
    RxForgedArp = "rx_forged_arp",
    /// From the fabric: neighbour discovery that makes no sense.
    RxBadNd = "rx_bad_nd",
    /// From the fabric: neighbour discovery that claims another sender than the one it came from.
    RxForgedNd = "rx_forged_nd",
    /// From the fabric: a DHCP message that cannot be translated.
    RxBadDhcp = "rx_bad_dhcp",
}

/// One counter for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops([u64; Drop::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; Drop::ALL.len()])
    }
}

impl Drops {
    /// How many were discarded for `reason`.
    pub const fn get(&self, reason: Drop) -> u64 {
        self.0[reason as usize]
    }

    /// How many were discarded on their way to the fabric.
    pub fn tx(&self) -> u64 {
        self.sum("tx_")
    }

    /// How many were discarded on their way to the host.
    pub fn rx(&self) -> u64 {
        self.sum("rx_")
    }

    pub(crate) const fn count(&mut self, reason: Drop, packets: u64) {
        self.0[reason as usize] += packets;
    }

    fn sum(&self, prefix: &str) -> u64 {
        Drop::ALL.iter().filter(|d| d.name().starts_with(prefix)).map(|d| self.get(*d)).sum()
    }
}

/// A map from names to numbers, every reason included.
impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Drop::ALL.len()))?;
        for reason in Drop::ALL {
            map.serialize_entry(reason.name(), &self.get(*reason))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_direction() {
        let mut drops = Drops::default();
        for reason in Drop::ALL {
            drops.count(*reason, 2);
            assert_eq!(drops.get(*reason), 2, "{}", reason.name());
        }
        assert_eq!(drops.tx() + drops.rx(), 2 * Drop::ALL.len() as u64);
    }
}
