//! The driver's loop: frames of the host, records of the fabric, news of the kernel.

use std::{collections::VecDeque, io::Write, process::ExitCode};

use anyhow::{Context, Result, bail};
use ib_lab::{DriverOutput, InterfaceId, PortRequest};
use ib_wire::{
    mad::attr::{PhysicalState, PortState},
    payload::Pool,
    time::Instant,
    ud::{PortEvent, PortView},
};

use super::{UpPlan, interfaces::Interfaces, link::Link, state::State};
use crate::{
    attach::{FromFabric, Granted, Hello, Lost, ToDriver, VERSION, Wanted},
    control::schema::Shown,
    face::{self, Spoke, Told},
    os::{
        clock, notify,
        poller::{Interest, Poller, Ready},
        priority::{Carrier, Priority},
        signals::{Signal, Signals},
        tap::MAX_READ,
    },
};

/// Buffers kept for packets when none is under way: a burst of one host's.
const POOL: usize = 128;

mod token {
    pub(super) const SIGNALS: u64 = 0;
    pub(super) const CONNECTION: u64 = 1;
    pub(super) const BELL: u64 = 2;
    pub(super) const FACES: u64 = 4;
}

/// A driver.
pub(super) struct Process {
    plan: UpPlan,
    state: State,
    link: Link,
    interfaces: Option<Interfaces>,
    poller: Poller,
    signals: Signals,
    pool: Pool,
    ready: Vec<Ready>,
    /// Turns of the loop.
    turns: u64,
    priority: Priority,
    /// The ring has more than one turn's.
    unread: bool,
    /// A take-over is asked for once.
    takeover: bool,
    told_ready: bool,
}

/// Why the loop ends.
enum End {
    /// Asked to: interfaces go too.
    Asked,
    /// The port is another's: interfaces stay.
    Replaced(String),
}

impl Process {
    pub(super) fn new(plan: UpPlan, signals: Signals) -> Result<Self> {
        let poller = Poller::new().context("epoll")?.spinning(plan.spin);
        poller.add(&signals, token::SIGNALS, Interest::Read).context("epoll")?;
        let state = State::open(&plan);
        let link = Link::new(plan.socket.clone(), clock::now());
        Ok(Self {
            state,
            link,
            interfaces: None,
            poller,
            signals,
            pool: Pool::new(face::BUFFER, POOL),
            ready: Vec::new(),
            turns: 0,
            priority: Priority::of_this_thread(),
            unread: false,
            takeover: plan.takeover,
            told_ready: false,
            plan,
        })
    }

