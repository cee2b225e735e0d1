//! Hosts as the machine has them: namespaces, and in them TAPs with their names, addresses and neighbours.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use ib_fabric::{
    Fabric,
    topology::{NodeKind, Topology},
};
use ib_lab::{InterfaceConfig, InterfaceId, Lab};
use ib_wire::addr::{PKey, PortNum};

use super::{
    addresses::{assign, hosts_file},
    drivers::DriverPlan,
    sysfs,
};
use crate::{
    cli::LabPlan,
    face::{self, Assigned, Face, FacePlan, Maker},
    os::space::{Ground, HostSpace, HostSpec},
};

/// Files for `/etc` in the run directory; of the second, one a node.
const HOSTS: &str = "hosts";
const HOSTNAME: &str = "hostname";

/// A host, before it exists.
#[derive(Clone, Debug)]
pub(super) struct HostPlan {
    pub(super) name: Arc<str>,
    /// Its interfaces and their addresses, whoever makes them.
    named: Vec<(String, Vec<Assigned>)>,
    /// Those that the lab makes.
    faces: Vec<(InterfaceId, FacePlan)>,
}

impl HostPlan {
    fn new(name: &str) -> Self {
        Self { name: name.into(), named: Vec::new(), faces: Vec::new() }
    }
}

/// A host and its interfaces.
#[derive(Debug)]
pub(super) struct Made {
    space: HostSpace,
    faces: Vec<(InterfaceId, Face)>,
}

/// The hosts of a lab, in order, and what each of their interfaces is to be.
pub(super) fn plan(lab: &Lab, plan: &LabPlan) -> Vec<HostPlan> {
    let mut hosts: Vec<HostPlan> = Vec::new();
    for (id, attached) in lab.interfaces() {
        if hosts.last().is_none_or(|host| *host.name != *attached.host) {
            hosts.push(HostPlan::new(&attached.host));
        }
        if let Some(host) = hosts.last_mut() {
            let face = FacePlan::new(host.name.clone(), attached.name.clone(), &attached.engine);
            host.faces.push((id, face));
        }
    }
    let (count, fabric) = (hosts.len(), plan.topology.fabric);
    for (number, host) in hosts.iter_mut().enumerate() {
        let alone = host.faces.len() == 1;
        for (_, face) in &mut host.faces {
            face.alone = alone;
            let addresses = assign((fabric, count), number + 1, nth(&face.name, &plan.children));
            face.addresses.extend(addresses);
            host.named.push((face.name.clone(), addresses.to_vec()));
        }
    }
    hosts
}

/// The hosts of a lab whose drivers are processes of their own, and what these are to be.
pub(super) fn plan_apart(
    topology: &Topology,
    fabric: &Fabric,
    settings: &InterfaceConfig,
) -> (Vec<HostPlan>, Vec<DriverPlan>) {
    let nodes: Vec<_> = topology.nodes.iter().filter(|node| node.kind == NodeKind::Hca).collect();
    let (mut hosts, mut drivers) = (Vec::new(), Vec::new());
    for (host, node) in nodes.iter().enumerate() {
        let mut plan = HostPlan::new(&node.name);
        for port in (1..=node.port_count).map(PortNum) {
            let Some(end) = fabric.end_port(&node.name, port) else { continue };
            let parent = format!("ib{}", port.0 - 1);
            let mut named = |name: String| {
                let addresses =
                    assign((topology.fabric, nodes.len()), host + 1, nth(&name, &settings.children)).to_vec();
                plan.named.push((name, addresses.clone()));
                addresses
            };
            let addresses = named(parent.clone());
            let children = settings.children_of(fabric.port_view(end).guid);
            let children = children.map(|key| (key, named(format!("{parent}.{:04x}", key.0)))).collect();
            let (node, shares_host) = (node.name.clone(), node.port_count > 1);
            drivers.push(DriverPlan { host, node, port, shares_host, addresses, children });
        }
        hosts.push(plan);
    }
    (hosts, drivers)
}

