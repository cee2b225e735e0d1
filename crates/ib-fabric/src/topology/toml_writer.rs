//! Writes our own format: one line for each node and link, and only what differs from the defaults.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    guid::{assigned_node_guid, numbered},
    model::{Endpoint, Link, Node, NodeKind, PortSpec, Topology},
    quantity::{format_duration, width_name},
    udp::UdpLink,
};

/// The topology as [`super::parse_toml`] reads it: a valid one comes back the same, in its normal order.
pub fn to_toml(topology: &Topology) -> String {
    let mut text = format!("# {}\n", topology.counts());
    if topology.fabric != 0 {
        text.push_str(&format!("fabric = {}\n", topology.fabric));
    }
    for (kind, key) in [(NodeKind::Switch, "switch"), (NodeKind::Hca, "host"), (NodeKind::Router, "router")] {
        let of_kind = topology.nodes.iter().filter(|node| node.kind == kind);
        list(
            &mut text,
            key,
            (1..).zip(of_kind).map(|(number, node)| node_fields(topology.fabric, node, number)),
        );
    }
    let inside = topology.links.iter().map(|link| link_fields(topology, link));
    list(&mut text, "link", inside.chain(topology.udp.iter().map(|link| udp_fields(topology, link))));
    text
}

fn list(text: &mut String, key: &str, lines: impl Iterator<Item = Fields>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    text.push_str(&format!("\n{key} = [\n"));
    for line in lines {
        text.push_str(&format!("    {},\n", line.table()));
    }
    text.push_str("]\n");
}

fn node_fields(fabric: u8, node: &Node, number: u32) -> Fields {
    let guid = numbered(assigned_node_guid(node.kind, number), fabric);
    let default = Node::new(node.kind, node.name.clone(), guid, node.port_count);
    let mut fields = Fields(Vec::new());
    fields.text("name", &node.name);
    if node.is_switch() || node.port_count != 1 {
        fields.raw("ports", node.port_count);
    }
    if node.description != default.description {
        fields.text("description", &node.description);
    }
    if node.guid != default.guid {
        fields.text("guid", &format!("{:#018x}", node.guid.0));
    }
    if node.system_guid != node.guid {
        fields.text("system_guid", &format!("{:#018x}", node.system_guid.0));
    }
    if node.vendor_id != default.vendor_id {
        fields.raw("vendor_id", format!("{:#x}", node.vendor_id));
    }
    if node.device_id != default.device_id {
        fields.raw("device_id", format!("{:#x}", node.device_id));
    }
    if node.enhanced_port0 {
        fields.raw("enhanced_port0", true);
    }
    let ports: Vec<String> = node.end_ports.iter().filter_map(|port| port_table(node, port)).collect();
    if !ports.is_empty() {
        fields.raw("port", format!("[{}]", ports.join(", ")));
    }
    fields
}

/// A port that is not as its node makes it.
fn port_table(node: &Node, port: &PortSpec) -> Option<String> {
    let default = PortSpec::new(port.num, node.guid);
    if *port == default {
        return None;
    }
    let mut fields = Fields(Vec::new());
    fields.raw("num", port.num);
    if port.guid != default.guid {
        fields.text("guid", &format!("{:#018x}", port.guid.0));
    }
    if let Some(lid) = port.lid {
        fields.raw("lid", lid.get());
    }
    if port.lmc != default.lmc {
        fields.raw("lmc", port.lmc.0);
    }
    Some(fields.table())
}

fn link_fields(topology: &Topology, link: &Link) -> Fields {
    let mut fields = Fields(Vec::new());
    fields.text("a", &end(topology, link.a));
    fields.text("b", &end(topology, link.b));
    if link.width != Link::DEFAULT_WIDTH {
        fields.text("width", &width_name(link.width));
    }
    if link.speed != Link::DEFAULT_SPEED {
        fields.text("speed", &link.speed.to_string());
    }
    if let Some(bytes) = link.mtu.and_then(|mtu| mtu.bytes()) {
        fields.raw("mtu", bytes);
    }
    if !link.model.delay.is_zero() {
        fields.text("delay", &format_duration(link.model.delay));
    }
    for (mishap, share) in link.model.shares.iter() {
        fields.text(mishap.name(), &share.to_string());
    }
    fields
}

