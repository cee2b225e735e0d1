//! Entering namespaces that exist.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use rustix::{
    fs::fstat,
    io::Errno,
    process::{Gid, Uid, chdir, geteuid},
    thread::{
        LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_thread_res_gid, set_thread_res_uid,
        unshare_unsafe,
    },
};

use super::{Namespaces, SpaceError};

impl Namespaces {
    /// Moves the calling thread. System calls only, for it also runs between fork and exec.
    pub(super) fn enter(&self) -> Result<(), Errno> {
        let mut buf = [0; libc::PATH_MAX as usize];
        let cwd = current_dir(&mut buf);
        // Root and current directory must be the thread's own before it may change mounts.
        // SAFETY: FILES is not asked for, so that no thread loses sight of descriptors.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        move_into_link_name_space(self.mnt.as_fd(), Some(LinkNameSpaceType::Mount))?;
        move_into_link_name_space(self.uts.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))?;
        move_into_link_name_space(self.net.as_fd(), Some(LinkNameSpaceType::Network))?;
        // Changing mounts led to `/`. A directory that the host does not have is left for that.
        let _ = cwd.map(chdir);
        Ok(())
    }
}

/// The current directory, without allocating.
fn current_dir(buf: &mut [u8]) -> Option<&std::ffi::CStr> {
    // SAFETY: the call writes at most `buf.len()` octets into `buf`.
    let len = unsafe { libc::syscall(libc::SYS_getcwd, buf.as_mut_ptr(), buf.len()) };
    let path = buf.get(..usize::try_from(len).ok()?)?;
    // A directory out of reach has no path that starts at the root.
    std::ffi::CStr::from_bytes_with_nul(path).ok().filter(|path| path.to_bytes().starts_with(b"/"))
}

/// A host whose descriptors another process sent us.
#[derive(Debug)]
pub struct JoinedSpace {
    user: Option<OwnedFd>,
    namespaces: Namespaces,
}

impl JoinedSpace {
    /// `user` is the user namespace of the lab if it has one.
    pub fn from_fds(user: Option<OwnedFd>, net: OwnedFd, mnt: OwnedFd, uts: OwnedFd) -> Self {
        Self { user, namespaces: Namespaces { net, mnt, uts } }
    }

    /// Moves this process into the host, for good. Call it before any thread exists, then exec.
    pub fn join(self) -> Result<(), SpaceError> {
        self.enter_user()
            .map_err(|error| SpaceError::failed("of the lab", "enter its user namespace", error))?;
        self.namespaces.enter().map_err(|error| match error {
            Errno::PERM => SpaceError::Forbidden,
            _ => SpaceError::failed("of the lab", "enter it", error),
        })
    }

    fn enter_user(&self) -> io::Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        let (theirs, ours) = (fstat(user)?, fs::metadata("/proc/self/ns/user")?);
        if (theirs.st_dev, theirs.st_ino) == (ours.dev(), ours.ino()) {
            return Ok(());
        }
        move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
        become_root()
    }
}

/// Whoever is not known in a user namespace would lose its rights there by exec.
fn become_root() -> io::Result<()> {
    if !geteuid().is_root() {
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    Ok(())
}
