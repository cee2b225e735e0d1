//! What `show` says, as data: the rows of every noun, and the document around them.
//!
//! These field names are a contract: `--json` prints them and other programs read them. A field may be added
//! within a schema version, none is renamed, removed or given another meaning without a new one. Numbers are
//! numbers, addresses and identifiers are text in the form their tools print, what is unknown is `null`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Version of the documents below, their field `schema`.
pub const SCHEMA: u32 = 1;

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noun {
    /// Hosts and their IPoIB interfaces.
    Hosts,
    /// Cables, their state and their faults.
    Links,
    /// Whom each interface can send to directly.
    Neighbors,
    /// Path records that interfaces hold.
    Paths,
    /// Multicast groups and who is in them.
    Groups,
    /// Forwarding tables of the switches.
    Routes,
    /// Everything that is counted, drops by their names.
    Counters,
    /// Subnet managers.
    Sm,
}

impl Noun {
    /// All of them, in the order of the help text.
    pub const ALL: [Self; 8] = [
        Self::Hosts,
        Self::Links,
        Self::Neighbors,
        Self::Paths,
        Self::Groups,
        Self::Routes,
        Self::Counters,
        Self::Sm,
    ];

    /// The word on the command line, and the name of the list in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Links => "links",
            Self::Neighbors => "neighbors",
            Self::Paths => "paths",
            Self::Groups => "groups",
            Self::Routes => "routes",
            Self::Counters => "counters",
            Self::Sm => "sm",
        }
    }
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The answer to `show`: the rows of one noun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// One row per interface, children included.
    Hosts(Vec<HostRow>),
    /// One row per cable.
    Links(Vec<LinkRow>),
    /// One row per neighbour of each interface.
    Neighbors(Vec<NeighborRow>),
    /// One row per path of each interface.
    Paths(Vec<PathRow>),
    /// One row per multicast group.
    Groups(Vec<GroupRow>),
    /// One row per switch and LID.
    Routes(Vec<RouteRow>),
    /// One row per thing that counts.
    Counters(Vec<CounterRow>),
    /// One row per subnet manager.
    Sm(Vec<SmRow>),
}

impl Shown {
    /// Adds further rows of the same noun; others are ignored.
    pub fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Hosts(rows), Self::Hosts(more)) => rows.extend(more),
            (Self::Links(rows), Self::Links(more)) => rows.extend(more),
            (Self::Neighbors(rows), Self::Neighbors(more)) => rows.extend(more),
            (Self::Paths(rows), Self::Paths(more)) => rows.extend(more),
            (Self::Groups(rows), Self::Groups(more)) => rows.extend(more),
            (Self::Routes(rows), Self::Routes(more)) => rows.extend(more),
            (Self::Counters(rows), Self::Counters(more)) => rows.extend(more),
            (Self::Sm(rows), Self::Sm(more)) => rows.extend(more),
            _ => {}
        }
    }

    /// Keeps the rows of interfaces, ports and groups that belong to a host.
    pub fn keep_host(&mut self, host: &str) {
        match self {
            Self::Hosts(rows) => rows.retain(|row| row.name == host),
            Self::Neighbors(rows) => rows.retain(|row| row.host == host),
            Self::Paths(rows) => rows.retain(|row| row.host == host),
            Self::Groups(rows) => rows.retain(|row| row.members.iter().any(|member| member.port == host)),
            Self::Counters(rows) => rows.retain(|row| row.node == host),
            Self::Links(_) | Self::Routes(_) | Self::Sm(_) => {}
        }
    }

    /// Puts rows of interfaces and ports in the order of their hosts; those of one host stay as they are.
    pub fn sort_by_host(&mut self, place: impl Fn(&str) -> usize) {
        match self {
            Self::Hosts(rows) => rows.sort_by_key(|row| place(&row.name)),
            Self::Neighbors(rows) => rows.sort_by_key(|row| place(&row.host)),
            Self::Paths(rows) => rows.sort_by_key(|row| place(&row.host)),
            Self::Counters(rows) => rows.sort_by_key(|row| place(&row.node)),
            Self::Groups(_) | Self::Links(_) | Self::Routes(_) | Self::Sm(_) => {}
        }
    }

    /// `{"schema": 1, "hosts": [...]}`.
    pub fn document(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_else(|_| json!({}));
        if let Value::Object(map) = &mut value {
            map.insert("schema".into(), SCHEMA.into());
        }
        value
    }
}

