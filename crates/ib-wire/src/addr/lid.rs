//! Local identifiers: the 16-bit addresses that switches forward by. IBA 1 §4.1.3.

use core::fmt;

/// A local identifier as it stands on the wire, any value.
///
/// `0` is "none", `0x0001..=0xBFFF` unicast, `0xC000..=0xFFFE` multicast, `0xFFFF` permissive.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lid(pub u16);

impl Lid {
    /// No LID assigned.
    pub const NONE: Self = Self(0);
    /// The permissive LID: "the port at the other end of this link", used by directed routes.
    pub const PERMISSIVE: Self = Self(0xffff);
    /// First multicast LID.
    pub const FIRST_MULTICAST: Self = Self(0xc000);

    /// This LID as a unicast address, if it is one.
    pub const fn unicast(self) -> Option<UnicastLid> {
        if self.0 != 0 && self.0 < Self::FIRST_MULTICAST.0 { Some(UnicastLid(self.0)) } else { None }
    }

    /// This LID as a multicast address, if it is one.
    pub const fn multicast(self) -> Option<MulticastLid> {
        if self.0 >= Self::FIRST_MULTICAST.0 && self.0 != 0xffff { Some(MulticastLid(self.0)) } else { None }
    }

    /// True for the permissive LID.
    pub const fn is_permissive(self) -> bool {
        self.0 == 0xffff
    }

    /// True for `0x0001..=0xBFFF`.
    pub const fn is_unicast(self) -> bool {
        self.unicast().is_some()
    }

    /// True for `0xC000..=0xFFFE`.
    pub const fn is_multicast(self) -> bool {
        self.multicast().is_some()
    }
}

impl fmt::Display for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 0xc000 { write!(f, "{:#06x}", self.0) } else { write!(f, "{}", self.0) }
    }
}

impl fmt::Debug for Lid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lid({self})")
    }
}

/// The value is no LID of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("LID {0:#06x} is not of the kind needed here")]
pub struct NotThatKindOfLid(pub u16);

/// A unicast LID, `0x0001..=0xBFFF`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnicastLid(u16);

impl UnicastLid {
    /// Largest unicast LID.
    pub const MAX: u16 = 0xbfff;

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for UnicastLid {
    type Error = NotThatKindOfLid;

    fn try_from(lid: u16) -> Result<Self, Self::Error> {
        Lid(lid).unicast().ok_or(NotThatKindOfLid(lid))
    }
}

impl From<UnicastLid> for Lid {
    fn from(lid: UnicastLid) -> Self {
        Self(lid.0)
    }
}

impl fmt::Display for UnicastLid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lid(self.0).fmt(f)
    }
}

impl fmt::Debug for UnicastLid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnicastLid({self})")
    }
}

/// A multicast LID, `0xC000..=0xFFFE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastLid(u16);

impl MulticastLid {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Position in a multicast forwarding table: 0 for 0xC000.
    pub const fn index(self) -> usize {
        (self.0 - Lid::FIRST_MULTICAST.0) as usize
    }
}

impl TryFrom<u16> for MulticastLid {
    type Error = NotThatKindOfLid;

    fn try_from(lid: u16) -> Result<Self, Self::Error> {
        Lid(lid).multicast().ok_or(NotThatKindOfLid(lid))
    }
}

impl From<MulticastLid> for Lid {
    fn from(lid: MulticastLid) -> Self {
        Self(lid.0)
    }
}

impl fmt::Display for MulticastLid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lid(self.0).fmt(f)
    }
}

impl fmt::Debug for MulticastLid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MulticastLid({self})")
    }
}

/// LID mask control: a port answers to `2^lmc` consecutive LIDs, `0..=7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lmc(pub u8);

impl Lmc {
    /// True if a port with `base` and this mask answers to `lid`.
    pub const fn covers(self, base: Lid, lid: Lid) -> bool {
        base.0 != 0 && (lid.0 >> (self.0 & 7)) == (base.0 >> (self.0 & 7))
    }
}
