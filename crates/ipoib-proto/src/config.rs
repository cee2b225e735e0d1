//! What an interface is told once.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use ib_wire::addr::{Guid, Mac, PKey, Qpn, Scope};

/// Configuration of an interface. `Config::new` gives the defaults that stand at each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interface name in the host, for logs and snapshots.
    pub name: String,
    /// GUID of the port; the lower half of its GID.
    pub guid: Guid,
    /// The interface's UD queue pair, kept for its life.
    pub qpn: Qpn,
    /// Partition; the membership bit does not matter.
    pub pkey: PKey,
    /// Scope nibble of the link's groups; link-local (2).
    pub scope: Scope,
    /// Ethernet address that the host sees; made of GUID and partition if not set.
    pub mac: Option<Mac>,
    /// Address handles, that is ports reachable at one time: 1..=65536; 2048.
    pub max_address_vector: usize,
    /// Peers whose Ethernet address is remembered, at least `max_address_vector`, at most 2^20; 16384.
    pub max_peers: usize,
    /// Multicast groups: 8..=65536; 4096.
    pub max_groups: usize,
    /// Packets in the send ring, 2..=8192; the host's queue is twice as long; 128.
    pub tx_ring_size: u16,
    /// Packets that wait for one path: 1..=1024; 64.
    pub path_queue: usize,
    /// Packets that wait for one group: 1..=1024; 64.
    pub group_queue: usize,
    /// Bytes that wait for one path or group: 2^16..=2^26; 2^18.
    pub queue_bytes: usize,
    /// Bytes that wait for all paths and groups: at least `queue_bytes`, at most 2^30; 2^23.
    pub max_pending_bytes: usize,
    /// First wait for an answer of subnet administration, doubled each time: 10 ms..=10 s; 250 ms.
    pub sa_timeout: Duration,
    /// Times a path question is sent: 1..=16; 3.
    pub path_tries: u32,
    /// Times a join or another question is sent: 1..=16; 4.
    pub sa_tries: u32,
    /// Questions to subnet administration under way at one time: 1..=1024; 32.
    pub sa_window: usize,
    /// Questions to subnet administration in a second: 1..=100000; 1000.
    pub sa_rate: u32,
    /// First time a failed path is not asked for, doubled at each failure: 100 ms..=60 s; 1 s.
    pub path_backoff: Duration,
    /// Longest such time: at least `path_backoff`, at most 1 h; 60 s.
    pub max_path_backoff: Duration,
    /// First wait after a failed join, doubled at each failure: 100 ms..=60 s; 1 s.
    pub join_backoff: Duration,
    /// Longest such wait: at least `join_backoff`, at most 1 h; 16 s.
    pub max_join_backoff: Duration,
    /// Time after which a group that is only sent to is left: 1 s..=1 day; 60 s.
    pub send_only_idle: Duration,
    /// Time after which a peer that the host has no neighbour entry for is forgotten: 1 s..=1 day; 90 s.
    pub peer_idle: Duration,
    /// Longest time over which the members of a subnet spread their new registrations: 0..=60 s; 1 s.
    pub reregister_spread: Duration,
    /// Learn the host's groups from IGMP and MLD as well as from `HostEvent`; true.
    pub snoop_memberships: bool,
    /// Ask to be told of groups that come and go (traps 66, 67); true.
    pub subscribe_groups: bool,
    /// Ask to be told of ports that come and go (traps 64, 65); true.
    pub subscribe_ports: bool,
    /// DHCP client identifier (RFC 4361 §6.1) of requests that bring none; made of GUID and partition if not set.
    pub dhcp_client_id: Option<Vec<u8>>,
    /// Drop ARP and neighbour discovery that claim another sender than they came from; true.
    pub check_sender: bool,
}

impl Config {
    /// The defaults, for the interface `name` on the port `guid` with queue pair `qpn` in partition `pkey`.
    pub fn new(name: impl Into<String>, guid: Guid, qpn: Qpn, pkey: PKey) -> Self {
        Self {
            name: name.into(),
            guid,
            qpn,
            pkey,
            scope: Scope::LINK_LOCAL,
            mac: None,
            max_address_vector: 2048,
            max_peers: 16384,
            max_groups: 4096,
            tx_ring_size: 128,
            path_queue: 64,
            group_queue: 64,
            queue_bytes: 1 << 18,
            max_pending_bytes: 1 << 23,
            sa_timeout: Duration::from_millis(250),
            path_tries: 3,
            sa_tries: 4,
            sa_window: 32,
            sa_rate: 1000,
            path_backoff: Duration::from_secs(1),
            max_path_backoff: Duration::from_secs(60),
            join_backoff: Duration::from_secs(1),
            max_join_backoff: Duration::from_secs(16),
            send_only_idle: Duration::from_secs(60),
            peer_idle: Duration::from_secs(90),
            reregister_spread: Duration::from_secs(1),
            snoop_memberships: true,
            subscribe_groups: true,
            subscribe_ports: true,
            dhcp_client_id: None,
            check_sender: true,
        }
    }

