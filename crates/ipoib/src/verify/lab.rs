//! The lab that a row works in: one of our own, ended when it is dropped, or one that ran before.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::fstat,
    process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, prlimit},
};
use serde_json::Value;

use super::{
    bench::Form,
    process::{Done, Process, eventually},
};
use crate::{
    control::{Client, HostFault, LinkFault, SOCKET, schema::Noun},
    os::rundir::RunDir,
};

/// Drivers are processes of their own.
const ISOLATE: &str = "--isolate";
/// How long a lab of our own may take to come up.
const COMES_UP: Duration = Duration::from_secs(60);
/// How long it may take to end.
pub(super) const ENDS: Duration = Duration::from_secs(2);
/// How long a short command in a host may take.
pub(super) const SHORT: Duration = Duration::from_secs(30);

/// A lab and the way to it.
#[derive(Debug)]
pub(super) struct Lab {
    program: PathBuf,
    name: String,
    pid: u32,
    /// Its hosts, in its order.
    pub(super) hosts: Vec<Host>,
    /// Network namespaces of the hosts.
    networks: Vec<u64>,
    /// Ours, or somebody else's.
    own: Option<Process>,
}

/// A host of a lab, with its first interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// `h1`.
    pub(super) name: String,
    /// `ib0`.
    pub(super) interface: String,
    /// Its IPv4 address.
    pub(super) v4: String,
    /// Its IPv6 address of more than one link.
    pub(super) v6: String,
    /// Its link-local address.
    pub(super) local: String,
}

impl Lab {
    /// Starts `ipoib lab --name NAME ARGS` and waits until it is up, or if it `need_not_come_up` until it answers.
    pub(super) fn start(form: &Form, name: &str, args: &[&str], need_not_come_up: bool) -> Result<Self> {
        Self::start_in(form, name, args, need_not_come_up, &[])
    }

    /// The same with these variables in its environment.
    pub(super) fn start_in(
        form: &Form,
        name: &str,
        args: &[&str],
        need_not_come_up: bool,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let program = form.program.as_path();
        let mut command = Command::new(program);
        command.args(["lab", "--name", name]).stdin(Stdio::null()).env_remove("IPOIB_LAB");
        if form.isolate && !args.contains(&ISOLATE) {
            command.arg(ISOLATE);
        }
        command.args(args).envs(environment.iter().copied());
        let process = Process::start(&mut command)?;
        if need_not_come_up {
            // Drivers that are processes of their own take a moment to tell the addresses of their interfaces.
            eventually("the lab answers, and its hosts have addresses", COMES_UP, || {
                if process.has_ended() {
                    bail!("the lab has ended: {}", process.said().trim());
                }
                let hosts = connect(name).and_then(|mut client| hosts_of(&mut client)).unwrap_or_default();
                Ok((!hosts.is_empty() && hosts.iter().all(|host| !host.v4.is_empty())).then_some(()))
            })?;
        } else {
            process.wait_for("up in", COMES_UP).context("the lab does not come up")?;
        }
        Self::find(program, name, Some(process))
    }

    /// A lab that runs.
    pub(super) fn running(program: &Path, name: &str) -> Result<Self> {
        Self::find(program, name, None)
    }

    fn find(program: &Path, name: &str, own: Option<Process>) -> Result<Self> {
        let mut client = connect(name)?;
        let pid = client.info()?.pid;
        let hosts = hosts_of(&mut client)?;
        let mut networks = Vec::new();
        for host in &hosts {
            networks.push(fstat(client.enter(&host.name)?.net)?.st_ino);
        }
        Ok(Self { program: program.to_owned(), name: name.to_owned(), pid, hosts, networks, own })
    }

    /// True if we started it.
    pub(super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// `ipoib ARGS`.
    pub(super) fn ipoib(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null()).env("IPOIB_LAB", &self.name);
        command
    }

