//! The rows of `ipoib show`, made of what the engines show of themselves.

mod fabric;
mod interface;
mod manager;

use super::Running;
use crate::control::schema::{Noun, Shown};

/// The rows of `noun`; only those of `host` if one is named.
pub(super) fn rows(lab: &Running, noun: Noun, host: Option<&str>) -> Shown {
    match noun {
        Noun::Hosts => Shown::Hosts(interface::hosts(lab, host)),
        Noun::Neighbors => Shown::Neighbors(interface::neighbors(lab, host)),
        Noun::Paths => Shown::Paths(interface::paths(lab, host)),
        Noun::Groups => Shown::Groups(manager::groups(lab, host)),
        Noun::Links => Shown::Links(fabric::links(lab, host)),
        Noun::Routes => Shown::Routes(fabric::routes(lab)),
        Noun::Counters => Shown::Counters(fabric::counters(lab, host)),
        Noun::Sm => Shown::Sm(manager::managers(lab)),
    }
}
