//! What a host sees of the file system.

use std::{
    ffi::CString,
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
    mount::{
        MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_remount,
    },
};

use super::{Classes, Skipped};

const RUN: &str = "/run";
const CLASS: &str = "/sys/class";
/// The class of network interfaces.
const NET: &str = "net";
/// Users' sessions: what a terminal or a window needs.
const SESSIONS: &str = "/run/user";

/// Mounts made from here on are seen by nobody else, nor the machine's later ones here.
pub(super) fn isolate() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Memory for files, at a directory.
pub(super) fn room(target: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("tmpfs", target, "tmpfs", flags, c"mode=755")?)
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

/// Directories in `/sys/class` that the machine may not have; all else there stays as it is.
///
/// Nothing can be made in a sysfs, so the places come from a skeleton that an overlay lays over it. Where there are no
/// overlays, a tmpfs takes the place of `/sys/class`, and the machine's classes are shown in it one by one.
pub(super) fn classes(classes: &Classes) -> io::Result<()> {
    overlay(&classes.skeleton).or_else(|_| one_by_one(classes))?;
    for (name, source) in &classes.dirs {
        let target = Path::new(CLASS).join(name);
        mount_bind(source, &target)?;
        // As in a sysfs. Where it must not be, the host writes to what is only its own view.
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        let _ = mount_remount(&target, flags | MountFlags::NOEXEC, c"");
    }
    Ok(())
}

fn overlay(skeleton: &Path) -> io::Result<()> {
    let skeleton = skeleton.to_str().filter(|path| !path.contains([':', ',', '\\']));
    let skeleton = skeleton.ok_or(Errno::INVAL)?;
    let net = handle(&Path::new(CLASS).join(NET))?;
    let layers = CString::new(format!("lowerdir={skeleton}:{CLASS}"))?;
    mount(
        "overlay",
        CLASS,
        "overlay",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY,
        &*layers,
    )?;
    // An overlay remembers what was not there, and interfaces come and go.
    let shown = net.map(|net| mount_bind(path_of(&net), Path::new(CLASS).join(NET)));
    Ok(shown.transpose().map(drop)?)
}

fn one_by_one(classes: &Classes) -> io::Result<()> {
    let (Some(class), flags) = (handle(Path::new(CLASS))?, MountFlags::NOSUID | MountFlags::NODEV) else {
        return Err(Errno::NOENT.into());
    };
    let names: Vec<_> =
        fs::read_dir(CLASS)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    mount("tmpfs", CLASS, "tmpfs", flags, c"mode=755,size=64k")?;
    for name in names {
        let target = Path::new(CLASS).join(&name);
        fs::create_dir(&target)?;
        mount_bind(path_of(&class).join(&name), &target)?;
    }
    classes.dirs.iter().try_for_each(|(name, _)| fs::create_dir_all(Path::new(CLASS).join(name)))
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
        mount_bind_recursive(path_of(fd), path)?;
    }
    let lock = Path::new(RUN).join("lock");
    fs::create_dir(&lock)?;
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o1777))
}

/// The path of a handle.
fn path_of(handle: &OwnedFd) -> PathBuf {
    format!("/proc/thread-self/fd/{}", handle.as_raw_fd()).into()
}

/// A way to a directory that remains when its path is covered.
fn handle(path: &Path) -> io::Result<Option<OwnedFd>> {
    match openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
