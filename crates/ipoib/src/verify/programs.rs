//! The programs that rows run, and the Debian packages that bring them.

use anyhow::{Result, bail};

use crate::os::program;

/// A program and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// What is typed.
    pub name: &'static str,
    /// The Debian package.
    pub package: &'static str,
    /// It is not free software, so that a row that needs it is left out where it is missing.
    pub optional: bool,
}

const fn of(name: &'static str, package: &'static str) -> Program {
    Program { name, package, optional: false }
}

pub(super) const AB: Program = of("ab", "apache2-utils");
pub(super) const APACHE: Program = of("apache2", "apache2-bin");
pub(super) const ARPING: Program = of("arping", "iputils-arping");
pub(super) const DHCLIENT: Program = of("dhclient", "isc-dhcp-client");
pub(super) const DNSMASQ: Program = of("dnsmasq", "dnsmasq-base");
pub(super) const EXPECT: Program = of("expect", "expect");
pub(super) const FAKETIME: Program = of("faketime", "faketime");
pub(super) const FTP: Program = of("tnftp", "tnftp");
pub(super) const INETD: Program = of("inetd", "openbsd-inetd");
pub(super) const IP: Program = of("ip", "iproute2");
pub(super) const IPERF: Program = of("iperf", "iperf");
pub(super) const IPERF3: Program = of("iperf3", "iperf3");
pub(super) const LFTP: Program = of("lftp", "lftp");
pub(super) const NETPERF: Program =
    Program { name: "netperf", package: "netperf (non-free)", optional: true };
pub(super) const NETPIPE: Program = of("NPtcp", "netpipe-tcp");
pub(super) const NSTAT: Program = of("nstat", "iproute2");
pub(super) const NUTTCP: Program = of("nuttcp", "nuttcp");
pub(super) const DIAGS: Program = of("ibnetdiscover", "infiniband-diags");
pub(super) const OPENSM: Program = of("opensm", "opensm");
pub(super) const PING: Program = of("ping", "iputils-ping");
pub(super) const PYTHON: Program = of("python3", "python3");
pub(super) const SFTP: Program = of("sftp", "openssh-client");
pub(super) const SOCKPERF: Program = of("sockperf", "sockperf");
pub(super) const SSH: Program = of("ssh", "openssh-client");
pub(super) const SSHD: Program = of("sshd", "openssh-server");
pub(super) const TELNET: Program = of("telnet", "inetutils-telnet");
pub(super) const TELNETD: Program = of("telnetd", "inetutils-telnetd");
pub(super) const TSHARK: Program = of("tshark", "tshark");
pub(super) const VSFTPD: Program = of("vsftpd", "vsftpd");
pub(super) const WGET: Program = of("wget", "wget");

/// The file of a program, looked for along PATH and where servers live.
pub(super) fn find(name: &str) -> Option<String> {
    program::find(name)?.into_os_string().into_string().ok()
}

/// An error that names the packages of all programs that are missing and not optional.
pub(super) fn require(programs: impl IntoIterator<Item = Program>) -> Result<()> {
    let mut missing: Vec<Program> =
        programs.into_iter().filter(|p| !p.optional && find(p.name).is_none()).collect();
    missing.sort();
    missing.dedup();
    let Some(first) = missing.first() else { return Ok(()) };
    let mut packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let names: Vec<_> = missing.iter().map(|program| program.name).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    bail!(
        "{}: {verb} missing: install {} with `apt-get install --no-install-recommends {}`, or choose rows with --filter",
        names.join(", "),
        if packages.len() == 1 {
            format!("the Debian package {}", first.package)
        } else {
            "Debian packages".into()
        },
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        require([of("sh", "dash")]).unwrap();
        require([Program { optional: true, ..of("there-is-no-such", "x") }]).unwrap();
        let one = of("there-is-no-such", "some-package");
        let why = require([one, one]).unwrap_err().to_string();
        assert!(
            why.starts_with("there-is-no-such: is missing: install the Debian package some-package"),
            "{why}"
        );
        let why = require([one, of("nor-such", "other")]).unwrap_err().to_string();
        assert!(why.contains("--no-install-recommends other some-package"), "{why}");
    }
}
