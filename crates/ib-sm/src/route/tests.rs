//! Proofs by walking: every pair has a path, no set of host packets can wait in a circle, loads are even.

use alloc::{format, vec, vec::Vec};

use ib_fabric::topology::{self, NodeKind, Topology};
use ib_wire::addr::PortNum;
use petgraph::{algo::is_cyclic_directed, graphmap::DiGraphMap};
use proptest::prelude::*;

use super::{
    graph::{Edge, Graph, Leaf},
    multicast::{Member, Trees},
    unicast::{Tables, Unicast},
};

/// Numbers the switches of a plan as they stand there, and gives out LIDs in the order of the nodes.
fn graph_of(plan: &Topology) -> Graph {
    let switches = plan.switches().count();
    let mut edges = vec![Vec::new(); switches];
    let mut leaves = vec![Vec::new(); switches];
    for (index, _) in plan.switches() {
        let lid = u16::try_from(index.0 + 1).unwrap();
        leaves[index.0].push(Leaf { lid, lids: 1, port: PortNum::MANAGEMENT });
    }
    for link in &plan.links {
        for (a, b) in [(link.a, link.b), (link.b, link.a)] {
            if plan[a.node].kind != NodeKind::Switch {
                continue;
            }
            let to = u32::try_from(b.node.0).unwrap();
            if plan[b.node].kind == NodeKind::Switch {
                edges[a.node.0].push(Edge { to, port: a.port, far: b.port });
            } else {
                let lid = u16::try_from(b.node.0 + 1).unwrap();
                leaves[a.node.0].push(Leaf { lid, lids: 1, port: a.port });
            }
        }
    }
    Graph::new(edges, leaves)
}

/// The cables a packet takes from a switch to a LID, as (switch, port) it leaves by.
fn walk(graph: &Graph, tables: &Tables, from: usize, lid: u16) -> Option<Vec<(usize, PortNum)>> {
    let (mut at, mut way) = (from, Vec::new());
    loop {
        let port = PortNum(tables[at][usize::from(lid)]);
        if graph.leaves(at).iter().any(|leaf| leaf.lid == lid && leaf.port == port) {
            return Some(way);
        }
        let edge = graph.edges(at).iter().find(|edge| edge.port == port)?;
        way.push((at, port));
        at = edge.to as usize;
        assert!(way.len() <= graph.len(), "a loop on the way from {from} to LID {lid}: {way:?}");
    }
}

/// Checks a graph in one piece; returns how many host paths go over the busiest cable.
fn check(name: &str, graph: &Graph) -> usize {
    check_tables(name, graph, &Unicast::new(graph).1)
}

fn check_tables(name: &str, graph: &Graph, tables: &Tables) -> usize {
    let mut waits: DiGraphMap<(usize, PortNum), ()> = DiGraphMap::new();
    let mut loads = alloc::collections::BTreeMap::new();
    for from in 0..graph.len() {
        for dest in 0..graph.len() {
            for leaf in graph.leaves(dest) {
                let Some(way) = walk(graph, tables, from, leaf.lid) else {
                    panic!("{name}: no way from switch {from} to LID {}", leaf.lid)
                };
                if graph.hosts(from) == 0 || leaf.port == PortNum::MANAGEMENT {
                    continue;
                }
                for pair in way.windows(2) {
                    waits.add_edge(pair[0], pair[1], ());
                }
                for cable in way {
                    *loads.entry(cable).or_insert(0) += graph.hosts(from);
                }
            }
        }
    }
    assert!(!is_cyclic_directed(&waits), "{name}: packets may wait in a circle");
    loads.values().copied().max().unwrap_or(0)
}

#[test]
fn every_generated_plan_is_routed_without_circles() {
    for name in [
        "pair",
        "star:8",
        "line:5",
        "ring:3",
        "ring:9",
        "ring:8,hosts=3",
        "fat-tree:k=4",
        "fat-tree:k=6",
        "fat-tree:k=8,levels=2",
        "fat-tree:k=4,hosts=5",
        "fat-tree:k=8,hosts=3",
        "mesh:20",
        "mesh:30,links=100",
    ] {
        check(name, &graph_of(&topology::generate(name).unwrap()));
    }
}

#[test]
fn grids_are_routed_without_circles() {
    for (width, height) in [(3u8, 3u8), (4, 5), (8, 2)] {
        let mut plan = Topology::new();
        let at = |x: u8, y: u8| topology::NodeIndex(usize::from(y) * usize::from(width) + usize::from(x));
        for i in 0..u16::from(width) * u16::from(height) {
            plan.add_switch(format!("sw{i}"), 8);
        }
        for y in 0..height {
            for x in 0..width {
                // A torus: each row and each column is a ring.
                plan.connect((at(x, y), 1), (at((x + 1) % width, y), 2));
                plan.connect((at(x, y), 3), (at(x, (y + 1) % height), 4));
                let host = plan.add_host(format!("h{x}-{y}"), 1);
                plan.connect((host, 1), (at(x, y), 5));
            }
        }
        check("torus", &graph_of(&plan));
    }
}

