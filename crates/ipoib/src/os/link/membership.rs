//! The multicast groups a host listens to, as every kernel shows them.

use std::{
    fs::File,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::FileExt,
};

/// Reads the groups of one network namespace, from any thread.
#[derive(Debug)]
pub struct Memberships {
    igmp: Option<File>,
    igmp6: Option<File>,
}

impl Memberships {
    /// Opens the lists of the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self { igmp: list("igmp")?, igmp6: list("igmp6")? })
    }

    /// The groups joined on an interface, IPv4 before IPv6.
    pub fn groups(&self, index: u32) -> io::Result<Vec<IpAddr>> {
        let mut groups = igmp(&read(self.igmp.as_ref())?, index);
        groups.extend(igmp6(&read(self.igmp6.as_ref())?, index));
        Ok(groups)
    }
}

/// `/proc/self` is the process, whose namespace may be another than the thread's. A missing list is an empty one:
/// the kernel does not speak that protocol.
fn list(name: &str) -> io::Result<Option<File>> {
    match File::open(format!("/proc/thread-self/net/{name}")) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole text; reading at offset zero makes the kernel write it anew.
fn read(file: Option<&File>) -> io::Result<String> {
    let Some(file) = file else { return Ok(String::new()) };
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match file.read_at(&mut chunk, text.len() as u64)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            len => text.extend_from_slice(&chunk[..len]),
        }
    }
}

/// A line per interface, starting with its number; below it, indented, a line per group, its address in hex as
/// the machine's word order has it. linux net/ipv4/igmp.c
fn igmp(text: &str, index: u32) -> Vec<IpAddr> {
    let mut ours = false;
    let mut groups = Vec::new();
    for line in text.lines().skip(1) {
        let Some(first) = line.split_whitespace().next() else { continue };
        if !line.starts_with(char::is_whitespace) {
            ours = first.parse() == Ok(index);
        } else if let (true, Ok(word)) = (ours, u32::from_str_radix(first, 16)) {
            groups.push(Ipv4Addr::from(word.to_ne_bytes()).into());
        }
    }
    groups
}

/// A line per group: interface number, its name, the address in hex. linux net/ipv6/mcast.c
fn igmp6(text: &str, index: u32) -> Vec<IpAddr> {
    let group = |line: &str| {
        let mut words = line.split_whitespace();
        let ours = words.next()?.parse() == Ok(index);
        let bits = u128::from_str_radix(words.nth(1)?, 16).ok()?;
        ours.then(|| Ipv6Addr::from_bits(bits).into())
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn groups_of_one_interface_are_picked_out() {
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    2\tib0       :     2      V3\n\t\t\t\tFB0000E0     1 0:00000000\t\t0\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n";
        assert_eq!(igmp(text, 2), [IpAddr::from([224, 0, 0, 251]), IpAddr::from([224, 0, 0, 1])]);
        assert_eq!(igmp(text, 3), Vec::<IpAddr>::new());
    }

    #[test]
    fn ipv6_groups_are_read() {
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    2    ib0             ff0200000000000000000001ff000001     1 00000004 0\n";
        assert_eq!(igmp6(text, 2), ["ff02::1:ff00:1".parse::<IpAddr>().unwrap()]);
    }
}
