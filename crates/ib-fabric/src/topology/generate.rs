//! Topologies from a word: `pair`, `star:8`, `fat-tree:k=4`.
//!
//! Hosts are `h1`, `h2` ... in the order of their switches; switches `sw1`, `sw2` ..., in trees by their level:
//! `leaf1`, `spine1`, or `leaf1`, `agg1`, `core1`. A switch has hosts on its first ports, then the links to other
//! switches, and 8 ports, or 36, or as many as it needs if that is more.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::addr::PortNum;

use super::{
    guid::assigned_node_guid,
    model::{Endpoint, Node, NodeIndex, NodeKind, Topology},
};

/// Makes the topology that `spec` names: see [`GENERATORS`].
///
/// What comes back is normalized, valid and in one piece.
pub fn generate(spec: &str) -> Result<Topology, GenerateError> {
    let (word, arguments) = spec.split_once(':').unwrap_or((spec, ""));
    let mut given = Arguments::parse(word, arguments)?;
    let mut topology = match word {
        "pair" => pair(),
        "star" => star(&mut given)?,
        "line" => chain(&mut given, false)?,
        "ring" => chain(&mut given, true)?,
        "fat-tree" => fat_tree(&mut given)?,
        "mesh" => mesh(&mut given)?,
        _ => return Err(GenerateError::Unknown { word: word.to_string() }),
    };
    given.finish()?;
    topology.normalize();
    debug_assert_eq!(topology.validate(), Ok(Vec::new()));
    Ok(topology)
}

/// How a generator is called and what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorHelp {
    /// Its spelling with all arguments; those in brackets may be left out.
    pub usage: &'static str,
    /// What comes out.
    pub makes: &'static str,
}

/// All that [`generate`] knows.
pub const GENERATORS: [GeneratorHelp; 6] = [
    GeneratorHelp { usage: "pair", makes: "two switches with two links between them, two hosts on each" },
    GeneratorHelp { usage: "star:N", makes: "one switch with N hosts" },
    GeneratorHelp { usage: "line:N[,hosts=M]", makes: "N switches in a line, M hosts on each (1)" },
    GeneratorHelp { usage: "ring:N[,hosts=M]", makes: "N switches in a ring, M hosts on each (1)" },
    GeneratorHelp {
        usage: "fat-tree:k=K[,levels=2|3][,hosts=N]",
        makes: "a fat tree of K-port switches, K even: K^3/4 hosts on 3 levels (the default) or K^2/2 on 2; \
                with hosts=N only N hosts, spread evenly",
    },
    GeneratorHelp {
        usage: "mesh:N[,links=L][,hosts=M][,seed=S]",
        makes: "N switches joined at random by L links (2N), M hosts on each (1); the same for the same seed (1)",
    },
];

/// Why no topology was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No generator of that name.
    #[error("there is no generator `{word}`: use one of {}", usages())]
    Unknown {
        /// What was asked for.
        word: String,
    },
    /// An argument that the generator does not take, or a second one of the same name.
    #[error("`{word}` takes no `{argument}` here: write {}", usage_of(word))]
    Argument {
        /// The generator.
        word: String,
        /// The argument as written.
        argument: String,
    },
    /// An argument without which it cannot work.
    #[error("`{word}` needs {name}: write {}", usage_of(word))]
    Missing {
        /// The generator.
        word: String,
        /// The argument.
        name: &'static str,
    },
    /// A number it cannot work with.
    #[error("`{name}={value}` does not work for `{word}`: {why}")]
    Value {
        /// The generator.
        word: String,
        /// The argument.
        name: &'static str,
        /// Its value as written.
        value: String,
        /// What is possible.
        why: String,
    },
}

fn usages() -> String {
    GENERATORS.map(|help| help.usage).join(" ")
}

fn usage_of(word: &str) -> &'static str {
    let own = |help: &&GeneratorHelp| {
        help.usage.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    GENERATORS.iter().find(own).map_or("", |help| help.usage)
}

/// `N` and `name=value` after the colon; taken out one by one, so that what stays was not understood.
struct Arguments {
    word: String,
    left: Vec<(String, String)>,
}

/// Name of the number that stands without a name.
const COUNT: &str = "N";

