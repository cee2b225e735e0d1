//! `ipoib lab`: a whole InfiniBand subnet on this machine.
//!
//! The order of things: a run directory, the engines, the hosts, the control socket, the data loop. At the end
//! the same backwards; what a killed lab leaves is a directory that the next one of its name takes over.

mod addresses;
mod answer;
mod capture;
mod child;
mod drivers;
mod environment;
mod hosts;
mod opensm;
mod progress;
mod questions;
mod runtime;
mod show;
mod story;
mod switches;
mod sysfs;
mod udp;
mod umad;

use std::{fs, io::Write, path::PathBuf, process::ExitCode, sync::mpsc, time::Duration};

use anyhow::{Context, Result};
use ib_fabric::{Fabric, PortId, topology::Topology};
use ib_lab::{InterfaceConfig, Lab, LabConfig, ManagerConfig};
use ib_sm::{SmConfig, partition::Partitions};
use ib_wire::{
    addr::{Guid, Lid},
    mad::attr::PortState,
    time::Instant,
};

use self::{
    child::Child, drivers::Drivers, opensm::OpenSm, progress::Progress, questions::Questions,
    runtime::Runtime, switches::Switches, sysfs::Sysfs,
};
use crate::{
    attach::{self, Attach},
    cli::{LabPlan, Shape, SmChoice},
    control::{ControlServer, SOCKET},
    os::{
        clock, limits, notify,
        rundir::RunDir,
        signals::Signals,
        space::{Ground, HostSpace},
        userns::Privilege,
        wake::Waker,
    },
};

/// How long a command may take to end when the lab ends.
const COMMAND_ENDS: Duration = Duration::from_millis(700);

/// How often a standby manager asks the master whether it lives.
const STANDBY_POLL: Duration = Duration::from_secs(1);
/// Answers that must stay away in a row before it takes over.
const STANDBY_RETRIES: u32 = 3;

/// Time between two looks whether hosts may send, once all have their carrier.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Time between two looks whether captures have ended.
const REAP_CAPTURES: Duration = Duration::from_millis(200);

/// A lab and what belongs to it.
struct Running {
    name: String,
    topology: Topology,
    runtime: Runtime,
    dir: RunDir,
    privilege: Privilege,
    started: Instant,
    seed: u64,
    lids: Option<PathBuf>,
    /// How a manager is set.
    manager: ManagerConfig,
    /// The file that says who belongs to which partition.
    partitions: Option<PathBuf>,
    opensm: Option<OpenSm>,
    /// Of a fabric alone, ports that it waits for; none of a lab with hosts.
    ports: Option<Vec<PortId>>,
    is_up: bool,
    /// What hosts and switches begin with.
    ground: Ground,
    switches: Switches,
    /// Drivers that are processes of their own; none unless isolated.
    drivers: Drivers,
    questions: Questions,
}

/// Brings the lab up, runs the command or waits for a signal, and ends it.
pub fn run(plan: LabPlan, privilege: Privilege) -> Result<ExitCode> {
    let started = clock::now();
    let signals = Signals::block().context("signals")?;
    limits::raise_open_files().context("open files")?;
    let name = plan.name.clone().map_or_else(free_name, Ok)?;
    let dir = RunDir::create(&name)?;
    let progress = Progress::new(
        plan.verbosity,
        plan.shape != Shape::FabricAlone,
        &name,
        &plan.topology.counts().to_string(),
    );

    let seed = plan.seed.unwrap_or_else(|| started.as_nanos() ^ u64::from(std::process::id()) << 40);
    let manager = manager_config(&plan)?;
    let (config, interfaces) = lab_config(&plan, &manager, seed)?;
    let lab = Lab::new(config, started)?;
    let (hosts, drivers) = match plan.shape {
        Shape::Isolated => hosts::plan_apart(&plan.topology, lab.fabric(), &interfaces),
        Shape::Together | Shape::FabricAlone => (hosts::plan(&lab, &plan), Vec::new()),
    };
    if let Some(most) = limits::neighbors() {
        progress.neighbors(hosts.len(), most);
    }
    let names: Vec<_> = hosts.iter().map(|host| &*host.name).collect();
    let ground = sysfs::prepare(dir.path(), &names).context("files of the hosts")?;
    let specs = hosts::write_files(dir.path(), &ground, &hosts)?;
    let made = hosts::make(&hosts, &specs, |n| progress.hosts(n, hosts.len()))?;

    let bell = Waker::new().context("eventfd")?;
    let (to_data, requests) = mpsc::channel();
    let burst = usize::try_from(plan.tx_ring_size).unwrap_or(usize::MAX).max(1);
    let files =
        Sysfs::start(dir.path(), ground.clone(), bell.clone(), clock::now()).context("files of the hosts")?;
    let (faces, turns) = (hosts::split(made), (burst, plan.spin));
    let runtime = Runtime::new(lab, faces, files, signals, (bell.clone(), requests), turns)?;
    let control = ControlServer::start(&dir.path().join(SOCKET), move |request| {
        if to_data.send(request).is_ok() {
            bell.wake();
        }
    })?;

    let ports = (plan.shape == Shape::FabricAlone).then(|| match plan.sm {
        SmChoice::None => Vec::new(),
        _ => cabled_ports(runtime.lab.fabric()),
    });
    let drivers = Drivers::new(drivers, &plan, dir.path());
    let LabPlan { topology, shape, sm, place, partitions, lids, attach, capture, command, .. } = plan;
    let mut running = Running {
        name,
        topology,
        runtime,
        dir,
        privilege,
        started,
        seed,
        lids,
        manager,
        partitions: partitions.map(|file| file.path),
        opensm: None,
        ports,
        is_up: false,
        ground,
        switches: Switches::default(),
        drivers,
        questions: Questions::default(),
    };
    running.link_programs()?;
    running.runtime.serve_programs(running.dir.path())?;
    if shape != Shape::Together {
        let socket = attach.socket.unwrap_or_else(|| running.dir.path().join(attach::SOCKET));
        running.runtime.serve_drivers(&socket, attach.config)?;
    }
    if let Some(path) = capture {
        let runtime = &mut running.runtime;
        runtime.captures.start_file(&mut runtime.lab, &running.topology, &path, clock::now())?;
    }
    running.bind_ports()?;
    running.runtime.start()?;
    // Only now, so that a capture sees all it does.
    let unmanaged = sm == SmChoice::None;
    match sm {
        SmChoice::Embedded => running.start_manager(place.as_deref(), None)?,
        SmChoice::OpenSm { config } => running.start_opensm(place.as_deref(), config.as_deref())?,
        SmChoice::None => (),
    }
    let code = running.serve(&progress, command, unmanaged);
    running.end_opensm();
    running.drivers.end();
    let now = clock::now();
    running.runtime.captures.finish(&mut running.runtime.lab, now);
    drop(control);
    running.runtime.end();
    code
}

