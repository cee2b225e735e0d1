use core::time::Duration;

use super::*;
use crate::sa::Limits;

const ID_GID: u64 = 0b11;
const P_KEY: u64 = 1 << 2;
const LEASE: u64 = 1 << 4;
const KEY: u64 = 1 << 5;
const NAME: u64 = 1 << 6;

fn service(id: u64, host: u16) -> ServiceRecord {
    let mut record = ServiceRecord::from_bytes(&[0; 176]);
    record.service_id = id;
    record.gid = gid(host);
    record.pkey = PKey::DEFAULT_FULL;
    record.lease = 10;
    record.key = [7; 16];
    record.name[..4].copy_from_slice(b"dhcp");
    record
}

impl Script {
    fn serve(&mut self, host: u16, bits: u64, record: &ServiceRecord) -> Result<ServiceRecord, Status> {
        self.ask(host, Method::SET, bits, &record.to_bytes())
    }

    fn services(&mut self, bits: u64, record: &ServiceRecord) -> Vec<ServiceRecord> {
        self.table(3, 0, bits, &record.to_bytes()).unwrap()
    }
}

#[test]
fn services_are_found_by_name_until_their_lease_ends() {
    let mut s = Script::new(3);
    s.serve(2, ID_GID | LEASE | NAME, &service(1, 2)).unwrap();
    s.serve(2, ID_GID | NAME, &service(2, 2)).unwrap();
    s.run_until(NOW + Duration::from_secs(4));
    let found = s.services(NAME, &service(0, 0));
    assert_eq!(found.iter().map(|r| (r.service_id, r.lease)).collect::<Vec<_>>(), [(1, 6), (2, u32::MAX)]);
    s.run_until(NOW + Duration::from_secs(10));
    assert_eq!(s.services(NAME, &service(0, 0)).len(), 1);
    assert_eq!(s.sa.counters().events.expired_services, 1);
}

#[test]
fn a_lease_is_renewed_by_registering_again() {
    let mut s = Script::new(3);
    s.serve(2, ID_GID | LEASE, &service(1, 2)).unwrap();
    s.run_until(NOW + Duration::from_secs(8));
    s.serve(2, ID_GID | LEASE, &service(1, 2)).unwrap();
    s.run_until(NOW + Duration::from_secs(17));
    assert_eq!(s.services(0, &service(0, 0)).len(), 1);
    s.run_until(NOW + Duration::from_secs(18));
    assert_eq!(s.services(0, &service(0, 0)).len(), 0);
}

#[test]
fn what_was_registered_with_a_key_is_changed_with_it() {
    let mut s = Script::new(3);
    s.serve(2, ID_GID | KEY, &service(1, 2)).unwrap();
    assert_eq!(s.services(0, &service(0, 0))[0].key, [0; 16], "keys are hidden");
    let wrong = ServiceRecord { key: [8; 16], ..service(1, 2) };
    assert_eq!(s.serve(2, ID_GID | KEY, &wrong), Err(Status::SA_DENIED));
    assert_eq!(s.serve(2, ID_GID, &wrong), Err(Status::SA_DENIED));
    let delete = |s: &mut Script, bits, record: &ServiceRecord| -> Result<ServiceRecord, Status> {
        s.ask(2, Method::DELETE, bits, &record.to_bytes())
    };
    assert_eq!(delete(&mut s, ID_GID | KEY, &wrong), Err(Status::SA_DENIED));
    assert!(delete(&mut s, ID_GID | KEY, &service(1, 2)).is_ok());
    assert_eq!(delete(&mut s, ID_GID | KEY, &service(1, 2)), Err(Status::SA_NO_RECORDS));
    s.serve(2, ID_GID | KEY, &service(1, 2)).unwrap();
    let trusted: Result<ServiceRecord, _> =
        s.ask_trusted(3, Method::DELETE, ID_GID, &service(1, 2).to_bytes());
    assert!(trusted.is_ok());
}

#[test]
fn requests_need_identifier_port_and_partition() {
    let mut s = Script::new(3);
    assert_eq!(s.serve(2, 0b01, &service(1, 2)), Err(Status::SA_INVALID));
    assert_eq!(s.serve(2, ID_GID, &service(1, 99)), Err(Status::SA_INVALID));
    let foreign = ServiceRecord { pkey: PKey(0x8010), ..service(1, 2) };
    assert_eq!(s.serve(2, ID_GID | P_KEY, &foreign), Err(Status::SA_INVALID));
    assert!(s.serve(2, ID_GID, &foreign).is_ok(), "a key that is not masked does not count");
}

#[test]
fn services_leave_with_their_port_and_are_bounded() {
    let limits = Limits { services: 2, ..Limits::default() };
    let mut s = Script::with(3, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    s.serve(2, ID_GID | LEASE, &service(1, 2)).unwrap();
    s.serve(2, ID_GID | P_KEY, &service(2, 2)).unwrap();
    assert_eq!(s.serve(2, ID_GID, &service(3, 2)), Err(Status::SA_NO_RESOURCES));
    assert_eq!(s.sa.counters().events.service_limit, 1);
    s.vanish(2);
    assert!(s.sa.snapshot().services.is_empty());
    assert_eq!(s.sa.poll_timeout(), None);
}
