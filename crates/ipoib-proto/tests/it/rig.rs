//! An interface with everything around it: port, subnet administration, host, time.

use std::{net::Ipv4Addr, time::Duration};

use ib_wire::{
    addr::{Gid, Guid, HwAddr, Lid, Lmc, Mac, Mtu, PKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout},
    ipoib::{self, Arp, ArpOp, EthArp, EtherType, Header, IbArp},
    mad::{
        Mad,
        attr::{PhysicalState, PortState},
    },
    offload::Offload,
    packet::Grh,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, QpCommand, UdReceived, UdSend},
};
use ipoib_proto::{Config, Drop, HostFrame, Interface, Output, Snapshot};

use crate::sa::Sa;

pub(crate) const GUID: Guid = Guid(0x0002_c903_000e_8a11);
pub(crate) const QPN: u32 = 0x48;
pub(crate) const SM_LID: Lid = Lid(1);

/// The scene.
pub(crate) struct Rig {
    pub(crate) interface: Interface,
    pub(crate) now: Instant,
    pub(crate) port: PortView,
    pub(crate) sa: Sa,
    /// Datagrams sent since last looked at.
    pub(crate) sent: Vec<UdSend>,
    /// Frames for the host since last looked at.
    pub(crate) frames: Vec<HostFrame>,
    /// Everything else that came out, as text, with the time in milliseconds.
    pub(crate) log: Vec<String>,
    /// MADs that were no questions.
    pub(crate) replies: Vec<Mad>,
    pub(crate) qp: Vec<QpCommand>,
    pub(crate) forgotten: Vec<Mac>,
}

impl Rig {
    /// An interface whose port has no link yet.
    pub(crate) fn cold() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("ib0", GUID, Qpn::new(QPN), PKey::DEFAULT_FULL);
        // Scripts name the groups they mean.
        config.snoop_memberships = false;
        change(&mut config);
        let port = PortView {
            guid: GUID,
            prefix: SubnetPrefix::LINK_LOCAL,
            state: PortState::DOWN,
            physical_state: PhysicalState::POLLING,
            lid: Lid::NONE,
            lmc: Lmc(0),
            sm_lid: Lid::NONE,
            sm_sl: ServiceLevel::new(0),
            mtu: Mtu::B4096,
            rate: Some(Rate(7)),
            subnet_timeout: Timeout(18),
            pkeys: vec![PKey::DEFAULT_FULL, PKey::INVALID],
        };
        let mut sa = Sa::new();
        sa.create(broadcast());
        let now = Instant::from_secs(100);
        let interface = Interface::new(config, &port, 7, now).unwrap();
        Self {
            interface,
            now,
            port,
            sa,
            sent: Vec::new(),
            frames: Vec::new(),
            log: Vec::new(),
            replies: Vec::new(),
            qp: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    /// An interface that is up.
    pub(crate) fn up() -> Self {
        Self::up_with(|_| {})
    }

    pub(crate) fn up_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut rig = Self::with(change);
        rig.activate();
        rig.interface.handle_admin(rig.now, true);
        rig.advance(2000);
        assert!(rig.interface.carrier().is_up(), "{}", rig.interface.carrier());
        rig.forget();
        rig
    }

    /// The SM brings the port up.
    pub(crate) fn activate(&mut self) {
        self.port.state = PortState::ACTIVE;
        self.port.physical_state = PhysicalState::LINK_UP;
        (self.port.lid, self.port.sm_lid) = (Lid(5), SM_LID);
        self.port_event(PortEvent::Active);
    }

    pub(crate) fn port_event(&mut self, event: PortEvent) {
        let view = self.port.clone();
        self.interface.handle_port(self.now, event, &view);
        self.drain();
    }

    /// Time passes.
    pub(crate) fn advance(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.drain();
        for _ in 0..1_000_000 {
            let Some(next) = self.interface.poll_timeout().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.interface.handle_timeout(self.now);
            self.drain();
        }
        panic!("the interface never rests");
    }

