//! End ports: where software and management agents sit.
//!
//! `qp` holds the queue pairs, `agent` who takes which MADs, `trap` what waits for a TrapRepress. `receive` is
//! where packets end, `smi` and `directed` where SMPs go, `sma` and `pma` what the port itself answers, `gsi`
//! the rest of QP1.

mod agent;
mod directed;
mod gsi;
pub(crate) mod pma;
mod qp;
pub(crate) mod receive;
mod send;
pub(crate) mod sma;
mod smi;
mod trap;
mod violation;

use alloc::{boxed::Box, vec::Vec};

pub use agent::{AgentSpec, MethodMask, Oui};
pub(crate) use agent::{Agents, claimed};
use ib_wire::{
    addr::{Gid, Guid, SubnetPrefix},
    mad::attr::GuidBlock,
    time::Instant,
};
pub(crate) use pma::Sampler;
pub(crate) use qp::{QpState, QueuePairs};
pub(crate) use trap::Traps;

use crate::port::Port;

/// What an end port has besides what every port has.
#[derive(Debug)]
pub(crate) struct EndPort {
    /// Which port of the fabric it is.
    pub(crate) port: usize,
    /// Its PortGUID.
    pub(crate) guid: Guid,
    /// GUIDs that an SM gave it besides; the first stands at index 1 of the table.
    pub(crate) aliases: Vec<Guid>,
    /// Its queue pairs.
    pub(crate) qps: QueuePairs,
    /// Its agents.
    pub(crate) agents: Agents,
    /// Its traps.
    pub(crate) traps: Traps,
    /// The sampling of counters that somebody asked for.
    pub(crate) sampler: Option<Box<Sampler>>,
    /// When the lease of its M_Key ends, if it runs out.
    pub(crate) lease_end: Option<Instant>,
    /// A base switch port 0: no queue pairs but QP0 and QP1.
    pub(crate) management_only: bool,
}

impl EndPort {
    /// An end port without any software.
    pub(crate) fn new(port: usize, guid: Guid, management_only: bool) -> Self {
        Self {
            port,
            guid,
            aliases: Vec::new(),
            qps: QueuePairs::new(guid),
            agents: Agents::default(),
            traps: Traps::default(),
            sampler: None,
            lease_end: None,
            management_only,
        }
    }

    /// The GUID at `index` of the table, zero if there is none.
    pub(crate) fn guid_at(&self, index: usize) -> Guid {
        match index.checked_sub(1) {
            None => self.guid,
            Some(alias) => self.aliases.get(alias).copied().unwrap_or(Guid::ZERO),
        }
    }

    /// True if a packet to `gid` is for this port, whose prefix is `prefix`. The link-local prefix always works.
    pub(crate) fn has_gid(&self, gid: Gid, prefix: SubnetPrefix) -> bool {
        let guid = gid.guid();
        let known = guid == self.guid || guid != Guid::ZERO && self.aliases.contains(&guid);
        known && (gid.prefix() == prefix || gid.prefix() == SubnetPrefix::LINK_LOCAL)
    }

    /// A block of the GUID table.
    pub(crate) fn guid_block(&self, block: usize) -> GuidBlock {
        GuidBlock(core::array::from_fn(|i| self.guid_at(block * 8 + i)))
    }

    /// Writes a block; index 0 is fixed.
    pub(crate) fn set_guid_block(&mut self, block: usize, guids: &GuidBlock) {
        let end = (block + 1) * 8 - 1;
        if self.aliases.len() < end {
            self.aliases.resize(end, Guid::ZERO);
        }
        for (i, guid) in guids.0.iter().enumerate() {
            if let Some(alias) = (block * 8 + i).checked_sub(1) {
                self.aliases[alias] = *guid;
            }
        }
    }

    /// Forgets all that an SM wrote; software stays.
    pub(crate) fn reset(&mut self) {
        self.aliases.clear();
        self.traps.clear();
        self.sampler = None;
        self.lease_end = None;
    }
}

/// GID 0 of an end port.
pub(crate) const fn gid(end: &EndPort, port: &Port) -> Gid {
    Gid::new(port.info.gid_prefix, end.guid)
}
