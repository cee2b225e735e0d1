//! Addresses that the host asked for and nobody has answered for yet.
//!
//! A host takes any message of a neighbour it waits for as the answer, also one that is not for it; so
//! whoever is waited for has to be remembered by any message.

use core::net::IpAddr;

use crate::{
    lru::{Id, Lru},
    map::{Map, map},
};

/// Those asked for, the longest ago forgotten first.
#[derive(Debug)]
pub(crate) struct Wanted {
    order: Lru<IpAddr>,
    ids: Map<IpAddr, Id>,
    limit: usize,
}

impl Wanted {
    /// Nobody, and never more than `limit`.
    pub(crate) fn new(limit: usize, seed: u64) -> Self {
        Self { order: Lru::new(), ids: map(seed), limit }
    }

    /// The host asks for `ip`.
    pub(crate) fn ask(&mut self, ip: IpAddr) {
        if let Some(id) = self.ids.get(&ip) {
            self.order.touch(*id);
            return;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.oldest().and_then(|id| self.order.remove(id))
        {
            self.ids.remove(&oldest);
        }
        self.ids.insert(ip, self.order.insert(ip));
    }

    /// True if the host asked for `ip`.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.ids.contains_key(&ip)
    }

    /// Somebody said to have `ip`.
    pub(crate) fn found(&mut self, ip: IpAddr) {
        if let Some(id) = self.ids.remove(&ip) {
            self.order.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_longest_unasked_is_forgotten_first() {
        let ip = |n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        let mut wanted = Wanted::new(2, 0);
        [1, 2, 1, 3].into_iter().for_each(|n| wanted.ask(ip(n)));
        assert_eq!([1, 2, 3].map(|n| wanted.has(ip(n))), [true, false, true]);
        wanted.found(ip(1));
        assert!(!wanted.has(ip(1)));
    }
}
