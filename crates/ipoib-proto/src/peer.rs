//! Other interfaces of the link: which Ethernet address stands for which 20-octet one, and back.
//!
//! A peer is a name and costs little; the way to it (`path.rs`) is what is scarce. So a peer whose way was
//! given up is still known, and the next packet asks for the way again.

use alloc::vec::Vec;
use core::{net::IpAddr, time::Duration};

use ib_wire::{
    addr::{Gid, HwAddr, Lid, Mac, Qpn},
    ipoib,
    time::Instant,
};

use crate::{
    Event, PeerSnapshot,
    context::Context,
    lru::{Id, Lru},
    map::{Map, map},
    path::Paths,
    sa::SaClient,
    timer::Timer,
};

/// One other interface.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) mac: Mac,
    pub(crate) addr: HwAddr,
    /// Its path, which may be given up without a word here.
    pub(crate) path: Option<Id>,
    /// LID it last sent from.
    pub(crate) lid: Lid,
    /// Addresses that the host may have neighbour entries for.
    ips: Vec<IpAddr>,
    last: Instant,
    tx: u64,
    rx: u64,
}

/// All that are known.
#[derive(Debug)]
pub(crate) struct Peers {
    own: Mac,
    table: Lru<Peer>,
    by_mac: Map<u64, Id>,
    by_addr: Map<(Gid, Qpn), Id>,
    by_source: Map<u64, Id>,
    by_ip: Map<IpAddr, Id>,
}

impl Peers {
    /// Nobody is known to the interface with the Ethernet address `own`.
    pub(crate) fn new(own: Mac, seed: u64) -> Self {
        Self {
            own,
            table: Lru::new(),
            by_mac: map(seed),
            by_addr: map(seed),
            by_source: map(seed),
            by_ip: map(seed),
        }
    }

    /// Whom so many packets of the host are for; it counts as used.
    #[inline]
    pub(crate) fn destination(&mut self, now: Instant, mac: Mac, packets: u64) -> Option<(Id, &mut Peer)> {
        let id = *self.by_mac.get(&mac_key(mac))?;
        let peer = self.used(now, id)?;
        peer.tx += packets;
        Some((id, peer))
    }

    /// Whom so many packets came from; it counts as used.
    #[inline]
    pub(crate) fn source(
        &mut self,
        now: Instant,
        gid: Option<Gid>,
        slid: Lid,
        qpn: Qpn,
        packets: u64,
    ) -> Option<(Id, &Peer)> {
        let id = match gid {
            Some(gid) => *self.by_addr.get(&(gid, qpn))?,
            None => *self.by_source.get(&source_key(slid, qpn))?,
        };
        let peer = self.used(now, id)?;
        peer.rx += packets;
        Some((id, peer))
    }

    /// The order of names is kept to the second: it costs a busy peer nothing.
    #[inline]
    fn used(&mut self, now: Instant, id: Id) -> Option<&mut Peer> {
        if now.since(self.table.get(id)?.last) >= Duration::from_secs(1) {
            self.table.touch(id)?.last = now;
        }
        self.table.get_mut(id)
    }

    /// The peer that `mac` stands for.
    pub(crate) fn by_mac(&self, mac: Mac) -> Option<&Peer> {
        self.by_mac.get(&mac_key(mac)).and_then(|id| self.table.get(*id))
    }

    /// The peer with `addr`; its flags do not matter.
    pub(crate) fn by_addr(&self, addr: HwAddr) -> Option<&Peer> {
        self.by_addr.get(&(addr.gid, addr.qpn)).and_then(|id| self.table.get(*id))
    }

    /// True if the host may have a neighbour entry for `ip`.
    pub(crate) fn knows_ip(&self, ip: IpAddr) -> bool {
        self.by_ip.contains_key(&ip)
    }

    /// The Ethernet address that stands for `addr`, whether it is remembered or not.
    pub(crate) fn mac_of(&self, addr: HwAddr) -> Mac {
        self.by_addr(addr).map_or_else(|| ipoib::peer_mac(addr.gid, addr.qpn, 0), |peer| peer.mac)
    }

