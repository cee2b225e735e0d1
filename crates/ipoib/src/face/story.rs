//! What happens to interfaces, told on stderr.

use ipoib_proto::{CarrierReason, Event};

use super::FacePlan;

/// Failures of one group in a row that are told aloud.
const TELL_FAILURES: u32 = 20;

/// An interface's carrier.
pub(super) fn carrier(FacePlan { host, name: interface, .. }: &FacePlan, on: bool, reason: CarrierReason) {
    if on {
        tracing::debug!(%host, interface, "carrier on");
    } else {
        tracing::debug!(%host, interface, reason = %reason, "carrier off");
    }
}

/// An interface's events.
pub(super) fn interface(FacePlan { host, name: interface, .. }: &FacePlan, event: &Event) {
    match event {
        Event::GroupFailed { mgid, why, attempt } if *attempt <= TELL_FAILURES => {
            tracing::warn!(%host, interface, group = %mgid, attempt, "cannot join: {why}");
        }
        Event::PeerMoved { ip, to, .. } => {
            tracing::info!(%host, interface, peer = %ip, address = %to, "peer moved")
        }
        event => tracing::debug!(%host, interface, ?event, "interface"),
    }
}
