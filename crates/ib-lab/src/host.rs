//! A host without a kernel: just enough IPv4 to have neighbours, for runs in virtual time.
//!
//! It asks by ARP for whom it does not know, answers ARP and echo requests, and remembers what it learnt.
//! As Linux does, it asks three times, a second apart, and then gives up.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{net::Ipv4Addr, time::Duration};

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type, IpNumber, Ipv4Header, Ipv4HeaderSlice,
};
use ib_wire::{
    addr::Mac,
    ipoib::{ArpOp, EthArp, EtherType},
    payload::Payload,
    time::Instant,
};

/// Time between two questions.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Questions before giving up.
const QUESTIONS: u8 = 3;
/// Packets that wait for one answer; what comes on top is lost.
const WAITING: usize = 8;

/// A host with one interface and one address.
#[derive(Debug)]
pub struct VirtualHost {
    mac: Mac,
    ip: Ipv4Addr,
    neighbors: BTreeMap<Ipv4Addr, Neighbor>,
    /// Neighbours that were asked for, by when they are to be asked again.
    asked: BTreeSet<(Instant, Ipv4Addr)>,
    out: Vec<Payload>,
    /// Echo replies that came back.
    pub replies: u64,
    /// Echo requests answered.
    pub answered: u64,
}

#[derive(Debug)]
enum Neighbor {
    /// Not yet known; packets wait.
    Asked {
        times: u8,
        again: Instant,
        waiting: Vec<Vec<u8>>,
    },
    Known(Mac),
    Failed,
}

impl VirtualHost {
    /// A host that knows nobody.
    pub const fn new(mac: Mac, ip: Ipv4Addr) -> Self {
        Self {
            mac,
            ip,
            neighbors: BTreeMap::new(),
            asked: BTreeSet::new(),
            out: Vec::new(),
            replies: 0,
            answered: 0,
        }
    }

