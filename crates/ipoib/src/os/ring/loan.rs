//! Parts of a ring that are in use where they lie.

use std::{
    collections::VecDeque,
    slice,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ib_wire::payload::Lent;

use super::Ring;

/// Bytes of a ring that nobody writes over until this value goes.
#[derive(Debug)]
pub struct Loan {
    ring: Ring,
    at: u64,
    len: usize,
    /// The bit that stands for it.
    bit: u64,
    lent: Arc<AtomicU64>,
}

impl Lent for Loan {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes lie in one piece within the mapping, which the ring keeps. Our side leaves them alone as long
        // as the bit is set. The far side does if it keeps to the rules; who does not trust it to only copies the bytes,
        // which have no wrong values.
        unsafe { slice::from_raw_parts(self.ring.piece(self.at, self.len).as_ptr(), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and no other loan has them.
        unsafe { slice::from_raw_parts_mut(self.ring.piece(self.at, self.len).as_ptr(), self.len) }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.lent.fetch_and(!self.bit, Ordering::Release);
    }
}

/// What is lent of one ring.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// A bit for each.
    lent: Arc<AtomicU64>,
    /// Bit and place of each, in the order of their places.
    places: VecDeque<(u64, u64)>,
}

impl Loans {
    /// Lends the `len` bytes from number `at` on; what is kept free for them begins at `place`. None if 64 are lent.
    pub(super) fn lend(&mut self, ring: &Ring, place: u64, at: u64, len: usize) -> Option<Loan> {
        let lent = self.lent.load(Ordering::Acquire);
        self.places.retain(|(bit, _)| lent & bit != 0);
        let bit = 1_u64.checked_shl(lent.trailing_ones())?;
        self.lent.fetch_or(bit, Ordering::Relaxed);
        self.places.push_back((bit, place));
        Some(Loan { ring: ring.clone(), at, len, bit, lent: Arc::clone(&self.lent) })
    }

    /// True if what begins at this place is still lent.
    pub(super) fn has(&self, place: u64) -> bool {
        let lent = self.lent.load(Ordering::Acquire);
        self.places.iter().any(|(bit, at)| *at == place && lent & bit != 0)
    }

    /// The place of the first that is still lent.
    pub(super) fn first(&mut self) -> Option<u64> {
        while let Some((bit, place)) = self.places.front() {
            if self.lent.load(Ordering::Acquire) & bit != 0 {
                return Some(*place);
            }
            self.places.pop_front();
        }
        None
    }
}
