//! Forwarding tables: what is wanted, what a switch is known to hold, and the blocks in which they differ.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, MulticastLid, PortNum},
    mad::attr::{LinearBlock, MulticastBlock},
};

/// A table written block by block: the wanted entries, and which blocks the switch has confirmed.
#[derive(Clone, Debug)]
pub struct LinearTable {
    wanted: Vec<u8>,
    held: Vec<Option<[u8; Self::BLOCK]>>,
}

impl Default for LinearTable {
    fn default() -> Self {
        Self::new()
    }
}

impl LinearTable {
    /// LIDs in a block.
    pub const BLOCK: usize = 64;

    /// Wants nothing, knows nothing of the switch.
    pub const fn new() -> Self {
        Self { wanted: Vec::new(), held: Vec::new() }
    }

    /// The egress port for `lid`, none if there is no way.
    pub fn port(&self, lid: Lid) -> Option<PortNum> {
        let port = *self.wanted.get(usize::from(lid.0))?;
        (port != PortNum::ALL.0).then_some(PortNum(port))
    }

    /// Highest LID with room in the table.
    pub fn top(&self) -> Lid {
        Lid(u16::try_from(self.wanted.len().saturating_sub(1)).unwrap_or(0xbfff))
    }

    /// Blocks in use.
    pub fn blocks(&self) -> u16 {
        u16::try_from(self.wanted.len().div_ceil(Self::BLOCK)).unwrap_or(768)
    }

    /// The block as it is wanted; entries beyond the top lead nowhere.
    pub fn block(&self, block: u16) -> LinearBlock {
        LinearBlock(self.bytes(block).map(PortNum))
    }

    /// Replaces what is wanted: one egress port for each LID from 0.
    pub(crate) fn want(&mut self, ports: Vec<u8>) {
        self.wanted = ports;
    }

    /// What is wanted, to be changed and wanted again.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.wanted)
    }

    /// The switch has confirmed the block.
    pub(crate) fn confirm(&mut self, block: u16, bytes: [u8; Self::BLOCK]) {
        let block = usize::from(block);
        if self.held.len() <= block {
            self.held.resize(block + 1, None);
        }
        self.held[block] = Some(bytes);
    }

    /// Nothing is known of the switch's table any more.
    pub(crate) fn forget(&mut self) {
        self.held.clear();
    }

    /// The blocks that the switch does not hold as wanted.
    pub(crate) fn changed(&self) -> impl Iterator<Item = u16> + '_ {
        let wanted = self.wanted.chunks(Self::BLOCK);
        let held = self.held.iter().map(Option::as_ref).chain(core::iter::repeat(None));
        let holds = |held: Option<&[u8; Self::BLOCK]>, wanted: &[u8]| {
            held.map(|held| held.split_at(wanted.len())).is_some_and(|(own, beyond)| {
                own == wanted && beyond.iter().all(|port| *port == PortNum::ALL.0)
            })
        };
        (0..self.blocks())
            .zip(wanted.zip(held))
            .filter(move |(_, (wanted, held))| !holds(*held, wanted))
            .map(|(block, _)| block)
    }

    fn bytes(&self, block: u16) -> [u8; Self::BLOCK] {
        let mut bytes = [PortNum::ALL.0; Self::BLOCK];
        let rest = self.wanted.get(usize::from(block) * Self::BLOCK..).unwrap_or_default();
        let len = rest.len().min(Self::BLOCK);
        bytes[..len].copy_from_slice(&rest[..len]);
        bytes
    }
}

/// The ports that packets of a group go out by: bit n is port n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortMask(pub [u16; 16]);

impl PortMask {
    /// Adds a port.
    pub fn insert(&mut self, port: PortNum) {
        self.0[usize::from(port.0 / 16)] |= 1 << (port.0 % 16);
    }

    /// Takes a port out.
    pub fn remove(&mut self, port: PortNum) {
        self.0[usize::from(port.0 / 16)] &= !(1 << (port.0 % 16));
    }

    /// True if the port is in.
    pub fn contains(&self, port: PortNum) -> bool {
        self.0[usize::from(port.0 / 16)] & 1 << (port.0 % 16) != 0
    }

    /// The ports that are in, in order.
    pub fn ports(&self) -> impl Iterator<Item = PortNum> + '_ {
        (0..=255).map(PortNum).filter(|port| self.contains(*port))
    }

    /// True if no port is in.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Multicast forwarding of one switch. A page is 32 MLIDs for 16 ports: what one MAD carries.
#[derive(Clone, Debug)]
pub struct MulticastTable {
    /// Pages that stand side by side: one for each 16 ports, port 0 included.
    positions: u8,
    wanted: Vec<MulticastBlock>,
    held: Vec<Option<MulticastBlock>>,
    /// What is not in `held` is known to be empty.
    zeroed: bool,
}

