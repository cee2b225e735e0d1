//! Links: what they do to packets.

use core::time::Duration;

use crate::topology::{self, Probability};

/// What a link does to packets, and whether it is up at all; may change while packets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFault {
    /// Unplugged.
    pub down: bool,
    /// How long a packet is under way.
    pub delay: Duration,
    /// Share of packets that vanish.
    pub loss: Probability,
    /// Share of packets in which bits flip.
    pub corrupt: Probability,
    /// Bits per second; `None` costs no time.
    pub rate: Option<u64>,
}

impl LinkFault {
    /// Up, and no harm done.
    pub const NONE: Self = Self {
        down: false,
        delay: Duration::ZERO,
        loss: Probability::NEVER,
        corrupt: Probability::NEVER,
        rate: None,
    };
}

impl From<topology::LinkModel> for LinkFault {
    fn from(model: topology::LinkModel) -> Self {
        Self { delay: model.delay, loss: model.loss, corrupt: model.corrupt, ..Self::NONE }
    }
}
