//! Network namespaces of `ip netns`, which a test makes and removes.

use std::{fs, path::PathBuf, process::Command};

use super::{PATIENCE, new_name, require, run};

/// A network namespace with a name; removed when dropped.
pub(crate) struct Netns(String);

impl Netns {
    pub(crate) fn new() -> Self {
        require(&[("ip", "iproute2")]);
        let netns = Self(new_name());
        ip(&["netns", "add", &netns.0]);
        ip(&["-n", &netns.0, "link", "set", "lo", "up"]);
        netns
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// A command for it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words).env_remove("RUST_LOG").env_remove("IPOIB_LAB");
        command
    }

    /// Runs a shell script in it; it must end well. What it wrote to stdout.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        run(&mut self.command(&["sh", "-euc", script]), PATIENCE).ok()
    }

    /// What its programs see as /etc/hosts.
    pub(crate) fn write_hosts(&self, text: &str) {
        fs::create_dir_all(self.directory()).unwrap();
        fs::write(self.directory().join("hosts"), text).unwrap();
    }

    /// Where `ip netns` looks for files of its own.
    fn directory(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.0)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
        let _ = fs::remove_dir_all(self.directory());
        // The last one takes the directory along, which only `ip netns` and we use.
        let _ = fs::remove_dir("/etc/netns");
    }
}

/// Two machines: a cable leads from one network namespace to the other, 192.0.2.1 and 192.0.2.2 are its ends.
pub(crate) struct Machines(pub(crate) [Netns; 2]);

impl Machines {
    pub(crate) fn new() -> Self {
        let machines = Self([Netns::new(), Netns::new()]);
        let [a, b] = &machines.0;
        ip(&["-n", &a.0, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &b.0]);
        for (netns, address) in machines.0.iter().zip(["192.0.2.1/24", "192.0.2.2/24"]) {
            ip(&["-n", &netns.0, "address", "add", address, "dev", "wire"]);
            ip(&["-n", &netns.0, "link", "set", "wire", "up"]);
        }
        machines.set_mtu("9000");
        machines
    }

    pub(crate) fn set_mtu(&self, mtu: &str) {
        for netns in &self.0 {
            ip(&["-n", &netns.0, "link", "set", "wire", "mtu", mtu]);
        }
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    run(Command::new("ip").args(words), PATIENCE).ok();
}
