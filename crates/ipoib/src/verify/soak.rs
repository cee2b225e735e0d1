//! `--soak`: rows and faults mixed by chance in one lab, and at the end what was lost.
//!
//! The order is the seed's alone: a run with the same seed takes the same steps, however long each lasts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    bench::{Bench, Form, new_name},
    lab::Lab,
    process::check,
    programs::PING,
    report::Progress,
    row::{Breaker, Harm, Outcome, Row, Setting, Verdict},
    runner::Runner,
};
use crate::control::schema::Noun;

/// Flows that complete whatever a link loses, so that they can run while it does.
const TOUGH: [&str; 8] = ["T1b", "T1c", "T3b", "T5", "T7", "T8", "T9", "T10"];
/// What goes wrong under them.
const MILD: [&str; 5] = ["loss 0.5%", "corrupt 0.2%", "delay 2ms", "loss 2%", "delay 500us"];
/// Rows whose floods leave the kernels of hosts busy, or whose frames are meant to be dropped.
const LEFT_OUT: [&str; 3] = ["T15", "F21", "F21b"];
/// Drops that are nobody's fault but ours.
const NEVER: [&str; 10] = [
    "host_bad_frame",
    "rx_bad_arp",
    "rx_bad_dhcp",
    "rx_bad_nd",
    "rx_forged_arp",
    "rx_forged_nd",
    "rx_runt",
    "rx_wrong_partition",
    "tx_too_long",
    "tx_runt",
];
/// Steps after which tables and pools have what they need.
const WARM: usize = 8;

/// What holds at the end.
static END: Row = Row {
    id: "SOAK",
    title: "what was lost",
    meaning: "After all that, all hosts reach each other; neither memory nor descriptors have grown, nothing waits, \
              and nothing was dropped that no fault explains.",
    command: "ping $EACH in every host; ipoib show counters",
    proves: &[],
    programs: &[PING],
    setting: Setting::Many,
    check: |_| Ok(String::new()),
    breakers: &[Breaker { what: "the lab has no host", harm: Harm::Trick(""), noticed: &[] }],
};

/// Mixes `rows` for so long; what became of each step, and of the lab.
pub(super) fn run(
    form: &Form,
    time: Duration,
    rows: &[&'static Row],
    progress: &Progress,
) -> Result<Vec<Outcome>> {
    let seed = form.seed.to_string();
    eprintln!("ipoib: verify: soak with --seed {seed}");
    let name = new_name();
    let lab = Lab::start(form, &name, &["--topology", "pair", "--seed", &seed], false)?;
    let runner = Runner { form, guest: Some(name), named: true, broken: false, jobs: 1 };
    let rows: Vec<&'static Row> = rows.iter().copied().filter(|row| suits(row)).collect();
    let mut chance = Chance(form.seed);
    let (begin, mut outcomes, mut warm) = (Instant::now(), Vec::new(), None);
    if rows.is_empty() {
        bail!("--soak: none of these rows runs in a lab with others: leave --filter out");
    }
    while begin.elapsed() < time {
        if outcomes.len() == WARM {
            warm = Some((lab.memory()?, lab.descriptors()?));
        }
        let row = rows[chance.below(rows.len())];
        let fault = MILD[chance.below(MILD.len())];
        let host = lab.hosts[chance.below(lab.hosts.len())].name.clone();
        let harmed = TOUGH.contains(&row.id) && chance.below(2) == 0;
        progress.begin(row);
        if harmed {
            lab.fault_link(&host, fault)?;
        }
        let mut outcome = runner.one(row);
        lab.fault_link(&host, "clear")?;
        progress.end(row);
        check()?;
        if harmed {
            let note = |said: String| format!("{said} (with {fault} at {host})");
            outcome.verdict = match outcome.verdict {
                Verdict::Passed(said) => Verdict::Passed(note(said)),
                Verdict::Failed(said) => Verdict::Failed(note(said)),
                other => other,
            };
        }
        progress.print(&outcome);
        outcomes.push(outcome);
    }
    let last = Instant::now();
    let verdict = match lost(form, &lab, warm) {
        Ok(figure) => Verdict::Passed(format!("{} steps, seed {seed}: {figure}", outcomes.len())),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    let end = Outcome { row: &END, verdict, took: last.elapsed() };
    progress.print(&end);
    outcomes.push(end);
    if outcomes.iter().any(|outcome| matches!(outcome.verdict, Verdict::Failed(_))) {
        progress.say(&format!("the same steps once more: add --seed {seed}, and the same --filter"));
    }
    Ok(outcomes)
}

/// Rows that leave a lab as it was.
fn suits(row: &Row) -> bool {
    let shared = matches!(row.setting, Setting::Any { .. } | Setting::Many | Setting::Harmed { .. });
    let there = !row.programs.iter().any(|program| program.optional);
    shared && there && !LEFT_OUT.contains(&row.id)
}

/// Looks for what is lost: peers, memory, descriptors, packets.
fn lost(form: &Form, lab: &Lab, warm: Option<(u64, usize)>) -> Result<String> {
    let bench = Bench::new(form, Some(lab), std::env::temp_dir().join(new_name()), None)?;
    for from in &lab.hosts {
        for to in lab.hosts.iter().filter(|to| *to != from) {
            bench.comes_back(from, &to.v4, Duration::from_secs(10))?;
            bench.comes_back(from, &to.v6, Duration::from_secs(10))?;
        }
    }
    let rows = lab.show(Noun::Counters)?;
    let waiting: u64 = rows.iter().filter_map(|row| row["counters"]["pending_bytes"].as_u64()).sum();
    if waiting > 0 {
        bail!("{waiting} octets still wait for a path or a group");
    }
    let drops = lab.drops()?;
    let (ours, explained): (Vec<_>, Vec<_>) =
        drops.iter().partition(|(name, _)| NEVER.contains(&name.as_str()));
    let text = |drops: Vec<(&String, &u64)>| {
        drops.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    if !ours.is_empty() {
        bail!("dropped without a reason: {}", text(ours));
    }
    let Some((memory, descriptors)) = warm else {
        return Ok(format!("too short for a word on memory; dropped: {}", text(explained)));
    };
    lab.settles(descriptors)?;
    let now = lab.memory()?;
    if now > memory + memory / 4 + MOST_GROWN {
        bail!("the lab's memory grew from {} to {} KiB", memory >> 10, now >> 10);
    }
    Ok(format!("{} MiB after {} MiB; dropped: {}", now >> 20, memory >> 20, text(explained)))
}

/// What an allocator may do of its own.
const MOST_GROWN: u64 = 4 << 20;

/// Numbers that are the same for the same seed.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// One of 0 to `count` - 1.
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = usize::try_from(self.0 >> 33).unwrap_or(usize::MAX);
        high % count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_takes_the_same_steps() {
        let steps = |seed| {
            let mut chance = Chance(seed);
            (0..100).map(|_| chance.below(30)).collect::<Vec<_>>()
        };
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
        let all = steps(9);
        assert!((0..30).filter(|step| all.contains(step)).count() > 20, "{all:?}");
    }

    #[test]
    fn the_names_of_rows_are_theirs() {
        let known = |id: &str| super::super::table::ROWS.iter().any(|row| row.id == id);
        assert!(TOUGH.iter().all(|id| known(id)) && LEFT_OUT.iter().all(|id| known(id)));
    }
}
