use ib_wire::mad::sa::{Selector, mc_member_mask as mask};
use proptest::prelude::*;

use super::*;
use crate::sa::Limits;

const JOIN: u64 = mask::MGID | mask::PORT_GID | mask::JOIN_STATE;
const CREATE: u64 = JOIN | mask::Q_KEY | mask::TRAFFIC_CLASS | mask::P_KEY | mask::FLOW_LABEL | mask::SL;
const BROADCAST: &str = "ff12:401b:ffff::ffff:ffff";
const GROUP: &str = "ff12:401b:ffff::1";
const OTHER: &str = "ff15:1234:5678::9";

fn ask(host: u16, group: &str, join_state: JoinState) -> McMemberRecord {
    McMemberRecord {
        mgid: mgid(group),
        port_gid: gid(host),
        qkey: QKey(0x0b1b),
        mlid: Lid::NONE,
        mtu_selector: Selector::Exactly.into(),
        mtu: Mtu::B2048,
        traffic_class: 0,
        pkey: PKey::DEFAULT_FULL,
        rate_selector: Selector::Exactly.into(),
        rate: Rate::GBPS_10,
        life_selector: 0,
        life: Timeout(0),
        sl: ServiceLevel::new(0),
        flow_label: 0,
        hop_limit: 0,
        scope: Scope(0),
        join_state,
        proxy_join: false,
    }
}

impl Script {
    fn join(
        &mut self,
        host: u16,
        group: &str,
        state: JoinState,
        bits: u64,
    ) -> Result<McMemberRecord, Status> {
        self.set(host, bits, &ask(host, group, state))
    }

    fn set(&mut self, host: u16, bits: u64, record: &McMemberRecord) -> Result<McMemberRecord, Status> {
        self.ask(host, Method::SET, bits, &record.to_bytes())
    }

    fn leave(&mut self, host: u16, group: &str, state: JoinState) -> Result<McMemberRecord, Status> {
        self.ask(host, Method::DELETE, JOIN, &ask(host, group, state).to_bytes())
    }

    fn group_count(&self) -> usize {
        self.sa.snapshot().groups.len()
    }
}

#[test]
fn joining_the_broadcast_group_tells_its_parameters() {
    let mut s = Script::new(4);
    // The mask of the Linux driver.
    let joined = s.join(2, BROADCAST, JoinState::FULL, 0x10083).unwrap();
    assert_eq!((joined.mlid, joined.qkey, joined.pkey), (Lid(0xc000), QKey(0x0b1b), PKey(0xffff)));
    let bytes = joined.to_bytes();
    assert_eq!((bytes[38], bytes[42], bytes[43]), (0x84, 0x83, 0x92), "each exactly that");
    assert_eq!((joined.rate_selector, joined.rate), (2, Rate(3)));
    assert_eq!((joined.scope, joined.join_state, joined.hop_limit), (Scope(2), JoinState(1), 0));
    let port = s.port(2);
    assert_eq!(s.groups, [(joined.mlid.multicast().unwrap(), vec![GroupMember { port, receives: true }])]);
}

#[test]
fn without_the_broadcast_group_there_is_no_link() {
    let none = Partitions::parse("p", "Default=0x7fff:ALL=full;").unwrap();
    let mut s = Script::with(3, SaConfig::default(), none.clone());
    assert_eq!(s.join(2, BROADCAST, JoinState::FULL, 0x10083), Err(Status::SA_INSUFFICIENT_COMPONENTS));
    assert_eq!(s.join(2, BROADCAST, JoinState::FULL, CREATE), Err(Status::SA_INVALID));
    assert_eq!(s.join(2, GROUP, JoinState::FULL, CREATE), Err(Status::SA_INVALID));
    let config = SaConfig { clients_create_broadcast: true, ..SaConfig::default() };
    let mut s = Script::with(3, config, none);
    assert!(s.join(2, BROADCAST, JoinState::FULL, CREATE).is_ok());
    let rate = s.join(2, BROADCAST, JoinState::FULL, JOIN).unwrap().rate;
    assert_eq!(s.join(2, GROUP, JoinState::FULL, CREATE).unwrap().rate, rate, "the port's, by both");
}