    /// Length of the host interface's transmit queue, in packets: twice the send ring.
    pub const fn tx_queue_len(&self) -> u32 {
        self.tx_ring_size as u32 * 2
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.pkey.is_valid() {
            return Err(ConfigError::PKey(self.pkey));
        }
        if self.qpn.get() < 2 || self.qpn == Qpn::MULTICAST {
            return Err(ConfigError::Qpn(self.qpn));
        }
        if self.mac.is_some_and(|mac| mac.is_multicast() || mac == Mac::ZERO) {
            return Err(ConfigError::Mac);
        }
        let number = |name, value: usize, min: usize, max: usize| {
            let ok = (min..=max).contains(&value);
            if ok { Ok(()) } else { Err(ConfigError::range(name, value, min, max)) }
        };
        number("scope", usize::from(self.scope.0), 1, 14)?;
        number("max_address_vector", self.max_address_vector, 1, 1 << 16)?;
        number("max_peers", self.max_peers, self.max_address_vector, 1 << 20)?;
        number("max_groups", self.max_groups, 8, 1 << 16)?;
        number("tx_ring_size", usize::from(self.tx_ring_size), 2, 8192)?;
        number("path_queue", self.path_queue, 1, 1024)?;
        number("group_queue", self.group_queue, 1, 1024)?;
        number("queue_bytes", self.queue_bytes, 1 << 16, 1 << 26)?;
        number("max_pending_bytes", self.max_pending_bytes, self.queue_bytes, 1 << 30)?;
        number("path_tries", self.path_tries as usize, 1, 16)?;
        number("sa_tries", self.sa_tries as usize, 1, 16)?;
        number("sa_window", self.sa_window, 1, 1024)?;
        number("sa_rate", self.sa_rate as usize, 1, 100_000)?;
        let time = |name, value: Duration, min: Duration, max: Duration| {
            let ok = (min..=max).contains(&value);
            if ok { Ok(()) } else { Err(ConfigError::range(name, value, min, max)) }
        };
        let (minute, hour, day) =
            (Duration::from_secs(60), Duration::from_secs(3600), Duration::from_secs(86400));
        let (ms10, ms100, second) =
            (Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1));
        time("sa_timeout", self.sa_timeout, ms10, second * 10)?;
        time("path_backoff", self.path_backoff, ms100, minute)?;
        time("max_path_backoff", self.max_path_backoff, self.path_backoff, hour)?;
        time("join_backoff", self.join_backoff, ms100, minute)?;
        time("max_join_backoff", self.max_join_backoff, self.join_backoff, hour)?;
        time("send_only_idle", self.send_only_idle, second, day)?;
        time("peer_idle", self.peer_idle, second, day)?;
        time("reregister_spread", self.reregister_spread, Duration::ZERO, minute)
    }
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The partition names none.
    #[error("P_Key {0} names no partition: choose one of 0x0001..=0x7fff, with or without 0x8000")]
    PKey(PKey),
    /// The queue pair is reserved.
    #[error("queue pair {0} is reserved: choose one of 0x000002..=0xfffffe")]
    Qpn(Qpn),
    /// The Ethernet address is no station's.
    #[error("the Ethernet address must be a single station's, not a group's and not zero")]
    Mac,
    /// The port is another one.
    #[error("the port's GUID is {port}, the configuration's {config}")]
    Guid {
        /// The port's.
        port: Guid,
        /// The configuration's.
        config: Guid,
    },
    /// A number is out of its range.
    #[error("{name} is {value}: it must be within {range}")]
    Range {
        /// Which field.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: String,
    },
}

impl ConfigError {
    fn range<T: core::fmt::Debug>(name: &'static str, value: T, min: T, max: T) -> Self {
        Self::Range { name, value: format!("{value:?}"), range: format!("{min:?}..={max:?}") }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn config() -> Config {
        Config::new("ib0", Guid(0x0002_c903_000e_8a11), Qpn::new(0x48), PKey::DEFAULT_FULL)
    }

    #[test]
    fn the_defaults_are_allowed_and_linux_numbers() {
        let config = config();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.max_address_vector, config.tx_ring_size, config.tx_queue_len()), (2048, 128, 256));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = Config { max_address_vector: 0, ..config() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "max_address_vector is 0: it must be within 1..=65536");
        let error = Config { sa_timeout: Duration::from_secs(11), ..config() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "sa_timeout is 11s: it must be within 10ms..=10s");
    }

    #[test]
    fn names_of_nothing_are_refused() {
        assert_eq!(
            Config { pkey: PKey(0x8000), ..config() }.validate(),
            Err(ConfigError::PKey(PKey(0x8000)))
        );
        assert_eq!(Config { qpn: Qpn::GSI, ..config() }.validate(), Err(ConfigError::Qpn(Qpn::GSI)));
        assert_eq!(Config { mac: Some(Mac::BROADCAST), ..config() }.validate(), Err(ConfigError::Mac));
    }
}
