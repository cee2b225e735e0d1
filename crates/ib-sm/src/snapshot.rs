//! The manager at a glance, for `show` and for tests.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::addr::PortNum;
use serde::Serialize;

use crate::{
    SubnetManager,
    role::Role,
    sa,
    subnet::PortId,
    sweep::{Phase, SweepCounters},
    transact::TransactionCounters,
    trap::TrapCounters,
};

/// State of a manager. GUIDs and GIDs are text as they are shown everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SmSnapshot {
    /// What it is.
    pub role: Role,
    /// 0 to 15.
    pub priority: u8,
    /// GUID of its port.
    pub guid: String,
    /// LID of its port, 0 before it has one.
    pub lid: u16,
    /// What it is doing.
    pub phase: Phase,
    /// Sweeps.
    pub sweeps: SweepCounters,
    /// SMPs.
    pub smps: TransactionCounters,
    /// Traps.
    pub traps: TrapCounters,
    /// Nodes in the order in which they were first seen.
    pub nodes: Vec<NodeView>,
    /// Ports behind which nobody answers, as `node:port`.
    pub silent: Vec<String>,
    /// Groups, subscriptions, services.
    pub administration: sa::Snapshot,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// Its GUID.
    pub guid: String,
    /// Its description.
    pub description: String,
    /// True for a switch.
    pub is_switch: bool,
    /// Its end ports.
    pub ports: Vec<EndPortView>,
}

/// An end port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndPortView {
    /// Its number.
    pub port: u8,
    /// Its GUID.
    pub guid: String,
    /// Its LID.
    pub lid: u16,
    /// Its logical state.
    pub state: String,
    /// Its P_Keys in the order of the table.
    pub pkeys: Vec<String>,
}

impl SmSnapshot {
    pub(crate) fn of(sm: &SubnetManager) -> Self {
        let subnet = sm.subnet();
        let (nodes, silent) =
            subnet.nodes().fold((Vec::new(), Vec::new()), |(mut nodes, mut silent), (id, node)| {
                let ends = node.end_ports().map(|(num, port)| EndPortView {
                    port: num.0,
                    guid: port.guid.to_string(),
                    lid: port.lid.0,
                    state: port.state().to_string(),
                    pkeys: port.valid_pkeys().map(|key| key.to_string()).collect(),
                });
                nodes.push(NodeView {
                    guid: node.guid().to_string(),
                    description: node.description.clone(),
                    is_switch: node.is_switch(),
                    ports: ends.collect(),
                });
                let quiet = (0u8..=254).map(PortNum).zip(&node.ports).filter(|(_, port)| port.silent);
                let name = |num| crate::output::PortName::of(subnet, PortId { node: id, num }).to_string();
                silent.extend(quiet.map(|(num, _)| name(num)));
                (nodes, silent)
            });
        let (guid, priority, phase) = sm.about();
        let (sweeps, smps, traps) = sm.counters();
        Self {
            role: sm.role(),
            priority,
            guid: guid.to_string(),
            lid: subnet.own_lid().0,
            phase,
            sweeps,
            smps,
            traps,
            nodes,
            silent,
            administration: sm.administration().snapshot(),
        }
    }
}
