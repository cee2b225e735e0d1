//! From the host to the link: a frame becomes a datagram, and finds its way or waits for it.

use core::net::IpAddr;

use ib_wire::{
    addr::{HwAddr, Mac, MulticastGid},
    ipoib::{self, ArpOp, EtherType, Header, nd},
    offload::Offload,
    payload::Payload,
    ud::UdSend,
};

use crate::{
    Drop, Interface, Output,
    announce::with_header,
    context::packets,
    host::{
        arp, discovery,
        frame::{self, ETHERNET, Kind},
        snoop,
    },
    lru::Id,
    multicast::Source,
    overheard::Claim,
    path::Handle,
    queue::Waiting,
};

impl Interface {
    /// Sends a frame of the host. What needs no translation is not looked at beyond its first bytes, not
    /// copied, and costs no allocation.
    #[inline]
    pub(crate) fn transmit(&mut self, mut packet: Payload, offload: Offload) {
        let Some((to, ethertype)) = frame::read(&packet) else { return self.cx.discard(Drop::TxRunt) };
        packet.trim_front(ETHERNET);
        if !self.carrier.is_up() {
            return self.cx.discard_all(Drop::TxNoCarrier, offload.packets(packet.len()) as u64);
        }
        let len = offload.segments.map_or(packet.len(), |segments| segments.packet());
        if len > usize::from(self.ip_mtu) {
            return self.cx.discard_all(Drop::TxTooLong, offload.packets(packet.len()) as u64);
        }
        match frame::classify(ethertype, &packet) {
            Some(Kind::Plain) if to.is_multicast() => self.transmit_multicast(to, ethertype, packet, offload),
            Some(Kind::Plain) => {
                packet.prepend(&Header::new(ethertype).emit());
                self.transmit_unicast(to, packet, offload);
            }
            Some(Kind::Arp) => self.transmit_arp(to, ethertype, &packet),
            Some(Kind::Discovery) => self.transmit_discovery(to, &packet, &offload),
            Some(Kind::Dhcp) => self.transmit_dhcp(to, packet, offload),
            None if ethertype == EtherType::VLAN => self.cx.discard(Drop::TxVlan),
            None => self.cx.discard(Drop::TxUnsupportedProtocol),
        }
    }

    /// Announces own addresses.
    pub(crate) fn announce(&mut self) {
        let own = self.local.hw_addr();
        for (ip, payload) in self.announcer.handle_timeout(&mut self.cx, own) {
            let mgid =
                ip.map_or_else(|| self.local.broadcast(), |ip| self.group_of(EtherType::IPV6, Some(ip)));
            self.groups.send(&mut self.cx, &mut self.sa, &self.local, (mgid, ip), (payload, Offload::NONE));
        }
    }

    /// To the peer that `to` stands for. `payload` has its IPoIB header.
    #[inline]
    fn transmit_unicast(&mut self, to: Mac, payload: Payload, offload: Offload) {
        let Self { cx, peers, paths, sa, local, .. } = self;
        let packets = packets(&payload, &offload);
        let Some((id, peer)) = peers.destination(cx.now, to, packets) else {
            return match self.recall(to) {
                true => self.transmit_unicast(to, payload, offload),
                false => self.unknown(to, packets),
            };
        };
        let (addr, path) = (peer.addr, peer.path);
        if let Some(path) = path
            && let Some(handle) = paths.handle(path)
        {
            let Handle { to, qkey, stale } = handle;
            cx.send(UdSend { to, dest_qp: addr.qpn, qkey, payload, offload }, false);
            if stale {
                paths.confirm(cx, sa, local, path);
            }
            return;
        }
        self.wait_for_path(id, addr, path, Waiting { mac: to, dest_qp: addr.qpn, payload, offload });
    }

    #[cold]
    fn wait_for_path(&mut self, peer: Id, addr: HwAddr, path: Option<Id>, mut packet: Waiting) {
        let Self { cx, peers, paths, sa, local, .. } = self;
        if let Some(path) = path {
            match paths.wait(cx, sa, local, path, packet) {
                Ok(()) => return,
                Err(given_back) => packet = given_back,
            }
        }
        let path = paths.open(cx, sa, addr.gid);
        peers.set_path(peer, path);
        match paths.handle(path) {
            // Another peer of the same port had it.
            Some(Handle { to, qkey, .. }) => {
                let Waiting { dest_qp, payload, offload, .. } = packet;
                cx.send(UdSend { to, dest_qp, qkey, payload, offload }, false);
            }
            None => {
                let waits = paths.wait(cx, sa, local, path, packet);
                debug_assert!(waits.is_ok(), "a path just opened is there");
            }
        }
    }

    /// To a group, chosen by the IP header: of an IPv4 group its Ethernet address has lost five bits.
    fn transmit_multicast(&mut self, to: Mac, ethertype: EtherType, mut packet: Payload, offload: Offload) {
        let ip = frame::destination(ethertype, &packet).filter(|_| !to.is_broadcast());
        if self.cx.config.snoop_memberships && ip.is_some() {
            self.snoop(ethertype, &packet);
        }
        let mgid = self.group_of(ethertype, ip);
        packet.prepend(&Header::new(ethertype).emit());
        self.groups.send(&mut self.cx, &mut self.sa, &self.local, (mgid, ip), (packet, offload));
    }

