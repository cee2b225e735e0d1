//! What a program is told about the ports of its node.

use std::{collections::BTreeMap, path::PathBuf};

use ib_fabric::{Fabric, PortId, topology::Topology};
use ib_lab::Lab;
use ib_umad::protocol::{Device, Port};
use ib_wire::{addr::PortNum, time::Instant};

/// Name of a node's one adapter.
pub(super) const DEVICE: &str = "ipoib_0";

/// The nodes of the lab and their end ports.
#[derive(Debug)]
pub(super) struct Nodes {
    ports: BTreeMap<String, Vec<(PortNum, PortId)>>,
    /// Name of the file of each end port.
    names: BTreeMap<usize, String>,
    /// Where the files of ports are.
    issm: PathBuf,
}

impl Nodes {
    pub(super) fn new(topology: &Topology, fabric: &Fabric, issm: PathBuf) -> Self {
        let mut nodes = Self { ports: BTreeMap::new(), names: BTreeMap::new(), issm };
        for node in &topology.nodes {
            let ports = node.end_ports.iter();
            let ports: Vec<(PortNum, PortId)> =
                ports.filter_map(|spec| Some((spec.num, fabric.end_port(&node.name, spec.num)?))).collect();
            for (num, port) in &ports {
                nodes.names.insert(port.index(), format!("{}-{num}", node.name));
            }
            nodes.ports.insert(node.name.clone(), ports);
        }
        nodes
    }

    pub(super) fn has(&self, node: &str) -> bool {
        self.ports.contains_key(node)
    }

    /// The end port of that number of the node's adapter.
    pub(super) fn port(&self, node: &str, device: &str, number: u8) -> Option<PortId> {
        let ports = self.ports.get(node).filter(|_| device == DEVICE)?;
        ports.iter().find(|(num, _)| num.0 == number).map(|(_, port)| *port)
    }

    /// The file that a subnet manager on this port holds open.
    pub(super) fn issm(&self, port: PortId) -> PathBuf {
        self.issm.join(self.names.get(&port.index()).map_or("", String::as_str))
    }

    /// The node's adapters.
    pub(super) fn devices(&self, node: &str, fabric: &Fabric) -> Vec<Device> {
        let Some(ports) = self.ports.get(node).filter(|ports| !ports.is_empty()) else { return Vec::new() };
        let info = fabric.node_info(ports[0].1);
        vec![Device {
            name: DEVICE.to_owned(),
            node_type: info.node_type.0,
            ports: ports.iter().map(|(num, _)| num.0).collect(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            hardware: format!("{:x}", info.revision),
            model: "ipoib".to_owned(),
            node_guid: info.node_guid.0,
            system_guid: info.system_image_guid.0,
        }]
    }

    /// A port as it is now.
    pub(super) fn describe(&self, number: u8, port: PortId, fabric: &Fabric) -> Port {
        let view = fabric.port_view(port);
        Port {
            number,
            lid: view.lid.0,
            lmc: view.lmc.0,
            sm_lid: view.sm_lid.0,
            sm_sl: view.sm_sl.get(),
            state: view.state.0,
            physical_state: view.physical_state.0,
            rate: view.rate.and_then(|rate| rate.mbps()).map_or(0, |mbps| mbps / 1000),
            capabilities: fabric.port_info(port).capability_mask.0,
            prefix: view.prefix.0,
            guid: view.guid.0,
            pkeys: view.pkeys.iter().map(|key| key.0).collect(),
            issm: self.issm(port).display().to_string(),
        }
    }

    /// A subnet manager has come to a port, or left it.
    pub(super) fn set_is_sm(&self, now: Instant, port: usize, on: bool, lab: &mut Lab) {
        let found = self.ports.values().flatten().find(|(_, id)| id.index() == port);
        if let Some((_, port)) = found {
            lab.with_fabric(now, |fabric| fabric.set_is_sm(now, *port, on));
        }
    }
}
