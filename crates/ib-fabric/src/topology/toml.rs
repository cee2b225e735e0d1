//! Our own topology file, in TOML.
//!
//! ```toml
//! [defaults]               # for every link; may be left out
//! speed = "HDR"
//!
//! [[switch]]
//! name = "sw1"
//! ports = 36               # left out: 8, 36 or as many as its links need
//! hosts = 4                # h1 to h4 on ports 1 to 4
//!
//! [[host]]
//! name = "db"
//! ports = 2                # 1 if left out
//!
//! [[link]]
//! a = "sw1:5"              # port 5
//! b = "db"                 # port 1 of a host, the lowest free port of a switch
//! width = "4x"             # 1x 2x 4x 8x 12x; 4x if left out
//! speed = "EDR"            # SDR DDR QDR FDR EDR HDR NDR; EDR if left out
//! mtu = 4096               # 256 512 1024 2048 4096; the devices' own if left out
//! delay = "5ms"            # ns us ms s
//! loss = "1%"              # of the packets, each way
//! mad_loss = "50%"         # of the management packets, besides
//! corrupt = "0.1%"
//! duplicate = "1%"         # come out twice
//! reorder = "1%"           # take 1 ms longer, so that those behind overtake them
//!
//! [[link]]
//! a = "sw1:6"              # out of the fabric, as UDP datagrams
//! udp = { local = "192.0.2.1:4000", peer = "192.0.2.2:4000", idle = "5s" }
//! ```
//! Of fabrics that are joined each needs its number in front, `fabric = 1`, up to 255: it goes into the GUIDs assigned.
//!
//! Nodes, routers (`[[router]]`) too, also take `description`, `guid`, `system_guid`, `vendor_id`, `device_id`, a switch
//! `enhanced_port0`, and `port = [{ num = 1, guid = "0x...", lid = 5, lmc = 0 }]` for ports that are addresses (that
//! of a switch is 0). GUIDs not given are assigned in file order as [`super::assigned_node_guid`] says. Hosts made by
//! `hosts = N` are numbered through the file. A key that is not known is refused.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Range, str::FromStr, time::Duration};

use ::toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use ib_wire::addr::{Guid, Lmc, Mtu, ParseGuidError, PortNum, UnicastLid};

use super::{
    check::{self, Lines},
    error::{Reason, TopologyErrors},
    generate::radix,
    guid::{BULK_HOST, assigned_node_guid, of_kind},
    mishap::Mishap,
    model::{Endpoint, Link, Node, NodeIndex, NodeKind, Topology},
    quantity::{BadQuantity, Probability, parse_duration, parse_speed, parse_width},
    udp::{UdpEnds, UdpLink},
};

/// Reads our own format. `file` is only for the errors, of which all are returned, up to a cap.
pub fn parse_toml(file: &str, text: &str) -> Result<Topology, TopologyErrors> {
    let mut reader = Reader::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = reader.line(&error.span().unwrap_or(0..0));
        reader.found.push((line, Reason::Syntax(format!("this is not TOML: {}", error.message()))));
    }
    if reader.found.is_empty() {
        reader.document(root.get_ref());
    }
    check::finish(file, reader.topology, &reader.lines, reader.found)
}

const TOP_KEYS: [&str; 6] = ["fabric", "defaults", "switch", "host", "router", "link"];
const SWITCH_KEYS: [&str; 10] = [
    "name",
    "ports",
    "hosts",
    "description",
    "guid",
    "system_guid",
    "vendor_id",
    "device_id",
    "enhanced_port0",
    "port",
];
const HOST_KEYS: [&str; 8] =
    ["name", "ports", "description", "guid", "system_guid", "vendor_id", "device_id", "port"];
const PORT_KEYS: [&str; 4] = ["num", "guid", "lid", "lmc"];
const DEFAULT_KEYS: [&str; 9] =
    ["width", "speed", "mtu", "delay", "loss", "mad_loss", "corrupt", "duplicate", "reorder"];
const LINK_KEYS: [&str; 12] = [
    "a",
    "b",
    "width",
    "speed",
    "mtu",
    "delay",
    "loss",
    "mad_loss",
    "corrupt",
    "duplicate",
    "reorder",
    "udp",
];
const UDP_LINK_KEYS: [&str; 2] = ["a", "udp"];
const UDP_KEYS: [&str; 3] = ["local", "peer", "idle"];