#[test]
fn a_full_member_creates_a_group_like_the_broadcast_group() {
    let mut s = Script::new(4);
    let linux = CREATE | mask::MTU | mask::MTU_SELECTOR | mask::RATE | mask::RATE_SELECTOR | mask::HOP_LIMIT;
    let joined = s.join(2, GROUP, JoinState::FULL, linux).unwrap();
    assert_eq!((joined.mlid, joined.mtu, joined.rate), (Lid(0xc001), Mtu::B2048, Rate(3)));
    assert_eq!(s.join(3, GROUP, JoinState::FULL, JOIN).unwrap().mlid, Lid(0xc001));
    assert_eq!(s.sa.snapshot().groups.len(), 2);
}

#[test]
fn components_that_are_missing_are_named_as_such() {
    let mut s = Script::new(3);
    for missing in [mask::MGID, mask::PORT_GID, mask::JOIN_STATE] {
        let got = s.join(2, BROADCAST, JoinState::FULL, CREATE & !missing);
        assert_eq!(got, Err(Status::SA_INSUFFICIENT_COMPONENTS), "join without {missing:#x}");
    }
    for missing in [mask::Q_KEY, mask::TRAFFIC_CLASS, mask::P_KEY, mask::FLOW_LABEL, mask::SL] {
        let got = s.join(2, GROUP, JoinState::FULL, CREATE & !missing);
        assert_eq!(got, Err(Status::SA_INSUFFICIENT_COMPONENTS), "create without {missing:#x}");
    }
    let got: Result<McMemberRecord, _> =
        s.ask(2, Method::DELETE, JOIN & !mask::PORT_GID, &ask(2, BROADCAST, JoinState::FULL).to_bytes());
    assert_eq!(got, Err(Status::SA_INSUFFICIENT_COMPONENTS));
    assert_eq!(s.group_count(), 1);
}

#[test]
fn only_who_keeps_a_group_alive_may_create_it() {
    let mut s = Script::new(3);
    for state in [0, 2, 4, 6] {
        assert_eq!(s.join(2, GROUP, JoinState(state), CREATE), Err(Status::SA_INVALID), "state {state}");
    }
    assert_eq!(s.join(2, BROADCAST, JoinState(0), JOIN), Err(Status::SA_INVALID));
    assert!(s.join(2, GROUP, JoinState::SEND_ONLY_FULL, CREATE).is_ok());
    let members = &s.groups.last().unwrap().1;
    assert_eq!(members.iter().map(|m| m.receives).collect::<Vec<_>>(), [false]);
}

#[test]
fn groups_of_ip_that_differ_from_the_broadcast_group_are_refused() {
    let mut s = Script::new(3);
    let base = ask(2, GROUP, JoinState::FULL);
    let all = CREATE
        | mask::MTU
        | mask::MTU_SELECTOR
        | mask::RATE
        | mask::RATE_SELECTOR
        | mask::HOP_LIMIT
        | mask::SCOPE;
    let base = McMemberRecord { scope: Scope(2), ..base };
    let wrong = [
        McMemberRecord { qkey: QKey(1), ..base },
        McMemberRecord { sl: ServiceLevel::new(1), ..base },
        McMemberRecord { traffic_class: 1, ..base },
        McMemberRecord { flow_label: 1, ..base },
        McMemberRecord { hop_limit: 1, ..base },
        McMemberRecord { mtu: Mtu::B1024, ..base },
        McMemberRecord { rate: Rate(2), ..base },
        McMemberRecord { pkey: PKey(0x8001), ..base },
        McMemberRecord { pkey: PKey(0x8000), ..base },
        McMemberRecord { scope: Scope(5), ..base },
        McMemberRecord { mgid: mgid("ff15:401b:ffff::1"), scope: Scope(5), ..base },
        McMemberRecord { mgid: mgid("ff12:401b:8001::1"), ..base },
    ];
    for record in wrong {
        assert_eq!(s.set(2, all, &record), Err(Status::SA_INVALID), "{record:?}");
    }
    assert_eq!(s.group_count(), 1);
    assert!(s.set(2, all, &base).is_ok());
}

