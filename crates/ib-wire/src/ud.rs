//! What software and a port say to each other: datagrams sent and received, MADs, the state of the port.
//!
//! The driver and the emulated adapter do not know each other; both know these. A real adapter behind
//! verbs would speak them too.

use alloc::vec::Vec;

use crate::{
    addr::{
        Gid, Guid, Lid, Lmc, Mtu, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout,
    },
    mad::attr::{PhysicalState, PortState},
    offload::Offload,
    packet::{GlobalRoute, Grh},
    payload::Payload,
};

/// How to reach a port or a group: what an address handle holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressVector {
    /// Destination LID, unicast or multicast.
    pub dlid: Lid,
    /// Service level of the path.
    pub sl: ServiceLevel,
    /// Slowest link of the path; a faster sender would have to wait.
    pub rate: Rate,
    /// Set if the packet is to carry a GRH; always with multicast. `sgid` is filled in by the port.
    pub global: Option<GlobalRoute>,
}

/// A datagram to send from a UD queue pair. Q_Key top bit set means: use the queue pair's own.
#[derive(Clone, Debug)]
pub struct UdSend {
    /// Where to.
    pub to: AddressVector,
    /// Destination queue pair.
    pub dest_qp: Qpn,
    /// Key of the destination.
    pub qkey: QKey,
    /// The bytes.
    pub payload: Payload,
    /// What is still to be done to them.
    pub offload: Offload,
}

/// A datagram that a UD queue pair received.
#[derive(Clone, Debug)]
pub struct UdReceived {
    /// Source LID.
    pub slid: Lid,
    /// Destination LID: the port's, or the group's.
    pub dlid: Lid,
    /// Service level it came with.
    pub sl: ServiceLevel,
    /// Source queue pair.
    pub src_qp: Qpn,
    /// Partition it came with.
    pub pkey: PKey,
    /// The GRH, if it carried one.
    pub grh: Option<Grh>,
    /// The bytes.
    pub payload: Payload,
    /// What the sender's side left undone.
    pub offload: Offload,
}

/// What the driver asks of its queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QpCommand {
    /// Sets the keys; the partition must be in the port's table.
    SetKeys {
        /// Partition.
        pkey: PKey,
        /// Key that received datagrams must carry.
        qkey: QKey,
    },
    /// Receive the datagrams of a group.
    Attach {
        /// The group.
        mgid: MulticastGid,
        /// Its LID.
        mlid: Lid,
    },
    /// No longer receive them.
    Detach {
        /// The group.
        mgid: MulticastGid,
        /// Its LID.
        mlid: Lid,
    },
    /// Stop taking and sending: the interface is down.
    Stop,
}

/// The far end of a MAD: where it came from, or where it goes. Q_Keys follow from the queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadAddress {
    /// LID; permissive for directed routes.
    pub lid: Lid,
    /// Queue pair: QP0, QP1 or one that was told.
    pub qpn: Qpn,
    /// Service level.
    pub sl: ServiceLevel,
    /// Partition; not of meaning on QP0.
    pub pkey: PKey,
    /// Set if there is or should be a GRH; when sending, `sgid` is filled in by the port.
    pub global: Option<GlobalRoute>,
}

impl MadAddress {
    /// QP0 by directed route: the way stands in the MAD.
    pub const DIRECTED: Self = Self::smi(Lid::PERMISSIVE);

    /// QP0 of the port with `lid`.
    pub const fn smi(lid: Lid) -> Self {
        Self { lid, qpn: Qpn::SMI, sl: ServiceLevel::new(0), pkey: PKey::DEFAULT_FULL, global: None }
    }

    /// QP1 of the port with `lid`.
    pub const fn gsi(lid: Lid, sl: ServiceLevel) -> Self {
        Self { lid, qpn: Qpn::GSI, sl, pkey: PKey::DEFAULT_FULL, global: None }
    }
}

/// What software sees of its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// The port's GUID.
    pub guid: Guid,
    /// Upper half of its GIDs.
    pub prefix: SubnetPrefix,
    /// Logical state.
    pub state: PortState,
    /// Physical state.
    pub physical_state: PhysicalState,
    /// Base LID, none before an SM gave one.
    pub lid: Lid,
    /// LID mask control.
    pub lmc: Lmc,
    /// Where the master SM is, none before one has come.
    pub sm_lid: Lid,
    /// Service level to the master SM.
    pub sm_sl: ServiceLevel,
    /// Largest payload the neighbour takes.
    pub mtu: Mtu,
    /// Rate of the link; none if there is no link.
    pub rate: Option<Rate>,
    /// Longest time through the subnet.
    pub subnet_timeout: Timeout,
    /// Partition table; empty slots are `PKey::INVALID`.
    pub pkeys: Vec<PKey>,
}

impl PortView {
    /// GID 0.
    pub const fn gid(&self) -> Gid {
        Gid::new(self.prefix, self.guid)
    }

    /// The table's entry for the partition of `pkey`: a full one before a limited one.
    pub fn pkey_for(&self, pkey: PKey) -> Option<PKey> {
        let same = |k: &&PKey| k.is_valid() && k.partition() == pkey.partition();
        self.pkeys.iter().filter(same).max_by_key(|k| k.is_full()).copied()
    }
}

/// Something happened to a port. The view after the event comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// The port became Active.
    Active,
    /// The port ceased to be Active.
    Down,
    /// Its LID or LMC changed.
    LidChange,
    /// The master SM moved, or has another service level.
    SmChange,
    /// An SM asks clients to register again.
    ClientReregister,
    /// The partition table changed.
    PKeyChange,
    /// The GID table or prefix changed.
    GidChange,
}

impl PortEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Active,
        Self::Down,
        Self::LidChange,
        Self::SmChange,
        Self::ClientReregister,
        Self::PKeyChange,
        Self::GidChange,
    ];
}
