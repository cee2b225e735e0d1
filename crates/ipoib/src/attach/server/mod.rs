//! The fabric's side: who has which port (`admit`), what goes to and fro, who waits for whom (`hold`), and what there is
//! to show of it (`rows`).
//!
//! Every driver has rings, a bell and a queue of its own. One that writes nonsense is nobody else's concern, and one that
//! is stopped only for a moment: what does not fit its ring is dropped and counted.

mod admit;
mod hold;
mod rows;

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{Read, Seek},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use ib_fabric::PortId;
use ib_lab::{ClientId, Lab, PortNotice};
use ib_wire::{
    mad::attr::PortState,
    payload::{Payload, Pool},
    time::Instant,
    ud::PortEvent,
};

use self::hold::Holds;
use super::{
    hello::{MAX_INTERFACES, MAX_MESSAGE, ToDriver, ToFabric, Token, emit, read},
    record::{self, BadRecord, FromDriver, LONGEST},
};
use crate::{
    control::schema::{Noun, Shown},
    face::LONG,
    os::{
        bell::Bell,
        local::{Listener, Packets},
        poller::{Interest, Poller, Ready},
        ring::Rings,
    },
};

/// Tokens of the poller from here on are ours.
pub(crate) const FIRST_TOKEN: u64 = 1 << 48;
/// Connections at one time.
const MAX_CONNECTIONS: usize = 1 << 14;
/// What is taken of one connection before others have their turn, in messages.
const BURST: usize = 16;
/// Questions a driver may owe answers to; of more, it has forgotten the first.
const MAX_OWED: usize = 16;
/// Longest answer to a question, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// What the attach socket is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachConfig {
    /// Who may connect: the socket's file mode.
    pub mode: u32,
    /// Bytes of each ring: a power of two.
    pub ring: u32,
    /// How long senders wait for a driver whose ring is almost full.
    pub wait: Duration,
}

impl Default for AttachConfig {
    fn default() -> Self {
        Self { mode: 0o600, ring: 1 << 20, wait: Duration::from_millis(10) }
    }
}

/// All drivers of a fabric that are processes of their own.
#[derive(Debug)]
pub(crate) struct Attach {
    listener: Listener,
    config: AttachConfig,
    connections: BTreeMap<u32, Connection>,
    last: u32,
    clients: BTreeMap<ClientId, u32>,
    /// Who has had which port.
    identities: BTreeMap<PortId, Identity>,
    /// Connections whose rings have not been read to the end.
    unread: Vec<u32>,
    holds: Holds,
    /// A long record has been read since that was asked last.
    long: bool,
    answers: Vec<Answer>,
    /// Space for the partition table of a port.
    keys: Vec<u8>,
}

/// Whose a port is, as long as the fabric runs.
#[derive(Debug)]
struct Identity {
    token: Token,
    qpns: Vec<u32>,
    /// `h1`, and the names of its interfaces.
    node: String,
    interfaces: Vec<String>,
    counters: Counters,
}

/// What happens between a fabric and the driver of one port.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Counters {
    /// Times a driver has got the port.
    attached: u64,
    /// Datagrams, MADs and commands of the driver.
    from_driver: u64,
    /// Datagrams and MADs for the driver.
    to_driver: u64,
    /// Times that a sender waited for room in the driver's ring.
    waited_for_driver: u64,
    #[serde(skip)]
    drops: Drops,
}

impl Counters {
    /// Counts a record that was read.
    fn read(&mut self, record: Result<FromDriver, BadRecord>) -> Result<FromDriver, BadRecord> {
        match record {
            Ok(_) => self.from_driver += 1,
            Err(_) => self.drops.driver_bad_record += 1,
        }
        record
    }
}

/// What is lost between them.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
struct Drops {
    /// For the driver, and its ring was full: it is stopped, or too slow.
    driver_ring_full: u64,
    /// Of the driver, and made no sense.
    driver_bad_record: u64,
}

/// A connection, and the port that it has.
#[derive(Debug)]
struct Connection {
    packets: Packets,
    driver: Option<Driver>,
}

