//! A program that has ended: how, and with which words.

use std::process::ExitStatus;

use anyhow::{Result, bail};

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Done {
    /// What was typed.
    pub(super) words: String,
    /// How it ended.
    pub(super) status: ExitStatus,
    /// What it wrote.
    pub(super) stdout: String,
    /// What it complained about.
    pub(super) stderr: String,
}

impl Done {
    /// Itself if it ended well.
    pub(super) fn ok(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("{}: {}{}", self.words, self.status, last_words(&self.said()))
    }

    /// Itself if it ended with this code.
    pub(super) fn exits(self, code: i32) -> Result<Self> {
        if self.status.code() == Some(code) {
            return Ok(self);
        }
        bail!("{}: {} instead of {code}{}", self.words, self.status, last_words(&self.said()))
    }

    /// Itself if it said this.
    pub(super) fn says(self, what: &str) -> Result<Self> {
        if self.said().contains(what) {
            return Ok(self);
        }
        bail!("{}: does not say `{what}`{}", self.words, last_words(&self.said()))
    }

    /// All it said, stdout first.
    pub(super) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The last lines of what a program said, to follow a complaint.
pub(super) fn last_words(said: &str) -> String {
    const LINES: usize = 6;
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    if last.is_empty() { last } else { format!(": {last}") }
}
