//! What a run says: while it goes on, a line for each row; at the end a summary, JSON, JUnit.

mod junit;
mod markdown;
mod progress;

use std::time::Duration;

use serde_json::{Value, json};

pub(super) use self::{junit::junit, markdown::markdown, progress::Progress};
use super::row::{Outcome, Row, Verdict};

/// Version of the JSON documents.
const SCHEMA: u32 = 1;

/// A row that is done, on one line.
pub(super) fn line(outcome: &Outcome) -> String {
    let (word, words) = words(&outcome.verdict);
    let Row { id, title, .. } = outcome.row;
    format!("{id:<5} {title:<34} {word:<8} {:>6}  {words}", seconds(outcome.took)).trim_end().to_owned()
}

/// How many rows ended how, by family, and the ones that failed once more.
pub(super) fn summary(outcomes: &[Outcome], took: Duration) -> String {
    let Counts { passed, failed, left_out } = Counts::of(outcomes);
    let mut text = format!("\n{:<8} {:>4} {:>8} {:>10} {:>10}\n", "", "ok", "FAILED", "left out", "time");
    for name in ["flows", "faults"] {
        let rows = outcomes.iter().filter(|outcome| family(outcome.row) == name);
        let rows: Vec<Outcome> = rows.cloned().collect();
        let Counts { passed, failed, left_out } = Counts::of(&rows);
        let time = seconds(rows.iter().map(|outcome| outcome.took).sum());
        text.push_str(&format!("{name:<8} {passed:>4} {failed:>8} {left_out:>10} {time:>10}\n"));
    }
    text.push_str(&format!("\n{passed} ok, {failed} FAILED, {left_out} left out, in {}\n", seconds(took)));
    let mut failures =
        outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_))).peekable();
    if failures.peek().is_some() {
        text.push('\n');
    }
    for outcome in failures {
        let Row { id, title, meaning, command, .. } = outcome.row;
        let why = words(&outcome.verdict).1;
        text.push_str(&format!(
            "{id} {title}\n  claim    {meaning}\n  programs {command}\n  failed   {why}\n"
        ));
    }
    text
}

/// Of which half of the table a row is.
fn family(row: &Row) -> &'static str {
    if row.id.starts_with('F') { "faults" } else { "flows" }
}

/// How many rows ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// They hold.
    pub(super) passed: usize,
    /// They do not.
    pub(super) failed: usize,
    /// They were not tried.
    pub(super) left_out: usize,
}

impl Counts {
    /// Of these rows.
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Passed(_) => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::LeftOut(_) => counts.left_out += 1,
            }
        }
        counts
    }
}

/// The whole run for other programs.
pub(super) fn document(outcomes: &[Outcome], took: Duration, seed: u64) -> Value {
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let (word, words) = words(&outcome.verdict);
            json!({
                "id": outcome.row.id,
                "title": outcome.row.title,
                "result": word.to_lowercase(),
                "said": words,
                "seconds": outcome.took.as_secs_f64(),
            })
        })
        .collect();
    let Counts { passed, failed, left_out } = Counts::of(outcomes);
    json!({
        "schema": SCHEMA,
        "seed": seed,
        "passed": passed,
        "failed": failed,
        "left_out": left_out,
        "seconds": took.as_secs_f64(),
        "rows": rows,
    })
}

/// The rows that there are, for people.
pub(super) fn list(rows: &[&'static Row]) -> String {
    rows.iter().map(|row| format!("{:<5} {:<34} {}\n", row.id, row.title, row.meaning)).collect()
}

/// The rows that there are, for other programs.
pub(super) fn list_document(rows: &[&'static Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id,
                "title": row.title,
                "meaning": row.meaning,
                "command": row.command,
                "proves": row.proves.iter().map(|promise| promise.id()).collect::<Vec<_>>(),
                "packages": row.programs.iter().map(|program| program.package).collect::<Vec<_>>(),
                "broken_by": row.breakers.iter().map(|breaker| breaker.what).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "schema": SCHEMA, "rows": rows })
}

/// The word for how a row ended, and what there is to say.
fn words(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Passed(words) => ("ok", words),
        Verdict::Failed(words) => ("FAILED", words),
        Verdict::LeftOut(words) => ("left out", words),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{super::table::ROWS, *};

    fn outcome(verdict: Verdict) -> Outcome {
        Outcome { row: ROWS[0], verdict, took: Duration::from_millis(1250) }
    }

    #[test]
    fn a_row_is_one_line() {
        let said = line(&outcome(Verdict::Passed("812 Mb/s".into())));
        assert!(
            said.starts_with("T1 ") && said.contains(" ok ") && said.ends_with("1.2s  812 Mb/s"),
            "{said}"
        );
    }

    #[test]
    fn failures_are_told_again_with_their_claim() {
        let failed = outcome(Verdict::Failed("no answer".into()));
        let said = summary(&[failed, outcome(Verdict::LeftOut("why not".into()))], Duration::from_secs(2));
        assert!(said.contains("\n0 ok, 1 FAILED, 1 left out, in 2.0s\n"), "{said}");
        let table: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            table[2..4],
            [vec!["flows", "0", "1", "1", "2.5s"], vec!["faults", "0", "0", "0", "0.0s"]]
        );
        assert!(said.contains(ROWS[0].meaning) && said.contains("failed   no answer"), "{said}");
    }

    #[test]
    fn documents_count_and_name() {
        let outcomes = [outcome(Verdict::Passed("x".into())), outcome(Verdict::Failed("y".into()))];
        let document = document(&outcomes, Duration::from_secs(3), 7);
        assert_eq!(
            (&document["passed"], &document["failed"], &document["seed"]),
            (&1.into(), &1.into(), &7.into())
        );
        assert_eq!(document["rows"][1]["result"], "failed");
        assert_eq!(list_document(&ROWS)["rows"].as_array().unwrap().len(), ROWS.len());
    }
}
