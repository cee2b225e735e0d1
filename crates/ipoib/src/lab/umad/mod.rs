//! Ports for programs that speak MADs: OpenSM, the infiniband-diags. `ib_umad` is their half.
//!
//! A program's connection answers what it asks about its node's ports; opening one gives it a stream for MADs. What
//! the data loop has for a program waits in that program's own queue: one that does not read stops nobody else.

mod address;
mod connection;
mod counters;
mod node;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ib_fabric::{AgentId, PortId};
use ib_lab::{Incoming, Lab};
use ib_umad::protocol::MAX_PACKET;
use ib_wire::time::Instant;

use self::{connection::Connection, counters::ProgramCounters};
use crate::{
    control::schema::CounterRow,
    os::{
        held::{HeldFile, Openings},
        local::Listener,
        poller::{Interest, Poller, Ready},
    },
};

/// Name of the socket in the lab's run directory.
pub(super) const SOCKET: &str = "umad";
/// Directory of the files that subnet managers hold.
const ISSM: &str = "issm";

/// Tokens of the poller from here on are ours.
pub(super) const FIRST_TOKEN: u64 = 1 << 32;

/// Bytes read from a stream at a time.
const CHUNK: usize = 64 << 10;

/// What has become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Listener,
    /// Somebody opened a file that subnet managers hold.
    Opened,
    /// The last one has let go of the file of a port.
    LetGo(usize),
    /// A connection's packets.
    Asked(u32),
    /// A connection's stream.
    Stream(u32),
}

impl Token {
    const fn number(self) -> u64 {
        let (kind, index) = match self {
            Self::Listener => (0, 0),
            Self::Opened => (1, 0),
            Self::LetGo(port) => (2, port as u64),
            Self::Asked(id) => (3, id as u64),
            Self::Stream(id) => (4, id as u64),
        };
        FIRST_TOKEN + index * 8 + kind
    }

    fn of(number: u64) -> Option<Self> {
        let number = number.checked_sub(FIRST_TOKEN)?;
        let (kind, index) = (number % 8, number / 8);
        Some(match kind {
            0 => Self::Listener,
            1 => Self::Opened,
            2 => Self::LetGo(usize::try_from(index).ok()?),
            3 => Self::Asked(u32::try_from(index).ok()?),
            4 => Self::Stream(u32::try_from(index).ok()?),
            _ => return None,
        })
    }
}

/// All programs' connections.
#[derive(Debug)]
pub(super) struct Umad {
    listener: Listener,
    openings: Openings,
    /// Where the files are that subnet managers hold.
    issm: PathBuf,
    /// The file of each port that somebody asked about, by the port's index.
    held: BTreeMap<usize, (PortId, HeldFile)>,
    connections: BTreeMap<u32, Connection>,
    last: u32,
    /// Counters of programs that have ended, by node.
    ended: BTreeMap<String, ProgramCounters>,
    /// Whose each agent is: the connection, and the agent's number there.
    owners: BTreeMap<AgentId, (u32, u32)>,
    /// Connections with something to write.
    waiting: Vec<u32>,
    space: Vec<u8>,
}

impl Umad {
    /// Makes the socket in the run directory.
    pub(super) fn start(dir: &Path, poller: &Poller) -> Result<Self> {
        let path = dir.join(SOCKET);
        let listener = Listener::bind(&path).with_context(|| path.display().to_string())?;
        let issm = dir.join(ISSM);
        fs::create_dir_all(&issm).with_context(|| issm.display().to_string())?;
        let openings = Openings::new().context("inotify: raise fs.inotify.max_user_instances")?;
        poller.add(&listener, Token::Listener.number(), Interest::Read).context("epoll")?;
        poller.add(&openings, Token::Opened.number(), Interest::Read).context("epoll")?;
        Ok(Self {
            listener,
            openings,
            issm,
            held: BTreeMap::new(),
            connections: BTreeMap::new(),
            last: 0,
            ended: BTreeMap::new(),
            owners: BTreeMap::new(),
            waiting: Vec::new(),
            space: vec![0; CHUNK.max(MAX_PACKET)],
        })
    }

    /// Something is ready. The lab's outputs are then to be taken, and [`Umad::write`] to be called.
    pub(super) fn handle(&mut self, now: Instant, ready: Ready, lab: &mut Lab, poller: &Poller) {
        match Token::of(ready.token) {
            Some(Token::Listener) => self.accept(poller),
            Some(Token::Opened) => self.opened(now, lab, poller),
            Some(Token::LetGo(port)) => self.let_go(now, port, lab, poller),
            Some(Token::Asked(id)) => self.asked(id, lab, poller),
            Some(Token::Stream(id)) => {
                if ready.writable {
                    self.waiting.push(id);
                }
                if ready.readable || ready.error {
                    self.streamed(now, id, lab, poller);
                }
            }
            None => tracing::warn!(token = ready.token, "nobody's token"),
        }
    }

