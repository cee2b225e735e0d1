//! Network namespaces by name, by process, by file.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps them.
const NAMED: &str = "/run/netns";

/// The file of a network namespace: a name of `ip netns`, the number of a process, or a path.
pub fn file(named: &str) -> PathBuf {
    if named.contains('/') {
        PathBuf::from(named)
    } else if named.bytes().all(|byte| byte.is_ascii_digit()) {
        PathBuf::from(format!("/proc/{named}/ns/net"))
    } else {
        Path::new(NAMED).join(named)
    }
}

/// Moves the calling thread into the namespace of this file.
pub fn enter(file: &Path) -> io::Result<()> {
    let namespace = File::open(file)?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_name_a_process_or_a_path() {
        assert_eq!(file("blue"), Path::new("/run/netns/blue"));
        assert_eq!(file("42"), Path::new("/proc/42/ns/net"));
        assert_eq!(file("/proc/self/ns/net"), Path::new("/proc/self/ns/net"));
    }
}