#[test]
fn what_joins_a_group_must_ask_for_what_it_is() {
    let mut s = Script::new(3);
    s.join(2, GROUP, JoinState::FULL, CREATE).unwrap();
    let base = ask(3, GROUP, JoinState::FULL);
    let wrong = [
        (mask::Q_KEY, McMemberRecord { qkey: QKey(1), ..base }),
        (mask::P_KEY, McMemberRecord { pkey: PKey(0x8001), ..base }),
        (mask::MLID, McMemberRecord { mlid: Lid(0xc009), ..base }),
        (mask::SL, McMemberRecord { sl: ServiceLevel::new(3), ..base }),
        (mask::MTU | mask::MTU_SELECTOR, McMemberRecord { mtu: Mtu::B4096, ..base }),
        (mask::MTU | mask::MTU_SELECTOR, McMemberRecord { mtu_selector: 0, ..base }),
        (mask::RATE | mask::RATE_SELECTOR, McMemberRecord { rate: Rate(7), ..base }),
        (mask::SCOPE, McMemberRecord { scope: Scope(5), ..base }),
    ];
    for (bits, record) in wrong {
        assert_eq!(s.set(3, JOIN | bits, &record), Err(Status::SA_INVALID), "{bits:#x}");
        let harmless = s.set(3, JOIN, &record);
        assert_eq!(harmless.map(|r| r.qkey), Ok(QKey(0x0b1b)), "what is not masked does not count");
    }
}

#[test]
fn a_port_whose_link_is_too_small_or_too_slow_cannot_join() {
    let mut s = Script::new(4);
    s.port_mut(2).info.as_mut().unwrap().neighbor_mtu = Mtu::B1024;
    let slow = s.port_mut(3).info.as_mut().unwrap();
    (slow.link_width_active, slow.link_speed_active) = (LinkWidth::X1, 1);
    for host in [2, 3] {
        assert_eq!(s.join(host, BROADCAST, JoinState::FULL, JOIN), Err(Status::SA_INVALID));
    }
    assert!(s.join(4, BROADCAST, JoinState::FULL, JOIN).is_ok());
}

#[test]
fn group_identifiers_follow_the_rules() {
    let mut s = Script::new(3);
    let bad = ["fe80::1", "ff22:1234::1", "ff42:1234::1", "ff12:a01b::1"];
    for group in bad {
        assert_eq!(s.join(2, group, JoinState::FULL, CREATE), Err(Status::SA_INVALID), "{group}");
    }
    for group in ["ff02:1234::1", "ff15:a01b::1", OTHER] {
        assert!(s.join(2, group, JoinState::FULL, CREATE).is_ok(), "{group}");
    }
}

#[test]
fn a_zero_mgid_lets_us_choose() {
    let mut s = Script::new(3);
    let first = s.join(2, "::", JoinState::FULL, CREATE).unwrap();
    let second = s.join(2, "::", JoinState::FULL, CREATE).unwrap();
    assert_eq!(first.mgid, mgid("ff12:a01b:fe80::"));
    assert_ne!(first.mgid, second.mgid);
    let scoped = McMemberRecord { scope: Scope(0xe), ..ask(2, "::", JoinState::FULL) };
    let third = s.set(2, CREATE | mask::SCOPE, &scoped).unwrap();
    assert_eq!(third.mgid.0[..4], [0xff, 0x1e, 0xa0, 0x1b]);
    assert!(s.join(3, "ff12:a01b:fe80::", JoinState::FULL, JOIN).is_ok(), "others may join what we made");
}

#[test]
fn a_new_group_is_as_large_and_fast_as_asked_or_as_the_port() {
    let mut s = Script::new(3);
    let made = s.join(2, OTHER, JoinState::FULL, CREATE).unwrap();
    assert_eq!((made.mtu, made.rate, made.hop_limit), (Mtu::B2048, Rate(7), 255));
    let bits = CREATE | mask::MTU | mask::MTU_SELECTOR | mask::RATE | mask::RATE_SELECTOR;
    let cases = [
        ((2, 3), (2, 6), Ok((3, 6))),
        ((0, 3), (0, 6), Ok((4, 7))),
        ((1, 4), (1, 7), Ok((3, 4))),
        ((3, 1), (3, 2), Ok((4, 7))),
        ((2, 5), (2, 7), Err(Status::SA_INVALID)),
        ((0, 4), (2, 7), Err(Status::SA_INVALID)),
        ((2, 0), (2, 7), Err(Status::SA_INVALID)),
        ((2, 4), (2, 0), Err(Status::SA_INVALID)),
        ((2, 4), (0, 7), Err(Status::SA_INVALID)),
        ((2, 4), (2, 8), Err(Status::SA_INVALID)),
    ];
    for ((mtu_selector, mtu), (rate_selector, rate), want) in cases {
        let record = McMemberRecord {
            mtu_selector,
            mtu: Mtu(mtu),
            rate_selector,
            rate: Rate(rate),
            ..ask(2, "ff15:7777::1", JoinState::FULL)
        };
        let got = s.set(2, bits, &record).map(|r| (r.mtu.0, r.rate.0));
        assert_eq!(got, want, "{mtu_selector}:{mtu} {rate_selector}:{rate}");
        let _ = s.leave(2, "ff15:7777::1", JoinState::FULL);
    }
}

