//! A lab in virtual time: the clock jumps from deadline to deadline, so an hour of waiting costs nothing.
//!
//! Every parent interface gets a [`VirtualHost`] with an IPv4 address. What happens is written to a log; the
//! same configuration and the same calls give the same log.

use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use core::{net::Ipv4Addr, time::Duration};

use ib_fabric::LinkId;
use ib_wire::{offload::Offload, packet::Packet, time::Instant};
use ipoib_proto::HostEvent;

use crate::{Incoming, InterfaceId, Lab, LabConfig, LabError, Output, ToHost, VirtualHost, timers::Timers};

/// A lab, its hosts, and the time it is there.
#[derive(Debug)]
pub struct Simulation {
    lab: Lab,
    now: Instant,
    hosts: Vec<Option<VirtualHost>>,
    timers: Timers,
    log: Vec<String>,
    frames: FrameDigest,
    programs: VecDeque<Incoming>,
    leaving: VecDeque<(LinkId, Packet)>,
}

/// A running hash over all frames that reached hosts: cheap, and enough to tell two runs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameDigest(u64);

impl FrameDigest {
    /// FNV-1a, of each frame a sum of words, each times a number of its place: they do not wait for each other.
    fn add(&mut self, head: &[u8; 14], body: &[u8]) {
        let (mut sum, mut place) = (body.len() as u64, ODD);
        let mut take = |word: u64| {
            sum = sum.wrapping_add((word ^ place).wrapping_mul(place));
            place = place.wrapping_add(ODD << 1);
        };
        let (words, rest) = body.as_chunks::<8>();
        let [first, second] = [0, 6].map(|at| u64::from_le_bytes(*head[at..].first_chunk().expect("of 14")));
        [first, second].into_iter().for_each(&mut take);
        words.iter().for_each(|word| take(u64::from_le_bytes(*word)));
        take(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        self.0 = (self.0 ^ sum).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}

/// Any odd number whose bits look like chance.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Simulation {
    /// Switches the lab on at time zero; every interface is set up.
    pub fn new(config: LabConfig) -> Result<Self, LabError> {
        let lab = Lab::new(config, Instant::ZERO)?;
        let hosts = lab.interfaces().map(|(id, attached)| {
            (!attached.name.contains('.')).then(|| VirtualHost::new(attached.engine.mac(), Self::address(id)))
        });
        let hosts = hosts.collect();
        let digest = FrameDigest(0xcbf2_9ce4_8422_2325);
        let mut simulation = Self {
            lab,
            now: Instant::ZERO,
            hosts,
            timers: Timers::default(),
            log: Vec::new(),
            frames: digest,
            programs: VecDeque::new(),
            leaving: VecDeque::new(),
        };
        let ids: Vec<InterfaceId> = simulation.lab.interfaces().map(|(id, _)| id).collect();
        for id in ids {
            simulation.lab.handle_admin(Instant::ZERO, id, true);
            if let Some(host) = &simulation.hosts[id.0] {
                simulation.lab.handle_host(Instant::ZERO, id, HostEvent::AddressAdded(host.ip().into()));
            }
        }
        simulation.settle();
        Ok(simulation)
    }

    /// The IPv4 address of an interface: 10.0.0.1 for the first.
    pub fn address(id: InterfaceId) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(id.0).unwrap_or(0x00ff_fffe).min(0x00ff_fffe))
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, at most `limit`; true if `done`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    /// Sends one ping from the host of `from` to that of `to`, after resolving it if need be.
    pub fn ping(&mut self, from: InterfaceId, to: InterfaceId) {
        let (now, peer) = (self.now, Self::address(to));
        if let Some(host) = &mut self.hosts[from.0] {
            host.ping(now, peer);
        }
        self.run_host(from);
        self.settle();
    }

