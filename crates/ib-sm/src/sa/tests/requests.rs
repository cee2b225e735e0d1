use core::time::Duration;

use ib_wire::mad::sa::{RmppFlags, RmppStatus};

use super::*;
use crate::sa::{Limits, Manner};

#[test]
fn a_manager_that_is_not_master_keeps_silent() {
    let mut s = Script::new(2);
    s.sa.set_master(s.now, &s.subnet, false);
    let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    s.hand_in(2, &mad);
    assert!(s.sent.is_empty());
    assert_eq!(s.sa.counters().events.not_master, 1);
    assert!(s.sa.snapshot().groups.is_empty());
}

#[test]
fn class_port_info_says_that_senders_may_keep_groups() {
    let mut s = Script::new(2);
    let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    let answer = s.ask_mad(2, mad);
    assert_eq!((answer.header.method, answer.header.status), (Method::GET_RESP, Status::OK));
    let (info, _) = ClassPortInfo::parse(&answer.data).unwrap();
    assert_ne!(info.capability_mask2 & 1 << 12, 0);
    assert_eq!((info.class_version, info.response_time), (2, Timeout(16)));
}

#[test]
fn what_cannot_be_understood_is_answered_with_why() {
    let mut s = Script::new(2);
    let cases = [
        (Method(0x55), RecordId::NODE, 2, Status::BAD_METHOD),
        (Method::SET, RecordId::NODE, 2, Status::BAD_METHOD_ATTRIBUTE),
        (Method::GET, RecordId(0x7777), 2, Status::BAD_METHOD_ATTRIBUTE),
        (Method::GET_MULTI, RecordId::MULTI_PATH, 2, Status::BAD_METHOD_ATTRIBUTE),
        (Method::DELETE, RecordId::PATH, 2, Status::BAD_METHOD_ATTRIBUTE),
        (Method::GET, RecordId::INFORM_INFO, 2, Status::BAD_METHOD_ATTRIBUTE),
        (Method::GET, RecordId::NODE, 1, Status::BAD_VERSION),
    ];
    for (method, id, version, status) in cases {
        let mut mad = s.request(method, id, 0, &[]);
        mad.header.class_version = version;
        let answer = s.ask_mad(2, mad);
        assert_eq!(answer.header.status, status, "{method} {id}");
        let shown = if method == Method::SET { Method::GET } else { method };
        assert_eq!(answer.header.method, Method(shown.0 | 0x80));
        assert_eq!(
            s.sa.counters().count(id, method, status),
            u64::from(id.name().is_some() && method.name().is_some())
        );
    }
}

#[test]
fn wrong_keys_and_strangers_get_no_answer() {
    let mut s = Script::new(2);
    let mut mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    mad.sm_key = 5;
    s.hand_in(2, &mad);
    mad.sm_key = 0;
    s.hand_in(77, &mad);
    let stray = SaMad { header: MadHeader { method: Method::GET_RESP, ..mad.header }, ..mad };
    s.hand_in(2, &stray);
    assert!(s.sent.is_empty());
    let events = s.sa.counters().events;
    assert_eq!((events.bad_sm_key, events.unknown_requester, events.stray_response), (1, 1, 1));
}

#[test]
fn a_table_asked_for_again_is_not_sent_twice() {
    let mut s = Script::new(3);
    let mad = s.request(Method::GET_TABLE, RecordId::NODE, 0, &[]);
    s.hand_in(2, &mad);
    s.hand_in(2, &mad);
    assert_eq!(s.sent.len(), 1, "the first segment");
    assert_eq!(s.sa.counters().events.asked_again, 1);
    s.run_until(NOW + Duration::from_secs(60));
    let events = s.sa.counters().events;
    assert_eq!((s.sa.snapshot().transfers, events.failed_transfers), (0, 1));
    assert_eq!(s.sent.len(), 1 + 7 + 1, "seven more tries and an abort");
    assert_eq!(s.sent[8].1.rmpp.status, RmppStatus::TOO_MANY_RETRIES);
}