#[test]
fn join_states_add_up_and_are_left_one_by_one() {
    let mut s = Script::new(3);
    s.join(2, GROUP, JoinState::FULL, CREATE).unwrap();
    let both = s.join(2, GROUP, JoinState::NON_MEMBER, JOIN).unwrap();
    assert_eq!(both.join_state, JoinState(3));
    assert_eq!(s.leave(2, GROUP, JoinState(4)), Err(Status::SA_INVALID), "not one of them");
    assert_eq!(s.leave(2, GROUP, JoinState(6)), Err(Status::SA_INVALID), "one of them is not there");
    assert_eq!(s.leave(2, GROUP, JoinState(2)).unwrap().join_state, JoinState(1));
    assert_eq!(s.leave(2, GROUP, JoinState(1)).unwrap().join_state, JoinState(0));
    assert_eq!(s.leave(2, GROUP, JoinState(1)), Err(Status::SA_INVALID), "the group is gone");
    assert_eq!(s.group_count(), 1);
}

#[test]
fn the_last_full_member_takes_the_group_along() {
    let mut s = Script::new(4);
    s.join(2, GROUP, JoinState::FULL, CREATE).unwrap();
    s.join(3, GROUP, JoinState::SEND_ONLY_NON_MEMBER, JOIN).unwrap();
    s.join(4, GROUP, JoinState::SEND_ONLY_FULL, JOIN).unwrap();
    s.leave(2, GROUP, JoinState::FULL).unwrap();
    assert_eq!(s.group_count(), 2, "a full member that only sends keeps it");
    s.leave(4, GROUP, JoinState::SEND_ONLY_FULL).unwrap();
    assert_eq!(s.group_count(), 1);
    assert_eq!(s.groups.last().unwrap(), &(MulticastLid::try_from(0xc001).unwrap(), vec![]));
    assert_eq!(s.join(2, OTHER, JoinState::FULL, CREATE).unwrap().mlid, Lid(0xc001), "its LID is used again");
}

#[test]
fn the_broadcast_group_stays_without_members() {
    let mut s = Script::new(3);
    s.join(2, BROADCAST, JoinState::FULL, JOIN).unwrap();
    s.leave(2, BROADCAST, JoinState::FULL).unwrap();
    assert_eq!(s.group_count(), 1);
    assert_eq!(s.leave(2, BROADCAST, JoinState::FULL), Err(Status::SA_INVALID));
    assert_eq!(s.leave(3, BROADCAST, JoinState::FULL), Err(Status::SA_INVALID), "never was a member");
    assert_eq!(s.leave(3, GROUP, JoinState::FULL), Err(Status::SA_INVALID), "no such group");
}

#[test]
fn nobody_joins_or_leaves_for_another() {
    let mut s = Script::new(3);
    s.join(2, BROADCAST, JoinState::FULL, JOIN).unwrap();
    let of_2 = ask(2, BROADCAST, JoinState::FULL).to_bytes();
    let forged: Result<McMemberRecord, _> = s.ask(3, Method::SET, JOIN, &of_2);
    assert_eq!(forged, Err(Status::SA_INVALID));
    let forged: Result<McMemberRecord, _> = s.ask(3, Method::DELETE, JOIN, &of_2);
    assert_eq!(forged, Err(Status::SA_INVALID));
    let trusted: Result<McMemberRecord, _> = s.ask_trusted(3, Method::DELETE, JOIN, &of_2);
    assert_eq!(trusted, Err(Status::SA_INVALID), "the member joined itself");
    let of_1 = ask(1, BROADCAST, JoinState::FULL).to_bytes();
    let trusted: McMemberRecord = s.ask_trusted(3, Method::SET, JOIN, &of_1).unwrap();
    assert!(trusted.proxy_join);
    let trusted: Result<McMemberRecord, _> = s.ask_trusted(3, Method::DELETE, JOIN, &of_1);
    assert!(trusted.is_ok());
    let unknown = McMemberRecord { port_gid: mgid("fe80::99"), ..ask(2, BROADCAST, JoinState::FULL) };
    assert_eq!(s.set(2, JOIN, &unknown), Err(Status::SA_INVALID));
}

