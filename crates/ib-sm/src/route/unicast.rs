//! Unicast forwarding: shortest legal paths, spread over equal ports by destination.
//!
//! Several orders are tried and the best is kept: first that every pair of hosts has a path, then that paths are
//! short. A switch without hosts may still have no legal path to some destination (one spine to another): its own
//! few management packets then go the shortest way there is; no host's packet passes there.
//!
//! A change of few links is not worth all that. The order stays the one that was best, only the ways to destinations that
//! the change concerns are sought again, and elsewhere only the switches at those links are looked at.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{
    graph::Graph,
    order::Order,
    ranked::{Kind, Ranked, Way},
};

/// For each switch the egress port by LID.
pub(crate) type Tables = Vec<Vec<u8>>;

/// How all LIDs are routed on all switches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unicast {
    order: Order,
    maker: usize,
    links: Ranked,
    divisors: Vec<usize>,
    /// For each destination the ways of all switches.
    ways: Vec<Vec<Way>>,
}

impl Unicast {
    /// Routes all LIDs on all switches.
    pub(crate) fn new(graph: &Graph) -> (Self, Tables) {
        let (maker, order, links) = best_order(graph);
        let divisors = divisors(&order, &links);
        let mut tables = vec![vec![PortNum::ALL.0; graph.lid_limit()]; graph.len()];
        let ways = vec![Vec::new(); graph.len()];
        let mut routes = Self { order, maker, links, divisors, ways };
        let mut dealer = Dealer::default();
        for dest in 0..graph.len() {
            let mut ways = core::mem::take(&mut routes.ways[dest]);
            routes.find(dest, &mut ways);
            routes.ways[dest] = ways;
            routes.lay(graph, &mut dealer, dest, 0..graph.len(), &mut tables);
            dealer.dealt += graph.hosts(dest);
        }
        (routes, tables)
    }

    /// Goes on from the routes and tables of nearly the same graph: `before`. False if it is too different, and
    /// nothing here is right any more.
    pub(crate) fn update(&mut self, before: &Graph, graph: &Graph, tables: &mut Tables) -> bool {
        let (len, limit) = (graph.len(), graph.lid_limit());
        let fits = (tables.len(), self.ways.len()) == (len, len) && graph.has_leaves_of(before);
        if !fits || tables.iter().any(|table| table.len() != limit) {
            return false;
        }
        let order = MAKERS[self.maker](graph);
        let links = Ranked::new(graph, &order);
        let touched: Vec<usize> = (0..graph.len()).filter(|at| !links.agrees(&self.links, *at)).collect();
        if touched.len() > graph.len() / 4 || divisors(&order, &links) != self.divisors {
            return false;
        }
        (self.order, self.links) = (order, links);
        let mut dealer = Dealer::default();
        let mut fresh = Vec::new();
        for dest in 0..graph.len() {
            let known = &self.ways[dest];
            if touched.iter().all(|at| self.links.way(known, dest, *at) == known[*at]) {
                self.lay(graph, &mut dealer, dest, touched.iter().copied(), tables);
            } else {
                self.find(dest, &mut fresh);
                let loses = |at: usize| known[at].is_legal() && !fresh[at].is_legal();
                // Another order may have a path for them.
                if graph.hosts(dest) > 0 && (0..graph.len()).any(|at| graph.hosts(at) > 0 && loses(at)) {
                    return false;
                }
                core::mem::swap(&mut self.ways[dest], &mut fresh);
                self.lay(graph, &mut dealer, dest, 0..graph.len(), tables);
            }
            dealer.dealt += graph.hosts(dest);
        }
        true
    }

    /// Which way is up.
    pub(crate) const fn order(&self) -> &Order {
        &self.order
    }

    fn find(&self, dest: usize, ways: &mut Vec<Way>) {
        self.links.find(self.order.downwards(), dest, ways);
        self.links.fill(ways);
    }

