//! The interface: state and order; each concern is a type of its own.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ib_wire::{
    addr::{HwAddr, Mac, MulticastGid, PKey},
    ipoib::{self, DhcpTranslator, dhcp},
    mad::{
        Mad,
        attr::{McMemberRecord, Notice, TrapNumber},
    },
    offload::Offload,
    payload::Payload,
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, QpCommand, UdReceived},
};

use crate::{
    CarrierReason, Config, ConfigError, HostEvent, Output, SaFailure, Snapshot,
    announce::Announcer,
    broadcast::{self, Link, Local},
    context::Context,
    multicast::{Groups, Source},
    overheard::Overheard,
    path::Paths,
    peer::Peers,
    sa::{Answer, Incoming, SaClient, Subject},
    snapshot,
    stranger::Strangers,
    subscribe::Subscriptions,
    timer::Timer,
    wanted::Wanted,
};

/// One IPoIB interface.
#[derive(Debug)]
pub struct Interface {
    pub(crate) cx: Context,
    pub(crate) port: PortView,
    pub(crate) local: Local,
    /// Our entry in the port's partition table.
    pub(crate) pkey: Option<PKey>,
    pub(crate) mac: Mac,
    pub(crate) admin: bool,
    /// Admin up, port Active, partition there.
    pub(crate) running: bool,
    pub(crate) link: Option<Link>,
    pub(crate) carrier: CarrierReason,
    /// Why the last join of the broadcast group failed.
    pub(crate) failure: Option<SaFailure>,
    /// What the host set the MTU to, if less than the link's.
    admin_mtu: Option<u16>,
    /// Longest packet from the IP header on.
    pub(crate) ip_mtu: u16,
    /// The neighbour the host was last asked to forget.
    pub(crate) forgotten: Option<(Mac, Instant)>,
    pub(crate) sa: SaClient,
    pub(crate) peers: Peers,
    pub(crate) paths: Paths,
    pub(crate) groups: Groups,
    pub(crate) strangers: Strangers,
    pub(crate) overheard: Overheard,
    pub(crate) wanted: Wanted,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) announcer: Announcer,
    pub(crate) dhcp: DhcpTranslator,
}

impl Interface {
    /// An interface on the port seen as `port`, down until `handle_admin`. `seed` makes its chances.
    pub fn new(config: Config, port: &PortView, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        if port.guid != config.guid {
            return Err(ConfigError::Guid { port: port.guid, config: config.guid });
        }
        let mac = config.mac.unwrap_or_else(|| ipoib::local_mac(config.guid, config.pkey));
        let own_id = dhcp::client_id(config.guid, config.pkey).to_vec();
        let client_id = config.dhcp_client_id.clone().unwrap_or(own_id);
        let local = Local::new(&config, port);
        let pkey = port.pkey_for(config.pkey);
        let wanted = Wanted::new(config.max_peers, seed);
        let mut cx = Context::new(config, seed, now);
        #[expect(clippy::cast_possible_truncation, reason = "32 of the 64 bits are wanted")]
        let first_tid = cx.chance.bits() as u32;
        let mut interface = Self {
            cx,
            port: port.clone(),
            local,
            pkey,
            mac,
            admin: false,
            running: false,
            link: None,
            carrier: CarrierReason::AdminDown,
            failure: None,
            admin_mtu: None,
            ip_mtu: DEFAULT_MTU,
            forgotten: None,
            sa: SaClient::new(seed, first_tid),
            peers: Peers::new(mac, seed),
            paths: Paths::new(seed),
            groups: Groups::new(seed),
            strangers: Strangers::default(),
            overheard: Overheard::default(),
            wanted,
            subscriptions: Subscriptions::default(),
            announcer: Announcer::default(),
            dhcp: DhcpTranslator::new(mac, client_id),
        };
        interface.find_sa();
        Ok(interface)
    }

    /// The host set the interface up or down.
    pub fn handle_admin(&mut self, now: Instant, up: bool) {
        self.cx.now = now;
        if self.admin == up {
            return;
        }
        self.admin = up;
        self.refresh();
        if !up {
            self.cx.emit(Output::Qp(QpCommand::Stop));
        }
    }

    /// The host sends `frame`, Ethernet header first; the offsets of `offload` count from the IP header.
    #[inline]
    pub fn handle_host_frame(&mut self, now: Instant, frame: Payload, offload: Offload) {
        self.cx.now = now;
        self.transmit(frame, offload);
    }

