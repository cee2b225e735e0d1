//! Requests under way: their timers, their repetitions, their answers.
//!
//! At most a window of them is out at once; who starts one asks for room first. Every request ends in exactly one
//! way: answered, or given up after the last repetition. IBA 1 §13.4.6.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
};
use core::time::Duration;

use ib_wire::{
    addr::{Lid, MKey, Tid},
    mad::{
        AttributeId, MAD_LEN, Mad, MadHeader, Method, MgmtClass, Status,
        smp::{DirectedRoute, DirectedSmp, LidSmp, Smp},
    },
    time::Instant,
    ud::MadAddress,
};
use serde::Serialize;

/// An SMP to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which way.
    pub(crate) to: Way,
    /// Get or Set.
    pub(crate) method: Method,
    /// What is asked about.
    pub(crate) attribute: AttributeId,
    /// Which part of it.
    pub(crate) modifier: u32,
    /// What is written.
    pub(crate) data: [u8; 64],
}

/// How an SMP finds its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Port by port; needs no forwarding tables.
    Directed(DirectedRoute),
    /// By the switches' forwarding tables.
    Lid(Lid),
}

impl Request {
    /// Asks for an attribute.
    pub(crate) const fn get(to: Way, attribute: AttributeId, modifier: u32) -> Self {
        Self { to, method: Method::GET, attribute, modifier, data: [0; 64] }
    }

    /// Writes an attribute; `data` is cut off or filled up with zeros.
    pub(crate) fn set(to: Way, attribute: AttributeId, modifier: u32, data: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let len = data.len().min(64);
        bytes[..len].copy_from_slice(&data[..len]);
        Self { to, method: Method::SET, attribute, modifier, data: bytes }
    }

    fn address(&self) -> MadAddress {
        match self.to {
            Way::Directed(_) => MadAddress::DIRECTED,
            Way::Lid(lid) => MadAddress::smi(lid),
        }
    }

    fn bytes(&self, tid: Tid, m_key: MKey) -> Mad {
        let header = |class| MadHeader {
            tid,
            ..MadHeader::request(class, self.method, self.attribute, self.modifier)
        };
        match &self.to {
            Way::Lid(_) => LidSmp { header: header(MgmtClass::SUBN_LID), m_key, data: self.data }.to_bytes(),
            Way::Directed(route) => {
                let mut smp = DirectedSmp {
                    header: header(MgmtClass::SUBN_DIRECTED),
                    m_key,
                    source_lid: Lid::PERMISSIVE,
                    dest_lid: Lid::PERMISSIVE,
                    data: self.data,
                    initial_path: *route.initial_path(),
                    return_path: [0; 64],
                };
                smp.set_hops(0, route.hop_count());
                smp.to_bytes()
            }
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// An answer came; its status may still be a refusal.
    Answered {
        /// Result, without the direction bit.
        status: Status,
        /// The attribute.
        data: Box<[u8; 64]>,
    },
    /// Nobody answered.
    GivenUp,
}

/// Counters of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TransactionCounters {
    /// Requests sent, repetitions not counted.
    pub sent: u64,
    /// Repetitions.
    pub retried: u64,
    /// Answers taken.
    pub answered: u64,
    /// Answers that refused.
    pub refused: u64,
    /// Requests that nobody answered.
    pub timed_out: u64,
    /// Answers to no request: late, or of somebody else.
    pub unexpected: u64,
}

/// Requests under way, each with a tag that says what its answer is for.
#[derive(Clone, Debug)]
pub(crate) struct Transactions<T> {
    window: usize,
    timeout: Duration,
    retries: u32,
    m_key: MKey,
    next_tid: u32,
    pending: BTreeMap<u32, Pending<T>>,
    deadlines: BTreeSet<(Instant, u32)>,
    output: VecDeque<(MadAddress, Box<Mad>)>,
    given_up: VecDeque<T>,
    counters: TransactionCounters,
}

#[derive(Clone, Debug)]
struct Pending<T> {
    tag: T,
    to: MadAddress,
    mad: Box<Mad>,
    deadline: Instant,
    tries_left: u32,
}

impl<T> Transactions<T> {
    pub(crate) fn new(window: usize, timeout: Duration, retries: u32, m_key: MKey, first_tid: u32) -> Self {
        Self {
            window: window.max(1),
            timeout,
            retries,
            m_key,
            next_tid: first_tid.max(1),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            output: VecDeque::new(),
            given_up: VecDeque::new(),
            counters: TransactionCounters::default(),
        }
    }