impl Arguments {
    fn parse(word: &str, text: &str) -> Result<Self, GenerateError> {
        let mut given = Self { word: word.to_string(), left: Vec::new() };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((COUNT, part));
            if given.left.iter().any(|(had, _)| had == name) {
                return Err(given.refused(part));
            }
            given.left.push((name.trim().to_string(), value.trim().to_string()));
        }
        Ok(given)
    }

    fn refused(&self, argument: &str) -> GenerateError {
        GenerateError::Argument { word: self.word.clone(), argument: argument.to_string() }
    }

    fn bad(&self, name: &'static str, value: impl ToString, why: impl Into<String>) -> GenerateError {
        GenerateError::Value { word: self.word.clone(), name, value: value.to_string(), why: why.into() }
    }

    /// The number `name`, which must be in `min..=max`; `None` if it was not given.
    fn number(&mut self, name: &'static str, min: u64, max: u64) -> Result<Option<u64>, GenerateError> {
        let Some(at) = self.left.iter().position(|(had, _)| had == name) else { return Ok(None) };
        let (_, value) = self.left.remove(at);
        match value.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.bad(name, value, format!("it must be a number from {min} to {max}"))),
        }
    }

    /// The same as a size.
    fn size(&mut self, name: &'static str, min: usize, max: usize) -> Result<Option<usize>, GenerateError> {
        let number = self.number(name, min as u64, max as u64)?;
        Ok(number.map(|number| usize::try_from(number).expect("not above `max`, which is a usize")))
    }

    fn needed(&mut self, name: &'static str, min: usize, max: usize) -> Result<usize, GenerateError> {
        let missing = GenerateError::Missing { word: self.word.clone(), name };
        self.size(name, min, max)?.ok_or(missing)
    }

    fn finish(&self) -> Result<(), GenerateError> {
        match self.left.first() {
            None => Ok(()),
            Some((name, value)) if name == COUNT => Err(self.refused(value)),
            Some((name, _)) => Err(self.refused(name)),
        }
    }
}

/// Most switches and hosts together: each needs one of the 49151 unicast LIDs.
const MAX_NODES: usize = 0xbfff;
/// Most ports of a switch.
const MAX_PORTS: usize = Node::MAX_PORTS as usize;

/// Ports of a switch that needs `needed`: 8 or 36, as switches have, or just as many as it needs.
pub(super) fn radix(needed: u8) -> u8 {
    if needed <= 8 { 8 } else { needed.max(36) }
}

/// A plan under construction. Switches grow as links are made and get their port count at the end.
#[derive(Default)]
struct Builder {
    topology: Topology,
    /// Ports used, by node.
    used: Vec<usize>,
    switches: u32,
    hosts: u32,
}

impl Builder {
    fn switch(&mut self, name: String) -> NodeIndex {
        self.switches += 1;
        self.add(NodeKind::Switch, name, self.switches)
    }

    /// `count` switches named `stem1`, `stem2` ...
    fn switches(&mut self, stem: &str, count: usize) -> Vec<NodeIndex> {
        (1..=count).map(|i| self.switch(format!("{stem}{i}"))).collect()
    }

    /// The next `count` hosts, on `switch`.
    fn hosts(&mut self, switch: NodeIndex, count: usize) {
        for _ in 0..count {
            self.hosts += 1;
            let host = self.add(NodeKind::Hca, format!("h{}", self.hosts), self.hosts);
            self.join(switch, host);
        }
    }

    fn add(&mut self, kind: NodeKind, name: String, number: u32) -> NodeIndex {
        self.topology.nodes.push(Node::new(kind, name, assigned_node_guid(kind, number), 1));
        self.used.push(0);
        NodeIndex(self.used.len() - 1)
    }

    /// Links the next port of each.
    fn join(&mut self, a: NodeIndex, b: NodeIndex) {
        let [a, b] = [a, b].map(|node| {
            self.used[node.0] += 1;
            let port = u8::try_from(self.used[node.0]).expect("generators ask for 254 ports at most");
            Endpoint { node, port: PortNum(port) }
        });
        self.topology.connect(a, b);
    }

    fn finish(mut self) -> Topology {
        for (node, used) in self.topology.nodes.iter_mut().zip(self.used) {
            if node.is_switch() {
                node.port_count = radix(u8::try_from(used).expect("`join` made no more than 254 ports"));
            }
        }
        self.topology
    }
}

fn pair() -> Topology {
    let mut plan = Builder::default();
    let switches = plan.switches("sw", 2);
    for &switch in &switches {
        plan.hosts(switch, 2);
    }
    for _ in 0..2 {
        plan.join(switches[0], switches[1]);
    }
    plan.finish()
}

fn star(given: &mut Arguments) -> Result<Topology, GenerateError> {
    let hosts = given.needed(COUNT, 1, MAX_PORTS)?;
    let mut plan = Builder::default();
    let switch = plan.switch("sw1".into());
    plan.hosts(switch, hosts);
    Ok(plan.finish())
}

