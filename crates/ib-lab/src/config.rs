//! What a lab is made of.

use alloc::{string::String, vec::Vec};

use ib_fabric::{FabricConfig, topology::Topology};
use ib_sm::{SmConfig, partition::Partitions};
use ib_wire::addr::{PKey, PortNum, Scope};

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
    /// How every interface is set.
    pub interfaces: InterfaceConfig,
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
            interfaces: InterfaceConfig::default(),
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
    /// Frames in flight of one interface.
    pub tx_ring_size: u16,
    /// Scope of the broadcast group.
    pub scope: Scope,
    /// Further partitions, each of which gives every port a child interface.
    pub children: Vec<PKey>,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self { max_address_vector: 2048, tx_ring_size: 128, scope: Scope::LINK_LOCAL, children: Vec::new() }
    }
}
