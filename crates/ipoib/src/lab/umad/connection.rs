//! One program's connection: what it asks, and the port it has open.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::Result;
use ib_fabric::{AgentId, AgentSpec, Fabric, MethodMask, PortId};
use ib_lab::{Incoming, Lab, Outgoing, ProgramSpec};
use ib_umad::{
    frame::{self, Header},
    protocol::{MAX_AGENTS, Registration, Reply, Request, VERSION},
};
use ib_wire::{addr::PortNum, mad::MgmtClass, time::Instant};
use rustix::io::Errno;

use super::{address, counters::ProgramCounters, node};
use crate::{
    lab::sysfs::DEVICE,
    os::{
        local::{Packets, Stream},
        poller::{Interest, Poller},
    },
};

/// Bytes that may wait for a program that does not read; what comes then is lost to it.
const MOST_WAITING: usize = 256 << 20;

/// Vendor classes with an OUI. IBA 1 §16.5.
const WITH_OUI: std::ops::RangeInclusive<u8> = 0x30..=0x4f;

/// A program.
#[derive(Debug)]
pub(super) struct Connection {
    packets: Packets,
    /// Whose ports it sees, once it has said hello.
    node: Option<String>,
    open: Option<Open>,
}

/// A port it has open.
#[derive(Debug)]
struct Open {
    port: PortId,
    stream: Stream,
    agents: [Option<AgentId>; MAX_AGENTS as usize],
    /// Beginning of a frame that has not come whole.
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` has gone.
    written: usize,
    /// The poller tells of room in the stream.
    wants_room: bool,
    /// Of agents that are gone, and of the stream.
    counters: ProgramCounters,
}

/// What is to be done after a request.
#[derive(Debug)]
pub(super) struct Answer {
    reply: Reply,
    /// The program's end of a stream.
    stream: Option<OwnedFd>,
    /// An agent that now belongs to the connection, with its number there.
    pub(super) registered: Option<(AgentId, u32)>,
    /// One that no longer does.
    pub(super) unregistered: Option<AgentId>,
    /// A port whose file is to be there, and the file.
    pub(super) held: Option<(PortId, PathBuf)>,
}

impl Answer {
    const fn of(reply: Reply) -> Self {
        Self { reply, stream: None, registered: None, unregistered: None, held: None }
    }
}

/// What a program is refused, and why.
#[derive(Debug)]
struct Refusal(Errno, String);

fn refused<T>(errno: Errno, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(errno, why.into()))
}

impl Connection {
    pub(super) const fn new(packets: Packets) -> Self {
        Self { packets, node: None, open: None }
    }

    pub(super) fn receive(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        self.packets.receive(space)
    }

    /// Carries out a request; `issm` is where the files are that subnet managers hold.
    pub(super) fn answer(&mut self, packet: &[u8], issm: &Path, lab: &mut Lab) -> Answer {
        let done = match serde_json::from_slice(packet) {
            Ok(request) => self.carry_out(request, issm, lab),
            Err(error) => refused(Errno::PROTO, format!("not a request of ours: {error}")),
        };
        done.unwrap_or_else(|Refusal(errno, why)| {
            Answer::of(Reply::Refused { errno: errno.raw_os_error(), why })
        })
    }

    /// Sends what came of it.
    pub(super) fn reply(&self, answer: &Answer, poller: &Poller, token: u64) -> io::Result<()> {
        if let (Some(open), true) = (&self.open, answer.stream.is_some()) {
            poller.add(&open.stream, token, Interest::Read)?;
        }
        let packet = serde_json::to_vec(&answer.reply).map_err(io::Error::other)?;
        self.packets.send(&packet, answer.stream.as_ref().map(AsFd::as_fd).as_slice())
    }

    fn carry_out(&mut self, request: Request, issm: &Path, lab: &mut Lab) -> Result<Answer, Refusal> {
        if let Request::Hello { version, node } = request {
            if version != VERSION {
                let why =
                    format!("the library speaks version {version}, this lab {VERSION}: use the lab's own");
                return refused(Errno::PROTO, why);
            }
            if lab.fabric().node(&node).is_none() {
                return refused(Errno::NODEV, format!("no switch or host {node} in this lab"));
            }
            self.node = Some(node);
            return Ok(Answer::of(Reply::Done));
        }
        let Some(node) = self.node.clone() else { return refused(Errno::PROTO, "say hello first") };
        let find = |device: &str, port: u8| {
            let found = lab.fabric().end_port(&node, PortNum(port)).filter(|_| device == DEVICE);
            found.ok_or_else(|| Refusal(Errno::NODEV, format!("{node} has no port {port} of {device}")))
        };
        match request {
            Request::Hello { .. } => Ok(Answer::of(Reply::Done)),
            Request::Devices => Ok(Answer::of(Reply::Devices(node::devices(&node, lab.fabric())))),
            Request::Port { device, port: number } => {
                let port = find(&device, number)?;
                let file = node::issm(issm, &node, number);
                let reply = Reply::Port(node::describe(number, port, &file, lab.fabric()));
                Ok(Answer { held: Some((port, file)), ..Answer::of(reply) })
            }
            Request::Open { device, port } => self.open(find(&device, port)?),
            Request::Register(registration) => self.register(&registration, lab),
            Request::Unregister { agent } => self.unregister(agent, lab),
        }
    }

    fn open(&mut self, port: PortId) -> Result<Answer, Refusal> {
        if self.open.is_some() {
            return refused(Errno::BUSY, "this connection has a port open");
        }
        let pair = Stream::pair().map_err(|error| Refusal(Errno::NFILE, error.to_string()))?;
        let (stream, theirs) = pair;
        self.open = Some(Open {
            port,
            stream,
            agents: [None; MAX_AGENTS as usize],
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            wants_room: false,
            counters: ProgramCounters::default(),
        });
        Ok(Answer { stream: Some(theirs), ..Answer::of(Reply::Opened) })
    }

    fn register(&mut self, wanted: &Registration, lab: &mut Lab) -> Result<Answer, Refusal> {
        let Some(open) = &mut self.open else { return refused(Errno::BADF, "no port is open") };
        if wanted.rmpp_version > 1 {
            return refused(Errno::INVAL, format!("RMPP version {}: 0 or 1", wanted.rmpp_version));
        }
        let Some(place) = open.agents.iter().position(Option::is_none) else {
            return refused(Errno::NOMEM, format!("{MAX_AGENTS} agents are all there are"));
        };
        let agent = AgentSpec {
            class: MgmtClass(wanted.class),
            vendor: wanted.oui.filter(|_| WITH_OUI.contains(&wanted.class)),
            methods: MethodMask::from_bits(wanted.methods),
        };
        let spec = ProgramSpec { agent, rmpp: wanted.rmpp_version == 1 };
        let agent = lab.open_agent(open.port, spec);
        let agent = agent.map_err(|error| Refusal(Errno::INVAL, error.to_string()))?;
        open.agents[place] = Some(agent);
        let number = u32::try_from(place).unwrap_or(MAX_AGENTS);
        let registered = Some((agent, number));
        Ok(Answer { registered, ..Answer::of(Reply::Registered { agent: number }) })
    }

    fn unregister(&mut self, number: u32, lab: &mut Lab) -> Result<Answer, Refusal> {
        let place = usize::try_from(number).ok();
        let open = self.open.as_mut();
        let found = open.and_then(|open| Some((open.agents.get_mut(place?)?.take()?, &mut open.counters)));
        let Some((agent, counters)) = found else {
            return refused(Errno::INVAL, format!("no agent {number}"));
        };
        counters.agents += lab.agent_counters(agent).unwrap_or_default();
        lab.close_agent(agent);
        Ok(Answer { unregistered: Some(agent), ..Answer::of(Reply::Done) })
    }

    /// Takes what the program sent; false at the end of its stream.
    pub(super) fn read(&mut self, now: Instant, space: &mut [u8], lab: &mut Lab) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(len) = open.stream.read(space)? else { return Ok(true) };
        if len == 0 {
            return Ok(false);
        }
        let mut input = std::mem::take(&mut open.input);
        input.extend_from_slice(&space[..len]);
        let mut done = 0;
        while let Some((header, mad, used)) = frame::read(&input[done..])? {
            open.send(now, &header, mad, lab);
            done += used;
        }
        input.drain(..done);
        open.input = input;
        Ok(true)
    }

    /// Puts a MAD for one of its agents into its queue.
    pub(super) fn queue(&mut self, agent: u32, incoming: &Incoming, fabric: &Fabric) {
        let Some(open) = &mut self.open else { return };
        let status = if incoming.timed_out { Errno::TIMEDOUT.raw_os_error().unsigned_abs() } else { 0 };
        let address = address::to_program(&incoming.from, || fabric.port_view(open.port));
        open.queue(Header { agent, status, address, ..Header::default() }, &incoming.mad);
    }

    /// Writes what the stream takes, and asks to be told of room if some is left.
    pub(super) fn write(&mut self, poller: &Poller, token: u64) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        while open.written < open.output.len() {
            match open.stream.write(&open.output[open.written..])? {
                0 => break,
                len => open.written += len,
            }
        }
        let is_empty = open.written == open.output.len();
        if is_empty {
            open.output.clear();
            open.written = 0;
        }
        if open.wants_room == is_empty {
            open.wants_room = !is_empty;
            let interest = if is_empty { Interest::Read } else { Interest::ReadWrite };
            poller.modify(&open.stream, token, interest)?;
        }
        Ok(())
    }

    /// The agents it has.
    pub(super) fn agents(&self) -> Vec<AgentId> {
        self.open.iter().flat_map(|open| open.agents.into_iter().flatten()).collect()
    }

    /// Its node and what was counted of it; nothing before it has a port.
    pub(super) fn counters(&self, lab: &Lab) -> Option<(&str, ProgramCounters)> {
        let (node, open) = (self.node.as_deref()?, self.open.as_ref()?);
        let agents = open.agents.iter().flatten().filter_map(|agent| lab.agent_counters(*agent));
        let mut counters = open.counters;
        agents.for_each(|agent| counters.agents += agent);
        Some((node, counters))
    }

    /// The program is gone.
    pub(super) fn end(self, poller: &Poller) {
        let _ = poller.remove(&self.packets);
        if let Some(open) = self.open {
            let _ = poller.remove(&open.stream);
            if open.counters.unread > 0 {
                let mads = open.counters.unread;
                tracing::warn!(node = self.node, mads, "a program did not read its MADs");
            }
        }
    }
}

impl Open {
    fn send(&mut self, now: Instant, header: &Header, mad: &[u8], lab: &mut Lab) {
        let agent = self.agents.get(header.agent as usize).copied().flatten();
        let to = address::to_fabric(&header.address, || lab.fabric().port_view(self.port));
        let timeout = std::time::Duration::from_millis(header.timeout_ms.into());
        let outgoing = Outgoing {
            to,
            timeout: (header.timeout_ms > 0).then_some(timeout),
            retries: header.retries,
            mad: mad.to_vec(),
        };
        let sent = match agent {
            Some(agent) => lab.send_for_program(now, agent, outgoing).map_err(|error| error.to_string()),
            None => Err("no such agent".to_owned()),
        };
        if let Err(why) = sent {
            tracing::debug!(agent = header.agent, why, "a program's MAD is not sent");
            self.counters.unsent += 1;
            // Nobody waits for what has no timeout; all else comes back.
            if header.timeout_ms > 0 {
                let status = Errno::INVAL.raw_os_error().unsigned_abs();
                self.queue(Header { status, ..*header }, mad);
            }
        }
    }

    fn queue(&mut self, header: Header, mad: &[u8]) {
        if self.output.len() - self.written + mad.len() > MOST_WAITING {
            self.counters.unread += 1;
            return;
        }
        let length = u32::try_from(frame::HEADER + mad.len()).unwrap_or(u32::MAX);
        frame::write(&Header { length, ..header }, mad, &mut self.output);
    }
}
