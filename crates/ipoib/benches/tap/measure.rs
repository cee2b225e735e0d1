//! The measuring: rounds, in each every subject in turn with every metric, beginning with another one each time.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Read},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    metric::{METRICS, Metric, Sample, is_asked_for},
    subject::{SUBJECTS, Subject, Way},
    traffic::{Kind, Seen},
    world::{self, Process, World},
};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) subjects: Vec<String>,
    pub(crate) metrics: Vec<String>,
    /// Only what targets need.
    pub(crate) asked: bool,
    /// How TCP finds its rate.
    pub(crate) congestion: String,
    /// Further options of labs.
    pub(crate) with: Vec<String>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Subjects, in the table's order, and their figures: by metric, by round.
    pub(crate) rows: Vec<Row>,
    pub(crate) metrics: Vec<&'static Metric>,
    /// Subjects that this machine lacks.
    pub(crate) absent: Vec<&'static str>,
    pub(crate) plan: Plan,
}

/// One subject's figures.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) subject: &'static Subject,
    /// By metric, by round; not a number where the traffic failed. Of a metric that is not wanted of it there is none.
    pub(crate) figures: Vec<Vec<f64>>,
    /// Part of a processor that it uses while nothing happens; none if nobody is there who could.
    pub(crate) idle: Option<f64>,
}

impl Plan {
    fn wants(&self, subject: &Subject, metric: &Metric) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        named(&self.subjects, subject.name)
            && named(&self.metrics, metric.name)
            && (!self.asked || is_asked_for(subject.name, metric.name))
    }
}

const QUIET: Duration = Duration::from_secs(3);

/// Brings everything up, measures, takes it down.
pub(crate) fn run(plan: Plan) -> Result<Measured> {
    for name in &plan.subjects {
        ensure!(SUBJECTS.iter().any(|s| s.name == *name), "{name}: no such subject: see --list");
    }
    for name in &plan.metrics {
        ensure!(METRICS.iter().any(|m| m.name == *name), "{name}: no such metric: see --list");
    }
    let metrics: Vec<&Metric> =
        METRICS.iter().filter(|m| SUBJECTS.iter().any(|s| plan.wants(s, m))).collect();
    let mut world = World::new(plan.with.clone())?;
    let (mut rows, mut ways, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for subject in SUBJECTS.iter().filter(|s| metrics.iter().any(|m| plan.wants(s, m))) {
        match (subject.start)(&mut world).with_context(|| subject.name)? {
            Some(way) => {
                let figures = vec![Vec::new(); metrics.len()];
                rows.push(Row { subject, figures, idle: None });
                ways.push(way);
            }
            None => absent.push(subject.name),
        }
    }
    ensure!(!rows.is_empty(), "nothing to measure");
    for (row, way) in rows.iter().zip(&ways) {
        reach(&world, way, &plan)
            .with_context(|| format!("{}: the hosts do not reach each other", row.subject.name))?;
    }
    idle(&mut rows, &ways);
    for round in 0..plan.rounds {
        for (m, metric) in metrics.iter().enumerate() {
            // The same traffic just before gave this figure too.
            if m > 0 && (metric.kind, metric.streams) == (metrics[m - 1].kind, metrics[m - 1].streams) {
                continue;
            }
            let takes_part: Vec<usize> =
                (0..rows.len()).filter(|s| plan.wants(rows[*s].subject, metric)).collect();
            for turn in 0..takes_part.len() {
                let s = takes_part[(turn + round) % takes_part.len()];
                progress(&format!(
                    "round {}/{}: {} {}",
                    round + 1,
                    plan.rounds,
                    metric.name,
                    rows[s].subject.name
                ));
                let sample = sample(&world, &ways[s], metric, plan.seconds, &plan.congestion);
                if let Err(error) = &sample {
                    progress("");
                    eprintln!("{} {}: {error:#}", rows[s].subject.name, metric.name);
                }
                let same = |other: &Metric| (other.kind, other.streams) == (metric.kind, metric.streams);
                for (k, other) in metrics.iter().enumerate().filter(|(_, other)| same(other)) {
                    rows[s].figures[k].push(sample.as_ref().map_or(f64::NAN, other.figure));
                }
            }
        }
    }
    progress("");
    Ok(Measured { rows, metrics, absent, plan })
}

/// One line that the next replaces, for those who watch.
fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

fn idle(rows: &mut [Row], ways: &[Way]) {
    let before: Vec<f64> = ways.iter().map(cpu).collect();
    thread::sleep(QUIET);
    for ((row, way), before) in rows.iter_mut().zip(ways).zip(before) {
        row.idle = (!way.processes.is_empty()).then(|| (cpu(way) - before) / QUIET.as_secs_f64());
    }
}

fn cpu(way: &Way) -> f64 {
    way.processes.iter().map(|process| world::cpu(process.0.id())).sum()
}

/// Waits until pings come back.
fn reach(world: &World, way: &Way, plan: &Plan) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    let ping = METRICS.iter().find(|m| m.name == "ping").context("ping")?;
    while !sample(world, way, ping, 0.02, &plan.congestion).is_ok_and(|sample| sample.client.count > 0) {
        ensure!(Instant::now() < until, "no answer from {}", way.server);
    }
    Ok(())
}

fn sample(world: &World, way: &Way, metric: &Metric, seconds: f64, congestion: &str) -> Result<Sample> {
    let [client, server] = &way.ends;
    let kind = clap::ValueEnum::to_possible_value(&metric.kind).context("a kind of traffic")?;
    let end = |mut command: Command, to: Option<Ipv4Addr>| -> Result<Process> {
        command.args(["traffic", kind.get_name(), "--streams", &metric.streams.to_string()]);
        command.args(["--congestion", congestion]);
        command.args(["--seconds", &seconds.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        command.args(to.map(|to| format!("--to={to}")));
        Ok(Process(command.stderr(Stdio::piped()).spawn()?))
    };
    let is_ping = metric.kind == Kind::Ping;
    let mut serving = end(server.command(&world.me), None)?;
    let mut answers = BufReader::new(serving.0.stdout.take().context("its output")?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    ensure!(is_ping || line == "ready\n", "the server did not start: {}", complaint(&mut serving.0));
    let before = cpu(way);
    let mut calling = end(client.command(&world.me), Some(way.server))?;
    let client = last_line(&mut calling.0)?;
    // A server that counts ends by itself; the others wait for more.
    let counts = matches!(metric.kind, Kind::Stream | Kind::Both | Kind::Flood);
    let server = if counts {
        line.clear();
        answers.read_to_string(&mut line)?;
        serde_json::from_str(line.trim()).with_context(|| complaint(&mut serving.0))?
    } else {
        Seen::default()
    };
    Ok(Sample { server, client, subject_cpu: cpu(way) - before })
}

fn last_line(child: &mut Child) -> Result<Seen> {
    let mut said = String::new();
    child.stdout.take().context("its output")?.read_to_string(&mut said)?;
    serde_json::from_str(said.trim()).with_context(|| complaint(child))
}

fn complaint(child: &mut Child) -> String {
    let _ = child.kill();
    let mut said = String::new();
    let _ = child.stderr.take().map(|mut from| from.read_to_string(&mut said));
    said.trim().to_owned()
}
