//! Limits of the process that a lab of many hosts meets.

use std::{io, sync::OnceLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static FOUND: OnceLock<Rlimit> = OnceLock::new();

/// Raises the number of open files to what the system allows, and returns it.
///
/// A host takes about eight descriptors, so that the usual 1024 end at a hundred hosts. Children get back the
/// limit that was found, since programs with `select` break above it.
pub fn raise_open_files() -> io::Result<u64> {
    let found = *FOUND.get_or_init(|| getrlimit(Resource::Nofile));
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    setrlimit(Resource::Nofile, raised)?;
    Ok(raised.current.unwrap_or(u64::MAX))
}

/// Undoes `raise_open_files` in a child between fork and exec: system calls only.
pub(super) fn restore_open_files() {
    if let Some(found) = FOUND.get() {
        // A child with the higher limit is better than no child.
        let _ = setrlimit(Resource::Nofile, *found);
    }
}
