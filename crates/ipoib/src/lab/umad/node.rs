//! What a program is told about the ports of its node.

use std::path::{Path, PathBuf};

use ib_fabric::{Fabric, PortId};
use ib_umad::protocol::{Device, Port};

use crate::lab::sysfs::DEVICE;

/// The file that a subnet manager on a port holds open; `dir` is where such files are.
pub(super) fn issm(dir: &Path, node: &str, number: u8) -> PathBuf {
    dir.join(format!("{node}-{number}"))
}

/// The node's adapters.
pub(super) fn devices(node: &str, fabric: &Fabric) -> Vec<Device> {
    let Some((_, first)) = fabric.end_ports_of(node).next() else { return Vec::new() };
    let info = fabric.node_info(first);
    vec![Device {
        name: DEVICE.to_owned(),
        node_type: info.node_type.0,
        ports: fabric.end_ports_of(node).map(|(num, _)| num.0).collect(),
        firmware: env!("CARGO_PKG_VERSION").to_owned(),
        hardware: format!("{:x}", info.revision),
        model: "ipoib".to_owned(),
        node_guid: info.node_guid.0,
        system_guid: info.system_image_guid.0,
    }]
}

/// A port as it is now.
pub(super) fn describe(number: u8, port: PortId, issm: &Path, fabric: &Fabric) -> Port {
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
        issm: issm.display().to_string(),
    }
}
