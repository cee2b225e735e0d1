//! Senders that wait for a receiver, as links do for credits: a driver whose ring is almost full has had no turn for a
//! while, and whoever sent to it is not read on until it has.
//!
//! Nobody waits for ever, nor again and again: a switch gives a packet a lifetime at the head of its queue (HOQLife of
//! PortInfo), and so do we, of some turns of a busy processor ([`AttachConfig::wait`]). After it, what does not fit is
//! dropped, until the driver has had room for a quarter of its ring.

use ib_wire::time::Instant;

#[cfg(doc)]
use super::AttachConfig;
use super::{Attach, Driver};
use crate::attach::record::LONGEST;

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// A driver that is to be waited for by whoever sent the record that is carried.
    receiver: Option<u32>,
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
        self.receiver = None;
    }

    /// It went to a driver that is to be waited for.
    pub(super) const fn wait_for(&mut self, receiver: u32) {
        self.receiver = Some(receiver);
    }
}

impl Attach {
    /// True if what `sender` sent last went to a driver that is to be waited for: its own ring is not to be read on for a
    /// while.
    pub(crate) fn hold(&mut self, now: Instant, sender: u32) -> bool {
        let Some(receiver) = self.holds.receiver.take() else { return false };
        let port = self.driver(receiver).map(|driver| driver.port);
        if let Some(identity) = port.and_then(|port| self.identities.get_mut(&port)) {
            identity.counters.waited_for_driver += 1;
        }
        self.holds.held.push(Hold { sender, receiver, until: now + self.config.wait });
        true
    }

    /// When somebody has waited for too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.holds.held.iter().map(|hold| hold.until).min()
    }

    /// Lets those go on who have waited for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for hold in self.holds.held.extract_if(.., |hold| hold.until <= now) {
            let connection = self.connections.get_mut(&hold.receiver);
            if let Some(driver) = connection.and_then(|connection| connection.driver.as_mut()) {
                let writer = &driver.rings.writer;
                driver.too_slow_until = writer.written() + writer.size() as u64 / 4;
            }
            self.unread.push(hold.sender);
        }
    }

    /// A driver has read of its ring: if it is drained, those who wait for it go on.
    pub(super) fn end_holds_for(&mut self, id: u32) {
        if self.holds.held.iter().any(|hold| hold.receiver == id)
            && self.driver(id).is_some_and(|driver| !driver.is_draining())
        {
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

impl Driver {
    /// True if its ring is almost full: as much is free as a few others may send before they are held, too.
    pub(super) fn is_to_be_waited_for(&mut self) -> bool {
        let writer = &mut self.rings.writer;
        let room = (writer.size() / 4).max(LONGEST);
        writer.written() >= self.too_slow_until && writer.has_free(room) == Ok(false) && self.is_draining()
    }

    /// False once its ring is drained. If not, its bell rings then.
    fn is_draining(&mut self) -> bool {
        self.rings.writer.waits_until_drained() == Ok(true)
    }
}
