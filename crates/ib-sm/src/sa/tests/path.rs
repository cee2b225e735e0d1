use ib_wire::mad::sa::path_mask as mask;

use super::*;

/// The mask of the Linux driver: DGID, SGID, traffic class, number of paths, P_Key.
const LINUX: u64 = mask::DGID | mask::SGID | mask::TRAFFIC_CLASS | mask::NUMB_PATH | mask::P_KEY;

fn ask(from: u16, to: Gid) -> PathRecord {
    let mut record = PathRecord::from_bytes(&[0; 64]);
    record.sgid = gid(from);
    record.dgid = to;
    record.numb_path = 1;
    record.pkey = PKey::DEFAULT_FULL;
    record
}

impl Script {
    fn path(&mut self, bits: u64, record: &PathRecord) -> Result<PathRecord, Status> {
        self.ask(2, Method::GET, bits, &record.to_bytes())
    }
}

#[test]
fn a_path_is_as_small_and_slow_as_its_worst_link() {
    let mut s = Script::new(4);
    let path = s.path(LINUX, &ask(2, gid(3))).unwrap();
    assert_eq!((path.slid, path.dlid, path.pkey), (Lid(2), Lid(3), PKey(0xffff)));
    assert_eq!((path.mtu, path.rate, path.life), (Mtu::B2048, Rate(7), Timeout(18)));
    assert_eq!((path.to_bytes()[54], path.to_bytes()[55], path.to_bytes()[56]), (0x84, 0x87, 0x92));
    assert_eq!((path.reversible, path.numb_path, path.hop_limit), (true, 0, 0));
    let switch_port = s.subnet.port(s.port(3)).unwrap().peer.unwrap();
    let info = s.subnet.port_mut(switch_port).unwrap().info.as_mut().unwrap();
    (info.neighbor_mtu, info.link_width_active) = (Mtu::B1024, LinkWidth::X1);
    let path = s.path(LINUX, &ask(2, gid(3))).unwrap();
    assert_eq!((path.mtu, path.rate), (Mtu::B1024, Rate(3)));
    assert_eq!(s.path(LINUX, &ask(2, gid(2))).unwrap().life, Timeout(0), "to itself no time passes");
}

#[test]
fn unknown_ends_and_missing_ways_are_told_apart() {
    let mut s = Script::new(4);
    assert_eq!(s.path(LINUX, &ask(2, mgid("fe80::999"))), Err(Status::SA_BAD_GID));
    assert_eq!(s.path(LINUX, &ask(99, gid(3))), Err(Status::SA_BAD_GID));
    let by_lid = PathRecord { dlid: Lid(77), ..ask(2, gid(3)) };
    assert_eq!(s.path(mask::SGID | mask::DLID, &by_lid), Err(Status::SA_NO_RECORDS));
    let switch = s.switch;
    s.subnet.switch_mut(switch).unwrap().lft.want(vec![255; 200]);
    assert_eq!(s.path(LINUX, &ask(2, gid(3))), Err(Status::SA_NO_RECORDS));
    assert_eq!(s.table::<PathRecord>(2, 0, LINUX, &ask(2, gid(3)).to_bytes()), Ok(vec![]));
}

#[test]
fn lids_choose_as_gids_do() {
    let mut s = Script::new(4);
    let record = PathRecord { slid: Lid(2), dlid: Lid(4), ..ask(2, gid(3)) };
    assert_eq!(s.path(mask::SLID | mask::DLID, &record).unwrap().dgid, gid(4));
    assert_eq!(s.path(mask::SLID | mask::DLID | mask::DGID, &record), Err(Status::SA_NO_RECORDS));
    assert_eq!(s.path(mask::SLID, &record), Err(Status::SA_TOO_MANY));
    let all = s.table::<PathRecord>(2, 0, mask::SGID, &record.to_bytes()).unwrap();
    assert_eq!(all.len(), 5, "four hosts and the switch");
}

#[test]
fn nobody_makes_us_look_at_every_pair_of_a_large_subnet() {
    let limits = crate::sa::Limits { table_bytes: 64 * 100, ..Default::default() };
    let mut s = Script::with(20, SaConfig { limits, ..SaConfig::default() }, Partitions::default());
    let all_of_one = s.table::<PathRecord>(2, 0, mask::SGID, &ask(2, gid(3)).to_bytes());
    assert_eq!(all_of_one.map(|paths| paths.len()), Ok(21));
    let none = PathRecord { sl: ServiceLevel::new(9), ..ask(2, gid(3)) };
    assert_eq!(s.table::<PathRecord>(2, 0, mask::SL, &none.to_bytes()), Err(Status::SA_NO_RESOURCES));
}

