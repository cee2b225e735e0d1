//! Hosts as the machine has them: namespaces, and in them TAPs with their names, addresses and neighbours.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use ib_lab::{InterfaceId, Lab};
use ib_wire::addr::{HwAddr, Mac, PKey};

use super::{
    addresses::{Assigned, assign, hosts_file},
    sysfs,
};
use crate::os::{
    link::{LinkConfig, Netlink},
    monitor::Monitor,
    space::{Ground, HostSpace, HostSpec},
    tap::Tap,
};

/// Files for `/etc` in the run directory; of the second, one a node.
const HOSTS: &str = "hosts";
const HOSTNAME: &str = "hostname";

/// What an interface is to be, before it exists.
#[derive(Clone, Debug)]
pub(super) struct FacePlan {
    pub(super) id: InterfaceId,
    pub(super) name: String,
    mac: Mac,
    hw: HwAddr,
    pub(super) mtu: u32,
    queue_len: u32,
    link_local: IpAddr,
    addresses: [Assigned; 2],
}

/// A host, before it exists.
#[derive(Clone, Debug)]
pub(super) struct HostPlan {
    pub(super) name: String,
    pub(super) faces: Vec<FacePlan>,
}

/// The host's side of an IPoIB interface.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) plan: FacePlan,
    pub(super) host: usize,
    pub(super) tap: Tap,
    pub(super) netlink: Netlink,
    pub(super) monitor: Monitor,
    /// Peers the host knows, by IP address.
    pub(super) neighbors: BTreeMap<IpAddr, Mac>,
    /// The host's kernel has let frames out since the lab came up.
    pub(super) sends: bool,
    /// Frames the kernel did not take, or that it sent in a form nobody knows.
    pub(super) counters: FaceCounters,
}

/// What can go wrong between engine and kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FaceCounters {
    /// Frames the host sent with a header that makes no sense.
    pub(super) bad_frame: u64,
    /// Frames the kernel refused: the interface is down, or the header does not fit.
    pub(super) host_refused: u64,
}

/// A host and its interfaces.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) space: HostSpace,
    faces: Vec<(FacePlan, Tap, Netlink, Monitor)>,
}

/// The hosts of a lab, in order, and what each of their interfaces is to be.
pub(super) fn plan(lab: &Lab, children: &[PKey]) -> Vec<HostPlan> {
    let mut hosts: Vec<HostPlan> = Vec::new();
    for (id, attached) in lab.interfaces() {
        if hosts.last().is_none_or(|host| host.name != attached.host) {
            hosts.push(HostPlan { name: attached.host.clone(), faces: Vec::new() });
        }
        let engine = &attached.engine;
        let face = FacePlan {
            id,
            name: attached.name.clone(),
            mac: engine.mac(),
            hw: engine.hw_addr(),
            mtu: 2044,
            queue_len: engine.config().tx_queue_len(),
            link_local: engine.link_local().into(),
            addresses: [Assigned { addr: engine.link_local().into(), prefix_len: 64 }; 2],
        };
        if let Some(host) = hosts.last_mut() {
            host.faces.push(face);
        }
    }
    let count = hosts.len();
    for (number, host) in hosts.iter_mut().enumerate() {
        for face in &mut host.faces {
            face.addresses = assign(count, number + 1, nth(&face.name, children));
        }
    }
    hosts
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
        host.faces.iter().enumerate().map(|(nth, face)| {
            let name = if nth == 0 { host.name.clone() } else { format!("{}-{}", host.name, face.name) };
            (name, face.addresses.iter().map(|a| a.addr).collect())
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
    let alone = plan.faces.len() == 1;
    let inside = || plan.faces.iter().map(|face| make_face(face, alone)).collect::<Result<Vec<_>>>();
    let (space, faces) = HostSpace::create_with(spec, inside)?;
    let faces = faces.with_context(|| format!("host {}", plan.name))?;
    for skipped in space.skipped() {
        tracing::info!(host = %plan.name, "{skipped}");
    }
    Ok(Made { space, faces })
}

/// Makes one interface in the calling thread's namespace and sets it up; its carrier is still off. `alone` if the host
/// has no other.
fn make_face(plan: &FacePlan, alone: bool) -> Result<(FacePlan, Tap, Netlink, Monitor)> {
    let tap = Tap::create(&plan.name)?;
    let mut netlink = Netlink::open()?;
    let index = tap.index();
    // Addresses and the way back survive `ip link set down`, as they do on a server's ib0.
    let keep = format!("/proc/sys/net/ipv6/conf/{}/keep_addr_on_down", plan.name);
    let has_ipv6 = fs::write(&keep, "1").is_ok();
    if !alone {
        answer_for_itself(&plan.name);
    }
    let config = LinkConfig {
        mac: Some(plan.mac),
        mtu: Some(plan.mtu),
        queue_len: Some(plan.queue_len),
        alias: Some(plan.hw.to_string()),
        make_link_local: Some(false),
        up: None,
    };
    netlink.configure(index, &config)?;
    let monitor = Monitor::open(index)?;
    netlink.set_up(index, true)?;
    let link_local = Assigned { addr: plan.link_local, prefix_len: 64 };
    for Assigned { addr, prefix_len } in plan.addresses.into_iter().chain([link_local]) {
        if addr.is_ipv4() || has_ipv6 {
            netlink.add_address(index, addr, prefix_len, true)?;
        }
    }
    Ok((plan.clone(), tap, netlink, monitor))
}

/// Interfaces on one fabric hear the same questions: each is to answer for its own addresses alone, where Linux would
/// let it answer for all its host's.
fn answer_for_itself(interface: &str) {
    for (name, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
        if let Err(error) = fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value) {
            tracing::warn!(interface, name, %error, "setting");
        }
    }
}

/// Takes the hosts apart: their namespaces, and all interfaces in the order of their numbers.
pub(super) fn split(made: Vec<Made>) -> (Vec<HostSpace>, Vec<Face>) {
    let mut spaces = Vec::with_capacity(made.len());
    let mut faces = Vec::new();
    for (host, made) in made.into_iter().enumerate() {
        spaces.push(made.space);
        faces.extend(made.faces.into_iter().map(|(plan, tap, netlink, monitor)| Face {
            plan,
            host,
            tap,
            netlink,
            monitor,
            neighbors: BTreeMap::new(),
            sends: false,
            counters: FaceCounters::default(),
        }));
    }
    faces.sort_by_key(|face| face.plan.id);
    (spaces, faces)
}
