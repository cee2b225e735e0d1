//! How close a lab comes to what the machine allows: everything side by side in one run, in turn.
//!
//!     cargo bench -p ipoib --bench tap                       all of it, some ten minutes
//!     cargo bench -p ipoib --bench tap -- --help
//!
//! The lab, programs that only copy between two TAPs (the references: no user-space design does less), the kernel's
//! veth, and what people use otherwise where it is installed. Every figure is told as a ratio within a round, for the
//! rounds of one machine differ more than the subjects do.

mod chart;
mod copier;
mod measure;
mod merge;
mod metric;
mod outside;
mod report;
mod ring;
mod subject;
mod sys;
mod traffic;
mod world;

use std::{fs::File, io, os::fd::AsFd, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use self::{copier::Design, measure::Plan, metric::METRICS, report::Report, subject::SUBJECTS, traffic::End};

/// Measures labs beside programs that only copy.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Rounds: in each, every subject has its turn with every metric.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one measurement counts.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Only these subjects.
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,
    /// Only these metrics.
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<String>,
    /// Only what a ratio needs that this project asks for: in the time of a round of everything there are four of these.
    #[arg(long)]
    asked: bool,
    /// How TCP finds its rate: cubic is what Linux does if nobody says anything, and some machines are told bbr.
    #[arg(long, default_value = "cubic")]
    congestion: String,
    /// Options for `ipoib lab` besides, in all subjects that are labs.
    #[arg(long, value_delimiter = ' ', allow_hyphen_values = true)]
    with: Vec<String>,
    /// The whole result as JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Also draw a chart into this SVG file.
    #[arg(long)]
    chart: Option<PathBuf>,
    /// List subjects and metrics.
    #[arg(long)]
    list: bool,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What this program is in a process of its own.
#[derive(Clone, Debug, Subcommand)]
#[command(hide = true)]
enum Role {
    /// One end of some traffic.
    Traffic(End),
    /// A reference; standard input and output are the TAPs.
    Copier {
        #[arg(value_enum)]
        design: Design,
    },
    /// A part of the reference in three processes; standard output is the shared memory.
    Ring {
        #[arg(value_enum)]
        part: Part,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    First,
    Second,
    Between,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match args.role.clone().map_or_else(|| run(&args), play) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if args.list {
        SUBJECTS.iter().for_each(|s| println!("{:12} {}", s.name, s.about));
        METRICS.iter().for_each(|m| println!("{:12} {}", m.name, m.about));
        return Ok(());
    }
    ipoib::os::userns::enter_if_needed()?;
    let plan = Plan {
        rounds: args.rounds.max(1),
        seconds: args.seconds,
        subjects: args.subjects.clone(),
        metrics: args.metrics.clone(),
        asked: args.asked,
        congestion: args.congestion.clone(),
        with: args.with.clone(),
    };
    let report = Report::new(measure::run(plan)?);
    if let Some(file) = &args.chart {
        std::fs::write(file, chart::draw(&report)).with_context(|| file.display().to_string())?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn play(role: Role) -> Result<()> {
    match role {
        Role::Traffic(end) => traffic::run(&end)?,
        Role::Copier { design } => copier::run(design)?,
        Role::Ring { part } => {
            let memory = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            let [a, b, to_a, to_b] = ring::rings(&memory)?;
            match part {
                Part::First => ring::driver(io::stdin(), a, to_a),
                Part::Second => ring::driver(io::stdin(), b, to_b),
                Part::Between => ring::fabric([a, b], [to_a, to_b]),
            }
        }
    }
    Ok(())
}
