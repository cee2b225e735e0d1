//! Whole subnets in virtual time: hosts come up, resolve each other, lose their manager, change their LIDs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ib_fabric::topology;
use ib_lab::{InterfaceId, LabConfig, ManagerConfig, Simulation};
use ib_sm::sa::Manner;
use ipoib_proto::Drop;

fn lab(spec: &str) -> LabConfig {
    LabConfig::new(topology::generate(spec).expect("a generator's spec"))
}

fn up(config: LabConfig) -> Simulation {
    let mut simulation = Simulation::new(config).expect("a lab");
    let all = simulation.lab().interfaces().len();
    let came = simulation.run_until(Duration::from_secs(60), |s| s.up() == all);
    assert!(came, "{} of {all} interfaces came up:\n{}", simulation.up(), tail(&simulation));
    simulation
}

fn tail(simulation: &Simulation) -> String {
    let log: Vec<String> = simulation.log().collect();
    log[log.len().saturating_sub(40)..].join("\n")
}

/// A generator for tests: the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// Every host pings `peers` random others; all at once.
fn ping_random_peers(simulation: &mut Simulation, peers: usize, seed: u64) -> Vec<BTreeSet<usize>> {
    let n = simulation.lab().interfaces().len();
    let mut chance = Chance(seed);
    let mut wanted = Vec::new();
    for from in 0..n {
        let mut set = BTreeSet::new();
        while set.len() < peers.min(n - 1) {
            let to = chance.below(n);
            if to != from {
                set.insert(to);
            }
        }
        for to in &set {
            simulation.ping(InterfaceId(from), InterfaceId(*to));
        }
        wanted.push(set);
    }
    wanted
}

/// What all interfaces counted about paths.
fn counted(simulation: &Simulation) -> String {
    let mut sum = [0; 5];
    for (_, attached) in simulation.lab().interfaces() {
        let c = attached.engine.snapshot().counters;
        let now = [c.path_queries, c.path_resolved, c.path_failed, c.sa_retries, c.rx_unknown_source];
        sum.iter_mut().zip(now).for_each(|(sum, n)| *sum += n);
    }
    format!("queries, resolved, failed, retries, unknown sources: {sum:?}")
}

/// Discarded packets of all interfaces by reason.
fn drops(simulation: &Simulation) -> String {
    let mut sum = BTreeMap::new();
    for (_, attached) in simulation.lab().interfaces() {
        let drops = attached.engine.snapshot().counters.drops;
        for (drop, n) in Drop::ALL.iter().map(|drop| (drop, drops.get(*drop))) {
            *sum.entry(drop.name()).or_insert(0) += n;
        }
    }
    let fabric = simulation.lab().fabric();
    sum.extend(ib_fabric::Drop::ALL.iter().map(|drop| (drop.name(), fabric.dropped(*drop))));
    sum.retain(|_, n| *n > 0);
    format!("{sum:?}")
}

fn path_queries(simulation: &Simulation) -> u64 {
    simulation.lab().interfaces().map(|(_, a)| a.engine.snapshot().counters.path_queries).sum()
}

#[test]
fn four_hosts_come_up_and_ping_all_pairs() {
    let mut simulation = up(lab("pair"));
    let n = simulation.lab().interfaces().len();
    assert_eq!(n, 4);
    for from in 0..n {
        for to in (0..n).filter(|to| *to != from) {
            simulation.ping(InterfaceId(from), InterfaceId(to));
        }
    }
    simulation.run_for(Duration::from_secs(5));
    for i in 0..n {
        let host = simulation.host(InterfaceId(i)).unwrap();
        assert!(host.replies >= 3, "host {i} got {} replies\n{}", host.replies, tail(&simulation));
    }
}

#[test]
fn the_same_seed_gives_the_same_log_and_another_seed_another() {
    let run = |seed| {
        let mut config = LabConfig { seed, ..lab("fat-tree:k=4") };
        config.topology.links[3].model.shares.set(topology::Mishap::Loss, "5%".parse().unwrap());
        let mut simulation = Simulation::new(config).unwrap();
        simulation.run_for(Duration::from_secs(10));
        ping_random_peers(&mut simulation, 5, 7);
        simulation.run_for(Duration::from_secs(10));
        simulation.log().collect::<Vec<_>>()
    };
    let first = run(1);
    assert!(first.len() > 16, "{first:?}");
    assert!(first == run(1), "two runs with one seed differ");
    assert!(first != run(2), "loss does not depend on the seed");
}

