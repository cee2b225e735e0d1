//! What happens in a lab, told on stderr.

use ib_sm::{SmEvent, Warning};
use ipoib_proto::{CarrierReason, Event};

/// Failures of one group in a row that are told aloud.
const TELL_FAILURES: u32 = 20;

/// An interface's carrier.
pub(super) fn carrier(host: &str, interface: &str, on: bool, reason: CarrierReason) {
    if on {
        tracing::debug!(host, interface, "carrier on");
    } else {
        tracing::debug!(host, interface, reason = %reason, "carrier off");
    }
}

/// An interface's events.
pub(super) fn interface(host: &str, interface: &str, event: &Event) {
    match event {
        Event::GroupFailed { mgid, why, attempt } if *attempt <= TELL_FAILURES => {
            tracing::warn!(host, interface, group = %mgid, attempt, "cannot join: {why}");
        }
        Event::PeerMoved { ip, to, .. } => {
            tracing::info!(host, interface, peer = %ip, address = %to, "peer moved")
        }
        event => tracing::debug!(host, interface, ?event, "interface"),
    }
}

/// A manager's events.
pub(super) fn manager(sm: usize, event: &SmEvent) {
    match event {
        SmEvent::MasterNow => tracing::info!(sm, "the subnet manager is master"),
        SmEvent::StandbyNow { master } => tracing::info!(sm, %master, "the subnet manager stands by"),
        SmEvent::SubnetUp { hosts, switches, took, smps } => {
            tracing::info!(sm, hosts, switches, ?took, smps, "subnet up");
        }
        SmEvent::LinkUp(port) => tracing::info!(sm, %port, "link up"),
        SmEvent::LinkDown(port) => tracing::info!(sm, %port, "link down"),
        SmEvent::Warning(Warning::Trap { issuer, trap }) => tracing::debug!(sm, %issuer, %trap, "trap"),
        SmEvent::Warning(warning) => tracing::warn!(sm, ?warning, "subnet manager"),
        event => tracing::debug!(sm, ?event, "subnet manager"),
    }
}
