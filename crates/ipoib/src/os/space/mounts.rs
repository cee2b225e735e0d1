//! What a host sees of the file system.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change},
};

use super::Skipped;

const RUN: &str = "/run";
/// Users' sessions: what a terminal or a window needs.
const SESSIONS: &str = "/run/user";

/// Mounts made from here on are seen by nobody else, nor the machine's later ones here.
pub(super) fn isolate() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Puts files over files.
pub(super) fn files(files: &[(PathBuf, PathBuf)], skipped: &mut Vec<Skipped>) -> io::Result<()> {
    for (target, source) in files {
        if target.exists() {
            mount_bind(source, target)?;
        } else {
            skipped.push(Skipped::NoTarget(target.clone()));
        }
    }
    Ok(())
}

/// A `/sys` that shows the interfaces of the network namespace it is mounted in.
pub(super) fn sys() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("sysfs", "/sys", "sysfs", flags, None) {
        // In a user namespace it may not be more open than the one it covers.
        Err(Errno::PERM) => Ok(mount("sysfs", "/sys", "sysfs", flags | MountFlags::RDONLY, None)?),
        other => Ok(other?),
    }
}

/// A `/run` of its own, with the sessions and `lab` of the machine's.
pub(super) fn run(lab: Option<&Path>) -> io::Result<()> {
    let mut kept: Vec<(PathBuf, OwnedFd)> = Vec::new();
    for path in [Some(Path::new(SESSIONS)), lab].into_iter().flatten() {
        if path.starts_with(RUN) && !kept.iter().any(|(other, _)| path.starts_with(other)) {
            kept.extend(handle(path)?.map(|fd| (path.to_owned(), fd)));
        }
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", RUN, "tmpfs", flags, c"mode=755,size=32m")?;
    for (path, fd) in &kept {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
        mount_bind_recursive(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()), path)?;
    }
    let lock = Path::new(RUN).join("lock");
    fs::create_dir(&lock)?;
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o1777))
}

/// A way to a directory that remains when its path is covered.
fn handle(path: &Path) -> io::Result<Option<OwnedFd>> {
    match openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
