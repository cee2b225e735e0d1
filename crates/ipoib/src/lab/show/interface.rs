//! Rows about IPoIB interfaces: hosts, neighbours, paths.

use std::collections::BTreeMap;

use ib_wire::addr::{Gid, Guid};

use super::super::Running;
use crate::{
    control::schema::{Noun, Shown},
    face,
};

/// The rows of `noun` as far as interfaces of the lab's own process know them.
pub(super) fn own(lab: &Running, noun: Noun) -> Shown {
    let engines = lab.runtime.lab.interfaces().map(|(_, attached)| &attached.engine);
    face::rows(noun, lab.runtime.faces.iter().zip(engines))
}

/// Whose GIDs are whose: names of nodes by the GUID of their ports.
pub(super) struct Owners(BTreeMap<Guid, String>);

impl Owners {
    /// Of all end ports of the fabric.
    pub(super) fn of(lab: &Running) -> Self {
        let fabric = lab.runtime.lab.fabric();
        let ends =
            lab.topology.nodes.iter().flat_map(|node| node.end_ports.iter().map(move |end| (node, end)));
        let known = ends.filter_map(|(node, end)| {
            let port = fabric.end_port(&node.name, end.num)?;
            Some((fabric.port_view(port).guid, node.name.clone()))
        });
        Self(known.collect())
    }

    /// The node that has this GID.
    pub(super) fn name(&self, gid: Gid) -> Option<&str> {
        self.0.get(&gid.guid()).map(String::as_str)
    }

    /// The node that has the GID of this text.
    fn named(&self, gid: &str) -> Option<String> {
        self.name(gid.parse().ok()?).map(str::to_owned)
    }

    /// Says in rows of interfaces who their peers are.
    pub(super) fn name_peers(&self, shown: &mut Shown) {
        match shown {
            Shown::Neighbors(rows) => rows.iter_mut().for_each(|row| row.peer = self.named(&row.gid)),
            Shown::Paths(rows) => rows.iter_mut().for_each(|row| row.peer = self.named(&row.gid)),
            _ => {}
        }
    }
}
