//! Partitions: which P_Keys a port gets, and which multicast groups stand from the start.
//!
//! [`Partitions::parse`] reads the operator's file in the format of OpenSM's partitions.conf;
//! [`Partitions::default`] is what holds without a file: one partition, everybody a full member of it. Nothing
//! here knows a subnet: a port is asked about by its [`Identity`].

mod group;
mod parse;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};

use ib_wire::{
    addr::{Guid, Mtu, PKey, Rate, ServiceLevel},
    mad::attr::NodeType,
};

pub use group::GroupParameters;
pub use parse::{ParseError, Reason};

/// All partitions of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    list: Vec<Partition>,
    both_keys: bool,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name, for people.
    pub name: String,
    /// Its key, as a limited member's.
    pub pkey: PKey,
    /// Service level of its traffic.
    pub sl: ServiceLevel,
    /// Its members get its key at index 0 of their tables.
    pub at_index_0: bool,
    /// Who belongs to it; where several rules name a port, the last one holds.
    pub rules: Vec<(Members, Membership)>,
    /// Groups that stand from the start and are never deleted.
    pub groups: Vec<GroupParameters>,
}

/// Whom a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// The port with this GUID.
    Port(Guid),
    /// Every end port.
    All,
    /// Every node of one kind.
    Nodes(NodeType),
    /// Virtual channel adapters, of which this model has none.
    VirtualNodes,
    /// The port of the subnet manager.
    Own,
}

/// How a port belongs to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Talks with full members only.
    Limited,
    /// Talks with every member.
    Full,
    /// Full, and holds the limited key too where both are allowed.
    Both,
}

/// A port, as far as partitions tell ports apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The port's GUID.
    pub guid: Guid,
    /// Kind of its node.
    pub node_type: NodeType,
    /// True for the port of the subnet manager.
    pub is_own: bool,
}

impl Default for Partitions {
    /// Without a file: the default partition, all ports full members, with its broadcast group.
    fn default() -> Self {
        let mut default = Partition::new("Default", PKey::DEFAULT_LIMITED);
        default.rules.push((Members::All, Membership::Full));
        default.groups.push(GroupParameters::broadcast(default.pkey));
        Self { list: alloc::vec![default], both_keys: false }
    }
}

impl Partitions {
    /// Reads the text of a partitions.conf; `file` is its name, for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ParseError> {
        parse::parse(file, text)
    }

    /// What holds beside a file: all ports limited members of the default partition, the manager a full one,
    /// and no group unless the file asks for it.
    fn beside_a_file() -> Self {
        let mut default = Partition::new("Default", PKey::DEFAULT_LIMITED);
        default.rules = alloc::vec![(Members::All, Membership::Limited), (Members::Own, Membership::Full)];
        Self { list: alloc::vec![default], both_keys: false }
    }

    /// The same partitions, where `both` gives a port both keys. Otherwise it gives the full one, as with
    /// OpenSM's `allow_both_pkeys`, which is off unless set.
    #[must_use]
    pub fn with_both_keys(mut self, allowed: bool) -> Self {
        self.both_keys = allowed;
        self
    }

    /// The P_Keys of a port in the order of its table: what is meant for index 0, then the default
    /// partition, then the others as they stand in the file.
    pub fn pkeys(&self, port: Identity) -> Vec<PKey> {
        let mut keys = Vec::new();
        let first = self.list.iter().filter(|p| p.at_index_0);
        for partition in first.chain(self.list.iter().filter(|p| !p.at_index_0)) {
            match partition.membership(port) {
                None => (),
                Some(Membership::Limited) => keys.push(partition.pkey.limited()),
                Some(Membership::Full) => keys.push(partition.pkey.full()),
                Some(Membership::Both) => {
                    keys.push(partition.pkey.full());
                    keys.extend(self.both_keys.then_some(partition.pkey.limited()));
                }
            }
        }
        keys
    }

    /// The groups that stand from the start.
    pub fn groups(&self) -> impl Iterator<Item = &GroupParameters> {
        self.list.iter().flat_map(|partition| &partition.groups)
    }

    /// The partitions, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.list.iter()
    }

    /// The partition that a key belongs to, full or limited.
    pub fn by_key(&self, pkey: PKey) -> Option<&Partition> {
        self.list.iter().find(|p| p.pkey.partition() == pkey.partition())
    }

    /// The groups of a port's partitions that it cannot join, because its link is too small or too slow: an
    /// IPoIB interface on such a port stays without carrier.
    pub fn out_of_reach(
        &self,
        port: Identity,
        mtu: Mtu,
        rate: Rate,
    ) -> impl Iterator<Item = &GroupParameters> {
        let members = self.list.iter().filter(move |p| p.membership(port).is_some());
        members.flat_map(|p| &p.groups).filter(move |g| g.mtu > mtu || g.rate.mbps() > rate.mbps())
    }
}

impl Partition {
    fn new(name: &str, pkey: PKey) -> Self {
        Self {
            name: name.into(),
            pkey: pkey.limited(),
            sl: ServiceLevel::new(0),
            at_index_0: false,
            rules: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// How the port belongs to this partition, if it does.
    pub fn membership(&self, port: Identity) -> Option<Membership> {
        self.rules.iter().rev().find(|(members, _)| members.include(port)).map(|(_, membership)| *membership)
    }
}

impl Members {
    fn include(self, port: Identity) -> bool {
        match self {
            Self::Port(guid) => guid == port.guid,
            Self::All => true,
            Self::Nodes(kind) => kind == port.node_type,
            Self::VirtualNodes => false,
            Self::Own => port.is_own,
        }
    }
}
