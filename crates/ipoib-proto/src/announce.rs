//! Own addresses told to everybody: by gratuitous ARP and unsolicited advertisements, so that nobody keeps
//! an old hardware address of ours. RFC 5227 §2.3, RFC 4861 §7.2.6.

use alloc::vec::Vec;
use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ib_wire::{
    addr::HwAddr,
    ipoib::{ArpOp, EtherType, Header, IbArp, nd},
    payload::{HEADROOM, Payload},
};

use crate::{context::Context, timer::Timer};

/// The host's addresses, and how often they are still to be told.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    /// In order; few, and looked up for every question that comes in.
    addresses: Vec<IpAddr>,
    rounds: u8,
    router: bool,
}

impl Announcer {
    /// The host has `ip`; true if that is new.
    pub(crate) fn add(&mut self, ip: IpAddr) -> bool {
        let place = self.addresses.binary_search(&ip);
        if let Err(place) = place {
            self.addresses.insert(place, ip);
        }
        place.is_err()
    }

    /// The host no longer has `ip`.
    pub(crate) fn remove(&mut self, ip: IpAddr) {
        self.addresses.retain(|other| *other != ip);
    }

    /// True if `ip` is the host's, or nobody told which are.
    #[inline]
    pub(crate) fn may_own(&self, ip: IpAddr) -> bool {
        self.addresses.is_empty() || self.addresses.binary_search(&ip).is_ok()
    }

    /// The host showed that it is a router, or that it is none: advertisements say so too.
    pub(crate) const fn set_router(&mut self, router: bool) {
        self.router = router;
    }

    /// Tells everybody, now and once more.
    pub(crate) fn start(&mut self, cx: &mut Context) {
        self.rounds = ROUNDS;
        cx.timers.set(Timer::Announce, cx.now);
    }

    /// Tells nobody.
    pub(crate) fn stop(&mut self, cx: &mut Context) {
        self.rounds = 0;
        cx.timers.cancel(Timer::Announce);
    }

    /// The time of `Timer::Announce` has come: the packets to send with the group each is for, none meaning
    /// the broadcast group.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context, own: HwAddr) -> Vec<(Option<IpAddr>, Payload)> {
        let Some(rounds) = self.rounds.checked_sub(1) else { return Vec::new() };
        self.rounds = rounds;
        if rounds > 0 {
            cx.timers.set(Timer::Announce, cx.now + INTERVAL);
        }
        cx.counters.announcements += self.addresses.len() as u64;
        self.addresses.iter().map(|ip| self.announcement(*ip, own)).collect()
    }

    /// The host's addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    fn announcement(&self, ip: IpAddr, own: HwAddr) -> (Option<IpAddr>, Payload) {
        match ip {
            IpAddr::V4(ip) => (None, with_header(EtherType::ARP, &gratuitous(ip, own).emit())),
            IpAddr::V6(ip) => {
                let advertisement = nd::announcement(ip, own, self.router);
                (Some(ALL_NODES), with_header(EtherType::IPV6, &advertisement))
            }
        }
    }
}

fn gratuitous(ip: Ipv4Addr, own: HwAddr) -> IbArp {
    IbArp { op: ArpOp::REQUEST, sender_hw: own, sender_ip: ip, target_hw: HwAddr::default(), target_ip: ip }
}

/// A packet for the link: `body` behind its IPoIB header.
pub(crate) fn with_header(ethertype: EtherType, body: &[u8]) -> Payload {
    let mut payload = Payload::with_headroom(HEADROOM, body);
    payload.prepend(&Header::new(ethertype).emit());
    payload
}

/// ff02::1.
const ALL_NODES: IpAddr = IpAddr::V6(core::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
/// Times each address is told, and the time between. RFC 5227 §1.1 (ANNOUNCE_NUM, ANNOUNCE_INTERVAL).
const ROUNDS: u8 = 2;
const INTERVAL: Duration = Duration::from_secs(2);