/// A driver that has a port.
#[derive(Debug)]
struct Driver {
    client: ClientId,
    port: PortId,
    pid: u32,
    rings: Rings,
    bell: Bell,
    /// Nobody waits for room in its ring until so many bytes have been written there: it took too long once.
    too_slow_until: u64,
    /// Changes of the port that it has not been told, as bits by their codes.
    untold: u8,
    /// Its interfaces that carry traffic.
    up: usize,
    /// Questions it has not answered.
    owed: VecDeque<u64>,
}

/// What a driver said to a question.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The number of the question.
    pub(crate) id: u64,
    /// The driver.
    pub(crate) client: ClientId,
    /// Rows; none if it went away instead.
    pub(crate) shown: Option<Shown>,
}

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that concerns the lab.
    Nothing,
    /// This connection's ring has something: take it with [`Attach::read`].
    Ring(u32),
}

impl Attach {
    /// Makes the socket at `path`.
    pub(crate) fn start(path: &Path, config: AttachConfig, poller: &Poller) -> Result<Self> {
        let listener = Listener::bind_for(path, config.mode).with_context(|| path.display().to_string())?;
        poller.add(&listener, FIRST_TOKEN, Interest::Read).context("epoll")?;
        Ok(Self {
            listener,
            config,
            connections: BTreeMap::new(),
            last: 0,
            clients: BTreeMap::new(),
            identities: BTreeMap::new(),
            unread: Vec::new(),
            holds: Holds::default(),
            long: false,
            answers: Vec::new(),
            keys: Vec::new(),
        })
    }

    /// Something is ready. The lab's outputs are then to be taken.
    pub(crate) fn handle(&mut self, now: Instant, ready: Ready, lab: &mut Lab, poller: &Poller) -> Heard {
        let Some(number) = ready.token.checked_sub(FIRST_TOKEN).filter(|number| *number > 0) else {
            self.accept(poller);
            return Heard::Nothing;
        };
        let Ok(id) = u32::try_from(number / 2) else { return Heard::Nothing };
        if number % 2 == 0 {
            self.listen(now, id, lab, poller);
            return Heard::Nothing;
        }
        if self.driver(id).is_some_and(|driver| !driver.bell.hear(ready.error)) {
            self.close(now, id, lab, poller);
            return Heard::Nothing;
        }
        self.tell_port(id, lab);
        self.end_holds_for(id);
        Heard::Ring(id)
    }

