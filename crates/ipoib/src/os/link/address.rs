//! Addresses of interfaces.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
};

use super::{LinkError, Netlink};

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressInfo {
    /// The interface.
    pub index: u32,
    /// The address.
    pub addr: IpAddr,
    /// Bits of the network part.
    pub prefix_len: u8,
    /// Not yet known to be unique, so not in use.
    pub tentative: bool,
    /// Found to be somebody else's.
    pub duplicate: bool,
}

impl Netlink {
    /// Gives an interface an address, or changes that one. `nodad`: use it at once, without asking whether
    /// somebody has it (IPv6).
    pub fn add_address(
        &mut self,
        index: u32,
        addr: IpAddr,
        prefix_len: u8,
        nodad: bool,
    ) -> Result<(), LinkError> {
        let mut message = message(index, addr, prefix_len);
        if let IpAddr::V4(v4) = addr {
            message.attributes.extend(broadcast(v4, prefix_len).map(AddressAttribute::Broadcast));
        }
        if nodad && addr.is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        self.change("add the address", addr, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes an address from an interface.
    pub fn delete_address(&mut self, index: u32, addr: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        let message = RouteNetlinkMessage::DelAddress(message(index, addr, prefix_len));
        self.change("delete the address", addr, message, 0)
    }

    /// The addresses of an interface.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<AddressInfo>, LinkError> {
        let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let all = self.dump("list addresses", &query)?;
        let ours = all.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => address_of(message),
            _ => None,
        });
        Ok(ours.filter(|info| info.index == index).collect())
    }
}

fn message(index: u32, addr: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix_len;
    message.header.family = family(addr);
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![AddressAttribute::Local(addr), AddressAttribute::Address(addr)];
    message
}

/// The address family of an address.
pub(super) const fn family(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The last address of a network that has room for one.
fn broadcast(addr: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    let host = u32::MAX.checked_shr(prefix_len.into()).filter(|_| prefix_len < 31)?;
    Some(Ipv4Addr::from_bits(addr.to_bits() | host))
}

/// What a message of the kernel says about an address.
pub(in crate::os) fn address_of(message: &AddressMessage) -> Option<AddressInfo> {
    let (mut local, mut address) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => address = Some(*addr),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(AddressInfo {
        index: message.header.index,
        // On a point-to-point link the other one is the peer's.
        addr: local.or(address)?,
        prefix_len: message.header.prefix_len,
        tentative: flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic),
        duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_two_has_no_broadcast_address() {
        assert_eq!(broadcast([10, 77, 0, 1].into(), 24), Some([10, 77, 0, 255].into()));
        assert_eq!(broadcast([10, 77, 0, 1].into(), 31), None);
        assert_eq!(broadcast([10, 77, 0, 1].into(), 32), None);
    }
}
