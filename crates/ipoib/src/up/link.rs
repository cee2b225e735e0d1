//! The way to the fabric: asking for the port, having it, and waiting until it can be asked for again.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::Duration,
};

use ib_wire::time::Instant;

use crate::attach::{Asking, Granted, Hello, Lost, Port};

/// First wait before a fabric that went away is looked for again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// Longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Where the driver stands with its fabric.
#[derive(Debug)]
enum Stand {
    /// There is none; look again then.
    Away { again: Instant },
    /// It was asked.
    Asking(Asking),
    /// We have the port.
    Attached(Port),
}

/// The way to a fabric.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    stand: Stand,
    wait: Duration,
}

impl Link {
    /// A way that is tried at once.
    pub(super) const fn new(socket: PathBuf, now: Instant) -> Self {
        Self { socket, stand: Stand::Away { again: now }, wait: FIRST_WAIT }
    }

    /// The port, if we have it.
    pub(super) const fn port(&mut self) -> Option<&mut Port> {
        match &mut self.stand {
            Stand::Attached(port) => Some(port),
            _ => None,
        }
    }

    /// The connection to listen to, if there is one.
    pub(super) fn connection(&self) -> Option<BorrowedFd<'_>> {
        match &self.stand {
            Stand::Away { .. } => None,
            Stand::Asking(asking) => Some(asking.as_fd()),
            Stand::Attached(port) => Some(port.connection().as_fd()),
        }
    }

    /// True if the port is to be asked for now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|at| at <= now)
    }

    /// When the port is to be asked for.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.stand {
            Stand::Away { again } => Some(again),
            _ => None,
        }
    }

    /// Asks for the port. Fails if there is no fabric to ask.
    pub(super) fn ask(&mut self, now: Instant, hello: &Hello) -> io::Result<()> {
        match Asking::start(&self.socket, hello) {
            Ok(asking) => {
                self.stand = Stand::Asking(asking);
                Ok(())
            }
            Err(error) => {
                self.lose(now);
                Err(error)
            }
        }
    }

    /// The fabric has said something: what came with the port, once it is ours.
    pub(super) fn hear(&mut self, now: Instant) -> Result<Option<Granted>, Lost> {
        let stand = std::mem::replace(&mut self.stand, Stand::Away { again: now });
        let Stand::Asking(asking) = stand else {
            self.stand = stand;
            return Ok(None);
        };
        match asking.poll()? {
            Ok((port, granted)) => {
                self.stand = Stand::Attached(port);
                self.wait = FIRST_WAIT;
                Ok(Some(granted))
            }
            Err(asking) => {
                self.stand = Stand::Asking(asking);
                Ok(None)
            }
        }
    }

    /// The port is gone; it is asked for again after a while.
    pub(super) fn lose(&mut self, now: Instant) {
        self.stand = Stand::Away { again: now + self.wait };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}