/// An IPoIB interface of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRow {
    /// Name of the host: `h1`.
    pub name: String,
    /// The interface: `ib0`, or `ib0.8001` for a child.
    pub interface: String,
    /// `up` (carrier on), `down` (carrier off), `unplugged`.
    pub state: String,
    /// Why the carrier is off.
    pub reason: Option<String>,
    /// The 20-byte address, octets in hex with colons.
    pub address: String,
    /// MAC that the host's kernel sees.
    pub mac: String,
    /// LID of the port; 0 before an SM came.
    pub lid: u16,
    /// GUID of the port: `0002:c903:0000:0001`.
    pub guid: String,
    /// P_Key of the interface: `0xffff`.
    pub pkey: String,
    /// Queue pair: `0x000048`.
    pub qpn: String,
    /// IP MTU.
    pub mtu: u32,
    /// IPv4 addresses with their prefix lengths.
    pub ipv4: Vec<String>,
    /// IPv6 addresses with their prefix lengths.
    pub ipv6: Vec<String>,
    /// Process of the driver, if it is one of its own.
    pub driver: Option<u32>,
}

/// A cable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRow {
    /// One end: `sw1:3`.
    pub a: String,
    /// The other end: `h1:1`.
    pub b: String,
    /// Logical state of the worse end: `active`, `armed`, `init`, `down`.
    pub state: String,
    /// `4x`.
    pub width: String,
    /// `EDR`.
    pub speed: String,
    /// Largest payload: 2048; 0 while down.
    pub mtu: u32,
    /// What `fault link` did to it.
    pub faults: LinkFaults,
    /// Where it goes, if it leads out of the fabric; end `b` is then the peer.
    #[serde(default)]
    pub udp: Option<UdpRow>,
    /// Packets that left end `a`.
    pub packets_from_a: u64,
    /// Packets that left end `b`.
    pub packets_from_b: u64,
    /// Receive errors counted at end `a`.
    pub errors_at_a: u64,
    /// Receive errors counted at end `b`.
    pub errors_at_b: u64,
}

/// A link that leads out of the fabric as UDP datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpRow {
    /// Address and port of this end: `192.0.2.1:4000`.
    pub local: String,
    /// Of the other.
    pub peer: String,
    /// True while the port's physical state is LinkUp.
    pub up: bool,
    /// Milliseconds since the last valid packet came; `null` if none ever did.
    pub heard_ms: Option<u64>,
    /// Without a word for this long the link is down: `5s`.
    pub idle: String,
    /// Who answered last: `switch 0269:6201:0200:0100 port 7`.
    pub neighbor: Option<String>,
    /// Times the port asked for a sign of life.
    pub asked: u64,
    /// Times the peer's machine said that nobody listens there.
    pub refused: u64,
}

/// Faults that are on a link now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFaults {
    /// Taken down.
    pub down: bool,
    /// Share of packets that vanish: `1%`.
    pub loss: Option<String>,
    /// Share of management packets that vanish: `50%`.
    pub mad_loss: Option<String>,
    /// Time on the way: `5ms`.
    pub delay: Option<String>,
    /// Share of packets in which a bit flips: `0.1%`.
    pub corrupt: Option<String>,
    /// Share of packets that come out twice: `1%`.
    pub duplicate: Option<String>,
    /// Share of packets that take a millisecond longer than those behind them: `1%`.
    pub reorder: Option<String>,
}

/// Somebody an interface can send to without asking again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborRow {
    /// Whose neighbour: the host.
    pub host: String,
    /// And its interface.
    pub interface: String,
    /// Name of the peer, if it is of this lab: `h2`.
    pub peer: Option<String>,
    /// IP addresses that the host's kernel has for this MAC.
    pub ip: Vec<String>,
    /// MAC that stands for the peer.
    pub mac: String,
    /// The peer's queue pair: `0x000048`.
    pub qpn: String,
    /// The peer's GID.
    pub gid: String,
    /// The LID that packets go to; 0 while the path is unknown.
    pub lid: u16,
    /// `ready`, `stale`, `resolving`, `failed`, `idle`.
    pub state: String,
    /// Packets sent to it.
    pub packets: u64,
}

/// A path record that an interface holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRow {
    /// Whose path: the host.
    pub host: String,
    /// And its interface.
    pub interface: String,
    /// Name of the peer, if it is of this lab.
    pub peer: Option<String>,
    /// Where to.
    pub gid: String,
    /// `ready`, `stale`, `resolving`, `failed`, `idle`.
    pub state: String,
    /// Destination LID; 0 while unknown.
    pub lid: u16,
    /// Service level.
    pub sl: u8,
    /// Largest payload.
    pub mtu: u32,
    /// Rate in Gb/s: `100`, `2.5`.
    pub rate: String,
    /// Neighbours that use it.
    pub neighbors: u64,
}

