//! Those whose questions to others we heard, should the host send to them.
//!
//! A host that waits for a neighbour's answer takes any ARP or neighbour discovery message of that neighbour for one,
//! also a question that is for somebody else, and sends at once. Most of what is asked all around concerns nobody here,
//! so it makes no peer; it is kept for a while, the oldest first to go.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv6Addr};

use ib_wire::addr::{HwAddr, Lid, Mac};

/// Somebody who said where an IP address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) addr: HwAddr,
    /// An IPv4 address in its mapped form: that is quick to keep.
    ip: Ipv6Addr,
    /// LID it was sent from.
    pub(crate) lid: Lid,
}

impl Claim {
    #[inline]
    pub(crate) const fn new(addr: HwAddr, ip: IpAddr, lid: Lid) -> Self {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self { addr, ip, lid }
    }

    /// The IP address that is said to be there.
    pub(crate) const fn ip(&self) -> IpAddr {
        self.ip.to_canonical()
    }
}

/// The last claims, each under the Ethernet address that stands for whoever made it. Of one sender there may be several.
#[derive(Debug, Default)]
pub(crate) struct Overheard {
    claims: VecDeque<(Mac, Claim)>,
}

impl Overheard {
    /// Claims that are kept.
    const MOST: usize = 128;

    /// Keeps a claim. Everybody hears every question, so this is to cost next to nothing.
    #[inline]
    pub(crate) fn keep(&mut self, mac: Mac, claim: Claim) {
        if self.claims.len() == Self::MOST {
            self.claims.pop_front();
        }
        self.claims.push_back((mac, claim));
    }

    /// The last claim of whom `mac` stands for; none of its is kept any longer.
    pub(crate) fn take(&mut self, mac: Mac) -> Option<Claim> {
        let (_, claim) = self.claims.iter().rev().find(|(known, _)| *known == mac).copied()?;
        self.claims.retain(|(known, _)| *known != mac);
        Some(claim)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.claims.clear();
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use ib_wire::addr::{Gid, Qpn};

    use super::*;

    fn mac(n: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, n])
    }

    fn claim(n: u8) -> Claim {
        let addr = HwAddr::new(Qpn::new(u32::from(n)), Gid([n; 16]));
        Claim::new(addr, Ipv4Addr::new(10, 0, 0, n).into(), Lid(n.into()))
    }

    #[test]
    fn a_claim_is_taken_once_and_the_last_one_counts() {
        let mut overheard = Overheard::default();
        overheard.keep(mac(1), claim(1));
        overheard.keep(mac(2), claim(2));
        overheard.keep(mac(1), claim(3));
        assert_eq!(overheard.take(mac(1)), Some(claim(3)));
        assert_eq!(overheard.take(mac(1)), None);
        assert_eq!(overheard.take(mac(2)), Some(claim(2)));
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut overheard = Overheard::default();
        (0..=128).for_each(|n| overheard.keep(mac(n), claim(n)));
        assert_eq!(overheard.claims.len(), Overheard::MOST);
        assert_eq!((overheard.take(mac(0)), overheard.take(mac(1))), (None, Some(claim(1))));
    }
}
