//! The forwarding tables, and the sets of ports in them.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, MulticastLid, PortNum},
    mad::attr::{LinearBlock, MulticastBlock},
};

/// Unicast: one port a LID. Grows with the blocks written.
#[derive(Debug)]
pub(crate) struct LinearTable {
    ports: Vec<PortNum>,
    cap: usize,
}

impl LinearTable {
    const BLOCK: usize = 64;

    /// An empty table of `cap` entries.
    pub(crate) fn new(cap: u16) -> Self {
        Self { ports: Vec::new(), cap: cap.into() }
    }

    /// The port for `lid`, 255 if none was written.
    #[inline]
    pub(crate) fn get(&self, lid: Lid) -> PortNum {
        self.ports.get(usize::from(lid.0)).copied().unwrap_or(PortNum::ALL)
    }

    /// Block `block`, or `None` if it lies outside the table.
    pub(crate) fn block(&self, block: usize) -> Option<LinearBlock> {
        let first = self.first(block)?;
        Some(LinearBlock(core::array::from_fn(|i| {
            self.ports.get(first + i).copied().unwrap_or(PortNum::ALL)
        })))
    }

    /// Writes a block. `None` if it lies outside the table.
    pub(crate) fn set_block(&mut self, block: usize, ports: &LinearBlock) -> Option<()> {
        let first = self.first(block)?;
        let end = (first + Self::BLOCK).min(self.cap);
        if self.ports.len() < end {
            self.ports.resize(end, PortNum::ALL);
        }
        self.ports[first..end].copy_from_slice(&ports.0[..end - first]);
        Some(())
    }

    /// The LIDs that have a port.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Lid, PortNum)> {
        let lids = (0..=u16::MAX).map(Lid);
        lids.zip(self.ports.iter().copied()).filter(|(_, port)| *port != PortNum::ALL)
    }

    fn first(&self, block: usize) -> Option<usize> {
        let first = block.checked_mul(Self::BLOCK)?;
        (first < self.cap).then_some(first)
    }
}

/// Multicast: a set of ports a LID. Grows with the blocks written.
#[derive(Debug)]
pub(crate) struct MulticastTable {
    sets: Vec<PortSet>,
    cap: usize,
}

impl MulticastTable {
    const BLOCK: usize = 32;
    /// Ports 0..=255, 16 at a time.
    const POSITIONS: usize = 16;

    /// An empty table of `cap` entries.
    pub(crate) fn new(cap: u16) -> Self {
        Self { sets: Vec::new(), cap: cap.into() }
    }

    /// The ports of `mlid`, none if none were written.
    #[inline]
    pub(crate) fn get(&self, mlid: MulticastLid) -> PortSet {
        self.sets.get(mlid.index()).copied().unwrap_or_default()
    }

    /// Sixteen ports of the LIDs of a block, or `None` if it lies outside the table.
    pub(crate) fn block(&self, block: usize, position: usize) -> Option<MulticastBlock> {
        let first = self.first(block, position)?;
        let mask = |i| self.sets.get(first + i).map_or(0, |set: &PortSet| set.sixteen(position));
        Some(MulticastBlock(core::array::from_fn(mask)))
    }

    /// Writes sixteen ports of the LIDs of a block. `None` if it lies outside the table.
    pub(crate) fn set_block(&mut self, block: usize, position: usize, masks: &MulticastBlock) -> Option<()> {
        let first = self.first(block, position)?;
        let end = (first + Self::BLOCK).min(self.cap);
        if self.sets.len() < end {
            self.sets.resize(end, PortSet::default());
        }
        for (set, mask) in self.sets[first..end].iter_mut().zip(masks.0) {
            set.set_sixteen(position, mask);
        }
        Some(())
    }

    /// The groups that have ports.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Lid, PortSet)> {
        let mlids = (Lid::FIRST_MULTICAST.0..=u16::MAX).map(Lid);
        mlids.zip(self.sets.iter().copied()).filter(|(_, set)| !set.is_empty())
    }

    fn first(&self, block: usize, position: usize) -> Option<usize> {
        let first = block.checked_mul(Self::BLOCK)?;
        (first < self.cap && position < Self::POSITIONS).then_some(first)
    }
}

/// A set of port numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortSet([u64; 4]);

impl PortSet {
    /// True if there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    /// Adds a port; 255 stands for none.
    pub(crate) fn insert(&mut self, port: PortNum) {
        if port != PortNum::ALL {
            self.0[usize::from(port.0 / 64)] |= 1 << (port.0 % 64);
        }
    }

    /// Takes a port out.
    pub(crate) fn remove(&mut self, port: PortNum) {
        self.0[usize::from(port.0 / 64)] &= !(1 << (port.0 % 64));
    }

    /// Takes out all ports from `count` on.
    pub(crate) fn keep_below(&mut self, count: usize) {
        for (i, word) in self.0.iter_mut().enumerate() {
            let bits = count.saturating_sub(i * 64).min(64);
            *word &= if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        }
    }

    /// Takes the lowest out and returns it.
    pub(crate) fn pop(&mut self) -> Option<PortNum> {
        let (i, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros();
        *word &= *word - 1;
        Some(PortNum(u8::try_from(i * 64 + bit as usize).expect("four words of 64 bits")))
    }

    fn sixteen(self, position: usize) -> u16 {
        let bytes = self.0[position / 4].to_le_bytes();
        u16::from_le_bytes([bytes[position % 4 * 2], bytes[position % 4 * 2 + 1]])
    }

    fn set_sixteen(&mut self, position: usize, mask: u16) {
        let shift = position % 4 * 16;
        let word = &mut self.0[position / 4];
        *word = *word & !(0xffff << shift) | u64::from(mask) << shift;
    }
}

impl Iterator for PortSet {
    type Item = PortNum;

    fn next(&mut self) -> Option<PortNum> {
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_sets_are_written_sixteen_ports_at_a_time() {
        let mlid = MulticastLid::try_from(0xc021).expect("multicast");
        let mut table = MulticastTable::new(64);
        let mut masks = MulticastBlock::default();
        masks.0[1] = 0x8001;
        for position in [0, 5, 15] {
            table.set_block(1, position, &masks).expect("in the table");
            assert_eq!(table.block(1, position), Some(masks));
        }
        let ports: Vec<u8> = table.get(mlid).map(|port| port.0).collect();
        assert_eq!(ports, [0, 15, 80, 95, 240, 255]);
        assert_eq!(table.iter().map(|(lid, _)| lid.0).collect::<Vec<_>>(), [0xc021]);
        let mut below = table.get(mlid);
        below.keep_below(95);
        assert_eq!(below.map(|port| port.0).collect::<Vec<_>>(), [0, 15, 80]);
        assert!(table.set_block(2, 0, &masks).is_none() && table.set_block(0, 16, &masks).is_none());
    }

    #[test]
    fn a_last_block_that_is_not_full_ends_with_the_table() {
        let mut table = LinearTable::new(100);
        table.set_block(1, &LinearBlock([PortNum(3); 64])).expect("in the table");
        assert_eq!(table.get(Lid(99)), PortNum(3));
        assert_eq!(table.get(Lid(100)), PortNum::ALL);
        assert_eq!(table.get(Lid(63)), PortNum::ALL);
        assert_eq!(table.iter().count(), 36);
        assert!(table.block(2).is_none());
    }
}