    /// The queue pair received `datagram`.
    #[inline]
    pub fn handle_datagram(&mut self, now: Instant, datagram: UdReceived) {
        self.cx.now = now;
        self.receive(datagram);
    }

    /// QP1 received `mad` from `from`: an answer or a report of subnet administration. Answers are known by
    /// the lower 32 bits of their transaction identifier; reports go to every interface of the port, each of
    /// which confirms them.
    pub fn handle_mad(&mut self, now: Instant, from: MadAddress, mad: &Mad) {
        self.cx.now = now;
        match self.sa.handle_mad(&mut self.cx, from, mad) {
            Incoming::Answer(subject, answer) => self.settle(subject, &answer),
            Incoming::Report(notice) => self.reported(&notice),
            Incoming::Nothing => {}
        }
    }

    /// Something happened to the port, which is now as in `view`.
    pub fn handle_port(&mut self, now: Instant, event: PortEvent, view: &PortView) {
        self.cx.now = now;
        self.port_changed(event, view);
    }

    /// Something happened in the host's network stack.
    pub fn handle_host(&mut self, now: Instant, event: HostEvent) {
        self.cx.now = now;
        let Self { cx, peers, paths, sa, .. } = self;
        match event {
            HostEvent::NeighborGone { ip, mac } => peers.release(cx, paths, sa, mac, ip),
            HostEvent::NeighborFailed { ip, mac } => {
                if let Some(gid) = peers.port_of(ip, mac) {
                    paths.doubt(gid);
                }
            }
            HostEvent::GroupJoined(ip) => self.listen(ip, Source::Host),
            HostEvent::GroupLeft(ip) => self.unlisten(ip, Source::Host),
            HostEvent::AddressAdded(ip) => {
                if self.announcer.add(ip) && cx.config.snoop_memberships {
                    solicited_node(ip).into_iter().for_each(|group| self.listen(group, Source::Always));
                }
            }
            HostEvent::AddressRemoved(ip) => {
                self.announcer.remove(ip);
                let others = self.announcer.addresses();
                let shared = others.into_iter().any(|other| solicited_node(other) == solicited_node(ip));
                let group = solicited_node(ip).filter(|_| !shared);
                group.into_iter().for_each(|group| self.unlisten(group, Source::Always));
            }
            HostEvent::MtuChanged(mtu) => self.host_mtu(mtu),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.cx.now = now;
        while let Some(timer) = self.cx.timers.pop(now) {
            let Self { cx, peers, paths, sa, groups, local, .. } = self;
            match timer {
                Timer::Sa(tid) => {
                    if let Some((subject, answer)) = sa.handle_timeout(cx, tid) {
                        self.settle(subject, &answer);
                    }
                }
                Timer::SaRate => sa.pump(cx),
                Timer::Group(id) => groups.handle_timeout(cx, sa, local, id),
                Timer::ClassPortInfo => self.ask_class_port_info(),
                Timer::Subscribe => self.subscriptions.handle_timeout(cx, sa),
                Timer::Announce => self.announce(),
                Timer::Sweep => peers.sweep(cx, paths, sa),
            }
        }
    }

    /// True if `poll_output` has something.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.cx.has_output()
    }