/// A line, or a ring if `closed`.
fn chain(given: &mut Arguments, closed: bool) -> Result<Topology, GenerateError> {
    let count = given.needed(COUNT, if closed { 3 } else { 1 }, MAX_NODES / 2)?;
    let mut plan = switches_with_hosts(given, count, MAX_PORTS - 2)?;
    for i in 1..count {
        plan.join(NodeIndex(i - 1), NodeIndex(i));
    }
    if closed {
        plan.join(NodeIndex(count - 1), NodeIndex(0));
    }
    Ok(plan.finish())
}

/// `count` switches, first in the plan, with `hosts` hosts each.
fn switches_with_hosts(
    given: &mut Arguments,
    count: usize,
    max_hosts: usize,
) -> Result<Builder, GenerateError> {
    let hosts = given.size("hosts", 0, max_hosts.min(MAX_NODES / count - 1))?.unwrap_or(1);
    let mut plan = Builder::default();
    for switch in plan.switches("sw", count) {
        plan.hosts(switch, hosts);
    }
    Ok(plan)
}

fn fat_tree(given: &mut Arguments) -> Result<Topology, GenerateError> {
    let k = given.needed("k", 2, MAX_PORTS)?;
    if k % 2 != 0 {
        return Err(given.bad("k", k, "it must be even: half the ports lead down, half up"));
    }
    let levels = given.size("levels", 2, 3)?.unwrap_or(3);
    let (most, switches) = if levels == 2 { (k * k / 2, k + k / 2) } else { (k * k * k / 4, 5 * k * k / 4) };
    let hosts = given.size("hosts", 0, most)?.unwrap_or(most);
    if hosts + switches > MAX_NODES {
        let why =
            format!("{hosts} hosts and {switches} switches need more than the {MAX_NODES} LIDs there are");
        return Err(given.bad("k", k, why));
    }
    let mut plan = Builder::default();
    if levels == 2 {
        let leaves = plan.switches("leaf", k);
        spread(&mut plan, &leaves, hosts);
        let spines = plan.switches("spine", k / 2);
        cross(&mut plan, &leaves, &spines);
    } else {
        let leaves = plan.switches("leaf", k * k / 2);
        spread(&mut plan, &leaves, hosts);
        let aggregation = plan.switches("agg", k * k / 2);
        let cores = plan.switches("core", k * k / 4);
        for (leaves, aggregation) in leaves.chunks(k / 2).zip(aggregation.chunks(k / 2)) {
            cross(&mut plan, leaves, aggregation);
            for (&switch, cores) in aggregation.iter().zip(cores.chunks(k / 2)) {
                cross(&mut plan, &[switch], cores);
            }
        }
    }
    Ok(plan.finish())
}

/// Puts `hosts` hosts on `switches`, as evenly as it goes.
fn spread(plan: &mut Builder, switches: &[NodeIndex], hosts: usize) {
    let share = |i: usize| hosts * i / switches.len();
    for (i, &switch) in switches.iter().enumerate() {
        plan.hosts(switch, share(i + 1) - share(i));
    }
}

/// Links each of `below` to each of `above`.
fn cross(plan: &mut Builder, below: &[NodeIndex], above: &[NodeIndex]) {
    for &low in below {
        for &high in above {
            plan.join(low, high);
        }
    }
}

/// A random tree, so that it is in one piece, and random links until there are `links`.
fn mesh(given: &mut Arguments) -> Result<Topology, GenerateError> {
    let count = given.needed(COUNT, 2, MAX_NODES / 2)?;
    let links = given.size("links", count - 1, count * 16)?.unwrap_or(2 * count);
    let seed = given.number("seed", 0, u64::MAX)?.unwrap_or(1);
    let mut plan = switches_with_hosts(given, count, 36)?;
    let mut random = SplitMix(seed);
    for i in 1..count {
        let peer = plan.with_room(random.below(i), i, i);
        plan.join(NodeIndex(peer), NodeIndex(i));
    }
    for _ in count - 1..links {
        let a = plan.with_room(random.below(count), count, count);
        let b = plan.with_room(random.below(count), count, a);
        plan.join(NodeIndex(a), NodeIndex(b));
    }
    Ok(plan.finish())
}

impl Builder {
    /// The first switch at or after `from`, of the first `count` switches, that has a port left and is not `other`.
    fn with_room(&self, from: usize, count: usize, other: usize) -> usize {
        let room = |switch: &usize| *switch != other && self.used[*switch] < MAX_PORTS;
        (0..count)
            .map(|i| (from + i) % count)
            .find(room)
            .expect("254 ports are more than hosts and links need")
    }
}