    /// The next thing that the driver of a connection wants, in a buffer of the pool's. What makes no sense is counted,
    /// and takes its turn as all else.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        id: u32,
        lab: &mut Lab,
        poller: &Poller,
        pool: &mut Pool,
    ) -> Option<Result<(ClientId, FromDriver), BadRecord>> {
        if self.holds.has(id) {
            return None;
        }
        self.holds.begin();
        loop {
            let driver = self.connections.get_mut(&id)?.driver.as_mut()?;
            let counters = &mut self.identities.get_mut(&driver.port)?.counters;
            // Long ones are handed on where they lie, and looked at by nobody.
            if let Ok(Some(loan)) = driver.rings.reader.lend(LONG, LONGEST) {
                self.long = true;
                let record = record::from_driver(&Payload::from_lent(Arc::new(loan)));
                return Some(counters.read(record).map(|record| (driver.client, record)));
            }
            let mut buffer = pool.take();
            match Arc::get_mut(&mut buffer).map(|space| driver.rings.reader.read(space)) {
                Some(Ok(Some(len))) => {
                    let whole = Payload::from_buffer(buffer, 0, len);
                    let record = record::from_driver(&whole);
                    // A datagram has it as long as it lives.
                    pool.recycle(whole);
                    return Some(counters.read(record).map(|record| (driver.client, record)));
                }
                Some(Ok(None)) | None => {
                    pool.give(buffer);
                    if driver.rings.reader.sleeps() {
                        return None;
                    }
                }
                Some(Err(error)) => {
                    pool.give(buffer);
                    tracing::warn!(pid = driver.pid, "a driver is cut off: {error}");
                    self.close(now, id, lab, poller);
                    return None;
                }
            }
        }
    }

    /// True if a long record has been read since this was asked last.
    pub(crate) const fn take_long(&mut self) -> bool {
        std::mem::replace(&mut self.long, false)
    }

    /// More is to be read of a connection than its turn allows.
    pub(crate) fn leave_unread(&mut self, id: u32) {
        self.unread.push(id);
    }

    /// Connections that have not been read to the end, and wait for nobody.
    pub(crate) fn take_unread(&mut self, now: Instant) -> Vec<u32> {
        self.handle_timeout(now);
        std::mem::take(&mut self.unread)
    }

    /// True if there are any.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Gives a driver what its port has for it. Buffers go to the pool.
    pub(crate) fn deliver(&mut self, client: ClientId, notice: PortNotice, lab: &Lab, pool: &mut Pool) {
        let Some(id) = self.clients.get(&client).copied() else { return };
        if let PortNotice::Port(event) = notice {
            if let Some(driver) = self.driver(id) {
                driver.untold |= 1 << record::event_code(event);
            }
            return self.tell_port(id, lab);
        }
        let Some(driver) = self.connections.get_mut(&id).and_then(|c| c.driver.as_mut()) else { return };
        let Some(identity) = self.identities.get_mut(&driver.port) else { return };
        let Some(pieces) = record::of_notice(&notice) else { return };
        let counter = match driver.rings.writer.write(&pieces.slices()) {
            Ok(true) => &mut identity.counters.to_driver,
            // A ring that is broken is found out when it is read.
            Ok(false) | Err(_) => &mut identity.counters.drops.driver_ring_full,
        };
        *counter += 1;
        if driver.is_to_be_waited_for() {
            self.holds.wait_for(id);
        }
        if let PortNotice::Received { datagram, .. } = notice {
            pool.recycle(datagram.payload);
        }
    }

    /// Asks all drivers what they have to show; whom it asked.
    pub(crate) fn ask(&mut self, id: u64, noun: Noun) -> Vec<ClientId> {
        let question = emit(&ToDriver::Show { id, noun });
        let mut asked = Vec::new();
        for connection in self.connections.values_mut() {
            let Some(driver) = &mut connection.driver else { continue };
            if connection.packets.send(&question, &[]).is_ok() {
                driver.owed.push_back(id);
                if driver.owed.len() > MAX_OWED {
                    driver.owed.pop_front();
                }
                asked.push(driver.client);
            }
        }
        asked
    }

    /// True if answers have come.
    pub(crate) const fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Answers that have come.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Interfaces of drivers that carry traffic.
    pub(crate) fn up(&self) -> usize {
        self.connections.values().filter_map(|c| c.driver.as_ref()).map(|driver| driver.up).sum()
    }

    fn driver(&mut self, id: u32) -> Option<&mut Driver> {
        self.connections.get_mut(&id)?.driver.as_mut()
    }

    fn accept(&mut self, poller: &Poller) {
        loop {
            match self.listener.accept() {
                Ok(Some(_)) if self.connections.len() >= MAX_CONNECTIONS => {
                    tracing::warn!(MAX_CONNECTIONS, "a driver is turned away: too many connections");
                }
                Ok(Some(packets)) => {
                    self.last += 1;
                    let token = FIRST_TOKEN + 2 * u64::from(self.last);
                    match poller.add(&packets, token, Interest::Read) {
                        Ok(()) => {
                            drop(self.connections.insert(self.last, Connection { packets, driver: None }))
                        }
                        Err(error) => tracing::warn!(%error, "epoll"),
                    }
                }
                Ok(None) => return,
                Err(error) => return tracing::warn!(%error, "a driver cannot connect"),
            }
        }
    }

    /// Takes what a connection says.
    fn listen(&mut self, now: Instant, id: u32, lab: &mut Lab, poller: &Poller) {
        let mut space = vec![0; MAX_MESSAGE];
        for _ in 0..BURST {
            let Some(connection) = self.connections.get(&id) else { return };
            let mut fds = Vec::new();
            let said = match connection.packets.receive_with(&mut space, &mut fds) {
                Ok(None) => return,
                Ok(Some(0)) | Err(_) => Err(String::new()),
                Ok(Some(len)) => match connection.driver {
                    None => self.greet(now, id, &space[..len], lab, poller),
                    Some(_) => self.hear(id, &space[..len], fds),
                },
            };
            if let Err(why) = said {
                if !why.is_empty() {
                    tracing::warn!("a driver is cut off: {why}");
                }
                return self.close(now, id, lab, poller);
            }
        }
    }

    /// A later message. An error ends the connection.
    fn hear(&mut self, id: u32, said: &[u8], fds: Vec<OwnedFd>) -> Result<(), String> {
        let driver = self.driver(id).ok_or_else(String::new)?;
        match read(said)? {
            ToFabric::Up { interfaces } => driver.up = interfaces.min(MAX_INTERFACES),
            ToFabric::Shown { id } => {
                // What it owes no longer was waited for long enough. Reading it is work, so nobody may ask us to.
                let Some(place) = driver.owed.iter().position(|owed| *owed == id) else { return Ok(()) };
                driver.owed.remove(place);
                let client = driver.client;
                let shown = fds.into_iter().next().and_then(read_shown);
                self.answers.push(Answer { id, client, shown });
            }
        }
        Ok(())
    }

    /// Tells a driver what it does not know of its port; the rest when its ring has room.
    fn tell_port(&mut self, id: u32, lab: &Lab) {
        let Some(driver) = self.connections.get_mut(&id).and_then(|c| c.driver.as_mut()) else { return };
        if driver.untold == 0 {
            return;
        }
        let view = lab.fabric().port_view(driver.port);
        for event in PortEvent::ALL {
            let bit = 1 << record::event_code(event);
            if driver.untold & bit == 0 {
                continue;
            }
            // A port that is Active cannot have gone down last.
            let event = match event {
                PortEvent::Down if view.state == PortState::ACTIVE => PortEvent::Active,
                event => event,
            };
            let pieces = record::of_port(event, &view, &mut self.keys);
            match driver.rings.writer.write(&pieces.slices()) {
                Ok(true) => driver.untold &= !bit,
                Ok(false) => {
                    // Its bell tells when there is room.
                    let _ = driver.rings.writer.waits_for_room(LONGEST);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Ends a connection. What its driver has said by now is done first; it may live, and go on writing.
    fn close(&mut self, now: Instant, id: u32, lab: &mut Lab, poller: &Poller) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        let _ = poller.remove(&connection.packets);
        let Some(mut driver) = connection.driver.take() else { return };
        let _ = poller.remove(&driver.bell);
        let mut space = vec![0; LONGEST];
        let (_, end) = driver.rings.reader.places();
        while driver.rings.reader.places().0 < end
            && let Ok(Some(len)) = driver.rings.reader.read(&mut space)
        {
            if let Ok(FromDriver { nth, request }) = record::from_driver(&space[..len].into()) {
                let _ = lab.handle_request(now, driver.client, nth, request);
            }
        }
        lab.detach(now, driver.client);
        self.clients.remove(&driver.client);
        self.end_holds_with(id);
        self.answers.push(Answer { id: 0, client: driver.client, shown: None });
        tracing::info!(pid = driver.pid, "a driver has left its port");
    }
}

/// Reads an answer. The file may be of any length, and may change while it is read: it is only read. It must be in
/// memory, which only files of that kind have seals to show for: reading others may take as long as somebody likes.
fn read_shown(file: OwnedFd) -> Option<Shown> {
    let mut file = fs::File::from(file);
    let mut text = Vec::new();
    rustix::fs::fcntl_get_seals(&file).ok()?;
    file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= MAX_ANSWER)?;
    // The writer left its place at the end.
    file.rewind().ok()?;
    file.take(MAX_ANSWER).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
