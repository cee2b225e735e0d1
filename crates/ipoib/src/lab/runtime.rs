//! The data loop: one thread carries every packet from the TAP it was read from to the TAP it is for.
//!
//! Whatever has a descriptor wakes the loop: TAPs, what kernels tell of their hosts, signals, and the control
//! thread's bell. Everything else is a deadline of the lab.

use std::{path::Path, sync::mpsc::Receiver, time::Duration};

use anyhow::{Context, Result};
use ib_fabric::topology::{Endpoint, Topology, UdpEnds};
use ib_lab::{InterfaceId, Lab, Output};
use ib_wire::{payload::Pool, time::Instant};

use super::{
    capture::Captures,
    story,
    sysfs::Sysfs,
    udp::{self, UdpLinks},
    umad::{self, Umad},
};
use crate::{
    attach::{self, Attach, AttachConfig, FromDriver, Heard},
    control::{Request, schema::CounterRow},
    face::{self, Face, Faces, Spoke, Told},
    os::{
        clock,
        poller::{Interest, Poller, Ready},
        priority::{Carrier, Priority},
        signals::{Signal, Signals},
        space::{HostSpace, drop_together},
        wake::Waker,
    },
};

/// Buffers kept for packets when none is under way: a burst of one host's.
const POOL: usize = 128;

/// The running lab.
pub(super) struct Runtime {
    pub(super) lab: Lab,
    pub(super) faces: Faces,
    pub(super) spaces: Vec<HostSpace>,
    pub(super) captures: Captures,
    /// Drivers that are processes of their own; none until [`Runtime::serve_drivers`].
    pub(super) attach: Option<Attach>,
    /// Programs that speak MADs; none until [`Runtime::serve_programs`].
    umad: Option<Umad>,
    /// Ports that lead out of the fabric.
    pub(super) udp: UdpLinks,
    /// What the nodes see of their adapters.
    pub(super) sysfs: Sysfs,
    pub(super) requests: Receiver<Request>,
    poller: Poller,
    signals: Signals,
    bell: Waker,
    pool: Pool,
    ready: Vec<Ready>,
    /// Frames taken from one TAP before the next has its turn.
    burst: usize,
    /// Turns of the loop.
    turns: u64,
    priority: Priority,
}

/// What a turn of the loop leaves to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// When it began, after the waiting.
    pub(super) now: Instant,
    /// SIGINT or SIGTERM came, or a client asked for the end.
    pub(super) stop: bool,
    /// A child process changed its state.
    pub(super) child: bool,
    /// Requests wait, or answers of drivers to questions.
    pub(super) requests: bool,
}

impl Turn {
    /// True if more came than packets.
    pub(super) const fn is_news(&self) -> bool {
        self.stop || self.child || self.requests
    }
}

mod token {
    pub(super) const SIGNALS: u64 = 0;
    pub(super) const BELL: u64 = 1;
    /// Those of the faces.
    pub(super) const FACES: u64 = 2;
}

impl Runtime {
    /// Everything in place; interfaces are still down.
    pub(super) fn new(
        lab: Lab,
        (spaces, faces): (Vec<HostSpace>, Vec<Face>),
        sysfs: Sysfs,
        signals: Signals,
        (bell, requests): (Waker, Receiver<Request>),
        (burst, spin): (usize, Duration),
    ) -> Result<Self> {
        let poller = Poller::new().context("epoll")?.spinning(spin);
        poller.add(&signals, token::SIGNALS, Interest::Read).context("epoll")?;
        poller.add(&bell, token::BELL, Interest::Read).context("epoll")?;
        let faces = Faces::new(faces, &poller, token::FACES)?;
        Ok(Self {
            lab,
            faces,
            spaces,
            captures: Captures::default(),
            attach: None,
            umad: None,
            udp: UdpLinks::default(),
            sysfs,
            requests,
            poller,
            signals,
            bell,
            pool: Pool::new(face::BUFFER, POOL),
            ready: Vec::new(),
            burst,
            turns: 0,
            priority: Priority::of_this_thread(),
        })
    }

    /// Sets all interfaces up, with what their hosts have already told.
    pub(super) fn start(&mut self) -> Result<()> {
        for space in &self.spaces {
            self.sysfs.add(self.lab.fabric(), space.name());
        }
        self.sysfs.flush(self.lab.fabric());
        for i in 0..self.faces.len() {
            self.resync(InterfaceId(i))?;
        }
        self.flush();
        self.udp.send();
        Ok(())
    }

