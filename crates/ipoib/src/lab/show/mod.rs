//! The rows of `ipoib show`, made of what the engines show of themselves.

mod fabric;
mod interface;
mod manager;

use std::collections::HashMap;

use self::interface::Owners;
use super::Running;
use crate::control::schema::{Noun, Shown};

/// What drivers elsewhere are to be asked for, when somebody wants the rows of `noun`.
pub(super) const fn asked_for(noun: Noun) -> Option<Noun> {
    match noun {
        Noun::Hosts | Noun::Neighbors | Noun::Paths | Noun::Groups | Noun::Counters => Some(noun),
        // Groups have names that a forwarding table lacks.
        Noun::Routes => Some(Noun::Groups),
        Noun::Links | Noun::Sm => None,
    }
}

/// The rows of `noun`, with what `drivers` elsewhere said; only those of `host` if one is named.
pub(super) fn rows(lab: &Running, noun: Noun, host: Option<&str>, drivers: Vec<Shown>) -> Shown {
    let known = asked_for(noun).map(|noun| known(lab, noun, drivers));
    let mut shown = match (noun, known) {
        (Noun::Links, _) => return Shown::Links(fabric::links(lab, host)),
        (Noun::Sm, _) => return Shown::Sm(manager::managers(lab)),
        (Noun::Routes, Some(Shown::Groups(groups))) => return Shown::Routes(fabric::routes(lab, &groups)),
        (Noun::Counters, Some(interfaces)) => {
            let mut shown = Shown::Counters(fabric::counters(lab));
            shown.append(interfaces);
            shown
        }
        (_, known) => known.unwrap_or(Shown::Sm(Vec::new())),
    };
    if let Some(host) = host {
        shown.keep_host(host);
    }
    let places: HashMap<&str, usize> =
        lab.topology.nodes.iter().enumerate().map(|(place, node)| (node.name.as_str(), place)).collect();
    shown.sort_by_host(|name| places.get(name).copied().unwrap_or(usize::MAX));
    shown
}

/// What all interfaces know, wherever they are; of groups what the master manager knows, if it is one of ours.
fn known(lab: &Running, noun: Noun, drivers: Vec<Shown>) -> Shown {
    let owners = Owners::of(lab);
    if noun == Noun::Groups
        && let Some(groups) = manager::groups(lab, &owners)
    {
        return Shown::Groups(groups);
    }
    let mut shown = interface::own(lab, noun);
    drivers.into_iter().for_each(|driver| shown.append(driver));
    owners.name_peers(&mut shown);
    match shown {
        Shown::Groups(rows) => Shown::Groups(manager::together(rows)),
        shown => shown,
    }
}