    /// Does something to the lab at this moment and carries on what comes of it.
    pub fn with_lab<T>(&mut self, work: impl FnOnce(&mut Lab, Instant) -> T) -> T {
        let result = work(&mut self.lab, self.now);
        self.settle();
        result
    }

    /// The next MAD for a program's agent.
    pub fn poll_program(&mut self) -> Option<Incoming> {
        self.programs.pop_front()
    }

    /// The next packet that leaves the fabric.
    pub fn poll_leaving(&mut self) -> Option<(LinkId, Packet)> {
        self.leaving.pop_front()
    }

    /// The time it is.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The lab, to look at.
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The host behind a parent interface.
    pub fn host(&self, id: InterfaceId) -> Option<&VirtualHost> {
        self.hosts.get(id.0)?.as_ref()
    }

    /// Interfaces whose carrier is on.
    pub fn up(&self) -> usize {
        self.lab.interfaces().filter(|(_, attached)| attached.engine.carrier().is_up()).count()
    }

    /// What happened, a line an event, ending with a digest of all frames that reached hosts.
    pub fn log(&self) -> impl Iterator<Item = String> + '_ {
        self.log.iter().cloned().chain([format!("{} frames {:016x}", self.now, self.frames.0)])
    }

    /// Goes on to the next deadline, if there is one by `end`.
    fn step(&mut self, end: Instant) -> bool {
        let next = [self.lab.poll_timeout(), self.timers.peek()].into_iter().flatten().min();
        let Some(next) = next.filter(|at| *at <= end) else { return false };
        self.now = self.now.max(next);
        self.lab.handle_timeout(self.now);
        self.settle();
        while let Some(i) = self.timers.expire(self.now) {
            if let Some(host) = &mut self.hosts[i] {
                host.handle_timeout(self.now);
            }
            self.run_host(InterfaceId(i));
            self.settle();
        }
        true
    }

    fn settle(&mut self) {
        loop {
            match self.lab.poll_output() {
                None => return,
                Some(Output::Host { interface, what }) => self.tell_host(interface, &what),
                Some(Output::Manager { manager, event }) => {
                    self.log.push(format!("{} sm{manager} {event:?}", self.now));
                }
                Some(Output::Program(incoming)) => self.programs.push_back(incoming),
                Some(Output::Leaves { link, packet }) => self.leaving.push_back((link, packet)),
                Some(Output::Outside { link, up }) => {
                    let word = if up { "up" } else { "down" };
                    self.log.push(format!("{} {link:?} outside {word}", self.now));
                }
                Some(Output::Client { .. } | Output::Port(_) | Output::Tapped(_)) => {}
            }
        }
    }

    fn tell_host(&mut self, interface: InterfaceId, what: &ToHost) {
        match what {
            ToHost::Frame(frame) => {
                self.frames.add(&frame.head, &frame.body);
                if let Some(host) = &mut self.hosts[interface.0] {
                    host.handle_frame(self.now, &frame.head, &frame.body);
                }
                self.run_host(interface);
            }
            ToHost::Carrier { on, reason } => {
                let word = if *on { "on" } else { "off" };
                self.note(interface, format_args!("carrier {word}: {}", reason.code()));
            }
            ToHost::Event(event) => self.note(interface, format_args!("{event:?}")),
            ToHost::Mtu(_) | ToHost::ForgetNeighbor { .. } => {}
        }
    }

    fn run_host(&mut self, id: InterfaceId) {
        while let Some(frame) = self.hosts[id.0].as_mut().and_then(VirtualHost::poll_frame) {
            self.lab.handle_host_frame(self.now, id, frame, Offload::NONE);
        }
        self.timers.set(id.0, self.hosts[id.0].as_ref().and_then(VirtualHost::poll_timeout));
    }

    fn note(&mut self, id: InterfaceId, what: core::fmt::Arguments<'_>) {
        let attached = self.lab.interface(id);
        self.log.push(format!("{} {}/{} {what}", self.now, attached.host, attached.name));
    }
}