#[test]
fn tables_on_their_way_are_bounded() {
    let limits = Limits { transfers: 2, table_bytes: 400, ..Limits::default() };
    let mut s = Script::with(8, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    assert_eq!(s.table::<NodeRecord>(2, 0, 0, &[]), Err(Status::SA_NO_RESOURCES));
    for _ in 0..2 {
        let mad = s.request(Method::GET_TABLE, RecordId::SWITCH_INFO, 0, &[]);
        s.hand_in(2, &mad);
    }
    s.sent.clear();
    assert_eq!(s.table::<SwitchInfoRecord>(2, 0, 0, &[]), Err(Status::SA_NO_RESOURCES));
    assert_eq!(s.sa.counters().events.transfer_limit, 2);
}

#[test]
fn a_request_in_one_segment_is_a_request_and_a_longer_one_is_refused() {
    let mut s = Script::new(3);
    let mut mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    let flags = RmppFlags(7);
    mad.rmpp =
        RmppHeader { version: 1, kind: RmppType::DATA, flags, data1: 1, data2: 220, ..RmppHeader::NONE };
    assert_eq!(s.ask_mad(2, mad).header.status, Status::OK);
    mad.rmpp.flags = RmppFlags(3);
    s.hand_in(2, &mad);
    assert_eq!(s.sent.pop().unwrap().1.rmpp.kind, RmppType::STOP);
    mad.rmpp.kind = RmppType::ACK;
    s.hand_in(2, &mad);
    assert!(s.sent.is_empty());
    assert_eq!(s.sa.counters().events.stray_rmpp, 1);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 256),
        method in proptest::sample::select(vec![1u8, 2, 0x12, 0x15, 0x86]),
        id in proptest::sample::select(vec![0u8, 1, 2, 3, 0x11, 0x12, 0x14, 0x15, 0x17, 0x18, 0x20, 0x30, 0x31, 0x33, 0x35, 0x38]),
        trusted: bool,
    ) {
        let mut s = Script::new(4);
        bytes[..4].copy_from_slice(&[1, 3, 2, method]);
        bytes[16..18].copy_from_slice(&[0, id]);
        bytes[36..44].copy_from_slice(&u64::from(trusted).to_be_bytes());
        bytes[24] = 0;
        let mad = SaMad::from_bytes(&bytes.try_into().unwrap());
        s.hand_in(2, &mad);
        s.run_until(NOW + Duration::from_secs(1000));
    }
}

#[test]
fn a_busy_administration_says_so_and_does_nothing() {
    let mut s = Script::new(3);
    s.sa.set_manner(Manner::Busy);
    let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    assert_eq!(s.ask_mad(2, mad).header.status, Status::BUSY);
    assert_eq!(s.sa.counters().count(RecordId::CLASS_PORT_INFO, Method::GET, Status::BUSY), 1);
    let groups = s.sa.snapshot().groups;
    let mad = s.request(Method::SET, RecordId::MC_MEMBER, !0, &[0xff; 60]);
    assert_eq!(s.ask_mad(2, mad).header.status, Status::BUSY);
    assert_eq!(s.sa.snapshot().groups, groups);
    s.sa.set_manner(Manner::Prompt);
    let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    assert_eq!(s.ask_mad(2, mad).header.status, Status::OK);
}

#[test]
fn an_administration_without_records_still_serves_who_joins() {
    let mut s = Script::new(3);
    s.sa.set_manner(Manner::NoRecords);
    let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
    assert_eq!(s.ask_mad(2, mad).header.status, Status::SA_NO_RECORDS);
    let mad = s.request(Method::SET, RecordId::MC_MEMBER, 0, &[]);
    assert_eq!(s.ask_mad(2, mad).header.status, Status::SA_INSUFFICIENT_COMPONENTS);
}

#[test]
fn a_slow_administration_answers_later_in_order_and_holds_only_so_many() {
    let limits = Limits { waiting: 3, ..Limits::default() };
    let mut s = Script::with(3, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    s.sa.set_manner(Manner::Slow(Duration::from_secs(5)));
    for host in 1..=2 {
        let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
        s.hand_in(host, &mad);
    }
    s.sa.set_manner(Manner::Slow(Duration::from_secs(1)));
    for _ in 0..2 {
        let mad = s.request(Method::GET, RecordId::CLASS_PORT_INFO, 0, &[]);
        s.hand_in(3, &mad);
    }
    assert_eq!((s.sa.snapshot().waiting, s.sa.counters().events.waiting_limit), (3, 1));
    s.run_until(NOW + Duration::from_millis(4999));
    assert!(s.sent.is_empty());
    s.run_until(NOW + Duration::from_secs(5));
    let answered: Vec<u16> = s.sent.iter().map(|(to, _)| to.lid.0).collect();
    assert_eq!(answered, [1, 2, 3]);
    assert!(s.sent.iter().all(|(_, mad)| mad.header.status == Status::OK));
}
