use core::time::Duration;

use ib_wire::mad::sa::mc_member_mask as mask;

use super::*;
use crate::sa::Limits;

const GROUP: &str = "ff15:1234::1";

fn every(trap: TrapNumber) -> InformInfo {
    InformInfo {
        gid: Gid::ZERO,
        lid_range_begin: Lid(0xffff),
        lid_range_end: Lid(0xffff),
        is_generic: 1,
        subscribe: 1,
        kind: 0xffff,
        trap,
        qpn: Qpn::GSI,
        response_time: Timeout(18),
        producer: ProducerType::ALL,
    }
}

impl Script {
    fn inform(&mut self, host: u16, info: &InformInfo) -> Result<InformInfo, Status> {
        let mad = self.request(Method::SET, RecordId::INFORM_INFO, 0, &info.to_bytes());
        let answer = self.ask_mad(host, mad);
        let (info, _) = InformInfo::parse(&answer.data).unwrap();
        if answer.header.status == Status::OK {
            assert_eq!((answer.header.method, answer.attribute_offset), (Method::GET_RESP, 5));
            return Ok(info);
        }
        assert_eq!(info.subscribe, 0, "a refusal says so in the attribute, too");
        Err(answer.header.status)
    }

    fn create(&mut self, host: u16, group: &str) {
        let mut record = McMemberRecord::from_bytes(&[0; 52]);
        record.mgid = mgid(group);
        record.port_gid = gid(host);
        record.pkey = PKey::DEFAULT_FULL;
        record.join_state = JoinState::FULL;
        let bits =
            mask::MGID | mask::PORT_GID | mask::JOIN_STATE | mask::Q_KEY | mask::TRAFFIC_CLASS | mask::P_KEY;
        let joined: Result<McMemberRecord, _> =
            self.ask(host, Method::SET, bits | mask::FLOW_LABEL | mask::SL, &record.to_bytes());
        joined.unwrap();
    }

    /// Reports since the last call: to whom, which trap, about what.
    fn reports(&mut self) -> Vec<(u16, u16, Gid)> {
        let (reports, rest) =
            core::mem::take(&mut self.sent).into_iter().partition(|(_, m)| m.header.method == Method::REPORT);
        self.sent = rest;
        let reports: Vec<(MadAddress, SaMad)> = reports;
        let show = |(to, mad): &(MadAddress, SaMad)| {
            let (notice, _) = Notice::parse(&mad.data).unwrap();
            assert_eq!((mad.header.attribute, mad.header.class_version), (AttributeId::NOTICE, 2));
            (to.lid.0, notice.trap.0, notice.gid())
        };
        reports.iter().map(show).collect()
    }

    fn acknowledge(&mut self, host: u16, tid: u64) {
        let mut mad = self.request(Method::REPORT_RESP, RecordId::NOTICE, 0, &[]);
        mad.header.tid = Tid(0xabcd_0000_0000_0000 | tid);
        self.hand_in(host, &mad);
    }

    fn trap(&mut self, trap: TrapNumber, issuer: u16) {
        let mut notice = Notice::about_gid(trap, Gid::ZERO, Lid(issuer), Gid::ZERO);
        notice.kind = NoticeType::URGENT;
        notice.producer = ProducerType::SWITCH;
        self.sa.handle_notice(self.now, &self.subnet, &notice);
        self.collect();
    }
}

#[test]
fn groups_that_come_and_go_are_reported() {
    let mut s = Script::new(4);
    s.inform(2, &every(TrapNumber::GROUP_CREATED)).unwrap();
    s.inform(2, &every(TrapNumber::GROUP_DELETED)).unwrap();
    s.inform(3, &every(TrapNumber::ALL)).unwrap();
    s.create(4, GROUP);
    assert_eq!(s.reports(), [(2, 66, mgid(GROUP)), (3, 66, mgid(GROUP))]);
    s.vanish(4);
    assert_eq!(s.reports(), [(3, 65, gid(4)), (2, 67, mgid(GROUP)), (3, 67, mgid(GROUP))]);
}