    /// Remembers the interface with `addr`; another may be forgotten for it.
    pub(crate) fn learn(
        &mut self,
        cx: &mut Context,
        paths: &mut Paths,
        sa: &mut SaClient,
        addr: HwAddr,
    ) -> Id {
        if let Some(id) = self.by_addr.get(&(addr.gid, addr.qpn)).copied() {
            let peer = self.table.touch(id).expect("names and peers come and go together");
            (peer.addr.flags, peer.last) = (addr.flags, cx.now);
            return id;
        }
        while self.table.len() >= cx.config.max_peers {
            let oldest = self.table.oldest().expect("a full table has an oldest");
            self.remove(cx, paths, sa, oldest);
            cx.counters.peers_evicted += 1;
        }
        let taken = |mac: &Mac| *mac == self.own || self.by_mac.contains_key(&mac_key(*mac));
        let mac = (0..=u8::MAX).map(|salt| ipoib::peer_mac(addr.gid, addr.qpn, salt)).find(|mac| !taken(mac));
        // 256 collisions in 44 bits do not happen; if they do, the last of them shares an address.
        let mac = mac.unwrap_or_else(|| ipoib::peer_mac(addr.gid, addr.qpn, u8::MAX));
        let id = self.table.insert(Peer {
            mac,
            addr,
            path: None,
            lid: Lid::NONE,
            ips: Vec::new(),
            last: cx.now,
            tx: 0,
            rx: 0,
        });
        self.by_mac.insert(mac_key(mac), id);
        self.by_addr.insert((addr.gid, addr.qpn), id);
        cx.timers.advance(Timer::Sweep, cx.now + cx.config.peer_idle / 3);
        id
    }

    /// Datagrams without a GRH from `slid` and the peer's queue pair are the peer's. Gives the port that was
    /// thought to be there before, if another.
    pub(crate) fn bind_source(&mut self, id: Id, slid: Lid) -> Option<Gid> {
        let peer = self.table.get_mut(id)?;
        if peer.lid == slid || !slid.is_unicast() {
            return None;
        }
        let (gid, qpn) = (peer.addr.gid, peer.addr.qpn);
        let old = core::mem::replace(&mut peer.lid, slid);
        let key = source_key(old, qpn);
        if self.by_source.get(&key) == Some(&id) {
            self.by_source.remove(&key);
        }
        let before = self.by_source.insert(source_key(slid, qpn), id)?;
        let before = self.table.get_mut(before)?;
        before.lid = Lid::NONE;
        Some(before.addr.gid).filter(|before| *before != gid)
    }

    /// The peer said that `ip` is at its address; who had it before loses it, and is forgotten if that was
    /// all it was known for. The host's next packet there makes the host ask again.
    pub(crate) fn bind_ip(
        &mut self,
        cx: &mut Context,
        paths: &mut Paths,
        sa: &mut SaClient,
        id: Id,
        ip: IpAddr,
    ) {
        if ip.is_unspecified() || ip.is_multicast() {
            return;
        }
        let Some(peer) = self.table.get_mut(id) else { return };
        if peer.ips.contains(&ip) {
            return;
        }
        if peer.ips.len() == MAX_IPS {
            let oldest = peer.ips.remove(0);
            self.by_ip.remove(&oldest);
        }
        peer.ips.push(ip);
        let to = peer.addr;
        let Some(before) = self.by_ip.insert(ip, id).filter(|before| *before != id) else { return };
        let Some(old) = self.table.get_mut(before) else { return };
        old.ips.retain(|other| *other != ip);
        let (from, alone) = (old.addr, old.ips.is_empty());
        if alone {
            self.remove(cx, paths, sa, before);
        }
        cx.counters.peers_moved += 1;
        cx.event(Event::PeerMoved { ip, from, to });
    }

    /// The host has no entry any more for `mac`, or only not for this `ip`. The way goes with the last entry.
    pub(crate) fn release(
        &mut self,
        cx: &mut Context,
        paths: &mut Paths,
        sa: &mut SaClient,
        mac: Mac,
        ip: Option<IpAddr>,
    ) {
        // Of an entry that failed the host no longer knows the Ethernet address.
        let by_ip = || ip.and_then(|ip| self.by_ip.get(&ip));
        let Some(id) = self.by_mac.get(&mac_key(mac)).or_else(by_ip).copied() else { return };
        let Some(peer) = self.table.get_mut(id) else { return };
        let gone: Vec<IpAddr> = peer.ips.extract_if(.., |other| ip.is_none_or(|ip| ip == *other)).collect();
        let path = if peer.ips.is_empty() { peer.path.take() } else { None };
        for ip in gone {
            self.by_ip.remove(&ip);
        }
        if let Some(path) = path {
            paths.close(cx, sa, path);
        }
    }

