//! Links that lead out of the fabric: packets leave and come as bytes, and nothing else does.
//!
//! Nothing trains such a link: its state follows from what is heard. A port without link asks its neighbour who it
//! is, at once and then every `ask`; the first valid packet that comes, whatever it is, brings the link up. While it
//! is up the port asks when it has sent nothing for as long, so that the neighbour hears of it and it of the
//! neighbour. After `idle` without a word the link is down.
//!
//! The question is an ordinary SMP: a Get of NodeInfo by a directed route of one hop. Its transaction identifier is
//! 0 without link and 1 with it; no software's is below 2^32. A port beyond Initialize that hears number 0 has missed
//! that the link was lost at the far end: its own end goes down too, and its SM hears of it.

use alloc::{boxed::Box, sync::Arc};
use core::{ops::Range, time::Duration};

use ib_wire::{
    addr::{Lid, MKey, PortNum, ServiceLevel, Tid},
    mad::{
        AttributeId, MAD_LEN, MadHeader, Method, MgmtClass,
        attr::NodeInfo,
        smp::{DirectedSmp, Smp},
    },
    packet::Packet,
    payload::Payload,
    time::Instant,
};

use crate::{
    drop::Drop,
    error::BindError,
    fabric::{Fabric, Later, Work},
    flight::{Flight, Step},
    gather::{Gathered, gather},
    id::{LinkId, NodeId},
    link::{Link, LinkFault},
    output::Output,
    port::{Cable, Logical},
};

/// How a link that leads out of the fabric is kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideConfig {
    /// A port that has sent nothing for this long asks for a sign of life.
    pub ask: Duration,
    /// Without a sign for this long the link is down; longer than `ask`.
    pub idle: Duration,
}

impl Default for OutsideConfig {
    fn default() -> Self {
        Self { ask: Duration::from_secs(1), idle: Duration::from_secs(5) }
    }
}

/// A link that leads out of the fabric, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideView {
    /// How it is kept alive.
    pub config: OutsideConfig,
    /// True while packets may pass.
    pub up: bool,
    /// When the last valid packet came.
    pub heard: Option<Instant>,
    /// Who answered last.
    pub neighbor: Option<NodeInfo>,
    /// Times the port asked for a sign of life.
    pub asked: u64,
}

/// What only a link has that leads out of the fabric.
#[derive(Debug)]
pub(crate) struct Outside {
    port: usize,
    /// What was plugged in before.
    replaced: Option<Cable>,
    config: OutsideConfig,
    /// The neighbour was heard, and nothing has happened to the link since.
    pub(crate) alive: bool,
    heard: Option<Instant>,
    sent: Instant,
    /// When somebody looks at it next.
    wake: Instant,
    neighbor: Option<NodeInfo>,
    asked: u64,
}

/// What a packet says about the link it came by.
enum Sign {
    /// The neighbour asks, with a link or without.
    Question { has_link: bool },
    /// It answers.
    Answer(NodeInfo),
    /// Only that it is there.
    Other,
}

impl Fabric {
    /// Pulls the cable of a port, if it has one, and plugs in one that leads out of the fabric. What leaves by it
    /// comes as [`Output::Leaves`]; what comes in by it goes to [`Fabric::handle_outside`].
    pub fn bind(
        &mut self,
        now: Instant,
        node: NodeId,
        port: PortNum,
        config: OutsideConfig,
    ) -> Result<LinkId, BindError> {
        let found = self.nodes[node.index()].port(port).filter(|_| port != PortNum::MANAGEMENT);
        let at = found.ok_or(BindError::NoSuchPort(port))?;
        if config.ask.is_zero() || config.idle <= config.ask {
            return Err(BindError::Times { ask: config.ask, idle: config.idle });
        }
        let replaced = self.ports[at].cable;
        if let Some(cable) = replaced {
            if self.links[cable.link].outside.is_some() {
                return Err(BindError::Bound(port));
            }
            self.pull(now, cable.link);
        }
        // The link of an earlier binding is used again.
        let link = self.links.iter().position(|link| link.outside.as_ref().is_some_and(|o| o.port == at));
        let link = link.unwrap_or_else(|| {
            self.links.push(Link::new([at, at], LinkFault::NONE));
            self.links.len() - 1
        });
        self.links[link].set_fault(LinkFault::NONE);
        self.links[link].outside = Some(Box::new(Outside {
            port: at,
            replaced,
            config,
            alive: false,
            heard: None,
            sent: now,
            wake: now + config.ask,
            neighbor: None,
            asked: 0,
        }));
        self.ports[at].cable = Some(Cable { link, peer: at, is_a: true });
        self.express.forget();
        self.taps.mark(&mut self.links, &self.nodes);
        self.agenda.put(now + config.ask, Later::Watch { link });
        self.train(now, link);
        self.run(now);
        Ok(LinkId::of(link))
    }