#[test]
fn ports_that_come_and_go_are_reported_and_traps_forwarded() {
    let mut s = Script::new(4);
    s.inform(2, &every(TrapNumber::GID_IN_SERVICE)).unwrap();
    s.inform(2, &every(TrapNumber::LINK_STATE)).unwrap();
    let port = s.port(3);
    s.sa.handle_port_change(s.now, &s.subnet, PortChange::Appeared(port));
    s.collect();
    assert_eq!(s.reports(), [(2, 64, gid(3))]);
    s.trap(TrapNumber::LINK_STATE, SWITCH_LID);
    let reports: Vec<_> =
        s.sent.iter().map(|(_, m)| Notice::parse(&m.data).unwrap().0.issuer_gid.guid()).collect();
    assert_eq!(reports, [Guid(0x5000)], "who sent the trap is told");
    s.sent.clear();
    s.trap(TrapNumber::CAPABILITY_CHANGE, 3);
    assert_eq!(s.reports(), []);
}

#[test]
fn a_subscription_chooses_by_kind_producer_port_and_range() {
    let mut s = Script::new(4);
    let base = every(TrapNumber::LINK_STATE);
    let switch = Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x5000));
    let cases = [
        (base, true),
        (InformInfo { kind: 1, ..base }, true),
        (InformInfo { kind: 3, ..base }, false),
        (InformInfo { producer: ProducerType::SWITCH, ..base }, true),
        (InformInfo { producer: ProducerType::CA, ..base }, false),
        (InformInfo { is_generic: 0, ..base }, false),
        (InformInfo { gid: switch, ..base }, true),
        (InformInfo { gid: gid(3), ..base }, false),
        (InformInfo { lid_range_begin: Lid(990), lid_range_end: Lid(1010), ..base }, true),
        (InformInfo { lid_range_begin: Lid(1000), lid_range_end: Lid(0), ..base }, true),
        (InformInfo { lid_range_begin: Lid(1), lid_range_end: Lid(9), ..base }, false),
    ];
    for (info, heard) in cases {
        s.inform(2, &info).unwrap();
        s.trap(TrapNumber::LINK_STATE, SWITCH_LID);
        assert_eq!(s.reports().len(), usize::from(heard), "{info:?}");
        s.inform(2, &InformInfo { subscribe: 0, ..info }).unwrap();
    }
}

#[test]
fn subscriptions_for_one_group_hear_of_that_one() {
    let mut s = Script::new(3);
    s.inform(2, &InformInfo { gid: mgid(GROUP), ..every(TrapNumber::GROUP_CREATED) }).unwrap();
    s.create(3, "ff15:1234::2");
    s.create(3, GROUP);
    assert_eq!(s.reports(), [(2, 66, mgid(GROUP))]);
}

#[test]
fn subscribing_twice_is_once_and_ending_what_is_not_there_is_refused() {
    let mut s = Script::new(3);
    let info = every(TrapNumber::ALL);
    s.inform(2, &info).unwrap();
    s.inform(2, &info).unwrap();
    assert_eq!(s.sa.snapshot().subscriptions.len(), 1);
    let end = InformInfo { subscribe: 0, ..info };
    assert_eq!(s.inform(3, &end), Err(Status::SA_INVALID), "somebody else's");
    assert_eq!(s.inform(2, &InformInfo { qpn: Qpn::new(5), ..end }), Err(Status::SA_INVALID));
    assert_eq!(s.inform(2, &InformInfo { qpn: Qpn::SMI, ..end }).unwrap().subscribe, 0);
    assert_eq!(s.inform(2, &end), Err(Status::SA_INVALID));
    assert_eq!(s.inform(2, &InformInfo { subscribe: 2, ..info }), Err(Status::SA_INVALID));
    assert_eq!(s.inform(2, &InformInfo { gid: gid(99), ..info }), Err(Status::SA_INVALID));
    let backwards = InformInfo { lid_range_begin: Lid(9), lid_range_end: Lid(3), ..info };
    assert_eq!(s.inform(2, &backwards), Err(Status::SA_INVALID));
}

