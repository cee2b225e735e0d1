//! The embedded manager at scale: how long it takes until all ports of a fat tree are Active, how many SMPs and how
//! much memory, and how long until a lost and a mended link are healed.
//!
//! `cargo bench -p ib-lab --bench subnet [-- TOPOLOGY...]`; each topology is a process of its own, on one core.

use std::{
    env, fs,
    process::{Command, ExitCode},
    time::Duration,
};

use ib_fabric::{
    LinkFault,
    topology::{self, Link, Topology},
};
use ib_lab::{Lab, LabConfig, ManagerConfig};
use ib_wire::{addr::PortNum, mad::attr::PortState, time::Instant};
use rustix::time::{ClockId, clock_gettime};

/// Fat trees of 648, 1944 and 11664 hosts.
const TOPOLOGIES: [&str; 3] = ["fat-tree:k=36,levels=2", "fat-tree:k=20,hosts=1944", "fat-tree:k=36"];
/// Links that are cut and mended, one after the other.
const CUTS: usize = 10;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let (Some(spec), true) = (words.first(), env::var_os(CHILD).is_some()) {
        println!("{}", measure(spec));
        return ExitCode::SUCCESS;
    }
    println!(
        "| hosts | switches | links | fabric s | up s | SMPs | MB | switch link ms, SMPs | host link ms, SMPs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let default: Vec<String> = TOPOLOGIES.map(str::to_owned).into();
    for spec in if words.is_empty() { default } else { words } {
        let me = env::current_exe().expect("a running program has a file");
        let status = Command::new(me).arg(&spec).env(CHILD, "1").status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("subnet: {spec}: failed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Set for the process that measures one topology.
const CHILD: &str = "SUBNET_BENCH_CHILD";

fn measure(spec: &str) -> String {
    let topology = topology::generate(spec).expect("a generator's spec");
    let counts = topology.counts();
    let (trunks, hosts) = (cables(&topology, true), cables(&topology, false));
    let mut config = LabConfig { interfaces: None, ..LabConfig::new(topology) };
    config.managers.clear();

    let begun = Clock::now();
    let mut bench = Bench { lab: Lab::new(config, Instant::ZERO).expect("a lab"), now: Instant::ZERO };
    let built = begun.elapsed();

    let begun = Clock::now();
    bench.lab.start_manager(bench.now, ManagerConfig::default(), 1).expect("a manager");
    bench.settle(1);
    let (up, smps, memory) = (begun.elapsed(), bench.smps(), memory());
    bench.all_active();

    let healed = [bench.heal(&trunks), bench.heal(&hosts)];
    format!(
        "| {} | {} | {} | {:.2} | {:.2} | {smps} | {memory} | {} | {} |",
        counts.hosts,
        counts.switches,
        counts.links,
        built.as_secs_f64(),
        up.as_secs_f64(),
        healed[0],
        healed[1],
    )
}

/// Some cables between switches, or to hosts.
fn cables(topology: &Topology, trunks: bool) -> Vec<(String, PortNum)> {
    let wanted = |link: &&Link| [link.a, link.b].iter().all(|end| topology[end.node].is_switch()) == trunks;
    let all: Vec<&Link> = topology.links.iter().filter(wanted).collect();
    let some = all.iter().step_by(all.len().div_ceil(CUTS).max(1));
    some.map(|link| (topology[link.a.node].name.clone(), link.a.port)).collect()
}

/// Time that this thread has run, which others on the machine do not lengthen.
struct Clock(Duration);

impl Clock {
    fn now() -> Self {
        let ran = clock_gettime(ClockId::ThreadCPUTime);
        Self(Duration::new(ran.tv_sec.cast_unsigned(), u32::try_from(ran.tv_nsec).unwrap_or(0)))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

struct Bench {
    lab: Lab,
    now: Instant,
}

impl Bench {
    fn sm(&self) -> &ib_sm::SubnetManager {
        self.lab.managers()[0].sm.as_ref().expect("it runs")
    }

    fn sweeps(&self) -> u64 {
        self.sm().sweeps().completed
    }

    fn smps(&self) -> u64 {
        self.sm().smps().sent
    }

    /// Lets time jump until so many sweeps are completed.
    fn settle(&mut self, sweeps: u64) {
        while self.sweeps() < sweeps {
            while self.lab.poll_output().is_some() {}
            self.now = self.lab.poll_timeout().expect("a manager always waits for something").max(self.now);
            assert!(self.now < Instant::ZERO + Duration::from_secs(3600), "the manager does not get there");
            self.lab.handle_timeout(self.now);
        }
        while self.lab.poll_output().is_some() {}
    }

    /// Cuts and mends each of these links; the median and worst time until it is healed, and the SMPs of the median.
    fn heal(&mut self, links: &[(String, PortNum)]) -> String {
        let mut healed = Vec::new();
        for (node, port) in links {
            let link = self.lab.fabric().link(node, *port).expect("a cable");
            for down in [true, false] {
                let (sweeps, smps, begun) = (self.sweeps(), self.smps(), Clock::now());
                let fault = LinkFault { down, ..LinkFault::NONE };
                self.lab.with_fabric(self.now, |fabric| fabric.set_link_fault(self.now, link, fault));
                self.settle(sweeps + 1);
                healed.push((begun.elapsed(), self.smps() - smps));
            }
        }
        self.all_active();
        healed.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let ((median, smps), (worst, _)) = (healed[healed.len() / 2], healed[healed.len() - 1]);
        format!("{:.1} ({:.1}), {smps}", millis(median), millis(worst))
    }

    fn all_active(&self) {
        let fabric = self.lab.fabric();
        for (node, number, port) in fabric.end_ports() {
            assert_eq!(fabric.port_info(port).state, PortState::ACTIVE, "{node}:{number}");
        }
    }
}

/// Most memory the process ever had, in MB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}
