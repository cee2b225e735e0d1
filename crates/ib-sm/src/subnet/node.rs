//! One node of the model: what its agents said, and what the manager has written to it.

use alloc::{string::String, vec::Vec};

use ib_wire::{
    addr::{Gid, Guid, Lid, Lmc, Mtu, PKey, PortNum, Rate, SubnetPrefix},
    mad::attr::{CapabilityMask, NodeInfo, NodeType, PhysicalState, PortInfo, PortState, SwitchInfo},
};

use super::{LinearTable, MulticastTable, PortId};

/// A channel adapter, switch or router.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is, as the port that was asked last sees it.
    pub info: NodeInfo,
    /// Its NodeDescription, empty while unknown.
    pub description: String,
    /// By port number. A switch has port 0; port 0 of other nodes is a blank.
    pub ports: Vec<Port>,
    /// What only switches have.
    pub switch: Option<Switch>,
    /// False once it is gone: its place and its LIDs wait for it.
    pub present: bool,
    /// The switch port or own port by which the last sweep reached it; none for the manager's own node.
    pub(crate) via: Option<PortId>,
    /// The sweep that saw it last.
    pub(crate) seen: u64,
    /// The sweep that asked for it last without having seen a change.
    pub(crate) asked: u64,
    /// The next sweep asks everything again.
    pub(crate) dirty: bool,
    /// Something was not answered or refused in this sweep: it stays dirty.
    pub(crate) troubled: bool,
    /// It was told that the node is here.
    pub(crate) announced: bool,
}

impl Node {
    pub(crate) fn new(info: NodeInfo) -> Self {
        let mut node = Self {
            info,
            description: String::new(),
            ports: Vec::new(),
            switch: None,
            present: false,
            via: None,
            seen: 0,
            asked: 0,
            dirty: true,
            troubled: false,
            announced: false,
        };
        node.ports.resize_with(usize::from(info.num_ports) + 1, Port::default);
        if info.node_type == NodeType::SWITCH {
            node.ports[0].guid = info.port_guid;
        }
        node
    }

    /// The node's GUID.
    pub const fn guid(&self) -> Guid {
        self.info.node_guid
    }

    /// True for a switch.
    pub fn is_switch(&self) -> bool {
        self.info.node_type == NodeType::SWITCH
    }

    /// The port of this number, if the node has it.
    pub fn port(&self, num: PortNum) -> Option<&Port> {
        self.ports.get(usize::from(num.0))
    }

    /// The ports that take a cable, in order.
    pub fn physical_ports(&self) -> impl Iterator<Item = (PortNum, &Port)> {
        (0u8..=254).map(PortNum).zip(&self.ports).skip(1)
    }

    /// The ports that are addresses: port 0 of a switch, known ports of any other node.
    pub fn end_ports(&self) -> impl Iterator<Item = (PortNum, &Port)> {
        let numbers = if self.is_switch() { 0..1 } else { 1..self.ports.len() };
        (0u8..=254)
            .map(PortNum)
            .zip(&self.ports)
            .skip(numbers.start)
            .take(numbers.len())
            .filter(|(_, port)| port.guid != Guid::ZERO)
    }
}

/// One port of a node.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// Its GUID; zero for a switch's external ports and for ports that were never reached.
    pub guid: Guid,
    /// The LID that the manager gave it; none for a switch's external ports.
    pub lid: Lid,
    /// What it said last.
    pub info: Option<PortInfo>,
    /// The other end of its link, if there is one.
    pub peer: Option<PortId>,
    /// Its P_Key table as read and written; empty slots are `PKey::INVALID`.
    pub pkeys: Vec<PKey>,
    /// The P_Key table that it shall have; empty if nothing is wanted of it.
    pub(crate) wanted_pkeys: Vec<PKey>,
    /// Its clients have to register again.
    pub(crate) reregister: bool,
    /// The administration knows that it is in the subnet.
    pub(crate) announced: bool,
    /// It has a link, but nobody answered behind it.
    pub(crate) silent: bool,
    /// The sweep that saw its link last.
    pub(crate) linked: u64,
}

impl Port {
    /// Its logical state; Down while it is unknown.
    pub fn state(&self) -> PortState {
        self.info.map_or(PortState::DOWN, |info| info.state)
    }

    /// True if data passes.
    pub fn is_active(&self) -> bool {
        self.state() == PortState::ACTIVE
    }

    /// True if there is a link that SMPs pass.
    pub fn has_link(&self) -> bool {
        self.info.is_some_and(|info| {
            info.state.0 >= PortState::INITIALIZE.0 && info.physical_state == PhysicalState::LINK_UP
        })
    }

    /// LID mask control.
    pub fn lmc(&self) -> Lmc {
        self.info.map_or(Lmc(0), |info| info.lmc)
    }

    /// What it can do.
    pub fn capabilities(&self) -> CapabilityMask {
        self.info.map_or(CapabilityMask(0), |info| info.capability_mask)
    }

    /// Largest payload it may send.
    pub fn mtu(&self) -> Mtu {
        self.info.map_or(Mtu::B256, |info| info.neighbor_mtu)
    }

    /// Rate of its link.
    pub fn rate(&self) -> Option<Rate> {
        self.info.and_then(|info| info.active_rate())
    }

    /// Its first GID; of no meaning for a switch's external ports.
    pub fn gid(&self, prefix: SubnetPrefix) -> Gid {
        Gid::new(prefix, self.guid)
    }

    /// The P_Keys in use, in the order of the table.
    pub fn valid_pkeys(&self) -> impl Iterator<Item = PKey> + '_ {
        self.pkeys.iter().copied().filter(|key| key.is_valid())
    }
}

/// What only switches have.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Capacities and settings.
    pub info: SwitchInfo,
    /// Unicast forwarding, as written.
    pub lft: LinearTable,
    /// Multicast forwarding, as written.
    pub mft: MulticastTable,
}