impl Running {
    /// Turns the loop until the command ends or somebody asks for the end.
    ///
    /// The command waits until the subnet is up; without a manager it is there to bring it up, and starts `at_once`.
    fn serve(
        &mut self,
        progress: &Progress,
        command: Vec<std::ffi::OsString>,
        at_once: bool,
    ) -> Result<ExitCode> {
        let mut waiting_command = (!command.is_empty()).then_some(command);
        let mut child: Option<Child> = None;
        if at_once && let Some(command) = waiting_command.take() {
            child = Some(self.start_command(&command)?);
        }
        let mut now = clock::now();
        loop {
            if !self.is_up && self.is_ready(progress) {
                self.is_up = true;
                notify::tell("READY=1");
                self.remember_lids();
                progress.up(clock::now() - self.started, child.is_some() || waiting_command.is_some());
                if let Some(command) = waiting_command.take() {
                    child = Some(self.start_command(&command)?);
                }
            }
            let limit = self.limit(now);
            let turn = self.runtime.turn(limit)?;
            now = turn.now;
            if limit.is_none() && !turn.is_news() {
                continue;
            }
            let mut stop = turn.stop;
            if turn.requests {
                while let Ok(request) = self.runtime.requests.try_recv() {
                    stop |= self.answer(request);
                }
            }
            if turn.child {
                self.watch_opensm()?;
                self.drivers.reap(now)?;
                if let Some(running) = &mut child
                    && let Some(code) = running.poll().context("waiting for the command")?
                {
                    return Ok(code);
                }
            }
            self.settle_questions(now);
            self.drivers.run(now, &self.runtime.spaces, self.dir.path())?;
            self.runtime.captures.reap(&mut self.runtime.lab, now);
            if stop {
                return self.end_command(child);
            }
        }
    }

    /// True once hosts can talk; of a fabric alone, once all its cabled ports are Active, or nobody is to make them.
    fn is_ready(&mut self, progress: &Progress) -> bool {
        let Some(ports) = &mut self.ports else {
            let (here, apart) = (&self.runtime.faces, self.runtime.attach.as_ref());
            let up = here.up() + apart.map_or(0, Attach::up);
            let all = here.len() + self.drivers.interfaces();
            progress.carriers(up, all);
            return up == all && self.runtime.is_ready();
        };
        let fabric = self.runtime.lab.fabric();
        // Those at the end are no longer waited for.
        while let Some(port) = ports.last() {
            if fabric.port_info(*port).state != PortState::ACTIVE {
                return false;
            }
            ports.pop();
        }
        true
    }

    /// Until when the loop may wait: what has no descriptor is looked at now and then.
    fn limit(&self, now: Instant) -> Option<Instant> {
        let faces = &self.runtime.faces;
        let all_have_carrier = !self.is_up && faces.len() > 0 && faces.up() == faces.len();
        let look = all_have_carrier.then_some(now + LOOK_AGAIN);
        let captures = self.runtime.captures.any().then_some(now + REAP_CAPTURES);
        let due = [look, captures, self.drivers.poll_timeout(), self.questions.poll_timeout()];
        due.into_iter().flatten().min()
    }