/// The topology as far as it was read, and what was wrong so far.
struct Reader {
    /// Byte offsets at which lines begin.
    starts: Vec<usize>,
    topology: Topology,
    lines: Lines,
    found: Vec<(usize, Reason)>,
    /// Switches whose file says nothing of `ports`.
    elastic: Vec<NodeIndex>,
    /// Hosts made by `hosts = N` so far.
    bulk: u32,
}

impl Reader {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            starts: core::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect(),
            topology: Topology::new(),
            lines: Lines::default(),
            found: Vec::new(),
            elastic: Vec::new(),
            bulk: 0,
        }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.starts.partition_point(|start| *start <= span.start)
    }

    fn fail(&mut self, span: &Range<usize>, reason: impl Into<Reason>) {
        self.found.push((self.line(span), reason.into()));
    }

    fn syntax(&mut self, span: &Range<usize>, message: impl fmt::Display) {
        self.fail(span, Reason::Syntax(message.to_string()));
    }

    fn document(&mut self, root: &DeTable<'_>) {
        self.keys("the file", root, &TOP_KEYS);
        let defaults = self.defaults(root);
        let switches = self.tables(root, "switch");
        for (number, (span, table)) in (1..).zip(&switches) {
            self.switch(number, span, table);
        }
        for (number, (span, table)) in (1..).zip(self.tables(root, "host")) {
            self.node(NodeKind::Hca, number, &span, table, &HOST_KEYS);
        }
        for (_, table) in switches {
            self.bulk_hosts(table, &defaults);
        }
        for (number, (span, table)) in (1..).zip(self.tables(root, "router")) {
            self.node(NodeKind::Router, number, &span, table, &HOST_KEYS);
        }
        self.links(root, &defaults);
        self.count_ports();
        if let Some(number) = self.number(root, "fabric", 0, 255) {
            self.topology.set_fabric_number(u8::try_from(number).unwrap_or(0));
        }
    }

    /// The link that every other starts from.
    fn defaults(&mut self, root: &DeTable<'_>) -> Link {
        let none = Endpoint::from((NodeIndex(0), 0));
        let plain = Link::new(none, none);
        let Some(value) = root.get("defaults") else { return plain };
        let Some(table) = value.get_ref().as_table() else {
            self.syntax(&value.span(), "`defaults` is one table: write [defaults]");
            return plain;
        };
        self.keys("[defaults]", table, &DEFAULT_KEYS);
        self.link(table, &plain)
    }

    fn switch(&mut self, number: u32, span: &Range<usize>, table: &DeTable<'_>) {
        let Some(index) = self.node(NodeKind::Switch, number, span, table, &SWITCH_KEYS) else { return };
        if !table.contains_key("ports") {
            self.elastic.push(index);
        }
        if let Some(value) = table.get("enhanced_port0") {
            match value.get_ref().as_bool() {
                Some(enhanced) => self.topology.nodes[index.0].enhanced_port0 = enhanced,
                None => self.syntax(&value.span(), "`enhanced_port0` must be true or false"),
            }
        }
    }

    /// A node of any kind, if it has a name. `number` counts its kind.
    fn node(
        &mut self,
        kind: NodeKind,
        number: u32,
        span: &Range<usize>,
        table: &DeTable<'_>,
        keys: &[&str],
    ) -> Option<NodeIndex> {
        self.keys(&format!("a {kind}"), table, keys);
        let (name, name_span) = self.needed(table, "name", span, kind, example_name(kind))?;
        let ports = match self.number(table, "ports", 1, Node::MAX_PORTS.into()) {
            Some(ports) => u8::try_from(ports).unwrap_or(Node::MAX_PORTS),
            // A number of ports that is wrong, or still to be counted, makes no errors about ports.
            None if kind == NodeKind::Switch || table.contains_key("ports") => Node::MAX_PORTS,
            None => 1,
        };
        let guid = self.guid(table, "guid").unwrap_or_else(|| assigned_node_guid(kind, number));
        let mut node = Node::new(kind, name, guid, ports);
        if let Some((description, _)) = self.text(table, "description") {
            node.description = description;
        }
        node.system_guid = self.guid(table, "system_guid").unwrap_or(guid);
        if let Some(id) = self.number(table, "vendor_id", 0, 0xff_ffff) {
            node.vendor_id = u32::try_from(id).unwrap_or_default();
        }
        if let Some(id) = self.number(table, "device_id", 0, 0xffff) {
            node.device_id = u16::try_from(id).unwrap_or_default();
        }
        for (span, table) in self.tables(table, "port") {
            self.port(&mut node, &span, table);
        }
        Some(self.add(node, self.line(&name_span)))
    }

    fn add(&mut self, node: Node, line: usize) -> NodeIndex {
        self.topology.nodes.push(node);
        self.lines.nodes.push(line);
        NodeIndex(self.topology.nodes.len() - 1)
    }

    fn port(&mut self, node: &mut Node, span: &Range<usize>, table: &DeTable<'_>) {
        self.keys("a port", table, &PORT_KEYS);
        let num = self.number(table, "num", 0, 255).unwrap_or_else(|| u64::from(!node.is_switch()));
        let guid = self.guid(table, "guid");
        let lid = self.number(table, "lid", 1, UnicastLid::MAX.into());
        let lmc = self.number(table, "lmc", 0, 7);
        let Some(port) = node.end_ports.iter_mut().find(|port| u64::from(port.num.0) == num) else {
            let able =
                if node.is_switch() { "port 0".into() } else { format!("ports 1 to {}", node.port_count) };
            let name = &node.name;
            self.syntax(span, format_args!("port {num} of {name} has no address: `port` is for {able}"));
            return;
        };
        port.guid = guid.unwrap_or(port.guid);
        port.lid = lid.and_then(|lid| u16::try_from(lid).ok()).and_then(|lid| lid.try_into().ok());
        port.lmc = Lmc(lmc.and_then(|lmc| u8::try_from(lmc).ok()).unwrap_or(0));
    }

    /// The hosts that a switch asks for by `hosts = N`, numbered on from those of the switches before it.
    fn bulk_hosts(&mut self, switch: &DeTable<'_>, defaults: &Link) {
        let Some(hosts) = self.number(switch, "hosts", 0, Node::MAX_PORTS.into()) else { return };
        let line = switch.get("hosts").map_or(0, |value| self.line(&value.span()));
        let name = switch.get("name").and_then(|name| name.get_ref().as_str());
        let Some(switch) = name.and_then(|name| self.topology.find(name)) else { return };
        for port in 1..=u8::try_from(hosts).unwrap_or(Node::MAX_PORTS) {
            self.bulk += 1;
            let guid = of_kind(BULK_HOST, self.bulk);
            let host = self.add(Node::new(NodeKind::Hca, format!("h{}", self.bulk), guid, 1), line);
            self.topology.links.push(Link { a: (switch, port).into(), b: (host, 1).into(), ..*defaults });
            self.lines.links.push(line);
        }
    }

    /// Links in file order. An end without port on a switch waits until all others are known and then takes the
    /// lowest port left.
    fn links(&mut self, root: &DeTable<'_>, defaults: &Link) {
        let names: BTreeMap<String, NodeIndex> =
            self.topology.names().into_iter().map(|(name, index)| (name.into(), index)).collect();
        let mut used: BTreeSet<Endpoint> = self.topology.links.iter().map(|link| link.a).collect();
        let (mut links, mut outside) = (Vec::new(), Vec::new());
        for (span, table) in self.tables(root, "link") {
            if let Some(value) = table.get("udp") {
                self.keys("a link with `udp`", table, &UDP_LINK_KEYS);
                let (port, udp) = (self.end(table, "a", &span, &names), self.udp(value));
                used.extend(port);
                outside
                    .extend(port.zip(udp).map(|(port, (ends, idle))| (span, UdpLink { port, ends, idle })));
                continue;
            }
            self.keys("a link", table, &LINK_KEYS);
            let link = self.link(table, defaults);
            let [a, b] = ["a", "b"].map(|key| self.end(table, key, &span, &names));
            let (Some(a), Some(b)) = (a, b) else { continue };
            used.extend([a, b]);
            links.push((span, Link { a, b, ..link }));
        }
        for (span, link) in links {
            let [a, b] = [link.a, link.b].map(|end| self.settle(end, &mut used, &span));
            if let (Some(a), Some(b)) = (a, b) {
                self.lines.links.push(self.line(&span));
                self.topology.links.push(Link { a, b, ..link });
            }
        }
        for (span, link) in outside {
            if let Some(port) = self.settle(link.port, &mut used, &span) {
                self.lines.udp.push(self.line(&span));
                self.topology.udp.push(UdpLink { port, ..link });
            }
        }
    }

    /// Where a link goes that leads out of the fabric, and how long it may be silent.
    fn udp(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(UdpEnds, Option<Duration>)> {
        let span = value.span();
        let Some(table) = value.get_ref().as_table() else {
            self.syntax(&span, "`udp` is a table: write { local = \"...\", peer = \"...\" }");
            return None;
        };
        self.keys("`udp`", table, &UDP_KEYS);
        let idle = self.quantity(table, "idle", parse_duration);
        let (local, _) = self.needed(table, "local", &span, "`udp`", "192.0.2.1:4000")?;
        let (peer, _) = self.needed(table, "peer", &span, "`udp`", "192.0.2.2:4000")?;
        let ends = UdpEnds::parse(&local, &peer).map_err(|bad| self.fail(&span, bad)).ok()?;
        Some((ends, idle))
    }

    fn end(
        &mut self,
        table: &DeTable<'_>,
        key: &'static str,
        span: &Range<usize>,
        names: &BTreeMap<String, NodeIndex>,
    ) -> Option<Endpoint> {
        let (text, span) = self.needed(table, key, span, "link", "sw1:1")?;
        let (name, port) =
            text.split_once(':').map_or((text.as_str(), None), |(name, port)| (name, Some(port)));
        let Some(&node) = names.get(name) else {
            self.fail(&span, Reason::NoSuchNode { name: name.into() });
            return None;
        };
        let known = &self.topology[node];
        let port = match port.map(str::parse::<u64>) {
            None => Ok(if known.is_switch() { FREE } else { PortNum(1) }),
            Some(Ok(port)) => match u8::try_from(port).map(PortNum) {
                Ok(num) if known.has_port(num) => Ok(num),
                _ => Err(Reason::NoSuchPort { node: name.into(), port, ports: known.port_count }),
            },
            Some(Err(_)) => Err(Reason::Syntax(format!("`{text}` is no port: write {name}:1"))),
        };
        match port {
            Ok(port) => Some(Endpoint { node, port }),
            Err(reason) => {
                self.fail(&span, reason);
                None
            }
        }
    }

    /// `end`, or if its port was left open, the lowest one not `used`.
    fn settle(
        &mut self,
        end: Endpoint,
        used: &mut BTreeSet<Endpoint>,
        span: &Range<usize>,
    ) -> Option<Endpoint> {
        if end.port != FREE {
            return Some(end);
        }
        let Node { name, port_count, .. } = &self.topology[end.node];
        let free = (1..=*port_count).map(|port| (end.node, port).into()).find(|end| !used.contains(end));
        match free {
            Some(free) => {
                used.insert(free);
            }
            None => {
                let message = format!("{name} has no port left: give it more `ports` than {port_count}");
                self.syntax(span, message);
            }
        }
        free
    }

    /// What a link says of itself; its ends are those of `defaults`.
    fn link(&mut self, table: &DeTable<'_>, defaults: &Link) -> Link {
        let mut link = *defaults;
        if let Some(width) = self.quantity(table, "width", parse_width) {
            link.width = width;
        }
        if let Some(speed) = self.quantity(table, "speed", parse_speed) {
            link.speed = speed;
        }
        if let Some(bytes) = self.number(table, "mtu", 256, 4096) {
            link.mtu = u16::try_from(bytes).ok().and_then(Mtu::from_bytes);
            if let (None, Some(value)) = (link.mtu, table.get("mtu")) {
                self.syntax(
                    &value.span(),
                    format_args!("{bytes} is no MTU: write 256, 512, 1024, 2048 or 4096"),
                );
            }
        }
        if let Some(delay) = self.quantity(table, "delay", parse_duration) {
            link.model.delay = delay;
        }
        for mishap in Mishap::ALL {
            if let Some(share) = self.quantity(table, mishap.name(), Probability::from_str) {
                link.model.shares.set(mishap, share);
            }
        }
        link
    }

    /// Gives the switches that left it open as many ports as their links need.
    fn count_ports(&mut self) {
        let mut highest: BTreeMap<NodeIndex, u8> = BTreeMap::new();
        let inside = self.topology.links.iter().flat_map(|link| [link.a, link.b]);
        for end in inside.chain(self.topology.udp.iter().map(|link| link.port)) {
            let port = highest.entry(end.node).or_default();
            *port = end.port.0.max(*port);
        }
        for switch in &self.elastic {
            let needed = highest.get(switch).copied().unwrap_or(0);
            self.topology.nodes[switch.0].port_count = radix(needed);
        }
    }
}

