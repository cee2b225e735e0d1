//! The whole fabric as plain data, for people and tests. Addresses are text as `Display` writes them.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::addr::{Lid, MulticastGid, MulticastLid, PKey};
use serde::Serialize;

use crate::{
    counters::Counter,
    endport::EndPort,
    fabric::Fabric,
    link::Link,
    node::Node,
    port::{Logical, Port},
    switch::Switch,
    topology::format_duration,
};

/// Everything there is to see; counts are since the fabric was built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FabricSnapshot {
    /// Switches and channel adapters.
    pub nodes: Vec<NodeSnapshot>,
    /// Cables.
    pub links: Vec<LinkSnapshot>,
    /// Packets that one direction of a slow link holds at most.
    pub link_queue: usize,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeSnapshot {
    /// Name in the topology.
    pub name: String,
    /// `switch`, `host` or `router`.
    pub kind: String,
    /// NodeGUID.
    pub guid: String,
    /// NodeDescription.
    pub description: String,
    /// False while it is switched off.
    pub power: bool,
    /// Ports by number.
    pub ports: Vec<PortSnapshot>,
    /// Forwarding, if it is a switch.
    pub switch: Option<SwitchSnapshot>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortSnapshot {
    /// Its number.
    pub port: u8,
    /// Logical state.
    pub state: String,
    /// Physical state.
    pub physical_state: String,
    /// PortGUID, if it is an end port.
    pub guid: Option<String>,
    /// GID 0, if it is an end port.
    pub gid: Option<String>,
    /// Base LID, if it has one.
    pub lid: Option<u16>,
    /// LID mask control.
    pub lmc: u8,
    /// LID of the master SM, if it knows one.
    pub sm_lid: Option<u16>,
    /// Largest payload the neighbour takes.
    pub mtu: Option<u16>,
    /// Rate of the link, if there is one.
    pub rate: Option<String>,
    /// Valid keys of its table.
    pub pkeys: Vec<String>,
    /// Refused for their M_Key.
    pub m_key_violations: u16,
    /// Refused for their P_Key.
    pub p_key_violations: u16,
    /// Refused for their Q_Key.
    pub q_key_violations: u16,
    /// Traps that wait for a TrapRepress.
    pub pending_traps: usize,
    /// What performance management counts, without what is 0.
    pub counters: BTreeMap<&'static str, u64>,
    /// What was dropped, by name, without what is 0.
    pub drops: BTreeMap<&'static str, u64>,
    /// Queue pairs.
    pub queue_pairs: Vec<QueuePairSnapshot>,
}

/// A queue pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueuePairSnapshot {
    /// Its number.
    pub qpn: String,
    /// `Reset` or `ReadyToSend`.
    pub state: String,
    /// Its key, invalid ones too.
    pub pkey: String,
    /// Its key.
    pub qkey: String,
    /// Datagrams sent, a large send as one.
    pub sent: u64,
    /// Datagrams received, a large one as one.
    pub received: u64,
    /// Groups it is attached to.
    pub groups: Vec<GroupSnapshot>,
}

/// A multicast group at a queue pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSnapshot {
    /// MGID.
    pub mgid: String,
    /// MLID.
    pub mlid: String,
}

/// What a switch forwards by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwitchSnapshot {
    /// Highest LID that is forwarded.
    pub linear_top: u16,
    /// A port changed its state and no SM has taken note.
    pub port_state_change: bool,
    /// Egress port by unicast LID; LIDs without one are left out.
    pub linear: BTreeMap<u16, u8>,
    /// Ports by multicast LID.
    pub multicast: BTreeMap<String, Vec<u8>>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkSnapshot {
    /// `sw1:1`.
    pub a: String,
    /// `h1:1`, or `outside` if it leads out of the fabric.
    pub b: String,
    /// True while packets may pass.
    pub up: bool,
    /// True while it is unplugged.
    pub unplugged: bool,
    /// How long a packet is under way.
    pub delay: String,
    /// What befalls some of them, and what share: `loss`, `1%`.
    pub mishaps: BTreeMap<&'static str, String>,
    /// Bits per second, if limited.
    pub rate: Option<u64>,
    /// Packets under way from `a` to `b`.
    pub under_way_from_a: usize,
    /// Packets under way from `b` to `a`.
    pub under_way_from_b: usize,
}

