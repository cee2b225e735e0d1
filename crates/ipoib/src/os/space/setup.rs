//! Making a host: new namespaces, and what belongs into them.

use std::{fmt, fs, io, os::fd::OwnedFd, path::PathBuf};

use rustix::{
    io::Errno,
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{HostSpec, Namespaces, SpaceError, mounts};
use crate::os::link::Netlink;

/// The interface every network namespace begins with.
const LOOPBACK: u32 = 1;

/// Something a host was to have and does not. The host works without it.
#[derive(Debug)]
pub enum Skipped {
    /// The machine has no file at that place, so none can be put over it.
    NoTarget(PathBuf),
    /// `/sys` shows the machine's interfaces instead of the host's.
    Sys(io::Error),
    /// `/sys/class` lacks the host's devices.
    Classes(io::Error),
    /// `/run` is the machine's.
    Run(io::Error),
    /// A setting of the network could not be made.
    Sysctl(&'static str, io::Error),
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget(path) => {
                write!(f, "{}: not on this machine, so no host has its own", path.display())
            }
            Self::Sys(error) => write!(f, "/sys: shows the machine's interfaces, not the host's: {error}"),
            Self::Classes(error) => write!(f, "/sys/class: without the host's InfiniBand devices: {error}"),
            Self::Run(error) => write!(f, "/run: shared with the machine: {error}"),
            Self::Sysctl(name, error) => write!(f, "{name}: cannot set: {error}"),
        }
    }
}

/// Moves the calling thread into new namespaces and furnishes them.
pub(super) fn create(spec: &HostSpec) -> Result<(Namespaces, Vec<Skipped>), SpaceError> {
    let failed = |step| move |error: io::Error| SpaceError::failed(&spec.hostname, step, error);
    if let Some(ground) = &spec.ground {
        ground.enter()?;
    }
    let new = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
    // SAFETY: FILES is not asked for, so that no thread loses sight of descriptors.
    unsafe { unshare_unsafe(new) }.map_err(|error| not_made(&spec.hostname, error))?;
    let mut skipped = Vec::new();
    if spec.ground.is_none() {
        mounts::isolate().map_err(failed("make its mounts private"))?;
    }
    mounts::files(&spec.files, &mut skipped).map_err(failed("put its files in place"))?;
    skipped.extend(mounts::sys().err().map(Skipped::Sys));
    if let Some(classes) = &spec.classes {
        skipped.extend(mounts::classes(classes).err().map(Skipped::Classes));
    }
    skipped.extend(mounts::run(spec.run_dir.as_deref()).err().map(Skipped::Run));
    rustix::system::sethostname(spec.hostname.as_bytes())
        .map_err(|error| SpaceError::failed(&spec.hostname, "set its name", error))?;
    loopback().map_err(failed("bring up its loopback"))?;
    sysctls(&mut skipped);
    let namespaces = namespaces().map_err(failed("open its namespaces"))?;
    Ok((namespaces, skipped))
}

pub(super) fn not_made(host: &str, error: Errno) -> SpaceError {
    match error {
        Errno::PERM => SpaceError::Forbidden,
        Errno::NOSPC | Errno::USERS => {
            SpaceError::Limit("namespaces (user.max_net_namespaces, max_mnt_namespaces, max_uts_namespaces)")
        }
        _ => SpaceError::failed(host, "make its namespaces", error),
    }
}

fn loopback() -> io::Result<()> {
    Netlink::open().and_then(|mut netlink| netlink.set_up(LOOPBACK, true)).map_err(io::Error::other)
}

fn sysctls(skipped: &mut Vec<Skipped>) {
    let mut set = |name: &'static str, value: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        if let Err(error) = fs::write(path, value) {
            skipped.push(Skipped::Sysctl(name, error));
        }
    };
    set("net.ipv4.ping_group_range", &format!("0 {}", last_group()));
    set("net.ipv6.conf.all.disable_ipv6", "0");
    set("net.ipv6.conf.default.disable_ipv6", "0");
}

/// The last of the groups, from 0 on, that exist here: a user namespace of our own has only one.
fn last_group() -> u32 {
    let map = fs::read_to_string("/proc/thread-self/gid_map").unwrap_or_default();
    last_of_first_range(&map).min(i32::MAX.unsigned_abs())
}

fn last_of_first_range(map: &str) -> u32 {
    let row = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, _, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        (inside == 0).then(|| count.saturating_sub(1))
    };
    map.lines().find_map(row).unwrap_or(0)
}

fn namespaces() -> io::Result<Namespaces> {
    let open = |name: &str| fs::File::open(format!("/proc/thread-self/ns/{name}")).map(OwnedFd::from);
    Ok(Namespaces { net: open("net")?, mnt: open("mnt")?, uts: open("uts")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_where_the_map_ends() {
        assert_eq!(last_of_first_range("0 0 4294967295"), u32::MAX - 1);
        assert_eq!(last_of_first_range("0 1000 1"), 0);
        assert_eq!(last_of_first_range("1 100000 65536\n0 1000 1"), 0);
        assert_eq!(last_of_first_range(""), 0);
    }
}
