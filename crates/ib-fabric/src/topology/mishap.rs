//! What a link does to some of the packets on it.

use core::time::Duration;

use super::Probability;

/// What may befall a packet on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It vanishes.
    Loss,
    /// It vanishes if it is a management packet, on its way to queue pair 0 or 1.
    MadLoss,
    /// Bits flip.
    Corrupt,
    /// It comes out twice. What came out twice of one link does not of the next.
    Duplicate,
    /// It takes [`LATE`](Self::LATE) longer, so that those behind overtake it.
    Reorder,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Loss, Self::MadLoss, Self::Corrupt, Self::Duplicate, Self::Reorder];

    /// How much longer than the others a packet takes that loses its place.
    pub const LATE: Duration = Duration::from_millis(1);

    /// Its name in files and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::MadLoss => "mad_loss",
            Self::Corrupt => "corrupt",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
        }
    }

    /// The one of this name; on a command line it may have a hyphen.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mishap| mishap.name() == name.replace('-', "_"))
    }
}

/// The share of packets that each mishap befalls, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares([Probability; Mishap::ALL.len()]);

impl Shares {
    /// All packets come out, once, in order and as they were.
    pub const NONE: Self = Self([Probability::NEVER; Mishap::ALL.len()]);

    /// The share that this befalls.
    pub const fn of(&self, mishap: Mishap) -> Probability {
        self.0[mishap as usize]
    }

    /// Changes it.
    pub const fn set(&mut self, mishap: Mishap, share: Probability) {
        self.0[mishap as usize] = share;
    }

    /// The same with another share.
    #[must_use]
    pub const fn with(mut self, mishap: Mishap, share: Probability) -> Self {
        self.set(mishap, share);
        self
    }

    /// Those that happen at all.
    pub fn iter(&self) -> impl Iterator<Item = (Mishap, Probability)> {
        let all = Mishap::ALL.into_iter().zip(self.0);
        all.filter(|(_, share)| *share != Probability::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mishap_has_its_own_name_and_share() {
        let mut shares = Shares::NONE;
        for (ppb, mishap) in (1..).zip(Mishap::ALL) {
            assert_eq!(Mishap::by_name(mishap.name()), Some(mishap));
            shares.set(mishap, Probability::from_ppb(ppb));
        }
        let all: alloc::vec::Vec<_> = shares.iter().map(|(mishap, share)| (mishap, share.ppb())).collect();
        assert_eq!(all, Mishap::ALL.into_iter().zip(1..).collect::<alloc::vec::Vec<_>>());
        assert_eq!(Mishap::by_name("mad-loss"), Some(Mishap::MadLoss));
        assert_eq!(Mishap::by_name("lose"), None);
    }
}