impl Fabric {
    /// All there is to see. Takes time that grows with the fabric.
    pub fn snapshot(&self) -> FabricSnapshot {
        FabricSnapshot {
            nodes: self.nodes.iter().map(|node| self.node_snapshot(node)).collect(),
            links: self
                .links()
                .filter(|link| self.links[link.index()].outside.is_none() || self.outside(*link).is_some())
                .map(|link| self.link_snapshot(&self.links[link.index()]))
                .collect(),
            link_queue: self.config.link_queue,
        }
    }

    fn node_snapshot(&self, node: &Node) -> NodeSnapshot {
        let port = |port: &Port| port_snapshot(port, port.end.map(|end| &self.ends[end]));
        NodeSnapshot {
            name: node.name.clone(),
            kind: node.kind.to_string(),
            guid: node.info.node_guid.to_string(),
            description: node.description.text(),
            power: node.power,
            ports: self.ports[node.ports.clone()].iter().map(port).collect(),
            switch: node.switch.map(|switch| switch_snapshot(&self.switches[switch])),
        }
    }

    fn link_snapshot(&self, link: &Link) -> LinkSnapshot {
        let name = |port: usize| {
            let port = &self.ports[port];
            alloc::format!("{}:{}", self.nodes[port.node].name, port.num)
        };
        let fault = link.fault;
        LinkSnapshot {
            a: name(link.ends[0]),
            b: if link.outside.is_some() { "outside".into() } else { name(link.ends[1]) },
            up: link.up,
            unplugged: fault.down,
            delay: format_duration(fault.delay),
            mishaps: fault.shares.iter().map(|(what, share)| (what.name(), share.to_string())).collect(),
            rate: fault.rate,
            under_way_from_a: link.way(true).under_way,
            under_way_from_b: link.way(false).under_way,
        }
    }
}

fn port_snapshot(port: &Port, end: Option<&EndPort>) -> PortSnapshot {
    let lid = |lid: Lid| (lid != Lid::NONE).then_some(lid.0);
    let info = &port.info;
    PortSnapshot {
        port: port.num.0,
        state: alloc::format!("{:?}", port.state),
        physical_state: alloc::format!("{:?}", port.physical),
        guid: end.map(|end| end.guid.to_string()),
        gid: end.map(|end| crate::endport::gid(end, port).to_string()),
        lid: lid(info.lid),
        lmc: info.lmc.0,
        sm_lid: lid(info.master_sm_lid),
        mtu: info.neighbor_mtu.bytes(),
        rate: info.active_rate().filter(|_| port.state != Logical::Down).map(|rate| rate.to_string()),
        pkeys: port.pkeys.as_slice().iter().filter(|key| key.is_valid()).map(PKey::to_string).collect(),
        m_key_violations: info.m_key_violations,
        p_key_violations: info.p_key_violations,
        q_key_violations: info.q_key_violations,
        pending_traps: end.map_or(0, |end| end.traps.len()),
        counters: Counter::ALL
            .iter()
            .map(|counter| (counter.name(), port.counters.total(*counter)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        drops: port.drops.iter().map(|(reason, count)| (reason.name(), count)).collect(),
        queue_pairs: end.map_or_else(Vec::new, queue_pairs),
    }
}

fn queue_pairs(end: &EndPort) -> Vec<QueuePairSnapshot> {
    let groups = |qpn| {
        let group = |(mgid, mlid): (MulticastGid, MulticastLid)| GroupSnapshot {
            mgid: mgid.to_string(),
            mlid: mlid.to_string(),
        };
        end.qps.groups(qpn).map(group).collect()
    };
    end.qps
        .iter()
        .map(|qp| QueuePairSnapshot {
            qpn: qp.qpn.to_string(),
            state: alloc::format!("{:?}", qp.state),
            pkey: qp.pkey.to_string(),
            qkey: qp.qkey.to_string(),
            sent: qp.sent,
            received: qp.received,
            groups: groups(qp.qpn),
        })
        .collect()
}

fn switch_snapshot(switch: &Switch) -> SwitchSnapshot {
    SwitchSnapshot {
        linear_top: switch.info.linear_fdb_top.0,
        port_state_change: switch.info.port_state_change,
        linear: switch.linear.iter().map(|(lid, port)| (lid.0, port.0)).collect(),
        multicast: switch
            .multicast
            .iter()
            .map(|(lid, ports)| (lid.to_string(), ports.map(|port| port.0).collect()))
            .collect(),
    }
}
