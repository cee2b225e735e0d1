//! The data loop: one thread carries every packet from the TAP it was read from to the TAP it is for.
//!
//! Whatever has a descriptor wakes the loop: TAPs, what kernels tell of their hosts, signals, and the control
//! thread's bell. Everything else is a deadline of the lab.

use std::{os::fd::AsFd, path::Path, sync::mpsc::Receiver, time::Duration};

use anyhow::{Context, Result};
use ib_fabric::topology::Topology;
use ib_lab::{InterfaceId, Lab, Output};
use ib_wire::{payload::Pool, time::Instant};
use ipoib_proto::{CarrierReason, Event};

use super::{
    capture::Captures,
    face::Told,
    frame,
    hosts::Face,
    story,
    sysfs::Sysfs,
    umad::{self, Umad},
};
use crate::{
    control::Request,
    os::{
        clock,
        poller::{Interest, Poller, Ready},
        signals::{Signal, Signals},
        space::{HostSpace, drop_together},
        wake::Waker,
    },
};

/// Buffers kept for frames when none is under way.
const POOL: usize = 64;

/// The running lab.
pub(super) struct Runtime {
    pub(super) lab: Lab,
    pub(super) faces: Vec<Face>,
    pub(super) spaces: Vec<HostSpace>,
    pub(super) captures: Captures,
    /// Programs that speak MADs; none until [`Runtime::serve_programs`].
    umad: Option<Umad>,
    /// What the nodes see of their adapters.
    pub(super) sysfs: Sysfs,
    /// Carrier of every interface, as last told.
    pub(super) carriers: Vec<CarrierReason>,
    pub(super) requests: Receiver<Request>,
    poller: Poller,
    signals: Signals,
    bell: Waker,
    pool: Pool,
    ready: Vec<Ready>,
    /// Frames taken from one TAP before the next has its turn.
    burst: usize,
}

/// What a turn of the loop leaves to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// SIGINT or SIGTERM came, or a client asked for the end.
    pub(super) stop: bool,
    /// A child process changed its state.
    pub(super) child: bool,
    /// Requests wait.
    pub(super) requests: bool,
}

mod token {
    pub(super) const SIGNALS: u64 = 0;
    pub(super) const BELL: u64 = 1;
    /// Interface i: `TAP + 2 * i`, and one more for what the kernel tells.
    pub(super) const TAP: u64 = 2;
}

impl Runtime {
    /// Everything in place; interfaces are still down.
    pub(super) fn new(
        lab: Lab,
        (spaces, faces): (Vec<HostSpace>, Vec<Face>),
        sysfs: Sysfs,
        signals: Signals,
        (bell, requests): (Waker, Receiver<Request>),
        burst: usize,
    ) -> Result<Self> {
        let poller = Poller::new().context("epoll")?;
        poller.add(&signals, token::SIGNALS, Interest::Read).context("epoll")?;
        poller.add(&bell, token::BELL, Interest::Read).context("epoll")?;
        for (i, face) in faces.iter().enumerate() {
            let first = token::TAP + 2 * i as u64;
            poller.add(face.tap.as_fd(), first, Interest::Read).context("epoll")?;
            poller.add(face.monitor.as_fd(), first + 1, Interest::Read).context("epoll")?;
        }
        let carriers = vec![CarrierReason::AdminDown; faces.len()];
        let (captures, pool) = (Captures::default(), Pool::new(frame::BUFFER, POOL));
        Ok(Self {
            lab,
            faces,
            spaces,
            captures,
            umad: None,
            sysfs,
            carriers,
            requests,
            poller,
            signals,
            bell,
            pool,
            ready: Vec::new(),
            burst,
        })
    }

    /// Sets all interfaces up, with what their hosts have already told.
    pub(super) fn start(&mut self) -> Result<()> {
        for space in &self.spaces {
            self.sysfs.add(self.lab.fabric(), space.name());
        }
        self.sysfs.flush(self.lab.fabric());
        for i in 0..self.faces.len() {
            self.resync(i)?;
        }
        self.flush();
        Ok(())
    }

    /// Waits, at most `limit`, and does what there is to do.
    pub(super) fn turn(&mut self, limit: Option<Duration>) -> Result<Turn> {
        let now = clock::now();
        let due = self.lab.poll_timeout().map(|at| at.since(now));
        let files = self.sysfs.poll_timeout().map(|at| at.since(now));
        let timeout = [due, files, limit].into_iter().flatten().min();
        self.ready.clear();
        self.ready.extend(self.poller.wait(timeout).context("epoll")?);
        let now = clock::now();
        let mut turn = Turn::default();
        for k in 0..self.ready.len() {
            match self.ready[k].token {
                token::SIGNALS => self.take_signals(&mut turn)?,
                token::BELL => turn.requests |= self.bell.drain(),
                umad::FIRST_TOKEN.. => self.hear_program(now, self.ready[k]),
                other => {
                    let i = usize::try_from((other - token::TAP) / 2).context("token")?;
                    if other % 2 == token::TAP % 2 {
                        self.read_tap(now, i)
                    } else {
                        self.read_monitor(now, i)?
                    }
                }
            }
        }
        if self.lab.poll_timeout().is_some_and(|at| at <= now) {
            self.lab.handle_timeout(now);
            self.flush();
        }
        if let Some(umad) = &mut self.umad {
            umad.write(&mut self.lab, &self.poller);
        }
        self.sysfs.handle_timeout(now, self.lab.fabric());
        Ok(turn)
    }