    /// The space of a host.
    pub(super) fn space(&self, node: &str) -> Result<HostSpace> {
        let space = self.runtime.spaces.iter().find(|space| space.name() == node);
        space.cloned().with_context(|| format!("no host {node}: `ipoib show hosts` lists them"))
    }

    fn start_command(&mut self, command: &[std::ffi::OsString]) -> Result<Child> {
        self.runtime.settle_files();
        let space = self.runtime.spaces.first().context("the lab has no host to run a command in")?;
        Child::start(space, command, &self.environment(space.name())?)
    }

    /// Asks the command to end and carries its packets until it does.
    fn end_command(&mut self, child: Option<Child>) -> Result<ExitCode> {
        let Some(mut child) = child else { return Ok(ExitCode::SUCCESS) };
        child.terminate();
        let end = clock::now() + COMMAND_ENDS;
        loop {
            if let Some(code) = child.poll().context("waiting for the command")? {
                return Ok(code);
            }
            let now = clock::now();
            if now >= end {
                child.kill();
                return Ok(ExitCode::from(128 + 9));
            }
            self.runtime.turn(Some(end))?;
        }
    }

    /// A directory with the programs that a host may lack.
    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// Binds the ports that the topology leads out of the fabric.
    fn bind_ports(&mut self) -> Result<()> {
        for link in self.topology.udp.clone() {
            self.runtime.bind((&self.topology, link.port), link.ends, link.idle)?;
        }
        Ok(())
    }

    fn link_programs(&self) -> Result<()> {
        let bin = self.bin();
        fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
        let me = std::env::current_exe().context("the program's own path")?;
        std::os::unix::fs::symlink(&me, bin.join("ping")).context("the built-in ping")?;
        std::os::unix::fs::symlink(&me, bin.join("ipoib")).context("the program itself")
    }

    /// Writes down which LID each port has, so that the next lab can give the same.
    fn remember_lids(&self) {
        let Some(path) = &self.lids else { return };
        let managers = self.runtime.lab.managers().iter().filter_map(|m| m.sm.as_ref());
        let mut text = String::from("# port GUID, LID; read and rewritten by `ipoib lab --lids`\n");
        for (guid, lid) in managers.flat_map(|sm| sm.remembered_lids()) {
            text.push_str(&format!("{guid} {lid}\n"));
        }
        let temporary = path.with_extension("new");
        let written = fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), %error, "LIDs are not remembered");
        }
    }
}

/// The end ports that have a cable.
fn cabled_ports(fabric: &Fabric) -> Vec<PortId> {
    let cabled = fabric.end_ports().filter(|(node, num, _)| fabric.link(node, *num).is_some());
    cabled.map(|(.., port)| port).collect()
}

fn manager_config(plan: &LabPlan) -> Result<ManagerConfig> {
    let partitions = match &plan.partitions {
        Some(file) => Partitions::parse(&file.path.display().to_string(), &file.text)?,
        None => Partitions::default(),
    };
    let lids = plan.lids.as_deref().map(read_lids).transpose()?.unwrap_or_default();
    // A subnet of a test is to have its next master in seconds; OpenSM's 40 are for machine rooms.
    let sm = SmConfig {
        lids,
        standby_poll: STANDBY_POLL,
        standby_retries: STANDBY_RETRIES,
        ..SmConfig::default()
    };
    Ok(ManagerConfig { place: None, sm, partitions })
}

/// How the lab is to be, and how interfaces are set that are not its own.
fn lab_config(plan: &LabPlan, manager: &ManagerConfig, seed: u64) -> Result<(LabConfig, InterfaceConfig)> {
    let mut config = LabConfig::new(plan.topology.clone());
    config.seed = seed;
    config.managers = Vec::new();
    let interfaces = InterfaceConfig {
        max_address_vector: plan.max_address_vector,
        max_groups: plan.max_groups,
        tx_ring_size: u16::try_from(plan.tx_ring_size).context("tx_ring_size: at most 65535")?,
        children: plan.children.clone(),
        members: plan.partitions.as_ref().map(|_| manager.partitions.clone()),
        ..InterfaceConfig::default()
    };
    config.interfaces = (plan.shape == Shape::Together).then(|| interfaces.clone());
    Ok((config, interfaces))
}

fn read_lids(path: &std::path::Path) -> Result<Vec<(Guid, Lid)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let fields = line
                .split_once(char::is_whitespace)
                .and_then(|(guid, lid)| Some((guid.parse().ok()?, Lid(lid.trim().parse().ok()?))));
            let place =
                || format!("{}:{}: write a port GUID and a LID, 1 to 49151", path.display(), number + 1);
            fields.filter(|(_, lid): &(Guid, Lid)| lid.is_unicast()).with_context(place)
        })
        .collect()
}

/// `lab`, or `lab2` and so on if such labs run.
fn free_name() -> Result<String> {
    let taken = RunDir::list()?;
    let is_taken = |name: &str| taken.iter().any(|lab| lab.alive && lab.name == name);
    let further = (2..).map(|n| format!("lab{n}"));
    Ok(std::iter::once("lab".to_owned()).chain(further).find(|name| !is_taken(name)).unwrap_or_default())
}