#[test]
fn what_is_selected_holds() {
    let mut s = Script::new(3);
    let base = ask(2, gid(3));
    let mtu = mask::DGID | mask::SGID | mask::MTU | mask::MTU_SELECTOR;
    let rate = mask::DGID | mask::SGID | mask::RATE | mask::RATE_SELECTOR;
    let life = mask::DGID | mask::SGID | mask::LIFE | mask::LIFE_SELECTOR;
    for (selector, code, want) in
        [(0, 3, Some(4)), (0, 4, None), (1, 4, Some(3)), (2, 4, Some(4)), (2, 5, None), (3, 1, Some(4))]
    {
        let got = s.path(mtu, &PathRecord { mtu_selector: selector, mtu: Mtu(code), ..base });
        assert_eq!(got.ok().map(|p| p.mtu.0), want, "mtu {selector}:{code}");
    }
    for (selector, code, want) in
        [(0, 6, Some(7)), (0, 7, None), (1, 7, Some(4)), (2, 3, Some(3)), (2, 16, None)]
    {
        let got = s.path(rate, &PathRecord { rate_selector: selector, rate: Rate(code), ..base });
        assert_eq!(got.ok().map(|p| p.rate.0), want, "rate {selector}:{code}");
    }
    for (selector, code, want) in
        [(0, 17, Some(18)), (1, 18, None), (1, 19, Some(18)), (2, 20, Some(20)), (2, 1, None)]
    {
        let got = s.path(life, &PathRecord { life_selector: selector, life: Timeout(code), ..base });
        assert_eq!(got.ok().map(|p| p.life.0), want, "life {selector}:{code}");
    }
    let sl = PathRecord { sl: ServiceLevel::new(5), ..base };
    assert_eq!(s.path(mask::DGID | mask::SGID | mask::SL, &sl), Err(Status::SA_NO_RECORDS));
}

#[test]
fn both_ends_need_a_partition_in_common() {
    let file = "Default=0x7fff:SELF=full;Blue=0x10,sl=3:0x102=full,0x103;Red=0x20:0x104=full;";
    let mut s = Script::with(4, SaConfig::default(), Partitions::parse("p", file).unwrap());
    let plain = mask::DGID | mask::SGID;
    let blue = s.path(plain, &ask(2, gid(3))).unwrap();
    assert_eq!((blue.pkey, blue.sl.get()), (PKey(0x8010), 3));
    assert_eq!(
        s.path(plain, &ask(2, gid(4))),
        Err(Status::SA_NO_RECORDS),
        "limited members of the default one"
    );
    assert_eq!(s.path(plain, &ask(2, gid(1))).unwrap().pkey, PKey(0x7fff), "the manager is a full one");
    let asked = PathRecord { pkey: PKey(0x10), ..ask(2, gid(3)) };
    assert_eq!(s.path(plain | mask::P_KEY, &asked).unwrap().pkey, PKey(0x10));
    let asked = PathRecord { pkey: PKey(0x8020), ..ask(2, gid(3)) };
    assert_eq!(s.path(plain | mask::P_KEY, &asked), Err(Status::SA_NO_RECORDS));
    assert_eq!(s.path(plain, &ask(4, gid(1))), Err(Status::SA_NO_RECORDS), "nobody learns of strangers");
}

#[test]
fn a_one_way_path_is_not_reversible() {
    let mut s = Script::new(3);
    let mut lft = vec![255; 200];
    lft[3] = 3;
    let switch = s.switch;
    s.subnet.switch_mut(switch).unwrap().lft.want(lft);
    let plain = mask::DGID | mask::SGID;
    assert!(!s.path(plain, &ask(2, gid(3))).unwrap().reversible);
    let asked = PathRecord { reversible: true, ..ask(2, gid(3)) };
    assert_eq!(s.path(plain | mask::REVERSIBLE, &asked), Err(Status::SA_NO_RECORDS));
}

#[test]
fn the_path_to_a_group_is_the_group() {
    let mut s = Script::new(3);
    let broadcast = mgid("ff12:401b:ffff::ffff:ffff");
    let path = s.path(LINUX, &ask(2, broadcast)).unwrap();
    assert_eq!((path.dlid, path.dgid, path.slid), (Lid(0xc000), broadcast, Lid(2)));
    assert_eq!((path.mtu, path.rate, path.pkey), (Mtu::B2048, Rate(3), PKey(0xffff)));
    assert_eq!(s.path(LINUX, &ask(2, mgid("ff12:401b:ffff::1"))), Err(Status::SA_NO_RECORDS));
}
