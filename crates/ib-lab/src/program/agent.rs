//! One agent of a program.

use alloc::collections::VecDeque;
use core::ops::AddAssign;

use ib_fabric::{AgentId, Fabric, PortId};
use ib_wire::{
    addr::Tid,
    mad::{MAD_LEN, MadHeader, MgmtClass, sa::SaMad},
    payload::Payload,
    time::Instant,
    ud::MadAddress,
};

use super::{
    Incoming, Outgoing, ProgramError, ProgramSpec,
    message::{HEAD, Messages, Progress},
    padded,
    request::{Due, Requests, Transaction},
};

/// Requests of one agent that may wait for answers at a time.
const MOST: usize = 1 << 16;

/// What an agent has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounters {
    /// MADs and messages that the program sent.
    pub sent: u64,
    /// MADs and messages that it got.
    pub received: u64,
    /// Requests that were sent again.
    pub resent: u64,
    /// Requests that came back unanswered.
    pub timed_out: u64,
    /// Answers that nobody waited for.
    pub unexpected: u64,
    /// Messages that did not arrive whole, at us or at the peer.
    pub broken: u64,
}

impl AddAssign for AgentCounters {
    fn add_assign(&mut self, other: Self) {
        let Self { sent, received, resent, timed_out, unexpected, broken } = other;
        self.sent += sent;
        self.received += received;
        self.resent += resent;
        self.timed_out += timed_out;
        self.unexpected += unexpected;
        self.broken += broken;
    }
}

/// An agent, its requests and its messages.
#[derive(Debug)]
pub(super) struct Agent {
    id: AgentId,
    pub(super) port: PortId,
    pub(super) place: usize,
    spec: ProgramSpec,
    requests: Requests,
    messages: Messages,
    counters: AgentCounters,
}

impl Agent {
    pub(super) fn new(id: AgentId, port: PortId, place: usize, spec: ProgramSpec) -> Self {
        let (requests, messages) = (Requests::default(), Messages::default());
        Self { id, port, place, spec, requests, messages, counters: AgentCounters::default() }
    }

    pub(super) const fn counters(&self) -> AgentCounters {
        self.counters
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        fabric: &mut Fabric,
        outgoing: Outgoing,
    ) -> Result<(), ProgramError> {
        let Outgoing { to, timeout, retries, mad: bytes } = outgoing;
        let mut mad = padded(&bytes);
        let (mut header, _) = MadHeader::parse(&bytes).map_err(|_| ProgramError::Short(bytes.len()))?;
        if !header.is_response() {
            header.tid = Tid(u64::from(self.id.number()) << 32 | header.tid.0 & 0xffff_ffff);
            mad[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
        }
        let head = SaMad::from_bytes(&mad);
        let is_message = self.speaks_rmpp(&header) && Messages::concerns(&head, true);
        if bytes.len() > MAD_LEN && !is_message {
            return Err(ProgramError::Long(bytes.len()));
        }
        if let Some(timeout) = timeout.filter(|_| !header.is_response()) {
            if self.requests.len() >= MOST {
                return Err(ProgramError::Busy(MOST));
            }
            self.requests.wait(now, transaction(header.tid), (to, mad), (timeout, retries));
        }
        self.counters.sent += 1;
        if !is_message {
            let sent = fabric.send_mad(now, self.port, self.id, to, &mad);
            if sent.is_err() {
                self.requests.take(transaction(header.tid));
            }
            return Ok(sent?);
        }
        // The clock of the answer starts when the question has left.
        self.requests.count(now, transaction(header.tid), false);
        let records = bytes.get(HEAD..).unwrap_or_default().to_vec();
        if !self.messages.start(now, to, head, records) {
            return Err(ProgramError::Busy(Messages::MOST));
        }
        self.progress(now, fabric, &mut VecDeque::new());
        Ok(())
    }

    pub(super) fn handle_mad(
        &mut self,
        now: Instant,
        fabric: &mut Fabric,
        from: MadAddress,
        mad: &Payload,
        out: &mut VecDeque<Incoming>,
    ) {
        let Ok((header, _)) = MadHeader::parse(mad) else { return };
        if self.speaks_rmpp(&header) {
            let segment = SaMad::from_bytes(&padded(mad));
            if Messages::concerns(&segment, false) {
                if self.awaits(&header) {
                    self.requests.count(now, transaction(header.tid), false);
                }
                self.messages.handle_mad(now, from, &segment);
                self.progress(now, fabric, out);
                return;
            }
        }
        self.take(from, &header, mad.clone(), out);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, fabric: &mut Fabric, out: &mut VecDeque<Incoming>) {
        while let Some(due) = self.requests.due(now) {
            match due {
                Due::Again(to, mad) => {
                    self.counters.resent += 1;
                    // A port that cannot send does not answer either.
                    let _ = fabric.send_mad(now, self.port, self.id, to, &mad);
                }
                Due::Lost(request) => {
                    self.counters.timed_out += 1;
                    let mad = Payload::from(&request.mad[..MadHeader::LEN]);
                    out.push_back(Incoming { agent: self.id, from: request.to, timed_out: true, mad });
                }
            }
        }
        if !self.messages.is_empty() {
            self.messages.handle_timeout(now);
            self.progress(now, fabric, out);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.requests.poll_timeout(), self.messages.poll_timeout()].into_iter().flatten().min()
    }

    /// Sends what messages have to send, and sees which have ended.
    fn progress(&mut self, now: Instant, fabric: &mut Fabric, out: &mut VecDeque<Incoming>) {
        let Progress { send, left, whole, broken } = self.messages.poll();
        for (to, segment) in send {
            // What cannot be sent is not acknowledged, and the transfer ends by that.
            let _ = fabric.send_mad(now, self.port, self.id, to, &segment.to_bytes());
        }
        for (head, arrived) in left {
            self.counters.broken += u64::from(!arrived);
            self.requests.count(now, transaction(head.header.tid), true);
        }
        for (from, first, records) in whole {
            let mut mad = first.to_bytes()[..HEAD].to_vec();
            mad.extend_from_slice(&records);
            self.take(from, &first.header, Payload::from(&mad[..]), out);
        }
        for header in broken {
            self.counters.broken += 1;
            if self.awaits(&header) {
                self.requests.count(now, transaction(header.tid), true);
            }
        }
    }

    /// A MAD or a message is whole.
    fn take(&mut self, from: MadAddress, header: &MadHeader, mad: Payload, out: &mut VecDeque<Incoming>) {
        if header.is_response()
            && (!self.awaits(header) || self.requests.take(transaction(header.tid)).is_none())
        {
            self.counters.unexpected += 1;
            return;
        }
        self.counters.received += 1;
        out.push_back(Incoming { agent: self.id, from, timed_out: false, mad });
    }

    /// True if the MAD answers a request of this agent that still waits.
    fn awaits(&self, header: &MadHeader) -> bool {
        let request = self.requests.get(transaction(header.tid));
        let same_class = |class: u8| class == header.class.0;
        header.is_response() && request.is_some_and(|request| same_class(request.mad[1]))
    }

    fn speaks_rmpp(&self, header: &MadHeader) -> bool {
        self.spec.rmpp && header.class == MgmtClass::SUBN_ADM
    }
}

/// The low half of a transaction identifier.
const fn transaction(tid: Tid) -> Transaction {
    #[expect(clippy::cast_possible_truncation, reason = "the high half is the agent's")]
    let low = tid.0 as u32;
    low
}
