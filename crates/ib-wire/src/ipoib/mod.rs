//! IP over InfiniBand: the bytes between an Ethernet-speaking host and the link. RFC 4391, RFC 4390.
//!
//! Everything here turns one form into another and back; who talks to whom, and when, is decided above.
//! Packets of the host start at the IP header, its Ethernet header is not seen here.

pub mod arp;
pub mod checksum;
pub mod dhcp;
pub mod header;
pub mod large;
pub mod mac;
pub mod mgid;
pub mod nd;

pub use arp::{Arp, ArpError, ArpOp, EthArp, IbArp};
pub use dhcp::DhcpTranslator;
pub use header::{EtherType, Header};
pub use large::{LargeError, Segmenter};
pub use mac::{group_mac, link_local, local_mac, peer_mac};
pub use mgid::{Group, IpoibMgid, broadcast_mgid, ipv4_mgid, ipv6_mgid};
pub use nd::{NdError, NdKind, NdMessage};
