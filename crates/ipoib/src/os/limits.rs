//! Limits of the process, and of the kernel, that a lab of many hosts meets.

use std::{fs, io, sync::OnceLock};

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

/// How many IPv4 neighbours the kernel knows at a time, those of all network namespaces together.
///
/// None where that cannot be seen: outside the first network namespace.
pub fn neighbors() -> Option<u64> {
    fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").ok()?.trim().parse().ok()
}

/// How often the kernel had no room for a neighbour since it started; none where that cannot be seen.
///
/// To the program that wanted to send, it is `No buffer space available`; what waits for an answer is lost.
pub fn neighbors_refused() -> Option<u64> {
    table_fulls(&fs::read_to_string("/proc/net/stat/arp_cache").ok()?)
}

/// The sum of a column over the lines of all processors.
fn table_fulls(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|name| name == "table_fulls")?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_neighbours_are_counted_over_all_processors() {
        let text = "entries  allocs table_fulls\n00000001 00000002 00000010\n00000001 00000003 00000005\n";
        assert_eq!(table_fulls(text), Some(0x15));
        assert_eq!(table_fulls("entries allocs\n1 2\n"), None);
    }
}