#[test]
fn groups_belong_to_partitions() {
    let partitions =
        Partitions::parse("p", "Default=0x7fff,ipoib:ALL=full;Blue=0x10,ipoib:0x102,0x103=full;").unwrap();
    let mut s = Script::with(4, SaConfig::default(), partitions);
    let blue = "ff12:401b:8010::ffff:ffff";
    assert_eq!(s.join(2, blue, JoinState::FULL, JOIN).unwrap().pkey, PKey(0x8010), "limited members too");
    assert!(s.join(3, blue, JoinState::FULL, JOIN).is_ok());
    assert_eq!(s.join(4, blue, JoinState::FULL, JOIN), Err(Status::SA_INVALID));
    assert_eq!(s.table::<McMemberRecord>(2, 0, 0, &[]).unwrap().len(), 2);
    assert_eq!(s.table::<McMemberRecord>(4, 0, 0, &[]).unwrap().len(), 1);
}

#[test]
fn members_are_shown_to_the_trusted_only() {
    let mut s = Script::new(5);
    for host in 2..=4 {
        s.join(host, BROADCAST, JoinState::FULL, JOIN).unwrap();
    }
    s.join(2, GROUP, JoinState::FULL, CREATE).unwrap();
    let public: Vec<McMemberRecord> = s.table(5, 0, 0, &[]).unwrap();
    assert_eq!(public.len(), 2);
    assert!(public.iter().all(|r| r.port_gid == Gid::ZERO && r.join_state.is_empty()));
    let trusted: Vec<McMemberRecord> =
        s.table(5, SM_KEY, mask::MGID, &ask(0, BROADCAST, JoinState(0)).to_bytes()).unwrap();
    assert_eq!(trusted.iter().map(|r| r.port_gid).collect::<Vec<_>>(), [gid(2), gid(3), gid(4)]);
    let of_2 = ask(2, GROUP, JoinState::FULL).to_bytes();
    let one: McMemberRecord = s.ask(5, Method::GET, mask::MGID, &of_2).unwrap();
    assert_eq!((one.mlid, one.port_gid), (Lid(0xc001), Gid::ZERO));
    let one: McMemberRecord = s.ask_trusted(5, Method::GET, mask::MGID | mask::PORT_GID, &of_2).unwrap();
    assert_eq!((one.port_gid, one.join_state), (gid(2), JoinState::FULL));
    let got: Result<McMemberRecord, _> = s.ask(5, Method::GET, 0, &[]);
    assert_eq!(got, Err(Status::SA_TOO_MANY));
    let got: Result<McMemberRecord, _> =
        s.ask(5, Method::GET, mask::MGID, &ask(2, OTHER, JoinState(1)).to_bytes());
    assert_eq!(got, Err(Status::SA_NO_RECORDS));
}

#[test]
fn what_a_vanished_port_had_joined_it_has_left() {
    let mut s = Script::new(4);
    s.join(2, BROADCAST, JoinState::FULL, JOIN).unwrap();
    s.join(3, BROADCAST, JoinState::FULL, JOIN).unwrap();
    s.join(2, GROUP, JoinState::FULL, CREATE).unwrap();
    s.join(3, GROUP, JoinState::NON_MEMBER, JOIN).unwrap();
    s.groups.clear();
    s.vanish(2);
    assert_eq!(s.group_count(), 1, "its last full member is gone");
    let left: Vec<_> = s.groups.iter().map(|(mlid, members)| (mlid.get(), members.len())).collect();
    assert_eq!(left, [(0xc000, 1), (0xc001, 0)]);
}

