//! Bytes as decisions.

use std::os::fd::OwnedFd;

/// What is left of them; at their end every decision is the first one.
pub(super) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most so many of them.
    pub(super) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn number<const N: usize>(&mut self) -> u64 {
        let mut number = [0; 8];
        let taken = self.bytes(N);
        number[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(number)
    }

    /// Less than `bound`, which is at most 65536.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 { self.number::<1>() } else { self.number::<2>() };
        usize::try_from(number).unwrap_or(0) % bound
    }

    /// Other values for some of the first bytes, and sometimes another length.
    pub(super) fn spoil(&mut self, record: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            let (at, value) = (self.below(140), self.number::<1>());
            if let Some(byte) = record.get_mut(at) {
                *byte = value.to_le_bytes()[0];
            }
        }
        if self.below(8) == 0 {
            let len = self.below(1 << 16);
            record.resize(len, 0);
        }
    }

    /// Writes over what both sides of two rings share: their numbers, or the first of their bytes.
    pub(super) fn scribble(&mut self, memory: &OwnedFd) {
        // Both rings have four numbers in front, each in a cache line of its own.
        let (at, value) = if self.below(3) > 0 {
            let value = match self.below(3) {
                0 => self.number::<8>(),
                1 => self.number::<2>() * 8,
                _ => (1 << 18) + self.number::<1>(),
            };
            (64 * self.below(8), value.to_le_bytes().to_vec())
        } else {
            (self.below(1 << 16), self.bytes(32).to_vec())
        };
        let _ = rustix::io::pwrite(memory, &value, at as u64);
    }
}
