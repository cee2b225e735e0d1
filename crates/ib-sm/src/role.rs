//! Who is in charge: the states of a subnet manager, and who wins. IBA 1 §14.4.1.

use core::cmp::Reverse;

use ib_wire::{
    addr::Guid,
    mad::attr::{SmInfo, SmState},
};
use serde::Serialize;

/// What a manager is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks around before it knows whether it is needed.
    Discovering,
    /// Waits for the master to fail or to hand over.
    Standby,
    /// Is in charge.
    Master,
    /// Was switched off by the master.
    NotActive,
}

/// What makes a manager change its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It looked around and found nobody better.
    NobodyBetter,
    /// It found a master, or somebody with a better claim.
    SomebodyBetter,
    /// The master does not answer any more, or is none.
    MasterLost,
    /// The master hands over.
    Handover,
    /// The manager has handed over, and the other has taken it.
    HandedOver,
    /// The master switches it off.
    Disable,
    /// The master wants it to wait.
    Wait,
    /// The master wants it to look around.
    Discover,
}

/// The signal has no meaning in that role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{signal:?} has no meaning to a manager that is {role:?}")]
pub struct NoTransition {
    /// Role.
    pub role: Role,
    /// Signal.
    pub signal: Signal,
}

impl Role {
    /// The role after a signal.
    pub const fn after(self, signal: Signal) -> Result<Self, NoTransition> {
        match (self, signal) {
            (Self::Discovering, Signal::NobodyBetter) => Ok(Self::Master),
            (Self::Discovering, Signal::SomebodyBetter) => Ok(Self::Standby),
            (Self::Discovering, Signal::Handover) => Ok(Self::Discovering),
            (Self::Standby, Signal::MasterLost | Signal::Handover | Signal::Discover) => {
                Ok(Self::Discovering)
            }
            (Self::Standby, Signal::Disable) => Ok(Self::NotActive),
            (Self::Standby, Signal::Wait) => Ok(Self::Standby),
            (Self::NotActive, Signal::Wait) => Ok(Self::Standby),
            (Self::Master, Signal::NobodyBetter | Signal::Handover) => Ok(Self::Master),
            (Self::Master, Signal::HandedOver) => Ok(Self::Standby),
            (role, signal) => Err(NoTransition { role, signal }),
        }
    }

    /// As SMInfo shows it.
    pub const fn state(self) -> SmState {
        match self {
            Self::Discovering => SmState::DISCOVERING,
            Self::Standby => SmState::STANDBY,
            Self::Master => SmState::MASTER,
            Self::NotActive => SmState::NOT_ACTIVE,
        }
    }
}

/// A claim to be master: the greater wins, by priority, then by the lower GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim(u8, Reverse<Guid>);

impl Claim {
    pub(crate) const fn new(priority: u8, guid: Guid) -> Self {
        Self(priority, Reverse(guid))
    }
}

impl From<&SmInfo> for Claim {
    fn from(info: &SmInfo) -> Self {
        Self::new(info.priority, info.guid)
    }
}

/// What a manager that has looked around shall do about those it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Be the master, or stay it.
    Lead,
    /// Wait for the manager at that place of the list.
    Follow(usize),
    /// Hand over to the manager at that place of the list.
    HandOverTo(usize),
}

/// Decides by the SMInfo of all others.
pub(crate) fn judge(role: Role, own: Claim, others: &[SmInfo]) -> Verdict {
    let active = || others.iter().enumerate().filter(|(_, other)| other.state != SmState::NOT_ACTIVE);
    let best = active().max_by_key(|(_, other)| Claim::from(*other));
    let better = best.filter(|(_, other)| Claim::from(*other) > own);
    if role == Role::Master {
        return better.map_or(Verdict::Lead, |(at, _)| Verdict::HandOverTo(at));
    }
    let master = active().filter(|(_, other)| other.state == SmState::MASTER);
    let master = master.max_by_key(|(_, other)| Claim::from(*other));
    master.or(better).map_or(Verdict::Lead, |(at, _)| Verdict::Follow(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    /// Rows: role; columns: signal. `-` is refused.
    const MATRIX: &str = "
             NobodyBetter SomebodyBetter MasterLost Handover HandedOver Disable Wait Discover
Discovering  Master Standby - Discovering - - - -
Standby      - - Discovering Discovering - NotActive Standby Discovering
Master       Master - - Master Standby - - -
NotActive    - - - - - - Standby -
";

    #[test]
    fn the_arrows_are_those_of_the_picture() {
        use Signal::*;
        let signals =
            [NobodyBetter, SomebodyBetter, MasterLost, Handover, HandedOver, Disable, Wait, Discover];
        let mut picture = format!("{:13}", "");
        picture.push_str(&signals.map(|s| format!("{s:?}")).join(" "));
        for role in [Role::Discovering, Role::Standby, Role::Master, Role::NotActive] {
            let cells =
                signals.map(|s| role.after(s).map_or_else(|_| String::from("-"), |to| format!("{to:?}")));
            picture.push_str(&format!("\n{:13}{}", format!("{role:?}"), cells.join(" ")));
        }
        assert_eq!(format!("\n{picture}\n"), MATRIX);
    }

    fn other(guid: u64, priority: u8, state: SmState) -> SmInfo {
        SmInfo { guid: Guid(guid), sm_key: 0, act_count: 0, priority, state }
    }

    #[test]
    fn a_newcomer_follows_any_master_and_a_better_claim() {
        let own = Claim::new(5, Guid(10));
        let low_master = other(20, 1, SmState::MASTER);
        let high_waiting = other(30, 9, SmState::STANDBY);
        assert_eq!(judge(Role::Discovering, own, &[]), Verdict::Lead);
        assert_eq!(judge(Role::Discovering, own, &[low_master]), Verdict::Follow(0));
        assert_eq!(judge(Role::Discovering, own, &[high_waiting]), Verdict::Follow(0));
        assert_eq!(judge(Role::Discovering, own, &[high_waiting, low_master]), Verdict::Follow(1));
        assert_eq!(judge(Role::Discovering, own, &[other(9, 5, SmState::DISCOVERING)]), Verdict::Follow(0));
        assert_eq!(judge(Role::Discovering, own, &[other(11, 5, SmState::DISCOVERING)]), Verdict::Lead);
        assert_eq!(judge(Role::Discovering, own, &[other(9, 15, SmState::NOT_ACTIVE)]), Verdict::Lead);
    }

    #[test]
    fn a_master_hands_over_to_the_best_claim_alone() {
        let own = Claim::new(5, Guid(10));
        let found =
            [other(20, 1, SmState::MASTER), other(30, 9, SmState::STANDBY), other(29, 9, SmState::STANDBY)];
        assert_eq!(judge(Role::Master, own, &found), Verdict::HandOverTo(2));
        assert_eq!(judge(Role::Master, own, &found[..1]), Verdict::Lead);
    }
}
