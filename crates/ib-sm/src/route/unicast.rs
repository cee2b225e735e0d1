//! Unicast forwarding: shortest legal paths, spread over equal ports by destination.
//!
//! Several orders are tried and the best is kept: first that every pair of hosts has a path, then that paths are
//! short. A switch without hosts may still have no legal path to some destination (one spine to another): its own
//! few management packets then go the shortest way there is; no host's packet passes there.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{
    graph::Graph,
    order::Order,
    ranked::{FAR, Ranked, Ways},
};

/// The forwarding tables of all switches, and the order that made them.
#[derive(Clone, Debug)]
pub(crate) struct Unicast {
    /// For each switch the egress port by LID.
    pub(crate) tables: Vec<Vec<u8>>,
    /// Which way is up.
    pub(crate) order: Order,
}

/// Routes all LIDs on all switches.
pub(crate) fn route(graph: &Graph) -> Unicast {
    let (order, links) = best_order(graph);
    let mut tables = vec![vec![PortNum::ALL.0; graph.lid_limit()]; graph.len()];
    let divisors = divisors(&order, &links);
    let mut ways = Ways::new(graph.len());
    let mut equal: Vec<PortNum> = Vec::new();
    let mut number = 0;
    for dest in 0..graph.len() {
        let leaves = graph.leaves(dest);
        ways.find(&links, order.place(dest) as usize);
        ways.fill(&links);
        for (at, &switch) in order.downwards().iter().enumerate() {
            let switch = switch as usize;
            if switch == dest || ways.steps[at] == FAR {
                continue;
            }
            ways.next(&links, at, &mut equal);
            let divisor = if ways.climbs(at) { divisors[order.height(switch)] } else { 1 };
            let lids = leaves.iter().flat_map(|leaf| leaf.lid..leaf.lid + leaf.lids);
            deal(&mut tables[switch], lids, &equal, number, divisor);
        }
        for leaf in leaves {
            let first = usize::from(leaf.lid);
            tables[dest][first..first + usize::from(leaf.lids)].fill(leaf.port.0);
        }
        number += graph.hosts(dest);
    }
    Unicast { tables, order }
}

/// Deals LIDs out to equal ports, as the cards of a game of which `number` have been dealt before.
fn deal(table: &mut [u8], lids: impl Iterator<Item = u16>, equal: &[PortNum], number: usize, divisor: usize) {
    let (mut at, mut left) = (number / divisor % equal.len(), divisor - number % divisor);
    for lid in lids {
        table[usize::from(lid)] = equal[at].0;
        left -= 1;
        if left == 0 {
            left = divisor;
            at = if at + 1 == equal.len() { 0 } else { at + 1 };
        }
    }
}

/// Destinations are dealt out to equal ports like cards: at the bottom one to each port, one level up a round to
/// each port, and so on. Otherwise all that reaches a switch of the second level would leave it by one port.
fn divisors(order: &Order, links: &Ranked) -> Vec<usize> {
    let mut widest: Vec<usize> = Vec::new();
    for (at, &switch) in order.downwards().iter().enumerate() {
        let height = order.height(switch as usize);
        widest.resize(widest.len().max(height + 1), 1);
        widest[height] = widest[height].max(links.ups(at));
    }
    let before = |product: &mut usize, width: usize| {
        let divisor = *product;
        *product = product.saturating_mul(width);
        Some(divisor)
    };
    widest.into_iter().scan(1, before).collect()
}

fn best_order(graph: &Graph) -> (Order, Ranked) {
    let most = (0..graph.len()).map(|switch| graph.hosts(switch)).max().unwrap_or(0);
    let mut best: Option<((usize, u64), Order, Ranked)> = None;
    let makers: [fn(&Graph, usize) -> Order; 3] = [
        |graph, _| Order::from_hosts(graph, 1),
        |graph, most| Order::from_hosts(graph, most / 2),
        |graph, _| Order::from_roots(graph),
    ];
    for make in makers {
        let order = make(graph, most);
        if best.as_ref().is_some_and(|(_, tried, _)| *tried == order) {
            continue;
        }
        let links = Ranked::new(graph, &order);
        let cost = cost(graph, &order, &links);
        if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
            best = Some((cost, order, links));
        }
    }
    let (_, order, links) = best.expect("three were tried");
    (order, links)
}

/// Pairs of switches with hosts that have no path, and the steps of all others together.
fn cost(graph: &Graph, order: &Order, links: &Ranked) -> (usize, u64) {
    let with_hosts = (0..graph.len()).filter(|switch| graph.hosts(*switch) > 0);
    let places: Vec<usize> = with_hosts.map(|switch| order.place(switch) as usize).collect();
    let mut ways = Ways::new(graph.len());
    let (mut without, mut steps) = (0, 0);
    for &dest in &places {
        ways.find(links, dest);
        for &at in &places {
            match ways.steps[at] {
                FAR => without += 1,
                n => steps += u64::from(n),
            }
        }
    }
    (without, steps)
}
