//! The administration at a glance, for `show` and for tests.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::addr::Guid;
use serde::Serialize;

use super::{Administration, Answered, Events, Manner, member::Group};

/// State of the administration. Addresses and keys are text as they are shown everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// It answers.
    pub is_master: bool,
    /// Multicast groups by MGID.
    pub groups: Vec<GroupView>,
    /// Subscriptions in the order they came.
    pub subscriptions: Vec<SubscriptionView>,
    /// Services by identifier.
    pub services: Vec<ServiceView>,
    /// Tables on their way.
    pub transfers: usize,
    /// Reports without answer.
    pub reports: usize,
    /// How it answers.
    pub manner: Manner,
    /// Requests that wait for a slow answer.
    pub waiting: usize,
    /// Answers by attribute, method and status.
    pub answered: Vec<Answered>,
    /// What else happened.
    pub events: Events,
}

/// A multicast group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// The group.
    pub mgid: String,
    /// Its LID.
    pub mlid: String,
    /// Its partition.
    pub pkey: String,
    /// Key of its traffic.
    pub qkey: String,
    /// Largest payload in bytes.
    pub mtu: Option<u16>,
    /// Rate.
    pub rate: String,
    /// Service level.
    pub sl: u8,
    /// Scope nibble.
    pub scope: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Stays without members.
    pub well_known: bool,
    /// Who belongs to it.
    pub members: Vec<MemberView>,
}

/// A port in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// The port.
    pub guid: String,
    /// Its GID as it named itself.
    pub gid: String,
    /// Join state bits: 1 full, 2 non-member, 4 sends only, 8 sends only and keeps the group.
    pub join_state: u8,
    /// Somebody else joined for it.
    pub proxy: bool,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubscriptionView {
    /// The subscriber.
    pub gid: String,
    /// Its LID.
    pub lid: u16,
    /// Its queue pair.
    pub qpn: u32,
    /// Which event; none for all.
    pub trap: Option<u16>,
    /// Events about this GID only.
    pub about: Option<String>,
    /// Reports in a row that were not answered.
    pub unanswered: u8,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceView {
    /// Which.
    pub id: String,
    /// Where.
    pub gid: String,
    /// Name.
    pub name: String,
    /// Seconds granted; none for ever.
    pub lease: Option<u32>,
}

impl Snapshot {
    pub(super) fn of(sa: &Administration) -> Self {
        Self {
            is_master: sa.is_master,
            groups: sa.groups.iter().map(GroupView::of).collect(),
            subscriptions: sa.subscriptions.iter().map(SubscriptionView::of).collect(),
            services: sa.services.iter().map(ServiceView::of).collect(),
            transfers: sa.transfers.len(),
            reports: sa.reports.len(),
            manner: sa.manner,
            waiting: sa.waiting.len(),
            answered: sa.counters.table(),
            events: sa.counters.events,
        }
    }
}

impl GroupView {
    fn of(group: &Group) -> Self {
        let p = &group.parameters;
        let member = |(guid, m): (&Guid, &super::member::Member)| MemberView {
            guid: guid.to_string(),
            gid: m.gid.to_string(),
            join_state: m.join_state.0,
            proxy: m.proxy,
        };
        Self {
            mgid: p.mgid.to_string(),
            mlid: group.mlid.to_string(),
            pkey: p.pkey.to_string(),
            qkey: p.qkey.to_string(),
            mtu: p.mtu.bytes(),
            rate: p.rate.to_string(),
            sl: p.sl.get(),
            scope: p.mgid.scope().0,
            traffic_class: p.traffic_class,
            flow_label: p.flow_label,
            hop_limit: p.hop_limit,
            well_known: group.well_known,
            members: group.members.iter().map(member).collect(),
        }
    }
}

impl SubscriptionView {
    fn of(s: &super::inform::Subscription) -> Self {
        Self {
            gid: s.gid.to_string(),
            lid: s.to.lid.0,
            qpn: s.to.qpn.get(),
            trap: Some(s.info.trap.0).filter(|trap| *trap != 0xffff),
            about: (s.info.gid != ib_wire::addr::Gid::ZERO).then(|| s.info.gid.to_string()),
            unanswered: s.unanswered,
        }
    }
}

impl ServiceView {
    fn of(service: &super::service::Service) -> Self {
        let record = &service.record;
        let end = record.name.iter().position(|b| *b == 0).unwrap_or(record.name.len());
        Self {
            id: format!("{:#018x}", record.service_id),
            gid: record.gid.to_string(),
            name: String::from_utf8_lossy(&record.name[..end]).into_owned(),
            lease: Some(record.lease).filter(|lease| *lease != u32::MAX),
        }
    }
}