    /// Forgets what came out so far.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
        self.frames.clear();
        self.log.clear();
        self.qp.clear();
        self.replies.clear();
        self.forgotten.clear();
        self.sa.asked.clear();
    }

    pub(crate) fn drain(&mut self) {
        let mut answers = Vec::new();
        loop {
            while let Some(output) = self.interface.poll_output() {
                match output {
                    Output::Send(send) => self.sent.push(send),
                    Output::Mad { to, mad } => {
                        assert_eq!((to.lid, to.qpn), (self.port.sm_lid, Qpn::GSI));
                        if mad[3] & 0x80 != 0 {
                            self.replies.push(*mad);
                        }
                        answers.extend(self.sa.answer(&mad));
                    }
                    Output::ToHost(frame) => self.frames.push(frame),
                    Output::Qp(command) => self.qp.push(command),
                    Output::Carrier { on, reason } => {
                        assert_eq!(on, reason.is_up());
                        self.note(format!("carrier {}", reason.code()));
                    }
                    Output::Mtu(mtu) => self.note(format!("mtu {mtu}")),
                    Output::ForgetNeighbor { mac, .. } => self.forgotten.push(mac),
                    Output::Event(event) => self.note(format!("{event:?}")),
                }
            }
            if answers.is_empty() {
                return;
            }
            for answer in answers.drain(..) {
                self.interface.handle_mad(
                    self.now,
                    MadAddress::gsi(self.port.sm_lid, ServiceLevel::new(0)),
                    &answer,
                );
            }
        }
    }

    fn note(&mut self, what: String) {
        let millis = (self.now - Instant::from_secs(100)).as_millis();
        self.log.push(format!("{millis} {what}"));
    }

    /// Whether something stands in the log.
    pub(crate) fn noted(&self, what: &str) -> bool {
        self.log.iter().any(|line| line.contains(what))
    }

    /// The host sends a frame.
    pub(crate) fn host(&mut self, to: Mac, ethertype: EtherType, body: &[u8]) {
        let mut frame = Vec::new();
        frame.extend_from_slice(&to.0);
        frame.extend_from_slice(&self.interface.mac().0);
        frame.extend_from_slice(&ethertype.0.to_be_bytes());
        frame.extend_from_slice(body);
        self.interface.handle_host_frame(self.now, Payload::from(&frame[..]), Offload::NONE);
        self.drain();
    }

    /// A datagram arrives: `ethertype` and `body` from `from` at `slid`, to us or to `group`, with a GRH if
    /// `global` or to a group.
    pub(crate) fn datagram(
        &mut self,
        (from, slid): (HwAddr, Lid),
        group: Option<Gid>,
        global: bool,
        ethertype: EtherType,
        body: &[u8],
    ) {
        let mut payload = Payload::from(body);
        payload.prepend(&Header::new(ethertype).emit());
        let grh = (global || group.is_some()).then(|| Grh {
            version: 6,
            traffic_class: 0,
            flow_label: 0,
            payload_length: 0,
            next_header: Grh::NEXT_BTH,
            hop_limit: 0,
            sgid: from.gid,
            dgid: group.unwrap_or_else(|| self.port.gid()),
        });
        let dlid = if group.is_some() { Lid(0xc000) } else { self.port.lid };
        let datagram = UdReceived {
            slid,
            dlid,
            sl: ServiceLevel::new(0),
            src_qp: from.qpn,
            pkey: PKey::DEFAULT_FULL,
            grh,
            payload,
            offload: Offload::NONE,
        };
        self.interface.handle_datagram(self.now, datagram);
        self.drain();
    }

    /// Peer `n` answers an ARP question of ours; gives the Ethernet address that stands for it.
    pub(crate) fn arp_answer(&mut self, n: u16) -> Mac {
        self.arp_from(peer(n), lid(n), ip(n))
    }

    /// An ARP answer of `sender` at `slid` for `sender_ip`.
    pub(crate) fn arp_from(&mut self, sender: HwAddr, slid: Lid, sender_ip: Ipv4Addr) -> Mac {
        let arp = IbArp {
            op: ArpOp::REPLY,
            sender_hw: sender,
            sender_ip,
            target_hw: self.interface.hw_addr(),
            target_ip: Ipv4Addr::new(10, 0, 0, 100),
        };
        self.datagram((sender, slid), None, false, EtherType::ARP, &arp.emit());
        let frame = self.frames.pop().expect("the host gets the answer");
        let arp: Arp<Mac> = EthArp::parse(&frame.body).unwrap();
        assert_eq!(Mac(*frame.head[6..].first_chunk().unwrap()), arp.sender_hw);
        arp.sender_hw
    }

    /// Peer `n` exists, its path known to subnet administration.
    pub(crate) fn add_peer(&mut self, n: u16) -> Mac {
        self.sa.paths.insert(peer(n).gid, lid(n));
        self.arp_answer(n)
    }

    /// The host sends an IPv4 packet to whom `mac` stands for.
    pub(crate) fn ping(&mut self, mac: Mac) {
        self.host(mac, EtherType::IPV4, &ip4(Ipv4Addr::new(10, 0, 0, 1)));
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.interface.snapshot()
    }

    pub(crate) fn drops(&self, reason: Drop) -> u64 {
        self.snapshot().counters.drops.get(reason)
    }

    pub(crate) fn handles(&self) -> usize {
        self.snapshot().bounds.handles
    }
}

/// The broadcast group of the default partition.
pub(crate) fn broadcast() -> Gid {
    ipoib::broadcast_mgid(ib_wire::addr::Scope::LINK_LOCAL, PKey::DEFAULT_FULL).gid()
}

pub(crate) fn mgid(text: &str) -> Gid {
    text.parse().unwrap()
}

/// The address of peer `n`.
pub(crate) fn peer(n: u16) -> HwAddr {
    HwAddr::new(Qpn::new(0x100), Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x1000 + u64::from(n))))
}

pub(crate) fn lid(n: u16) -> Lid {
    Lid(100 + n)
}

pub(crate) fn ip(n: u16) -> Ipv4Addr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low)
}

/// A UDP packet from us to `to`.
pub(crate) fn ip4(to: Ipv4Addr) -> Vec<u8> {
    ip4_len(to, 40)
}

pub(crate) fn ip4_len(to: Ipv4Addr, len: u16) -> Vec<u8> {
    let mut packet = vec![0; usize::from(len)];
    (packet[0], packet[8], packet[9]) = (0x45, 64, 17);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[12..16].copy_from_slice(&[10, 0, 0, 100]);
    packet[16..20].copy_from_slice(&to.octets());
    packet
}