    /// Opens the socket for programs that speak MADs.
    pub(super) fn serve_programs(&mut self, dir: &Path, topology: &Topology) -> Result<()> {
        self.umad = Some(Umad::start(dir, topology, &self.lab, &self.poller)?);
        Ok(())
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
        result
    }

    /// Interfaces whose carrier is on.
    pub(super) fn up(&self) -> usize {
        self.carriers.iter().filter(|reason| reason.is_up()).count()
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

    fn read_tap(&mut self, now: Instant, i: usize) {
        for _ in 0..self.burst {
            let mut buffer = self.pool.take();
            let space = std::sync::Arc::get_mut(&mut buffer).map(frame::space);
            let face = &mut self.faces[i];
            match space.map(|space| face.tap.read(space)) {
                Some(Ok(Some(len))) => match frame::received(buffer, len) {
                    Some((payload, offload)) => {
                        self.lab.handle_host_frame(now, face.plan.id, payload, offload);
                        self.flush();
                    }
                    None => face.counters.bad_frame += 1,
                },
                Some(Err(error)) => {
                    tracing::warn!(interface = %face.plan.name, %error, "reading the TAP");
                    let _ = self.poller.remove(face.tap.as_fd());
                    self.pool.give(buffer);
                    return;
                }
                Some(Ok(None)) | None => {
                    self.pool.give(buffer);
                    return;
                }
            }
        }
    }

    fn read_monitor(&mut self, now: Instant, i: usize) -> Result<()> {
        loop {
            match self.faces[i].poll_told() {
                Ok(Some(Told::Overrun)) => self.resync(i)?,
                Ok(Some(told)) => self.tell(now, i, told),
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::warn!(interface = %self.faces[i].plan.name, %error, "listening to the kernel");
                    let _ = self.poller.remove(self.faces[i].monitor.as_fd());
                    return Ok(());
                }
            }
        }
    }

    fn resync(&mut self, i: usize) -> Result<()> {
        let now = clock::now();
        let told = self.faces[i].resync().with_context(|| self.faces[i].plan.name.clone())?;
        told.into_iter().for_each(|told| self.tell(now, i, told));
        Ok(())
    }

    fn tell(&mut self, now: Instant, i: usize, told: Told) {
        let id = InterfaceId(i);
        match told {
            Told::Admin(up) => self.lab.handle_admin(now, id, up),
            Told::Host(event) => self.lab.handle_host(now, id, event),
            Told::Overrun => {}
        }
        self.flush();
    }

    /// Carries out everything that the lab put out.
    fn flush(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            match output {
                Output::ToHost { interface, frame } => {
                    let face = &mut self.faces[interface.0];
                    let head = frame::head(&frame.head, &frame.offload);
                    if face.tap.write(&head, &frame.body).is_err() {
                        face.counters.host_refused += 1;
                    }
                    self.pool.give(frame.body.into_buffer());
                }
                Output::Carrier { interface, on, reason } => {
                    let face = &self.faces[interface.0];
                    if on != self.carriers[interface.0].is_up() {
                        face.set_carrier(on);
                    }
                    self.carriers[interface.0] = reason;
                    story::carrier(self.spaces[face.host].name(), &face.plan.name, on, reason);
                }
                Output::Mtu { interface, mtu } => self.faces[interface.0].set_mtu(mtu),
                Output::ForgetNeighbor { interface, mac, ip } => self.faces[interface.0].forget(mac, ip),
                Output::Interface { interface, event } => self.interface_event(interface, &event),
                Output::Manager { manager, event } => story::manager(manager, &event),
                Output::Program(incoming) => {
                    if let Some(umad) = &mut self.umad {
                        umad.deliver(&incoming, &self.lab);
                    }
                }
                Output::Port(port) => self.sysfs.port_changed(port),
                Output::Tapped(tapped) => self.captures.offer(tapped),
            }
        }
        self.sysfs.flush(self.lab.fabric());
    }

    fn interface_event(&mut self, id: InterfaceId, event: &Event) {
        let face = &mut self.faces[id.0];
        if let Event::AddressChanged { now } = event {
            face.show_address(*now);
        }
        story::interface(self.spaces[face.host].name(), &face.plan.name, event);
    }

    /// True once every host may send and sees its port as it is: some hosts' kernels take a moment after the carrier.
    pub(super) fn is_ready(&mut self) -> bool {
        let ready = self.up() == self.faces.len() && self.faces.iter_mut().all(Face::may_send);
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
    pub(super) fn end(mut self) {
        drop_together(std::mem::take(&mut self.faces));
        drop_together(std::mem::take(&mut self.spaces));
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("interfaces", &self.faces.len()).finish_non_exhaustive()
    }
}
