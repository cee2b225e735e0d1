use alloc::{string::ToString, vec, vec::Vec};

use ib_wire::{
    addr::{Guid, Mtu, PKey, QKey, Rate, ServiceLevel},
    mad::attr::NodeType,
};

use super::*;

fn port(guid: u64, node_type: NodeType, is_own: bool) -> Identity {
    Identity { guid: Guid(guid), node_type, is_own }
}

fn host(guid: u64) -> Identity {
    port(guid, NodeType::CA, false)
}

fn keys(partitions: &Partitions, port: Identity) -> Vec<u16> {
    partitions.pkeys(port).into_iter().map(|key| key.0).collect()
}

fn read(text: &str) -> Partitions {
    Partitions::parse("partitions.conf", text).unwrap()
}

#[test]
fn without_a_file_all_are_full_members_and_the_broadcast_group_stands() {
    let partitions = Partitions::default();
    assert_eq!(keys(&partitions, host(1)), [0xffff]);
    let groups: Vec<_> = partitions.groups().collect();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].mgid.to_string(), "ff12:401b:ffff::ffff:ffff");
    assert_eq!((groups[0].qkey, groups[0].mtu, groups[0].rate), (QKey(0xb1b), Mtu::B2048, Rate::GBPS_10));
    assert_eq!((groups[0].life.0, groups[0].hop_limit), (18, 0));
}

#[test]
fn with_a_file_members_are_limited_and_the_manager_full() {
    let partitions = read("# nothing\n");
    assert_eq!(keys(&partitions, host(1)), [0x7fff]);
    assert_eq!(keys(&partitions, port(9, NodeType::CA, true)), [0xffff]);
    assert_eq!(partitions.groups().count(), 0);
}

#[test]
fn the_classic_line_restores_what_holds_without_a_file() {
    let partitions = read("Default=0x7fff,ipoib:ALL=full;");
    assert_eq!(keys(&partitions, host(1)), [0xffff]);
    assert!(partitions.groups().eq(Partitions::default().groups()));
}

#[test]
fn flags_members_and_lines_read_as_opensm_reads_them() {
    let partitions = read(
        "Default=0x7fff : ALL, SELF=full ;\n\
         Storage=0x1001 , ipoib , rate=6, mtu=5 , sl=3,scope=2,scope=0xe, Q_Key=0x80000b1b,TClass=1, FlowLabel=7:\n\
         \t0x10=full, 0x11=limi, # 0x12,\n\
         0x13;  NewPartition, defmember=full : 0x11, ALL_SWITCHES=both; 0x22 : SELF;\n\
         NewPartition : 0x13;\n",
    );
    assert_eq!(keys(&partitions, host(0x10)), [0x7fff, 0x9001]);
    assert_eq!(keys(&partitions, host(0x11)), [0x7fff, 0x1001, 0x8001]);
    assert_eq!(keys(&partitions, host(0x12)), [0x7fff]);
    assert_eq!(keys(&partitions, host(0x13)), [0x7fff, 0x1001, 1]);
    assert_eq!(keys(&partitions, port(1, NodeType::SWITCH, true)), [0xffff, 0x8001, 0x22]);
    assert_eq!(
        keys(&partitions.clone().with_both_keys(true), port(1, NodeType::SWITCH, false)),
        [0x7fff, 0x8001, 1]
    );
    let groups: Vec<_> = partitions.groups().copied().collect();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].mgid.to_string(), "ff12:401b:9001::ffff:ffff");
    assert_eq!(groups[1].mgid.to_string(), "ff1e:401b:9001::ffff:ffff");
    assert_eq!((groups[0].hop_limit, groups[1].hop_limit), (0, 255));
    assert_eq!((groups[0].mtu, groups[0].rate, groups[0].sl), (Mtu(5), Rate(6), ServiceLevel::new(3)));
    assert_eq!((groups[0].qkey, groups[0].traffic_class, groups[0].flow_label), (QKey(0x8000_0b1b), 1, 7));
    assert_eq!(groups[0].pkey, PKey(0x9001));
}

#[test]
fn the_last_rule_that_names_a_port_holds_and_index_0_can_be_claimed() {
    let partitions = read("A=5,indx0:0x10;B=6:ALL=full,0x10=limited;");
    assert_eq!(keys(&partitions, host(0x10)), [5, 0x7fff, 6]);
    assert_eq!(keys(&partitions, host(0x11)), [0x7fff, 0x8006]);
}

