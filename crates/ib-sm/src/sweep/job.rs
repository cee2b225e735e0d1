//! What one SMP is for, and the SMP that does it.

use alloc::collections::VecDeque;

use ib_wire::{
    addr::{Lid, PortNum},
    mad::AttributeId,
    mad::attr::{PKeyBlock, PortState},
};

use super::wanted;
use crate::{
    config::SmConfig,
    subnet::{NodeId, PortId, Subnet},
    transact::{Request, Way},
};

/// What one SMP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Which node is behind that port; none: behind the manager's own.
    Node(Option<PortId>),
    /// What it is called.
    Description(NodeId),
    /// How the switch is.
    Switch(NodeId),
    /// Clear the mark that a port changed, before the ports are read.
    ClearChange(NodeId),
    /// How the port is.
    Port(PortId),
    /// 32 of its P_Keys.
    PKeys(PortId, u16),
    /// Which manager is behind it.
    Manager(PortId),
    /// Write all settings of a port.
    WritePort(PortId),
    /// Let data pass.
    Activate(PortId),
    /// Write the settings of a switch.
    WriteSwitch(NodeId),
    /// Write a block of unicast forwarding.
    WriteLinear(NodeId, u16),
    /// Write a block of multicast forwarding, 16 ports from 16 times the last.
    WriteMulticast(NodeId, u16, u8),
    /// Write 32 P_Keys.
    WritePKeys(PortId, u16),
    /// Did any port of the switch change?
    Light(NodeId),
    /// Hand the subnet over to the manager behind that port.
    HandOver(PortId),
    /// Is somebody there by now? Asked beside the sweeps.
    Probe(PortId),
    /// Is the master alive?
    Poll {
        /// Its LID, none to go by directed route.
        lid: Lid,
        /// Its port when it was found.
        port: PortId,
    },
    /// Tell the former master that it was relieved.
    Acknowledge(PortId),
}

impl Job {
    /// False for what goes on beside the sweeps.
    pub(crate) const fn is_sweep(self) -> bool {
        !matches!(self, Self::Probe(_) | Self::Poll { .. } | Self::Acknowledge(_))
    }

    /// True for the questions of a walk.
    pub(crate) const fn is_walk(self) -> bool {
        matches!(
            self,
            Self::Node(_)
                | Self::Description(_)
                | Self::Switch(_)
                | Self::ClearChange(_)
                | Self::Port(_)
                | Self::PKeys(..)
        )
    }

    /// The node it is about, as far as there is one in the model.
    pub(crate) const fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(by) => match by {
                Some(by) => Some(by.node),
                None => None,
            },
            Self::Description(node)
            | Self::Switch(node)
            | Self::ClearChange(node)
            | Self::WriteSwitch(node)
            | Self::WriteLinear(node, _)
            | Self::WriteMulticast(node, _, _)
            | Self::Light(node) => Some(node),
            Self::Port(port)
            | Self::PKeys(port, _)
            | Self::Manager(port)
            | Self::WritePort(port)
            | Self::Activate(port)
            | Self::WritePKeys(port, _)
            | Self::Probe(port)
            | Self::HandOver(port)
            | Self::Acknowledge(port) => Some(port.node),
            Self::Poll { .. } => None,
        }
    }

    /// The SMP, made from the model as it is now. None if there is no way to the node any more.
    pub(crate) fn request(self, subnet: &Subnet, config: &SmConfig, sm_info: &[u8]) -> Option<Request> {
        let to = |port| subnet.route(port).map(Way::Directed);
        let node = |node| to(any_port(subnet, node));
        let get =
            |way: Option<Way>, attribute, modifier| way.map(|way| Request::get(way, attribute, modifier));
        let port_number = |port: PortId| u32::from(port.num.0);
        match self {
            Self::Node(None) => get(Some(HERE), AttributeId::NODE_INFO, 0),
            Self::Node(Some(by)) | Self::Probe(by) => {
                let route = subnet.route(by)?.then(by.num)?;
                get(Some(Way::Directed(route)), AttributeId::NODE_INFO, 0)
            }
            Self::Description(id) => get(node(id), AttributeId::NODE_DESCRIPTION, 0),
            Self::Switch(id) | Self::Light(id) => get(node(id), AttributeId::SWITCH_INFO, 0),
            Self::Port(id) => get(to(id), AttributeId::PORT_INFO, port_number(id)),
            Self::PKeys(id, block) => get(to(id), AttributeId::P_KEY_TABLE, pkey_modifier(subnet, id, block)),
            Self::Manager(id) => get(to(id), AttributeId::SM_INFO, 0),
            Self::ClearChange(id) => {
                let mut info = subnet.node(id).switch.as_ref()?.info;
                info.port_state_change = true;
                Some(Request::set(node(id)?, AttributeId::SWITCH_INFO, 0, &info.to_bytes()))
            }
            Self::WriteSwitch(id) => {
                let info = wanted::switch_info(subnet.node(id).switch.as_ref()?, config);
                Some(Request::set(node(id)?, AttributeId::SWITCH_INFO, 0, &info.to_bytes()))
            }
            Self::WriteLinear(id, block) => {
                let bytes = subnet.node(id).switch.as_ref()?.lft.block(block).to_bytes();
                Some(Request::set(node(id)?, AttributeId::LINEAR_FORWARDING, u32::from(block), &bytes))
            }
            Self::WriteMulticast(id, block, position) => {
                let bytes = subnet.node(id).switch.as_ref()?.mft.block(block, position).to_bytes();
                let modifier = u32::from(position) << 28 | u32::from(block);
                Some(Request::set(node(id)?, AttributeId::MULTICAST_FORWARDING, modifier, &bytes))
            }
            Self::WritePort(id) => {
                let info = wanted::port_info(subnet, config, id)?;
                Some(Request::set(to(id)?, AttributeId::PORT_INFO, port_number(id), &info.to_bytes()))
            }
            Self::Activate(id) => {
                let mut info = wanted::port_info(subnet, config, id)?;
                info.state = PortState::ACTIVE;
                info.client_reregister = false;
                Some(Request::set(to(id)?, AttributeId::PORT_INFO, port_number(id), &info.to_bytes()))
            }
            Self::WritePKeys(id, block) => {
                let keys = block_of(&subnet.port(id)?.wanted_pkeys, block);
                let modifier = pkey_modifier(subnet, id, block);
                Some(Request::set(to(id)?, AttributeId::P_KEY_TABLE, modifier, &keys.to_bytes()))
            }
            Self::HandOver(id) => Some(Request::set(to(id)?, AttributeId::SM_INFO, HANDOVER, sm_info)),
            Self::Acknowledge(id) => Some(Request::set(to(id)?, AttributeId::SM_INFO, ACKNOWLEDGE, sm_info)),
            Self::Poll { lid, port } => {
                let way = if lid.is_unicast() { Some(Way::Lid(lid)) } else { to(port) };
                get(way, AttributeId::SM_INFO, 0)
            }
        }
    }
}

