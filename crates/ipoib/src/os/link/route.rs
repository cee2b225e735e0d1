//! Routes.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::{LinkError, Netlink, address::family};

impl Netlink {
    /// Routes `dest` (network, prefix length; a zero of length 0 is the default route) through an interface, to
    /// the router `via` if there is one.
    pub fn add_route(
        &mut self,
        index: u32,
        dest: (IpAddr, u8),
        via: Option<IpAddr>,
    ) -> Result<(), LinkError> {
        let name = format!("{}/{}", dest.0, dest.1);
        let message = RouteNetlinkMessage::NewRoute(message(index, dest, via));
        self.change("add the route", name, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes a route made by [`add_route`](Self::add_route).
    pub fn delete_route(
        &mut self,
        index: u32,
        dest: (IpAddr, u8),
        via: Option<IpAddr>,
    ) -> Result<(), LinkError> {
        let name = format!("{}/{}", dest.0, dest.1);
        self.change("delete the route", name, RouteNetlinkMessage::DelRoute(message(index, dest, via)), 0)
    }
}

fn message(index: u32, (dest, prefix_len): (IpAddr, u8), via: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(dest);
    message.header.destination_prefix_length = prefix_len;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope =
        if via.is_none() && dest.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    message.attributes.push(RouteAttribute::Oif(index));
    if prefix_len > 0 {
        message.attributes.push(RouteAttribute::Destination(dest.into()));
    }
    message.attributes.extend(via.map(|router| RouteAttribute::Gateway(router.into())));
    message
}
