//! `verify` as it is typed.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ib_fabric::topology::parse_duration;

use crate::verify::VerifyPlan;

/// `verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "The exit status is 0 if all rows that ran passed, 1 if one failed, 2 if none could be run.\n\n\
                        Examples:\n  ipoib verify\n  ipoib verify --filter T4 --filter F8 --junit verify.xml\n  \
                        ipoib verify --full\n  ipoib verify --lab storm --filter T11\n  \
                        ipoib verify --soak 10m --seed 7"
)]
pub(super) struct VerifyArgs {
    /// Only these rows: T4 (with T4b and T4c), =T4 (alone), T (all flows), F (all faults)
    #[arg(long, value_name = "ROW")]
    filter: Vec<String>,
    /// List the rows and what they mean
    #[arg(long)]
    list: bool,
    /// With --list: tables for the manual
    #[arg(long, requires = "list", conflicts_with = "json")]
    markdown: bool,
    /// The whole of every row, which takes less than a quarter of an hour
    #[arg(long)]
    full: bool,
    /// Break the fabric before each row, and see that the row fails
    #[arg(long, conflicts_with_all = ["full", "lab", "soak"])]
    broken: bool,
    /// Wait for nothing as long as it may take
    #[arg(long, hide = true)]
    hasty: bool,
    /// In labs whose drivers are processes of their own, as `ipoib lab --isolate` has them
    #[arg(long, conflicts_with = "lab")]
    isolate: bool,
    /// Write the result for CI systems
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Use the hosts of this lab, and leave out rows that need one of their own
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// Mix rows and faults by chance for so long, then look for what was lost
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "lab")]
    soak: Option<Duration>,
    /// Begin chance with this number, to have a run again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Rows at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: Option<u8>,
}

impl From<VerifyArgs> for VerifyPlan {
    fn from(args: VerifyArgs) -> Self {
        let VerifyArgs {
            filter,
            list,
            markdown,
            full,
            broken,
            hasty,
            isolate,
            junit,
            json,
            lab,
            soak,
            seed,
            jobs,
        } = args;
        let jobs = jobs.map(usize::from);
        Self { filter, list, markdown, full, broken, hasty, isolate, junit, json, lab, soak, seed, jobs }
    }
}

/// `90s`, `10m`, `2h`.
fn time(text: &str) -> Result<Duration, String> {
    let many = |unit: char, seconds: u64| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(count.checked_mul(seconds)?))
    };
    match many('h', 3600).or_else(|| many('m', 60)) {
        Some(time) => Ok(time),
        None => parse_duration(text).map_err(|_| format!("`{text}` is no time: write 90s, 10m or 2h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_minutes_or_hours() {
        assert_eq!(time("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(time("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(time("2h").unwrap(), Duration::from_secs(7200));
        assert!(time("10").unwrap_err().contains("write 90s, 10m or 2h"));
    }
}
