//! What the hosts of a lab have in common of the file system, and nobody else sees.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::{SpaceError, in_fresh_thread, mounts, setup};

/// A mount namespace with memory for files; hosts begin as copies of it. It lives as long as this value, a host
/// made from it or a thread inside it, so that nothing is left behind. Clones stand for the same.
#[derive(Clone, Debug)]
pub struct Ground(Arc<OwnedFd>);

impl Ground {
    /// Sees the machine's files, with an empty tmpfs at `room`, a directory.
    pub fn create(room: &Path) -> Result<Self, SpaceError> {
        let failed = |step, error| SpaceError::failed("of the lab", step, error);
        in_fresh_thread(|| {
            // SAFETY: FILES is not asked for, so that no thread loses sight of descriptors.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
                .map_err(|error| setup::not_made("of the lab", error))?;
            mounts::isolate().map_err(|error| failed("make mounts private", error))?;
            mounts::room(room).map_err(|error| failed("mount a tmpfs", error))?;
            let mnt = fs::File::open("/proc/thread-self/ns/mnt");
            Ok(Self(Arc::new(mnt.map_err(|error| failed("open a namespace", error))?.into())))
        })
    }

    /// Moves the calling thread into it, for good.
    pub fn enter(&self) -> Result<(), SpaceError> {
        self.enter_raw().map_err(|error| SpaceError::failed("of the lab", "enter common mounts", error))
    }

    /// Runs `inside` in it, in a thread made for it.
    pub fn enter_with<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, SpaceError> {
        in_fresh_thread(|| self.enter().map(|()| inside()))
    }

    fn enter_raw(&self) -> Result<(), Errno> {
        // Root and current directory must be the thread's own before it may change mounts.
        // SAFETY: FILES is not asked for, so that no thread loses sight of descriptors.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Mount))
    }
}
