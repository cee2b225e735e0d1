//! Questions to subnet administration: who asked what, asked again until answered, never a storm.
//!
//! At most `sa_window` are under way and `sa_rate` leave in a second; the rest wait in two lines, groups
//! and subscriptions before paths. Each is repeated after a time that doubles, with jitter. Where answers come
//! when nobody waits for them any more, questions are given more time from the start.

use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;

use ib_wire::{
    addr::{Gid, Lid, Lmc, MulticastGid, Tid},
    mad::{
        AttributeId, Mad, MadHeader, Method, MgmtClass, Status,
        attr::{Notice, TrapNumber},
        sa::{RecordId, RmppHeader, SaMad},
    },
    time::Instant,
    ud::MadAddress,
};

use crate::{
    Output, SaFailure,
    context::Context,
    map::{Map, map},
    timer::Timer,
};

/// What a question is about: one at a time for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// The path to a port.
    Path(Gid),
    /// Which port has a LID.
    Source(Lid),
    /// Membership in a group.
    Join(MulticastGid),
    /// The end of one kind of membership (a JoinState bit).
    Leave(MulticastGid, u8),
    /// Word of an event.
    Subscribe(TrapNumber),
    /// What subnet administration can do.
    ClassPortInfo,
}

/// The record of an answer, or why there is none.
pub(crate) type Answer = Result<Box<[u8; SaMad::DATA_LEN]>, SaFailure>;

/// What a MAD from subnet administration was.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The answer to a question.
    Answer(Subject, Answer),
    /// Word of an event.
    Report(Notice),
    /// Nothing for us, or not yet.
    Nothing,
}

/// The part of a question that is ours to say.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Get, Set or Delete.
    pub(crate) method: Method,
    /// What about.
    pub(crate) record: RecordId,
    /// Which components count.
    pub(crate) mask: u64,
    /// The record.
    pub(crate) data: [u8; SaMad::DATA_LEN],
}

impl Question {
    /// A question with `bytes` as its record.
    pub(crate) fn new(method: Method, record: RecordId, mask: u64, bytes: &[u8]) -> Self {
        let mut data = [0; SaMad::DATA_LEN];
        data[..bytes.len()].copy_from_slice(bytes);
        Self { method, record, mask, data }
    }
}

/// The client.
#[derive(Debug)]
pub(crate) struct SaClient {
    address: Option<MadAddress>,
    lmc: Lmc,
    requests: Map<u32, Request>,
    by_subject: Map<Subject, u32>,
    /// Groups and subscriptions, then paths.
    lines: [VecDeque<u32>; 2],
    in_flight: usize,
    next_tid: u32,
    /// Each question sent moves this on by its share of a second; it may be ahead of now by a burst.
    paid_until: Instant,
    /// How often the first wait is doubled: more with every answer that came too late, less with every prompt one.
    doublings: u32,
}

#[derive(Debug)]
struct Request {
    subject: Subject,
    mad: Box<Mad>,
    method: Method,
    attribute: AttributeId,
    tries: u32,
    busy: u32,
    wait: Duration,
    sent: bool,
    /// Times it was sent.
    sendings: u32,
}

impl SaClient {
    /// A client that knows no subnet administration yet.
    pub(crate) fn new(seed: u64, first_tid: u32) -> Self {
        Self {
            address: None,
            lmc: Lmc(0),
            requests: map(seed),
            by_subject: map(seed),
            lines: [VecDeque::new(), VecDeque::new()],
            in_flight: 0,
            next_tid: first_tid,
            paid_until: Instant::ZERO,
            doublings: 0,
        }
    }

    /// Where subnet administration is from now on, and how many LIDs its port may answer from.
    pub(crate) const fn set_address(&mut self, address: Option<MadAddress>, lmc: Lmc) {
        (self.address, self.lmc) = (address, lmc);
    }

    /// True if it is known where to ask.
    pub(crate) const fn has_address(&self) -> bool {
        self.address.is_some()
    }

