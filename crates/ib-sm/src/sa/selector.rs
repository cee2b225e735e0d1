//! "Greater than", "less than", "exactly", "the largest": numbers as records ask for them.
//!
//! MTU codes are in order; rate codes are not and are compared by speed.

use ib_wire::{
    addr::{Mtu, Rate, Timeout},
    mad::sa::Selector,
};

/// A number that records select by.
pub(super) trait Level: Copy {
    /// What is compared.
    fn order(self) -> u32;
    /// The next smaller one that has a meaning.
    fn below(self) -> Option<Self>;
    /// True if the code has a meaning.
    fn is_known(self) -> bool;
}

impl Level for Mtu {
    fn order(self) -> u32 {
        self.0.into()
    }

    fn below(self) -> Option<Self> {
        Some(Self(self.0.min(Self::B4096.0 + 1).checked_sub(1)?)).filter(|mtu| mtu.is_known())
    }

    fn is_known(self) -> bool {
        self.bytes().is_some()
    }
}

impl Level for Rate {
    fn order(self) -> u32 {
        self.mbps().unwrap_or(0)
    }

    fn below(self) -> Option<Self> {
        Self::at_most(self.mbps()?.checked_sub(1)?)
    }

    fn is_known(self) -> bool {
        self.mbps().is_some()
    }
}

impl Level for Timeout {
    fn order(self) -> u32 {
        self.0.into()
    }

    fn below(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    fn is_known(self) -> bool {
        self.0 < 32
    }
}

/// A number asked for, if both its components count.
pub(super) fn wanted<L>(selected: bool, selector: u8, level: L) -> Option<(Selector, L)> {
    selected.then(|| (selector.into(), level))
}

/// True if `value`, which cannot be changed, is what is wanted.
pub(super) fn satisfied<L: Level>(wanted: Option<(Selector, L)>, value: L) -> bool {
    match wanted {
        None | Some((Selector::Largest, _)) => true,
        Some((Selector::Greater, asked)) => value.order() > asked.order(),
        Some((Selector::Less, asked)) => value.order() < asked.order(),
        Some((Selector::Exactly, asked)) => value.order() == asked.order(),
    }
}

/// What to use of something that does `value` and anything below: a path, or a port that creates a group.
/// `None` if what is wanted cannot be.
pub(super) fn within<L: Level>(wanted: Option<(Selector, L)>, value: L) -> Option<L> {
    match wanted {
        None | Some((Selector::Largest, _)) => Some(value),
        Some((Selector::Greater, asked)) => (value.order() > asked.order()).then_some(value),
        Some((Selector::Less, asked)) if value.order() < asked.order() => Some(value),
        Some((Selector::Less, asked)) => asked.below(),
        Some((Selector::Exactly, asked)) => {
            (asked.is_known() && asked.order() <= value.order()).then_some(asked)
        }
    }
}

/// What to say of a time that is `value` at most: a longer one is true as well.
pub(super) fn no_shorter(wanted: Option<(Selector, Timeout)>, value: Timeout) -> Option<Timeout> {
    match wanted {
        Some((Selector::Exactly, asked)) => (asked.is_known() && asked >= value).then_some(asked),
        wanted => satisfied(wanted, value).then_some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_do_more_can_do_less() {
        let path = Mtu::B2048;
        assert_eq!(within(None, path), Some(path));
        assert_eq!(within(Some((Selector::Exactly, Mtu::B1024)), path), Some(Mtu::B1024));
        assert_eq!(within(Some((Selector::Exactly, Mtu::B4096)), path), None);
        assert_eq!(within(Some((Selector::Exactly, Mtu(0))), path), None);
        assert_eq!(within(Some((Selector::Less, Mtu::B2048)), path), Some(Mtu::B1024));
        assert_eq!(within(Some((Selector::Less, Mtu::B4096)), path), Some(path));
        assert_eq!(within(Some((Selector::Less, Mtu::B256)), path), None);
        assert_eq!(within(Some((Selector::Greater, Mtu::B2048)), path), None);
        assert_eq!(within(Some((Selector::Less, Mtu(63))), Mtu::B4096), Some(Mtu::B4096));
    }

    #[test]
    fn rates_are_compared_by_speed() {
        // 14 Gb/s has code 11, 20 Gb/s code 6.
        assert!(satisfied(Some((Selector::Greater, Rate(11))), Rate(6)));
        assert_eq!(within(Some((Selector::Less, Rate(6))), Rate(6)), Some(Rate(11)));
    }

    #[test]
    fn a_longer_time_is_also_true() {
        assert_eq!(no_shorter(Some((Selector::Exactly, Timeout(19))), Timeout(18)), Some(Timeout(19)));
        assert_eq!(no_shorter(Some((Selector::Exactly, Timeout(17))), Timeout(18)), None);
        assert_eq!(no_shorter(Some((Selector::Less, Timeout(18))), Timeout(18)), None);
    }
}
