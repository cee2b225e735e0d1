//! The broadcast group: joining it is what makes an interface part of the link, its parameters are the
//! link's. RFC 4391 §5.

use ib_wire::{
    addr::{Gid, HwAddr, Lid, Lmc, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, Scope, ServiceLevel},
    ipoib,
    mad::attr::{JoinState, McMemberRecord},
    ud::PortView,
};

use crate::{Config, LinkParameters, SaFailure};

/// What the interface knows of its own port, before and after it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Our GID.
    pub(crate) gid: Gid,
    /// Our queue pair.
    pub(crate) qpn: Qpn,
    /// Our partition, as a full member's key.
    pub(crate) pkey: PKey,
    /// Scope of the link's groups.
    pub(crate) scope: Scope,
    /// Our LID.
    pub(crate) lid: Lid,
    /// How many LIDs from there on are ours.
    pub(crate) lmc: Lmc,
    /// Largest payload of our port's link.
    pub(crate) mtu: Mtu,
}

impl Local {
    /// From the port as it is now.
    pub(crate) const fn new(config: &Config, port: &PortView) -> Self {
        Self {
            gid: Gid::new(port.prefix, config.guid),
            qpn: config.qpn,
            pkey: config.pkey.full(),
            scope: config.scope,
            lid: port.lid,
            lmc: port.lmc,
            mtu: port.mtu,
        }
    }

    /// Our address on the link.
    pub(crate) const fn hw_addr(&self) -> HwAddr {
        HwAddr::new(self.qpn, self.gid)
    }

    /// The link's broadcast group.
    pub(crate) fn broadcast(&self) -> MulticastGid {
        ipoib::broadcast_mgid(self.scope, self.pkey)
    }
}

/// Parameters of the link, as the broadcast group's record gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The group.
    pub(crate) mgid: MulticastGid,
    /// Its LID.
    pub(crate) mlid: Lid,
    /// Key of all traffic of the link, unicast too. RFC 4391 §9.1.2.
    pub(crate) qkey: QKey,
    /// Largest payload.
    pub(crate) mtu: Mtu,
    /// Rate of multicast.
    pub(crate) rate: Rate,
    /// Service level of multicast.
    pub(crate) sl: ServiceLevel,
    /// Traffic class.
    pub(crate) traffic_class: u8,
    /// Flow label.
    pub(crate) flow_label: u32,
    /// Hop limit.
    pub(crate) hop_limit: u8,
}

impl Link {
    /// From the answer to the join, which has been checked.
    pub(crate) const fn new(mgid: MulticastGid, record: &McMemberRecord) -> Self {
        Self {
            mgid,
            mlid: record.mlid,
            qkey: record.qkey,
            mtu: record.mtu,
            rate: record.rate,
            sl: record.sl,
            traffic_class: record.traffic_class,
            flow_label: record.flow_label,
            hop_limit: record.hop_limit,
        }
    }

    /// Bytes that a packet may have from the IP header on.
    pub(crate) fn ip_mtu(&self) -> u16 {
        self.mtu.bytes().unwrap_or(MIN_PAYLOAD) - IPOIB_HEADER
    }

    /// For a snapshot; `ip_mtu` is what is in force.
    pub(crate) const fn snapshot(&self, ip_mtu: u16) -> LinkParameters {
        LinkParameters {
            mgid: self.mgid,
            mlid: self.mlid,
            qkey: self.qkey,
            mtu: self.mtu,
            ip_mtu,
            sl: self.sl,
            rate: self.rate,
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            hop_limit: self.hop_limit,
        }
    }
}

/// Checks the answer to a join of `mgid` over a link whose payload is at most `port`.
pub(crate) fn check(record: &McMemberRecord, mgid: MulticastGid, port: Mtu) -> Result<(), SaFailure> {
    if record.mgid != mgid.gid() || !record.mlid.is_multicast() || record.mtu.bytes().is_none() {
        return Err(SaFailure::BadAnswer);
    }
    if record.mtu > port {
        return Err(SaFailure::MtuTooLarge { group: record.mtu, port });
    }
    Ok(())
}

/// A record that names a membership and nothing else; all other fields zero.
pub(crate) const fn membership(
    mgid: MulticastGid,
    port_gid: Gid,
    pkey: PKey,
    join_state: JoinState,
) -> McMemberRecord {
    McMemberRecord {
        mgid: mgid.gid(),
        port_gid,
        qkey: QKey(0),
        mlid: Lid::NONE,
        mtu_selector: 0,
        mtu: Mtu(0),
        traffic_class: 0,
        pkey,
        rate_selector: 0,
        rate: Rate(0),
        life_selector: 0,
        life: ib_wire::addr::Timeout(0),
        sl: ServiceLevel::new(0),
        flow_label: 0,
        hop_limit: 0,
        scope: Scope(0),
        join_state,
        proxy_join: false,
    }
}

const IPOIB_HEADER: u16 = 4;
/// The smallest payload that an MTU code names.
const MIN_PAYLOAD: u16 = 256;