/// What stands in a table, by type; what is not of the type is reported and counts as absent.
impl Reader {
    fn keys(&mut self, what: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let known = known.join(", ");
            self.syntax(&key.span(), format_args!("{what} has no `{}`: it may have {known}", key.get_ref()));
        }
    }

    /// The tables of `[[key]]`.
    fn tables<'t>(&mut self, table: &'t DeTable<'t>, key: &str) -> Vec<(Range<usize>, &'t DeTable<'t>)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.syntax(&value.span(), format_args!("`{key}` is a list: write [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in array {
            match value.get_ref().as_table() {
                Some(table) => tables.push((value.span(), table)),
                None => {
                    self.syntax(&value.span(), format_args!("`{key}` is a list of tables: write [[{key}]]"))
                }
            }
        }
        tables
    }

    fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = table.get(key)?;
        let text = value.get_ref().as_str().map(|text| (text.into(), value.span()));
        if text.is_none() {
            self.syntax(&value.span(), format_args!("`{key}` is a text: put it in quotes"));
        }
        text
    }

    /// A text that `what`, whose table is at `span`, cannot do without.
    fn needed(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        span: &Range<usize>,
        what: impl fmt::Display,
        example: &str,
    ) -> Option<(String, Range<usize>)> {
        if !table.contains_key(key) {
            self.syntax(
                span,
                format_args!("this {what} has no `{key}`: add one, such as {key} = \"{example}\""),
            );
        }
        self.text(table, key)
    }

    fn number(&mut self, table: &DeTable<'_>, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = table.get(key)?;
        let number = integer(value.get_ref()).filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.syntax(&value.span(), format_args!("`{key}` must be a number from {min} to {max}"));
        }
        number
    }

    fn guid(&mut self, table: &DeTable<'_>, key: &str) -> Option<Guid> {
        let value = table.get(key)?;
        let guid = match value.get_ref() {
            DeValue::String(text) => text.parse().ok(),
            other => integer(other).map(Guid),
        };
        if guid.is_none() {
            self.syntax(&value.span(), format_args!("`{key}` is {ParseGuidError}"));
        }
        guid
    }

    fn quantity<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, BadQuantity>,
    ) -> Option<T> {
        let (text, span) = self.text(table, key)?;
        parse(&text).map_err(|bad| self.fail(&span, bad)).ok()
    }
}

