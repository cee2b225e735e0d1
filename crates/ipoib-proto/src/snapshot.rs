//! What the interface shows of itself.

use alloc::{format, string::String, vec::Vec};
use core::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use ib_wire::addr::{Gid, Guid, HwAddr, Lid, Mac, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel};
use serde::Serialize;

use crate::{Counters, Interface, text};

/// State of an interface at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Who it is.
    pub identity: Identity,
    /// Whether traffic passes, and why not.
    pub carrier: CarrierSnapshot,
    /// What the broadcast group gave; none before it is joined.
    pub link: Option<LinkParameters>,
    /// Other interfaces that the host talks to, by Ethernet address.
    pub peers: Vec<PeerSnapshot>,
    /// Ports to which a path is known or sought, by GID.
    pub paths: Vec<PathSnapshot>,
    /// Multicast groups, by MGID.
    pub groups: Vec<GroupSnapshot>,
    /// What it has done.
    pub counters: Counters,
    /// How full its tables are.
    pub bounds: Bounds,
}

/// Who an interface is.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// Interface name in the host.
    pub name: String,
    /// Port GUID.
    #[serde(serialize_with = "text::show")]
    pub guid: Guid,
    /// Queue pair.
    #[serde(serialize_with = "text::show")]
    pub qpn: Qpn,
    /// Partition.
    #[serde(serialize_with = "text::show")]
    pub pkey: PKey,
    /// Ethernet address that the host sees.
    #[serde(serialize_with = "text::show")]
    pub mac: Mac,
    /// Address on the link.
    #[serde(serialize_with = "text::show")]
    pub hw_addr: HwAddr,
    /// IPv6 link-local address of a native interface with this GUID.
    pub link_local: Ipv6Addr,
    /// LID of the port.
    #[serde(serialize_with = "text::show")]
    pub lid: Lid,
    /// LID of the subnet manager.
    #[serde(serialize_with = "text::show")]
    pub sm_lid: Lid,
    /// Addresses of the host on this interface.
    pub addresses: Vec<IpAddr>,
}

/// Whether traffic passes.
#[derive(Clone, Debug, Serialize)]
pub struct CarrierSnapshot {
    /// True if it does.
    pub on: bool,
    /// The reason in a word.
    pub code: &'static str,
    /// The reason in a sentence: what is missing, what to do.
    pub reason: String,
}

/// Parameters of the link, from the broadcast group.
#[derive(Clone, Debug, Serialize)]
pub struct LinkParameters {
    /// The broadcast group.
    #[serde(serialize_with = "text::show")]
    pub mgid: MulticastGid,
    /// Its LID.
    #[serde(serialize_with = "text::show")]
    pub mlid: Lid,
    /// Key of all traffic of the link.
    #[serde(serialize_with = "text::show")]
    pub qkey: QKey,
    /// Largest payload.
    #[serde(serialize_with = "text::show")]
    pub mtu: Mtu,
    /// Largest IP packet in bytes: what is in force.
    pub ip_mtu: u16,
    /// Service level of multicast.
    #[serde(serialize_with = "text::show")]
    pub sl: ServiceLevel,
    /// Rate of multicast.
    #[serde(serialize_with = "text::show")]
    pub rate: Rate,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
}

/// Another interface on the link.
#[derive(Clone, Debug, Serialize)]
pub struct PeerSnapshot {
    /// The Ethernet address that stands for it.
    #[serde(serialize_with = "text::show")]
    pub mac: Mac,
    /// Its address on the link.
    #[serde(serialize_with = "text::show")]
    pub hw_addr: HwAddr,
    /// Its GID.
    #[serde(serialize_with = "text::show")]
    pub gid: Gid,
    /// Its queue pair.
    #[serde(serialize_with = "text::show")]
    pub qpn: Qpn,
    /// Its IP addresses as far as ARP and neighbour discovery told.
    pub ips: Vec<IpAddr>,
    /// State of the path to it: `none`, `querying`, `valid`, `stale`, `failed`.
    pub state: &'static str,
    /// LID it is reached at.
    #[serde(serialize_with = "text::show_option")]
    pub lid: Option<Lid>,
    /// Service level of the path.
    #[serde(serialize_with = "text::show_option")]
    pub sl: Option<ServiceLevel>,
    /// Rate of the path.
    #[serde(serialize_with = "text::show_option")]
    pub rate: Option<Rate>,
    /// Largest payload of the path.
    #[serde(serialize_with = "text::show_option")]
    pub mtu: Option<Mtu>,
    /// Time since the last packet either way.
    pub idle: Duration,
    /// Frames sent to it.
    pub tx_packets: u64,
    /// Frames received from it.
    pub rx_packets: u64,
}