    /// A translated packet to wherever its frame went. It may have grown in translation.
    fn transmit_translated(&mut self, to: Mac, ethertype: EtherType, bytes: &[u8]) {
        if bytes.len() > usize::from(self.ip_mtu) {
            return self.cx.discard(Drop::TxTooLong);
        }
        self.cx.counters.translated += 1;
        if to.is_multicast() {
            self.transmit_multicast(to, ethertype, Payload::from(bytes), Offload::NONE);
        } else {
            self.transmit_unicast(to, with_header(ethertype, bytes), Offload::NONE);
        }
    }

    fn transmit_arp(&mut self, to: Mac, ethertype: EtherType, packet: &[u8]) {
        let peer = self.peers.by_mac(to).map(|peer| peer.addr);
        let arp = arp::outbound(packet, self.local.hw_addr(), peer);
        if let Some(question) = arp.as_ref().ok().filter(|arp| arp.op == ArpOp::REQUEST) {
            self.wanted.ask(question.target_ip.into());
        }
        match arp {
            // To somebody forgotten: all are asked, or told.
            Ok(arp) if peer.is_none() => self.transmit_translated(Mac::BROADCAST, ethertype, &arp.emit()),
            Ok(arp) => self.transmit_translated(to, ethertype, &arp.emit()),
            Err(_) => self.cx.discard(Drop::TxBadArp),
        }
    }

    fn transmit_discovery(&mut self, to: Mac, packet: &[u8], offload: &Offload) {
        let Ok(message) = nd::NdMessage::parse(packet, offload.checksum) else {
            return self.cx.discard(Drop::TxBadNd);
        };
        if let Some(router) = discovery::is_router(&message, packet) {
            self.announcer.set_router(router);
        }
        if let (nd::NdKind::NeighborSolicitation, Some(target)) = (message.kind, message.target) {
            self.wanted.ask(target.into());
        }
        let (own, redirect) = (self.local.hw_addr(), message.kind == nd::NdKind::Redirect);
        let of = |mac: Mac| match self.peers.by_mac(mac) {
            Some(peer) => Some(peer.addr),
            // What a bridge behind us says of its own is said of us; a redirect speaks of others.
            None => (!redirect || mac == self.mac).then_some(own),
        };
        match nd::to_ib(packet, offload.checksum, |_, mac| of(mac)) {
            Ok(bytes) => self.transmit_translated(to, EtherType::IPV6, &bytes),
            Err(_) => self.cx.discard(Drop::TxBadNd),
        }
    }

    fn transmit_dhcp(&mut self, to: Mac, mut packet: Payload, offload: Offload) {
        if let Some(bytes) = self.dhcp.handle_out(&packet, offload.checksum) {
            return self.transmit_translated(to, EtherType::IPV4, &bytes);
        }
        if to.is_multicast() {
            return self.transmit_multicast(to, EtherType::IPV4, packet, offload);
        }
        packet.prepend(&Header::new(EtherType::IPV4).emit());
        self.transmit_unicast(to, packet, offload);
    }

    fn snoop(&mut self, ethertype: EtherType, packet: &[u8]) {
        for (ip, joined) in snoop::memberships(ethertype, packet) {
            if joined {
                self.listen(ip, Source::Snooped);
            } else {
                self.unlisten(ip, Source::Snooped);
            }
        }
    }

    /// Of whatever is no IP group: the broadcast group.
    fn group_of(&self, ethertype: EtherType, ip: Option<IpAddr>) -> MulticastGid {
        let (scope, pkey) = (self.local.scope, self.local.pkey);
        match ip {
            Some(IpAddr::V4(ip)) if ethertype == EtherType::IPV4 => ipoib::ipv4_mgid(scope, pkey, ip),
            Some(IpAddr::V6(ip)) if ip.is_multicast() => ipoib::ipv6_mgid(scope, pkey, ip),
            _ => self.local.broadcast(),
        }
    }

    /// The host sends to somebody whose question to another it heard. True if that is so: it is a peer now.
    #[cold]
    fn recall(&mut self, mac: Mac) -> bool {
        let Some(claim) = self.overheard.take(mac) else { return false };
        let (Claim { addr, lid, .. }, ip) = (claim, claim.ip());
        let Self { cx, peers, paths, sa, .. } = self;
        let id = peers.learn(cx, paths, sa, addr);
        peers.bind_ip(cx, paths, sa, id, ip);
        self.wanted.found(ip);
        self.heard(id, addr.gid, lid);
        self.peers.by_mac(mac).is_some()
    }

    /// The host sends to an address that stands for nobody: it is made to ask again, but not at every packet.
    fn unknown(&mut self, mac: Mac, packets: u64) {
        self.cx.discard_all(Drop::TxUnknownPeer, packets);
        let now = self.cx.now;
        if self.forgotten.is_none_or(|(last, at)| last != mac || now.since(at) >= FORGET_AGAIN) {
            self.forgotten = Some((mac, now));
            self.cx.counters.neighbors_forgotten += 1;
            self.cx.emit(Output::ForgetNeighbor { mac, ip: None });
        }
    }
}

/// Time for the host to forget a neighbour before it is told again.
const FORGET_AGAIN: core::time::Duration = core::time::Duration::from_millis(100);
