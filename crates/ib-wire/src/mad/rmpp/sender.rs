//! The sending side: segments out, acknowledgements in.

use alloc::vec::Vec;

use super::{RmppConfig, RmppError, SA_HEADER, end};
use crate::{
    mad::sa::{RmppFlags, RmppHeader, RmppStatus, RmppType, SaMad},
    time::Instant,
};

/// A message on its way out.
///
/// Segments leave through `poll_output` as far as the window allows; after an acknowledgement stays away,
/// all from the first unacknowledged one on leave again.
#[derive(Clone, Debug)]
pub struct Sender {
    config: RmppConfig,
    /// Header, key, offset and mask of every segment.
    template: SaMad,
    records: Vec<u8>,
    segments: u32,
    /// Highest segment the peer has, with all before it.
    acked: u32,
    /// Highest segment the peer will take.
    window_last: u32,
    /// Next segment to leave.
    next: u32,
    retries_left: u8,
    deadline: Instant,
    outcome: Option<Result<(), RmppError>>,
    farewell: Option<RmppStatus>,
}

impl Sender {
    /// Starts to send `records` with the header, SM_Key, attribute offset and component mask of `template`.
    ///
    /// # Panics
    /// If there are 800 GB of records.
    pub fn new(now: Instant, config: RmppConfig, template: SaMad, records: Vec<u8>) -> Self {
        let segments =
            u32::try_from(records.len().div_ceil(SaMad::DATA_LEN).max(1)).expect("fewer than 2^32");
        Self {
            config,
            template,
            records,
            segments,
            acked: 0,
            window_last: 1,
            next: 1,
            retries_left: config.retries,
            deadline: now + config.resend,
            outcome: None,
            farewell: None,
        }
    }

    /// An RMPP packet of the peer's for this transfer.
    pub fn handle_mad(&mut self, now: Instant, mad: &SaMad) {
        if self.outcome.is_some() {
            return;
        }
        match mad.rmpp.kind {
            RmppType::ACK => self.handle_ack(now, mad.rmpp),
            RmppType::STOP | RmppType::ABORT => self.outcome = Some(Err(RmppError::Peer(mad.rmpp.status))),
            RmppType::NONE | RmppType::DATA => (),
            _ => self.give_up(RmppStatus::BAD_TYPE),
        }
    }

    /// Sends again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        let Some(left) = self.retries_left.checked_sub(1) else {
            return self.give_up(RmppStatus::TOO_MANY_RETRIES);
        };
        self.retries_left = left;
        self.next = self.acked + 1;
        self.deadline = now + self.config.resend;
    }

    /// The next MAD for the peer.
    pub fn poll_output(&mut self) -> Option<SaMad> {
        if let Some(status) = self.farewell.take() {
            return Some(end(&self.template, false, status));
        }
        if self.outcome.is_some() || self.next > self.window_last.min(self.segments) {
            return None;
        }
        let segment = self.next;
        self.next += 1;
        Some(self.segment(segment))
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then_some(self.deadline)
    }

    /// How it ended, once it has. There may still be a last MAD to send.
    pub const fn outcome(&self) -> Option<Result<(), RmppError>> {
        self.outcome
    }

    fn handle_ack(&mut self, now: Instant, ack: RmppHeader) {
        let (segment, window_last) = (ack.data1, ack.data2);
        if ack.status != RmppStatus::NORMAL {
            return self.give_up(RmppStatus::ILLEGAL_STATUS);
        }
        if window_last < segment {
            return self.give_up(RmppStatus::WINDOW_TOO_SMALL);
        }
        if segment > self.segments || segment > self.window_last {
            return self.give_up(RmppStatus::SEGMENT_TOO_BIG);
        }
        if window_last < self.window_last || segment < self.acked {
            return; // overtaken by a later one
        }
        if segment > self.acked || window_last > self.window_last {
            self.retries_left = self.config.retries;
            self.deadline = now + self.config.resend;
        }
        self.acked = segment;
        self.window_last = window_last;
        self.next = self.next.max(segment + 1);
        if segment == self.segments {
            self.outcome = Some(Ok(()));
        }
    }

    fn give_up(&mut self, status: RmppStatus) {
        self.outcome = Some(Err(RmppError::Ours(status)));
        self.farewell = Some(status);
    }

    fn segment(&self, number: u32) -> SaMad {
        let start = (number as usize - 1) * SaMad::DATA_LEN;
        let bytes = &self.records[start..self.records.len().min(start + SaMad::DATA_LEN)];
        let mut mad = self.template;
        mad.data = [0; SaMad::DATA_LEN];
        mad.data[..bytes.len()].copy_from_slice(bytes);
        let mut flags = RmppFlags::ACTIVE;
        let mut length = 0;
        if number == 1 {
            flags = flags.and(RmppFlags::FIRST);
            length = self.segments as usize * SA_HEADER + self.records.len();
        }
        if number == self.segments {
            flags = flags.and(RmppFlags::LAST);
            length = SA_HEADER + bytes.len();
        }
        mad.rmpp = RmppHeader {
            version: 1,
            kind: RmppType::DATA,
            response_time: NO_RESPONSE_TIME,
            flags,
            status: RmppStatus::NORMAL,
            data1: number,
            data2: u32::try_from(length).unwrap_or(0), // zero: not known beforehand
        };
        mad
    }
}

/// "No time stated" in the RMPP header.
const NO_RESPONSE_TIME: u8 = 0x1f;