    /// A command for one of the hosts.
    pub(super) fn command(&self, host: &str, words: &[&str]) -> Command {
        let mut command = self.ipoib(&["exec", host, "--"]);
        // Servers live in sbin, which not every user's PATH has.
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(words).env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
        command
    }

    /// The rows of `ipoib show NOUN`.
    pub(super) fn show(&self, noun: Noun) -> Result<Vec<Value>> {
        let document = connect(&self.name)?.show(noun, None)?;
        Ok(document[noun.name()].as_array().cloned().unwrap_or_default())
    }

    /// The row about a host's first interface.
    pub(super) fn interface(&self, host: &Host) -> Result<Value> {
        let rows = self.show(Noun::Hosts)?.into_iter();
        let row =
            rows.into_iter().find(|row| row["name"] == *host.name && row["interface"] == *host.interface);
        row.with_context(|| format!("`ipoib show hosts` has no {} of {}", host.interface, host.name))
    }

    /// The counter or drop `name` of `part` of `node`; what never happened may not be listed.
    pub(super) fn count(&self, node: &str, part: &str, name: &str) -> Result<u64> {
        let rows = self.show(Noun::Counters)?;
        let row = rows.iter().find(|row| row["node"] == node && row["part"] == part);
        let row = row.with_context(|| format!("`ipoib show counters` has no {part} of {node}"))?;
        let numbers = [&row["counters"][name], &row["drops"][name]];
        Ok(numbers.into_iter().find_map(Value::as_u64).unwrap_or(0))
    }

    /// The sum of the counters and drops called `name`, wherever they are.
    pub(super) fn total(&self, name: &str) -> Result<u64> {
        let rows = self.show(Noun::Counters)?;
        let numbers = rows.iter().flat_map(|row| [&row["counters"][name], &row["drops"][name]]);
        Ok(numbers.filter_map(Value::as_u64).sum())
    }

    /// What was dropped anywhere, by name, as far as anything was: `no_group 10, tx_no_carrier 2`.
    pub(super) fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let mut drops = BTreeMap::new();
        for row in self.show(Noun::Counters)? {
            for (name, count) in row["drops"].as_object().into_iter().flatten() {
                *drops.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
            }
        }
        drops.retain(|_, count| *count > 0);
        Ok(drops)
    }

    /// `ipoib fault link LINK FAULT [AMOUNT]`; `fault` is one word or two.
    pub(super) fn fault_link(&self, link: &str, fault: &str) -> Result<()> {
        let (word, amount) =
            fault.split_once(' ').map_or((fault, None), |(word, amount)| (word, Some(amount)));
        let read = LinkFault::read(word, amount).map_err(anyhow::Error::msg)?;
        connect(&self.name)?.fault_link(link, read).with_context(|| format!("fault link {link} {fault}"))
    }

    /// `ipoib fault host HOST plug|unplug`.
    pub(super) fn fault_host(&self, host: &str, fault: HostFault) -> Result<()> {
        connect(&self.name)?.fault_host(host, fault).with_context(|| format!("fault host {host} {fault:?}"))
    }

    /// A connection to it.
    pub(super) fn client(&self) -> Result<Client> {
        connect(&self.name)
    }

    /// Memory that its process occupies, in octets.
    pub(super) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the lab's memory")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("the lab's memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("the lab's memory")?;
        Ok(kib << 10)
    }

    /// Lets its process have so many octets of memory more than it has, and no more.
    pub(super) fn limit_memory(&self, more: u64) -> Result<()> {
        let has = Some(self.status("VmData:")? + more);
        let pid = Pid::from_raw(self.pid.cast_signed()).context("the lab's process")?;
        prlimit(Some(pid), Resource::Data, Rlimit { current: has, maximum: has }).context("prlimit")?;
        Ok(())
    }

    /// Descriptors that its process has open.
    pub(super) fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid)).context("the lab's descriptors")?.count())
    }

    /// Checks that its process comes back to this many descriptors: our own questions open some for a moment.
    pub(super) fn settles(&self, descriptors: usize) -> Result<()> {
        let what = format!("the lab has no more than {descriptors} descriptors");
        eventually(&what, ENDS, || Ok((self.descriptors()? <= descriptors).then_some(()))).map(drop)
    }

    /// Sends its process a signal; only a lab of our own may be treated so.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        self.own.as_ref().context("the lab is not ours")?.signal(signal);
        Ok(())
    }

    /// True once a lab of our own has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.own.as_ref().is_some_and(Process::has_ended)
    }

    /// Ends it with a signal and waits; how it ended, and how long that took. A lab that ran before runs on.
    pub(super) fn end(mut self, signal: Signal, within: Duration) -> Result<(Done, Duration)> {
        let own = self.own.take().context("the lab is not ours")?;
        let start = Instant::now();
        own.signal(signal);
        let done = own.finish(within).context("the lab does not end");
        let took = start.elapsed();
        self.evict();
        Ok((done?, took))
    }

    /// Processes in the hosts.
    pub(super) fn inhabitants(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
        let lives_here = |pid: &u32| {
            fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| self.networks.contains(&ns.ino()))
        };
        numbers.filter(|pid| *pid != self.pid).filter(lives_here).collect()
    }

    /// Ends whoever is left in the hosts: sessions that a server began are in no group of ours.
    fn evict(&self) {
        for pid in self.inhabitants() {
            let pid = Pid::from_raw(pid.cast_signed());
            let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { continue };
            // It may have ended in between, and its number gone to another: look once more.
            if self.inhabitants().iter().any(|other| pid == Pid::from_raw(other.cast_signed())) {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            own.signal(Signal::CONT);
            own.signal(Signal::TERM);
            // The next row's lab has another name: what is late is killed.
            let _ = own.finish(ENDS * 2);
            self.evict();
        }
    }
}