#[test]
fn a_thousand_hosts_join_and_resolve_sixteen_peers_with_one_question_each() {
    let mut simulation = up(lab("fat-tree:k=16"));
    // The manager lays the tree of a group that large a moment after it has answered the last join.
    simulation.run_for(Duration::from_secs(1));
    let n = simulation.lab().interfaces().len();
    assert_eq!(n, 1024);
    let before = path_queries(&simulation);
    let wanted = ping_random_peers(&mut simulation, 16, 42);
    simulation.run_for(Duration::from_secs(10));
    for (from, set) in wanted.iter().enumerate() {
        let host = simulation.host(InterfaceId(from)).unwrap();
        for to in set {
            assert!(host.knows(Simulation::address(InterfaceId(*to))), "{from} does not know {to}");
        }
        assert!(
            host.replies >= set.len() as u64,
            "{from}: {} of {} replies; {}",
            host.replies,
            set.len(),
            drops(&simulation)
        );
    }
    // A new peer is one that a host talks to or is talked to by: each costs at most one question.
    let mut pairs = BTreeSet::new();
    for (from, set) in wanted.iter().enumerate() {
        for to in set {
            pairs.insert((from, *to));
            pairs.insert((*to, from));
        }
    }
    let asked = path_queries(&simulation) - before;
    assert!(
        asked <= pairs.len() as u64,
        "{asked} path queries for {} new peers; {}",
        pairs.len(),
        counted(&simulation)
    );
}

#[test]
fn no_first_ping_is_lost_while_the_manager_sweeps() {
    let mut config = lab("fat-tree:k=8");
    for link in &mut config.topology.links {
        link.model.delay = Duration::from_micros(20);
    }
    let mut simulation = up(config);
    let n = simulation.lab().interfaces().len();
    assert_eq!(n, 128);
    simulation.run_for(Duration::from_secs(5));
    let mut pings = 0;
    for stride in [1, 3, 7, 31, 61] {
        for from in 0..n {
            if from % 16 == 0 {
                simulation.with_lab(|lab, now| lab.sweep(now, 0));
            }
            simulation.ping(InterfaceId(from), InterfaceId((from + stride) % n));
            simulation.run_for(Duration::from_micros(200));
            pings += 1;
        }
    }
    let sweeps = simulation.lab().managers()[0].sm.as_ref().unwrap().snapshot().sweeps.full;
    assert!(sweeps >= 10, "{sweeps} sweeps");
    // Less than the second after which a host asks again: no question was lost either.
    simulation.run_for(Duration::from_millis(300));
    let replies: u64 = (0..n).map(|i| simulation.host(InterfaceId(i)).unwrap().replies).sum();
    assert_eq!(replies, pings, "{}", drops(&simulation));
}

/// A path is asked for three times within two seconds: who answers after five is understood all the same.
#[test]
fn hosts_come_up_and_meet_though_the_administration_takes_five_seconds_for_each_answer() {
    let mut simulation = Simulation::new(lab("pair")).expect("a lab");
    let slow = Manner::Slow(Duration::from_secs(5));
    simulation.with_lab(|lab, now| lab.with_manager(now, 0, |sm| sm.set_manner(slow)));
    assert!(simulation.run_until(Duration::from_secs(60), |s| s.up() == 4), "{}", tail(&simulation));
    let (a, b) = (InterfaceId(0), InterfaceId(3));
    for _ in 0..40 {
        simulation.ping(a, b);
        simulation.run_for(Duration::from_secs(1));
    }
    assert!(simulation.host(a).unwrap().replies > 10, "{}; {}", drops(&simulation), counted(&simulation));
    let sent = simulation.lab().interface(a).engine.snapshot().counters.sa_requests;
    assert!(sent < 60, "{sent} questions in {}", simulation.now());
}