    /// Questions under way.
    pub(crate) const fn outstanding(&self) -> usize {
        self.in_flight
    }

    /// True while a path is being asked for.
    pub(crate) fn asks_for_paths(&self) -> bool {
        self.by_subject.keys().any(|subject| matches!(subject, Subject::Path(_)))
    }

    /// Asks; a question about the same subject is given up for this one.
    pub(crate) fn ask(&mut self, cx: &mut Context, subject: Subject, question: &Question) {
        self.cancel(cx, subject);
        let tid = self.next_tid;
        self.next_tid = tid.wrapping_add(1);
        let mut header = MadHeader::request(MgmtClass::SUBN_ADM, question.method, question.record.into(), 0);
        header.tid = Tid(u64::from(tid));
        let mad = SaMad {
            header,
            rmpp: RmppHeader::NONE,
            sm_key: 0,
            attribute_offset: 0,
            component_mask: question.mask,
            data: question.data,
        };
        let is_path = matches!(subject, Subject::Path(_) | Subject::Source(_));
        let request = Request {
            subject,
            mad: Box::new(mad.to_bytes()),
            method: question.method,
            attribute: question.record.into(),
            tries: if is_path { cx.config.path_tries } else { cx.config.sa_tries },
            busy: 0,
            wait: (cx.config.sa_timeout * (1 << self.doublings)).min(MAX_WAIT),
            sent: false,
            sendings: 0,
        };
        self.requests.insert(tid, request);
        self.by_subject.insert(subject, tid);
        self.lines[usize::from(is_path)].push_back(tid);
        self.pump(cx);
    }

    /// Gives a question up.
    pub(crate) fn cancel(&mut self, cx: &mut Context, subject: Subject) {
        if let Some(tid) = self.by_subject.remove(&subject) {
            self.forget(cx, tid);
        }
    }

    /// Gives up all questions but those that end memberships.
    pub(crate) fn cancel_all(&mut self, cx: &mut Context) {
        let keep = |request: &Request| matches!(request.subject, Subject::Leave(..));
        // Sorted, as the map's own order is a hasher's.
        let mut tids: alloc::vec::Vec<u32> =
            self.requests.iter().filter(|(_, request)| !keep(request)).map(|(tid, _)| *tid).collect();
        tids.sort_unstable();
        for tid in tids {
            self.forget(cx, tid);
        }
    }

    /// A MAD came to QP1.
    pub(crate) fn handle_mad(&mut self, cx: &mut Context, from: MadAddress, mad: &Mad) -> Incoming {
        let answer = SaMad::from_bytes(mad);
        let genuine = answer.header.class == MgmtClass::SUBN_ADM
            && self.address.is_some_and(|address| self.lmc.covers(address.lid, from.lid));
        if !genuine {
            cx.counters.sa_unexpected += 1;
            return Incoming::Nothing;
        }
        if answer.header.method == Method::REPORT && answer.header.attribute == AttributeId::NOTICE {
            return Self::report(cx, from, mad, &answer);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the upper half is the port's")]
        let tid = answer.header.tid.0 as u32;
        let Some(request) = self.requests.get_mut(&tid).filter(|r| r.sent && answers(r, &answer)) else {
            cx.counters.sa_unexpected += 1;
            self.doublings = (self.doublings + u32::from(answer.header.is_response())).min(MOST_DOUBLINGS);
            return Incoming::Nothing;
        };
        if answer.header.status == Status::BUSY && request.busy < MAX_BUSY {
            request.busy += 1;
            request.wait = (request.wait * 2).min(MAX_WAIT);
            cx.counters.sa_busy += 1;
            cx.timers.set(Timer::Sa(tid), cx.now + cx.chance.jitter(request.wait));
            // It is there, so the repetition is not the failure of a try.
            request.tries = request.tries.max(1);
            return Incoming::Nothing;
        }
        let subject = request.subject;
        if request.sendings == 1 {
            self.doublings = self.doublings.saturating_sub(1);
        }
        self.forget(cx, tid);
        self.pump(cx);
        let result = match answer.header.status {
            Status::OK => Ok(Box::new(answer.data)),
            status => Err(SaFailure::Refused(status)),
        };
        Incoming::Answer(subject, result)
    }

    /// Question `tid` was not answered in time.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context, tid: u32) -> Option<(Subject, Answer)> {
        let request = self.requests.get_mut(&tid)?;
        self.in_flight -= usize::from(request.sent);
        request.sent = false;
        if request.tries == 0 {
            let subject = request.subject;
            cx.counters.sa_timeouts += 1;
            self.forget(cx, tid);
            self.pump(cx);
            return Some((subject, Err(SaFailure::NoAnswer)));
        }
        request.wait = (request.wait * 2).min(MAX_WAIT);
        let is_path = matches!(request.subject, Subject::Path(_) | Subject::Source(_));
        self.lines[usize::from(is_path)].push_front(tid);
        self.pump(cx);
        None
    }

