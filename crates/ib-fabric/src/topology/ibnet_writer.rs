//! Writes a topology as `ibnetdiscover` prints a fabric, which ibsim and [`super::parse_ibnet`] read.

use alloc::{format, string::String};

use ib_wire::addr::{Lmc, UnicastLid};

use super::{
    model::{Endpoint, Link, Neighbor, Node, NodeKind, PortSpec, Topology},
    quantity::width_name,
};

/// The topology in the form of `ibnetdiscover`.
///
/// What the form has no place for is lost: names (they are made anew from the descriptions), MTU and model of
/// links, GUIDs and LIDs of ports without a link.
pub fn to_ibnetdiscover(topology: &Topology) -> String {
    let adjacency = topology.adjacency();
    let mut text = format!("#\n# {}\n#\n", topology.counts());
    for (index, node) in topology.indexed() {
        text.push_str(&head(node));
        for neighbor in adjacency.links(index) {
            if let Some(line) = port(topology, node, neighbor) {
                text.push_str(&line);
            }
        }
    }
    text
}

fn head(node: &Node) -> String {
    let Node { vendor_id, device_id, system_guid, guid, port_count, .. } = node;
    let (guid_key, word) = match node.kind {
        NodeKind::Switch => ("switchguid", "Switch"),
        NodeKind::Hca => ("caguid", "Ca"),
        NodeKind::Router => ("rtguid", "Rt"),
    };
    let mut text =
        format!("\nvendid={vendor_id:#x}\ndevid={device_id:#x}\nsysimgguid={:#x}\n", system_guid.0);
    text.push_str(&format!("{guid_key}={:#x}", guid.0));
    let port0 = node.end_ports.first().filter(|_| node.is_switch());
    if let Some(port) = port0 {
        text.push_str(&format!("({:x})", port.guid.0));
    }
    text.push_str(&format!("\n{word}\t{port_count} {}\t\t# {}", id(node), quoted(node)));
    if let Some(port) = port0 {
        let kind = if node.enhanced_port0 { "enhanced" } else { "base" };
        let (lid, lmc) = address(port);
        text.push_str(&format!(" {kind} port 0 lid {lid} lmc {lmc}"));
    }
    text.push('\n');
    text
}

/// The line of a link at one of its ends; `None` when the far end does not exist.
fn port(topology: &Topology, node: &Node, neighbor: &Neighbor) -> Option<String> {
    let Neighbor { own, peer, link } = neighbor;
    let far = topology.nodes.get(peer.node.0)?;
    let far_port = far_end_port(far, *peer);
    let far_guid = if far.is_switch() { None } else { far_port.map(|port| port.guid.0) };
    let far_guid = far_guid.map_or(String::new(), |guid| format!("({guid:x}) "));
    let far_lid = far_port.map_or(0, |port| address(port).0);
    let tail = format!("{} lid {far_lid} {}\n", quoted(far), speed(&topology.links[*link]));
    let to = format!("{}[{}]", id(far), peer.port);
    Some(match node.end_port(own.port) {
        Some(spec) if !node.is_switch() => {
            let (lid, lmc) = address(spec);
            let gap = if far.is_switch() { "" } else { " " };
            format!("[{}]({:x}) \t{to}{gap}{far_guid}\t\t# lid {lid} lmc {lmc} {tail}", own.port, spec.guid.0)
        }
        _ => format!("[{}]\t{to}{far_guid}\t\t# {tail}", own.port),
    })
}

fn far_end_port(node: &Node, end: Endpoint) -> Option<&PortSpec> {
    if node.is_switch() { node.end_ports.first() } else { node.end_port(end.port) }
}

fn id(node: &Node) -> String {
    let letter = match node.kind {
        NodeKind::Switch => 'S',
        NodeKind::Hca => 'H',
        NodeKind::Router => 'R',
    };
    format!("\"{letter}-{:016x}\"", node.guid.0)
}

/// The description; what would break the line becomes a blank.
fn quoted(node: &Node) -> String {
    let text: String = node.description.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{text}\"")
}

fn address(port: &PortSpec) -> (u16, u8) {
    let Lmc(lmc) = port.lmc;
    (port.lid.map_or(0, UnicastLid::get), lmc)
}

fn speed(link: &Link) -> String {
    format!("{}{}", width_name(link.width), link.speed)
}