    /// Turns the loop until it is to end.
    pub(super) fn serve(mut self) -> Result<ExitCode> {
        let name = self.plan.port_name();
        match self.turn_until_end()? {
            End::Asked => {
                notify::tell("STOPPING=1");
                self.leave();
            }
            End::Replaced(why) => eprintln!("ipoib: {}: {name}: {why}", self.plan.interface),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn turn_until_end(&mut self) -> Result<End> {
        loop {
            if let Some(end) = self.turn()? {
                return Ok(end);
            }
        }
    }

    /// Waits, and does what there is to do.
    fn turn(&mut self) -> Result<Option<End>> {
        let engines = self.interfaces.as_ref().and_then(|i| i.engines.poll_timeout());
        let unread = self.unread.then_some(Instant::ZERO);
        let due = [engines, self.link.poll_timeout(), unread].into_iter().flatten().min();
        self.ready.clear();
        self.ready.extend(self.poller.wait(due).context("epoll")?);
        let now = clock::now();
        self.turns += 1;
        for k in 0..self.ready.len() {
            let end = match self.ready[k].token {
                token::SIGNALS => self.take_signals()?,
                token::CONNECTION => self.hear_connection(now)?,
                token::BELL => self.hear_bell(now, self.ready[k].error)?,
                other => self.hear_face(now, other)?,
            };
            if end.is_some() {
                return Ok(end);
            }
        }
        if self.unread
            && let Some(end) = self.read_ring(now)?
        {
            return Ok(Some(end));
        }
        if self.link.is_due(now) {
            self.ask(now)?;
        }
        if let Some(interfaces) = &mut self.interfaces
            && interfaces.engines.poll_timeout().is_some_and(|at| at <= now)
        {
            interfaces.engines.handle_timeout(now);
        }
        let end = self.flush(now)?;
        if let Some(interfaces) = &mut self.interfaces {
            self.priority.adapt(now, interfaces.faces.take_long().then_some(Carrier::Several));
        }
        if let Some(port) = self.link.port() {
            port.let_go();
        }
        Ok(end)
    }

    fn take_signals(&mut self) -> Result<Option<End>> {
        let mut end = None;
        while let Some(signal) = self.signals.read().context("signals")? {
            if signal != Signal::Child {
                end = Some(End::Asked);
            }
        }
        Ok(end)
    }

    /// Asks the fabric for the port.
    fn ask(&mut self, now: Instant) -> Result<()> {
        let names = self.plan.names().into_iter().enumerate();
        let hello = Hello {
            version: VERSION,
            node: self.plan.node.clone(),
            port: self.plan.port,
            pid: std::process::id(),
            token: self.state.token(),
            takeover: self.takeover,
            interfaces: names.map(|(nth, name)| Wanted { name, qpn: self.state.qpn(nth) }).collect(),
        };
        match self.link.ask(now, &hello) {
            Ok(()) => self.listen_to_connection(),
            Err(error) if self.interfaces.is_some() || self.plan.wait => {
                tracing::debug!(%error, "the fabric cannot be reached");
                Ok(())
            }
            Err(error) => Err(error).with_context(|| {
                let (fabric, place) = (&self.plan.fabric, self.plan.socket.display());
                format!("no fabric {fabric} at {place}: start it with `ipoib fabric run`, or give --wait")
            }),
        }
    }

    fn listen_to_connection(&self) -> Result<()> {
        let Some(connection) = self.link.connection() else { return Ok(()) };
        self.poller.add(connection, token::CONNECTION, Interest::Read).context("epoll")
    }

    /// The fabric says something beside the ring.
    fn hear_connection(&mut self, now: Instant) -> Result<Option<End>> {
        match self.link.hear(now) {
            Ok(Some(granted)) => {
                self.attached(&granted)?;
                // What was written before we listened rang no bell.
                if let Some(end) = self.read_ring(now)? {
                    return Ok(Some(end));
                }
            }
            Ok(None) => {}
            Err(lost) => return self.lost(now, lost),
        }
        while let Some(port) = self.link.port() {
            match port.listen() {
                Ok(Some(ToDriver::Show { id, noun })) => {
                    let Some(Interfaces { engines, faces, .. }) = &self.interfaces else { continue };
                    let mut shown = face::rows(noun, faces.iter().zip(engines.interfaces()));
                    if let Shown::Hosts(rows) = &mut shown {
                        rows.iter_mut().for_each(|row| row.driver = Some(std::process::id()));
                    }
                    if let Err(error) = port.answer(id, &shown) {
                        tracing::warn!(%error, "a question cannot be answered");
                    }
                }
                Ok(Some(ToDriver::Leave { why })) => return Ok(Some(End::Replaced(why))),
                Ok(None) => return Ok(None),
                Err(lost) => return self.lost(now, lost),
            }
        }
        Ok(None)
    }

    /// The port is ours.
    fn attached(&mut self, granted: &Granted) -> Result<()> {
        if granted.qpns.len() != 1 + self.plan.children.len() {
            bail!("the fabric makes no sense: {} queue pairs for its interfaces", granted.qpns.len());
        }
        self.takeover = false;
        if self.state.remember(granted)? {
            // Other queue pairs are another address: the interfaces begin anew.
            self.interfaces = None;
        }
        if let Some(interfaces) = &mut self.interfaces {
            // This fabric has not heard of any.
            interfaces.told_up = 0;
        }
        if let Some(port) = self.link.port() {
            self.poller.add(port.bell(), token::BELL, Interest::New).context("epoll")?;
        }
        tracing::info!(port = self.plan.port_name(), "attached");
        notify::tell(&format!("STATUS=attached to {}", self.plan.port_name()));
        Ok(())
    }

    /// The port is gone, for a while or for ever.
    fn lost(&mut self, now: Instant, lost: Lost) -> Result<Option<End>> {
        match lost {
            Lost::Refused { why, again: false } => bail!("{}: {why}", self.plan.port_name()),
            lost => {
                tracing::warn!(port = self.plan.port_name(), "{lost}: looking for it again");
                notify::tell("STATUS=without a fabric");
            }
        }
        self.link.lose(now);
        if let Some(interfaces) = &mut self.interfaces {
            interfaces.backlog.clear();
            let view = PortView {
                state: PortState::DOWN,
                physical_state: PhysicalState::DISABLED,
                ..interfaces.view.clone()
            };
            interfaces.engines.handle_port(now, PortEvent::Down, &view);
        }
        self.flush(now)
    }

    /// The fabric has written to the ring, or made room.
    fn hear_bell(&mut self, now: Instant, hung_up: bool) -> Result<Option<End>> {
        if self.link.port().is_some_and(|port| !port.bell().hear(hung_up)) {
            // It may have said why.
            let end = self.hear_connection(now)?;
            return if end.is_some() || self.link.port().is_none() {
                Ok(end)
            } else {
                self.lost(now, Lost::Gone)
            };
        }
        self.read_ring(now)
    }

    /// Takes what the fabric has written, as much as is one turn's.
    fn read_ring(&mut self, now: Instant) -> Result<Option<End>> {
        self.unread = false;
        for _ in 0..self.plan.tx_ring_size {
            let Some(port) = self.link.port() else { return Ok(None) };
            match port.read(&mut self.pool) {
                Ok(Some(said)) => self.take(now, said)?,
                Ok(None) => return self.flush(now),
                Err(lost) => return self.lost(now, lost),
            }
            if let Some(end) = self.flush(now)? {
                return Ok(Some(end));
            }
        }
        self.unread = true;
        Ok(None)
    }

    fn take(&mut self, now: Instant, said: FromFabric) -> Result<()> {
        match (said, &mut self.interfaces) {
            (FromFabric::Received { nth, datagram }, Some(Interfaces { engines, .. })) => {
                if nth < engines.interfaces().len() {
                    engines.handle_datagram(now, InterfaceId(nth), datagram);
                }
            }
            (FromFabric::Mad { nth, from, mad }, Some(Interfaces { engines, .. })) => {
                if nth < engines.interfaces().len() {
                    engines.handle_mad(now, InterfaceId(nth), from, &mad);
                }
            }
            (FromFabric::Port { event, view }, Some(interfaces)) => {
                if view.guid != interfaces.view.guid {
                    bail!(
                        "{}: its GUID is {} now and was {}: start the driver anew for another adapter",
                        self.plan.port_name(),
                        view.guid,
                        interfaces.view.guid
                    );
                }
                interfaces.engines.handle_port(now, event, &view);
                interfaces.view = view;
            }
            (FromFabric::Port { view, .. }, None) => {
                let made = Interfaces::make(now, &self.plan, &self.state, view, &self.poller, token::FACES)?;
                let count = made.faces.len();
                self.interfaces = Some(made);
                (0..count).try_for_each(|nth| self.resync(now, InterfaceId(nth)))?;
            }
            // Meant for interfaces that are made when the port is known.
            (FromFabric::Received { .. } | FromFabric::Mad { .. }, None) => {}
        }
        Ok(())
    }

    fn hear_face(&mut self, now: Instant, number: u64) -> Result<Option<End>> {
        let spoke = self.interfaces.as_ref().and_then(|i| i.faces.spoke(number));
        match spoke {
            Some(Spoke::Tap(id)) => self.read_tap(now, id),
            Some(Spoke::Kernel(id)) => {
                self.read_monitor(now, id)?;
                self.flush(now)
            }
            None => Ok(None),
        }
    }

    fn read_tap(&mut self, now: Instant, id: InterfaceId) -> Result<Option<End>> {
        let burst = self.plan.tx_ring_size.into();
        let most = self.interfaces.as_ref().map_or(0, |i| i.faces.most(id, self.turns, burst));
        let mut count = 0;
        while count < most {
            let goes_on = |i: &&mut Interfaces| i.listens || i.faces.has_read(id);
            let Some(interfaces) = self.interfaces.as_mut().filter(goes_on) else { break };
            // Long frames are read to where the fabric reads them.
            let port = self.link.port().filter(|_| interfaces.faces.sends_long(id));
            let space = match port.map(|port| port.space(face::BEFORE_IP, MAX_READ)).transpose() {
                Ok(space) => space.flatten(),
                Err(lost) => return self.lost(now, lost),
            };
            let sent = interfaces.faces.read(id, &self.poller, &mut self.pool, space, most - count);
            let Some(sent) = sent else { break };
            interfaces.engines.handle_host_frame(now, id, sent.payload, sent.offload);
            if let Some(end) = self.flush(now)? {
                return Ok(Some(end));
            }
            count += sent.count;
        }
        if let Some(interfaces) = &mut self.interfaces {
            interfaces.faces.had(id, self.turns, count);
        }
        Ok(None)
    }

    fn read_monitor(&mut self, now: Instant, id: InterfaceId) -> Result<()> {
        while let Some(interfaces) = &mut self.interfaces
            && let Some(told) = interfaces.faces.hear(id, &self.poller)
        {
            match told {
                Told::Overrun => self.resync(now, id)?,
                told => interfaces.tell(now, id, told),
            }
        }
        Ok(())
    }

    fn resync(&mut self, now: Instant, id: InterfaceId) -> Result<()> {
        let Some(interfaces) = &mut self.interfaces else { return Ok(()) };
        for told in interfaces.faces.resync(id)? {
            interfaces.tell(now, id, told);
        }
        Ok(())
    }

    /// Carries out what the engines put out, as far as there is room.
    fn flush(&mut self, now: Instant) -> Result<Option<End>> {
        let Some(interfaces) = &mut self.interfaces else { return Ok(None) };
        let Interfaces { engines, faces, backlog, listens, told_up, .. } = interfaces;
        while let Some(output) = engines.poll_output() {
            match output {
                DriverOutput::Host { interface, what } => faces.carry_out(interface, what, &mut self.pool),
                DriverOutput::Port { interface, request } => backlog.push_back((interface, request)),
            }
        }
        let Some(port) = self.link.port() else {
            // Without a port what is for it is lost, as on a port without a link.
            backlog.clear();
            if !std::mem::replace(listens, true) {
                faces.listen(&self.poller, true)?;
            }
            return Ok(None);
        };
        let has_room = match send(port, backlog, &mut self.pool) {
            Ok(has_room) => has_room,
            Err(lost) => return self.lost(now, lost),
        };
        if has_room != *listens {
            *listens = has_room;
            faces.listen(&self.poller, has_room)?;
        }
        let up = faces.sending();
        if up != *told_up {
            *told_up = up;
            port.tell_up(up);
        }
        if !self.told_ready && up > 0 {
            self.told_ready = true;
            notify::tell("READY=1");
            if self.plan.verbosity > 0 {
                let (name, port) = (&self.plan.interface, self.plan.port_name());
                let line = format!("ipoib: {name} is up on {port}: {}\n", engines.interfaces()[0].hw_addr());
                // In one piece: others may share our standard error.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
        Ok(None)
    }

    /// Leaves the groups, the port and the host.
    fn leave(mut self) {
        let now = clock::now();
        if let Some(Interfaces { engines, .. }) = &mut self.interfaces {
            (0..engines.interfaces().len())
                .for_each(|nth| engines.handle_admin(now, InterfaceId(nth), false));
        }
        // The fabric reads to the end what was written before we go.
        let _ = self.flush(now);
        if let Some(Interfaces { faces, .. }) = self.interfaces {
            faces.release();
            faces.end();
        }
    }
}

/// Writes what waits. True if there is room for more.
fn send(
    port: &mut crate::attach::Port,
    backlog: &mut VecDeque<(InterfaceId, PortRequest)>,
    pool: &mut Pool,
) -> Result<bool, Lost> {
    while let Some((id, request)) = backlog.pop_front() {
        if !port.write(id.0, &request)? {
            backlog.push_front((id, request));
            return Ok(false);
        }
        if let PortRequest::Send(send) = request {
            pool.recycle(send.payload);
        }
    }
    port.has_room()
}
