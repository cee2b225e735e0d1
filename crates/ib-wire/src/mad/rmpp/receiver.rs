//! The receiving side: segments in, acknowledgements and the whole message out.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{RmppConfig, RmppError, SA_HEADER, control, end};
use crate::{
    mad::sa::{RmppFlags, RmppHeader, RmppStatus, RmppType, SaMad},
    time::Instant,
};

/// A message that came in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first segment: header, key, attribute offset, component mask.
    pub first: SaMad,
    /// All records. What fills up the last segment is not among them.
    pub records: Vec<u8>,
}

/// A message on its way in.
///
/// Make one when a first segment comes; hand it that segment and all that follow. Drop it when `outcome` is
/// set and `poll_timeout` is `None`: until then it answers repeated segments.
#[derive(Clone, Debug)]
pub struct Receiver {
    config: RmppConfig,
    first: Option<SaMad>,
    /// Records of the segments up to `in_order`.
    records: Vec<u8>,
    in_order: u32,
    /// What came early, each within the window.
    early: BTreeMap<u32, SaMad>,
    window_last: u32,
    /// Number of the last segment and the bytes it holds.
    last: Option<(u32, usize)>,
    like: Option<SaMad>,
    acknowledge: bool,
    farewell: Option<RmppStatus>,
    outcome: Option<Result<(), RmppError>>,
    deadline: Option<Instant>,
}

impl Receiver {
    /// A receiver that has nothing yet.
    pub fn new(now: Instant, config: RmppConfig) -> Self {
        Self {
            config,
            first: None,
            records: Vec::new(),
            in_order: 0,
            early: BTreeMap::new(),
            window_last: 1,
            last: None,
            like: None,
            acknowledge: false,
            farewell: None,
            outcome: None,
            deadline: Some(now + config.patience),
        }
    }

    /// An RMPP packet of the peer's for this transfer.
    pub fn handle_mad(&mut self, now: Instant, mad: &SaMad) {
        if let Some(outcome) = self.outcome {
            // The peer missed our last word.
            self.acknowledge = outcome.is_ok() && mad.rmpp.kind == RmppType::DATA;
            return;
        }
        self.like = Some(*mad);
        match self.checked(mad) {
            Ok(true) => self.take(now, mad),
            Ok(false) => (),
            Err(error) => self.finish(now, Err(error)),
        }
    }

    /// Gives up if nothing came for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        if self.outcome.is_none() {
            self.finish(now, Err(RmppError::Ours(RmppStatus::TOTAL_TIME_TOO_LONG)));
        }
    }

    /// The next MAD for the peer.
    pub fn poll_output(&mut self) -> Option<SaMad> {
        let like = self.like.as_ref()?;
        if let Some(status) = self.farewell.take() {
            return Some(end(like, true, status));
        }
        if !core::mem::take(&mut self.acknowledge) {
            return None;
        }
        Some(control(like, true, RmppType::ACK, RmppStatus::NORMAL, self.in_order, self.window_last))
    }

    /// When `handle_timeout` wants to be called.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// How it ended, once it has.
    pub const fn outcome(&self) -> Option<Result<(), RmppError>> {
        self.outcome
    }

    /// The message, once it is whole; once only.
    pub fn take_message(&mut self) -> Option<Message> {
        if self.outcome != Some(Ok(())) {
            return None;
        }
        let first = self.first.take()?;
        Some(Message { first, records: core::mem::take(&mut self.records) })
    }

    /// True if the packet is a segment that makes sense; false if it is to be ignored.
    fn checked(&self, mad: &SaMad) -> Result<bool, RmppError> {
        let RmppHeader { version, kind, flags, status, data1: number, data2: length, .. } = mad.rmpp;
        let ours = |status| Err(RmppError::Ours(status));
        match kind {
            _ if version != 1 => return ours(RmppStatus::UNSUPPORTED_VERSION),
            RmppType::DATA => (),
            RmppType::STOP | RmppType::ABORT => return Err(RmppError::Peer(status)),
            RmppType::NONE | RmppType::ACK => return Ok(false),
            _ => return ours(RmppStatus::BAD_TYPE),
        }
        if status != RmppStatus::NORMAL {
            return ours(RmppStatus::ILLEGAL_STATUS);
        }
        if number == 0 || (number == 1) != flags.has(RmppFlags::FIRST) {
            return ours(RmppStatus::INCONSISTENT_FIRST);
        }
        if number > self.window_last {
            return Ok(false); // a sender that does not wait is not served, and finds out by its timeout
        }
        let is_last = flags.has(RmppFlags::LAST);
        if is_last && !(SA_HEADER..=SaMad::SEGMENT_LEN).contains(&(length as usize)) {
            return ours(RmppStatus::INCONSISTENT_LAST);
        }
        let beyond = self.last.is_some_and(|(last, _)| number > last || is_last && number != last);
        if beyond || is_last && self.early.keys().next_back().is_some_and(|early| *early > number) {
            return ours(RmppStatus::INCONSISTENT_LAST);
        }
        let stated =
            if number == 1 { length } else { self.first.map_or(0, |first| first.rmpp.data2) } as usize;
        let single = number == 1 && is_last;
        if stated != 0 && !single && is_last && stated.div_ceil(SaMad::SEGMENT_LEN) != number as usize {
            return ours(RmppStatus::INCONSISTENT_LAST);
        }
        let segments = (number as usize).max(if single { 1 } else { stated.div_ceil(SaMad::SEGMENT_LEN) });
        if segments.saturating_mul(SaMad::DATA_LEN) > self.config.max_bytes.saturating_add(SaMad::DATA_LEN) {
            return ours(RmppStatus::RESOURCES_EXHAUSTED);
        }
        Ok(true)
    }

    fn take(&mut self, now: Instant, mad: &SaMad) {
        let number = mad.rmpp.data1;
        if number <= self.in_order || self.early.contains_key(&number) {
            self.acknowledge = number <= self.in_order;
            return;
        }
        self.deadline = Some(now + self.config.patience);
        if mad.rmpp.flags.has(RmppFlags::LAST) {
            self.last = Some((number, mad.rmpp.data2 as usize - SA_HEADER));
        }
        self.early.insert(number, *mad);
        while let Some(segment) = self.early.remove(&(self.in_order + 1)) {
            self.in_order += 1;
            self.append(&segment);
        }
        if self.last.is_some_and(|(last, _)| last == self.in_order) {
            self.acknowledge = true;
            self.finish(now, Ok(()));
        } else if self.in_order == self.window_last {
            self.window_last += self.config.window.max(1);
            self.acknowledge = true;
        }
    }

    fn append(&mut self, segment: &SaMad) {
        let bytes = match self.last {
            Some((last, bytes)) if last == self.in_order => bytes,
            _ => SaMad::DATA_LEN,
        };
        self.records.extend_from_slice(&segment.data[..bytes]);
        if self.in_order == 1 {
            self.first = Some(*segment);
        }
    }

    fn finish(&mut self, now: Instant, outcome: Result<(), RmppError>) {
        self.outcome = Some(outcome);
        self.early.clear();
        if let Err(error) = outcome {
            self.records = Vec::new();
            self.deadline = None;
            if let RmppError::Ours(status) = error {
                self.farewell = Some(status);
            }
        } else {
            self.deadline = Some(now + self.config.patience);
        }
    }
}
