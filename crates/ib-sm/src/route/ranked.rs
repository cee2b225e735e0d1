//! A graph with its links sorted into those up and those down, and the legal ways in it.
//!
//! The way from a switch follows from those of its neighbours alone ([`Ranked::way`]), so ways that are right at every
//! switch whose links have changed are right everywhere. All large fabrics' time goes into this file.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{graph::Graph, order::Order};

/// Links of each switch: those up and those down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranked {
    up: Links,
    down: Links,
}

/// Links of each switch side by side, in the order of the switches they lead to: a link that comes or goes leaves the
/// others as they were.
#[derive(Clone, Debug, Default)]
struct Links {
    first: Vec<u32>,
    to: Vec<u32>,
    port: Vec<PortNum>,
}

/// The way from a switch to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// How it goes.
    pub(crate) kind: Kind,
    /// Steps to go, `u16::MAX` without a way.
    pub(crate) steps: u16,
}

/// How a way goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Down only. A switch from which one can descend does so, even if climbing first were shorter: those above it
    /// rely on that.
    Descends,
    /// Up first.
    Climbs,
    /// Over a neighbour that has a way, though that is not legal.
    Makeshift,
    /// There is none.
    None,
}

impl Way {
    /// No way.
    pub(crate) const NONE: Self = Self { kind: Kind::None, steps: u16::MAX };
    const HERE: Self = Self { kind: Kind::Descends, steps: 0 };

    /// True if packets of hosts may go it.
    pub(crate) const fn is_legal(self) -> bool {
        matches!(self.kind, Kind::Descends | Kind::Climbs)
    }

    fn descends(self) -> bool {
        self.kind == Kind::Descends
    }
}

impl Ranked {
    /// The same graph, seen by its order.
    pub(crate) fn new(graph: &Graph, order: &Order) -> Self {
        let links = |is_up: bool| {
            let mut links = Links { first: vec![0], to: Vec::new(), port: Vec::new() };
            for switch in 0..graph.len() {
                let place = order.place(switch);
                let own = graph.edges(switch).iter();
                for edge in own.filter(|edge| (order.place(edge.to as usize) < place) == is_up) {
                    links.to.push(edge.to);
                    links.port.push(edge.port);
                }
                links.first.push(u32::try_from(links.to.len()).expect("fewer cables than 2^32"));
            }
            links
        };
        Self { up: links(true), down: links(false) }
    }

    /// Ports of the links up of a switch.
    pub(crate) fn up_ports(&self, at: usize) -> &[PortNum] {
        &self.up.port[self.up.of(at)]
    }

    /// True if a switch has the same links, up and down, in both.
    pub(crate) fn agrees(&self, other: &Self, at: usize) -> bool {
        self.up.all(at).eq(other.up.all(at)) && self.down.all(at).eq(other.down.all(at))
    }

    /// The way from `at` to `dest`, as those of its neighbours make it.
    pub(crate) fn way(&self, ways: &[Way], dest: usize, at: usize) -> Way {
        if at == dest {
            return Way::HERE;
        }
        self.descent(ways, at).or_else(|| self.climb(ways, at)).unwrap_or_else(|| self.makeshift(ways, at))
    }

    /// The ways of all switches to `dest`; `downwards` are the switches, highest first.
    pub(crate) fn find(&self, downwards: &[u32], dest: usize, ways: &mut Vec<Way>) {
        ways.clear();
        ways.resize(downwards.len(), Way::NONE);
        ways[dest] = Way::HERE;
        let mut queue = vec![dest];
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let steps = ways[at].steps + 1;
            for &to in self.up.to(at) {
                let to = to as usize;
                if ways[to] == Way::NONE {
                    ways[to] = Way { kind: Kind::Descends, steps };
                    queue.push(to);
                }
            }
        }
        for &at in downwards {
            let at = at as usize;
            if ways[at] == Way::NONE {
                ways[at] = self.climb(ways, at).unwrap_or(Way::NONE);
            }
        }
    }

    /// Ways for switches that have no legal one, over the nearest that has one.
    pub(crate) fn fill(&self, ways: &mut [Way]) {
        let mut open: Vec<usize> = (0..ways.len()).filter(|at| ways[*at] == Way::NONE).collect();
        while !open.is_empty() {
            let reached: Vec<(usize, Way)> = open.iter().map(|at| (*at, self.makeshift(ways, *at))).collect();
            let nearest = reached.iter().map(|(_, way)| way.steps).min().unwrap_or(u16::MAX);
            if nearest == u16::MAX {
                return;
            }
            for (at, way) in reached.into_iter().filter(|(_, way)| way.steps == nearest) {
                ways[at] = way;
            }
            open.retain(|at| ways[*at] == Way::NONE);
        }
    }

    /// The ports by which the way from `at` gets shorter; more than one if they are equal, none without a way.
    pub(crate) fn next(&self, ways: &[Way], at: usize, ports: &mut Vec<PortNum>) {
        ports.clear();
        let Way { kind, steps } = ways[at];
        let nearer = |way: Way| way.steps.checked_add(1) == Some(steps);
        match kind {
            Kind::Descends => self.down.ports(at, |to| nearer(ways[to]) && ways[to].descends(), ports),
            Kind::Climbs => self.up.ports(at, |to| nearer(ways[to]) && ways[to].is_legal(), ports),
            Kind::Makeshift => {
                self.up.ports(at, |to| nearer(ways[to]), ports);
                self.down.ports(at, |to| nearer(ways[to]), ports);
            }
            Kind::None => {}
        }
    }

    fn descent(&self, ways: &[Way], at: usize) -> Option<Way> {
        let below = self.down.to(at).iter().map(|to| ways[*to as usize]);
        let steps = below.filter(|way| way.descends()).map(|way| way.steps).min()?;
        Some(Way { kind: Kind::Descends, steps: steps + 1 })
    }

    fn climb(&self, ways: &[Way], at: usize) -> Option<Way> {
        let above = self.up.to(at).iter().map(|to| ways[*to as usize]);
        let steps = above.filter(|way| way.is_legal()).map(|way| way.steps).min()?;
        Some(Way { kind: Kind::Climbs, steps: steps + 1 })
    }

    fn makeshift(&self, ways: &[Way], at: usize) -> Way {
        let neighbours = self.up.to(at).iter().chain(self.down.to(at));
        let steps =
            neighbours.map(|to| ways[*to as usize].steps).min().and_then(|steps| steps.checked_add(1));
        steps.map_or(Way::NONE, |steps| Way { kind: Kind::Makeshift, steps })
    }
}

impl Links {
    fn of(&self, at: usize) -> core::ops::Range<usize> {
        self.first[at] as usize..self.first[at + 1] as usize
    }

    fn to(&self, at: usize) -> &[u32] {
        &self.to[self.of(at)]
    }

    fn all(&self, at: usize) -> impl Iterator<Item = (u32, PortNum)> + '_ {
        let range = self.of(at);
        self.to[range.clone()].iter().copied().zip(self.port[range].iter().copied())
    }

    /// Ports whose link leads to a switch that `fits`.
    fn ports(&self, at: usize, fits: impl Fn(usize) -> bool, ports: &mut Vec<PortNum>) {
        ports.extend(self.all(at).filter(|(to, _)| fits(*to as usize)).map(|(_, port)| port));
    }
}
