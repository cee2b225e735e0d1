//! Interfaces themselves.

use ib_wire::addr::Mac;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage, Prop, State},
};

use super::{LinkError, Netlink};

// linux include/uapi/linux/if_link.h; the crate knows it only as part of a list.
const IFLA_ALT_IFNAME: u16 = 53;

/// RFC 2863 operational state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say.
    #[default]
    Unknown,
    /// No carrier, or administratively down.
    Down,
    /// Waits for something, such as authentication.
    Dormant,
    /// Works.
    Up,
    /// Another of the kernel's states.
    Other,
}

/// What the kernel says about an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// All `IFF_*` bits.
    pub flags: u32,
    /// Its address, if that has six octets.
    pub mac: Option<Mac>,
    /// Largest IP packet.
    pub mtu: u32,
    /// Length of the send queue.
    pub queue_len: u32,
    /// Free text.
    pub alias: Option<String>,
    /// Further names.
    pub alt_names: Vec<String>,
    /// The cable is in.
    pub carrier: bool,
    /// Operational state.
    pub oper_state: OperState,
}

impl LinkInfo {
    /// Administratively up.
    pub const fn is_up(&self) -> bool {
        self.flags & LinkFlags::Up.bits() != 0
    }
}

/// Changes to an interface, made together; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// Its address.
    pub mac: Option<Mac>,
    /// Largest IP packet.
    pub mtu: Option<u32>,
    /// Length of the send queue.
    pub queue_len: Option<u32>,
    /// Free text, up to 255 octets; empty removes it.
    pub alias: Option<String>,
    /// False: the kernel makes no IPv6 address for it. Ignored where there is no IPv6.
    pub make_link_local: Option<bool>,
    /// Administrative state, after all else.
    pub up: Option<bool>,
}

impl Netlink {
    /// What the kernel says about an interface.
    pub fn link(&mut self, index: u32) -> Result<LinkInfo, LinkError> {
        let found = self.get("look at it", dev(index), RouteNetlinkMessage::GetLink(message(index)))?;
        Ok(match found {
            Some(RouteNetlinkMessage::NewLink(link)) => info_of(&link),
            _ => LinkInfo { index, ..LinkInfo::default() },
        })
    }

    /// The number of the interface `name`, which may be one of its further names.
    pub fn index_of(&mut self, name: &str) -> Result<u32, LinkError> {
        let mut query = message(0);
        query.attributes.push(if name.len() < 16 {
            LinkAttribute::IfName(name.to_owned())
        } else {
            LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, [name.as_bytes(), &[0]].concat()))
        });
        match self.get("find it", name, RouteNetlinkMessage::GetLink(query))? {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(link.header.index),
            _ => Ok(0),
        }
    }

    /// Makes all changes of `config`; the state last, when the rest is in place.
    pub fn configure(&mut self, index: u32, config: &LinkConfig) -> Result<(), LinkError> {
        let mut change = message(index);
        change.attributes = config.attributes();
        if !change.attributes.is_empty() {
            self.change("configure it", dev(index), RouteNetlinkMessage::SetLink(change), 0)?;
        }
        if let Some(make) = config.make_link_local {
            self.set_link_local(index, make)?;
        }
        config.up.map_or(Ok(()), |up| self.set_up(index, up))
    }

    /// Sets the administrative state.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), LinkError> {
        let mut change = message(index);
        change.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        change.header.change_mask = LinkFlags::Up;
        let what = if up { "set it up" } else { "set it down" };
        self.change(what, dev(index), RouteNetlinkMessage::SetLink(change), 0)
    }

    /// Sets the address, up or down.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<(), LinkError> {
        self.configure(index, &LinkConfig { mac: Some(mac), ..LinkConfig::default() })
    }

    /// Sets the largest IP packet.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), LinkError> {
        self.configure(index, &LinkConfig { mtu: Some(mtu), ..LinkConfig::default() })
    }

    /// Sets the free text.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), LinkError> {
        self.configure(index, &LinkConfig { alias: Some(alias.to_owned()), ..LinkConfig::default() })
    }

    /// Adds a further name, of up to 127 octets.
    pub fn add_alt_name(&mut self, index: u32, name: &str) -> Result<(), LinkError> {
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
        self.change("add a name", name, RouteNetlinkMessage::NewLinkProp(alt_name(index, name)), flags)
    }

    /// Takes a further name away.
    pub fn delete_alt_name(&mut self, index: u32, name: &str) -> Result<(), LinkError> {
        self.change("remove the name", name, RouteNetlinkMessage::DelLinkProp(alt_name(index, name)), 0)
    }

    /// Deletes the interface.
    pub fn delete_link(&mut self, index: u32) -> Result<(), LinkError> {
        self.change("delete it", dev(index), RouteNetlinkMessage::DelLink(message(index)), 0)
    }

    fn set_link_local(&mut self, index: u32, make: bool) -> Result<(), LinkError> {
        let mode = if make { In6AddrGenMode::Eui64 } else { In6AddrGenMode::None };
        let mut change = message(index);
        let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)]);
        change.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet6]));
        match self.change("set its IPv6 mode", dev(index), RouteNetlinkMessage::SetLink(change), 0) {
            Err(error) if error.source.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(()),
            other => other,
        }
    }
}

impl LinkConfig {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let changes = [
            self.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())),
            self.mtu.map(LinkAttribute::Mtu),
            self.queue_len.map(LinkAttribute::TxQueueLen),
            self.alias.clone().map(LinkAttribute::IfAlias),
        ];
        changes.into_iter().flatten().collect()
    }
}

fn dev(index: u32) -> String {
    format!("interface {index}")
}

fn message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn alt_name(index: u32, name: &str) -> LinkMessage {
    let mut message = message(index);
    message.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]));
    message
}

/// What a message of the kernel says about an interface.
pub(in crate::os) fn info_of(link: &LinkMessage) -> LinkInfo {
    let flags = link.header.flags;
    let mut info = LinkInfo {
        index: link.header.index,
        flags: flags.bits(),
        carrier: flags.contains(LinkFlags::LowerUp),
        ..LinkInfo::default()
    };
    for attribute in &link.attributes {
        note(&mut info, attribute);
    }
    info
}

fn note(info: &mut LinkInfo, attribute: &LinkAttribute) {
    match attribute {
        LinkAttribute::IfName(name) => info.name.clone_from(name),
        LinkAttribute::Address(octets) => info.mac = octets.as_slice().try_into().ok().map(Mac),
        LinkAttribute::Mtu(mtu) => info.mtu = *mtu,
        LinkAttribute::TxQueueLen(len) => info.queue_len = *len,
        LinkAttribute::IfAlias(alias) => info.alias = Some(alias.clone()),
        LinkAttribute::PropList(list) => info.alt_names = list.iter().filter_map(alt_name_of).collect(),
        LinkAttribute::Carrier(on) => info.carrier = *on != 0,
        LinkAttribute::OperState(state) => info.oper_state = oper_state(*state),
        _ => {}
    }
}

fn alt_name_of(prop: &Prop) -> Option<String> {
    match prop {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    }
}

const fn oper_state(state: State) -> OperState {
    match state {
        State::Unknown => OperState::Unknown,
        State::Down => OperState::Down,
        State::Dormant => OperState::Dormant,
        State::Up => OperState::Up,
        _ => OperState::Other,
    }
}