#[test]
fn a_whole_fat_tree_loses_nothing_by_its_order() {
    for (name, hosts, uplinks) in
        [("fat-tree:k=4", 16, 2), ("fat-tree:k=8", 128, 4), ("fat-tree:k=8,levels=2", 32, 4)]
    {
        let graph = graph_of(&topology::generate(name).unwrap());
        let busiest = check(name, &graph);
        // All hosts of a leaf send to all others: up one cable goes an equal share of the destinations.
        let share = uplinks * (hosts - uplinks) / uplinks;
        assert!(busiest <= share + uplinks, "{name}: {busiest} paths over one cable, {share} would be even");
    }
}

#[test]
fn a_fat_tree_stays_whole_with_links_cut_and_hosts_on_spines() {
    let mut plan = topology::generate("fat-tree:k=4").unwrap();
    let whole = plan.links.len();
    for cut in 0..whole {
        let mut plan = plan.clone();
        let link = plan.links.remove(cut);
        if plan[link.a.node].kind == NodeKind::Switch && plan[link.b.node].kind == NodeKind::Switch {
            check("one cable less", &graph_of(&plan));
        }
    }
    let core = plan.find("core1").unwrap();
    let host = plan.add_host("extra", 1);
    plan.nodes[core.0].port_count = 8;
    plan.connect((core, 8), (host, 1));
    check("a host on a spine", &graph_of(&plan));
}

/// The plan without one of its cables.
fn without(plan: &Topology, link: usize) -> Topology {
    let mut plan = plan.clone();
    plan.links.remove(link);
    plan
}

fn is_trunk(plan: &Topology, link: &topology::Link) -> bool {
    [link.a, link.b].iter().all(|end| plan[end.node].kind == NodeKind::Switch)
}

/// Entries that differ.
fn differences(a: &Tables, b: &Tables) -> usize {
    a.iter().flatten().zip(b.iter().flatten()).filter(|(a, b)| a != b).count()
}

#[test]
fn routes_that_follow_a_change_are_those_made_afresh() {
    for name in ["fat-tree:k=4", "fat-tree:k=8", "fat-tree:k=8,levels=2"] {
        let plan = topology::generate(name).unwrap();
        let whole = graph_of(&plan);
        let (_, first) = Unicast::new(&whole);
        for cut in (0..plan.links.len()).filter(|cut| is_trunk(&plan, &plan.links[*cut])) {
            let graph = graph_of(&without(&plan, cut));
            let (mut routes, mut tables) = Unicast::new(&whole);
            assert!(routes.update(&whole, &graph, &mut tables), "{name}, cable {cut}");
            assert_eq!(tables, Unicast::new(&graph).1, "{name}, cable {cut}");
            assert!(routes.update(&graph, &whole, &mut tables), "{name}, cable {cut} again");
            assert_eq!(tables, first, "{name}, cable {cut} again");
        }
    }
}

#[test]
fn a_cut_cable_leaves_most_entries_as_they_are() {
    let plan = topology::generate("fat-tree:k=8").unwrap();
    let whole = graph_of(&plan);
    let (mut routes, mut tables) = Unicast::new(&whole);
    let before = tables.clone();
    let cut = plan.links.iter().rposition(|link| is_trunk(&plan, link)).unwrap();
    assert!(routes.update(&whole, &graph_of(&without(&plan, cut)), &mut tables));
    let (changed, all) = (differences(&before, &tables), before.iter().map(Vec::len).sum::<usize>());
    assert!(changed > 0 && changed < all / 20, "{changed} of {all}");
}

#[test]
fn too_great_a_change_is_refused() {
    let whole = graph_of(&topology::generate("fat-tree:k=8").unwrap());
    let (mut routes, mut tables) = Unicast::new(&whole);
    let other = graph_of(&topology::generate("fat-tree:k=8,hosts=100").unwrap());
    assert!(!routes.update(&whole, &other, &mut tables));
    assert!(!Unicast::default().update(&Graph::default(), &whole, &mut Tables::new()));
}