/// A connection to the lab of this name.
fn connect(name: &str) -> Result<Client> {
    let labs = RunDir::list().context("list the labs")?;
    let lab = labs.iter().find(|lab| lab.name == name && lab.alive);
    let lab = lab.with_context(|| format!("lab {name}: not running: `ipoib list` shows those that are"))?;
    Client::connect(&lab.path.join(SOCKET)).with_context(|| format!("lab {name}"))
}

/// The hosts of a lab and their first interfaces.
fn hosts_of(client: &mut Client) -> Result<Vec<Host>> {
    let rows = client.show(Noun::Hosts, None)?;
    Ok(hosts(rows["hosts"].as_array().map_or(&[], Vec::as_slice)))
}

/// The same, from the rows of `show hosts`.
fn hosts(rows: &[Value]) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let addresses = |name: &str| -> Vec<String> {
            let list = row[name].as_array().into_iter().flatten().filter_map(Value::as_str);
            list.map(|address| address.split('/').next().unwrap_or_default().to_owned()).collect()
        };
        let (v6, local) = addresses("ipv6").into_iter().partition::<Vec<_>, _>(|a| !a.starts_with("fe80"));
        let first = |list: Vec<String>| list.into_iter().next().unwrap_or_default();
        let host = Host {
            name: text("name"),
            interface: text("interface"),
            v4: first(addresses("ipv4")),
            v6: first(v6),
            local: first(local),
        };
        if hosts.iter().all(|known| known.name != host.name) {
            hosts.push(host);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_is_known_by_its_first_interface() {
        let row = |interface: &str, v4: &str| {
            let v6 = ["fe80::1/64", "fd77::1/64"];
            json!({ "name": "h1", "interface": interface, "ipv4": [v4], "ipv6": v6 })
        };
        let found = hosts(&[row("ib0", "10.77.0.1/24"), row("ib0.8001", "10.78.0.1/24")]);
        assert_eq!(found.len(), 1);
        let Host { interface, v4, v6, local, .. } = &found[0];
        assert_eq!([interface, v4, v6, local], ["ib0", "10.77.0.1", "fd77::1", "fe80::1"]);
    }
}
