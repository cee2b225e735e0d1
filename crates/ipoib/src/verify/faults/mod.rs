//! The bad flow: what goes wrong at run time, and the outcome that is promised.

pub(super) mod administration;
pub(super) mod clock;
pub(super) mod drivers;
pub(super) mod endings;
pub(super) mod hostile;
pub(super) mod hosts;
pub(super) mod injected;
pub(super) mod limits;
pub(super) mod links;
pub(super) mod manager;
pub(super) mod quality;
mod stream;
pub(super) mod subnet;
mod watch;
