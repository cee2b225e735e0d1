//! From power on to a subnet that carries data.

use std::{
    println,
    time::{Duration, Instant as Clock},
};

use ib_fabric::LinkFault;
use ib_sm::{SmConfig, SmEvent};
use ib_wire::addr::Lid;

use crate::bench::{Bench, SECOND};

/// Brings a plan up; tells time and MADs.
fn bring_up(plan: &str, at: &str) -> Bench {
    let mut bench = Bench::new(plan);
    let clock = Clock::now();
    bench.manager(at, SmConfig::default());
    bench.run(SECOND);
    let took = clock.elapsed();
    let up = bench.events.iter().find_map(|(_, _, event)| match event {
        SmEvent::SubnetUp { hosts, switches, smps, .. } => Some((*hosts, *switches, *smps)),
        _ => None,
    });
    let (hosts, switches, smps) = up.unwrap_or_else(|| panic!("{plan} is not up: {:?}", bench.events));
    println!("{plan}: {hosts} hosts, {switches} switches, {smps} SMPs, {took:?}");
    assert_eq!((hosts, switches), (bench.plan.hosts().count(), bench.plan.switches().count()));
    assert_eq!(bench.count(|event| matches!(event, SmEvent::Warning(_))), 0, "{:?}", bench.events);
    bench.check_paths(0);
    bench
}

#[test]
fn a_pair_comes_up_from_a_host_and_from_a_switch() {
    let bench = bring_up("pair", "h1");
    assert_eq!(bench.host("h1").1, Lid(1));
    bring_up("pair", "sw2");
}

#[test]
fn a_fat_tree_comes_up() {
    bring_up("fat-tree:k=4", "h1");
}

#[test]
fn irregular_plans_come_up() {
    for plan in ["star:8", "ring:7,hosts=2", "mesh:20", "line:12"] {
        bring_up(plan, "h1");
    }
}

#[test]
fn a_tree_with_648_hosts_comes_up() {
    bring_up("fat-tree:k=36,levels=2", "h1");
}

#[test]
#[ignore = "a measurement, optimized"]
fn a_tree_with_11664_hosts_comes_up() {
    bring_up("fat-tree:k=36", "h1");
}

#[test]
fn a_subnet_comes_up_though_a_fifth_of_all_mads_is_lost() {
    for seed in 0..5 {
        let mut bench = Bench::new("fat-tree:k=4");
        bench.loss = 200 + seed;
        bench.manager("h1", SmConfig::default());
        bench.run(SECOND * 60);
        bench.all_active();
        // A link whose far end was not heard four times in a row may just be out of use.
        bench.loss = 0;
        bench.run(SECOND * 11);
        bench.check_paths(0);
    }
}

#[test]
fn when_nothing_changes_light_sweeps_are_all_there_is() {
    let mut bench = bring_up("fat-tree:k=4", "h1");
    let before = bench.sm(0).snapshot();
    bench.run(SECOND * 100);
    let after = bench.sm(0).snapshot();
    assert_eq!(after.sweeps.light - before.sweeps.light, 10);
    assert_eq!((after.sweeps.full, after.sweeps.quick), (before.sweeps.full, before.sweeps.quick));
    assert_eq!(after.smps.sent - before.smps.sent, 10 * 20);
}

#[test]
fn long_links_cost_round_trips_not_links() {
    let mut bench = Bench::new("fat-tree:k=36,levels=2");
    for link in bench.fabric.links().collect::<Vec<_>>() {
        let fault = LinkFault { delay: Duration::from_micros(5), ..LinkFault::NONE };
        bench.fabric.set_link_fault(bench.now, link, fault);
    }
    bench.manager("h1", SmConfig::default());
    bench.run(SECOND * 2);
    bench.all_active();
    bench.set_link("leaf1", 19, true);
    bench.run(SECOND);
    let took = bench.events.iter().filter_map(|(_, _, event)| match event {
        SmEvent::SubnetUp { took, smps, .. } => Some((*took, *smps)),
        _ => None,
    });
    let took: Vec<_> = took.collect();
    println!("5 us a link: up in {:?}, healed in {:?} (time of the fabric, SMPs)", took[0], took[1]);
    assert!(took[1].0 < Duration::from_millis(5));
}
