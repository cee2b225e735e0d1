//! What a lab is made of.

use alloc::{string::String, vec::Vec};

use ib_fabric::{FabricConfig, topology::Topology};
use ib_sm::{
    SmConfig,
    partition::{Identity, Partitions},
};
use ib_wire::{
    addr::{Guid, PKey, PortNum, Scope},
    mad::attr::NodeType,
};

/// Everything that decides how a lab comes up. The same value and the same inputs at the same times give the
/// same run.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// Nodes and cables.
    pub topology: Topology,
    /// Bounds and habits of the emulated hardware.
    pub fabric: FabricConfig,
    /// Subnet managers that run from the start.
    pub managers: Vec<ManagerConfig>,
    /// How every interface is set; none if hosts are to have no interfaces.
    pub interfaces: Option<InterfaceConfig>,
    /// Origin of all chance.
    pub seed: u64,
}

impl LabConfig {
    /// A lab of this topology with one embedded manager, everything else at its default.
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            fabric: FabricConfig::default(),
            managers: alloc::vec![ManagerConfig::default()],
            interfaces: Some(InterfaceConfig::default()),
            seed: 1,
        }
    }
}

/// One embedded subnet manager.
#[derive(Clone, Debug, Default)]
pub struct ManagerConfig {
    /// Where it runs; without a place on the first switch, or the first host if there is no switch.
    pub place: Option<(String, PortNum)>,
    /// Its habits.
    pub sm: SmConfig,
    /// Who belongs to which partition.
    pub partitions: Partitions,
}

/// How IPoIB interfaces are set.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Most address handles of one interface.
    pub max_address_vector: usize,
    /// Most multicast groups that one interface is in.
    pub max_groups: usize,
    /// Frames in flight of one interface.
    pub tx_ring_size: u16,
    /// Scope of the broadcast group.
    pub scope: Scope,
    /// Further partitions. Each gives a child interface to every port that a manager's partitions make its
    /// member; to every port, if there is no manager from the start.
    pub children: Vec<PKey>,
    /// With these, only ports that belong to a child's partition have it.
    pub members: Option<Partitions>,
}

impl InterfaceConfig {
    /// The children of the host's port with this GUID.
    pub fn children_of(&self, guid: Guid) -> impl Iterator<Item = PKey> {
        let port = Identity { guid, node_type: NodeType::CA, is_own: false };
        let keys = self.members.as_ref().map(|partitions| partitions.pkeys(port));
        let has = move |child: &PKey| {
            let same = |key: &PKey| key.partition() == child.partition();
            keys.as_ref().is_none_or(|keys| keys.iter().any(same))
        };
        self.children.iter().map(|child| child.full()).filter(has)
    }
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            max_address_vector: 2048,
            max_groups: 4096,
            tx_ring_size: 128,
            scope: Scope::LINK_LOCAL,
            children: Vec::new(),
            members: None,
        }
    }
}
