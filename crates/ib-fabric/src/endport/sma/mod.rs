//! The subnet management agent: reads and writes what an SM may of one node. IBA 1 §14.2.5.
//!
//! It sees one node, changes what can be changed there, and hands back as effects what concerns others: links
//! that go down, software that is to be told.

mod extended;
mod port_info;
mod tables;

use alloc::vec::Vec;

use ib_wire::{
    addr::{MKey, PortNum},
    mad::{AttributeId, MadHeader, Method, Status, attr::Notice},
    ud::PortEvent,
};

use super::EndPort;
use crate::{
    node::Node,
    port::{Physical, Port},
    switch::Switch,
};

/// 64 bytes: an attribute in an SMP.
pub(crate) type Data = [u8; 64];

/// A node as its agent sees it.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    pub(crate) node: &'a Node,
    /// All its ports.
    pub(crate) ports: &'a mut [Port],
    /// All its end ports.
    pub(crate) ends: &'a mut [EndPort],
    /// What makes it a switch.
    pub(crate) switch: Option<&'a mut Switch>,
    /// The port that the request came in through, among `ports`.
    pub(crate) ingress: usize,
    /// The end port that was asked, among `ends`.
    pub(crate) end: usize,
}

/// What a Set does beyond the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Software at an end port is to be told.
    Event {
        /// Which, among the node's.
        end: usize,
        /// What.
        event: PortEvent,
    },
    /// The link goes down and looks for its neighbour anew.
    Retrain {
        /// Which port, among the node's.
        port: usize,
    },
    /// The port changes what it does with its cable.
    Physical {
        /// Which port, among the node's.
        port: usize,
        /// To what.
        to: Physical,
    },
}

/// How the M_Key of a request compares. IBA 1 §14.2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    /// It is the port's, or the port has none.
    Good,
    /// It is not, but reading is allowed; the key itself is shown if `shown`.
    ReadOnly {
        /// Whether PortInfo shows the key.
        shown: bool,
    },
    /// It is not.
    Refused,
}

impl Device<'_> {
    /// Answers a Get or Set whose M_Key was looked at.
    pub(crate) fn answer(
        &mut self,
        header: &MadHeader,
        data: &Data,
        key: KeyCheck,
        effects: &mut Vec<Effect>,
    ) -> (Status, Data) {
        if header.base_version != 1 || header.class_version != 1 {
            return (Status::BAD_VERSION, *data);
        }
        let modifier = header.modifier;
        let written = match header.method {
            Method::GET => Ok(()),
            Method::SET => self.set(header.attribute, modifier, data, effects),
            _ => Err(Status::BAD_METHOD),
        };
        match (written, self.get(header.attribute, modifier, key)) {
            (Ok(()), Ok(data)) => (Status::OK, data),
            (Err(status), read) => (status, read.unwrap_or(*data)),
            (Ok(()), Err(status)) => (status, *data),
        }
    }

    /// How `m_key` compares with that of the end port asked.
    pub(crate) fn check_key(&self, method: Method, m_key: MKey) -> KeyCheck {
        let info = &self.ports[self.own_port()].info;
        if info.m_key == MKey(0) || info.m_key == m_key {
            return KeyCheck::Good;
        }
        match (method, info.m_key_protect) {
            (Method::GET, protect @ (0 | 1)) => KeyCheck::ReadOnly { shown: protect == 0 },
            _ => KeyCheck::Refused,
        }
    }

    fn get(&self, attribute: AttributeId, modifier: u32, key: KeyCheck) -> Result<Data, Status> {
        match attribute {
            AttributeId::NODE_DESCRIPTION => Ok(self.node.description.0),
            AttributeId::NODE_INFO => {
                let local_port = self.ports[self.ingress].num;
                Ok(padded(&self.node.node_info(self.ends[self.end].guid, local_port).to_bytes()))
            }
            AttributeId::SWITCH_INFO => {
                let switch = self.switch.as_ref().ok_or(Status::BAD_METHOD_ATTRIBUTE)?;
                Ok(padded(&switch.info.to_bytes()))
            }
            AttributeId::PORT_INFO => self.get_port_info(modifier, key),
            AttributeId::PORT_INFO_EXTENDED => self.get_port_info_extended(modifier),
            AttributeId::MLNX_EXT_PORT_INFO => self.get_mlnx_port_info(modifier),
            AttributeId::NOTICE => Ok(notice_data(&self.ends[self.end].traps.oldest())),
            _ => self.get_table(attribute, modifier),
        }
    }

    fn set(
        &mut self,
        attribute: AttributeId,
        modifier: u32,
        data: &Data,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Status> {
        match attribute {
            AttributeId::SWITCH_INFO => self.set_switch_info(data),
            AttributeId::PORT_INFO => self.set_port_info(modifier, data, effects),
            AttributeId::PORT_INFO_EXTENDED => self.set_port_info_extended(modifier, data),
            AttributeId::MLNX_EXT_PORT_INFO => self.set_mlnx_port_info(modifier, data),
            AttributeId::NOTICE => {
                let mut bytes = [0; Notice::LEN];
                bytes[..data.len()].copy_from_slice(data);
                self.ends[self.end].traps.acknowledge(&Notice::from_bytes(&bytes));
                Ok(())
            }
            _ => self.set_table(attribute, modifier, data, effects),
        }
    }

    /// The port of the end port asked, among `ports`.
    fn own_port(&self) -> usize {
        self.ends[self.end].port - self.node.ports.start
    }

    /// The port with a number that stands in a modifier, among `ports`.
    fn numbered(&self, num: u8) -> Result<usize, Status> {
        let port = self.node.port(PortNum(num)).ok_or(Status::BAD_FIELD)?;
        Ok(port - self.node.ports.start)
    }

    /// The port that a table belongs to: a switch names it, a channel adapter has been asked through it.
    fn table_port(&self, num: u8) -> Result<usize, Status> {
        if self.switch.is_some() { self.numbered(num) } else { Ok(self.own_port()) }
    }
}

/// An attribute shorter than 64 bytes.
fn padded(bytes: &[u8]) -> Data {
    let mut data = [0; 64];
    data[..bytes.len()].copy_from_slice(bytes);
    data
}

/// The notice in a Trap or TrapRepress; the data of an SMP ends before the issuer's GID.
pub(crate) fn notice_data(notice: &Notice) -> Data {
    let bytes = notice.to_bytes();
    core::array::from_fn(|i| bytes[i])
}