    /// Sends one echo request to `peer`, after asking who that is if it is not known.
    pub fn ping(&mut self, now: Instant, peer: Ipv4Addr) {
        let request = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 });
        self.icmp(now, peer, request, &[0; 8]);
    }

    /// Takes a frame from the interface.
    pub fn handle_frame(&mut self, now: Instant, head: &[u8; 14], body: &[u8]) {
        match EtherType(u16::from_be_bytes([head[12], head[13]])) {
            EtherType::ARP => self.handle_arp(body),
            EtherType::IPV4 => self.handle_ip(now, body),
            _ => {}
        }
    }

    /// Asks again for those who did not answer.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, ip)) = self.asked.first().copied().filter(|(again, _)| *again <= now) {
            self.asked.pop_first();
            let Some(neighbor) = self.neighbors.get_mut(&ip) else { continue };
            match neighbor {
                Neighbor::Asked { times, again, .. } if *times < QUESTIONS => {
                    *times += 1;
                    *again = now + ASK_AGAIN;
                    self.asked.insert((*again, ip));
                    self.ask(ip);
                }
                _ => *neighbor = Neighbor::Failed,
            }
        }
    }

    /// A frame for the interface.
    pub fn poll_frame(&mut self) -> Option<Payload> {
        self.out.pop()
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.asked.first().map(|(again, _)| *again)
    }

    /// The address the host has.
    pub const fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// True if the host has a link address for `peer`.
    pub fn knows(&self, peer: Ipv4Addr) -> bool {
        matches!(self.neighbors.get(&peer), Some(Neighbor::Known(_)))
    }

    /// Link addresses the host knows.
    pub fn known(&self) -> usize {
        self.neighbors.values().filter(|n| matches!(n, Neighbor::Known(_))).count()
    }

    fn handle_arp(&mut self, body: &[u8]) {
        let Ok(arp) = EthArp::parse(body) else { return };
        let for_us = arp.target_ip == self.ip;
        let asked_before = self.neighbors.contains_key(&arp.sender_ip);
        if (for_us || asked_before) && !arp.sender_ip.is_unspecified() {
            self.learn(arp.sender_ip, arp.sender_hw);
        }
        if for_us && arp.op == ArpOp::REQUEST {
            let reply = EthArp {
                op: ArpOp::REPLY,
                sender_hw: self.mac,
                sender_ip: self.ip,
                target_hw: arp.sender_hw,
                target_ip: arp.sender_ip,
            };
            self.send(arp.sender_hw, EtherType::ARP, &reply.emit());
        }
    }

    fn learn(&mut self, ip: Ipv4Addr, mac: Mac) {
        let before = self.neighbors.insert(ip, Neighbor::Known(mac));
        if let Some(Neighbor::Asked { waiting, again, .. }) = before {
            self.asked.remove(&(again, ip));
            waiting.iter().for_each(|packet| self.send(mac, EtherType::IPV4, packet));
        }
    }

    fn handle_ip(&mut self, now: Instant, body: &[u8]) {
        let Ok(ip) = Ipv4HeaderSlice::from_slice(body) else { return };
        if ip.destination_addr() != self.ip || ip.protocol() != IpNumber::ICMP {
            return;
        }
        let end = usize::from(ip.total_len()).min(body.len());
        let Ok(icmp) = Icmpv4Slice::from_slice(body.get(ip.slice().len()..end).unwrap_or_default()) else {
            return;
        };
        match icmp.icmp_type() {
            Icmpv4Type::EchoReply(_) => self.replies += 1,
            Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq }) => {
                self.answered += 1;
                let reply = Icmpv4Type::EchoReply(IcmpEchoHeader { id, seq });
                self.icmp(now, ip.source_addr(), reply, icmp.payload());
            }
            _ => {}
        }
    }

    fn icmp(&mut self, now: Instant, ip: Ipv4Addr, kind: Icmpv4Type, data: &[u8]) {
        let icmp = Icmpv4Header::with_checksum(kind, data);
        let len = u16::try_from(icmp.header_len() + data.len()).unwrap_or(u16::MAX);
        let Ok(mut header) = Ipv4Header::new(len, 64, IpNumber::ICMP, self.ip.octets(), ip.octets()) else {
            return;
        };
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(&icmp.to_bytes());
        bytes.extend_from_slice(data);
        self.send_ip(now, ip, bytes);
    }

    fn send_ip(&mut self, now: Instant, to: Ipv4Addr, packet: Vec<u8>) {
        match self.neighbors.get_mut(&to) {
            Some(Neighbor::Known(mac)) => {
                let mac = *mac;
                self.send(mac, EtherType::IPV4, &packet);
            }
            Some(Neighbor::Asked { waiting, .. }) => {
                waiting.push(packet);
                waiting.truncate(WAITING);
            }
            Some(Neighbor::Failed) | None => {
                let again = now + ASK_AGAIN;
                self.asked.insert((again, to));
                self.neighbors.insert(to, Neighbor::Asked { times: 1, again, waiting: alloc::vec![packet] });
                self.ask(to);
            }
        }
    }

    fn ask(&mut self, peer: Ipv4Addr) {
        let request = EthArp {
            op: ArpOp::REQUEST,
            sender_hw: self.mac,
            sender_ip: self.ip,
            target_hw: Mac::ZERO,
            target_ip: peer,
        };
        self.send(Mac::BROADCAST, EtherType::ARP, &request.emit());
    }

    fn send(&mut self, to: Mac, kind: EtherType, body: &[u8]) {
        let mut frame = Vec::with_capacity(14 + body.len());
        frame.extend_from_slice(&to.0);
        frame.extend_from_slice(&self.mac.0);
        frame.extend_from_slice(&kind.0.to_be_bytes());
        frame.extend_from_slice(body);
        self.out.push(Payload::from(&frame[..]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carry(from: &mut VirtualHost, to: &mut VirtualHost) -> usize {
        let mut n = 0;
        while let Some(frame) = from.poll_frame() {
            let (head, body) = frame.split_first_chunk::<14>().unwrap();
            to.handle_frame(Instant::ZERO, head, body);
            n += 1;
        }
        n
    }

    #[test]
    fn two_hosts_on_a_wire_ping_each_other() {
        let mut a = VirtualHost::new(Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
        let mut b = VirtualHost::new(Mac([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2));
        a.ping(Instant::ZERO, b.ip());
        while carry(&mut a, &mut b) + carry(&mut b, &mut a) > 0 {}
        assert!(a.knows(b.ip()) && b.knows(a.ip()));
        assert_eq!((a.replies, b.answered), (1, 1));
    }

    #[test]
    fn who_does_not_answer_is_asked_three_times() {
        let mut a = VirtualHost::new(Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
        a.ping(Instant::ZERO, Ipv4Addr::new(10, 0, 0, 9));
        let mut asked = 0;
        for second in 0..10 {
            a.handle_timeout(Instant::from_secs(second));
            while a.poll_frame().is_some() {
                asked += 1;
            }
        }
        assert_eq!(asked, 3);
        assert_eq!(a.poll_timeout(), None);
    }
}
