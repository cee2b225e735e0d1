//! From the link to the host: a datagram becomes a frame, and shows who sent it.

use core::net::IpAddr;

use ib_wire::{
    addr::{HwAddr, Lid, Mac},
    ipoib::{self, EtherType, Header, IbArp, nd},
    offload::Offload,
    packet::Grh,
    payload::Payload,
    ud::UdReceived,
};

use crate::{
    Drop, HostFrame, Interface,
    context::packets,
    host::{
        arp, discovery,
        frame::{self, Kind},
    },
    overheard::Claim,
    stranger::provisional_mac,
};

/// A datagram on its way to the host, without its headers.
struct Inbound {
    multicast: bool,
    slid: Lid,
    src: Option<HwAddr>,
    src_qp: ib_wire::addr::Qpn,
    ethertype: EtherType,
    /// How many it stands for.
    packets: u64,
    body: Payload,
    offload: Offload,
}

impl Interface {
    /// Hands a datagram to the host. What needs no translation is not looked at beyond its first bytes.
    #[inline]
    pub(crate) fn receive(&mut self, datagram: UdReceived) {
        let packets = packets(&datagram.payload, &datagram.offload);
        if !self.carrier.is_up() {
            return self.cx.discard_all(Drop::RxDown, packets);
        }
        if self.is_own_echo(&datagram) {
            self.cx.counters.rx_own_echo += packets;
            return;
        }
        if datagram.pkey.partition() != self.local.pkey.partition() {
            return self.cx.discard_all(Drop::RxWrongPartition, packets);
        }
        let Ok((Header { ethertype }, packet)) = Header::parse(&datagram.payload) else {
            return self.cx.discard(Drop::RxRunt);
        };
        let group = datagram.grh.as_ref().and_then(|grh| grh.dgid.multicast());
        let multicast = group.is_some() || datagram.dlid.is_multicast();
        // Several groups may share a LID; without a GRH nobody can tell which is meant.
        if multicast && !group.is_some_and(|mgid| self.groups.receives(mgid, packets)) {
            return self.cx.discard_all(Drop::RxNotMember, packets);
        }
        let Some(kind) = frame::classify(ethertype, packet) else {
            return self.cx.discard(Drop::RxUnsupportedProtocol);
        };
        let mut inbound = Inbound {
            multicast,
            slid: datagram.slid,
            src: datagram.grh.as_ref().map(|grh: &Grh| HwAddr::new(datagram.src_qp, grh.sgid)),
            src_qp: datagram.src_qp,
            ethertype,
            packets,
            body: datagram.payload,
            offload: datagram.offload,
        };
        inbound.body.trim_front(Header::LEN);
        match kind {
            Kind::Plain => self.receive_plain(inbound),
            Kind::Arp => self.receive_arp(&inbound),
            Kind::Discovery => self.receive_discovery(&inbound),
            Kind::Dhcp => self.receive_dhcp(inbound),
        }
    }

    #[inline]
    fn receive_plain(&mut self, inbound: Inbound) {
        let from = self.sender(&inbound);
        let Inbound { multicast, ethertype, body, offload, .. } = inbound;
        let to = match frame::destination(ethertype, &body) {
            Some(ip) if multicast => ipoib::group_mac(ip),
            None if multicast => Mac::BROADCAST,
            _ => self.mac,
        };
        let head = frame::write(to, from, ethertype);
        self.cx.deliver(HostFrame { head, body, offload }, multicast);
    }

    fn receive_arp(&mut self, inbound: &Inbound) {
        let Ok(message) = IbArp::parse(&inbound.body) else { return self.cx.discard(Drop::RxBadArp) };
        let sender = message.sender_hw;
        if sender.gid.is_multicast() || sender.gid == ib_wire::addr::Gid::ZERO {
            return self.cx.discard(Drop::RxBadArp);
        }
        if !self.may_claim(inbound, sender) {
            return self.cx.discard(Drop::RxForgedArp);
        }
        // Of all that strangers ask each other only what the host will act on is remembered.
        let answer = matches!(message.op, ipoib::ArpOp::REPLY | ipoib::ArpOp::RARP_REPLY);
        let wanted = !inbound.multicast || answer || self.announcer.may_own(message.target_ip.into());
        let from = self.learn(inbound, sender, message.sender_ip.into(), wanted);
        let (own, mac) = (self.local.hw_addr(), self.mac);
        let message = arp::inbound(&message, from, own, mac);
        let to = if inbound.multicast { Mac::BROADCAST } else { mac };
        self.hand_over(inbound, to, message.sender_hw, &message.emit());
    }

