//! One multicast group: what the host wants of it, what subnet administration granted.

use alloc::vec::Vec;
use core::net::IpAddr;

use ib_wire::{
    addr::{Lid, MulticastGid},
    mad::attr::JoinState,
    time::Instant,
    ud::{AddressVector, QpCommand},
};

use super::Source;
use crate::{GroupSnapshot, Output, context::Context, queue::Queue};

/// Where a group is on its way to membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is under way: joined, or not wanted.
    Idle,
    /// A join for these bits is under way; of a group that is already joined, to confirm it.
    Joining { bits: JoinState },
    /// The last join failed.
    Waiting { until: Instant },
    /// Nobody listens to it, and we may not create it.
    Absent { until: Instant },
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) mgid: MulticastGid,
    pub(super) broadcast: bool,
    /// IP groups the host listens to through it, and who said so. IPv6 groups may share their low 80 bits.
    pub(super) listeners: Vec<(IpAddr, Source)>,
    pub(super) state: State,
    /// It is to be joined again though it is joined.
    pub(super) confirm: bool,
    /// Memberships granted.
    pub(super) held: JoinState,
    /// How to send to it, once granted.
    pub(super) to: Option<AddressVector>,
    /// The LID that our queue pair is attached for, once granted as full member.
    pub(super) attached: Option<Lid>,
    pub(super) queue: Queue,
    /// The IP group of what waits.
    pub(super) ip: Option<IpAddr>,
    pub(super) failures: u32,
    pub(super) last_used: Instant,
    pub(super) tx: u64,
    pub(super) rx: u64,
}

impl Group {
    pub(super) fn new(mgid: MulticastGid, now: Instant) -> Self {
        Self {
            mgid,
            broadcast: false,
            listeners: Vec::new(),
            state: State::Idle,
            confirm: false,
            held: JoinState::default(),
            to: None,
            attached: None,
            queue: Queue::default(),
            ip: None,
            failures: 0,
            last_used: now,
            tx: 0,
            rx: 0,
        }
    }

    /// True if its packets are to be received.
    pub(super) const fn wants_full(&self) -> bool {
        self.broadcast || !self.listeners.is_empty()
    }

    /// True if a join is due: never joined in the way that is wanted, or to be confirmed.
    pub(super) fn is_due(&self) -> bool {
        if self.wants_full() {
            self.attached.is_none() || self.confirm
        } else {
            self.to.is_none() && !self.queue.is_empty() || self.to.is_some() && self.confirm
        }
    }

    /// True if only to be sent to and failed more than once: packets do not wait for it. Linux tries twice.
    pub(super) const fn given_up(&self) -> bool {
        !self.wants_full() && self.failures >= 2
    }

    /// Notes a listener; true if it is new.
    pub(super) fn listen(&mut self, ip: IpAddr, source: Source) -> bool {
        let new = !self.listeners.contains(&(ip, source));
        if new {
            self.listeners.push((ip, source));
        }
        new
    }

    /// Strikes a listener out; true if there was one. The kernel's word ends what was snooped too.
    pub(super) fn unlisten(&mut self, ip: IpAddr, source: Source) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|(other, told)| {
            *other != ip || (*told != source && !(source == Source::Host && *told == Source::Snooped))
        });
        self.listeners.len() != before
    }

    /// It is no longer joined, whoever is to blame.
    pub(super) fn lose(&mut self, cx: &mut Context) {
        if let Some(mlid) = self.attached.take() {
            cx.emit(Output::Qp(QpCommand::Detach { mgid: self.mgid, mlid }));
        }
        self.to = None;
        self.held = JoinState::default();
    }

    pub(super) fn snapshot(&self, now: Instant) -> GroupSnapshot {
        let mut ips: Vec<IpAddr> = self.listeners.iter().map(|(ip, _)| *ip).collect();
        ips.sort_unstable();
        ips.dedup();
        GroupSnapshot {
            mgid: self.mgid,
            ips,
            state: match self.state {
                State::Idle if self.to.is_some() => "joined",
                State::Idle => "idle",
                State::Joining { .. } if self.to.is_some() => "joined",
                State::Joining { .. } => "joining",
                State::Waiting { .. } if self.to.is_some() => "joined",
                State::Waiting { .. } => "backoff",
                State::Absent { .. } => "absent",
            },
            send_only: !self.wants_full(),
            join_state: self.held.0,
            mlid: self.to.map(|to| to.dlid),
            pending: self.queue.len(),
            failures: self.failures,
            retry_in: match self.state {
                State::Waiting { until } | State::Absent { until } => Some(until.since(now)),
                _ => None,
            },
            tx_packets: self.tx,
            rx_packets: self.rx,
        }
    }
}
