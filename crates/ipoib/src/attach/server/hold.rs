//! Senders that wait for a receiver, as links do for credits: a driver whose ring is almost full has had no turn for a while,
//! and whoever sent to it is not read on until it has.
//!
//! Nobody waits for ever, nor again and again: a switch gives a packet a lifetime at the head of its queue (HOQLife of
//! PortInfo), and so do we. After it, what does not fit is dropped, until the driver has had room for a quarter of its ring.

use std::time::Duration;

use ib_wire::time::Instant;

use super::Attach;
use crate::attach::record::LONGEST;

/// How long a sender waits: some turns of a busy processor.
const LIFETIME: Duration = Duration::from_millis(10);

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// A connection whose ring was almost full when the last record had been carried to it.
    full: Option<u32>,
    held: Vec<Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The connection that is not read on ...
    sender: u32,
    /// ... as long as this one has no room ...
    receiver: u32,
    /// ... or until then.
    until: Instant,
}

impl Holds {
    /// True if this connection waits.
    pub(super) fn has(&self, sender: u32) -> bool {
        self.held.iter().any(|hold| hold.sender == sender)
    }

    /// A record is about to be carried.
    pub(super) const fn begin(&mut self) {
        self.full = None;
    }
}

impl Attach {
    /// True if `sender` has sent to a driver whose ring is almost full now: its own is not to be read on for a while.
    pub(crate) fn hold(&mut self, now: Instant, sender: u32) -> bool {
        let Some(receiver) = self.holds.full.take() else { return false };
        if let Some(driver) = self.driver(receiver)
            && let port = driver.port
            && let Some(identity) = self.identities.get_mut(&port)
        {
            identity.counters.waited_for_driver += 1;
        }
        self.holds.held.push(Hold { sender, receiver, until: now + LIFETIME });
        true
    }

    /// When somebody has waited for too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.holds.held.iter().map(|hold| hold.until).min()
    }

    /// Lets those go on who have waited for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.holds.held.is_empty() {
            return;
        }
        for hold in self.holds.held.extract_if(.., |hold| hold.until <= now) {
            if let Some(driver) = self.connections.get_mut(&hold.receiver).and_then(|c| c.driver.as_mut()) {
                let writer = &driver.rings.writer;
                driver.too_slow_until = writer.written() + writer.size() as u64 / 4;
            }
            self.unread.push(hold.sender);
        }
    }

    /// Something was written for a driver: is its ring almost full?
    pub(super) fn look_for_room(&mut self, id: u32) {
        let Some(driver) = self.connections.get_mut(&id).and_then(|c| c.driver.as_mut()) else { return };
        let writer = &mut driver.rings.writer;
        if writer.written() >= driver.too_slow_until && writer.waits_for_free(room(writer.size())) == Ok(true)
        {
            self.holds.full = Some(id);
        }
    }

    /// A driver has read of its ring: if that is enough, those who wait for it go on.
    pub(super) fn end_holds_for(&mut self, id: u32) {
        if !self.holds.held.iter().any(|hold| hold.receiver == id) {
            return;
        }
        let Some(driver) = self.connections.get_mut(&id).and_then(|c| c.driver.as_mut()) else { return };
        let writer = &mut driver.rings.writer;
        if writer.waits_for_free(room(writer.size())) != Ok(true) {
            self.end_holds(|hold| hold.receiver == id);
        }
    }

    /// A driver can be waited for no longer, nor wait.
    pub(super) fn end_holds_with(&mut self, id: u32) {
        self.end_holds(|hold| hold.receiver == id || hold.sender == id);
    }

    fn end_holds(&mut self, mut which: impl FnMut(&Hold) -> bool) {
        let ended = self.holds.held.extract_if(.., |hold| which(hold));
        self.unread.extend(ended.map(|hold| hold.sender));
    }
}

/// What is to be free of a ring of this size: as much as a few others may send before they are held, too.
fn room(size: usize) -> usize {
    (size / 4).max(LONGEST)
}