impl MulticastTable {
    /// MLIDs in a block.
    pub const BLOCK: usize = 32;

    /// An empty table of a switch with ports `0..=ports`, of whose own nothing is known.
    pub const fn new(ports: u8) -> Self {
        Self { positions: ports / 16 + 1, wanted: Vec::new(), held: Vec::new(), zeroed: false }
    }

    /// The ports for `mlid`.
    pub fn mask(&self, mlid: MulticastLid) -> PortMask {
        let (first, entry) = self.place(mlid);
        let pages = self.wanted.get(first..).unwrap_or_default();
        let mut mask = PortMask::default();
        for (word, page) in mask.0.iter_mut().zip(pages).take(usize::from(self.positions)) {
            *word = page.0[entry];
        }
        mask
    }

    /// Blocks in use.
    pub fn blocks(&self) -> u16 {
        u16::try_from(self.wanted.len() / usize::from(self.positions)).unwrap_or(512)
    }

    /// The block as it is wanted, for the 16 ports from `16 * position`.
    pub fn block(&self, block: u16, position: u8) -> MulticastBlock {
        if position >= self.positions {
            return MulticastBlock::default();
        }
        self.wanted.get(self.page(block, position)).copied().unwrap_or_default()
    }

    /// Sets what is wanted for one group; true if it is another than before.
    pub(crate) fn want(&mut self, mlid: MulticastLid, mask: PortMask) -> bool {
        if self.mask(mlid) == mask {
            return false;
        }
        let (first, entry) = self.place(mlid);
        let end = first + usize::from(self.positions);
        if self.wanted.len() < end {
            self.wanted.resize(end, MulticastBlock::default());
        }
        for (word, page) in mask.0.iter().zip(&mut self.wanted[first..end]) {
            page.0[entry] = *word;
        }
        true
    }

    /// The switch has confirmed the block.
    pub(crate) fn confirm(&mut self, block: u16, position: u8, bytes: MulticastBlock) {
        let page = self.page(block, position);
        if self.held.len() <= page {
            self.held.resize(page + 1, None);
        }
        self.held[page] = Some(bytes);
    }

    /// Nothing is known of the switch's table any more, unless that it is `zeroed`.
    pub(crate) fn forget(&mut self, zeroed: bool) {
        self.held.clear();
        self.zeroed = zeroed;
    }

    /// Blocks and positions that the switch does not hold as wanted.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        (0..self.blocks()).flat_map(|block| self.changed_of(block))
    }

    /// Those of them in one block.
    pub(crate) fn changed_of(&self, block: u16) -> impl Iterator<Item = (u16, u8)> + '_ {
        (0..self.positions)
            .filter(move |position| self.differs(block, *position))
            .map(move |position| (block, position))
    }

    /// True if the switch does not hold the page as wanted.
    pub(crate) fn differs(&self, block: u16, position: u8) -> bool {
        let held = self.held.get(self.page(block, position)).copied().flatten();
        held.or_else(|| self.zeroed.then(MulticastBlock::default)) != Some(self.block(block, position))
    }

    fn page(&self, block: u16, position: u8) -> usize {
        usize::from(block) * usize::from(self.positions) + usize::from(position)
    }

    /// First page and entry in it.
    const fn place(&self, mlid: MulticastLid) -> (usize, usize) {
        (mlid.index() / Self::BLOCK * self.positions as usize, mlid.index() % Self::BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn only_blocks_that_differ_are_sent_again() {
        let mut table = LinearTable::new();
        table.want(vec![1; 130]);
        assert_eq!(table.changed().collect::<Vec<_>>(), [0, 1, 2]);
        for block in 0..3 {
            table.confirm(block, table.block(block).into());
        }
        assert_eq!(table.changed().count(), 0);
        let mut ports = vec![1; 130];
        ports[70] = 2;
        table.want(ports);
        assert_eq!(table.changed().collect::<Vec<_>>(), [1]);
        assert_eq!(table.port(Lid(70)), Some(PortNum(2)));
        assert_eq!(table.port(Lid(131)), None);
        table.forget();
        assert_eq!(table.changed().count(), 3);
    }

    #[test]
    fn group_masks_are_cut_into_blocks_by_port_and_lid() {
        let mut table = MulticastTable::new(36);
        let mlid = MulticastLid::try_from(0xc021).unwrap();
        let mut mask = PortMask::default();
        mask.insert(PortNum(17));
        assert!(table.want(mlid, mask));
        assert!(!table.want(mlid, mask));
        assert_eq!(table.block(1, 1).0[1], 2);
        assert_eq!(table.changed().count(), 6);
        table.forget(true);
        assert_eq!(table.changed().collect::<Vec<_>>(), [(1, 1)]);
    }
}