/// The number of an interface of this name among all that a host can have, so that all who are in a partition are in
/// one network.
fn nth(name: &str, children: &[PKey]) -> usize {
    let (parent, child) = name.split_once('.').unwrap_or((name, ""));
    let port = parent.trim_start_matches("ib").parse::<usize>().unwrap_or(0);
    let child = u16::from_str_radix(child, 16).ok();
    let child = child.and_then(|child| children.iter().position(|key| key.full().0 == child));
    port * (1 + children.len()) + child.map_or(0, |child| child + 1)
}

/// Writes the files all nodes see, and those of each host.
pub(super) fn write_files(dir: &Path, ground: &Ground, hosts: &[HostPlan]) -> Result<Vec<HostSpec>> {
    let names = hosts.iter().flat_map(|host| {
        host.named.iter().enumerate().map(|(nth, (interface, addresses))| {
            let name = if nth == 0 { host.name.to_string() } else { format!("{}-{interface}", host.name) };
            (name, addresses.iter().map(|a| a.addr).collect())
        })
    });
    write(dir.join(HOSTS), &hosts_file(names))?;
    let own = dir.join(HOSTNAME);
    fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
    hosts.iter().map(|host| spec(dir, ground, &host.name)).collect()
}

/// Makes what a host or switch sees of the file system, once the files for all are there.
pub(super) fn spec(dir: &Path, ground: &Ground, name: &str) -> Result<HostSpec> {
    let hostname = write(dir.join(HOSTNAME).join(name), &format!("{name}\n"))?;
    let files = vec![("/etc/hosts".into(), dir.join(HOSTS)), ("/etc/hostname".into(), hostname)];
    Ok(HostSpec {
        hostname: name.to_owned(),
        files,
        run_dir: Some(dir.to_owned()),
        ground: Some(ground.clone()),
        classes: Some(sysfs::classes(dir, name)),
    })
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).with_context(|| format!("{}: cannot write", path.display()))?;
    Ok(path)
}

/// Makes all hosts, several at a time; calls `progress` with how many there are.
pub(super) fn make(
    plans: &[HostPlan],
    specs: &[HostSpec],
    progress: impl Fn(usize) + Sync,
) -> Result<Vec<Made>> {
    let workers = thread::available_parallelism().map_or(2, usize::from).min(plans.len().max(1));
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let slots: Vec<Mutex<Option<Result<Made>>>> = plans.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(plan), Some(spec)) = (plans.get(i), specs.get(i)) else { break };
                    let made = make_host(plan, spec);
                    let failed = made.is_err();
                    if let Ok(mut slot) = slots[i].lock() {
                        *slot = Some(made);
                    }
                    if failed {
                        next.store(plans.len(), Ordering::Relaxed);
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let made: Vec<Result<Made>> =
        slots.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()).collect();
    made.into_iter().collect()
}

fn make_host(plan: &HostPlan, spec: &HostSpec) -> Result<Made> {
    let inside = || {
        let faces = plan.faces.iter().map(|(id, face)| Ok((*id, face::make(face.clone(), Maker::Lab)?)));
        faces.collect::<Result<Vec<_>>>()
    };
    let (space, faces) = HostSpace::create_with(spec, inside)?;
    let faces = faces.with_context(|| format!("host {}", plan.name))?;
    for skipped in space.skipped() {
        tracing::info!(host = %plan.name, "{skipped}");
    }
    Ok(Made { space, faces })
}

/// Takes the hosts apart: their namespaces, and all interfaces in the order of their numbers.
pub(super) fn split(made: Vec<Made>) -> (Vec<HostSpace>, Vec<Face>) {
    let (spaces, faces): (Vec<_>, Vec<_>) = made.into_iter().map(|made| (made.space, made.faces)).unzip();
    let mut faces: Vec<_> = faces.into_iter().flatten().collect();
    faces.sort_by_key(|(id, _)| *id);
    (spaces, faces.into_iter().map(|(_, face)| face).collect())
}
