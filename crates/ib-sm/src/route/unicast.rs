//! Unicast forwarding: shortest legal paths, spread over equal ports by destination.
//!
//! Several orders are tried and the best is kept: first that every pair of hosts has a path, then that paths are
//! short. A switch without hosts may still have no legal path to some destination (one spine to another): its own
//! few management packets then go the shortest way there is; no host's packet passes there.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{
    graph::{Edge, Graph},
    order::Order,
};

/// The forwarding tables of all switches, and the order that made them.
#[derive(Clone, Debug)]
pub(crate) struct Unicast {
    /// For each switch the egress port by LID.
    pub(crate) tables: Vec<Vec<u8>>,
    /// Which way is up.
    pub(crate) order: Order,
}

const FAR: u32 = u32::MAX;

/// Routes all LIDs on all switches.
pub(crate) fn route(graph: &Graph) -> Unicast {
    let order = best_order(graph);
    let limit = graph.lid_limit();
    let mut tables = vec![vec![PortNum::ALL.0; limit]; graph.len()];
    let divisors = divisors(graph, &order);
    let mut ways = Ways::new(graph.len());
    let mut equal: Vec<PortNum> = Vec::new();
    let mut number = 0;
    for dest in 0..graph.len() {
        ways.find(graph, &order, dest);
        ways.fill(graph);
        let leaves = graph.leaves(dest);
        for (switch, table) in tables.iter_mut().enumerate() {
            if switch == dest || ways.steps[switch] == FAR {
                continue;
            }
            equal.clear();
            equal.extend(ways.next(graph, &order, switch).map(|edge| edge.port));
            let climbs = !ways.descends[switch];
            let divisor = if climbs { divisors[order.height(switch)] } else { 1 };
            let lids = leaves.iter().flat_map(|leaf| leaf.lid..leaf.lid + leaf.lids);
            for (lid, n) in lids.zip(number..) {
                table[usize::from(lid)] = equal[n / divisor % equal.len()].0;
            }
        }
        for leaf in leaves {
            let first = usize::from(leaf.lid);
            tables[dest][first..first + usize::from(leaf.lids)].fill(leaf.port.0);
        }
        // The switch's own LID comes last and takes no number, so that hosts are dealt out evenly.
        number += leaves
            .iter()
            .filter(|leaf| leaf.port != PortNum::MANAGEMENT)
            .map(|leaf| usize::from(leaf.lids))
            .sum::<usize>();
    }
    Unicast { tables, order }
}

/// Destinations are dealt out to equal ports like cards: at the bottom by their number, one level up by the number
/// of the round, and so on. Otherwise all that reaches a switch of the second level would leave it by one port.
fn divisors(graph: &Graph, order: &Order) -> Vec<usize> {
    let mut widest: Vec<usize> = Vec::new();
    for switch in 0..graph.len() {
        let height = order.height(switch);
        widest.resize(widest.len().max(height + 1), 1);
        let up = graph.edges(switch).iter().filter(|edge| order.is_up(switch, edge.to as usize)).count();
        widest[height] = widest[height].max(up);
    }
    let before = |product: &mut usize, width: usize| {
        let divisor = *product;
        *product = product.saturating_mul(width);
        Some(divisor)
    };
    widest.into_iter().scan(1, before).collect()
}

fn best_order(graph: &Graph) -> Order {
    let most = (0..graph.len()).map(|switch| graph.hosts(switch)).max().unwrap_or(0);
    let mut orders = vec![Order::from_hosts(graph, 1)];
    for order in [Order::from_hosts(graph, most / 2), Order::from_roots(graph)] {
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    if orders.len() == 1 {
        return orders.remove(0);
    }
    let best = (0..orders.len()).min_by_key(|at| cost(graph, &orders[*at])).unwrap_or(0);
    orders.swap_remove(best)
}

/// Pairs of switches with hosts that have no path, and the steps of all others together.
fn cost(graph: &Graph, order: &Order) -> (usize, u64) {
    let with_hosts: Vec<usize> = (0..graph.len()).filter(|switch| graph.hosts(*switch) > 0).collect();
    let mut ways = Ways::new(graph.len());
    let (mut without, mut steps) = (0, 0);
    for &dest in &with_hosts {
        ways.find(graph, order, dest);
        for &switch in &with_hosts {
            match ways.steps[switch] {
                FAR => without += 1,
                n => steps += u64::from(n),
            }
        }
    }
    (without, steps)
}

/// The ways of all switches to one destination.
struct Ways {
    /// Steps to go.
    steps: Vec<u32>,
    /// The way only descends.
    descends: Vec<bool>,
    /// The way is not legal.
    makeshift: Vec<bool>,
    queue: Vec<u32>,
}

impl Ways {
    fn new(len: usize) -> Self {
        Self {
            steps: vec![FAR; len],
            descends: vec![false; len],
            makeshift: vec![false; len],
            queue: Vec::new(),
        }
    }

    /// Legal ways. A switch from which one can descend to the destination does so, even if climbing first were
    /// shorter: those above it rely on that.
    fn find(&mut self, graph: &Graph, order: &Order, dest: usize) {
        self.steps.fill(FAR);
        self.descends.fill(false);
        self.makeshift.fill(false);
        self.queue.clear();
        self.queue.push(u32::try_from(dest).expect("fewer switches than 2^32"));
        self.steps[dest] = 0;
        self.descends[dest] = true;
        let mut next = 0;
        while let Some(&at) = self.queue.get(next) {
            next += 1;
            let at = at as usize;
            for edge in graph.edges(at) {
                let to = edge.to as usize;
                if self.steps[to] == FAR && order.is_up(at, to) {
                    self.steps[to] = self.steps[at] + 1;
                    self.descends[to] = true;
                    self.queue.push(edge.to);
                }
            }
        }
        for &switch in order.downwards() {
            let switch = switch as usize;
            if !self.descends[switch] {
                let up = graph.edges(switch).iter().filter(|edge| order.is_up(switch, edge.to as usize));
                let nearest = up.map(|edge| self.steps[edge.to as usize]).min().unwrap_or(FAR);
                self.steps[switch] = nearest.saturating_add(1);
            }
        }
    }

    /// Makeshift ways for switches that have none, over the nearest that has one.
    fn fill(&mut self, graph: &Graph) {
        let mut open: Vec<usize> = (0..graph.len()).filter(|switch| self.steps[*switch] == FAR).collect();
        while !open.is_empty() {
            let reach = |switch: &usize| {
                graph.edges(*switch).iter().map(|edge| self.steps[edge.to as usize]).min().unwrap_or(FAR)
            };
            let Some(nearest) = open.iter().map(reach).min().filter(|steps| *steps != FAR) else { return };
            let (now, later) = open.iter().partition(|switch| reach(switch) == nearest);
            open = later;
            let now: Vec<usize> = now;
            for switch in now {
                self.steps[switch] = nearest + 1;
                self.makeshift[switch] = true;
            }
        }
    }

    /// The cables that shorten the way.
    fn next<'a>(
        &'a self,
        graph: &'a Graph,
        order: &'a Order,
        switch: usize,
    ) -> impl Iterator<Item = &'a Edge> {
        let (steps, descends, makeshift) =
            (self.steps[switch], self.descends[switch], self.makeshift[switch]);
        graph.edges(switch).iter().filter(move |edge| {
            let to = edge.to as usize;
            let legal = if descends {
                self.descends[to] && !order.is_up(switch, to)
            } else {
                order.is_up(switch, to)
            };
            self.steps[to] == steps - 1 && (legal || makeshift)
        })
    }
}
