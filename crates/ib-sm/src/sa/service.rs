//! Service records: who offers what, as long as its lease runs. IBA 1 §15.2.5.14.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use ib_wire::{
    addr::{Gid, PKey},
    mad::{Method, Status, attr::ServiceRecord},
    time::Instant,
};

use super::{
    answer::{Outcome, Records},
    config::Limits,
    counters::Events,
    mask::matches,
    request::{Request, holds},
    timers::Timers,
};
use crate::subnet::PortId;

/// Service identifier, GID, partition: what tells services apart.
type Key = (u64, Gid, PKey);

const SERVICE_ID: u64 = 1 << 0;
const GID: u64 = 1 << 1;
const P_KEY: u64 = 1 << 2;
const LEASE: u64 = 1 << 4;
const KEY: u64 = 1 << 5;
const FOR_EVER: u32 = u32::MAX;

/// All services.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    list: BTreeMap<Key, Service>,
    by_port: BTreeMap<PortId, BTreeSet<Key>>,
    leases: Timers<Key>,
}

/// A service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// As registered; the lease as it was then.
    pub(super) record: ServiceRecord,
    port: PortId,
    ends: Option<Instant>,
}

impl Services {
    /// Answers every method.
    pub(super) fn handle(&mut self, limits: &Limits, events: &mut Events, request: &Request<'_>) -> Outcome {
        match request.mad.header.method {
            Method::GET | Method::GET_TABLE => self.query(limits, request),
            Method::SET => self.register(limits, events, request),
            Method::DELETE => self.unregister(request),
            _ => Err(Status::BAD_METHOD_ATTRIBUTE),
        }
    }

    /// Drops the services of a port that left.
    pub(super) fn remove_port(&mut self, port: PortId) {
        for key in self.by_port.remove(&port).unwrap_or_default() {
            self.list.remove(&key);
            self.leases.set(key, None);
        }
    }

    /// Drops the services whose lease ran out; how many.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while let Some(key) = self.leases.pop_due(now) {
            self.remove(key);
            expired += 1;
        }
        expired
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.leases.next()
    }

    /// The services in order of their identifiers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Service> {
        self.list.values()
    }

    fn register(&mut self, limits: &Limits, events: &mut Events, request: &Request<'_>) -> Outcome {
        if !request.has(SERVICE_ID | GID) {
            return Err(Status::SA_INVALID);
        }
        let mut record: ServiceRecord = request.record();
        let port = request.subnet.end_port_by_gid(record.gid).ok_or(Status::SA_INVALID)?;
        if !request.has(P_KEY) {
            record.pkey = PKey::INVALID;
        }
        let in_partition = |port| holds(request.subnet, port, record.pkey);
        if record.pkey.is_valid() && !(in_partition(request.port) && in_partition(port)) {
            return Err(Status::SA_INVALID);
        }
        if !request.has(LEASE) {
            record.lease = FOR_EVER;
        }
        if !request.has(KEY) {
            record.key = [0; 16];
        }
        let key = key(&record);
        match self.list.get(&key) {
            Some(service) => service.check_key(request, &record)?,
            None if self.list.len() >= limits.services => {
                events.service_limit += 1;
                return Err(Status::SA_NO_RESOURCES);
            }
            None => (),
        }
        let lease = Duration::from_secs(record.lease.into());
        let ends = (record.lease != FOR_EVER).then(|| request.now + lease);
        self.leases.set(key, ends);
        self.by_port.entry(port).or_default().insert(key);
        self.list.insert(key, Service { record, port, ends });
        Ok(Records::one(&shown(record, request)))
    }

    fn unregister(&mut self, request: &Request<'_>) -> Outcome {
        if !request.has(SERVICE_ID | GID) {
            return Err(Status::SA_INVALID);
        }
        let mut record: ServiceRecord = request.record();
        if !request.has(P_KEY) {
            record.pkey = PKey::INVALID;
        }
        let key = key(&record);
        let service = self.list.get(&key).ok_or(Status::SA_NO_RECORDS)?;
        service.check_key(request, &record)?;
        let record = service.record;
        self.remove(key);
        Ok(Records::one(&shown(record, request)))
    }

    fn query(&self, limits: &Limits, request: &Request<'_>) -> Outcome {
        let mut records = Records::up_to(limits.table_bytes);
        let mask = request.mad.component_mask;
        for service in self.list.values() {
            let mut record = service.record;
            if record.pkey.is_valid() && !request.holds(record.pkey) {
                continue;
            }
            let left = service.ends.map(|ends| ends.since(request.now).as_secs());
            record.lease = left.map_or(FOR_EVER, |left| u32::try_from(left).unwrap_or(FOR_EVER));
            if matches::<ServiceRecord>(mask, &request.mad.data, &record.to_bytes()) {
                records.add(&shown(record, request), |_| true)?;
            }
        }
        Ok(records)
    }

    fn remove(&mut self, key: Key) {
        let Some(service) = self.list.remove(&key) else { return };
        self.leases.set(key, None);
        if let Some(keys) = self.by_port.get_mut(&service.port) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_port.remove(&service.port);
            }
        }
    }
}

impl Service {
    /// A service registered with a key is changed with that key only, or by the trusted.
    fn check_key(&self, request: &Request<'_>, record: &ServiceRecord) -> Result<(), Status> {
        let free = self.record.key == [0; 16] || request.trusted;
        let same = request.has(KEY) && record.key == self.record.key;
        if free || same { Ok(()) } else { Err(Status::SA_DENIED) }
    }
}

const fn key(record: &ServiceRecord) -> Key {
    (record.service_id, record.gid, record.pkey)
}

/// Keys are shown to the trusted only.
fn shown(record: ServiceRecord, request: &Request<'_>) -> ServiceRecord {
    if request.trusted { record } else { ServiceRecord { key: [0; 16], ..record } }
}