#[test]
fn a_busy_administration_is_asked_less_and_less_often_and_harms_no_flow_that_has_its_path() {
    let mut simulation = up(lab("pair"));
    let (a, b, c) = (InterfaceId(0), InterfaceId(3), InterfaceId(2));
    simulation.ping(a, b);
    simulation.run_for(Duration::from_secs(1));
    simulation.with_lab(|lab, now| lab.with_manager(now, 0, |sm| sm.set_manner(Manner::Busy)));
    let asked = |s: &Simulation| s.lab().interface(a).engine.snapshot().counters.sa_requests;
    let (before, replies) = (asked(&simulation), simulation.host(a).unwrap().replies);
    for _ in 0..100 {
        simulation.ping(a, b);
        simulation.ping(a, c);
        simulation.run_for(Duration::from_millis(100));
    }
    assert_eq!(simulation.host(a).unwrap().replies, replies + 100, "{}", drops(&simulation));
    let asked = asked(&simulation) - before;
    assert!((3..10).contains(&asked), "{asked} questions in ten seconds");
    let snapshot = simulation.lab().interface(a).engine.snapshot().counters;
    assert!(snapshot.sa_busy >= 3 && snapshot.drops.get(Drop::TxPathQueueFull) > 0, "{}", drops(&simulation));
    simulation.with_lab(|lab, now| lab.with_manager(now, 0, |sm| sm.set_manner(Manner::Prompt)));
    simulation.run_for(Duration::from_secs(6));
    assert!(simulation.host(a).unwrap().replies > replies + 100, "who waited is heard at last");
}

/// Of the exchanges with a port behind such a link one in four succeeds, and it takes some twenty.
#[test]
fn a_host_whose_link_loses_half_of_everything_comes_up_within_a_minute() {
    let mut slowest = Duration::ZERO;
    for seed in 0..30 {
        let mut config = LabConfig { seed, ..lab("pair") };
        let link = config.topology.links.last_mut().expect("a link of h4");
        link.model.shares.set(topology::Mishap::Loss, "50%".parse().unwrap());
        slowest = slowest.max(up(config).now() - ib_wire::time::Instant::ZERO);
    }
    println!("the slowest of 30 took {slowest:?}");
}

/// What comes twice, or after what was sent later, is no mistake: nothing is lost, and no counter of ours says so.
#[test]
fn hosts_come_up_and_meet_over_links_that_duplicate_and_reorder() {
    let mut config = lab("pair");
    for link in &mut config.topology.links {
        link.model.shares.set(topology::Mishap::Duplicate, "30%".parse().unwrap());
        link.model.shares.set(topology::Mishap::Reorder, "30%".parse().unwrap());
    }
    let mut simulation = up(config);
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            simulation.ping(InterfaceId(from), InterfaceId(to));
        }
    }
    simulation.run_for(Duration::from_millis(500));
    for i in 0..4 {
        assert!(simulation.host(InterfaceId(i)).unwrap().replies >= 3, "{}", drops(&simulation));
    }
}

#[test]
fn what_is_set_up_goes_on_without_a_manager_and_a_new_one_takes_over() {
    let mut simulation = up(lab("pair"));
    let (a, b, c) = (InterfaceId(0), InterfaceId(2), InterfaceId(3));
    simulation.ping(a, b);
    simulation.run_for(Duration::from_secs(1));
    simulation.with_lab(|lab, now| lab.kill_manager(now, 0));
    let before = simulation.host(a).unwrap().replies;
    simulation.ping(a, b);
    simulation.run_for(Duration::from_secs(60));
    assert_eq!(simulation.host(a).unwrap().replies, before + 1, "\n{}", tail(&simulation));
    assert_eq!(simulation.up(), 4);

    let place = Some(("sw2".to_owned(), ib_wire::addr::PortNum(0)));
    let manager = ManagerConfig { place, ..ManagerConfig::default() };
    simulation.with_lab(|lab, now| lab.start_manager(now, manager, 9).unwrap());
    simulation.run_for(Duration::from_secs(10));
    simulation.ping(a, c);
    simulation.run_for(Duration::from_secs(5));
    assert!(simulation.host(a).unwrap().knows(Simulation::address(c)), "\n{}", tail(&simulation));
    assert_eq!(simulation.up(), 4);
}
