//! Messages of many segments, under way in either direction.

use alloc::{collections::BTreeMap, vec::Vec};

use ib_wire::{
    mad::{
        MadHeader,
        rmpp::{Receiver, RmppConfig, Sender},
        sa::{RmppFlags, RmppType, SaMad},
    },
    time::Instant,
    ud::MadAddress,
};

/// Bytes before the records of a message.
pub(super) const HEAD: usize = SaMad::LEN - SaMad::DATA_LEN;

/// Whom a transfer is with: LID, queue pair, transaction.
type Key = (u16, u32, u64);

/// All transfers of an agent.
#[derive(Debug, Default)]
pub(super) struct Messages {
    out: BTreeMap<Key, Leaving>,
    back: BTreeMap<Key, Arriving>,
}

#[derive(Debug)]
struct Leaving {
    to: MadAddress,
    head: SaMad,
    sender: Sender,
}

#[derive(Debug)]
struct Arriving {
    from: MadAddress,
    /// Of the segment that came first.
    header: MadHeader,
    receiver: Receiver,
    /// The message has been handed over; its last acknowledgement may have to be repeated.
    done: bool,
}

/// What became of a segment or a timer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// MADs to send.
    pub(super) send: Vec<(MadAddress, SaMad)>,
    /// Messages that have left, whole or not.
    pub(super) left: Vec<(SaMad, bool)>,
    /// Messages that are whole: from whom, first segment, all records.
    pub(super) whole: Vec<(MadAddress, SaMad, Vec<u8>)>,
    /// Headers of messages that will never be whole.
    pub(super) broken: Vec<MadHeader>,
}

impl Messages {
    /// Transfers of one agent in one direction at a time.
    pub(super) const MOST: usize = 1024;

    /// True if the MAD is part of a message, or from a program is to be one. Programs set the flag alone.
    pub(super) fn concerns(mad: &SaMad, from_program: bool) -> bool {
        mad.rmpp.flags.has(RmppFlags::ACTIVE) && (from_program || mad.rmpp.kind != RmppType::NONE)
    }

    /// Starts to send a message; false if too many are under way.
    pub(super) fn start(&mut self, now: Instant, to: MadAddress, head: SaMad, records: Vec<u8>) -> bool {
        if self.out.len() >= Self::MOST {
            return false;
        }
        let sender = Sender::new(now, RmppConfig::default(), head, records);
        self.out.insert(key(to, &head), Leaving { to, head, sender });
        true
    }

    /// A segment, or an acknowledgement of one.
    pub(super) fn handle_mad(&mut self, now: Instant, from: MadAddress, mad: &SaMad) {
        let key = key(from, mad);
        let leaving = self.out.get_mut(&key).filter(|_| mad.rmpp.kind != RmppType::DATA);
        if let Some(leaving) = leaving {
            leaving.sender.handle_mad(now, mad);
            return;
        }
        if mad.rmpp.kind == RmppType::ACK {
            return;
        }
        if let Some(arriving) = self.back.get_mut(&key) {
            arriving.receiver.handle_mad(now, mad);
        } else if mad.rmpp.kind == RmppType::DATA && self.back.len() < Self::MOST {
            let mut receiver = Receiver::new(now, RmppConfig::default());
            receiver.handle_mad(now, mad);
            self.back.insert(key, Arriving { from, header: mad.header, receiver, done: false });
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.out.values_mut().for_each(|leaving| leaving.sender.handle_timeout(now));
        self.back.values_mut().for_each(|arriving| arriving.receiver.handle_timeout(now));
    }

    /// What came of it all.
    pub(super) fn poll(&mut self) -> Progress {
        let mut progress = Progress::default();
        self.out.retain(|_, Leaving { to, head, sender }| {
            while let Some(mad) = sender.poll_output() {
                progress.send.push((*to, mad));
            }
            let outcome = sender.outcome();
            progress.left.extend(outcome.map(|outcome| (*head, outcome.is_ok())));
            outcome.is_none()
        });
        self.back.retain(|_, Arriving { from, header, receiver, done }| {
            while let Some(mad) = receiver.poll_output() {
                progress.send.push((*from, mad));
            }
            match receiver.outcome() {
                None => true,
                Some(Err(_)) => {
                    progress.broken.extend((!*done).then_some(*header));
                    false
                }
                Some(Ok(())) => {
                    if let Some(message) = receiver.take_message() {
                        progress.whole.push((*from, message.first, message.records));
                        *done = true;
                    }
                    receiver.poll_timeout().is_some()
                }
            }
        });
        progress
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let out = self.out.values().filter_map(|leaving| leaving.sender.poll_timeout());
        let back = self.back.values().filter_map(|arriving| arriving.receiver.poll_timeout());
        out.chain(back).min()
    }

    /// True if nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.back.is_empty()
    }
}

fn key(peer: MadAddress, mad: &SaMad) -> Key {
    (peer.lid.0, peer.qpn.get(), mad.header.tid.0)
}
