//! What a group that stands from the start is like.

use ib_wire::{
    addr::{Mtu, MulticastGid, PKey, QKey, Rate, Scope, ServiceLevel, Timeout},
    ipoib::mgid::broadcast_mgid,
};

/// Parameters of a multicast group. The MGID carries scope and, for IPoIB, partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupParameters {
    /// The group.
    pub mgid: MulticastGid,
    /// Its partition, as a full member's key.
    pub pkey: PKey,
    /// Key of its traffic.
    pub qkey: QKey,
    /// Largest payload.
    pub mtu: Mtu,
    /// Rate that every member's link must have.
    pub rate: Rate,
    /// Service level.
    pub sl: ServiceLevel,
    /// Longest time on the way.
    pub life: Timeout,
    /// Traffic class of its GRH.
    pub traffic_class: u8,
    /// Flow label of its GRH, 20 bits.
    pub flow_label: u32,
    /// Hop limit of its GRH.
    pub hop_limit: u8,
}

impl GroupParameters {
    /// Q_Key of groups that are not told another.
    pub const Q_KEY: QKey = QKey(0x0b1b);

    /// The broadcast group of a partition with OpenSM's defaults: 2048 bytes, 10 Gb/s, the local subnet.
    pub fn broadcast(pkey: PKey) -> Self {
        Self {
            mgid: broadcast_mgid(Scope::LINK_LOCAL, pkey),
            pkey: pkey.full(),
            qkey: Self::Q_KEY,
            mtu: Mtu::B2048,
            rate: Rate::GBPS_10,
            sl: ServiceLevel::new(0),
            life: Timeout(18),
            traffic_class: 0,
            flow_label: 0,
            hop_limit: hop_limit(Scope::LINK_LOCAL),
        }
    }

    /// The same group in another scope: MGID and hop limit follow.
    #[must_use]
    pub fn in_scope(self, scope: Scope) -> Self {
        let mut gid = self.mgid.gid();
        gid.0[1] = gid.0[1] & 0xf0 | scope.0 & 0xf;
        let mgid = gid.multicast().expect("the first octet was not touched");
        Self { mgid, hop_limit: hop_limit(scope), ..self }
    }
}

/// Nothing leaves the subnet with a link-local group.
const fn hop_limit(scope: Scope) -> u8 {
    if scope.0 == Scope::LINK_LOCAL.0 { 0 } else { 255 }
}