    /// What to do next; `None` when all is said.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.take()
    }

    /// When `handle_timeout` wants to be called.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cx.timers.next()
    }

    /// What it shows of itself at the time of the last input.
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(self)
    }

    /// Our address on the link; its GID follows the port's prefix.
    pub const fn hw_addr(&self) -> HwAddr {
        self.local.hw_addr()
    }

    /// Our Ethernet address, kept for life.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The IPv6 link-local address that the host should have.
    pub const fn link_local(&self) -> Ipv6Addr {
        ipoib::link_local(self.cx.config.guid)
    }

    /// Whether traffic passes, or what is missing.
    pub const fn carrier(&self) -> CarrierReason {
        self.carrier
    }

    /// Longest packet in bytes from the IP header on, as it is in force.
    pub const fn mtu(&self) -> u16 {
        self.ip_mtu
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.cx.config
    }

    pub(crate) fn listen(&mut self, ip: IpAddr, source: Source) {
        self.groups.listen(&mut self.cx, &mut self.sa, &self.local, ip, source);
    }

    pub(crate) fn unlisten(&mut self, ip: IpAddr, source: Source) {
        self.groups.unlisten(&mut self.cx, &mut self.sa, &self.local, ip, source);
    }

    /// A question is answered, or will not be.
    fn settle(&mut self, subject: Subject, answer: &Answer) {
        let Self { cx, peers, paths, sa, .. } = self;
        match subject {
            Subject::Path(gid) => paths.handle_answer(cx, &self.local, gid, answer),
            Subject::Source(lid) => {
                for addr in self.strangers.handle_answer(lid, answer) {
                    let id = peers.learn(cx, paths, sa, addr);
                    peers.bind_source(id, lid);
                }
            }
            Subject::Join(mgid) => self.join_settled(mgid, answer),
            Subject::Leave(..) => {}
            Subject::Subscribe(trap) => self.subscriptions.handle_answer(cx, trap, answer),
            Subject::ClassPortInfo => self.class_port_info(answer),
        }
    }

    fn join_settled(&mut self, mgid: MulticastGid, answer: &Answer) {
        let port = self.local.mtu;
        let record = answer.as_ref().map_err(|why| *why).and_then(|data| {
            let (record, _) = McMemberRecord::parse(&data[..]).map_err(|_| SaFailure::BadAnswer)?;
            broadcast::check(&record, mgid, port).map(|()| record)
        });
        let is_broadcast = mgid == self.local.broadcast();
        if is_broadcast {
            self.failure = record.as_ref().err().copied();
            if let Ok(record) = &record {
                self.adopt(Link::new(mgid, record));
            }
        }
        self.groups.handle_answer(&mut self.cx, &mut self.sa, &self.local, mgid, record);
        if is_broadcast {
            self.update_carrier();
        }
    }

    /// Takes over what the broadcast group's record says. RFC 4391 §5.
    fn adopt(&mut self, link: Link) {
        if self.link.replace(link) == Some(link) {
            return;
        }
        self.set_keys();
        self.paths.set_link(link.qkey, link.traffic_class);
        self.set_mtu();
        self.groups.set_link(&mut self.cx, &mut self.sa, &self.local, link);
    }

    /// Subnet administration told of an event.
    fn reported(&mut self, notice: &Notice) {
        let gid = notice.gid();
        let Self { cx, paths, sa, groups, local, .. } = self;
        match notice.trap {
            TrapNumber::GID_IN_SERVICE => paths.suspect(gid),
            TrapNumber::GID_OUT_OF_SERVICE => paths.lose(cx, sa, gid),
            TrapNumber::GROUP_CREATED => {
                gid.multicast().into_iter().for_each(|mgid| groups.handle_created(cx, mgid));
            }
            TrapNumber::GROUP_DELETED => {
                gid.multicast().into_iter().for_each(|mgid| groups.handle_deleted(cx, sa, local, mgid));
                self.update_carrier();
            }
            _ => {}
        }
    }

    /// The host's MTU is now `mtu`; more than the link carries is taken back.
    fn host_mtu(&mut self, mtu: u16) {
        let Some(link) = self.link else { return };
        self.admin_mtu = Some(mtu).filter(|mtu| *mtu < link.ip_mtu());
        self.ip_mtu = mtu.min(link.ip_mtu());
        if mtu > link.ip_mtu() {
            self.cx.emit(Output::Mtu(self.ip_mtu));
        }
    }

    fn set_mtu(&mut self) {
        let Some(link) = self.link else { return };
        self.ip_mtu = self.admin_mtu.unwrap_or(u16::MAX).min(link.ip_mtu());
        if link.ip_mtu() < IPV6_MIN_MTU {
            tracing::warn!(interface = %self.cx.config.name, mtu = link.ip_mtu(), "too small for IPv6");
        }
        self.cx.emit(Output::Mtu(self.ip_mtu));
    }
}

/// The group that solicitations for `ip` go to. RFC 4291 §2.7.1.
fn solicited_node(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let [.., a, b, c] = ip.octets();
    let low = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, low[0], low[1]).into())
}

/// 224.0.0.1 and ff02::1.
pub(crate) const ALL_HOSTS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))];
/// Before the broadcast group says otherwise. RFC 4391 §7.
const DEFAULT_MTU: u16 = 2044;
/// RFC 8200 §5.
const IPV6_MIN_MTU: u16 = 1280;
