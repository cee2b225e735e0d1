//! The net file of ibsim and the output of `ibnetdiscover`: one grammar, the second a part of the first.
//!
//! ```text
//! vendid=0x2c9                        of the following nodes, as are devid= and sysimgguid= (the next node only)
//! switchguid=0x200000(200000)         of the next switch; the GUID of its port 0 in parentheses
//! Switch  8 "S-0000000000200000"      # "sw1" base port 0 lid 2 lmc 0
//! [1]     "H-0000000000100000"[1](100001)     # "h1 HCA-1" lid 1 4xEDR
//!
//! caguid=0x100000
//! Ca      1 "H-0000000000100000"      # "h1 HCA-1"
//! [1](100001)     "S-0000000000200000"[1]     # lid 1 lmc 0 "sw1" lid 2 4xEDR
//! ```
//! Of ibsim's own: `Hca`; a far port left out is port 1; `w=` `s=` `e=` after a port and `width=` `speed=`
//! `extspeed=` for the whole file are masks of the widths, old and extended speeds allowed (PortInfo's bits, so `w=2`
//! is 4x); `switchguid=+N` counts from the last absolute one, and nodes without a GUID line continue from the last
//! with one; `module="m"` puts `m#` before every identifier; `@[n] "alias"` names a port that another line
//! reaches as `"@alias"` or `"m@alias"`.
//!
//! Where it differs from ibsim: GUIDs of ports are kept; a node without any GUID line has the GUID in its identifier
//! (`S-0000000000200000`), or one as [`super::assigned_node_guid`] says; a link without width or speed is 4x EDR; a line
//! that is not understood is an error; `include` and `do` are refused.
//! FDR10 counts as QDR, a speed faster than we know as the fastest we know, `???` as not given.
//! Names are made from the descriptions: the first word, made safe for a shell, with `-2` after the
//! second of a name.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::addr::{Guid, LinkSpeed, LinkWidth, PortNum};

use super::{
    check::{self, Lines},
    error::{Reason, TopologyErrors},
    guid::assigned_node_guid,
    ibnet_line::{self, Address, GuidBase, Line, Masks, NodeLine, PortLine},
    model::{Endpoint, Link, Node, NodeIndex, NodeKind, PortSpec, Topology},
    names::Names,
};

/// Reads a net file or what `ibnetdiscover` printed. `file` is only for the errors, of which all are returned, up to
/// a cap.
pub fn parse_ibnet(file: &str, text: &str) -> Result<Topology, TopologyErrors> {
    let mut reader = Reader::default();
    for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        reader.line = line;
        match ibnet_line::parse(text) {
            Ok(line) => reader.handle(line),
            Err(message) => reader.fail(Reason::Syntax(message)),
        }
    }
    reader.link();
    check::finish(file, reader.topology, &reader.lines, reader.found)
}

/// The topology as far as it was read.
#[derive(Default)]
struct Reader<'a> {
    topology: Topology,
    lines: Lines,
    found: Vec<(usize, Reason)>,
    /// The line being read.
    line: usize,
    names: Names,
    /// Nodes by identifier, module and all.
    ids: BTreeMap<String, NodeIndex>,
    /// The node whose ports are being listed.
    open: Option<NodeIndex>,
    claims: Vec<Claim<'a>>,
    /// Ports by `module@alias`.
    aliases: BTreeMap<String, Endpoint>,
    module: &'a str,
    masks: Masks,
    guids: [GuidCounter; 3],
    vendor_id: Option<u32>,
    device_id: Option<u16>,
    system_guid: Option<Guid>,
}

/// Where the GUIDs of a kind of node stand.
#[derive(Default)]
struct GuidCounter {
    /// Nodes so far.
    nodes: u32,
    base: Option<u64>,
    /// What the next node gets, if a GUID line came before.
    next: Option<u64>,
    port0: Option<Guid>,
}

/// One end of a link, as a port line has it.
struct Claim<'a> {
    line: usize,
    from: Endpoint,
    /// Module the line is in.
    module: &'a str,
    port: PortLine<'a>,
}

impl<'a> Reader<'a> {
    fn fail(&mut self, reason: Reason) {
        self.found.push((self.line, reason));
    }