/// Port of an end that takes the lowest free one; no cable fits port 0.
const FREE: PortNum = PortNum::MANAGEMENT;

const fn example_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Switch => "sw1",
        NodeKind::Hca => "h1",
        NodeKind::Router => "r1",
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    value.as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ib_wire::addr::{LinkSpeed, LinkWidth};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn read(text: &str) -> Topology {
        parse_toml("t.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[track_caller]
    fn refused(text: &str, messages: &[&str]) {
        let errors = parse_toml("t.toml", text).expect_err("this file is wrong").to_string();
        assert_eq!(errors.lines().collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_small_file_is_a_fabric() {
        let topology = read(
            r#"
            [[switch]]
            name = "sw1"
            ports = 36
            [[host]]
            name = "h1"
            [[link]]
            a = "sw1:1"
            b = "h1"
            "#,
        );
        assert_eq!(topology.counts().to_string(), "1 switch, 1 host, 1 link");
        let [sw1, h1] = &topology.nodes[..] else { panic!("two nodes") };
        assert_eq!((sw1.name.as_str(), sw1.port_count), ("sw1", 36));
        assert_eq!(sw1.guid.to_string(), "0269:6201:0000:0100");
        assert_eq!(h1.end_ports[0].guid.to_string(), "0269:6202:0000:0101");
        let link = &topology.links[0];
        assert_eq!((link.width, link.speed, link.mtu), (LinkWidth::X4, LinkSpeed::Edr, None));
        assert_eq!(topology.port_name(link.a), "sw1:1");
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let own = include_str!("toml.rs");
        let fenced = own.split("//! ```").nth(1).expect("the module documentation has an example");
        let example: String =
            fenced.lines().skip(1).map(|line| format!("{}\n", line.trim_start_matches("//!"))).collect();
        let topology = read(&example);
        assert_eq!(topology.counts().to_string(), "1 switch, 5 hosts, 6 links");
        let out = &topology.udp[0];
        assert_eq!(topology.port_name(out.port), "sw1:6");
        assert_eq!(out.ends.to_string(), "udp 192.0.2.1:4000 to 192.0.2.2:4000");
        let h1 = topology.find("h1").unwrap();
        assert_eq!(topology[h1].guid.to_string(), "0269:6204:0000:0100");
        let to_db = topology.link_at(topology.find_port("sw1:5").unwrap()).unwrap();
        assert_eq!(to_db.model.delay, Duration::from_millis(5));
        assert_eq!(to_db.model.shares.of(Mishap::Loss).ppb(), 10_000_000);
        assert_eq!((to_db.mtu, to_db.speed), (Some(Mtu::B4096), LinkSpeed::Edr));
        assert_eq!(topology.links[0].speed, LinkSpeed::Hdr);
    }

    #[test]
    fn ports_left_out_are_the_lowest_free_ones() {
        let topology = read(
            r#"
            switch = [{ name = "a" }, { name = "b", ports = 2 }]
            host = [{ name = "x" }, { name = "y" }, { name = "z", ports = 2 }]
            link = [
                { a = "a", b = "b" },
                { a = "a:1", b = "x" },
                { a = "a", b = "y" },
                { a = "a:12", b = "z:2" },
            ]
            "#,
        );
        let ports = ["a:2", "a:3", "a:12"].map(|port| {
            let end = topology.find_port(port).unwrap();
            let link = topology.link_at(end).unwrap();
            topology.port_name(link.other_end(end).unwrap())
        });
        assert_eq!(ports, ["b:1", "y:1", "z:2"]);
        assert_eq!(topology.nodes[0].port_count, 36);
    }

    #[test]
    fn appending_changes_no_guid() {
        let file = "switch = [{ name = 'a', hosts = 2 }]\n[[host]]\nname = 'x'\n";
        let (before, after) = (read(file), read(&format!("{file}[[host]]\nname = 'y'\n")));
        for node in &before.nodes {
            assert_eq!(after[after.find(&node.name).unwrap()].guid, node.guid, "{}", node.name);
        }
    }

    #[test]
    fn every_error_of_a_file_names_its_line() {
        refused(
            r#"colour = "red"
[[switch]]
name = "sw1"
ports = 2
port = [{ num = 1, lid = 7 }]
[[switch]]
ports = 300
[[host]]
name = "sw1"
guid = "0x0269620100000100"
lid = 5
[[link]]
a = "sw2:1"
b = "h1"
[[link]]
a = 7
speed = "fast"
mtu = 1500
loss = 0.1
"#,
            &[
                "t.toml:1: the file has no `colour`: it may have fabric, defaults, switch, host, router, link",
                "t.toml:5: port 1 of sw1 has no address: `port` is for port 0",
                "t.toml:6: this switch has no `name`: add one, such as name = \"sw1\"",
                "t.toml:9: there are two nodes named `sw1` (line 3): give one of them another name",
                "t.toml:9: sw1 has the GUID 0x0269620100000100 of sw1 (line 3): each needs its own",
                "t.toml:11: a host has no `lid`: it may have name, ports, description, guid, system_guid, vendor_id, device_id, port",
                "t.toml:13: there is no node `sw2`: add it, or correct the name",
                "t.toml:14: there is no node `h1`: add it, or correct the name",
                "t.toml:15: this link has no `b`: add one, such as b = \"sw1:1\"",
                "t.toml:16: `a` is a text: put it in quotes",
                "t.toml:17: `fast` is no link speed: write SDR, DDR, QDR, FDR, EDR, HDR or NDR",
                "t.toml:18: 1500 is no MTU: write 256, 512, 1024, 2048 or 4096",
                "t.toml:19: `loss` is a text: put it in quotes",
            ],
        );
    }

    #[test]
    fn every_wrong_link_names_its_line() {
        refused(
            r#"switch = [{ name = "sw1", ports = 2, hosts = 1 }]
host = [{ name = "x" }, { name = "y", ports = "two" }]
link = [
    { a = "sw1:1", b = "x" },
    { a = "sw1:2", b = "x" },
    { a = "sw1:3", b = "x:2" },
    { a = "sw1:2", b = "sw1:2" },
    { a = "sw1", b = "y:254" },
    { a = "sw1:one", b = "y:9" },
]
[link2]
"#,
            &[
                "t.toml:2: `ports` must be a number from 1 to 254",
                "t.toml:4: port sw1:1 has a link already, to h1:1 (line 1): use a free port",
                "t.toml:5: port x:1 has a link already, to sw1:1 (line 4): use a free port",
                "t.toml:6: sw1 has no port 3: its ports are 1 to 2",
                "t.toml:6: x has no port 2: its ports are 1 to 1",
                "t.toml:7: port sw1:2 is linked to itself: name another port at one end",
                "t.toml:8: sw1 has no port left: give it more `ports` than 2",
                "t.toml:9: `sw1:one` is no port: write sw1:1",
                "t.toml:11: the file has no `link2`: it may have fabric, defaults, switch, host, router, link",
            ],
        );
    }

    #[test]
    fn every_wrong_link_out_of_the_fabric_names_its_line() {
        refused(
            r#"fabric = 256
switch = [{ name = "sw1", ports = 2, hosts = 1 }]
link = [
    { a = "sw1:2", udp = { local = ":4000", peer = "192.0.2.2:4000" }, loss = "1%" },
    { a = "sw1:1", udp = { local = ":4001", peer = "192.0.2.2:4000" } },
    { a = "sw1:2", udp = { local = ":4002", peer = "192.0.2.2:4000" } },
    { a = "sw1", udp = { local = ":4003", peer = "elsewhere:4000" } },
    { a = "sw1", udp = { peer = "192.0.2.2:4000", idle = "5", port = 1 } },
    { a = "sw1", udp = "192.0.2.2:4000" },
]
"#,
            &[
                "t.toml:1: `fabric` must be a number from 0 to 255",
                "t.toml:4: a link with `udp` has no `loss`: it may have a, udp",
                "t.toml:5: port sw1:1 has a link already, to h1:1 (line 2): use a free port",
                "t.toml:6: port sw1:2 has a link already, to the outside (line 4): use a free port",
                "t.toml:7: `elsewhere:4000` is no peer: write its address and port, 192.0.2.2:4000 or [2001:db8::2]:4000",
                "t.toml:8: `udp` has no `port`: it may have local, peer, idle",
                "t.toml:8: `5` is no time: write a number with ns, us, ms or s, such as 5ms",
                "t.toml:8: this `udp` has no `local`: add one, such as local = \"192.0.2.1:4000\"",
                "t.toml:9: `udp` is a table: write { local = \"...\", peer = \"...\" }",
            ],
        );
    }

    #[test]
    fn a_single_table_where_a_list_belongs_is_explained() {
        refused(
            "switch = 1\n[host]\nname = 'x'\n[[defaults]]\n",
            &[
                "t.toml:1: `switch` is a list: write [[switch]]",
                "t.toml:2: `host` is a list: write [[host]]",
                "t.toml:4: `defaults` is one table: write [defaults]",
            ],
        );
    }

    #[test]
    fn broken_toml_is_reported_with_its_line() {
        let errors = parse_toml("t.toml", "[[switch]]\nname = sw1\n\n[[host\n").unwrap_err();
        let lines: Vec<usize> = errors.errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [2, 4], "{errors}");
        assert!(errors.to_string().starts_with("t.toml:2: this is not TOML: "), "{errors}");
    }

    #[test]
    fn an_empty_file_is_no_topology() {
        refused("", &["t.toml: there are no nodes: name at least one switch or host"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = parse_toml("", &text);
        }

        #[test]
        fn anything_near_the_format_is_read_without_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(&[
                    "[[switch]]\n", "[[host]]\n", "[[link]]\n", "[defaults]\n", "[[router]]\n", "name = 'a'\n",
                    "name = 'b'\n", "ports = 2\n", "ports = -1\n", "hosts = 3\n", "a = 'a'\n", "b = 'b:1'\n",
                    "a = 'a:'\n", "b = ':'\n", "guid = 0x10\n", "guid = 'x'\n", "loss = '2%'\n", "mtu = 4096\n",
                    "port = [{ lid = 1 }]\n", "port = [1]\n", "= ", "'", "{", "\r\n", "lmc = 8",
                ][..]),
                0..24,
            )
        ) {
            let _ = parse_toml("", &parts.concat());
        }
    }
}
