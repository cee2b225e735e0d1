//! What the interface has done so far.

use serde::Serialize;

use crate::drops::Drops;

/// Counters of one interface. Packets and bytes are counted as they stand on the link: a large send as the
/// packets it stands for, bytes from the IP header on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Packets handed to the port.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Of them, packets to a group.
    pub tx_multicast: u64,
    /// Packets handed to the host.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Of them, packets to a group.
    pub rx_multicast: u64,
    /// Own packets to a group that came back; not an error.
    pub rx_own_echo: u64,
    /// ARP, neighbour discovery and DHCP messages translated, both ways.
    pub translated: u64,
    /// Packets whose source was not known when they came.
    pub rx_unknown_source: u64,
    /// Packets to a group sent to the routers instead, because the group has no member.
    pub tx_to_routers: u64,
    /// Questions to subnet administration, repetitions included.
    pub sa_requests: u64,
    /// Of them, repetitions.
    pub sa_retries: u64,
    /// Questions that stayed without an answer to the end.
    pub sa_timeouts: u64,
    /// Answers "busy, later".
    pub sa_busy: u64,
    /// MADs that answer no question of ours or make no sense.
    pub sa_unexpected: u64,
    /// Events reported by subnet administration.
    pub sa_reports: u64,
    /// Path questions asked.
    pub path_queries: u64,
    /// Path questions answered with a path.
    pub path_resolved: u64,
    /// Path questions that failed.
    pub path_failed: u64,
    /// Address handles given up for another, at the bound `max_address_vector`.
    pub handles_evicted: u64,
    /// Peers forgotten for another, at the bound `max_peers`.
    pub peers_evicted: u64,
    /// Peers that came back with another hardware address.
    pub peers_moved: u64,
    /// Times the host was asked to forget a neighbour.
    pub neighbors_forgotten: u64,
    /// Joins of groups that succeeded.
    pub joins: u64,
    /// Joins that failed.
    pub join_failures: u64,
    /// Groups that the host listens to and that are not joined, at the bound `max_groups`.
    pub groups_refused: u64,
    /// Flushes of the light level.
    pub flush_light: u64,
    /// Flushes of the normal level.
    pub flush_normal: u64,
    /// Flushes of the heavy level.
    pub flush_heavy: u64,
    /// Announcements of own addresses sent.
    pub announcements: u64,
    /// Discarded packets by reason.
    pub drops: Drops,
}