    /// The port of the neighbour `ip`, or of the one that `mac` stands for.
    pub(crate) fn port_of(&self, ip: IpAddr, mac: Option<Mac>) -> Option<Gid> {
        let id = mac.and_then(|mac| self.by_mac.get(&mac_key(mac))).or_else(|| self.by_ip.get(&ip))?;
        self.table.get(*id).map(|peer| peer.addr.gid)
    }

    /// Forgets whom the host has no entry for and nobody heard of for long.
    pub(crate) fn sweep(&mut self, cx: &mut Context, paths: &mut Paths, sa: &mut SaClient) {
        let idle = |peer: &Peer| peer.ips.is_empty() && cx.now.since(peer.last) >= cx.config.peer_idle;
        let idle: Vec<Id> = self.table.iter().filter(|(_, peer)| idle(peer)).map(|(id, _)| id).collect();
        for id in idle {
            self.remove(cx, paths, sa, id);
        }
        paths.sweep(cx, sa);
        if self.table.len() > 0 {
            cx.timers.set(Timer::Sweep, cx.now + cx.config.peer_idle / 3);
        }
    }

    /// The way to a peer.
    pub(crate) fn set_path(&mut self, id: Id, path: Id) {
        if let Some(peer) = self.table.get_mut(id) {
            peer.path = Some(path);
        }
    }

    /// All paths are gone.
    pub(crate) fn forget_paths(&mut self) {
        for id in self.table.ids() {
            self.table.get_mut(id).expect("just listed").path = None;
        }
    }

    /// How many are known.
    pub(crate) const fn len(&self) -> usize {
        self.table.len()
    }

    /// What they show, by Ethernet address.
    pub(crate) fn snapshot(&self, now: Instant, paths: &Paths) -> Vec<PeerSnapshot> {
        let show = |peer: &Peer| {
            let path = peer.path.and_then(|_| paths.show(now, peer.addr.gid));
            let path = path.as_ref();
            PeerSnapshot {
                mac: peer.mac,
                hw_addr: peer.addr,
                gid: peer.addr.gid,
                qpn: peer.addr.qpn,
                ips: peer.ips.clone(),
                state: path.map_or("none", |p| p.state),
                lid: path.and_then(|p| p.lid),
                sl: path.and_then(|p| p.sl),
                rate: path.and_then(|p| p.rate),
                mtu: path.and_then(|p| p.mtu),
                idle: now.since(peer.last),
                tx_packets: peer.tx,
                rx_packets: peer.rx,
            }
        };
        let mut all: Vec<_> = self.table.iter().map(|(_, peer)| show(peer)).collect();
        all.sort_unstable_by_key(|peer| peer.mac);
        all
    }

    fn remove(&mut self, cx: &mut Context, paths: &mut Paths, sa: &mut SaClient, id: Id) {
        let Some(peer) = self.table.remove(id) else { return };
        let source = source_key(peer.lid, peer.addr.qpn);
        if self.by_mac.get(&mac_key(peer.mac)) == Some(&id) {
            self.by_mac.remove(&mac_key(peer.mac));
        }
        if self.by_source.get(&source) == Some(&id) {
            self.by_source.remove(&source);
        }
        self.by_addr.remove(&(peer.addr.gid, peer.addr.qpn));
        for ip in &peer.ips {
            self.by_ip.remove(ip);
        }
        if let Some(path) = peer.path {
            paths.close(cx, sa, path);
        }
    }
}

