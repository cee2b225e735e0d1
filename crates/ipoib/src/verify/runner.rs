//! Which rows run, where, and in which order.
//!
//! Workers take rows from one queue. A worker keeps its lab as long as rows like it and nothing failed in it.

use std::{
    collections::VecDeque,
    env,
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};
use ib_fabric::topology::Mishap;
use rustix::process::Signal;
use serde_json::Value;

use super::{
    bench::{Bench, Form, new_name},
    lab::Lab,
    process::{Interrupted, check},
    programs,
    report::Progress,
    row::{Breaker, Harm, LeftOut, Outcome, Row, Setting, Verdict},
};
use crate::{control::schema::Noun, os::limits};

/// One thing to do: a row, and what to break before.
#[derive(Clone, Copy, Debug)]
struct Task {
    row: &'static Row,
    breaker: Option<&'static Breaker>,
}

/// How rows are run.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) form: &'a Form,
    /// The lab that was there before, if it is to be used.
    pub(super) guest: Option<String>,
    /// Rows that were asked for by name.
    pub(super) named: bool,
    /// Every row is to fail.
    pub(super) broken: bool,
    /// Rows at a time.
    pub(super) jobs: usize,
}

impl Runner<'_> {
    /// Runs the rows; what became of each that was begun, in their order.
    pub(super) fn run(&self, rows: &[&'static Row], progress: &Progress) -> Result<Vec<Outcome>> {
        let tasks: Vec<Task> = rows.iter().flat_map(|row| self.tasks(row)).collect();
        let order: Vec<Task> = tasks.clone();
        let queue = Mutex::new(VecDeque::from_iter(tasks.into_iter().enumerate()));
        let (tell, told) = mpsc::channel();
        let workers = if self.guest.is_some() { 1 } else { self.jobs.clamp(1, order.len().max(1)) };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; order.len()];
        thread::scope(|scope| {
            for _ in 0..workers {
                let (queue, tell) = (&queue, tell.clone());
                scope.spawn(move || {
                    let mut kept = None;
                    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    while let Some((number, task)) = next() {
                        if check().is_err() {
                            break;
                        }
                        progress.begin(task.row);
                        let outcome = self.outcome(task, &mut kept);
                        let interrupted = check().is_err();
                        progress.end(task.row);
                        if interrupted || tell.send((number, outcome)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            for (number, outcome) in told {
                progress.print(&outcome);
                outcomes[number] = Some(outcome);
            }
        });
        check()?;
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// How many things there are to do.
    pub(super) fn count(&self, rows: &[&'static Row]) -> usize {
        rows.iter().map(|row| self.tasks(row).len()).sum()
    }

    /// Runs one row, in the lab that was there before.
    pub(super) fn one(&self, row: &'static Row) -> Outcome {
        self.outcome(Task { row, breaker: None }, &mut None)
    }

    fn tasks(&self, row: &'static Row) -> Vec<Task> {
        if self.broken {
            row.breakers.iter().map(|breaker| Task { row, breaker: Some(breaker) }).collect()
        } else {
            vec![Task { row, breaker: None }]
        }
    }

    fn outcome(&self, task: Task, kept: &mut Option<(&'static [&'static str], Lab)>) -> Outcome {
        let begin = Instant::now();
        let result = self.attempt(task, kept);
        let verdict = match (result, task.breaker) {
            (Err(error), _) if error.is::<LeftOut>() => Verdict::LeftOut(error.to_string()),
            (Err(error), _) if error.is::<Interrupted>() => Verdict::LeftOut("interrupted".into()),
            (Ok(figure), None) => Verdict::Passed(figure),
            (Err(error), None) => Verdict::Failed(sentence(&error, 600)),
            (Ok(figure), Some(breaker)) => {
                Verdict::Failed(format!("it does not notice that {}: {figure}", breaker.what))
            }
            (Err(error), Some(breaker)) => match error.downcast_ref::<NotBroken>() {
                Some(why) => Verdict::Failed(format!("{}: {}", breaker.what, why.0)),
                None if breaker.is_noticed(&error) => {
                    let why = sentence(&error, 120);
                    Verdict::Passed(format!("notices that {}: {why}", breaker.what))
                }
                None => {
                    let why = sentence(&error, 600);
                    Verdict::Failed(format!("{}, and it fails for another reason: {why}", breaker.what))
                }
            },
        };
        if !matches!(verdict, Verdict::Passed(_)) || task.breaker.is_some() {
            *kept = None;
        }
        Outcome { row: task.row, verdict, took: begin.elapsed() }
    }

    fn attempt(&self, task: Task, kept: &mut Option<(&'static [&'static str], Lab)>) -> Result<String> {
        let Task { row, breaker } = task;
        leave_out_without(row)?;
        let trick = match breaker.map(|breaker| breaker.harm) {
            Some(Harm::Trick(name)) => Some(name),
            _ => None,
        };
        let dir = env::temp_dir().join(new_name());
        if row.setting == Setting::Several {
            *kept = None;
            return self.bench(row, None, dir, trick);
        }
        let lab = match self.lab(row, breaker, kept) {
            // A lab that does not come up at all proves nothing about the row.
            Err(error) if breaker.is_some() => bail!(NotBroken(format!("{error:#}"))),
            other => other?,
        };
        if let Some(breaker) = breaker {
            harm(&lab, breaker.harm).map_err(|error| NotBroken(format!("cannot be done: {error:#}")))?;
        }
        let sound = if self.guest.is_some() { links(&lab, false)? } else { Vec::new() };
        let refused = limits::neighbors_refused().unwrap_or(0);
        let result = self.bench(row, Some(&lab), dir, trick);
        let result = match result {
            Err(error) if breaker.is_none() && !error.is::<LeftOut>() && !error.is::<Interrupted>() => {
                let drops = lab.drops().unwrap_or_default();
                let drops: Vec<_> = drops.iter().map(|(name, count)| format!("{name} {count}")).collect();
                let refused = limits::neighbors_refused().unwrap_or(0) - refused;
                let table = match refused {
                    0 => String::new(),
                    _ => format!("; the kernel's table of neighbours was full {refused} times"),
                };
                Err(anyhow!("{error:#} (the lab has dropped: {}{table})", drops.join(", ")))
            }
            other => other,
        };
        // What a row did to the links of somebody's lab is undone, however it ended.
        for link in sound {
            if links(&lab, true)?.contains(&link) {
                lab.fault_link(&link, "clear")?;
            }
        }
        if usable(row.setting) && result.is_ok() {
            *kept = Some((options(row.setting), lab));
        }
        result
    }

    fn bench(
        &self,
        row: &'static Row,
        lab: Option<&Lab>,
        dir: PathBuf,
        trick: Option<&'static str>,
    ) -> Result<String> {
        let mut bench = Bench::new(self.form, lab, dir, trick)?;
        match row.setting {
            Setting::Any { hosts } | Setting::Harmed { hosts } => bench.needs_hosts(hosts)?,
            Setting::Many => bench.needs_hosts(3)?,
            Setting::Own(_) | Setting::Several => {}
        }
        (row.check)(&mut bench)
    }

    /// The lab for a row: the one that was there before, the one that was kept, or a new one.
    fn lab(
        &self,
        row: &'static Row,
        breaker: Option<&'static Breaker>,
        kept: &mut Option<(&'static [&'static str], Lab)>,
    ) -> Result<Lab> {
        if let Some(name) = &self.guest {
            match row.setting {
                Setting::Any { .. } | Setting::Many => {}
                Setting::Harmed { .. } if self.named => {}
                Setting::Harmed { .. } => {
                    return Err(LeftOut("it breaks links of the lab: choose it with --filter".into()).into());
                }
                Setting::Own(_) | Setting::Several => {
                    return Err(LeftOut("it needs a lab of its own: run it without --lab".into()).into());
                }
            }
            return Lab::running(&self.form.program, name);
        }
        let wanted = match breaker.map(|breaker| breaker.harm) {
            Some(Harm::Options(options)) => options,
            _ => options(row.setting),
        };
        match kept.take() {
            Some((options, lab)) if options == wanted && breaker.is_none() && usable(row.setting) => Ok(lab),
            // Ended before the next begins.
            other => {
                drop(other);
                let need_not_come_up =
                    breaker.is_some_and(|breaker| matches!(breaker.harm, Harm::Options(_)));
                Lab::start(self.form, &new_name(), wanted, need_not_come_up)
            }
        }
    }
}

/// The links that have a fault, or those that have none.
fn links(lab: &Lab, faulty: bool) -> Result<Vec<String>> {
    let rows = lab.show(Noun::Links)?.into_iter();
    let is_faulty = |row: &Value| {
        let faults = &row["faults"];
        let mishaps = Mishap::ALL.map(Mishap::name);
        faults["down"] == true || mishaps.iter().chain(&["delay"]).any(|name| !faults[*name].is_null())
    };
    Ok(rows
        .filter(|row| is_faulty(row) == faulty)
        .filter_map(|row| Some(row["a"].as_str()?.to_owned()))
        .collect())
}

/// An error on one line of so many characters at most.
fn sentence(error: &anyhow::Error, longest: usize) -> String {
    let said = crate::cli::complaint::sentence(error);
    let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let said: String = lines.join(" | ").chars().filter(|c| !c.is_control()).collect();
    match said.char_indices().nth(longest) {
        Some((at, _)) => format!("{}...", &said[..at]),
        None => said,
    }
}

/// Something that was to be broken could not be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotBroken(String);

fn usable(setting: Setting) -> bool {
    matches!(setting, Setting::Any { .. } | Setting::Many)
}

/// The options of a lab of our own.
fn options(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Own(options) => options,
        Setting::Many => &["--topology", "star:9"],
        _ => &[],
    }
}

/// Leaves the row out if it needs a program that is not free and not here.
fn leave_out_without(row: &Row) -> Result<()> {
    match row.programs.iter().find(|program| program.optional && programs::find(program.name).is_none()) {
        Some(program) => {
            Err(LeftOut(format!("{} is not installed (Debian package {})", program.name, program.package))
                .into())
        }
        None => Ok(()),
    }
}

/// Breaks a lab.
fn harm(lab: &Lab, harm: Harm) -> Result<()> {
    let client = lab.hosts.first().context("the lab has no host")?;
    let server = lab.hosts.last().context("the lab has no host")?;
    let script = |host: &str, script: &str| -> Result<()> {
        let done = super::process::Process::start(&mut lab.command(host, &["sh", "-euc", script]))?;
        done.finish(super::lab::SHORT)?.ok().map(drop)
    };
    match harm {
        Harm::Server(fault) => lab.fault_link(&server.name, fault),
        Harm::Client(fault) => lab.fault_link(&client.name, fault),
        Harm::Link(link, fault) => lab.fault_link(link, fault),
        Harm::InServer(text) => script(&server.name, text),
        Harm::InClient(text) => script(&client.name, text),
        Harm::Stopped => lab.signal(Signal::STOP),
        Harm::Options(_) | Harm::Trick(_) => Ok(()),
    }
}

/// The rows that a user's words choose: `T4` is T4, T4b and T4c; `F` all faults.
pub(super) fn choose(rows: &[&'static Row], words: &[String]) -> Result<Vec<&'static Row>> {
    for word in words {
        if !rows.iter().any(|row| matches(row.id, word)) {
            bail!("--filter {word}: there is no such row: `ipoib verify --list` shows them");
        }
    }
    let is_chosen = |row: &&&'static Row| words.is_empty() || words.iter().any(|word| matches(row.id, word));
    Ok(rows.iter().filter(is_chosen).copied().collect())
}

/// Whether a row is meant: by its name, by its name without the letter at the end, by its family, or by the name with
/// an `=` before it, which means no other.
fn matches(id: &str, word: &str) -> bool {
    if let Some(exact) = word.strip_prefix('=') {
        return id.eq_ignore_ascii_case(exact);
    }
    let (id, word) = (id.to_ascii_lowercase(), word.to_ascii_lowercase());
    let family = word.len() == 1 && id.starts_with(&word);
    let number = id.trim_end_matches(|c: char| c.is_ascii_lowercase()) == word;
    family || number || id == word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_a_row_its_variants_or_a_family() {
        assert!(matches("T4", "T4") && matches("T4b", "t4") && matches("T4b", "T4b") && matches("T4b", "T"));
        assert!(
            !matches("T14", "T4") && !matches("T4", "T4b") && !matches("F8", "T") && !matches("T11", "T1")
        );
        assert!(matches("T4", "=T4") && !matches("T4b", "=T4"));
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        let why = choose(&super::super::table::ROWS, &["T99".into()]).unwrap_err().to_string();
        assert!(why.contains("--filter T99: there is no such row"), "{why}");
    }
}