    fn handle(&mut self, line: Line<'a>) {
        if !matches!(line, Line::Comment | Line::Port(_) | Line::Alias(..)) {
            self.open = None;
        }
        match line {
            Line::Blank | Line::Comment => {}
            Line::Node(node) => self.node(&node),
            Line::Port(port) => self.port(port),
            Line::Alias(port, alias) => self.alias(port, alias),
            Line::NodeGuid(kind, base, port0) => {
                let counter = &mut self.guids[kind as usize];
                counter.next = Some(match base {
                    GuidBase::Absolute(guid) => *counter.base.insert(guid),
                    GuidBase::Relative(offset) => {
                        counter.base.unwrap_or_else(|| assigned_node_guid(kind, 1).0).wrapping_add(offset)
                    }
                });
                counter.port0 = port0;
            }
            Line::VendorId(id) => self.vendor_id = Some(id),
            Line::DeviceId(id) => self.device_id = Some(id),
            Line::SystemGuid(guid) => self.system_guid = Some(guid),
            Line::Allow(Masks { width, speed, extended }) => {
                self.masks.width = width.or(self.masks.width);
                self.masks.speed = speed.or(self.masks.speed);
                self.masks.extended = extended.or(self.masks.extended);
            }
            Line::Module(module) => self.module = module,
        }
    }

    fn node(&mut self, line: &NodeLine<'a>) {
        let id = full_id(self.module, line.id);
        if let Some(first) = self.ids.get(&id) {
            let first = self.lines.nodes[first.0];
            self.fail(Reason::Syntax(format!(
                "there are two nodes with the identifier `{id}` (line {first}): give one of them another"
            )));
        }
        // Without a description the identifier is one.
        let description = line.description.unwrap_or(&id).to_owned();
        let name = self.names.name(&description, &id);
        let ports = u8::try_from(line.ports).ok().filter(|ports| (1..=Node::MAX_PORTS).contains(ports));
        if ports.is_none() {
            self.fail(Reason::PortCount { node: name.clone(), ports: line.ports });
        }
        let ports = ports.unwrap_or(Node::MAX_PORTS);
        let counter = &mut self.guids[line.kind as usize];
        let (guid, port0) = counter.take(line.kind, line.id, ports);
        let mut node = Node::new(line.kind, name, guid, ports);
        node.description = description;
        node.system_guid = self.system_guid.take().unwrap_or(guid);
        node.vendor_id = self.vendor_id.unwrap_or(node.vendor_id);
        node.device_id = self.device_id.unwrap_or(node.device_id);
        if line.kind == NodeKind::Switch {
            node.enhanced_port0 = line.enhanced_port0;
            set_port(&mut node, PortNum::MANAGEMENT, port0, line.address);
        }
        let index = NodeIndex(self.topology.nodes.len());
        self.topology.nodes.push(node);
        self.lines.nodes.push(self.line);
        self.ids.entry(id).or_insert(index);
        self.open = Some(index);
    }

    /// The port of that number of the node whose ports are being listed.
    fn own_port(&mut self, port: u64) -> Option<Endpoint> {
        let Some(index) = self.open else {
            self.fail(Reason::Syntax(
                "this port belongs to no node: list it right after its node, without a blank line between"
                    .into(),
            ));
            return None;
        };
        let node = &self.topology[index];
        match u8::try_from(port).map(PortNum) {
            Ok(num) if node.has_port(num) => Some(Endpoint { node: index, port: num }),
            _ => {
                let reason = Reason::NoSuchPort { node: node.name.clone(), port, ports: node.port_count };
                self.fail(reason);
                None
            }
        }
    }

    fn port(&mut self, port: PortLine<'a>) {
        let Some(from) = self.own_port(port.port) else { return };
        set_port(&mut self.topology.nodes[from.node.0], from.port, port.guid, port.address);
        let mut claim = Claim { line: self.line, from, module: self.module, port };
        let allow = &mut claim.port.allow;
        allow.width = allow.width.or(self.masks.width);
        allow.speed = allow.speed.or(self.masks.speed);
        allow.extended = allow.extended.or(self.masks.extended);
        self.claims.push(claim);
    }

    fn alias(&mut self, port: u64, alias: &str) {
        let Some(end) = self.own_port(port) else { return };
        if self.aliases.insert(format!("{}@{alias}", self.module), end).is_some() {
            self.fail(Reason::Syntax(format!(
                "there are two ports named `@{alias}`: give one of them another name"
            )));
        }
    }