    /// Sends what may be sent now.
    pub(crate) fn pump(&mut self, cx: &mut Context) {
        while self.in_flight < cx.config.sa_window {
            let Some(line) = self.lines.iter_mut().find(|line| !line.is_empty()) else { return };
            let Some(request) = line.front().and_then(|tid| self.requests.get_mut(tid)) else {
                line.pop_front();
                continue;
            };
            let interval = Duration::from_secs(1) / cx.config.sa_rate;
            let burst = interval * u32::try_from(cx.config.sa_window).expect("bounded by 1024");
            if self.paid_until > cx.now + burst {
                cx.timers.set(Timer::SaRate, cx.now + self.paid_until.since(cx.now + burst));
                return;
            }
            self.paid_until = self.paid_until.max(cx.now) + interval;
            let tid = line.pop_front().expect("its front was just read");
            request.tries = request.tries.saturating_sub(1);
            request.sent = true;
            self.in_flight += 1;
            cx.timers.set(Timer::Sa(tid), cx.now + cx.chance.jitter(request.wait));
            // With nobody to ask, time passes all the same, so that nothing waits for ever.
            if let Some(to) = self.address {
                cx.counters.sa_requests += 1;
                cx.counters.sa_retries += u64::from(request.sendings > 0);
                request.sendings += 1;
                cx.emit(Output::Mad { to, mad: request.mad.clone() });
            }
        }
    }

    /// Confirms a report and gives what it says. IBA 1 §13.4.9.
    fn report(cx: &mut Context, from: MadAddress, mad: &Mad, report: &SaMad) -> Incoming {
        let Ok((notice, _)) = Notice::parse(&report.data) else { return Incoming::Nothing };
        cx.counters.sa_reports += 1;
        let mut header = report.header;
        header.method = Method::REPORT_RESP;
        header.status = Status::OK;
        let mut reply = Box::new(*mad);
        reply[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
        cx.emit(Output::Mad { to: from, mad: reply });
        Incoming::Report(notice)
    }

    fn forget(&mut self, cx: &mut Context, tid: u32) {
        if let Some(request) = self.requests.remove(&tid) {
            self.in_flight -= usize::from(request.sent);
            self.by_subject.remove(&request.subject);
            cx.timers.cancel(Timer::Sa(tid));
        }
    }
}

/// True if `answer` has the form of an answer to `request`.
fn answers(request: &Request, answer: &SaMad) -> bool {
    let method = match request.method {
        Method::DELETE => Method::DELETE_RESP,
        _ => Method::GET_RESP,
    };
    answer.header.method == method && answer.header.attribute == request.attribute
}

/// Longest wait between repetitions.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// Sixteen times the first wait, though no more than the longest.
const MOST_DOUBLINGS: u32 = 4;
/// "Busy" is believed so many times.
const MAX_BUSY: u32 = 16;
