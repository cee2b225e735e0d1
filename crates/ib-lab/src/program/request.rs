//! Requests that wait for their answers.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use ib_wire::{mad::Mad, time::Instant, ud::MadAddress};

/// The low half of a transaction identifier: the high one is the agent's.
pub(super) type Transaction = u32;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Where it was sent.
    pub(super) to: MadAddress,
    /// As it is sent; of a message, its first MAD.
    pub(super) mad: Mad,
    /// False while a message is still leaving, and once its answer has begun to arrive.
    pub(super) counts: bool,
    timeout: Duration,
    retries_left: u32,
    deadline: Instant,
}

/// What to do with a request whose time has come.
#[derive(Debug)]
pub(super) enum Due {
    /// Send it once more.
    Again(MadAddress, Mad),
    /// Give it back.
    Lost(Request),
}

/// All requests of an agent.
#[derive(Debug, Default)]
pub(super) struct Requests {
    list: BTreeMap<Transaction, Request>,
    deadlines: BTreeSet<(Instant, Transaction)>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Waits for an answer from now on; one with the same transaction is waited for no longer.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        transaction: Transaction,
        (to, mad): (MadAddress, Mad),
        (timeout, retries): (Duration, u32),
    ) {
        self.take(transaction);
        let deadline = now + timeout;
        let request = Request { to, mad, counts: true, timeout, retries_left: retries, deadline };
        self.list.insert(transaction, request);
        self.deadlines.insert((deadline, transaction));
    }

    /// Stops or restarts a request's clock.
    pub(super) fn count(&mut self, now: Instant, transaction: Transaction, counts: bool) {
        let Some(request) = self.list.get_mut(&transaction) else { return };
        self.deadlines.remove(&(request.deadline, transaction));
        request.counts = counts;
        if counts {
            request.deadline = now + request.timeout;
            self.deadlines.insert((request.deadline, transaction));
        }
    }

    pub(super) fn get(&self, transaction: Transaction) -> Option<&Request> {
        self.list.get(&transaction)
    }

    /// Ends a request.
    pub(super) fn take(&mut self, transaction: Transaction) -> Option<Request> {
        let request = self.list.remove(&transaction)?;
        self.deadlines.remove(&(request.deadline, transaction));
        Some(request)
    }

    /// The next request whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let (at, transaction) = self.deadlines.first().copied().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(&(at, transaction));
        let request = self.list.get_mut(&transaction)?;
        let Some(left) = request.retries_left.checked_sub(1) else {
            return self.list.remove(&transaction).map(Due::Lost);
        };
        request.retries_left = left;
        request.deadline = now + request.timeout;
        self.deadlines.insert((request.deadline, transaction));
        Some(Due::Again(request.to, request.mad))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