#[test]
fn tables_have_ends() {
    let limits = Limits { groups: 4, members: 3, ..Limits::default() };
    let mut s = Script::with(5, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    for (n, host) in [(1, 2), (2, 2), (3, 2)] {
        assert!(s.join(host, &alloc::format!("ff15:7777::{n}"), JoinState::FULL, CREATE).is_ok());
    }
    assert_eq!(s.join(3, "ff15:7777::1", JoinState::FULL, JOIN), Err(Status::SA_NO_RESOURCES));
    assert!(s.join(2, "ff15:7777::1", JoinState::NON_MEMBER, JOIN).is_ok(), "is a member already");
    s.leave(2, "ff15:7777::3", JoinState::FULL).unwrap();
    s.leave(2, "ff15:7777::2", JoinState::FULL).unwrap();
    assert!(s.join(2, "ff15:7777::4", JoinState::FULL, CREATE).is_ok());
    assert_eq!(s.sa.counters().events.member_limit, 1);

    let limits = Limits { groups: 2, ..Limits::default() };
    let mut s = Script::with(3, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    assert!(s.join(2, "ff15:7777::1", JoinState::FULL, CREATE).is_ok());
    assert_eq!(s.join(2, "ff15:7777::2", JoinState::FULL, CREATE), Err(Status::SA_NO_RESOURCES));
    assert_eq!(s.sa.counters().events.group_limit, 1);

    let mut s = Script::new(3);
    let switch = s.switch;
    s.subnet.switch_mut(switch).unwrap().info.multicast_fdb_cap = 2;
    assert!(s.join(2, "ff15:7777::1", JoinState::FULL, CREATE).is_ok());
    assert_eq!(s.join(2, "ff15:7777::2", JoinState::FULL, CREATE), Err(Status::SA_NO_RESOURCES));
    assert_eq!(s.sa.counters().events.mlid_limit, 1);
}

#[test]
fn solicited_node_groups_share_a_lid_if_told_to() {
    let config = SaConfig { share_solicited_node_lids: true, ..SaConfig::default() };
    let mut s = Script::with(3, config, Partitions::default());
    let a = s.join(2, "ff12:601b:ffff::1:ff00:1", JoinState::FULL, CREATE).unwrap();
    let b = s.join(3, "ff12:601b:ffff::1:ff12:3456", JoinState::FULL, CREATE).unwrap();
    let c = s.join(3, "ff12:601b:ffff::1", JoinState::FULL, CREATE).unwrap();
    assert_eq!((a.mlid == b.mlid, a.mlid == c.mlid), (true, false));
    let ports = vec![s.port(2), s.port(3)];
    assert_eq!(s.sa.members(a.mlid.multicast().unwrap()).iter().map(|m| m.port).collect::<Vec<_>>(), ports);
}

#[test]
fn other_partitions_bring_and_take_groups() {
    let mut s = Script::new(3);
    s.join(2, BROADCAST, JoinState::FULL, JOIN).unwrap();
    let two = Partitions::parse("p", "Default=0x7fff:ALL=full;Blue=0x10,ipoib:ALL=full;").unwrap();
    s.sa.set_partitions(s.now, &s.subnet, two);
    let names: Vec<_> = s.sa.snapshot().groups.iter().map(|g| g.mgid.clone()).collect();
    assert_eq!(names, ["ff12:401b:8010::ffff:ffff", BROADCAST], "who is in it keeps it");
    s.leave(2, BROADCAST, JoinState::FULL).unwrap();
    assert_eq!(s.group_count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn books_balance_whatever_is_joined_and_left(steps in proptest::collection::vec(
        (2u16..6, 0u8..4, 1u8..16, any::<bool>()), 1..60))
    {
        let mut s = Script::new(6);
        let mut model: alloc::collections::BTreeMap<(u8, u16), u8> = Default::default();
        for (host, group, state, is_join) in steps {
            let name = alloc::format!("ff15:7777::{}", group + 1);
            let alive = model.iter().any(|((g, _), st)| *g == group && st & 9 != 0);
            if is_join {
                let got = s.join(host, &name, JoinState(state), CREATE);
                prop_assert_eq!(got.is_ok(), alive || state & 9 != 0);
                if got.is_ok() {
                    *model.entry((group, host)).or_default() |= state;
                }
            } else {
                let had = model.get(&(group, host)).copied().unwrap_or(0);
                let got = s.leave(host, &name, JoinState(state));
                prop_assert_eq!(got.is_ok(), had & state == state);
                if got.is_ok() {
                    model.insert((group, host), had & !state);
                    if !model.iter().any(|((g, _), st)| *g == group && st & 9 != 0) {
                        model.retain(|(g, _), _| *g != group);
                    }
                }
            }
            model.retain(|_, state| *state != 0);
            let shown: usize = s.sa.snapshot().groups.iter().map(|g| g.members.len()).sum();
            prop_assert_eq!(shown, model.len());
            for (mlid, members) in s.groups.drain(..) {
                prop_assert_eq!(&members, &s.sa.members(mlid));
            }
        }
    }
}

#[test]
fn a_thousand_joins_are_not_a_thousand_trees() {
    let mut s = Script::new(900);
    for host in 1..=900 {
        s.join(host, BROADCAST, JoinState::FULL, JOIN).unwrap();
    }
    assert!(s.groups.len() < 300, "{} changes told", s.groups.len());
    s.run_until(NOW + core::time::Duration::from_millis(10));
    assert_eq!(s.groups.last().unwrap().1.len(), 900);
    assert_eq!(s.sa.poll_timeout(), None);
}
