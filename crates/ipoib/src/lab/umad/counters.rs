//! What a node's programs did with MADs, and what was lost to them.

use std::ops::AddAssign;

use ib_lab::AgentCounters;

use crate::control::schema::CounterRow;

/// Counters of programs, with those that have ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProgramCounters {
    /// What their agents saw.
    pub(super) agents: AgentCounters,
    /// MADs that could not be sent: the agent is unknown or waits for too much, or the port cannot.
    pub(super) unsent: u64,
    /// MADs that came while too many waited to be read.
    pub(super) unread: u64,
}

impl AddAssign for ProgramCounters {
    fn add_assign(&mut self, other: Self) {
        let Self { agents, unsent, unread } = other;
        self.agents += agents;
        self.unsent += unsent;
        self.unread += unread;
    }
}

impl ProgramCounters {
    /// As `show counters` has them.
    pub(super) fn row(self, node: &str) -> CounterRow {
        let AgentCounters { sent, received, resent, timed_out, unexpected, broken } = self.agents;
        let named = |list: &[(&str, u64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        CounterRow {
            node: node.to_owned(),
            part: "programs".to_owned(),
            counters: named(&[
                ("mads_sent", sent),
                ("mads_received", received),
                ("mads_resent", resent),
                ("requests_timed_out", timed_out),
            ]),
            drops: named(&[
                ("unexpected_answer", unexpected),
                ("broken_message", broken),
                ("not_sent", self.unsent),
                ("not_read", self.unread),
            ]),
        }
    }
}