#[test]
fn subscriptions_are_records() {
    let mut s = Script::new(3);
    s.inform(2, &every(TrapNumber::GROUP_CREATED)).unwrap();
    s.inform(3, &every(TrapNumber::GROUP_CREATED)).unwrap();
    let all: Vec<InformInfoRecord> = s.table(3, 0, 0, &[]).unwrap();
    assert_eq!(all.iter().map(|r| r.subscriber_gid).collect::<Vec<_>>(), [gid(2), gid(3)]);
    let one: InformInfoRecord = s.ask(3, Method::GET, 1, &gid(2).0).unwrap();
    assert_eq!(one.inform_info.qpn, Qpn::GSI);
}

#[test]
fn partitions_decide_who_hears() {
    let file = "Default=0x7fff:SELF=full;Blue=0x10,ipoib:0x102=full,0x103;Red=0x20,ipoib:0x104=full;";
    let mut s = Script::with(4, SaConfig::default(), Partitions::parse("p", file).unwrap());
    for host in 2..=4 {
        s.inform(host, &every(TrapNumber::ALL)).unwrap();
    }
    s.vanish(3);
    assert_eq!(s.reports(), [(2, 65, gid(3))], "host 4 may not talk with host 3");
    let chosen = InformInfo { gid: gid(4), ..every(TrapNumber::ALL) };
    assert_eq!(s.inform(2, &chosen), Err(Status::SA_INVALID));
}

#[test]
fn a_report_is_sent_until_it_is_answered() {
    let mut s = Script::new(4);
    s.inform(2, &every(TrapNumber::GROUP_CREATED)).unwrap();
    s.create(3, GROUP);
    let tid = s.sent[0].1.header.tid.0;
    assert_eq!(s.reports().len(), 1);
    s.run_until(NOW + Duration::from_millis(999));
    assert_eq!(s.reports().len(), 0);
    s.run_until(NOW + Duration::from_millis(1000));
    assert_eq!(s.reports().len(), 1);
    s.acknowledge(3, tid);
    assert_eq!(s.sa.counters().events.stray_response, 1, "not the one who was asked");
    s.acknowledge(2, tid);
    s.run_until(NOW + Duration::from_secs(60));
    assert_eq!((s.reports().len(), s.sa.poll_timeout()), (0, None));
}

#[test]
fn a_subscriber_that_never_answers_is_dropped() {
    let mut s = Script::new(4);
    s.inform(2, &every(TrapNumber::GROUP_CREATED)).unwrap();
    for n in 1..=3 {
        s.create(3, &alloc::format!("ff15:1234::{n}"));
        s.run_until(s.now + Duration::from_secs(10));
        assert_eq!(s.reports().len(), 4, "once, and three times more");
    }
    assert!(s.sa.snapshot().subscriptions.is_empty());
    let events = s.sa.counters().events;
    assert_eq!((events.unanswered_reports, events.dead_subscribers), (3, 1));
    s.create(3, "ff15:1234::9");
    assert_eq!(s.reports(), []);
}

#[test]
fn subscriptions_and_reports_are_bounded() {
    let limits = Limits { subscriptions: 2, reports: 1, ..Limits::default() };
    let mut s = Script::with(4, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    s.inform(2, &every(TrapNumber::ALL)).unwrap();
    s.inform(3, &every(TrapNumber::ALL)).unwrap();
    assert_eq!(s.inform(4, &every(TrapNumber::ALL)), Err(Status::SA_NO_RESOURCES));
    s.create(4, GROUP);
    assert_eq!(s.reports().len(), 1);
    let events = s.sa.counters().events;
    assert_eq!((events.subscription_limit, events.report_limit), (1, 1));
    s.vanish(2);
    assert_eq!(s.sa.snapshot().subscriptions.len(), 1);
}
