//! What was asked and answered, and what was not.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::mad::{Method, Status, sa::RecordId};
use serde::Serialize;

/// Counters of the administration since it was made.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// By attribute, method and status of the answer; what has no name counts under number 0.
    answered: BTreeMap<(u16, u8, u16), u64>,
    /// What was not answered, and what was refused because a limit was reached.
    pub events: Events,
}

/// Things that happened, each with its count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Requests while another manager is in charge.
    pub not_master: u64,
    /// Requests with a wrong SM_Key.
    pub bad_sm_key: u64,
    /// Requests from a LID that no port has.
    pub unknown_requester: u64,
    /// Requests asked again while the answer was on its way.
    pub asked_again: u64,
    /// Answers to nothing that we asked.
    pub stray_response: u64,
    /// RMPP packets of no transfer.
    pub stray_rmpp: u64,
    /// Requests of more than one segment, which no request of ours needs.
    pub long_request: u64,
    /// Tables that did not arrive whole.
    pub failed_transfers: u64,
    /// Tables refused: too many or too large.
    pub transfer_limit: u64,
    /// Groups refused: too many.
    pub group_limit: u64,
    /// Groups refused: no multicast LID is free.
    pub mlid_limit: u64,
    /// Joins refused: too many members.
    pub member_limit: u64,
    /// Subscriptions refused: too many.
    pub subscription_limit: u64,
    /// Services refused: too many.
    pub service_limit: u64,
    /// Reports sent, first tries only.
    pub reports: u64,
    /// Reports dropped: too many wait.
    pub report_limit: u64,
    /// Reports never answered.
    pub unanswered_reports: u64,
    /// Subscribers that ceased to answer.
    pub dead_subscribers: u64,
    /// Requests dropped: too many wait for a slow answer.
    pub waiting_limit: u64,
    /// Services whose lease ran out.
    pub expired_services: u64,
}

/// How often one kind of request was answered in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// Attribute, by name.
    pub attribute: String,
    /// Method, by name.
    pub method: String,
    /// Status of the answer.
    pub status: u16,
    /// How often.
    pub count: u64,
}

impl Counters {
    pub(super) fn answered(&mut self, attribute: RecordId, method: Method, status: Status) {
        let attribute = if attribute.name().is_some() { attribute.0 } else { 0 };
        let method = if method.name().is_some() { method.0 } else { 0 };
        *self.answered.entry((attribute, method, status.0)).or_default() += 1;
    }

    /// How often requests of a kind were answered with a status.
    pub fn count(&self, attribute: RecordId, method: Method, status: Status) -> u64 {
        self.answered.get(&(attribute.0, method.0, status.0)).copied().unwrap_or(0)
    }

    /// All counts of answers, for people.
    pub fn table(&self) -> Vec<Answered> {
        let row = |(&(attribute, method, status), &count): (&(u16, u8, u16), &u64)| Answered {
            attribute: RecordId(attribute).to_string(),
            method: Method(method).to_string(),
            status,
            count,
        };
        self.answered.iter().map(row).collect()
    }
}
