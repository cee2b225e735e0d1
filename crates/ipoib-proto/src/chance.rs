//! Chance that can be repeated: a stream of numbers from a seed.

use core::time::Duration;

/// A generator (SplitMix64) for jitter; no secrets depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Evenly from zero up to `limit`.
    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX - 1);
        Duration::from_nanos(self.bits() % (nanos + 1))
    }

    /// `around`, a quarter less or more: so that many who failed together do not come back together.
    pub(crate) fn jitter(&mut self, around: Duration) -> Duration {
        around - around / 4 + self.up_to(around / 2)
    }
}

/// `first`, doubled with each failure after the first, at most `most`.
pub(crate) fn backoff(first: Duration, most: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut chance = Chance::new(1);
        for _ in 0..1000 {
            let d = chance.jitter(Duration::from_secs(4));
            assert!((Duration::from_secs(3)..=Duration::from_secs(5)).contains(&d), "{d:?}");
        }
    }

    #[test]
    fn waits_double_to_their_bound() {
        let waits = |n| backoff(Duration::from_secs(1), Duration::from_secs(16), n).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, 100].map(waits), [1, 2, 4, 8, 16, 16, 16]);
    }
}
