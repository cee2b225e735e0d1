//! Which addresses the hosts of a lab get.
//!
//! Host number n has 10.77.0.n/24 and fd77::n/64 on its first interface; the k-th further one counts on from
//! 78. In labs of more than 250 hosts the IPv4 networks are /16, and numbers go on in the third octet.
//!
//! Fabrics that are joined are one network: in the one with number f host n has 10.77.f.n/16 and fd77::f:n/64. One of
//! more than 250 hosts takes the octets of as many numbers as it needs.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::face::Assigned;

/// Hosts that fit the last octet.
const PER_OCTET: usize = 250;
/// Second octet, and last two digits of the IPv6 prefix, of the first interface.
const FIRST_NET: u8 = 77;

/// The addresses of the `nth` interface (from 0) of host number `host` (from 1) in a fabric of this number, with so
/// many hosts.
pub(super) fn assign((fabric, hosts): (u8, usize), host: usize, nth: usize) -> [Assigned; 2] {
    let low = |v: usize| u8::try_from(v % 256).expect("below 256");
    let net = low(usize::from(FIRST_NET) + nth);
    let (third, fourth) =
        (low(usize::from(fabric) + (host - 1) / PER_OCTET), low((host - 1) % PER_OCTET + 1));
    let v4 = Ipv4Addr::new(10, net, third, fourth);
    let digits =
        |n: usize| u16::from_str_radix(&n.to_string(), 16).unwrap_or_else(|_| u16::try_from(n).unwrap_or(0));
    let v6 =
        Ipv6Addr::new(0xfd00 | digits(usize::from(net)), 0, 0, 0, 0, 0, digits(fabric.into()), digits(host));
    [
        Assigned { addr: v4.into(), prefix_len: if fabric > 0 || hosts > PER_OCTET { 16 } else { 24 } },
        Assigned { addr: v6.into(), prefix_len: 64 },
    ]
}

/// The text of /etc/hosts: `names` with the addresses they stand for.
pub(super) fn hosts_file(names: impl IntoIterator<Item = (String, Vec<IpAddr>)>) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, addresses) in names {
        for address in addresses {
            let _ = writeln!(text, "{address}\t{name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hosts: usize, host: usize, nth: usize) -> [String; 2] {
        assign((0, hosts), host, nth).map(|a| format!("{}/{}", a.addr, a.prefix_len))
    }

    #[test]
    fn small_labs_read_as_the_manual_says() {
        assert_eq!(text(4, 2, 0), ["10.77.0.2/24", "fd77::2/64"]);
        assert_eq!(text(64, 12, 0), ["10.77.0.12/24", "fd77::12/64"]);
        assert_eq!(text(4, 2, 1), ["10.78.0.2/24", "fd78::2/64"]);
    }

    #[test]
    fn joined_fabrics_are_one_network() {
        let assigned = |fabric| assign((fabric, 4), 2, 0).map(|a| format!("{}/{}", a.addr, a.prefix_len));
        assert_eq!(assigned(1), ["10.77.1.2/16", "fd77::1:2/64"]);
        assert_eq!(assigned(42), ["10.77.42.2/16", "fd77::42:2/64"]);
    }

    #[test]
    fn large_labs_go_on_in_the_third_octet() {
        assert_eq!(text(648, 251, 0)[0], "10.77.1.1/16");
        assert_eq!(text(648, 648, 0), ["10.77.2.148/16", "fd77::648/64"]);
    }
}
