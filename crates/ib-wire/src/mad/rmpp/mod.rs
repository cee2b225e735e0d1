//! Messages longer than one MAD: the reliable multi-packet protocol of subnet administration. IBA 1 §13.6.
//!
//! `Sender` cuts a table of records into segments, `Receiver` puts them together again. Both are told the
//! time; neither knows an address: whoever owns them matches MADs with transfers (by peer, transaction
//! identifier, class and the method without its response bit) and sends what comes out to the peer.
//!
//! A segment carries 200 bytes of records. Its payload length counts the 20 bytes of SA header as well: the
//! first segment states the whole (220 for each segment, less what the last lacks), the last one its own.
//! The window opens at one segment, so a receiver that cannot take more says so before it is flooded.
//! GetMulti, where the transfer turns round, is not here: no client of ours asks that way.

mod receiver;
mod sender;

use core::time::Duration;

pub use receiver::{Message, Receiver};
pub use sender::Sender;

use super::{
    Method,
    sa::{RmppFlags, RmppHeader, RmppStatus, RmppType, SaMad},
};

/// How patient a transfer is and how large it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmppConfig {
    /// Segments a receiver takes between two acknowledgements.
    pub window: u32,
    /// A sender without acknowledgement sends again after this.
    pub resend: Duration,
    /// How often it does so before it gives up; counted from the last progress.
    pub retries: u8,
    /// A receiver without progress gives up after this. A finished one repeats its last acknowledgement
    /// as long.
    pub patience: Duration,
    /// Bytes of records a receiver takes at most.
    pub max_bytes: usize,
}

impl Default for RmppConfig {
    fn default() -> Self {
        Self {
            window: 64,
            resend: Duration::from_millis(200),
            retries: 7,
            patience: Duration::from_secs(5),
            max_bytes: 16 << 20,
        }
    }
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RmppError {
    /// The peer ended it.
    #[error("the peer ended the transfer: {0}")]
    Peer(RmppStatus),
    /// We ended it, for this reason; the peer was told.
    #[error("transfer ended: {0}")]
    Ours(RmppStatus),
}

/// Bytes of SA header that each segment's payload length counts.
const SA_HEADER: usize = SaMad::SEGMENT_LEN - SaMad::DATA_LEN;

/// A MAD of the transfer without records: header of `like`, sent the other way if `back`.
fn control(like: &SaMad, back: bool, kind: RmppType, status: RmppStatus, data1: u32, data2: u32) -> SaMad {
    let mut mad = SaMad { component_mask: like.component_mask, data: [0; SaMad::DATA_LEN], ..*like };
    if back {
        mad.header.method = Method(like.header.method.0 ^ Method::RESPONSE_BIT);
    }
    mad.rmpp = RmppHeader {
        version: 1,
        kind,
        response_time: like.rmpp.response_time,
        flags: RmppFlags::ACTIVE,
        status,
        data1,
        data2,
    };
    mad
}

/// The packet that ends a transfer: STOP if resources ran out, ABORT for all else.
fn end(like: &SaMad, back: bool, status: RmppStatus) -> SaMad {
    let stop = status == RmppStatus::RESOURCES_EXHAUSTED;
    control(like, back, if stop { RmppType::STOP } else { RmppType::ABORT }, status, 0, 0)
}

/// The packet that refuses a transfer which `mad` tries to start or to continue.
#[must_use]
pub fn refuse(mad: &SaMad, status: RmppStatus) -> SaMad {
    end(mad, true, status)
}

#[cfg(test)]
mod tests;