    /// A MAD for a program.
    pub(super) fn deliver(&mut self, incoming: &Incoming, lab: &Lab) {
        let Some((id, agent)) = self.owners.get(&incoming.agent).copied() else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.queue(agent, incoming, lab.fabric());
            self.waiting.push(id);
        }
    }

    /// Writes what programs' sockets take.
    pub(super) fn write(&mut self, lab: &mut Lab, poller: &Poller) {
        while let Some(id) = self.waiting.pop() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if let Err(error) = connection.write(poller, Token::Stream(id).number()) {
                tracing::debug!(connection = id, %error, "a program's stream");
                self.close(id, lab, poller);
            }
        }
    }

    /// What was counted of each node's programs.
    pub(super) fn counters(&self, lab: &Lab) -> Vec<CounterRow> {
        let mut all: BTreeMap<&str, ProgramCounters> = BTreeMap::new();
        let ended = self.ended.iter().map(|(node, counters)| (node.as_str(), *counters));
        let open = self.connections.values().filter_map(|connection| connection.counters(lab));
        ended.chain(open).for_each(|(node, counters)| *all.entry(node).or_default() += counters);
        all.into_iter().map(|(node, counters)| counters.row(node)).collect()
    }

    fn accept(&mut self, poller: &Poller) {
        loop {
            let packets = match self.listener.accept() {
                Ok(Some(packets)) => packets,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a program cannot connect");
                    return;
                }
            };
            self.last += 1;
            let token = Token::Asked(self.last).number();
            match poller.add(&packets, token, Interest::Read) {
                Ok(()) => drop(self.connections.insert(self.last, Connection::new(packets))),
                Err(error) => tracing::warn!(%error, "a program cannot connect"),
            }
        }
    }

    fn asked(&mut self, id: u32, lab: &mut Lab, poller: &Poller) {
        while let Some(connection) = self.connections.get_mut(&id) {
            let packet = match connection.receive(&mut self.space) {
                Ok(Some(0)) | Err(_) => return self.close(id, lab, poller),
                Ok(Some(len)) => &self.space[..len],
                Ok(None) => return,
            };
            let answer = connection.answer(packet, &self.issm, lab);
            if let Some((port, file)) = &answer.held {
                self.make_held(*port, file);
            }
            if let Some((agent, number)) = answer.registered {
                self.owners.insert(agent, (id, number));
            }
            if let Some(agent) = answer.unregistered {
                self.owners.remove(&agent);
            }
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if connection.reply(&answer, poller, Token::Stream(id).number()).is_err() {
                return self.close(id, lab, poller);
            }
        }
    }

    fn streamed(&mut self, now: Instant, id: u32, lab: &mut Lab, poller: &Poller) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.read(now, &mut self.space[..CHUNK], lab) {
            Ok(true) => self.waiting.push(id),
            Ok(false) => self.close(id, lab, poller),
            Err(error) => {
                // What a program says wrong is its own end, and that it was killed is nothing to tell.
                tracing::debug!(connection = id, %error, "a program's stream");
                self.close(id, lab, poller);
            }
        }
    }

    fn close(&mut self, id: u32, lab: &mut Lab, poller: &Poller) {
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some((node, counters)) = connection.counters(lab) {
            *self.ended.entry(node.to_owned()).or_default() += counters;
        }
        for agent in connection.agents() {
            self.owners.remove(&agent);
            lab.close_agent(agent);
        }
        connection.end(poller);
    }

    /// Makes the file of a port when it is first asked for.
    fn make_held(&mut self, port: PortId, path: &Path) {
        if self.held.contains_key(&port.index()) {
            return;
        }
        match self.openings.make(path) {
            Ok(file) => drop(self.held.insert(port.index(), (port, file))),
            Err(error) => tracing::warn!(file = %path.display(), %error, "no SM can announce itself there"),
        }
    }

    fn opened(&mut self, now: Instant, lab: &mut Lab, poller: &Poller) {
        self.openings.drain();
        let ports: Vec<usize> = self.held.keys().copied().collect();
        ports.into_iter().for_each(|port| self.look(now, port, lab, poller));
    }

    /// Sees whether a subnet manager holds the file of a port now.
    fn look(&mut self, now: Instant, port: usize, lab: &mut Lab, poller: &Poller) {
        let Some((id, file)) = self.held.get_mut(&port).filter(|(_, file)| file.end().is_none()) else {
            return;
        };
        if file.look()
            && let Some(end) = file.end()
        {
            if let Err(error) = poller.add(end, Token::LetGo(port).number(), Interest::Errors) {
                tracing::warn!(%error, "an SM's end will not be noticed");
            }
            lab.with_fabric(now, |fabric| fabric.set_is_sm(now, *id, true));
        }
    }

    fn let_go(&mut self, now: Instant, port: usize, lab: &mut Lab, poller: &Poller) {
        let Some((id, file)) = self.held.get_mut(&port) else { return };
        let id = *id;
        if let Some(end) = file.end() {
            let _ = poller.remove(end);
        }
        file.let_go();
        // Another may have opened it in between.
        self.look(now, port, lab, poller);
        if self.held.get(&port).is_some_and(|(_, file)| file.end().is_none()) {
            lab.with_fabric(now, |fabric| fabric.set_is_sm(now, id, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_numbers_and_back() {
        let all = [Token::Listener, Token::Opened, Token::LetGo(7), Token::Asked(u32::MAX), Token::Stream(1)];
        for token in all {
            assert_eq!(Token::of(token.number()), Some(token));
        }
        assert_eq!(Token::of(FIRST_TOKEN - 1), None);
        assert_eq!(Token::of(FIRST_TOKEN + 7), None);
    }
}
