//! DHCPv4 for a host that believes in Ethernet, over a link without addresses that fit. RFC 4390, RFC 4361.
//!
//! A client's requests leave with hardware type 32, no hardware address and a client identifier; the answers
//! come back as the client would see them on Ethernet. Everything else passes untouched: servers and relays
//! on either side (they are to see, and to answer, what RFC 4390 prescribes), other clients' answers, plain
//! BOOTP, and whatever is damaged.

mod options;
mod packet;

use alloc::{collections::VecDeque, vec::Vec};

use packet::Packet;

use crate::{
    addr::{Guid, Mac, PKey},
    offload::Checksum,
};

/// True if an IPv4 packet goes from one DHCP port to another; all else need not be offered here.
pub fn is_dhcp(ip4: &[u8]) -> bool {
    packet::ports(ip4).is_some_and(|ports| matches!(ports, (CLIENT, SERVER) | (SERVER, CLIENT)))
}

/// The client identifier of an interface that was given none: type 255, the P_Key as IAID, and the DUID of
/// the port's link-layer address (DUID-LL, hardware type 32, the GUID). RFC 4361 §6.1.
///
/// Needs no memory, so it is the same after every restart; the partitions of a port are interfaces of one
/// DUID.
pub fn client_id(guid: Guid, pkey: PKey) -> [u8; 17] {
    let mut id = [0xff, 0, 0, 0, 0, 0, 3, 0, HTYPE_INFINIBAND, 0, 0, 0, 0, 0, 0, 0, 0];
    id[3..5].copy_from_slice(&pkey.full().0.to_be_bytes());
    id[9..].copy_from_slice(&guid.to_bytes());
    id
}

/// Turns the DHCP messages of one interface's host; remembers what the host asked so that the answers fit.
#[derive(Clone, Debug)]
pub struct DhcpTranslator {
    mac: Mac,
    client_id: Vec<u8>,
    /// The latest at the back.
    asked: VecDeque<Asked>,
}

/// What a request looked like before it was turned.
#[derive(Clone, Debug)]
struct Asked {
    xid: [u8; 4],
    chaddr: [u8; 16],
    broadcast: bool,
    /// The client's own identifier.
    own_id: Option<Vec<u8>>,
    /// The one that went out.
    sent_id: Vec<u8>,
}

impl DhcpTranslator {
    /// For a host whose interface has the address `mac`. `client_id` is what its requests carry unless they
    /// bring an identifier of RFC 4361 themselves: the function `client_id`, or what the user set.
    pub fn new(mac: Mac, client_id: impl Into<Vec<u8>>) -> Self {
        Self { mac, client_id: client_id.into(), asked: VecDeque::new() }
    }

    /// A packet that the host sends. Gives the packet to send in its place, complete and possibly longer;
    /// `None` if it is to go as it is.
    pub fn handle_out(&mut self, ip4: &[u8], checksum: Checksum) -> Option<Vec<u8>> {
        let packet = Packet::open(ip4, checksum).filter(|packet| packet.ports == (CLIENT, SERVER))?;
        let mut bootp = packet.bootp;
        if bootp.op() != REQUEST || bootp.hardware() != (HTYPE_ETHERNET, 6) || bootp.giaddr() != [0; 4] {
            return None;
        }
        let [kind] = options::get(packet.options, options::MESSAGE_TYPE)?[..] else { return None };
        if options::overload(packet.options) != 0 {
            return None;
        }
        let own_id = options::get(packet.options, options::CLIENT_ID);
        if own_id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return None;
        }
        let sent_id = own_id.clone().filter(|id| is_rfc4361(id)).unwrap_or_else(|| self.client_id.clone());

        self.remember(Asked {
            xid: bootp.xid(),
            chaddr: bootp.chaddr(),
            broadcast: bootp.broadcast(),
            own_id,
            sent_id: sent_id.clone(),
        });
        bootp.set_hardware((HTYPE_INFINIBAND, 0), [0; 16]);
        bootp.set_broadcast(matches!(kind, DISCOVER | REQUEST_LEASE) && bootp.ciaddr() == [0; 4]);
        packet.rebuild(&bootp, &options::with_client_id(packet.options, Some(&sent_id), true)?)
    }

    /// A packet that came for the host. Gives what the host is to see in its place; `None` if that is the
    /// packet itself.
    pub fn handle_in(&self, ip4: &[u8], checksum: Checksum) -> Option<Vec<u8>> {
        let packet = Packet::open(ip4, checksum).filter(|packet| packet.ports == (SERVER, CLIENT))?;
        let mut bootp = packet.bootp;
        if bootp.op() != REPLY || bootp.hardware().0 != HTYPE_INFINIBAND {
            return None;
        }
        let overload = options::overload(packet.options);
        let fields = [
            Some(packet.options),
            (overload & 1 != 0).then(|| packet.bootp.file()),
            (overload & 2 != 0).then(|| packet.bootp.sname()),
        ];
        let echoed = fields.into_iter().flatten().find_map(|field| options::get(field, options::CLIENT_ID));
        let asked = self.asked.iter().rev().find(|asked| asked.xid == bootp.xid());
        let own_id = match (asked, &echoed) {
            (Some(asked), Some(echoed)) if *echoed != asked.sent_id => return None,
            (Some(asked), _) => asked.own_id.as_deref(),
            (None, Some(echoed)) if *echoed == self.client_id => None,
            (None, _) => return None,
        };
        let (chaddr, broadcast) =
            asked.map_or_else(|| (self.chaddr(), bootp.broadcast()), |a| (a.chaddr, a.broadcast));

        bootp.set_hardware((HTYPE_ETHERNET, 6), chaddr);
        bootp.set_broadcast(broadcast);
        if overload & 1 != 0 {
            options::replace_in_place(bootp.file_mut(), own_id);
        }
        if overload & 2 != 0 {
            options::replace_in_place(bootp.sname_mut(), own_id);
        }
        packet.rebuild(&bootp, &options::with_client_id(packet.options, own_id, false)?)
    }

    /// A host that asks without end pushes out its own oldest questions only.
    fn remember(&mut self, asked: Asked) {
        self.asked.retain(|other| other.xid != asked.xid);
        if self.asked.len() == MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    fn chaddr(&self) -> [u8; 16] {
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&self.mac.0);
        chaddr
    }
}

/// Type 255, an IAID of four octets, a DUID of at least a type and one octet more.
fn is_rfc4361(id: &[u8]) -> bool {
    id.len() >= 8 && id[0] == 0xff
}

/// Transactions remembered: a host has one or two at a time.
const MAX_ASKED: usize = 16;
/// Octets of an identifier in one option.
const MAX_ID: usize = 255;
const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const HTYPE_ETHERNET: u8 = 1;
const HTYPE_INFINIBAND: u8 = 32;
/// Values of `op`.
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// DHCP message types.
const DISCOVER: u8 = 1;
const REQUEST_LEASE: u8 = 3;

#[cfg(test)]
mod tests;