#[test]
fn further_groups_take_the_partitions_key_and_flags() {
    let partitions = read(
        "Default=0x7fff,ipoib,mtu=5:\n\
           mgid=ff12:401b::707,sl=1 # an IPv4 group\n\
           mgid=ff12:601b::16\n\
           mgid=ff13:a01b::5,Q_Key=9,mtu=4,scope=5\n\
           ALL=full;",
    );
    assert_eq!(keys(&partitions, host(1)), [0xffff]);
    let names: Vec<_> = partitions.groups().map(|g| (g.mgid.to_string(), g.mtu.0, g.sl.get())).collect();
    assert_eq!(
        names[1..],
        vec![
            ("ff12:401b:ffff::707".to_string(), 5, 1),
            ("ff12:601b:ffff::16".to_string(), 5, 0),
            ("ff15:a01b::5".to_string(), 4, 0),
        ]
    );
}

#[test]
fn errors_name_file_line_and_reason() {
    let cases = [
        ("Default=0x7fff\n", "p.conf:1: no partition definition: write Name=0xKEY,flags: members;"),
        (
            "\nA=0x1:ALL",
            "p.conf:2: the definition of partition A does not end: write a ';' after its members",
        ),
        (
            "A=0x12345:ALL;",
            "p.conf:1: 0x12345 is no partition key: use 0x0001 to 0x7fff, or no key for a free one",
        ),
        ("A=x:ALL;", "p.conf:1: x is no partition key: use 0x0001 to 0x7fff, or no key for a free one"),
        ("A=0x+7:ALL;", "p.conf:1: 0x+7 is no partition key: use 0x0001 to 0x7fff, or no key for a free one"),
        ("A=1,ipiob:ALL;", "p.conf:1: unknown flag ipiob"),
        (
            "A=1,mtu=2048:ALL;",
            "p.conf:1: mtu=2048 is not possible: it is a code: 1 to 5 for 256 to 4096 bytes",
        ),
        ("A=1,mtu=0:ALL;", "p.conf:1: mtu=0 is not possible: it is a code: 1 to 5 for 256 to 4096 bytes"),
        (
            "A=1,rate=1:ALL;",
            "p.conf:1: rate=1 is not possible: it is a code: 3 for 10 Gb/s, 7 for 40 Gb/s, 16 for 100 Gb/s",
        ),
        ("A=1,sl:ALL;", "p.conf:1: sl= is not possible: 0 to 15"),
        ("A=1,scope=0:ALL;", "p.conf:1: scope=0 is not possible: 1 to 15, or 0x1 to 0xf"),
        ("A=1,defmember=half:ALL;", "p.conf:1: half is no membership: write full, limited or both"),
        ("A=1:ALL=none;", "p.conf:1: none is no membership: write full, limited or both"),
        (
            "A=1:\n  h1;",
            "p.conf:2: h1 is no member: write a port GUID, ALL, ALL_CAS, ALL_SWITCHES, ALL_ROUTERS, ALL_VCAS or SELF",
        ),
        ("A=1:mgid=fe80::1;", "p.conf:1: fe80::1 is no multicast GID"),
        (
            "A=1,ipoib:mgid=ff12:401b:8002::1;",
            "p.conf:1: group ff12:401b:8002::1 needs the P_Key of its partition's broadcast group",
        ),
        (
            "A=1,ipoib:mgid=ff12:401b::1,mtu=5;",
            "p.conf:1: group ff12:401b::1 needs the mtu of its partition's broadcast group",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(Partitions::parse("p.conf", text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn groups_that_a_port_cannot_join_are_found() {
    let partitions = read("Default=0x7fff,ipoib,mtu=5:ALL=full;Fast=2,ipoib,rate=16:0x10;");
    let at = |guid, mtu, rate| partitions.out_of_reach(host(guid), mtu, rate).count();
    assert_eq!(at(0x10, Mtu::B4096, Rate(16)), 0);
    assert_eq!(at(0x10, Mtu::B2048, Rate(7)), 2);
    assert_eq!(at(0x11, Mtu::B2048, Rate(7)), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[A-Za-z0-9=:;,# \n_x.]{0,80}") {
        let _ = Partitions::parse("f", &text);
    }
}
