//! What a host's kernel does for programs that speak MADs: agents, patience, and messages of many segments.
//!
//! A program's agent hands over a MAD and says how long an answer may take and how often to ask again. What comes of
//! it comes back exactly once: the answer, or the request itself if there is none. An agent that wants RMPP hands over
//! and gets whole messages of subnet administration; they are segments only on the wire.
//!
//! An answer that nobody waits for goes to nobody. What arrives unasked goes to the agent that registered for it: the
//! fabric has seen to that.

mod agent;
mod message;
mod request;

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use ib_fabric::{AgentId, AgentSpec, Fabric, PortId, RegisterError};
use ib_wire::{
    mad::{MAD_LEN, Mad},
    payload::Payload,
    time::Instant,
    ud::MadAddress,
};

use self::agent::Agent;
pub use self::agent::AgentCounters;
use crate::timers::Timers;

/// What a program wants of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSpec {
    /// What it takes unasked.
    pub agent: AgentSpec,
    /// True if messages of subnet administration are to be cut and put together for it.
    pub rmpp: bool,
}

/// A MAD on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: MadAddress,
    /// How long an answer may take; none if there will be no answer.
    pub timeout: Option<Duration>,
    /// How often to ask again.
    pub retries: u32,
    /// The MAD; of a message, the first 56 bytes and then all records.
    pub mad: Vec<u8>,
}

/// Why a program's MAD was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// There is no such agent.
    #[error("no agent {0:?}")]
    NoAgent(AgentId),
    /// It has no MAD header.
    #[error("{0} bytes are no MAD: it has 24 at least")]
    Short(usize),
    /// Longer than a MAD, and not a message that could be cut.
    #[error("{0} bytes are more than a MAD has, and RMPP was not asked for")]
    Long(usize),
    /// The agent waits for too many answers.
    #[error("the agent waits for {0} answers already")]
    Busy(usize),
    /// The port cannot send it.
    #[error(transparent)]
    Port(#[from] ib_fabric::SendError),
}

/// Something for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Whose agent it is for.
    pub agent: AgentId,
    /// Where it came from; of a request that comes back, where it was sent to.
    pub from: MadAddress,
    /// True for a request that nobody answered.
    pub timed_out: bool,
    /// The MAD; of a message, the first 56 bytes and then all records.
    pub mad: Payload,
}

/// All agents of programs, at all ports.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    agents: BTreeMap<AgentId, Agent>,
    /// Deadlines of agents, by the place each has here.
    timers: Timers,
    /// Agent of each place; places of agents that are gone are used again.
    places: Vec<Option<AgentId>>,
    out: VecDeque<Incoming>,
}

impl Programs {
    pub(crate) fn open(
        &mut self,
        fabric: &mut Fabric,
        port: PortId,
        spec: ProgramSpec,
    ) -> Result<AgentId, RegisterError> {
        let id = fabric.register_agent(port, spec.agent)?;
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(id);
        self.agents.insert(id, Agent::new(id, port, place, spec));
        Ok(id)
    }

    pub(crate) fn close(&mut self, fabric: &mut Fabric, id: AgentId) {
        if let Some(agent) = self.agents.remove(&id) {
            fabric.unregister_agent(agent.port, id);
            self.places[agent.place] = None;
            self.timers.set(agent.place, None);
        }
    }

    pub(crate) fn send(
        &mut self,
        now: Instant,
        fabric: &mut Fabric,
        id: AgentId,
        outgoing: Outgoing,
    ) -> Result<(), ProgramError> {
        let agent = self.agents.get_mut(&id).ok_or(ProgramError::NoAgent(id))?;
        let result = agent.send(now, fabric, outgoing);
        self.timers.arm(agent.place, agent.poll_timeout());
        result
    }

    /// A MAD for an agent; false if it is no program's.
    pub(crate) fn handle_mad(
        &mut self,
        now: Instant,
        fabric: &mut Fabric,
        id: AgentId,
        from: MadAddress,
        mad: &Payload,
    ) -> bool {
        let Some(agent) = self.agents.get_mut(&id) else { return false };
        agent.handle_mad(now, fabric, from, mad, &mut self.out);
        self.timers.arm(agent.place, agent.poll_timeout());
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, fabric: &mut Fabric) {
        while let Some(place) = self.timers.expire(now) {
            let Some(agent) = self.places[place].and_then(|id| self.agents.get_mut(&id)) else { continue };
            agent.handle_timeout(now, fabric, &mut self.out);
            self.timers.arm(place, agent.poll_timeout());
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Incoming> {
        self.out.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek()
    }

    pub(crate) fn counters(&self, id: AgentId) -> Option<AgentCounters> {
        self.agents.get(&id).map(Agent::counters)
    }
}

/// A MAD of full length, with nothing behind what there is.
fn padded(bytes: &[u8]) -> Mad {
    let mut mad = [0; MAD_LEN];
    let len = bytes.len().min(MAD_LEN);
    mad[..len].copy_from_slice(&bytes[..len]);
    mad
}
