//! `ipoib verify`: the verification flows of the release notes, with the real programs, between hosts of a lab.
//!
//! `table` lists the rows; each is a function in `rows` or `faults` that works with a `Bench` and says what it
//! measured. `runner` gives them labs, `report` tells how they ended. Every row carries what must make it fail, and
//! `ipoib verify --broken` sees that it does.

mod bench;
mod done;
mod faults;
mod lab;
mod process;
mod programs;
mod report;
mod row;
mod rows;
mod runner;
mod soak;
mod table;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};

use self::{bench::Form, report::Progress, runner::Runner};
pub use self::{
    programs::Program,
    row::{Breaker, Harm, Outcome, Promise, Row, Setting, Verdict},
    table::ROWS,
};
use crate::{cli::output, os::signals::Signals};

/// What a run is to be.
#[derive(Clone, Debug, Default)]
pub struct VerifyPlan {
    /// Rows by name; all if empty.
    pub filter: Vec<String>,
    /// Only say which rows there are.
    pub list: bool,
    /// As tables for the manual.
    pub markdown: bool,
    /// The whole of every row.
    pub full: bool,
    /// See that every row can fail.
    pub broken: bool,
    /// Give up early.
    pub hasty: bool,
    /// In labs whose drivers are processes of their own.
    pub isolate: bool,
    /// Where to write JUnit's XML.
    pub junit: Option<PathBuf>,
    /// Print a document.
    pub json: bool,
    /// A lab that runs already.
    pub lab: Option<String>,
    /// Mix rows and faults for so long.
    pub soak: Option<Duration>,
    /// What chance begins with.
    pub seed: Option<u64>,
    /// Rows at a time.
    pub jobs: Option<usize>,
}

/// Exit status of a run that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs what the plan says.
///
/// To be called while the process has one thread.
pub fn run(plan: &VerifyPlan) -> Result<ExitCode> {
    let rows = runner::choose(&ROWS, &plan.filter)?;
    if plan.list {
        return list(plan, &rows).map(|()| ExitCode::SUCCESS);
    }
    if plan.broken && plan.lab.is_some() {
        bail!("--broken: it breaks labs: leave --lab out");
    }
    programs::require(rows.iter().flat_map(|row| row.programs.iter().copied()))?;
    listen_to_signals()?;
    let seed = plan.seed.unwrap_or_else(seed);
    let form = Form {
        program: std::env::current_exe().context("the program's own path")?,
        full: plan.full,
        hasty: plan.broken || plan.hasty,
        isolate: plan.isolate,
        seed,
    };
    let jobs = plan.jobs.unwrap_or(if plan.broken { 6 } else { 1 });
    let runner = Runner {
        form: &form,
        guest: plan.lab.clone(),
        named: !plan.filter.is_empty(),
        broken: plan.broken,
        jobs,
    };
    let begin = Instant::now();
    let progress = Progress::new(if plan.soak.is_some() { 0 } else { runner.count(&rows) }, plan.json);
    let outcomes = match plan.soak {
        Some(time) => soak::run(&form, time, &rows, &progress),
        None => runner.run(&rows, &progress),
    };
    progress.finish();
    let outcomes = match outcomes {
        Err(error) if error.is::<process::Interrupted>() => {
            eprintln!("ipoib: verify: interrupted");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        other => other?,
    };
    conclude(plan, &outcomes, begin.elapsed(), seed)
}

fn list(plan: &VerifyPlan, rows: &[&'static Row]) -> Result<()> {
    if plan.markdown {
        output::print(&report::markdown(rows))
    } else if plan.json {
        output::print_json(&report::list_document(rows))
    } else {
        output::print(&report::list(rows))
    }
}

/// Writes what was asked for, and says how it went.
fn conclude(plan: &VerifyPlan, outcomes: &[Outcome], took: Duration, seed: u64) -> Result<ExitCode> {
    if let Some(path) = &plan.junit {
        fs::write(path, report::junit(outcomes, took))
            .with_context(|| format!("{}: cannot write", path.display()))?;
    }
    if plan.json {
        output::print_json(&report::document(outcomes, took, seed))?;
    } else {
        output::print(&report::summary(outcomes, took))?;
    }
    let counts = report::Counts::of(outcomes);
    Ok(if counts.failed > 0 {
        ExitCode::FAILURE
    } else if counts.passed == 0 {
        eprintln!("ipoib: verify: no row could be run");
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// SIGINT and SIGTERM end the run, and all that it started, in order.
fn listen_to_signals() -> Result<()> {
    let signals = Signals::block().context("signals")?;
    let listen = move || {
        loop {
            let ready = poll(&mut [PollFd::new(&signals, PollFlags::IN)], None);
            if ready.is_err_and(|error| error != rustix::io::Errno::INTR) {
                return;
            }
            match signals.read() {
                Ok(Some(crate::os::signals::Signal::Child)) | Ok(None) => {}
                Ok(Some(_)) => process::interrupt(),
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).context("start a thread")?;
    Ok(())
}

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "any number will do")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() % 1_000_000
}
