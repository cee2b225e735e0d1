//! Reports on their way to subscribers: each is answered, sent again, or given up. IBA 1 §13.4.9.

use alloc::collections::BTreeMap;

use ib_wire::{
    addr::Tid,
    mad::{
        AttributeId, MadHeader, Method, MgmtClass,
        attr::Notice,
        sa::{RmppHeader, SaMad},
    },
    time::Instant,
    ud::MadAddress,
};

use super::{config::SaConfig, timers::Timers};

/// Reports without answer.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: BTreeMap<u32, Waiting>,
    timers: Timers<u32>,
    next: u32,
}

#[derive(Debug)]
struct Waiting {
    subscription: u32,
    to: MadAddress,
    notice: Notice,
    retries_left: u8,
}

impl Reports {
    /// The first try. None if too many wait already.
    pub(super) fn send(
        &mut self,
        now: Instant,
        config: &SaConfig,
        subscription: u32,
        to: MadAddress,
        notice: Notice,
    ) -> Option<SaMad> {
        if self.waiting.len() >= config.limits.reports {
            return None;
        }
        loop {
            self.next = self.next.wrapping_add(1);
            if self.next != 0 && !self.waiting.contains_key(&self.next) {
                break;
            }
        }
        let tid = self.next;
        self.waiting.insert(tid, Waiting { subscription, to, notice, retries_left: config.report_retries });
        self.timers.set(tid, Some(now + config.report_resend));
        Some(report(tid, &notice))
    }

    /// A ReportResp: the subscription that lives, or none if nobody waited for it.
    pub(super) fn handle_answer(&mut self, from: MadAddress, tid: Tid) -> Option<u32> {
        let tid = number(tid);
        let subscription = self.waiting.get(&tid).filter(|w| w.to.lid == from.lid)?.subscription;
        self.waiting.remove(&tid);
        self.timers.set(tid, None);
        Some(subscription)
    }

    /// Sends again; subscriptions whose report was given up go to `given_up`.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        config: &SaConfig,
        mut out: impl FnMut(MadAddress, SaMad),
        mut given_up: impl FnMut(u32),
    ) {
        while let Some(tid) = self.timers.pop_due(now) {
            let Some(waiting) = self.waiting.get_mut(&tid) else { continue };
            if let Some(left) = waiting.retries_left.checked_sub(1) {
                waiting.retries_left = left;
                out(waiting.to, report(tid, &waiting.notice));
                self.timers.set(tid, Some(now + config.report_resend));
            } else {
                given_up(waiting.subscription);
                self.waiting.remove(&tid);
            }
        }
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Only the lower half of the identifier is ours.
fn number(tid: Tid) -> u32 {
    u32::try_from(tid.0 & 0xffff_ffff).expect("32 bits are left")
}

fn report(tid: u32, notice: &Notice) -> SaMad {
    let mut header = MadHeader::request(MgmtClass::SUBN_ADM, Method::REPORT, AttributeId::NOTICE, 0);
    header.tid = Tid(tid.into());
    let mut data = [0; SaMad::DATA_LEN];
    data[..Notice::LEN].copy_from_slice(&notice.to_bytes());
    SaMad { header, rmpp: RmppHeader::NONE, sm_key: 0, attribute_offset: 0, component_mask: 0, data }
}
