//! Several managers in one subnet.

use std::time::Duration;

use ib_sm::{Role, SmConfig, SmEvent};

use crate::bench::{Bench, SECOND};

fn config(priority: u8) -> SmConfig {
    SmConfig { priority, standby_poll: SECOND, standby_retries: 2, ..SmConfig::default() }
}

#[test]
fn of_two_that_start_together_the_better_leads() {
    for (a, b) in [(0, 0), (1, 5), (5, 1)] {
        let mut bench = Bench::new("fat-tree:k=4");
        bench.manager("h1", config(a));
        bench.manager("h16", config(b));
        bench.run(SECOND * 5);
        let expect = if b > a { [Role::Standby, Role::Master] } else { [Role::Master, Role::Standby] };
        assert_eq!(bench.roles(), expect.map(Some), "{a} {b}: {:?}", bench.events);
        bench.all_active();
    }
}

#[test]
fn a_better_newcomer_is_handed_the_subnet_and_lids_stay() {
    let mut bench = Bench::new("fat-tree:k=4");
    bench.manager("h1", config(1));
    bench.run(SECOND);
    let before = bench.all_active();
    bench.manager("h16", config(9));
    bench.run(Duration::from_millis(100));
    assert_eq!(bench.roles(), [Some(Role::Standby), Some(Role::Master)], "{:?}", bench.events);
    assert_eq!(bench.all_active(), before);
    bench.check_paths(1);
    // And back, when the standby becomes the better one.
    let now = bench.now;
    bench.sm(0).set_priority(now, 15);
    bench.run(Duration::from_millis(100));
    assert_eq!(bench.roles(), [Some(Role::Master), Some(Role::Standby)], "{:?}", bench.events);
    bench.run(SECOND * 20);
    assert_eq!(bench.roles(), [Some(Role::Master), Some(Role::Standby)]);
    assert_eq!(bench.all_active(), before);
}

#[test]
fn a_worse_newcomer_waits_and_takes_over_when_the_master_dies() {
    let mut bench = Bench::new("fat-tree:k=4");
    bench.manager("h1", config(9));
    bench.run(SECOND);
    let before = bench.all_active();
    bench.manager("h16", config(1));
    bench.run(SECOND * 10);
    assert_eq!(bench.roles(), [Some(Role::Master), Some(Role::Standby)]);
    bench.reregister.clear();
    bench.kill(0);
    assert_eq!(bench.all_active(), before, "nothing is torn down");
    bench.run(SECOND * 5);
    assert_eq!(bench.roles(), [None, Some(Role::Master)]);
    assert_eq!(bench.reregister.len(), 36, "the new master knows nobody");
    assert_eq!(bench.all_active(), before);
    bench.check_paths(1);
}

#[test]
fn a_master_that_comes_back_is_a_standby_or_takes_over() {
    for (priority, role) in [(1, Role::Standby), (9, Role::Master)] {
        let mut bench = Bench::new("pair");
        bench.manager("h1", config(9));
        bench.manager("h4", config(2));
        bench.run(SECOND * 2);
        bench.kill(0);
        bench.run(SECOND * 5);
        assert_eq!(bench.roles()[1], Some(Role::Master));
        bench.manager("h1", config(priority));
        bench.run(SECOND * 2);
        assert_eq!(bench.roles()[2], Some(role));
    }
}

#[test]
fn two_subnets_that_are_joined_have_one_master() {
    let mut bench = Bench::new("line:2");
    let port = bench.plan[bench.plan.find("sw1").unwrap()].port_count;
    let link =
        (1..=port).find(|p| {
            bench.plan.find_port(&format!("sw1:{p}")).and_then(|end| bench.plan.link_at(end)).is_some_and(
                |link| bench.plan[link.a.node].is_switch() && bench.plan[link.b.node].is_switch(),
            )
        });
    let link = link.unwrap();
    bench.set_link("sw1", link, true);
    bench.manager("h1", config(1));
    bench.manager("h2", config(2));
    bench.run(SECOND);
    assert_eq!(bench.roles(), [Some(Role::Master), Some(Role::Master)]);
    bench.set_link("sw1", link, false);
    bench.run(SECOND * 15);
    assert_eq!(bench.roles(), [Some(Role::Standby), Some(Role::Master)], "{:?}", bench.events);
    bench.check_paths(1);
}

#[test]
fn managers_agree_though_mads_are_lost() {
    let mut bench = Bench::new("fat-tree:k=4");
    bench.loss = 100;
    for (i, host) in ["h1", "h6", "h11", "h16"].into_iter().enumerate() {
        bench.manager(host, config(u8::try_from(i).unwrap()));
        bench.run(SECOND * 2);
    }
    bench.run(SECOND * 60);
    bench.loss = 0;
    bench.run(SECOND * 30);
    let masters = bench.roles().iter().filter(|role| **role == Some(Role::Master)).count();
    assert_eq!(masters, 1, "{:?}", bench.roles());
    assert_eq!(bench.roles()[3], Some(Role::Master));
    assert!(bench.count(|event| matches!(event, SmEvent::StandbyNow { .. })) >= 3);
    bench.check_paths(3);
}