#[test]
fn unreachable_is_port_255() {
    let mut plan = Topology::new();
    for i in 0..2u8 {
        let switch = plan.add_switch(format!("sw{i}"), 4);
        let host = plan.add_host(format!("h{i}"), 1);
        plan.connect((switch, 1), (host, 1));
    }
    plan.normalize();
    let graph = graph_of(&plan);
    let (_, tables) = Unicast::new(&graph);
    assert_eq!(tables[0], [255, 0, 255, 1, 255]);
    assert_eq!(tables[1], [255, 255, 0, 255, 1]);
}

#[test]
fn groups_have_trees_that_reach_all_members_once() {
    for name in ["pair", "star:8", "ring:9", "fat-tree:k=4", "fat-tree:k=8,levels=2", "mesh:30,links=100"] {
        let graph = graph_of(&topology::generate(name).unwrap());
        let (routes, _) = Unicast::new(&graph);
        let mut trees = Trees::new(routes.order());
        for number in 0..8 {
            let hosts = (0..graph.len()).flat_map(|s| graph.leaves(s).iter().map(move |leaf| (s, leaf)));
            let members: Vec<Member> = hosts
                .filter(|(_, leaf)| usize::from(leaf.lid) % (number + 1) == 0)
                .map(|(switch, leaf)| Member { switch, port: leaf.port, receives: leaf.lid % 5 != 0 })
                .collect();
            let masks = trees.masks(&graph, number, &members);
            for sender in &members {
                let mut got = Vec::new();
                let mut todo = vec![(sender.switch, sender.port)];
                while let Some((at, came_by)) = todo.pop() {
                    for port in masks[at].unwrap().ports().filter(|port| *port != came_by) {
                        match graph.edges(at).iter().find(|edge| edge.port == port) {
                            Some(edge) => todo.push((edge.to as usize, edge.far)),
                            None => got.push((at, port)),
                        }
                        assert!(got.len() <= members.len(), "{name}: packets go round");
                    }
                }
                got.sort_unstable();
                let mut want: Vec<_> = members
                    .iter()
                    .filter(|m| m.receives && *m != sender)
                    .map(|m| (m.switch, m.port))
                    .collect();
                want.sort_unstable();
                assert_eq!(got, want, "{name}, group {number}, from {sender:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_graph_in_one_piece_is_routed_without_circles(switches in 2usize..24, extra in 0usize..40, seed: u32) {
        let links = (switches - 1 + extra).min(switches * (switches - 1) / 2);
        let name = format!("mesh:{switches},links={links},seed={seed}");
        if let Ok(plan) = topology::generate(&name) {
            check(&name, &graph_of(&plan));
        }
    }

    #[test]
    fn any_changes_are_followed_without_circles(switches in 4usize..24, extra in 4usize..40, seed: u32, cuts: [u8; 6]) {
        let links = (switches - 1 + extra).min(switches * (switches - 1) / 2);
        let name = format!("mesh:{switches},links={links},seed={seed}");
        let Ok(mut plan) = topology::generate(&name) else { return Ok(()) };
        let mut graph = graph_of(&plan);
        let (mut routes, mut tables) = Unicast::new(&graph);
        let mut gone = Vec::new();
        for cut in cuts {
            // A third of the changes bring a cable back.
            if cut % 3 == 0 && let Some(link) = gone.pop() {
                plan.links.push(link);
            } else {
                let trunks: Vec<usize> = (0..plan.links.len()).filter(|at| is_trunk(&plan, &plan.links[*at])).collect();
                gone.push(plan.links.remove(trunks[usize::from(cut) % trunks.len()]));
            }
            let next = graph_of(&plan);
            if next.steps_from(core::iter::once(0)).contains(&u32::MAX) {
                return Ok(());
            }
            if !routes.update(&graph, &next, &mut tables) {
                (routes, tables) = Unicast::new(&next);
            }
            graph = next;
            check_tables(&name, &graph, &tables);
        }
    }
}

/// Run by hand, optimized: `cargo test --release -p ib-sm -- --ignored --nocapture tables_of`.
#[test]
#[ignore = "a measurement"]
fn tables_of_a_tree_with_11664_hosts() {
    extern crate std;
    let plan = topology::generate("fat-tree:k=36").unwrap();
    let graph = graph_of(&plan);
    let start = std::time::Instant::now();
    let (mut routes, mut tables) = Unicast::new(&graph);
    std::println!("{} switches, {} LIDs: {:?}", graph.len(), graph.lid_limit() - 1, start.elapsed());
    assert_eq!(tables.len(), 1620);
    let cut = without(&plan, plan.links.iter().rposition(|link| is_trunk(&plan, link)).unwrap());
    let start = std::time::Instant::now();
    assert!(routes.update(&graph, &graph_of(&cut), &mut tables));
    std::println!("with a link cut: {:?}", start.elapsed());
}