/// A port to which a path is known or sought: an address handle.
#[derive(Clone, Debug, Serialize)]
pub struct PathSnapshot {
    /// The port.
    #[serde(serialize_with = "text::show")]
    pub gid: Gid,
    /// `querying`, `valid`, `stale`, `failed`.
    pub state: &'static str,
    /// LID.
    #[serde(serialize_with = "text::show_option")]
    pub lid: Option<Lid>,
    /// Service level.
    #[serde(serialize_with = "text::show_option")]
    pub sl: Option<ServiceLevel>,
    /// Rate.
    #[serde(serialize_with = "text::show_option")]
    pub rate: Option<Rate>,
    /// Largest payload.
    #[serde(serialize_with = "text::show_option")]
    pub mtu: Option<Mtu>,
    /// True if packets carry a GRH.
    pub global: bool,
    /// Packets waiting for it.
    pub pending: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Time until it may be asked for again.
    pub retry_in: Option<Duration>,
}

/// A multicast group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupSnapshot {
    /// The group.
    #[serde(serialize_with = "text::show")]
    pub mgid: MulticastGid,
    /// IP groups that the host listens to through it.
    pub ips: Vec<IpAddr>,
    /// `idle`, `joining`, `joined`, `backoff`, `absent`.
    pub state: &'static str,
    /// True if only to send to it.
    pub send_only: bool,
    /// JoinState bits held.
    pub join_state: u8,
    /// Its LID.
    #[serde(serialize_with = "text::show_option")]
    pub mlid: Option<Lid>,
    /// Packets waiting for it.
    pub pending: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Time until it is tried again.
    pub retry_in: Option<Duration>,
    /// Packets sent to it.
    pub tx_packets: u64,
    /// Packets received from it.
    pub rx_packets: u64,
}

/// How full the tables are.
#[derive(Clone, Debug, Serialize)]
pub struct Bounds {
    /// Address handles in use.
    pub handles: usize,
    /// Their bound.
    pub max_address_vector: usize,
    /// Peers known.
    pub peers: usize,
    /// Their bound.
    pub max_peers: usize,
    /// Groups known.
    pub groups: usize,
    /// Their bound.
    pub max_groups: usize,
    /// Bytes that wait for paths and groups.
    pub pending_bytes: usize,
    /// Their bound.
    pub max_pending_bytes: usize,
    /// Questions to subnet administration under way.
    pub sa_outstanding: usize,
    /// Their bound.
    pub sa_window: usize,
}

/// What `interface` shows.
pub(crate) fn take(interface: &Interface) -> Snapshot {
    let (cx, local) = (&interface.cx, &interface.local);
    let reason = interface.carrier();
    Snapshot {
        identity: Identity {
            name: cx.config.name.clone(),
            guid: cx.config.guid,
            qpn: local.qpn,
            pkey: interface.pkey.unwrap_or(local.pkey),
            mac: interface.mac(),
            hw_addr: interface.hw_addr(),
            link_local: interface.link_local(),
            lid: local.lid,
            sm_lid: interface.port.sm_lid,
            addresses: interface.announcer.addresses(),
        },
        carrier: CarrierSnapshot { on: reason.is_up(), code: reason.code(), reason: format!("{reason}") },
        link: interface.link.map(|link| link.snapshot(interface.ip_mtu)),
        peers: interface.peers.snapshot(cx.now, &interface.paths),
        paths: interface.paths.snapshot(cx.now),
        groups: interface.groups.snapshot(cx.now),
        counters: cx.counters.clone(),
        bounds: Bounds {
            handles: interface.paths.handles(),
            max_address_vector: cx.config.max_address_vector,
            peers: interface.peers.len(),
            max_peers: cx.config.max_peers,
            groups: interface.groups.len(),
            max_groups: cx.config.max_groups,
            pending_bytes: cx.pending_bytes,
            max_pending_bytes: cx.config.max_pending_bytes,
            sa_outstanding: interface.sa.outstanding(),
            sa_window: cx.config.sa_window,
        },
    }
}
