//! A cluster in virtual time: hosts come up, join groups, meet peers, lose a spine, get another manager.
//!
//! `cargo run --release -p ib-lab --example cluster -- [--hosts N] [--peers N] [--groups N] [--seed N] [--svg FILE]`
//!
//! Says how long each step took, how many requests reached subnet administration, and how many of them in its busiest
//! tenth of a second; `--svg` draws them over time.

mod chart;
mod scene;

use std::{env, fs, process::ExitCode, time::Duration, time::Instant as Clock};

use scene::{Load, Plan, SLOT, Scene};

const USAGE: &str = "cluster [--hosts N] [--peers N] [--groups N] [--seed N] [--svg FILE]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cluster: {why}: {USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut hosts, mut plan, mut svg) =
        (10_000, Plan { topology: String::new(), peers: 32, groups: 4, seed: 1 }, None);
    let mut words = env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<usize>().map_err(|_| format!("{option} {value}: not a number"));
        match option.as_str() {
            "--hosts" => hosts = number()?,
            "--peers" => plan.peers = number()?,
            "--groups" => plan.groups = number()?,
            "--seed" => plan.seed = number()? as u64,
            "--svg" => svg = Some(value),
            _ => return Err(format!("{option}: no such option")),
        }
    }
    // The smallest whole tree that has room.
    let k = (4..).step_by(2).find(|k| k * k * k / 4 >= hosts.max(2)).unwrap_or(36);
    plan.topology = format!("fat-tree:k={k},hosts={hosts}");

    let begun = Clock::now();
    println!("| step | wall s | path queries | joins and leaves | others | most in 0.1 s |");
    println!("|---|---|---|---|---|---|");
    let mut scene = Scene::new(plan);
    let mut marks = Vec::new();
    let mut step = |scene: &mut Scene, name: &'static str, seconds: u64, act: &mut dyn FnMut(&mut Scene)| {
        let (clock, first) = (Clock::now(), scene.load.len());
        marks.push((first, name));
        act(scene);
        scene.pass(Duration::from_secs(seconds));
        let most = scene.load[first..].iter().map(|load| load.all()).max().unwrap_or(0);
        let Load { paths, groups, others } = scene.load_since(first);
        let wall = clock.elapsed().as_secs_f64();
        println!("| {name} | {wall:.1} | {paths} | {groups} | {others} | {most} |");
    };
    step(&mut scene, "hosts come up", 10, &mut |_| {});
    if scene.simulation.up() != scene.hosts() {
        return Err(format!("only {} of {} hosts came up", scene.simulation.up(), scene.hosts()));
    }
    step(&mut scene, "each joins its groups", 10, &mut Scene::join_groups);
    let mut pairs = 0;
    step(&mut scene, "each meets its peers", 15, &mut |scene| pairs = scene.meet_peers());
    let replies = scene.replies();
    step(&mut scene, "a spine is lost", 10, &mut Scene::lose_spine);
    step(&mut scene, "another manager takes charge", 15, &mut Scene::replace_manager);
    let megabytes = memory();
    println!(
        "\n{} hosts, {pairs} pairs met, {replies} pings answered; {:.1} s in all, {megabytes} MB, {} KB a host",
        scene.hosts(),
        begun.elapsed().as_secs_f64(),
        megabytes * 1024 / scene.hosts() as u64
    );
    if let Some(file) = svg {
        let drawn = chart::draw(&scene.load, SLOT, &marks);
        fs::write(&file, drawn).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(())
}

/// Most memory the process ever had, in MB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}