    /// Takes an answer; the tag of its request and how it ended, if it belongs to one.
    pub(crate) fn handle_answer(&mut self, mad: &Mad) -> Option<(T, Outcome)> {
        let taken = self.take(mad);
        match &taken {
            None => self.counters.unexpected += 1,
            Some((_, outcome)) => {
                self.counters.answered += 1;
                let refused = matches!(outcome, Outcome::Answered { status, .. } if *status != Status::OK);
                self.counters.refused += u64::from(refused);
            }
        }
        taken
    }

    /// Sends again what is due, gives up what was sent often enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, tid)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(deadline, tid));
            let Some(request) = self.pending.get_mut(&tid) else { continue };
            if request.tries_left == 0 {
                self.counters.timed_out += 1;
                self.given_up.extend(self.pending.remove(&tid).map(|request| request.tag));
                continue;
            }
            request.tries_left -= 1;
            request.deadline = now + self.timeout;
            self.deadlines.insert((request.deadline, tid));
            self.output.push_back((request.to, request.mad.clone()));
            self.counters.retried += 1;
        }
    }

    /// Sends a request; `tag` comes back with its outcome.
    pub(crate) fn start(&mut self, now: Instant, request: &Request, tag: T) {
        self.start_with(now, request, tag, self.retries);
    }

    /// Sends a request with another number of repetitions.
    pub(crate) fn start_with(&mut self, now: Instant, request: &Request, tag: T, retries: u32) {
        let tid = self.next_tid;
        self.next_tid = self.next_tid.checked_add(1).unwrap_or(1);
        let mad = Box::new(request.bytes(Tid(u64::from(tid)), self.m_key));
        let (to, deadline) = (request.address(), now + self.timeout);
        self.output.push_back((to, mad.clone()));
        self.deadlines.insert((deadline, tid));
        self.pending.insert(tid, Pending { tag, to, mad, deadline, tries_left: retries });
        self.counters.sent += 1;
    }

    /// Forgets the requests whose tag is not to be kept; their answers will be unexpected.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let deadlines = &mut self.deadlines;
        self.pending.retain(|tid, request| {
            let stays = keep(&request.tag);
            if !stays {
                deadlines.remove(&(request.deadline, *tid));
            }
            stays
        });
        self.given_up.retain(keep);
    }

    /// The next request that nobody answered.
    pub(crate) fn poll_given_up(&mut self) -> Option<T> {
        self.given_up.pop_front()
    }

    /// The next MAD to send.
    pub(crate) fn poll_output(&mut self) -> Option<(MadAddress, Box<Mad>)> {
        self.output.pop_front()
    }

    /// When `handle_timeout` is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// True if one more request may go out.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < self.window
    }

    /// Counted since the start.
    pub(crate) const fn counters(&self) -> TransactionCounters {
        self.counters
    }

    fn take(&mut self, mad: &Mad) -> Option<(T, Outcome)> {
        let smp = Smp::parse(mad).ok()?;
        let header = smp.header();
        // The upper half of the identifier is the port's.
        let tid = u32::try_from(header.tid.0 & 0xffff_ffff).expect("masked to 32 bits");
        let asked = MadHeader::from_bytes(self.pending.get(&tid)?.mad.first_chunk()?);
        let same = (asked.class, asked.attribute, asked.modifier)
            == (header.class, header.attribute, header.modifier);
        if header.method != Method::GET_RESP || !same {
            return None;
        }
        let request = self.pending.remove(&tid)?;
        self.deadlines.remove(&(request.deadline, tid));
        let status = match &smp {
            Smp::Lid(smp) => smp.header.status,
            Smp::Directed(smp) => smp.status(),
        };
        Some((request.tag, Outcome::Answered { status, data: Box::new(*smp.data()) }))
    }
}