    /// Makes links of the claims, each of which needs its counterpart at the other end.
    fn link(&mut self) {
        let claims = core::mem::take(&mut self.claims);
        let mut by_port: BTreeMap<Endpoint, (&Claim<'_>, Option<Endpoint>)> = BTreeMap::new();
        for claim in &claims {
            self.line = claim.line;
            let target = self.target(claim);
            if let Some((first, peer)) = by_port.get(&claim.from) {
                let peer = peer.map_or_else(|| first.port.peer.into(), |peer| self.topology.port_name(peer));
                let port = self.topology.port_name(claim.from);
                self.fail(Reason::PortUsedTwice { port, peer, line: first.line });
                continue;
            }
            by_port.insert(claim.from, (claim, target));
        }
        for (&from, &(claim, target)) in &by_port {
            let Some(target) = target else { continue };
            self.line = claim.line;
            match by_port.get(&target) {
                // By its alias: the other end lists nothing.
                None if claim.port.peer.contains('@') => self.join(claim, None, target),
                Some(&(counter, Some(back))) if back == from => {
                    if from <= target {
                        self.join(claim, Some(counter), target);
                    }
                }
                // It was refused already, for what it names.
                Some((_, None)) => {}
                other => {
                    let says = match other {
                        Some((_, Some(back))) => format!("names {}", self.topology.port_name(*back)),
                        _ => "is not listed".to_string(),
                    };
                    let [port, peer] = [from, target].map(|end| self.topology.port_name(end));
                    self.fail(Reason::OneSided { port, peer, says });
                }
            }
        }
    }

    /// The port a claim names, if there is one.
    fn target(&mut self, claim: &Claim<'_>) -> Option<Endpoint> {
        let peer = claim.port.peer;
        if peer.contains('@') {
            let key = if peer.starts_with('@') { format!("{}{peer}", claim.module) } else { peer.to_owned() };
            let end = self.aliases.get(&key).copied();
            if end.is_none() {
                let message = format!("there is no port named `{peer}`: write @[port] \"alias\" at its node");
                self.fail(Reason::Syntax(message));
            }
            return end;
        }
        let id = full_id(claim.module, peer);
        let Some(&index) = self.ids.get(&id) else {
            self.fail(Reason::NoSuchNode { name: id });
            return None;
        };
        let node = &self.topology[index];
        let port = claim.port.peer_port.unwrap_or(1);
        match u8::try_from(port).map(PortNum) {
            Ok(num) if node.has_port(num) => Some(Endpoint { node: index, port: num }),
            _ => {
                let reason = Reason::NoSuchPort { node: node.name.clone(), port, ports: node.port_count };
                self.fail(reason);
                None
            }
        }
    }

    fn join(&mut self, claim: &Claim<'_>, counter: Option<&Claim<'_>>, to: Endpoint) {
        let ends = [Some(&claim.port), counter.map(|counter| &counter.port)];
        let given = |field: fn(&Masks) -> Option<u8>| {
            let masks = ends.into_iter().flatten().filter_map(|end| field(&end.allow));
            masks.reduce(|a, b| a & b)
        };
        let (width, speed, extended) = (given(|m| m.width), given(|m| m.speed), given(|m| m.extended));
        let mut link = Link::new(claim.from, to);
        let shown = ends.into_iter().flatten().find_map(|end| end.width);
        match shown.or_else(|| widest(width)) {
            Some(width) => link.width = width,
            None if width.is_none() => {}
            None => self.fail(Reason::Syntax("the two ends allow no common width: correct w= at one".into())),
        }
        let shown = ends.into_iter().flatten().find_map(|end| end.speed);
        match shown.or_else(|| fastest(speed, extended)) {
            Some(speed) => link.speed = speed,
            None if speed.is_none() && extended.is_none() => {}
            None => self
                .fail(Reason::Syntax("the two ends allow no common speed: correct s= or e= at one".into())),
        }
        // What the switch's line says of the host's port counts where the host's own line says nothing.
        for (end, other, guid) in [
            (to, counter.map(|counter| counter.port.guid), claim.port.peer_guid),
            (claim.from, Some(claim.port.guid), counter.and_then(|counter| counter.port.peer_guid)),
        ] {
            if other.flatten().is_none() && !self.topology[end.node].is_switch() {
                set_port(&mut self.topology.nodes[end.node.0], end.port, guid, Address::default());
            }
        }
        self.topology.links.push(link);
        self.lines.links.push(self.line);
    }
}

impl GuidCounter {
    /// GUIDs of the next node, and of its port 0 where given.
    fn take(&mut self, kind: NodeKind, id: &str, ports: u8) -> (Guid, Option<Guid>) {
        self.nodes += 1;
        let guid = match self.next {
            Some(guid) => {
                // As ibsim counts: one for a switch, one for each port and one for the node elsewhere.
                let used = if kind == NodeKind::Switch { 1 } else { u64::from(ports) + 1 };
                self.next = Some(guid.wrapping_add(used));
                Guid(guid)
            }
            None => guid_in_id(id).unwrap_or_else(|| assigned_node_guid(kind, self.nodes)),
        };
        (guid, self.port0.take())
    }
}

/// The GUID in `S-0002c903000e8a11`.
fn guid_in_id(id: &str) -> Option<Guid> {
    let digits = ["S-", "H-", "R-"].iter().find_map(|prefix| id.strip_prefix(prefix))?;
    let guid = digits.parse().ok()?;
    (digits.len() == 16 && guid != Guid::ZERO).then_some(guid)
}

fn full_id(module: &str, id: &str) -> String {
    if module.is_empty() || id.contains('#') { id.to_owned() } else { format!("{module}#{id}") }
}

/// Sets what is given of a port that is an address; other ports have none.
fn set_port(node: &mut Node, port: PortNum, guid: Option<Guid>, address: Address) {
    if let Some(spec) = node.end_ports.iter_mut().find(|spec| spec.num == port) {
        *spec = PortSpec {
            num: port,
            guid: guid.unwrap_or(spec.guid),
            lid: address.lid.or(spec.lid),
            lmc: address.lmc.unwrap_or(spec.lmc),
        };
    }
}

fn widest(mask: Option<u8>) -> Option<LinkWidth> {
    let mask = mask?;
    [LinkWidth::X12, LinkWidth::X8, LinkWidth::X4, LinkWidth::X2, LinkWidth::X1]
        .into_iter()
        .find(|width| width.0 & mask != 0)
}

/// `None` where nothing is allowed or nothing was said. A mask of extended speeds alone allows QDR too.
fn fastest(speed: Option<u8>, extended: Option<u8>) -> Option<LinkSpeed> {
    let old = speed.or_else(|| extended.map(|_| LinkSpeed::Qdr.speed_bit()))?;
    let extended = extended.unwrap_or(0);
    let known = LinkSpeed::ALL.iter().fold(0, |known, speed| known | speed.ext_bit());
    if extended & !known != 0 {
        return LinkSpeed::ALL.last().copied();
    }
    let allowed = |speed: &LinkSpeed| match speed.ext_bit() {
        0 => old & speed.speed_bit() != 0,
        bit => extended & bit != 0,
    };
    LinkSpeed::ALL.into_iter().rev().find(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::{generate, to_ibnetdiscover};

    #[track_caller]
    fn read(text: &str) -> Topology {
        parse_ibnet("net", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[track_caller]
    fn refused(text: &str, messages: &[&str]) {
        let errors = parse_ibnet("net", text).expect_err("this file is wrong").to_string();
        assert_eq!(errors.lines().collect::<Vec<_>>(), messages);
    }

    fn peer(topology: &Topology, port: &str) -> String {
        let end = topology.find_port(port).unwrap();
        let link = topology.link_at(end).unwrap();
        topology.port_name(link.other_end(end).unwrap())
    }

    #[test]
    fn what_ibnetdiscover_printed_is_read() {
        for text in [
            include_str!("../../tests/data/ibnetdiscover-small.txt"),
            include_str!("../../tests/data/ibnetdiscover-small-grouped.txt"),
        ] {
            let topology = read(text);
            assert_eq!(topology.counts().to_string(), "2 switches, 4 hosts, 6 links");
            assert_eq!(topology.nodes[0].name, "sw2");
            assert_eq!(topology.nodes[0].end_ports[0].lid.map(|lid| lid.get()), Some(3));
            let h2 = &topology[topology.find("h2").unwrap()];
            assert_eq!((h2.guid, h2.system_guid, h2.device_id), (Guid(0x10_0002), Guid(0x10_0002), 0));
            assert_eq!((h2.port_count, h2.end_ports[0].guid), (2, Guid(0x10_0003)));
            assert_eq!(h2.end_ports[0].lid.map(|lid| lid.get()), Some(4));
            assert_eq!(
                ["h3:1", "sw1:4", "h2:1"].map(|port| peer(&topology, port)),
                ["sw2:1", "sw2:4", "sw1:2"]
            );
            assert!(topology.links.iter().all(|link| link.mbps() == 10_000));
            assert_eq!(read(&to_ibnetdiscover(&topology)), topology);
        }
    }

    #[test]
    fn the_net_file_form_is_read() {
        let topology = read(
            "# as ibsim documents it\n\
             width=3\nspeed=7\n\
             switchguid=0x500\n\
             Switch\t8 \"Switch1\"\n[1]\t\"Hca1\"[1]\n# a comment ends no list\n[2]\t\"Hca2\"[2]\n[3]\t\"Switch2\"[3]\n\n\
             Switch 8 \"Switch2\" # \"the other\" enhanced port 0\n[3]\t\"Switch1\"[3]\tw=1 s=1\n\n\
             hcaguids=0x900\n\
             Hca\t2 \"Hca1\"\n[1]\t\"Switch1\"\n\n\
             Ca\t2 \"Hca2\"\n[2]\t\"Switch1\"[2] e=2\n\
             Rt 1 \"R1\"\n",
        );
        assert_eq!(topology.counts().to_string(), "2 switches, 2 hosts, 1 router, 3 links");
        let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["Switch1", "the", "Hca1", "Hca2", "R1"]);
        let guids: Vec<u64> = topology.nodes.iter().map(|node| node.guid.0).collect();
        assert_eq!(guids[..4], [0x500, 0x501, 0x900, 0x903]);
        assert!(topology.nodes[1].enhanced_port0);
        assert_eq!(topology.nodes[3].end_ports[1].guid, Guid(0x905));
        let rates: Vec<u32> = topology.links.iter().map(Link::mbps).collect();
        assert_eq!(rates, [40_000, 100_000, 2_500]);
    }

    #[test]
    fn modules_and_aliases_join_parts() {
        let topology = read(
            "module=\"m1\"\nSwitch 8 \"sw\"\n[1] \"h\"\n@[8] \"up\"\nHca 1 \"h\"\n[1] \"sw\"\n\n\
             module=\"m2\"\nSwitch 8 \"sw\"\n[1] \"m1@up\"\n@[2] \"spare\"\n[3] \"@spare\"\n",
        );
        let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["m1-sw", "m2-sw", "m1-h"]);
        assert_eq!(["m1-sw:8", "m2-sw:2"].map(|port| peer(&topology, port)), ["m2-sw:1", "m2-sw:3"]);
    }

    #[test]
    fn guids_count_on_from_an_offset() {
        let topology = read(
            "switchguid=0x100\nSwitch 8 \"a\"\nswitchguid=+0x10\nSwitch 8 \"b\"\nSwitch 8 \"c\"\n\
             Hca 1 \"H-0002c9030005f34e\"\nHca 1 \"x\"\n",
        );
        let guids: Vec<u64> = topology.nodes.iter().map(|node| node.guid.0).collect();
        assert_eq!(guids, [0x100, 0x110, 0x111, 0x0002_c903_0005_f34e, 0x0269_6202_0000_0200]);
    }

    #[test]
    fn a_port_guid_given_at_the_far_end_counts() {
        let topology = read(
            "Switch 8 \"s\"\n[1] \"h\"[1](77)\n[2] \"h\"[2](78)\ncaguid=0x70\nCa 2 \"h\"\n[1] \"s\"\n[2](79) \"s\"[2]\n",
        );
        let guids: Vec<u64> = topology.nodes[1].end_ports.iter().map(|port| port.guid.0).collect();
        assert_eq!(guids, [0x77, 0x79]);
    }

    #[test]
    fn every_error_names_its_line() {
        refused(
            "do link\nSwitch 8 \"a\"\n[1] \"b\"[1]\n[2] \"b\"[2]\n[2] \"b\"[3]\n[3] \"c\"\n[4] \"b\"[9]\n[9] \"b\"\n[5] \"a\"[5]\n\
             [6] \"@x\"\n\n[7] \"b\"\nSwitch 8 \"b\"\n[1] \"a\"[1]\n[2] \"b\"[7]\n[7] \"a\"[7]\nSwitch 255 \"b\"\nfoo\n",
            &[
                "net:1: `do` is a command to ibsim's console: leave it out, and change the fabric when it runs",
                "net:4: a:2 names b:2 as its peer, but b:2 names b:7: list the link at both ends",
                "net:5: port a:2 has a link already, to b:2 (line 4): use a free port",
                "net:6: there is no node `c`: add it, or correct the name",
                "net:7: b has no port 9: its ports are 1 to 8",
                "net:8: a has no port 9: its ports are 1 to 8",
                "net:9: port a:5 is linked to itself: name another port at one end",
                "net:10: there is no port named `@x`: write @[port] \"alias\" at its node",
                "net:12: this port belongs to no node: list it right after its node, without a blank line between",
                "net:15: b:2 names b:7 as its peer, but b:7 names a:7: list the link at both ends",
                "net:16: b:7 names a:7 as its peer, but a:7 is not listed: list the link at both ends",
                "net:17: there are two nodes with the identifier `b` (line 13): give one of them another",
                "net:17: b-2 has 255 ports: write 1 to 254",
                "net:18: `foo` begins no line of a net file: those are Switch, Hca, Ca, Rt, [port], or a setting such as switchguid=0x200000",
            ],
        );
    }

    #[test]
    fn ends_that_allow_nothing_in_common_are_refused() {
        refused(
            "Switch 8 \"a\"\n[1] \"b\" w=1\n[2] \"b\"[2] s=1\nSwitch 8 \"b\"\n[1] \"a\" w=2\n[2] \"a\"[2] s=2\n",
            &[
                "net:2: the two ends allow no common width: correct w= at one",
                "net:3: the two ends allow no common speed: correct s= or e= at one",
            ],
        );
    }

    #[test]
    fn generated_topologies_survive() {
        for spec in
            ["pair", "star:40", "ring:5,hosts=3", "fat-tree:k=8", "fat-tree:k=6,levels=2,hosts=7", "mesh:12"]
        {
            let topology = generate(spec).unwrap();
            assert_eq!(read(&to_ibnetdiscover(&topology)), topology, "{spec}");
        }
    }

    #[test]
    fn what_the_form_can_hold_survives() {
        let mut topology = generate("line:2").unwrap();
        let switch = &mut topology.nodes[0];
        (switch.guid, switch.system_guid, switch.enhanced_port0) = (Guid(u64::MAX), Guid(5), true);
        (switch.vendor_id, switch.device_id) = (0x2c9, 0xffff);
        switch.end_ports[0].guid = Guid(6);
        switch.end_ports[0].lid = 48u16.try_into().ok();
        switch.description = "sw1 \"x\" # lid 7 ü".into();
        let host = &mut topology.nodes[2];
        host.end_ports[0].guid = host.guid;
        host.end_ports[0].lid = 16u16.try_into().ok();
        host.end_ports[0].lmc = ib_wire::addr::Lmc(3);
        (topology.links[0].width, topology.links[0].speed) = (LinkWidth::X2, LinkSpeed::Ndr);
        let router = Node::new(NodeKind::Router, "r1", Guid(0x44), 2);
        topology.nodes.push(router);
        topology.connect((NodeIndex(4), 2), (NodeIndex(1), 8));
        topology.normalize();
        assert_eq!(read(&to_ibnetdiscover(&topology)), topology);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = parse_ibnet("", &text);
        }

        #[test]
        fn anything_near_the_format_is_read_without_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(&[
                    "Switch 8 \"a\"\n", "Hca 2 \"b\" # \"b\" lid 4\n", "Rt 1 \"c\"\n", "[1] \"b\"\n", "[1] \"a\"[1]\n",
                    "[2] \"b\"[2] # lid 3 lmc 9\n", "[255] \"a\"\n", "[0] \"a\"\n", "@[1] \"x\"\n", "[2] \"@x\"\n",
                    "switchguid=0xffffffffffffffff\n", "switchguid=+1\n", "width=4\n", "module=\"m\"\n", "vendid=0x2c9\n",
                    "sysimgguid=", "\n", "\"", "[", "]", "#", "(", "0x", "lid ", "4xEDR", "é", "w=", "s=0",
                ][..]),
                0..32,
            )
        ) {
            let _ = parse_ibnet("", &parts.concat());
        }

        #[test]
        fn meshes_survive_both_forms(switches in 2usize..12, hosts in 0usize..4, links in 12usize..30, seed: u64) {
            let spec = format!("mesh:{switches},hosts={hosts},links={links},seed={seed}");
            let mut topology = generate(&spec).unwrap();
            for (at, link) in topology.links.iter_mut().enumerate() {
                link.speed = LinkSpeed::ALL[(at + switches) % LinkSpeed::ALL.len()];
                link.width = [LinkWidth::X1, LinkWidth::X2, LinkWidth::X4, LinkWidth::X8, LinkWidth::X12][at % 5];
            }
            prop_assert_eq!(parse_ibnet("", &to_ibnetdiscover(&topology)), Ok(topology.clone()));
            prop_assert_eq!(crate::topology::parse_toml("", &crate::topology::to_toml(&topology)), Ok(topology));
        }
    }
}
