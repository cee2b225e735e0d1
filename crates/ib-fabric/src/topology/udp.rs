//! Links that lead out of the fabric as UDP datagrams: their addresses as people write them.

use alloc::format;
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{model::Endpoint, quantity::BadQuantity};

/// A port whose cable leads out of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpLink {
    /// The port.
    pub port: Endpoint,
    /// Where its datagrams come from and go to.
    pub ends: UdpEnds,
    /// Without a word from the peer for this long the link is down; `None` leaves it to the fabric.
    pub idle: Option<Duration>,
}

/// Two UDP sockets, of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpEnds {
    /// This end. Its address may be the unspecified one, its port may not be 0.
    pub local: SocketAddr,
    /// The other.
    pub peer: SocketAddr,
}

impl UdpEnds {
    /// Reads both ends: `192.0.2.1:4000`, `[2001:db8::1]:4000`, and for the local one also `:4000`.
    pub fn parse(local: &str, peer: &str) -> Result<Self, BadQuantity> {
        let bad = |text: &str, what, example| BadQuantity { text: text.into(), what, example };
        let peer = peer
            .parse()
            .ok()
            .filter(|peer: &SocketAddr| peer.port() != 0 && !peer.ip().is_unspecified())
            .ok_or_else(|| bad(peer, "peer", "its address and port, 192.0.2.2:4000 or [2001:db8::2]:4000"))?;
        let all: IpAddr =
            if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let read = match local.strip_prefix(':') {
            Some(port) => port.parse().ok().map(|port| SocketAddr::new(all, port)),
            None => local.parse().ok(),
        };
        let example = "an address of this machine and a port, 192.0.2.1:4000, or :4000 for all addresses";
        let local = read.filter(|local| local.port() != 0).ok_or_else(|| bad(local, "local end", example))?;
        if local.is_ipv4() != peer.is_ipv4() {
            let text = format!("{local} with {peer}");
            return Err(bad(&text, "pair of ends", "both as IPv4 or both as IPv6 addresses"));
        }
        Ok(Self { local, peer })
    }
}

impl fmt::Display for UdpEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp {} to {}", self.local, self.peer)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;

    fn read(local: &str, peer: &str) -> Result<String, String> {
        UdpEnds::parse(local, peer).map(|ends| ends.to_string()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn both_ends_are_addresses_of_one_family() {
        assert_eq!(read("192.0.2.1:4000", "192.0.2.2:7").unwrap(), "udp 192.0.2.1:4000 to 192.0.2.2:7");
        assert_eq!(read(":4000", "192.0.2.2:7").unwrap(), "udp 0.0.0.0:4000 to 192.0.2.2:7");
        assert_eq!(read(":4000", "[2001:db8::2]:7").unwrap(), "udp [::]:4000 to [2001:db8::2]:7");
        for (local, peer, what) in [
            ("192.0.2.1", "192.0.2.2:7", "`192.0.2.1` is no local end"),
            (":0", "192.0.2.2:7", "`:0` is no local end"),
            (":x", "192.0.2.2:7", "`:x` is no local end"),
            (":4000", ":4000", "`:4000` is no peer"),
            (":4000", "0.0.0.0:4000", "`0.0.0.0:4000` is no peer"),
            (":4000", "192.0.2.2:0", "`192.0.2.2:0` is no peer"),
            ("[::1]:4000", "192.0.2.2:7", "`[::1]:4000 with 192.0.2.2:7` is no pair of ends"),
        ] {
            let why = read(local, peer).unwrap_err();
            assert!(why.starts_with(what), "{why}");
        }
    }
}