fn udp_fields(topology: &Topology, link: &UdpLink) -> Fields {
    let mut udp = Fields(Vec::new());
    udp.text("local", &link.ends.local.to_string());
    udp.text("peer", &link.ends.peer.to_string());
    if let Some(idle) = link.idle {
        udp.text("idle", &format_duration(idle));
    }
    let mut fields = Fields(Vec::new());
    fields.text("a", &end(topology, link.port));
    fields.raw("udp", udp.table());
    fields
}

/// `sw1:3`; for the one port of a host only its name.
fn end(topology: &Topology, end: Endpoint) -> String {
    match topology.nodes.get(end.node.0) {
        Some(node) if !node.is_switch() && node.port_count == 1 => node.name.clone(),
        _ => topology.port_name(end),
    }
}

/// `key = value` pairs of an inline table.
struct Fields(Vec<String>);

impl Fields {
    fn raw(&mut self, key: &str, value: impl ToString) {
        self.0.push(format!("{key} = {}", value.to_string()));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, quoted(value));
    }

    fn table(&self) -> String {
        format!("{{ {} }}", self.0.join(", "))
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ib_wire::addr::{Guid, LinkSpeed, LinkWidth, Lmc, Mtu};

    use super::*;
    use crate::topology::{Mishap, NodeIndex, Probability, UdpEnds, generate, parse_toml};

    #[test]
    fn the_pair_is_a_dozen_readable_lines() {
        let text = to_toml(&generate("pair").unwrap());
        let expected = r#"# 2 switches, 4 hosts, 6 links

switch = [
    { name = "sw1", ports = 8 },
    { name = "sw2", ports = 8 },
]

host = [
    { name = "h1" },
    { name = "h2" },
    { name = "h3" },
    { name = "h4" },
]

link = [
    { a = "sw1:1", b = "h1" },
    { a = "sw1:2", b = "h2" },
    { a = "sw1:3", b = "sw2:3" },
    { a = "sw1:4", b = "sw2:4" },
    { a = "sw2:1", b = "h3" },
    { a = "sw2:2", b = "h4" },
]
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn every_field_survives() {
        let mut topology = generate("pair").unwrap();
        let node = &mut topology.nodes[1];
        node.description = "a \"b\" \\ \u{7f} \t ü".into();
        node.guid = Guid(u64::MAX);
        node.system_guid = Guid(7);
        (node.vendor_id, node.device_id, node.enhanced_port0) = (0xff_ffff, 0xffff, true);
        node.end_ports[0] =
            PortSpec { guid: Guid(9), lid: 5u16.try_into().ok(), lmc: Lmc(7), ..node.end_ports[0] };
        let link = &mut topology.links[2];
        (link.width, link.speed, link.mtu) = (LinkWidth::X12, LinkSpeed::Ndr, Some(Mtu::B4096));
        link.model.delay = Duration::from_nanos(1_500_001);
        for (ppb, mishap) in (1..).zip(Mishap::ALL) {
            link.model.shares.set(mishap, Probability::from_ppb(ppb));
        }
        let router = Node::new(NodeKind::Router, "r1", assigned_node_guid(NodeKind::Router, 1), 2);
        topology.nodes.push(router);
        topology.udp = [(3, None), (4, Some(Duration::from_millis(2500)))]
            .map(|(port, idle)| UdpLink {
                port: (NodeIndex(6), port - 2).into(),
                ends: UdpEnds::parse(&format!("[::1]:{port}"), "[2001:db8::1%7]:9").unwrap(),
                idle,
            })
            .into();
        assert_eq!(parse_toml("", &to_toml(&topology)), Ok(topology.clone()));
        topology.set_fabric_number(9);
        assert_eq!(parse_toml("", &to_toml(&topology)), Ok(topology));
    }

    #[test]
    fn generated_topologies_survive() {
        for spec in ["star:40", "ring:5,hosts=3", "fat-tree:k=8", "fat-tree:k=6,levels=2,hosts=7", "mesh:12"]
        {
            let topology = generate(spec).unwrap();
            assert_eq!(parse_toml("", &to_toml(&topology)), Ok(topology), "{spec}");
        }
    }
}
