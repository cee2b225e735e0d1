//! The keys that let packets in: partitions, queues, management.

use core::fmt;

/// Partition key: 15 bits of partition number, top bit set for a full member. IBA 1 §10.9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PKey(pub u16);

impl PKey {
    /// An empty slot of a P_Key table.
    pub const INVALID: Self = Self(0);
    /// The default partition, full member.
    pub const DEFAULT_FULL: Self = Self(0xffff);
    /// The default partition, limited member.
    pub const DEFAULT_LIMITED: Self = Self(0x7fff);

    /// The partition number, 15 bits.
    pub const fn partition(self) -> u16 {
        self.0 & 0x7fff
    }

    /// True if the membership bit is set.
    pub const fn is_full(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// False for the values 0 and 0x8000, which name no partition.
    pub const fn is_valid(self) -> bool {
        self.partition() != 0
    }

    /// The same partition as a full member.
    #[must_use]
    pub const fn full(self) -> Self {
        Self(self.0 | 0x8000)
    }

    /// The same partition as a limited member.
    #[must_use]
    pub const fn limited(self) -> Self {
        Self(self.0 & 0x7fff)
    }

    /// True if a holder of `self` may talk with a holder of `other`: same partition, at least one of
    /// them a full member. IBA 1 §10.9.3.
    pub const fn admits(self, other: Self) -> bool {
        self.is_valid() && self.partition() == other.partition() && (self.is_full() || other.is_full())
    }
}

impl fmt::Display for PKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Debug for PKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PKey({self})")
    }
}

/// Queue key: a datagram is taken only if it carries the key of the queue pair.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QKey(pub u32);

impl QKey {
    /// The key of QP1.
    pub const GSI: Self = Self(0x8001_0000);

    /// True if only privileged software may send with it (top bit set).
    pub const fn is_controlled(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }
}

impl fmt::Display for QKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for QKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QKey({self})")
    }
}

/// Management key: guards a port's settings. `Debug` and `Display` hide the value.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MKey(pub u64);

impl fmt::Display for MKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == 0 { "none" } else { "(hidden)" })
    }
}

impl fmt::Debug for MKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_limited_members_may_not_talk() {
        let (full, limited) = (PKey(0x8001), PKey(0x0001));
        assert!(full.admits(limited) && limited.admits(full) && full.admits(full));
        assert!(!limited.admits(limited));
        assert!(!full.admits(PKey(0x8002)));
        assert!(!PKey(0x8000).admits(PKey(0x8000)));
    }
}