    /// Writes what leads from these switches to the end ports of `dest`.
    fn lay(
        &self,
        graph: &Graph,
        dealer: &mut Dealer,
        dest: usize,
        switches: impl Iterator<Item = usize>,
        tables: &mut Tables,
    ) {
        let (leaves, ways) = (graph.leaves(dest), &self.ways[dest]);
        for switch in switches {
            let table = &mut tables[switch];
            if switch == dest {
                for leaf in leaves {
                    let first = usize::from(leaf.lid);
                    table[first..first + usize::from(leaf.lids)].fill(leaf.port.0);
                }
                continue;
            }
            self.links.next(ways, switch, &mut dealer.equal);
            let kind = ways[switch].kind;
            let seats = if kind == Kind::Climbs { self.links.up_ports(switch) } else { &dealer.equal };
            let divisor = if kind == Kind::Descends { 1 } else { self.divisors[self.order.height(switch)] };
            let lids = leaves.iter().flat_map(|leaf| leaf.lid..leaf.lid + leaf.lids);
            dealer.deal(table, lids, seats, divisor);
        }
    }
}

/// Deals LIDs out to equal ports, as the cards of a game.
#[derive(Default)]
struct Dealer {
    /// The ports that play.
    equal: Vec<PortNum>,
    /// How many cards have been dealt before.
    dealt: usize,
}

impl Dealer {
    /// Every port has a seat. The cards of one that does not play go to those that do, and all others to whom they went
    /// before.
    fn deal(&self, table: &mut [u8], lids: impl Iterator<Item = u16>, seats: &[PortNum], divisor: usize) {
        let Self { equal, dealt } = self;
        let mut last = None;
        for (card, lid) in (*dealt..).zip(lids) {
            let turn = card / divisor;
            let port = match last {
                Some((before, port)) if before == turn => port,
                _ if equal.is_empty() => PortNum::ALL,
                _ => {
                    let (round, seat) = (turn / seats.len(), turn % seats.len());
                    let plays = equal.len() == seats.len() || equal.contains(&seats[seat]);
                    if plays { seats[seat] } else { equal[(round + seat) % equal.len()] }
                }
            };
            last = Some((turn, port));
            table[usize::from(lid)] = port.0;
        }
    }
}

/// Destinations are dealt out to equal ports like cards: at the bottom one to each port, one level up a round to
/// each port, and so on. Otherwise all that reaches a switch of the second level would leave it by one port.
fn divisors(order: &Order, links: &Ranked) -> Vec<usize> {
    let mut widest: Vec<usize> = Vec::new();
    for switch in order.downwards().iter().map(|switch| *switch as usize) {
        let height = order.height(switch);
        widest.resize(widest.len().max(height + 1), 1);
        widest[height] = widest[height].max(links.up_ports(switch).len());
    }
    let before = |product: &mut usize, width: usize| {
        let divisor = *product;
        *product = product.saturating_mul(width);
        Some(divisor)
    };
    widest.into_iter().scan(1, before).collect()
}

/// Ways to make an order.
const MAKERS: [fn(&Graph) -> Order; 3] = [
    |graph| Order::from_hosts(graph, 1),
    |graph| Order::from_hosts(graph, (0..graph.len()).map(|at| graph.hosts(at)).max().unwrap_or(0) / 2),
    Order::from_roots,
];

/// The best, and which of the makers made it.
fn best_order(graph: &Graph) -> (usize, Order, Ranked) {
    let mut best: Option<((usize, u64), usize, Order, Ranked)> = None;
    for (maker, make) in MAKERS.iter().enumerate() {
        let order = make(graph);
        if best.as_ref().is_some_and(|(_, _, tried, _)| *tried == order) {
            continue;
        }
        let links = Ranked::new(graph, &order);
        let cost = cost(graph, &order, &links);
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, maker, order, links));
        }
    }
    let (_, maker, order, links) = best.expect("three were tried");
    (maker, order, links)
}

/// Pairs of switches with hosts that have no path, and the steps of all others together.
fn cost(graph: &Graph, order: &Order, links: &Ranked) -> (usize, u64) {
    let with_hosts: Vec<usize> = (0..graph.len()).filter(|switch| graph.hosts(*switch) > 0).collect();
    let mut ways = Vec::new();
    let (mut without, mut steps) = (0, 0);
    for &dest in &with_hosts {
        links.find(order.downwards(), dest, &mut ways);
        for &at in &with_hosts {
            match ways[at] {
                Way::NONE => without += 1,
                way => steps += u64::from(way.steps),
            }
        }
    }
    (without, steps)
}
