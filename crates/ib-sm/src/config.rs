//! What an operator can set. The defaults are those of OpenSM where a user can see them.

use alloc::vec::Vec;
use core::time::Duration;

use ib_wire::addr::{Guid, Lid, MKey, ServiceLevel, SubnetPrefix, Timeout};

use crate::sa::SaConfig;

/// Settings of a subnet manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmConfig {
    /// 0 to 15; the highest wins, then the lower GUID.
    pub priority: u8,
    /// Upper half of every GID.
    pub prefix: SubnetPrefix,
    /// Management key written to every port.
    pub m_key: MKey,
    /// How the administration is set.
    pub administration: SaConfig,
    /// LIDs to give out again, as `SubnetManager::remembered_lids` told them.
    pub lids: Vec<(Guid, Lid)>,
    /// SMPs under way at once.
    pub window: usize,
    /// How long an SMP's answer may take.
    pub response_timeout: Duration,
    /// How often an SMP is sent again.
    pub retries: u32,
    /// Time between light sweeps.
    pub sweep_interval: Duration,
    /// How often a standby asks the master whether it lives.
    pub standby_poll: Duration,
    /// Polls in a row without answer after which the master is dead.
    pub standby_retries: u32,
    /// Longest time a packet may be under way, told to every port.
    pub subnet_timeout: Timeout,
    /// Largest number of lanes, coded as in PortInfo: 5 is VL0 to VL14.
    pub max_operational_vls: u8,
    /// Time at the head of a queue between switches.
    pub hoq_life: u8,
    /// Time at the head of a queue towards an end node.
    pub leaf_hoq_life: u8,
    /// Packets dropped in a row before a lane stalls.
    pub vl_stall_count: u8,
    /// Time a packet may stay in a switch.
    pub switch_life_time: Timeout,
    /// Service level to the manager.
    pub sm_sl: ServiceLevel,
    /// Switch ports that face an end node check P_Keys.
    pub enforce_partitions: bool,
}

impl Default for SmConfig {
    fn default() -> Self {
        Self {
            priority: 0,
            prefix: SubnetPrefix::LINK_LOCAL,
            m_key: MKey(0),
            administration: SaConfig::default(),
            lids: Vec::new(),
            window: 32,
            response_timeout: Duration::from_millis(200),
            retries: 3,
            sweep_interval: Duration::from_secs(10),
            standby_poll: Duration::from_secs(10),
            standby_retries: 4,
            subnet_timeout: Timeout(18),
            max_operational_vls: 5,
            hoq_life: 0x12,
            leaf_hoq_life: 0x10,
            vl_stall_count: 7,
            switch_life_time: Timeout(0x12),
            sm_sl: ServiceLevel::new(0),
            enforce_partitions: true,
        }
    }
}

/// The port that the manager works through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmPort {
    /// Its GUID.
    pub guid: Guid,
}
