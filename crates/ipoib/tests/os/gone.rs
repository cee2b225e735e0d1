//! However a lab ends, nothing is left of it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ipoib::os::{
    link::Netlink,
    rundir::RunDir,
    space::{HostSpace, Lifetime},
};

use crate::{eventually, host, wired};

/// A host with one end of a cable whose other end is in the network namespace at `other`: it vanishes when that
/// namespace is destroyed, and not before.
struct Canary {
    _space: HostSpace,
    netlink: Netlink,
}

impl Canary {
    fn tied_to(other: &str) -> Self {
        let space = host("canary");
        let cable = format!("link add tweety type veth peer name coal netns {other}");
        let output = space.command("ip", Lifetime::Parent).args(cable.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut netlink = space.enter_with(|| Netlink::open().unwrap()).unwrap();
        netlink.index_of("tweety").unwrap();
        Self { _space: space, netlink }
    }

    fn is_alive(&mut self) -> bool {
        self.netlink.index_of("tweety").is_ok()
    }
}

#[test]
fn a_dropped_host_is_destroyed() {
    let host = wired(1);
    let path = format!("/proc/{}/fd/{}", std::process::id(), host.space.fds().net.as_raw_fd());
    let mut canary = Canary::tied_to(&path);
    assert!(canary.is_alive());
    drop(host);
    eventually("the host is gone", || !canary.is_alive());
}

/// This test binary as a lab in a process of its own.
fn lab(base: &Path) -> (Child, String, u32) {
    let mut child = Command::new("/proc/self/exe")
        .args(["--ignored", "--exact", "gone::a_lab_until_it_is_killed", "--nocapture"])
        .env("IPOIB_TEST_BASE", base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.filter_map(|line| line.strip_prefix("READY ").map(str::to_owned)).next();
    let ready = ready.expect("the lab comes up");
    let (fd, pid) = ready.split_once(' ').unwrap();
    let net = format!("/proc/{}/fd/{fd}", child.id());
    (child, net, pid.parse().unwrap())
}

#[test]
#[ignore = "a helper that other tests start and kill"]
fn a_lab_until_it_is_killed() {
    let base = PathBuf::from(std::env::var_os("IPOIB_TEST_BASE").expect("started by another test"));
    let _dir = RunDir::create_in(&base, "lab").unwrap();
    let host = wired(1);
    let mut sleeper = host.space.command("sleep", Lifetime::Parent).arg("600").spawn().unwrap();
    println!("\nREADY {} {}", host.space.fds().net.as_raw_fd(), sleeper.id());
    std::io::stdout().flush().unwrap();
    sleeper.wait().unwrap();
}

/// True for a process that runs, false for one that is dead and perhaps not yet reaped.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_killed_lab_leaves_nothing_behind() {
    let base = std::env::temp_dir().join(format!("ipoib-killed-{}", std::process::id()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (mut child, net, sleeper) = lab(&base);
    let mut canary = Canary::tied_to(&net);
    assert!(canary.is_alive() && runs(sleeper));
    assert!(RunDir::list_in(&base).unwrap()[0].alive);
    assert!(RunDir::create_in(&base, "lab").is_err());

    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the command in the host is killed", || !runs(sleeper));
    eventually("the host is gone", || !canary.is_alive());
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    let left = RunDir::list_in(&base).unwrap();
    assert!(!left[0].alive && left[0].pid == Some(child.id()), "{left:?}");
    drop(RunDir::create_in(&base, "lab").unwrap());
    assert!(!base.exists());
}