    /// Pulls a cable that leads out of the fabric and plugs in what it replaced. No matter if it was pulled already.
    pub fn unbind(&mut self, now: Instant, link: LinkId) {
        let Some(at) = self.bound_port(link.index()) else { return };
        self.pull(now, link.index());
        let replaced = self.links[link.index()].outside.as_ref().and_then(|outside| outside.replaced);
        self.ports[at].cable = replaced;
        self.express.forget();
        if let Some(cable) = replaced {
            self.train(now, cable.link);
        }
        self.run(now);
    }

    /// A packet as on the link, LRH through VCRC, came in by a link that leads out of the fabric.
    pub fn handle_outside(&mut self, now: Instant, link: LinkId, bytes: Payload) {
        let Some(at) = self.open_port(link, 1) else { return };
        match Packet::parse_in_place(bytes) {
            Ok(packet) => self.come_from_outside(now, link.index(), at, packet),
            Err(error) => self.refuse_bytes(at, error),
        }
        self.run(now);
    }

    /// Packets came in by a link that leads out of the fabric, one behind the other at `range`: all but the last are
    /// `segment` bytes long. Those that were cut from one large send become one again, if nobody else holds the buffer.
    ///
    /// # Panics
    /// If the range does not lie within the buffer.
    pub fn handle_outside_many(
        &mut self,
        now: Instant,
        link: LinkId,
        buffer: &mut Arc<[u8]>,
        range: Range<usize>,
        segment: usize,
    ) {
        let count = u32::try_from(range.len().div_ceil(segment.max(1))).unwrap_or(u32::MAX);
        let Some(at) = self.open_port(link, count) else { return };
        let Some(bytes) = Arc::get_mut(buffer) else {
            for start in range.clone().step_by(segment.max(1)) {
                let end = range.end.min(start + segment);
                self.handle_outside(now, link, Payload::from_buffer(Arc::clone(buffer), start, end));
            }
            return;
        };
        for gathered in gather(bytes, range, segment) {
            match gathered {
                Ok(Gathered { packet, payload, .. }) => {
                    let payload = Payload::from_buffer(Arc::clone(buffer), payload.start, payload.end);
                    self.come_from_outside(now, link.index(), at, Packet { payload, ..packet });
                }
                Err(error) => self.refuse_bytes(at, error),
            }
        }
        self.run(now);
    }

    /// The port at the inner end, if bytes come in there; else so many packets are lost.
    fn open_port(&mut self, link: LinkId, packets: u32) -> Option<usize> {
        let at = self.bound_port(link.index())?;
        if self.links[link.index()].fault.down {
            self.ports[at].dropped(Drop::LinkDown, packets);
            return None;
        }
        Some(at)
    }

    fn come_from_outside(&mut self, now: Instant, link: usize, at: usize, packet: Packet) {
        let mut flight = Flight::new(packet, at);
        let step = if self.links[link].is_clear(false) {
            Step::Enter(link)
        } else {
            self.cross(now, at, Cable { link, peer: at, is_a: false }, &mut flight)
        };
        self.carry(now, step, flight);
    }

    /// How a link that leads out of the fabric is; `None` for any other, and once its cable was pulled.
    pub fn outside(&self, link: LinkId) -> Option<OutsideView> {
        self.bound_port(link.index())?;
        let link = &self.links[link.index()];
        let Outside { config, heard, neighbor, asked, .. } = **link.outside.as_ref()?;
        Some(OutsideView { config, up: link.up, heard, neighbor, asked })
    }

    /// The port at the inner end, if the cable is plugged in there.
    fn bound_port(&self, link: usize) -> Option<usize> {
        let at = self.links.get(link)?.outside.as_ref()?.port;
        self.is_plugged(at, link).then_some(at)
    }

    /// True if the cable at that port is this one.
    pub(crate) fn is_plugged(&self, port: usize, link: usize) -> bool {
        self.ports[port].cable.is_some_and(|cable| cable.link == link)
    }

    fn pull(&mut self, now: Instant, link: usize) {
        if self.links[link].up {
            self.count_downed(link);
        }
        self.take_down(now, link, None);
    }

    /// A packet is at the outer end of the link.
    pub(crate) fn go_away(&mut self, now: Instant, link: usize, flight: Flight) {
        if let Some(outside) = &mut self.links[link].outside {
            outside.sent = now;
            self.outputs.put(Output::Leaves { link: LinkId::of(link), packet: flight.packet });
        }
    }

