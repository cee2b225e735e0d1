//! The fabric changes; the manager follows.

use std::{
    println,
    time::{Duration, Instant as Clock},
};

use ib_fabric::{
    LinkFault,
    topology::{Mishap, Probability},
};
use ib_sm::{SmConfig, SmEvent, Warning};
use ib_wire::{addr::Lid, mad::attr::PortState};

use crate::bench::{Bench, SECOND};

fn up(plan: &str) -> Bench {
    let mut bench = Bench::new(plan);
    bench.manager("h1", SmConfig::default());
    bench.run(SECOND);
    bench.all_active();
    bench.events.clear();
    bench
}

/// The last port of the first leaf that leads to another switch.
fn uplink(bench: &Bench) -> u8 {
    let leaf = bench.plan.find("leaf1").unwrap();
    let links = bench.plan.links.iter().flat_map(|link| [(link.a, link.b), (link.b, link.a)]);
    let up = links.filter(|(a, b)| a.node == leaf && bench.plan[b.node].is_switch());
    up.map(|(a, _)| a.port.0).max().unwrap()
}

#[test]
fn a_cut_link_is_routed_around_at_once() {
    for plan in ["fat-tree:k=4", "fat-tree:k=8,levels=2", "fat-tree:k=36,levels=2"] {
        let mut bench = up(plan);
        let sent = bench.sm(0).snapshot().smps.sent;
        let ports = uplink(&bench);
        let clock = Clock::now();
        bench.set_link("leaf1", ports, true);
        bench.run(Duration::from_millis(10));
        println!(
            "{plan}: cut healed with {} SMPs, {:?}",
            bench.sm(0).snapshot().smps.sent - sent,
            clock.elapsed()
        );
        assert_eq!(bench.count(|event| matches!(event, SmEvent::LinkDown(_))), 1, "{:?}", bench.events);
        assert_eq!(bench.count(|event| matches!(event, SmEvent::SubnetUp { .. })), 1);
        bench.check_paths(0);
        bench.set_link("leaf1", ports, false);
        bench.run(Duration::from_millis(10));
        assert_eq!(bench.count(|event| matches!(event, SmEvent::LinkUp(_))), 1, "{:?}", bench.events);
        bench.check_paths(0);
    }
}

#[test]
fn a_host_that_leaves_and_returns_has_its_lid() {
    let mut bench = up("fat-tree:k=4");
    let lid = bench.host("h9").1;
    bench.set_power("h9", false);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.count(|event| matches!(event, SmEvent::NodeGone { .. })), 1, "{:?}", bench.events);
    bench.set_power("h9", true);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.count(|event| matches!(event, SmEvent::NodeAppeared { .. })), 1, "{:?}", bench.events);
    assert_eq!(bench.host("h9"), (PortState::ACTIVE, lid));
    bench.check_paths(0);
}

/// What leads to others does not depend on who is there: nothing is written to any switch but for the one it hangs on.
#[test]
fn a_host_that_leaves_moves_nobodys_routes() {
    let mut bench = up("fat-tree:k=8");
    let tables = |bench: &mut Bench| -> Vec<_> {
        let switches = bench.sm(0).subnet().switches().filter_map(|(_, node)| node.switch.as_ref());
        switches
            .map(|switch| (0..switch.lft.blocks()).map(|n| switch.lft.block(n)).collect::<Vec<_>>())
            .collect()
    };
    let before = tables(&mut bench);
    bench.set_power("h9", false);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.count(|event| matches!(event, SmEvent::NodeGone { .. })), 1, "{:?}", bench.events);
    assert!(tables(&mut bench) == before, "routes have moved");
}

#[test]
fn both_ends_of_a_link_report_and_one_sweep_is_enough() {
    let mut bench = up("fat-tree:k=4");
    let quick = bench.sm(0).sweeps().quick;
    let port = uplink(&bench);
    bench.set_link("leaf1", port, true);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.sm(0).sweeps().quick, quick + 1);
    bench.check_paths(0);
}

#[test]
fn a_switch_that_loses_power_is_routed_around_and_written_anew() {
    let mut bench = up("fat-tree:k=4");
    bench.set_power("core1", false);
    bench.run(SECOND);
    assert_eq!(bench.count(|event| matches!(event, SmEvent::NodeGone { .. })), 1, "{:?}", bench.events);
    bench.check_paths(0);
    bench.set_power("core1", true);
    bench.run(SECOND);
    bench.check_paths(0);
    // So short that nobody saw it off.
    bench.set_power("agg1", false);
    bench.set_power("agg1", true);
    bench.run(SECOND);
    bench.check_paths(0);
    assert_eq!(bench.count(|event| matches!(event, SmEvent::Warning(_))), 0, "{:?}", bench.events);
}

#[test]
fn a_leaf_that_loses_power_takes_its_hosts_along_and_brings_them_back() {
    let mut bench = up("fat-tree:k=4");
    let before = bench.all_active();
    bench.set_power("leaf8", false);
    bench.run(SECOND);
    assert_eq!(bench.count(|event| matches!(event, SmEvent::NodeGone { .. })), 3, "{:?}", bench.events);
    bench.set_power("leaf8", true);
    bench.run(SECOND * 2);
    assert_eq!(bench.all_active(), before);
    bench.check_paths(0);
}

#[test]
fn the_managers_own_link_may_come_and_go() {
    let mut bench = up("pair");
    let before = bench.all_active();
    bench.set_power("sw1", false);
    bench.run(SECOND * 30);
    assert!(bench.count(|event| *event == SmEvent::Warning(Warning::NoLink)) > 0);
    bench.set_power("sw1", true);
    bench.run(SECOND * 2);
    assert_eq!(bench.all_active(), before);
    bench.check_paths(0);
}

#[test]
fn a_silent_host_does_not_hold_up_the_others() {
    let mut bench = up("fat-tree:k=4");
    let link = bench.fabric.link("h16", ib_wire::addr::PortNum(1)).unwrap();
    let loss = LinkFault::of(Mishap::Loss, Probability::ALWAYS);
    bench.set_link("h16", 1, true);
    bench.run(SECOND);
    bench.fabric.set_link_fault(bench.now, link, loss);
    bench.run(SECOND * 2);
    assert_eq!(
        bench.count(|event| matches!(event, SmEvent::Warning(Warning::NoAnswer { .. }))),
        1,
        "{:?}",
        bench.events
    );
    bench.events.clear();
    bench.set_link("leaf1", 4, true);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.count(|event| matches!(event, SmEvent::LinkDown { .. })), 1, "{:?}", bench.events);
    bench.fabric.set_link_fault(bench.now, link, LinkFault::NONE);
    bench.run(SECOND * 11);
    bench.check_paths(0);
}

#[test]
fn lids_outlive_the_manager_if_they_are_kept() {
    let mut bench = up("fat-tree:k=4");
    let before = bench.all_active();
    let mut kept = bench.sm(0).remembered_lids();
    assert_eq!(kept.len(), 36);
    // All of it anew, in another order: only the file can tell.
    for (_, lid) in &mut kept {
        lid.0 += 100;
    }
    let mut bench = Bench::new("fat-tree:k=4");
    bench.manager("h7", SmConfig { lids: kept, ..SmConfig::default() });
    bench.run(SECOND);
    let after = bench.all_active();
    assert!(before.iter().zip(&after).all(|(old, new)| old.0 == new.0 && Lid(old.1.0 + 100) == *new.1));
}