/// A multicast group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its GID.
    pub mgid: String,
    /// The IP group it carries: `224.0.0.251`, `ff02::1`, or `broadcast`.
    pub ip: Option<String>,
    /// Multicast LID: `0xc000`.
    pub mlid: String,
    /// Partition.
    pub pkey: String,
    /// Key that its datagrams carry: `0x00000b1b`.
    pub qkey: String,
    /// Largest payload.
    pub mtu: u32,
    /// Rate in Gb/s.
    pub rate: String,
    /// Service level.
    pub sl: u8,
    /// Who is in it.
    pub members: Vec<MemberRow>,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Its port: `h1`, or the GID of one that is not of this lab.
    pub port: String,
    /// `full`, `send-only`, `non`, `send-only-full`; several with commas.
    pub join: String,
}

/// An entry of a switch's forwarding table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The switch.
    pub switch: String,
    /// Unicast or multicast LID.
    pub lid: u16,
    /// Ports it leaves by; one for a unicast LID.
    pub ports: Vec<u8>,
    /// Who has the LID: `h1`, `sw2`, or the MGID of a group.
    pub to: Option<String>,
}

/// Something that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Where: `h1`, `sw1`, `lab`.
    pub node: String,
    /// What there: `ib0`, `port 3`, `programs`.
    pub part: String,
    /// Counters by name; of ports, which are many, those that are not zero.
    pub counters: BTreeMap<String, u64>,
    /// Discarded packets by reason; of ports, what happened at all.
    pub drops: BTreeMap<String, u64>,
}

/// A subnet manager: one of ours, or one that a program is, of which only what it says of itself is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmRow {
    /// Where it runs: `sw1`, `h1`.
    pub node: String,
    /// GUID of its port.
    pub guid: String,
    /// LID of its port.
    pub lid: u16,
    /// `embedded` for ours, `program` for another.
    pub kind: String,
    /// `master`, `standby`, `discovering`, `not-active`; of a program `master` or `not-master`.
    pub role: String,
    /// Its priority, 0 to 15.
    pub priority: Option<u8>,
    /// How its administration answers: `promptly`, `busy`, `no_records`, `slow 5s`.
    pub answers: Option<String>,
    /// Sweeps done.
    pub sweeps: Option<u64>,
    /// How long the last one took, in microseconds; unknown if it ended at the moment at which it began, as it does
    /// where no link has a delay.
    pub last_sweep_us: Option<u64>,
    /// SMPs it sent in the last one.
    pub last_sweep_mads: Option<u64>,
    /// SMPs it sent, repetitions not counted.
    pub mads_sent: Option<u64>,
    /// Answers it took.
    pub mads_received: Option<u64>,
    /// SMPs that nobody answered.
    pub mads_timed_out: Option<u64>,
    /// LIDs it gave.
    pub lids: Option<u64>,
    /// Nodes it found.
    pub nodes: Option<u64>,
    /// Links it found.
    pub links: Option<u64>,
    /// Multicast groups it keeps.
    pub groups: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_its_noun_and_version() {
        let row = SmRow { node: "sw1".into(), ..SmRow::default() };
        let document = Shown::Sm(vec![row.clone()]).document();
        assert_eq!(document["schema"], 1);
        assert_eq!(document["sm"][0]["node"], "sw1");
        assert_eq!(serde_json::from_value::<Vec<SmRow>>(document["sm"].clone()).unwrap(), [row]);
    }

    #[test]
    fn the_list_has_the_name_of_the_noun() {
        for (noun, shown) in [
            (Noun::Hosts, Shown::Hosts(Vec::new())),
            (Noun::Links, Shown::Links(Vec::new())),
            (Noun::Neighbors, Shown::Neighbors(Vec::new())),
            (Noun::Paths, Shown::Paths(Vec::new())),
            (Noun::Groups, Shown::Groups(Vec::new())),
            (Noun::Routes, Shown::Routes(Vec::new())),
            (Noun::Counters, Shown::Counters(Vec::new())),
            (Noun::Sm, Shown::Sm(Vec::new())),
        ] {
            assert!(shown.document()[noun.name()].is_array(), "{noun}");
            assert_eq!(serde_json::to_value(noun).unwrap(), noun.name());
        }
    }
}