    /// Waits, at most until `limit`, and does what there is to do.
    pub(super) fn turn(&mut self, limit: Option<Instant>) -> Result<Turn> {
        let unread = self.attach.as_ref().is_some_and(Attach::has_unread).then_some(Instant::ZERO);
        let held = self.attach.as_ref().and_then(Attach::poll_timeout);
        let due = [self.lab.poll_timeout(), self.sysfs.poll_timeout(), limit, unread, held];
        self.ready.clear();
        self.ready.extend(self.poller.wait(due.into_iter().flatten().min()).context("epoll")?);
        let now = clock::now();
        self.turns += 1;
        let mut turn = Turn { now, ..Turn::default() };
        for k in 0..self.ready.len() {
            match self.ready[k].token {
                token::SIGNALS => self.take_signals(&mut turn)?,
                token::BELL => turn.requests |= self.bell.drain(),
                attach::FIRST_TOKEN.. => self.hear_driver(now, self.ready[k]),
                udp::FIRST_TOKEN..umad::FIRST_TOKEN => {
                    self.udp.handle(now, self.ready[k], &mut self.lab, &mut self.pool);
                    self.flush();
                }
                umad::FIRST_TOKEN.. => self.hear_program(now, self.ready[k]),
                other => match self.faces.spoke(other) {
                    Some(Spoke::Tap(id)) => self.read_tap(now, id),
                    Some(Spoke::Kernel(id)) => self.read_monitor(now, id)?,
                    None => {}
                },
            }
        }
        let unread = self.attach.as_mut().map(|attach| attach.take_unread(now)).unwrap_or_default();
        unread.into_iter().for_each(|connection| self.read_ring(now, connection));
        turn.requests |= self.attach.as_ref().is_some_and(Attach::has_answers);
        while self.lab.poll_timeout().is_some_and(|at| at <= now) {
            self.lab.handle_timeout(now);
            self.flush();
        }
        if let Some(umad) = &mut self.umad {
            umad.write(&mut self.lab, &self.poller);
        }
        self.udp.send();
        self.sysfs.handle_timeout(now, self.lab.fabric());
        let own = self.faces.take_long().then_some(Carrier::Alone);
        let drivers = self.attach.as_mut().is_some_and(Attach::take_long).then_some(Carrier::Several);
        self.priority.adapt(now, own.or(drivers));
        Ok(turn)
    }

    /// Opens the socket for programs that speak MADs.
    pub(super) fn serve_programs(&mut self, dir: &Path) -> Result<()> {
        self.umad = Some(Umad::start(dir, &self.poller)?);
        Ok(())
    }

    /// What was counted of programs that speak MADs.
    pub(super) fn program_counters(&self) -> Vec<CounterRow> {
        self.umad.as_ref().map(|umad| umad.counters(&self.lab)).unwrap_or_default()
    }

    /// Opens the socket for drivers that are processes of their own.
    pub(super) fn serve_drivers(&mut self, path: &Path, config: AttachConfig) -> Result<()> {
        self.attach = Some(Attach::start(path, config, &self.poller)?);
        Ok(())
    }

    fn hear_driver(&mut self, now: Instant, ready: Ready) {
        let Some(attach) = &mut self.attach else { return };
        let heard = attach.handle(now, ready, &mut self.lab, &self.poller);
        self.flush();
        if let Heard::Ring(connection) = heard {
            self.read_ring(now, connection);
        }
    }

    fn read_ring(&mut self, now: Instant, connection: u32) {
        for _ in 0..self.burst {
            let Some(attach) = &mut self.attach else { return };
            let said = attach.read(now, connection, &mut self.lab, &self.poller, &mut self.pool);
            let Some(said) = said else { return self.flush() };
            match said {
                Ok((client, FromDriver { nth, request })) => {
                    if let Err(error) = self.lab.handle_request(now, client, nth, request) {
                        tracing::debug!(%error, nth, "a driver's wish");
                    }
                }
                Err(error) => tracing::debug!(%error, "a driver's record"),
            }
            self.carry_out();
            if self.attach.as_mut().is_some_and(|attach| attach.hold(now, connection)) {
                return self.flush();
            }
        }
        self.flush();
        if let Some(attach) = &mut self.attach {
            attach.leave_unread(connection);
        }
    }

