//! Who takes which MADs at a port: the registry of its agents.

use alloc::vec::Vec;

use ib_wire::{
    addr::Tid,
    mad::{Mad, MadHeader, Method, MgmtClass},
};

use crate::{error::RegisterError, id::AgentId};

/// Identifier of a vendor, as IEEE gives it.
pub type Oui = [u8; 3];

/// What an agent wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// Class of what it takes unasked. An SMP by LID and one on a directed route are of two classes.
    pub class: MgmtClass,
    /// Whose form of a vendor class it speaks, where a class is of many vendors (0x30 to 0x4f).
    pub vendor: Option<Oui>,
    /// Methods it takes unasked.
    pub methods: MethodMask,
}

impl AgentSpec {
    /// An agent of a class that has one form only.
    pub const fn new(class: MgmtClass, methods: MethodMask) -> Self {
        Self { class, vendor: None, methods }
    }

    /// An agent that asks, and takes nothing but answers.
    pub const fn client(class: MgmtClass) -> Self {
        Self::new(class, MethodMask::NONE)
    }

    /// True if the agent takes MADs like this one unasked.
    fn takes(&self, header: &MadHeader, mad: &Mad) -> bool {
        self.class == header.class
            && self.methods.has(header.method)
            && self.vendor.is_none_or(|vendor| mad[VENDOR] == vendor)
    }
}

/// Where a MAD of a class of many vendors says whose it is. IBA 1 §16.5.1.
const VENDOR: core::ops::Range<usize> = 37..40;

/// A set of methods that are not answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodMask(u128);

impl MethodMask {
    /// No method: answers only.
    pub const NONE: Self = Self(0);

    /// These methods; the response bit is not looked at.
    pub fn of(methods: &[Method]) -> Self {
        Self(methods.iter().fold(0, |mask, method| mask | Self::bit(*method)))
    }

    /// The methods whose bits are set: bit `n` for method `n`.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// True if `method` is in the set.
    pub const fn has(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    const fn bit(method: Method) -> u128 {
        1 << (method.0 & !Method::RESPONSE_BIT)
    }

    /// The first method that is in both sets.
    fn common(self, other: Self) -> Option<Method> {
        let both = self.0 & other.0;
        let first = u8::try_from(both.trailing_zeros()).expect("at most 128");
        (both != 0).then_some(Method(first))
    }
}

#[derive(Clone, Copy, Debug)]
struct Agent {
    id: AgentId,
    spec: AgentSpec,
}

/// The agents of one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents(Vec<Agent>);

impl Agents {
    /// Adds an agent, unless another takes one of its methods.
    pub(crate) fn register(&mut self, id: AgentId, spec: AgentSpec) -> Result<(), RegisterError> {
        let same = |agent: &&Agent| (agent.spec.class, agent.spec.vendor) == (spec.class, spec.vendor);
        for other in self.0.iter().filter(same) {
            if let Some(method) = other.spec.methods.common(spec.methods) {
                return Err(RegisterError::Taken { class: spec.class, method });
            }
        }
        self.0.push(Agent { id, spec });
        Ok(())
    }

    /// Removes an agent; no matter if there is none.
    pub(crate) fn unregister(&mut self, id: AgentId) {
        self.0.retain(|agent| agent.id != id);
    }

    /// What the agent asked for.
    pub(crate) fn spec(&self, id: AgentId) -> Option<AgentSpec> {
        self.0.iter().find(|agent| agent.id == id).map(|agent| agent.spec)
    }

    /// Who takes a MAD: for an answer the agent whose number stands in its transaction identifier.
    pub(crate) fn taker(&self, header: &MadHeader, mad: &Mad) -> Option<AgentId> {
        let takes = |agent: &&Agent| {
            if header.is_response() { agent.id == asker(header.tid) } else { agent.spec.takes(header, mad) }
        };
        self.0.iter().find(takes).map(|agent| agent.id)
    }
}

/// The agent whose request has this transaction identifier.
fn asker(tid: Tid) -> AgentId {
    AgentId(u32::try_from(tid.0 >> 32).expect("32 bits are left"))
}

/// `tid` with the agent's number in its top half.
pub(crate) const fn claimed(tid: Tid, agent: AgentId) -> Tid {
    Tid((agent.0 as u64) << 32 | tid.0 & 0xffff_ffff)
}
