//! What happens to subnet managers, told on stderr.

use ib_sm::{SmEvent, Warning};

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