    /// A packet is at the inner end of the link.
    pub(crate) fn enter(&mut self, now: Instant, link: usize, flight: &mut Flight) -> Step {
        let sign = if flight.is_management() { Sign::of(flight) } else { Sign::Other };
        let Some(at) = self.bound_port(link) else { return Step::Done };
        let is_beyond = self.ports[at].state > Logical::Initialize;
        if is_beyond && matches!(sign, Sign::Question { has_link: false }) {
            self.pull(now, link);
        }
        let is_willing = self.may_be_up(link);
        let Some(outside) = &mut self.links[link].outside else { return Step::Done };
        outside.heard = Some(now);
        outside.alive |= is_willing;
        let is_news = matches!(sign, Sign::Answer(info) if outside.neighbor.replace(info) != Some(info));
        self.train(now, link);
        if is_news {
            self.outputs.put(Output::Outside { link: LinkId::of(link), up: self.links[link].up });
        }
        match sign {
            Sign::Answer(_) => {
                let lrh = &flight.packet.lrh;
                self.ports[at].counters.received(flight.measure, false, lrh.sl, lrh.vl);
                Step::Done
            }
            // Nobody is to be alarmed by a neighbour that has no way to know the key.
            Sign::Question { .. } if self.is_locked(at) => self.drop_at(at, Drop::SmpMKey, flight),
            _ => Step::In(at),
        }
    }

    /// Asks the neighbour for a sign of life, if it may have any.
    pub(crate) fn ask_outside(&mut self, now: Instant, link: usize) {
        let Some(at) = self.bound_port(link).filter(|_| self.may_be_up(link)) else { return };
        if let Some(outside) = &mut self.links[link].outside {
            outside.asked += 1;
            outside.sent = now;
        }
        let mut flight = Flight::new(self.question(at, self.links[link].up), at);
        self.ports[at].counters.sent(flight.measure, false, flight.packet.lrh.sl);
        let step = if self.links[link].is_clear(true) {
            Step::Away(link)
        } else {
            self.cross(now, at, Cable { link, peer: at, is_a: true }, &mut flight)
        };
        self.carry(now, step, flight);
    }

    /// It is time to see whether the neighbour is still there.
    pub(crate) fn watch(&mut self, now: Instant, link: usize) {
        let up = self.links[link].up;
        let Some(outside) = self.links[link].outside.as_ref().filter(|outside| outside.wake == now) else {
            return;
        };
        let Outside { config: OutsideConfig { ask, idle }, heard, sent, .. } = **outside;
        if self.bound_port(link).is_none() {
            return;
        }
        let silent = up && heard.is_none_or(|heard| heard + idle <= now);
        if silent {
            self.pull(now, link);
        }
        if silent || sent + ask <= now {
            self.ask_outside(now, link);
        }
        let Some(outside) = &mut self.links[link].outside else { return };
        let next = if sent + ask > now { sent + ask } else { now + ask };
        let end = heard.map(|heard| heard + idle).filter(|end| up && *end > now);
        outside.wake = end.map_or(next, |end| end.min(next));
        self.agenda.put(outside.wake, Later::Watch { link });
    }

    /// A link that leads out of the fabric came up or went down.
    pub(crate) fn outside_changed(&mut self, link: usize) {
        let Link { outside: Some(outside), up, .. } = &self.links[link] else { return };
        self.outputs.put(Output::Outside { link: LinkId::of(link), up: *up });
        if outside.alive {
            // Who it is: the link may have come up by anything.
            self.work.push_back(Work::Ask(link));
        }
    }

    fn question(&self, at: usize, has_link: bool) -> Packet {
        let mut header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
        header.tid = Tid(has_link.into());
        let mut smp = DirectedSmp {
            header,
            m_key: MKey(0),
            source_lid: Lid::PERMISSIVE,
            dest_lid: Lid::PERMISSIVE,
            data: [0; 64],
            initial_path: [0; 64],
            return_path: [0; 64],
        };
        smp.initial_path[1] = self.ports[at].num.0;
        smp.set_hops(1, 1);
        let payload = smp.to_bytes().as_slice().into();
        self.smp_packet(self.end_of(at), Lid::PERMISSIVE, ServiceLevel::new(0), payload)
    }

    /// True if even reading takes the M_Key.
    fn is_locked(&self, at: usize) -> bool {
        let info = &self.ports[self.ends[self.end_of(at)].port].info;
        info.m_key != MKey(0) && info.m_key_protect >= 2
    }
}

impl Sign {
    fn of(flight: &Flight) -> Self {
        let payload = &flight.packet.payload;
        let Some(Smp::Directed(smp)) =
            Some(payload).filter(|p| p.len() == MAD_LEN).and_then(|p| Smp::parse(p).ok())
        else {
            return Self::Other;
        };
        let Tid(number) = smp.header.tid;
        if smp.header.attribute != AttributeId::NODE_INFO || smp.hop_count() != 1 || number > 1 {
            return Self::Other;
        }
        match (smp.header.method, smp.is_return()) {
            (Method::GET, false) if smp.hop_pointer() == 1 => Self::Question { has_link: number == 1 },
            (Method::GET_RESP, true) if smp.hop_pointer() == 1 => {
                NodeInfo::parse(&smp.data).map_or(Self::Other, |(info, _)| Self::Answer(info))
            }
            _ => Self::Other,
        }
    }
}
