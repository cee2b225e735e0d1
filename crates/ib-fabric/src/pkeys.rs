//! The P_Key table of a port. IBA 1 §10.9.

use alloc::vec::Vec;

use ib_wire::{addr::PKey, mad::attr::PKeyBlock};

/// Keys of a port; memory is taken for blocks written.
#[derive(Clone, Debug)]
pub(crate) struct PKeys {
    keys: Vec<PKey>,
    cap: u16,
}

const BLOCK: usize = 32;

impl PKeys {
    /// A table of `cap` entries with the default key alone.
    pub(crate) fn new(cap: u16) -> Self {
        Self { keys: alloc::vec![PKey::DEFAULT_FULL], cap }
    }

    /// Block `block`, or `None` if it lies outside the table.
    pub(crate) fn block(&self, block: usize) -> Option<PKeyBlock> {
        let first = self.first(block)?;
        Some(PKeyBlock(core::array::from_fn(|i| self.get(first + i))))
    }

    /// Writes a block; entries beyond the table are ignored. `None` if the whole lies outside.
    pub(crate) fn set_block(&mut self, block: usize, keys: &PKeyBlock) -> Option<()> {
        let first = self.first(block)?;
        let end = (first + BLOCK).min(usize::from(self.cap));
        if self.keys.len() < end {
            self.keys.resize(end, PKey::INVALID);
        }
        self.keys[first..end].copy_from_slice(&keys.0[..end - first]);
        Some(())
    }

    /// True if an end port takes a packet with `pkey`: one side at least is a full member.
    pub(crate) fn admits(&self, pkey: PKey) -> bool {
        self.keys.iter().any(|key| key.admits(pkey))
    }

    /// True if a switch port lets a packet with `pkey` pass. Membership is the end ports' business: a manager gives
    /// the port that faces a limited member that member's own key, and what the member sends must pass.
    pub(crate) fn passes(&self, pkey: PKey) -> bool {
        self.keys.iter().any(|key| pkey.is_valid() && key.partition() == pkey.partition())
    }

    /// Where `pkey` stands; if not as it is, then the same partition, full membership first.
    pub(crate) fn find(&self, pkey: PKey) -> Option<usize> {
        let same = |key: &PKey| pkey.is_valid() && key.is_valid() && key.partition() == pkey.partition();
        let position = |wanted: PKey| self.keys.iter().position(|key| *key == wanted && same(key));
        position(pkey).or_else(|| position(pkey.full())).or_else(|| position(pkey.limited()))
    }

    /// The key at `index`, invalid beyond the table.
    pub(crate) fn get(&self, index: usize) -> PKey {
        self.keys.get(index).copied().unwrap_or(PKey::INVALID)
    }

    /// All keys up to the last block written.
    pub(crate) fn as_slice(&self) -> &[PKey] {
        &self.keys
    }

    /// Entries of the table.
    pub(crate) const fn cap(&self) -> u16 {
        self.cap
    }

    fn first(&self, block: usize) -> Option<usize> {
        let first = block.checked_mul(BLOCK)?;
        (first < usize::from(self.cap)).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_itself_is_found_before_its_partition() {
        let mut pkeys = PKeys::new(40);
        let mut keys = PKeyBlock::default();
        keys.0[..4].copy_from_slice(&[PKey(0x7fff), PKey(0x8001), PKey(1), PKey(2)]);
        pkeys.set_block(0, &keys).expect("in the table");
        assert_eq!(pkeys.find(PKey(1)), Some(2));
        assert_eq!(pkeys.find(PKey(0x8001)), Some(1));
        assert_eq!(pkeys.find(PKey(0x8002)), Some(3));
        assert_eq!(pkeys.find(PKey::DEFAULT_FULL), Some(0));
        assert_eq!(pkeys.find(PKey(3)), None);
        assert_eq!(pkeys.find(PKey::INVALID), None);
        assert!(pkeys.admits(PKey(0x8002)) && !pkeys.admits(PKey(2)));
        assert!(pkeys.passes(PKey(0x8002)) && pkeys.passes(PKey(2)) && !pkeys.passes(PKey(3)));
        assert!(!pkeys.passes(PKey::INVALID) && !pkeys.passes(PKey(0x8000)));
        assert!(pkeys.set_block(1, &keys).is_some() && pkeys.set_block(2, &keys).is_none());
        assert_eq!(pkeys.get(39), PKey::INVALID);
        assert_eq!(pkeys.as_slice().len(), 40);
    }
}