/// 32 keys of a table, empty slots behind its end.
pub(crate) fn block_of(table: &[ib_wire::addr::PKey], block: u16) -> PKeyBlock {
    let mut keys = PKeyBlock::default();
    for (slot, key) in keys.0.iter_mut().zip(table.iter().skip(usize::from(block) * 32)) {
        *slot = *key;
    }
    keys
}

/// The sweep's jobs that wait, and how many are not done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    todo: VecDeque<Job>,
    open: usize,
}

impl Work {
    /// Adds a job behind all others.
    pub(crate) fn push(&mut self, job: Job) {
        self.open += usize::from(job.is_sweep());
        self.todo.push_back(job);
    }

    /// Adds a job before all others.
    pub(crate) fn push_first(&mut self, job: Job) {
        self.open += usize::from(job.is_sweep());
        self.todo.push_front(job);
    }

    /// Takes the next job; it stays open until `done`.
    pub(crate) fn take(&mut self) -> Option<Job> {
        self.todo.pop_front()
    }

    /// A job that was taken has ended.
    pub(crate) fn done(&mut self, job: Job) {
        self.open -= usize::from(job.is_sweep());
    }

    /// True if all jobs of the sweep have ended.
    pub(crate) const fn is_done(&self) -> bool {
        self.open == 0
    }
}

const HERE: Way = Way::Directed(ib_wire::mad::smp::DirectedRoute::HERE);

/// SMInfo Set modifiers. IBA 1 §14.4.1.
pub(crate) const HANDOVER: u32 = 1;
/// The handover was taken.
pub(crate) const ACKNOWLEDGE: u32 = 2;
/// Be not active.
pub(crate) const DISABLE: u32 = 3;
/// Be a standby.
pub(crate) const STANDBY: u32 = 4;
/// Look around.
pub(crate) const DISCOVER: u32 = 5;

fn any_port(subnet: &Subnet, node: NodeId) -> PortId {
    let is_here = subnet.own_port().filter(|own| own.node == node);
    let linked = || subnet.node(node).end_ports().find(|(_, port)| port.peer.is_some());
    is_here.unwrap_or_else(|| PortId {
        node,
        num: if subnet.node(node).is_switch() {
            PortNum::MANAGEMENT
        } else {
            linked().map_or(PortNum(1), |(num, _)| num)
        },
    })
}

/// On a switch the port stands in the upper half; an adapter's table is that of the port that was reached.
fn pkey_modifier(subnet: &Subnet, port: PortId, block: u16) -> u32 {
    let upper = if subnet.node(port.node).is_switch() { u32::from(port.num.0) << 16 } else { 0 };
    upper | u32::from(block)
}
