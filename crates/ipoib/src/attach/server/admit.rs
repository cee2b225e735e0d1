//! Who gets which port.

use std::{collections::VecDeque, os::fd::AsFd};

use anyhow::{Context, Result};
use ib_fabric::PortId;
use ib_lab::{ClientId, Lab, LabError};
use ib_wire::{
    addr::{PortNum, Qpn},
    time::Instant,
    ud::PortEvent,
};

use super::{Attach, Connection, Counters, Driver, FIRST_TOKEN, Identity};
use crate::{
    attach::{
        hello::{Greeting, Hello, MAX_INTERFACES, ToDriver, Token, VERSION, emit, read},
        record,
    },
    os::{
        bell::Bell,
        poller::{Interest, Poller},
        ring::{self, Rings, Side},
    },
};

/// Why a driver does not get a port.
struct Refusal {
    why: String,
    again: bool,
}

impl Refusal {
    /// Not now, but maybe later.
    const fn once(why: String) -> Self {
        Self { why, again: true }
    }

    /// Never, as things are.
    const fn good(why: String) -> Self {
        Self { why, again: false }
    }
}

impl Attach {
    /// A first message. An error ends the connection.
    pub(super) fn greet(
        &mut self,
        now: Instant,
        id: u32,
        said: &[u8],
        lab: &mut Lab,
        poller: &Poller,
    ) -> Result<(), String> {
        let hello: Hello = read(said)?;
        match self.admit(now, id, &hello, lab, poller) {
            Ok(()) => {
                self.tell_port(id, lab);
                Ok(())
            }
            Err(Refusal { why, again }) => {
                tracing::info!(node = %hello.node, pid = hello.pid, "a driver is refused: {why}");
                let refused = emit(&Greeting::Refused { why, again });
                if let Some(connection) = self.connections.get(&id) {
                    let _ = connection.packets.send(&refused, &[]);
                }
                Err(String::new())
            }
        }
    }

    /// Gives a driver its port.
    fn admit(
        &mut self,
        now: Instant,
        id: u32,
        hello: &Hello,
        lab: &mut Lab,
        poller: &Poller,
    ) -> Result<(), Refusal> {
        if hello.version != VERSION {
            return Err(Refusal::good(format!(
                "the driver speaks version {}, the fabric {VERSION}: run both from one release",
                hello.version
            )));
        }
        if hello.interfaces.is_empty() || hello.interfaces.len() > MAX_INTERFACES {
            return Err(Refusal::good(format!("a driver has 1 to {MAX_INTERFACES} interfaces")));
        }
        let port =
            (hello.port > 0).then(|| lab.fabric().end_port(&hello.node, PortNum(hello.port))).flatten();
        let port = port.ok_or_else(|| {
            Refusal::good(format!("the fabric has no host {} with a port {}", hello.node, hello.port))
        })?;
        let known = self.identities.get(&port);
        let is_owner = known.is_none_or(|identity| Some(identity.token) == hello.token);
        self.vacate(now, port, hello, is_owner, lab, poller)?;
        let before = self.identities.get(&port).filter(|_| is_owner);
        let token = match (before, hello.token) {
            (Some(identity), _) => identity.token,
            (None, Some(token)) if is_owner => token,
            _ => Token::random().map_err(|error| Refusal::once(error.to_string()))?,
        };
        let wanted: Vec<Option<Qpn>> = hello
            .interfaces
            .iter()
            .enumerate()
            .map(|(nth, interface)| {
                let had = before.and_then(|identity| identity.qpns.get(nth).copied());
                had.or(interface.qpn).filter(|_| is_owner).map(Qpn::new)
            })
            .collect();
        let client = lab.attach(port, &wanted).map_err(|error| match error {
            LabError::PortTaken => Refusal::good("the port has an interface of the lab itself".to_owned()),
            error => Refusal::good(error.to_string()),
        })?;
        let qpns: Vec<u32> = lab.queue_pairs(client).map(Qpn::get).collect();
        let counters =
            self.identities.get(&port).map_or_else(Counters::default, |identity| identity.counters);
        let driver = self.equip(id, client, port, hello.pid, token, &qpns, poller);
        let driver = driver.map_err(|error| {
            lab.detach(now, client);
            Refusal::once(format!("{error:#}"))
        })?;
        let mut identity = Identity {
            token,
            qpns,
            node: hello.node.clone(),
            interfaces: hello.interfaces.iter().map(|interface| interface.name.clone()).collect(),
            counters,
        };
        identity.counters.attached += 1;
        tracing::info!(node = %hello.node, port = hello.port, pid = hello.pid, "a driver has the port");
        self.identities.insert(port, identity);
        self.clients.insert(client, id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.driver = Some(driver);
        }
        Ok(())
    }

    /// Sees to it that nobody has the port: who has gone is forgotten, who is there must be one whom `hello` replaces.
    fn vacate(
        &mut self,
        now: Instant,
        port: PortId,
        hello: &Hello,
        is_owner: bool,
        lab: &mut Lab,
        poller: &Poller,
    ) -> Result<(), Refusal> {
        let has = |c: &&Connection| c.driver.as_ref().is_some_and(|driver| driver.port == port);
        let Some((old, connection)) = self.connections.iter().find(|(_, c)| has(c)) else { return Ok(()) };
        let (old, pid) = (*old, connection.driver.as_ref().map_or(0, |driver| driver.pid));
        if !connection.packets.is_over() {
            if !hello.takeover {
                return Err(Refusal {
                    why: format!(
                        "{} is in the hands of process {pid}: end it, or give --takeover",
                        hello.node
                    ),
                    again: false,
                });
            }
            if !is_owner {
                return Err(Refusal::good(format!(
                    "{} is in the hands of process {pid}, and only a driver with its state can take over: give \
                     both the same --state",
                    hello.node
                )));
            }
            let why = format!("process {} took the port over", hello.pid);
            let _ = connection.packets.send(&emit(&ToDriver::Leave { why }), &[]);
        }
        self.close(now, old, lab, poller);
        Ok(())
    }

    /// Makes rings and bells, and sends them.
    #[expect(clippy::too_many_arguments, reason = "each is a fact about the one driver")]
    fn equip(
        &self,
        id: u32,
        client: ClientId,
        port: PortId,
        pid: u32,
        token: Token,
        qpns: &[u32],
        poller: &Poller,
    ) -> Result<Driver> {
        let memory = ring::memory(self.config.ring).context("shared memory")?;
        let (bell, theirs) = Bell::pair().context("a pair of sockets")?;
        let mut rings = Rings::map(memory.as_fd(), Side::Maker, &bell).context("shared memory")?;
        let connection = self.connections.get(&id).context("the connection is gone")?;
        let welcome = emit(&Greeting::Welcome { token, qpns: qpns.to_vec() });
        connection.packets.send(&welcome, &[memory.as_fd(), theirs.as_fd()])?;
        poller.add(&bell, FIRST_TOKEN + 2 * u64::from(id) + 1, Interest::New).context("epoll")?;
        rings.reader.sleeps();
        // What the port is like is the first thing to tell.
        let untold = 1 << record::event_code(PortEvent::Down);
        let owed = VecDeque::new();
        Ok(Driver { client, port, pid, rings, bell, too_slow_until: 0, untold, up: 0, owed })
    }
}
