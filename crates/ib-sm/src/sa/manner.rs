//! How the administration answers: as it should, or as one that is overloaded or mistaken would. What clients make
//! of that can so be tried.

use alloc::collections::VecDeque;
use core::time::Duration;

use ib_wire::{
    mad::{Method, Status, sa::SaMad},
    time::Instant,
    ud::MadAddress,
};
use serde::Serialize;

/// How the administration answers requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Manner {
    /// At once and truly.
    #[default]
    Prompt,
    /// That it is busy, whatever is asked.
    Busy,
    /// That there is no record, whatever is asked for; who joins, leaves or subscribes is served.
    NoRecords,
    /// Truly, but so much later.
    Slow(Duration),
}

impl Manner {
    /// The status of every answer to this method, if that is settled.
    pub(super) fn status(self, method: Method) -> Option<Status> {
        let asks = matches!(method, Method::GET | Method::GET_TABLE | Method::GET_MULTI);
        match self {
            Self::Busy => Some(Status::BUSY),
            Self::NoRecords if asks => Some(Status::SA_NO_RECORDS),
            _ => None,
        }
    }
}

/// Requests that wait for a slow answer, in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(VecDeque<(Instant, MadAddress, SaMad)>);

impl Waiting {
    /// Lets a request wait until `due`, and for those before it. False if there are `limit` already.
    pub(super) fn push(&mut self, due: Instant, from: MadAddress, mad: SaMad, limit: usize) -> bool {
        if self.0.len() >= limit {
            return false;
        }
        let due = self.0.back().map_or(due, |(last, ..)| due.max(*last));
        self.0.push_back((due, from, mad));
        true
    }

    /// A request whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(MadAddress, SaMad)> {
        self.next().filter(|due| *due <= now)?;
        self.0.pop_front().map(|(_, from, mad)| (from, mad))
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.front().map(|(due, ..)| *due)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
