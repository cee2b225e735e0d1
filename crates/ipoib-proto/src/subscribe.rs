//! Subscriptions: to be told when ports and groups come and go. RFC 4391 §10, IBA 1 §13.4.11.

use ib_wire::{
    addr::{Gid, Lid, Qpn, Timeout},
    mad::{
        Method,
        attr::{InformInfo, ProducerType, TrapNumber},
        sa::RecordId,
    },
};

use crate::{
    Config,
    chance::backoff,
    context::Context,
    sa::{Answer, Question, SaClient, Subject},
    timer::Timer,
};

/// What was subscribed to, and what is still to be.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    missing: alloc::vec::Vec<TrapNumber>,
    failures: u32,
}

impl Subscriptions {
    /// Subscribes to everything that is configured, at a moment within the spread.
    pub(crate) fn start(&mut self, cx: &mut Context) {
        self.missing = wanted(&cx.config).collect();
        self.failures = 0;
        if !self.missing.is_empty() {
            cx.timers.set(Timer::Subscribe, cx.now + cx.chance.up_to(cx.config.reregister_spread));
        }
    }

    /// Wants nothing any more.
    pub(crate) fn stop(&mut self, cx: &mut Context) {
        self.missing.clear();
        cx.timers.cancel(Timer::Subscribe);
    }

    /// The time of `Timer::Subscribe` has come.
    pub(crate) fn handle_timeout(&self, cx: &mut Context, sa: &mut SaClient) {
        for trap in &self.missing {
            let inform = InformInfo {
                gid: Gid::ZERO,
                lid_range_begin: Lid::PERMISSIVE,
                lid_range_end: Lid::NONE,
                is_generic: 1,
                subscribe: 1,
                kind: ALL_KINDS,
                trap: *trap,
                qpn: Qpn::GSI,
                response_time: RESPONSE_TIME,
                producer: ProducerType::CLASS_MANAGER,
            };
            let question = Question::new(Method::SET, RecordId::INFORM_INFO, 0, &inform.to_bytes());
            sa.ask(cx, Subject::Subscribe(*trap), &question);
        }
    }

    /// The answer to one of them.
    pub(crate) fn handle_answer(&mut self, cx: &mut Context, trap: TrapNumber, answer: &Answer) {
        if answer.is_ok() {
            self.missing.retain(|other| *other != trap);
        } else if self.missing.contains(&trap) {
            self.failures = self.failures.saturating_add(1);
            let wait = backoff(cx.config.join_backoff, LONGEST, self.failures);
            let at = cx.now + cx.chance.jitter(wait);
            cx.timers.advance(Timer::Subscribe, at);
        }
    }
}

fn wanted(config: &Config) -> impl Iterator<Item = TrapNumber> {
    let groups = config.subscribe_groups.then_some([TrapNumber::GROUP_CREATED, TrapNumber::GROUP_DELETED]);
    let ports =
        config.subscribe_ports.then_some([TrapNumber::GID_IN_SERVICE, TrapNumber::GID_OUT_OF_SERVICE]);
    groups.into_iter().chain(ports).flatten()
}

/// In a subscription: events of every gravity.
const ALL_KINDS: u16 = 0xffff;
/// Time within which reports are answered: 4.3 s, more than a driver ever needs.
const RESPONSE_TIME: Timeout = Timeout(20);
/// An SA that refuses subscriptions is not asked often.
const LONGEST: core::time::Duration = core::time::Duration::from_secs(300);
