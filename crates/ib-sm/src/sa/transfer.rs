//! Tables on their way: one RMPP transfer for each GetTable that was answered.

use alloc::{collections::BTreeMap, vec::Vec};

use ib_wire::{
    mad::{
        rmpp::{RmppConfig, Sender},
        sa::SaMad,
    },
    time::Instant,
    ud::MadAddress,
};

use super::{config::Limits, timers::Timers};

/// Peer's LID and queue pair, transaction identifier.
type Key = (u16, u32, u64);

/// All transfers.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    list: BTreeMap<Key, Transfer>,
    timers: Timers<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Transfer {
    to: MadAddress,
    sender: Sender,
    bytes: usize,
}

/// What became of an RMPP packet or a timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The packet belongs to no transfer.
    pub(super) stray: bool,
    /// A transfer ended before all had arrived.
    pub(super) failed: bool,
}

impl Transfers {
    /// True if an answer to this very request is on its way.
    pub(super) fn has(&self, from: MadAddress, mad: &SaMad) -> bool {
        self.list.contains_key(&key(from, mad))
    }

    /// True if a table of that many bytes may start.
    pub(super) fn has_room(&self, limits: &Limits, bytes: usize) -> bool {
        self.list.len() < limits.transfers && self.bytes.saturating_add(bytes) <= limits.transfer_bytes
    }

    /// Starts to send.
    pub(super) fn start(
        &mut self,
        now: Instant,
        config: RmppConfig,
        to: MadAddress,
        (answer, records): (SaMad, Vec<u8>),
        out: impl FnMut(MadAddress, SaMad),
    ) {
        let key = key(to, &answer);
        let bytes = records.len();
        self.bytes += bytes;
        self.list.insert(key, Transfer { to, sender: Sender::new(now, config, answer, records), bytes });
        self.drain(key, out);
    }

    /// An RMPP packet that is not data.
    pub(super) fn handle_mad(
        &mut self,
        now: Instant,
        from: MadAddress,
        mad: &SaMad,
        out: impl FnMut(MadAddress, SaMad),
    ) -> Progress {
        let key = key(from, mad);
        let Some(transfer) = self.list.get_mut(&key) else { return Progress { stray: true, failed: false } };
        transfer.sender.handle_mad(now, mad);
        Progress { stray: false, failed: self.drain(key, out) }
    }

    /// Sends again what was not acknowledged; how many transfers gave up.
    pub(super) fn handle_timeout(&mut self, now: Instant, mut out: impl FnMut(MadAddress, SaMad)) -> u64 {
        let mut failed = 0;
        while let Some(key) = self.timers.pop_due(now) {
            if let Some(transfer) = self.list.get_mut(&key) {
                transfer.sender.handle_timeout(now);
                failed += u64::from(self.drain(key, &mut out));
            }
        }
        failed
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Lets out what may go. True if the transfer has failed.
    fn drain(&mut self, key: Key, mut out: impl FnMut(MadAddress, SaMad)) -> bool {
        let Some(transfer) = self.list.get_mut(&key) else { return false };
        while let Some(mad) = transfer.sender.poll_output() {
            out(transfer.to, mad);
        }
        self.timers.set(key, transfer.sender.poll_timeout());
        let Some(outcome) = transfer.sender.outcome() else { return false };
        self.bytes -= transfer.bytes;
        self.list.remove(&key);
        outcome.is_err()
    }
}

fn key(peer: MadAddress, mad: &SaMad) -> Key {
    (peer.lid.0, peer.qpn.get(), mad.header.tid.0)
}