/// The splitmix64 generator: a stream that is the same everywhere and for ever.
struct SplitMix(u64);

impl SplitMix {
    /// A number below `bound`, which is not 0. The bias for the small bounds used here does not matter.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = (z ^ (z >> 31)) % bound as u64;
        usize::try_from(number).expect("below `bound`, which is a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Counts;

    #[track_caller]
    fn made(spec: &str, switches: usize, hosts: usize, links: usize) -> Topology {
        let topology = generate(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!(topology.counts(), Counts { switches, hosts, routers: 0, links }, "{spec}");
        assert_eq!(topology.validate(), Ok(Vec::new()), "{spec}");
        topology
    }

    #[track_caller]
    fn refused(spec: &str, message: &str) {
        assert_eq!(generate(spec).unwrap_err().to_string(), message);
    }

    #[test]
    fn the_pair_is_the_default_lab() {
        let topology = made("pair", 2, 4, 6);
        let peer = |port| {
            let end = topology.find_port(port).unwrap();
            let link = topology.link_at(end).unwrap();
            topology.port_name(link.other_end(end).unwrap())
        };
        assert_eq!(["h1", "h2", "h3", "h4"].map(peer), ["sw1:1", "sw1:2", "sw2:1", "sw2:2"]);
        assert_eq!(["sw1:3", "sw1:4"].map(peer), ["sw2:3", "sw2:4"]);
        assert_eq!(topology.nodes[0].port_count, 8);
        assert_eq!(topology.nodes[2].description, "h1 HCA-1");
    }

    #[test]
    fn fat_trees_have_the_known_counts() {
        made("fat-tree:k=4", 20, 16, 48);
        made("fat-tree:k=2,levels=3", 5, 2, 6);
        let topology = made("fat-tree:k=36,levels=2", 54, 648, 1296);
        assert!(topology.switches().all(|(_, switch)| switch.port_count == 36));
        made("fat-tree:k=18", 405, 1458, 1458 * 3);
        let topology = made("fat-tree:k=4,hosts=5", 20, 5, 37);
        let adjacency = topology.adjacency();
        let on_leaf = |(node, _): (NodeIndex, &Node)| adjacency.links(node).len() - 2;
        let leaves = topology.switches().filter(|(_, node)| node.name.starts_with("leaf"));
        assert_eq!(leaves.map(on_leaf).collect::<Vec<_>>(), [0, 1, 0, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn small_shapes_have_their_counts() {
        made("star:1", 1, 1, 1);
        assert_eq!(made("star:9", 1, 9, 9).nodes[0].port_count, 36);
        assert_eq!(made("star:254", 1, 254, 254).nodes[0].port_count, 254);
        made("line:1", 1, 1, 1);
        made("line:3", 3, 3, 5);
        made("line:3,hosts=2", 3, 6, 8);
        made("ring:4", 4, 4, 8);
        made("ring:3,hosts=0", 3, 0, 3);
        made("mesh:2", 2, 2, 6);
        made("mesh:30,links=50,hosts=2,seed=7", 30, 60, 110);
    }

    #[test]
    fn a_mesh_follows_its_seed() {
        assert_eq!(generate("mesh:9,seed=3"), generate("mesh:9,seed=3"));
        assert_ne!(generate("mesh:9,seed=3"), generate("mesh:9,seed=4"));
    }

    #[test]
    fn a_refusal_says_what_would_work() {
        let unknown = generate("torus:4").unwrap_err().to_string();
        assert!(
            unknown.starts_with("there is no generator `torus`: use one of pair star:N line:N"),
            "{unknown}"
        );
        refused("star", "`star` needs N: write star:N");
        refused("star:0", "`N=0` does not work for `star`: it must be a number from 1 to 254");
        refused("star:255", "`N=255` does not work for `star`: it must be a number from 1 to 254");
        refused("star:x", "`N=x` does not work for `star`: it must be a number from 1 to 254");
        refused("pair:2", "`pair` takes no `2` here: write pair");
        refused("star:2,hosts=3", "`star` takes no `hosts` here: write star:N");
        refused("line:2,3", "`line` takes no `3` here: write line:N[,hosts=M]");
        refused(
            "fat-tree:k=3",
            "`k=3` does not work for `fat-tree`: it must be even: half the ports lead down, half up",
        );
        refused(
            "fat-tree:k=60",
            "`k=60` does not work for `fat-tree`: 54000 hosts and 4500 switches need more than the 49151 LIDs there are",
        );
        refused(
            "fat-tree:k=4,hosts=17",
            "`hosts=17` does not work for `fat-tree`: it must be a number from 0 to 16",
        );
    }
}
