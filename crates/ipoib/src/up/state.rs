//! What a driver remembers of its port over its own end: the token, and the queue pairs.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::UpPlan;
use crate::attach::{Granted, Token};

/// A file, and what it says.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    known: Option<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    token: Token,
    qpns: Vec<u32>,
}

impl State {
    /// Reads what is remembered of the plan's port. What cannot be read is forgotten.
    pub(super) fn open(plan: &UpPlan) -> Self {
        let place: String = plan.port_name().chars().map(|c| if c == '/' { '_' } else { c }).collect();
        let path = plan.state.join(place);
        let known = match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .inspect_err(|error| tracing::warn!(file = %path.display(), %error, "not a port's state"))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the port's state cannot be read");
                None
            }
        };
        Self { path, known }
    }

    /// What proves that the port was ours.
    pub(super) fn token(&self) -> Option<Token> {
        self.known.as_ref().map(|known| known.token)
    }

    /// The queue pair of an interface.
    pub(super) fn qpn(&self, nth: usize) -> Option<u32> {
        self.known.as_ref()?.qpns.get(nth).copied()
    }

    /// Remembers a port, readable for its owner alone. True if its queue pairs are others than before.
    pub(super) fn remember(&mut self, granted: &Granted) -> Result<bool> {
        let known = Known { token: granted.token, qpns: granted.qpns.clone() };
        let moved = self.known.as_ref().is_none_or(|before| before.qpns != known.qpns);
        if self.known.as_ref() != Some(&known) {
            write(&self.path, &serde_json::to_vec(&known)?)
                .with_context(|| format!("{}: cannot remember the port there", self.path.display()))?;
            self.known = Some(known);
        }
        Ok(moved)
    }
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    fs::rename(new, path)
}