    fn hear_program(&mut self, now: Instant, ready: Ready) {
        if let Some(umad) = &mut self.umad {
            umad.handle(now, ready, &mut self.lab, &self.poller);
        }
        self.flush();
    }

    /// Does something to the lab and carries out what comes of it.
    pub(super) fn with_lab<T>(&mut self, work: impl FnOnce(&mut Lab, Instant) -> T) -> T {
        let result = work(&mut self.lab, clock::now());
        self.flush();
        self.udp.send();
        result
    }

    /// Binds a port to a UDP socket.
    pub(super) fn bind(
        &mut self,
        port: (&Topology, Endpoint),
        ends: UdpEnds,
        idle: Option<Duration>,
    ) -> Result<()> {
        let result = self.udp.bind(clock::now(), port, ends, idle, &mut self.lab, &self.poller);
        self.with_lab(|_, _| result)
    }

    /// Unbinds a port.
    pub(super) fn unbind(&mut self, port: &str) -> Result<()> {
        let result = self.udp.unbind(clock::now(), port, &mut self.lab, &self.poller);
        self.with_lab(|_, _| result)
    }

    fn take_signals(&mut self, turn: &mut Turn) -> Result<()> {
        while let Some(signal) = self.signals.read().context("signals")? {
            match signal {
                Signal::Interrupt | Signal::Terminate | Signal::HangUp => turn.stop = true,
                Signal::Child => turn.child = true,
            }
        }
        Ok(())
    }

    fn read_tap(&mut self, now: Instant, id: InterfaceId) {
        let most = self.faces.most(id, self.turns, self.burst);
        let mut count = 0;
        while count < most
            && let Some(sent) = self.faces.read(id, &self.poller, &mut self.pool, None, most - count)
        {
            self.lab.handle_host_frame(now, id, sent.payload, sent.offload);
            self.carry_out();
            count += sent.count;
        }
        self.faces.had(id, self.turns, count);
        self.flush();
    }

    fn read_monitor(&mut self, now: Instant, id: InterfaceId) -> Result<()> {
        while let Some(told) = self.faces.hear(id, &self.poller) {
            match told {
                Told::Overrun => self.resync(id)?,
                told => self.tell(now, id, told),
            }
        }
        Ok(())
    }

    fn resync(&mut self, id: InterfaceId) -> Result<()> {
        let now = clock::now();
        self.faces.resync(id)?.into_iter().for_each(|told| self.tell(now, id, told));
        Ok(())
    }

    fn tell(&mut self, now: Instant, id: InterfaceId, told: Told) {
        match told {
            Told::Admin(up) => self.lab.handle_admin(now, id, up),
            Told::Host(event) => self.lab.handle_host(now, id, event),
            Told::Overrun => {}
        }
        self.flush();
    }

    /// Carries out everything that the lab put out.
    fn flush(&mut self) {
        self.carry_out();
        self.sysfs.flush(self.lab.fabric());
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            match output {
                Output::Host { interface, what } => self.faces.carry_out(interface, what, &mut self.pool),
                Output::Client { client, notice } => {
                    if let Some(attach) = &mut self.attach {
                        attach.deliver(client, notice, &self.lab, &mut self.pool);
                    }
                }
                Output::Manager { manager, event } => story::manager(manager, &event),
                Output::Program(incoming) => {
                    if let Some(umad) = &mut self.umad {
                        umad.deliver(&incoming, &self.lab);
                    }
                }
                Output::Port(port) => self.sysfs.port_changed(port),
                Output::Tapped(tapped) => self.captures.offer(tapped),
                Output::Leaves { link, packet } => {
                    self.udp.queue(link, &packet);
                    self.pool.recycle(packet.payload);
                }
                Output::Outside { link, up } => self.udp.changed(link, up, &self.lab),
            }
        }
    }

    /// True once every host may send and sees its port as it is: some hosts' kernels take a moment after the carrier.
    pub(super) fn is_ready(&mut self) -> bool {
        let ready = self.faces.are_ready();
        if ready {
            self.settle_files();
        }
        ready
    }

    /// Waits until the hosts' files are written. While nobody's traffic waits.
    pub(super) fn settle_files(&mut self) {
        self.sysfs.settle(self.lab.fabric());
    }

    /// Takes the hosts down.
    pub(super) fn end(self) {
        self.faces.end();
        drop_together(self.spaces);
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("interfaces", &self.faces.len()).finish_non_exhaustive()
    }
}