    fn receive_discovery(&mut self, inbound: &Inbound) {
        let checksum = inbound.offload.checksum;
        let Ok(message) = nd::NdMessage::parse(&inbound.body, checksum) else {
            return self.cx.discard(Drop::RxBadNd);
        };
        for claim in discovery::claims(&message) {
            if claim.own && !self.may_claim(inbound, claim.addr) {
                return self.cx.discard(Drop::RxForgedNd);
            }
            if claim.own {
                self.learn(inbound, claim.addr, claim.ip, claim.wanted);
            } else if !self.is_own(claim.addr) {
                let Self { cx, peers, paths, sa, .. } = self;
                let id = peers.learn(cx, paths, sa, claim.addr);
                peers.bind_ip(cx, paths, sa, id, claim.ip);
            }
        }
        let from = self.sender(inbound);
        let (own, mac) = (self.local.hw_addr(), self.mac);
        let of = |addr: HwAddr| {
            let is_own = (addr.qpn, addr.gid) == (own.qpn, own.gid);
            Some(if is_own { mac } else { self.peers.mac_of(addr) })
        };
        match nd::to_ethernet(&inbound.body, checksum, |_, addr| of(addr)) {
            Ok(bytes) => {
                let to = if inbound.multicast { ipoib::group_mac(message.destination.into()) } else { mac };
                self.hand_over(inbound, to, from, &bytes);
            }
            Err(_) => self.cx.discard(Drop::RxBadNd),
        }
    }

    fn receive_dhcp(&mut self, inbound: Inbound) {
        match self.dhcp.handle_in(&inbound.body, inbound.offload.checksum) {
            Some(bytes) => {
                self.cx.counters.translated += 1;
                self.receive_plain(Inbound {
                    body: Payload::from(&bytes[..]),
                    offload: Offload::NONE,
                    ..inbound
                });
            }
            None => self.receive_plain(inbound),
        }
    }

    /// A translated packet for the host.
    fn hand_over(&mut self, inbound: &Inbound, to: Mac, from: Mac, bytes: &[u8]) {
        self.cx.counters.translated += 1;
        let head = frame::write(to, from, inbound.ethertype);
        let frame = HostFrame { head, body: Payload::with_headroom(0, bytes), offload: Offload::NONE };
        self.cx.deliver(frame, inbound.multicast);
    }

    /// The Ethernet address that stands for the sender.
    #[inline]
    fn sender(&mut self, inbound: &Inbound) -> Mac {
        let gid = inbound.src.map(|src| src.gid);
        let found = self.peers.source(self.cx.now, gid, inbound.slid, inbound.src_qp, inbound.packets);
        let Some((id, peer)) = found else { return self.stranger(inbound) };
        let (mac, known) = (peer.mac, peer.lid);
        if known != inbound.slid
            && let Some(src) = inbound.src
        {
            self.heard(id, src.gid, inbound.slid);
        }
        mac
    }

    /// A stand-in for a sender that is not remembered.
    fn stranger(&mut self, inbound: &Inbound) -> Mac {
        self.cx.counters.rx_unknown_source += inbound.packets;
        if let Some(src) = inbound.src {
            return self.peers.mac_of(src);
        }
        self.strangers.meet(&mut self.cx, &mut self.sa, &self.local, inbound.slid, inbound.src_qp);
        provisional_mac(inbound.slid, inbound.src_qp)
    }

    /// The sender says that `ip` is at `addr`, which is its own. It is remembered if the host will want to
    /// send there, or had already. Gives the Ethernet address that stands for it.
    #[inline]
    fn learn(&mut self, inbound: &Inbound, addr: HwAddr, ip: IpAddr, wanted: bool) -> Mac {
        let Self { cx, peers, paths, sa, .. } = self;
        let wanted = wanted || peers.knows_ip(ip) || self.wanted.has(ip);
        if !wanted && peers.by_addr(addr).is_none() {
            let mac = ipoib::peer_mac(addr.gid, addr.qpn, 0);
            self.overheard.keep(mac, Claim::new(addr, ip, inbound.slid));
            return mac;
        }
        let id = peers.learn(cx, paths, sa, addr);
        if wanted {
            self.wanted.found(ip);
            peers.bind_ip(cx, paths, sa, id, ip);
        }
        self.heard(id, addr.gid, inbound.slid);
        self.peers.mac_of(addr)
    }

    /// A peer is known to have sent from `slid`.
    pub(crate) fn heard(&mut self, id: crate::lru::Id, gid: ib_wire::addr::Gid, slid: Lid) {
        if let Some(before) = self.peers.bind_source(id, slid) {
            self.paths.suspect(before);
        }
        self.paths.handle_sign_of_life(&self.cx, &self.local, gid, slid);
    }

    /// True if a message may claim `addr` as its sender's own.
    fn may_claim(&self, inbound: &Inbound, addr: HwAddr) -> bool {
        let came_from = inbound.src.is_none_or(|src| src.gid == addr.gid) && inbound.src_qp == addr.qpn;
        !self.is_own(addr) && (came_from || !self.cx.config.check_sender)
    }

    fn is_own(&self, addr: HwAddr) -> bool {
        (addr.qpn, addr.gid) == (self.local.qpn, self.local.gid)
    }

    /// A switch sends multicast back to a sender that is a member too; the host would see its own probe for
    /// duplicate addresses. Behind a router another port may have our LID.
    #[inline]
    fn is_own_echo(&self, datagram: &UdReceived) -> bool {
        datagram.src_qp == self.local.qpn
            && self.local.lmc.covers(self.local.lid, datagram.slid)
            && datagram.grh.as_ref().is_none_or(|grh| grh.sgid.guid() == self.local.gid.guid())
    }
}
