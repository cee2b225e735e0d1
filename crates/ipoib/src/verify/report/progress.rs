//! What is being done, on stderr: one moving line on a terminal, a line a row elsewhere.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::row::{Outcome, Row};

/// The progress of a run.
#[derive(Debug)]
pub(in super::super) struct Progress {
    bar: ProgressBar,
    moving: bool,
    /// Lines of rows go to stderr: stdout is for a document.
    quiet_stdout: bool,
    running: Mutex<Vec<&'static str>>,
}

impl Progress {
    /// Of so many things; `document` if stdout is for one.
    pub(in super::super) fn new(count: usize, document: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        let moving = std::io::stderr().is_terminal();
        if moving {
            bar.enable_steady_tick(Duration::from_millis(125));
        }
        Self { bar, moving, quiet_stdout: document, running: Mutex::default() }
    }

    /// A row begins.
    pub(in super::super) fn begin(&self, row: &'static Row) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(row.id);
        if self.moving {
            self.bar.set_message(running.join(" "));
        } else {
            eprintln!("ipoib: {} {} ...", row.id, row.title);
        }
    }

    /// A row has ended.
    pub(in super::super) fn end(&self, row: &'static Row) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|id| *id == row.id) {
            running.remove(at);
        }
        self.bar.inc(1);
        self.bar.set_message(running.join(" "));
    }

    /// Prints a row that is done.
    pub(in super::super) fn print(&self, outcome: &Outcome) {
        self.say(&super::line(outcome));
    }

    /// Prints a line of the result.
    pub(in super::super) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            if self.quiet_stdout {
                eprintln!("{line}");
            } else {
                // A reader that has seen enough is content.
                let _ = crate::cli::output::print(&format!("{line}\n"));
            }
        });
    }

    /// Nothing moves any more.
    pub(in super::super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
