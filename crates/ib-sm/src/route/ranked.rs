//! A graph in the order of its switches, and the legal ways in it.
//!
//! Switches go by their place here, highest first, so that a link up leads to a lower number and one pass over all
//! switches meets each after those above it. All large fabrics' time goes into this file.

use alloc::{vec, vec::Vec};

use ib_wire::addr::PortNum;

use super::{graph::Graph, order::Order};

/// Links by place: those up of each switch, and those down.
#[derive(Clone, Debug)]
pub(crate) struct Ranked {
    up: Links,
    down: Links,
}

/// Links of each switch side by side, sorted by the place they lead to.
#[derive(Clone, Debug)]
struct Links {
    first: Vec<u32>,
    to: Vec<u32>,
    port: Vec<PortNum>,
}

/// No way.
pub(crate) const FAR: u32 = u32::MAX;

impl Ranked {
    /// The same graph, seen by its order.
    pub(crate) fn new(graph: &Graph, order: &Order) -> Self {
        let links = |is_up: bool| {
            let mut links = Links { first: vec![0], to: Vec::new(), port: Vec::new() };
            for &switch in order.downwards() {
                let switch = switch as usize;
                let edges = graph.edges(switch).iter().map(|edge| (order.place(edge.to as usize), edge.port));
                let mut own: Vec<(u32, PortNum)> =
                    edges.filter(|(to, _)| (*to < order.place(switch)) == is_up).collect();
                own.sort_unstable();
                links.to.extend(own.iter().map(|(to, _)| *to));
                links.port.extend(own.iter().map(|(_, port)| *port));
                links.first.push(u32::try_from(links.to.len()).expect("fewer cables than 2^32"));
            }
            links
        };
        Self { up: links(true), down: links(false) }
    }

    /// Links up of a switch.
    pub(crate) fn ups(&self, at: usize) -> usize {
        self.up.of(at).len()
    }
}

impl Links {
    fn of(&self, at: usize) -> core::ops::Range<usize> {
        self.first[at] as usize..self.first[at + 1] as usize
    }

    fn to(&self, at: usize) -> &[u32] {
        &self.to[self.of(at)]
    }

    /// Ports whose link leads to a switch that `fits`.
    fn ports(&self, at: usize, fits: impl Fn(usize) -> bool, ports: &mut Vec<PortNum>) {
        let range = self.of(at);
        let links = self.to[range.clone()].iter().zip(&self.port[range]);
        ports.extend(links.filter(|(to, _)| fits(**to as usize)).map(|(_, port)| *port));
    }
}

/// The ways of all switches to one destination, by place.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    /// Steps to go.
    pub(crate) steps: Vec<u32>,
    /// Steps of ways that only descend; `FAR` if the way climbs first.
    descent: Vec<u32>,
    /// Switches whose way is not legal.
    makeshift: Vec<bool>,
    queue: Vec<u32>,
    is_complete: bool,
}

impl Ways {
    /// Room for the ways between `len` switches.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            steps: vec![FAR; len],
            descent: vec![FAR; len],
            makeshift: vec![false; len],
            queue: Vec::new(),
            is_complete: true,
        }
    }

    /// Legal ways. A switch from which one can descend to the destination does so, even if climbing first were
    /// shorter: those above it rely on that.
    pub(crate) fn find(&mut self, links: &Ranked, dest: usize) {
        self.descent.fill(FAR);
        self.queue.clear();
        self.queue.push(u32::try_from(dest).expect("fewer switches than 2^32"));
        self.descent[dest] = 0;
        let mut next = 0;
        while let Some(&at) = self.queue.get(next) {
            next += 1;
            let steps = self.descent[at as usize] + 1;
            for &to in links.up.to(at as usize) {
                if self.descent[to as usize] == FAR {
                    self.descent[to as usize] = steps;
                    self.queue.push(to);
                }
            }
        }
        self.is_complete = true;
        for at in 0..self.steps.len() {
            let descent = self.descent[at];
            self.steps[at] = if descent == FAR {
                let above = links.up.to(at).iter().map(|to| self.steps[*to as usize]);
                above.min().unwrap_or(FAR).saturating_add(1)
            } else {
                descent
            };
            self.is_complete &= self.steps[at] != FAR;
        }
    }

    /// Makeshift ways for switches that have none, over the nearest that has one.
    pub(crate) fn fill(&mut self, links: &Ranked) {
        self.makeshift.fill(false);
        if self.is_complete {
            return;
        }
        let mut open: Vec<usize> = (0..self.steps.len()).filter(|at| self.steps[*at] == FAR).collect();
        while !open.is_empty() {
            let reach = |at: &usize| {
                let neighbours = links.up.to(*at).iter().chain(links.down.to(*at));
                neighbours.map(|to| self.steps[*to as usize]).min().unwrap_or(FAR)
            };
            let reached: Vec<(usize, u32)> = open.iter().map(|at| (*at, reach(at))).collect();
            let Some(nearest) = reached.iter().map(|(_, steps)| *steps).min().filter(|steps| *steps != FAR)
            else {
                return;
            };
            for (at, _) in reached.iter().filter(|(_, steps)| *steps == nearest) {
                self.steps[*at] = nearest + 1;
                self.makeshift[*at] = true;
            }
            open.retain(|at| !self.makeshift[*at]);
        }
    }

    /// True if the way from there climbs first.
    pub(crate) fn climbs(&self, at: usize) -> bool {
        self.descent[at] == FAR
    }

    /// The ports by which the way gets shorter; more than one if they are equal.
    pub(crate) fn next(&self, links: &Ranked, at: usize, ports: &mut Vec<PortNum>) {
        ports.clear();
        let before = self.steps[at] - 1;
        if self.makeshift[at] {
            links.up.ports(at, |to| self.steps[to] == before, ports);
            links.down.ports(at, |to| self.steps[to] == before, ports);
        } else if self.climbs(at) {
            links.up.ports(at, |to| self.steps[to] == before, ports);
        } else {
            links.down.ports(at, |to| self.descent[to] == before, ports);
        }
    }
}
