//! A table of values in order of use: everything in constant time, the least recently used at the end.

use alloc::vec::Vec;

/// Names one value for as long as it is in the table; never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

/// Values linked by recency.
#[derive(Debug)]
pub(crate) struct Lru<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    generation: u32,
    newer: u32,
    older: u32,
}

impl<T> Lru<T> {
    /// An empty table.
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }

    /// Adds a value as the most recently used.
    pub(crate) fn insert(&mut self, value: T) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { value: None, generation: 0, newer: NONE, older: NONE });
            u32::try_from(self.slots.len() - 1).expect("tables are bounded far below 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        let generation = slot.generation;
        self.link(index);
        Id { index, generation }
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.unlink(id.index);
        self.free.push(id.index);
        Some(value)
    }

    /// The value, if it is still there.
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slots.get(id.index as usize).filter(|s| s.generation == id.generation)?;
        slot.value.as_ref()
    }

    /// The value, if it is still there.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation)?;
        slot.value.as_mut()
    }

    /// The value, which becomes the most recently used.
    pub(crate) fn touch(&mut self, id: Id) -> Option<&mut T> {
        if id.index != self.newest {
            self.get(id)?;
            self.unlink(id.index);
            self.link(id.index);
        }
        self.get_mut(id)
    }

    /// The least recently used.
    pub(crate) fn oldest(&self) -> Option<Id> {
        self.slots.get(self.oldest as usize).map(|s| Id { index: self.oldest, generation: s.generation })
    }

    /// How many values there are.
    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// All values, in an order that depends on their history alone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            Some((Id { index, generation: slot.generation }, slot.value.as_ref()?))
        })
    }

    /// The names of all values.
    pub(crate) fn ids(&self) -> Vec<Id> {
        self.iter().map(|(id, _)| id).collect()
    }

    fn link(&mut self, index: u32) {
        let newest = core::mem::replace(&mut self.newest, index);
        let slot = &mut self.slots[index as usize];
        (slot.newer, slot.older) = (NONE, newest);
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let (newer, older) = (self.slots[index as usize].newer, self.slots[index as usize].older);
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }
}

/// No slot has this index.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_outlives_no_value() {
        let mut lru = Lru::new();
        let a = lru.insert('a');
        assert_eq!(lru.remove(a), Some('a'));
        let b = lru.insert('b');
        assert_eq!((lru.get(a), lru.get(b)), (None, Some(&'b')));
        assert_eq!(lru.remove(a), None);
        assert_eq!(lru.len(), 1);
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_simple_list(steps: Vec<(u8, u8)>) {
            let mut lru = Lru::new();
            let mut list: VecDeque<Id> = VecDeque::new();
            for (step, which) in steps {
                let chosen = list.get(usize::from(which) % list.len().max(1)).copied();
                match (step % 3, chosen) {
                    (1, Some(id)) => {
                        lru.touch(id);
                        list.retain(|x| *x != id);
                        list.push_back(id);
                    }
                    (2, Some(id)) => {
                        lru.remove(id);
                        list.retain(|x| *x != id);
                    }
                    _ => list.push_back(lru.insert(())),
                }
                prop_assert_eq!(lru.oldest(), list.front().copied());
                prop_assert_eq!(lru.len(), list.len());
            }
            while let Some(id) = lru.oldest() {
                prop_assert_eq!(Some(id), list.pop_front());
                lru.remove(id);
            }
            prop_assert!(list.is_empty());
        }
    }
}
