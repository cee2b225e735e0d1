//! What comes out: tables for people, JSON for programs.

use std::{fmt, fs, process::Command};

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{
    measure::{Measured, Plan, Row},
    metric::{Metric, TARGETS, Target},
};

/// Median and the quartiles around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// None of nothing. What is no number does not count.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let quartile = |quarter: usize| {
            let (place, part) = (quarter * last / 4, quarter * last % 4);
            values[place] + (values[(place + 1).min(last)] - values[place]) * part as f64 / 4.0
        };
        Some(Self { low: quartile(1), median: quartile(2), high: quartile(3) })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.low, self.high)
    }
}

/// Everything that was measured, and on what.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) measured: Measured,
    pub(crate) machine: String,
    pub(crate) commit: String,
}

impl Report {
    pub(crate) fn new(measured: Measured) -> Self {
        let machine = format!("{}, TCP with {}", machine(), measured.plan.congestion);
        Self { measured, machine, commit: commit() }
    }

    fn row(&self, subject: &str) -> Option<&Row> {
        self.measured.rows.iter().find(|row| row.subject.name == subject)
    }

    fn metric(&self, name: &str) -> Option<usize> {
        self.measured.metrics.iter().position(|metric| metric.name == name)
    }

    /// A subject's figures as ratios to another's, round by round.
    pub(crate) fn ratio(&self, m: usize, of: &Row, to: &Row) -> Option<Spread> {
        Spread::of(of.figures[m].iter().zip(&to.figures[m]).map(|(of, to)| of / to))
    }

    /// The ratio that a target asks for, and against whom.
    fn achieved(&self, target: &Target) -> Option<(Spread, &'static str)> {
        let (m, row) = (self.metric(target.metric)?, self.row(target.subject)?);
        let more = self.measured.metrics[m].more_is_better;
        let median = |row: &&Row| Spread::of(row.figures[m].iter().copied()).map_or(f64::NAN, |s| s.median);
        let rivals = target.against.iter().filter_map(|name| self.row(name));
        let best = rivals.max_by(|a, b| {
            let order = median(a).total_cmp(&median(b));
            if more { order } else { order.reverse() }
        })?;
        Some((self.ratio(m, row, best)?, best.subject.name))
    }

    /// All figures, and the ratios that are asked for.
    pub(crate) fn json(&self) -> Value {
        let figures = |row: &Row| -> Value {
            let each = self.measured.metrics.iter().zip(&row.figures);
            each.map(|(metric, rounds)| (metric.name.to_owned(), json!(rounds))).collect()
        };
        let subjects = self.measured.rows.iter().map(|row| {
            let (name, about) = (row.subject.name, row.subject.about);
            json!({ "name": name, "about": about, "idle": row.idle, "figures": figures(row) })
        });
        let metric =
            |m: &&Metric| json!({ "name": m.name, "about": m.about, "more_is_better": m.more_is_better });
        let targets = TARGETS.iter().filter_map(|target| {
            let (ratio, against) = self.achieved(target)?;
            Some(json!({
                "subject": target.subject, "metric": target.metric, "against": against, "bound": target.bound,
                "ratio": { "median": ratio.median, "low": ratio.low, "high": ratio.high },
            }))
        });
        let plan = &self.measured.plan;
        json!({
            "schema": 1, "machine": self.machine, "commit": self.commit,
            "rounds": plan.rounds, "seconds": plan.seconds, "congestion": plan.congestion,
            "metrics": self.measured.metrics.iter().map(metric).collect::<Vec<_>>(),
            "subjects": subjects.collect::<Vec<_>>(),
            "absent": self.measured.absent,
            "targets": targets.collect::<Vec<_>>(),
        })
    }

    fn ratios(&self) -> Table {
        let mut table = table();
        let Some(first) = self.measured.rows.first() else { return table };
        let metrics = self.measured.metrics.iter().enumerate().filter(|(m, _)| !first.figures[*m].is_empty());
        let (numbers, names): (Vec<usize>, Vec<String>) =
            metrics.map(|(m, metric)| (m, metric.name.to_owned())).unzip();
        table.set_header(["".to_owned()].into_iter().chain(names).chain(["idle".to_owned()]));
        for row in &self.measured.rows {
            let ratios = numbers.iter().map(|m| match self.ratio(*m, row, first) {
                Some(ratio) => ratio.to_string(),
                None if row.figures[*m].is_empty() => String::new(),
                None => "failed".to_owned(),
            });
            let idle = row.idle.map_or_else(String::new, |part| format!("{:.1} %", part * 100.0));
            table.add_row([row.subject.name.to_owned()].into_iter().chain(ratios).chain([idle]));
        }
        table
    }

    fn targets(&self) -> Table {
        let mut table = table();
        table.set_header(["", "metric", "against", "ratio", "asked for", ""]);
        for target in &TARGETS {
            let Some((ratio, against)) = self.achieved(target) else { continue };
            let more = self.metric(target.metric).is_none_or(|m| self.measured.metrics[m].more_is_better);
            let met = if more { ratio.median >= target.bound } else { ratio.median <= target.bound };
            table.add_row([
                target.subject.to_owned(),
                target.metric.to_owned(),
                against.to_owned(),
                ratio.to_string(),
                format!("{} {:.2}", if more { ">=" } else { "<=" }, target.bound),
                if met { "" } else { "missed" }.to_owned(),
            ]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { plan: Plan { rounds, seconds, .. }, absent, .. } = &self.measured;
        writeln!(f, "{}, commit {}", self.machine, self.commit)?;
        writeln!(f, "{rounds} rounds of {seconds} s; medians and quartiles of the ratios within a round")?;
        if !absent.is_empty() {
            writeln!(f, "not installed here: {}", absent.join(" "))?;
        }
        if let Some(first) = self.measured.rows.first() {
            writeln!(f, "\nAgainst {}:\n\n{}", first.subject.name, self.ratios())?;
        }
        let targets = self.targets();
        if targets.row_count() > 0 {
            writeln!(f, "\nAgainst what this project asks for:\n\n{targets}")?;
        }
        Ok(())
    }
}

/// Tables that a Markdown page takes as they are.
fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{count} processors ({}), Linux {}", model.unwrap_or("unknown"), kernel.trim())
}

fn commit() -> String {
    let git = |words: &[&str]| {
        let done = Command::new("git").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if changed { commit + ", changed" } else { commit }
}