const fn mac_key(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

const fn source_key(lid: Lid, qpn: Qpn) -> u64 {
    (lid.0 as u64) << 24 | qpn.get() as u64
}

/// Addresses remembered of one peer.
const MAX_IPS: usize = 16;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::net::Ipv4Addr;

    use ib_wire::addr::{Guid, PKey, SubnetPrefix};

    use super::*;
    use crate::Config;

    struct Scene {
        cx: Context,
        peers: Peers,
        paths: Paths,
        sa: SaClient,
    }

    impl Scene {
        fn new() -> Self {
            let config = Config::new("ib0", Guid(1), Qpn::new(2), PKey::DEFAULT_FULL);
            let config = Config { max_peers: 4, max_address_vector: 4, ..config };
            Self {
                cx: Context::new(config, 0, Instant::ZERO),
                peers: Peers::new(Mac::ZERO, 0),
                paths: Paths::new(0),
                sa: SaClient::new(0, 1),
            }
        }

        fn learn(&mut self, n: u64, ip: u8) -> Id {
            let Self { cx, peers, paths, sa } = self;
            let id = peers.learn(cx, paths, sa, addr(n));
            peers.bind_ip(cx, paths, sa, id, v4(ip));
            id
        }
    }

    fn addr(n: u64) -> HwAddr {
        HwAddr::new(Qpn::new(0x48), Gid::new(SubnetPrefix::LINK_LOCAL, Guid(n)))
    }

    fn v4(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    #[test]
    fn the_least_recently_used_peer_makes_room() {
        let mut s = Scene::new();
        for n in 1..=4 {
            s.learn(n, n.to_le_bytes()[0]);
        }
        let first = s.peers.mac_of(addr(1));
        assert!(s.peers.destination(Instant::from_secs(1), first, 1).is_some());
        s.learn(5, 5);
        assert!(s.peers.by_addr(addr(1)).is_some() && s.peers.by_addr(addr(2)).is_none());
        assert!(!s.peers.knows_ip(v4(2)));
        assert_eq!((s.peers.len(), s.cx.counters.peers_evicted), (4, 1));
    }

    #[test]
    fn an_address_that_moves_takes_its_old_peer_away() {
        let mut s = Scene::new();
        s.learn(1, 1);
        s.learn(2, 1);
        assert!(s.peers.by_addr(addr(1)).is_none());
        assert_eq!(s.peers.port_of(v4(1), None), Some(addr(2).gid));
        assert_eq!(s.cx.counters.peers_moved, 1);
    }

    #[test]
    fn a_peer_with_two_addresses_keeps_its_way_until_both_are_gone() {
        let mut s = Scene::new();
        let id = s.learn(1, 1);
        s.learn(1, 2);
        let path = s.paths.open(&mut s.cx, &mut s.sa, addr(1).gid);
        s.peers.table.get_mut(id).unwrap().path = Some(path);
        let mac = s.peers.mac_of(addr(1));
        let Scene { cx, peers, paths, sa } = &mut s;
        peers.release(cx, paths, sa, mac, Some(v4(1)));
        assert!(paths.show(Instant::ZERO, addr(1).gid).is_some());
        peers.release(cx, paths, sa, mac, Some(v4(2)));
        assert!(paths.show(Instant::ZERO, addr(1).gid).is_none());
    }

    #[test]
    fn a_lid_names_the_one_who_used_it_last() {
        let mut s = Scene::new();
        let (a, b) = (s.learn(1, 1), s.learn(2, 2));
        assert_eq!(s.peers.bind_source(a, Lid(7)), None);
        assert_eq!(s.peers.bind_source(b, Lid(7)), Some(addr(1).gid));
        let found = s.peers.source(Instant::ZERO, None, Lid(7), Qpn::new(0x48), 1).unwrap().1.addr;
        assert_eq!(found, addr(2));
        assert_eq!(s.peers.bind_source(a, Lid(8)), None);
        assert!(s.peers.source(Instant::ZERO, None, Lid(8), Qpn::new(0x48), 1).is_some());
    }

    #[test]
    fn who_is_idle_and_without_entry_is_forgotten() {
        let mut s = Scene::new();
        s.learn(1, 1);
        s.learn(2, 0);
        let all: Vec<IpAddr> = vec![v4(0)];
        let mac = s.peers.mac_of(addr(2));
        let Scene { cx, peers, paths, sa } = &mut s;
        peers.release(cx, paths, sa, mac, all.first().copied());
        cx.now = Instant::from_secs(89);
        peers.sweep(cx, paths, sa);
        assert_eq!(peers.len(), 2);
        cx.now = Instant::from_secs(90);
        peers.sweep(cx, paths, sa);
        assert_eq!(peers.len(), 1);
    }
}