/// Turns a request into its answer: same transaction, same way back. IBA 1 §14.2.2.
pub(crate) fn answer(request: &Mad, status: Status, data: &[u8]) -> Mad {
    let mut mad = *request;
    let is_directed = MgmtClass(mad[1]) == MgmtClass::SUBN_DIRECTED;
    let mut header = MadHeader::from_bytes(mad.first_chunk().expect("24 of 256 bytes"));
    header.method = Method::GET_RESP;
    header.status = Status(status.0 | if is_directed { 0x8000 } else { 0 });
    mad[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
    let len = data.len().min(64);
    mad[64..128].fill(0);
    mad[64..64 + len].copy_from_slice(&data[..len]);
    debug_assert_eq!(mad.len(), MAD_LEN);
    mad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Transactions<u8> {
        Transactions::new(2, Duration::from_millis(200), 3, MKey(0), 1)
    }

    fn request() -> Request {
        Request::get(Way::Lid(Lid(7)), AttributeId::NODE_INFO, 0)
    }

    #[test]
    fn unanswered_request_is_sent_four_times_and_given_up() {
        let mut t = two();
        t.start(Instant::ZERO, &request(), 9);
        let mut sent = 0;
        let mut given_up = None;
        while let Some(at) = t.poll_timeout() {
            sent += core::iter::from_fn(|| t.poll_output()).count();
            t.handle_timeout(at);
            if let Some(tag) = t.poll_given_up() {
                given_up = Some((at, tag));
            }
        }
        assert_eq!((sent, given_up), (4, Some((Instant::from_millis(800), 9))));
        assert_eq!(t.counters().timed_out, 1);
    }

    #[test]
    fn an_answer_ends_its_request_once_and_the_ports_half_of_the_tid_does_not_matter() {
        let mut t = two();
        t.start(Instant::ZERO, &request(), 9);
        let (_, mad) = t.poll_output().unwrap();
        let mut back = answer(&mad, Status::OK, &[5; 40]);
        back[8..12].fill(0xee);
        let (tag, outcome) = t.handle_answer(&back).unwrap();
        assert!(
            matches!((tag, outcome), (9, Outcome::Answered { status: Status::OK, data }) if data[39] == 5 && data[40] == 0)
        );
        assert!(t.handle_answer(&back).is_none());
        assert_eq!(t.poll_timeout(), None);
        assert_eq!(t.counters().unexpected, 1);
    }

    #[test]
    fn the_answer_to_another_question_is_not_taken() {
        let mut t = two();
        t.start(Instant::ZERO, &request(), 9);
        let (_, mad) = t.poll_output().unwrap();
        let mut other = answer(&mad, Status::OK, &[]);
        other[17] = 0x15;
        assert!(t.handle_answer(&other).is_none());
        assert!(t.handle_answer(&mad).is_none());
        assert!(t.handle_answer(&answer(&mad, Status::BAD_FIELD, &[])).is_some());
        assert_eq!(t.counters().refused, 1);
    }

    #[test]
    fn the_window_fills_and_opens() {
        let mut t = two();
        t.start(Instant::ZERO, &request(), 1);
        assert!(t.has_room());
        t.start(Instant::ZERO, &request(), 2);
        assert!(!t.has_room());
        t.retain(|tag| *tag == 2);
        assert!(t.has_room());
        t.handle_timeout(Instant::from_secs(1));
        assert_eq!(t.poll_timeout(), Some(Instant::from_millis(1200)));
    }
}
