//! What an operator can set, and how much the administration holds at most.

use core::time::Duration;

use ib_wire::{addr::Timeout, mad::rmpp::RmppConfig};

/// Settings of the subnet administration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaConfig {
    /// Who names this key is trusted: sees members of groups, P_Key tables, keys. Zero is nobody's key.
    pub sm_key: u64,
    /// Longest time of a packet on its way, told in path records.
    pub packet_life: Timeout,
    /// Longest time that we need for an answer, told in ClassPortInfo.
    pub response_time: Timeout,
    /// A port may create the broadcast group of a partition that has none. Off, as with OpenSM: which links
    /// exist is the operator's choice.
    pub clients_create_broadcast: bool,
    /// The solicited-node groups of IPv6 in one partition share a LID. Saves forwarding table, costs hosts
    /// packets that they throw away.
    pub share_solicited_node_lids: bool,
    /// How tables travel.
    pub rmpp: RmppConfig,
    /// A report without answer is sent again after this.
    pub report_resend: Duration,
    /// How often it is.
    pub report_retries: u8,
    /// A subscriber that leaves so many reports in a row without any answer is gone.
    pub dead_after: u8,
    /// How much we hold.
    pub limits: Limits,
}

/// How much the administration holds at most. What is beyond is refused and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Multicast groups.
    pub groups: usize,
    /// Multicast LIDs; the smallest table of a switch may allow fewer.
    pub mlids: u16,
    /// Memberships in all groups together.
    pub members: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Service records.
    pub services: usize,
    /// Tables on their way.
    pub transfers: usize,
    /// Bytes of tables on their way.
    pub transfer_bytes: usize,
    /// Bytes of one table.
    pub table_bytes: usize,
    /// Reports that wait for their answers.
    pub reports: usize,
    /// Requests that wait for a slow answer.
    pub waiting: usize,
}

impl Default for SaConfig {
    fn default() -> Self {
        Self {
            sm_key: 1,
            packet_life: Timeout(18),
            response_time: Timeout(16),
            clients_create_broadcast: false,
            share_solicited_node_lids: false,
            rmpp: RmppConfig::default(),
            report_resend: Duration::from_secs(1),
            report_retries: 3,
            dead_after: 3,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            groups: 65_536,
            mlids: 0x3fff,
            members: 4 << 20,
            subscriptions: 65_536,
            services: 16_384,
            transfers: 1024,
            transfer_bytes: 64 << 20,
            table_bytes: 16 << 20,
            reports: 65_536,
            waiting: 65_536,
        }
    }
}
