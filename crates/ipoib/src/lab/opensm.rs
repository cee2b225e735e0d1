//! The distribution's OpenSM as the manager of a lab: `--sm opensm`.
//!
//! It runs on a host as any program would, with its log and its files in the lab's run directory. Signals reach it
//! by its process, which `ipoib show sm` does not know but the log names.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{Running, child::Child};
use crate::os::program;

/// What it is called.
const PROGRAM: &str = "opensm";
/// Lines of its log that are worth showing when it has failed.
const LAST_WORDS: usize = 8;

/// OpenSM while it runs.
#[derive(Debug)]
pub(super) struct OpenSm {
    child: Child,
    node: String,
    log: PathBuf,
    /// What it says beside its log.
    console: PathBuf,
}

impl Running {
    /// Starts OpenSM on a host: the first, if none is named.
    pub(super) fn start_opensm(&mut self, node: Option<&str>, config: Option<&Path>) -> Result<()> {
        let space = match node {
            Some(node) => self.space(node)?,
            None => self
                .runtime
                .spaces
                .first()
                .cloned()
                .context("--sm opensm: the lab has no host to run it on")?,
        };
        let node = space.name().to_owned();
        let dir = self.opensm_dir(&node)?;
        let (log, console) = (dir.join("opensm.log"), dir.join("console.log"));
        let program = program::find(PROGRAM).context(
            "--sm opensm: not on this machine: install the package `opensm`, or use --sm embedded",
        )?;
        let mut command: Vec<OsString> = vec![program.into(), "-e".into(), "-f".into(), log.clone().into()];
        // Errors and information, each line on the disk at once.
        command.extend(["-D", "0x03", "-d", "2"].map(OsString::from));
        for (option, file) in [("-P", self.partitions.as_deref()), ("-F", config)] {
            if let Some(file) = file {
                let file = file.canonicalize().with_context(|| file.display().to_string())?;
                command.extend([option.into(), file.into()]);
            }
        }
        let output = File::create(&console).with_context(|| console.display().to_string())?;
        let child = Child::start_apart(&space, &command, &self.environment(&node)?, output)?;
        tracing::info!(node, process = child.id(), log = %log.display(), "OpenSM runs");
        self.opensm = Some(OpenSm { child, node, log, console });
        Ok(())
    }

    /// Where OpenSM on this node keeps its files; it is there.
    pub(super) fn opensm_dir(&self, node: &str) -> Result<PathBuf> {
        let dir = self.dir.path().join(PROGRAM).join(node);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(dir)
    }

    /// Sees whether OpenSM has ended: an error while the lab depends on it for coming up, a warning later.
    pub(super) fn watch_opensm(&mut self) -> Result<()> {
        let Some(opensm) = &mut self.opensm else { return Ok(()) };
        if opensm.child.poll().context("waiting for OpenSM")?.is_none() {
            return Ok(());
        }
        let Some(opensm) = self.opensm.take() else { return Ok(()) };
        let (node, words) = (&opensm.node, opensm.last_words());
        if !self.is_up {
            bail!("OpenSM on {node} ended before the subnet was up; it said:\n{words}");
        }
        tracing::warn!(node, log = %opensm.log.display(), "OpenSM has ended: start one with `ipoib exec`");
        Ok(())
    }

    /// Asks OpenSM to end; it dies with the lab in any case.
    pub(super) fn end_opensm(&mut self) {
        if let Some(opensm) = self.opensm.take() {
            opensm.child.terminate();
        }
    }
}

impl OpenSm {
    fn last_words(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let text = read(&self.console) + &read(&self.log);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}
