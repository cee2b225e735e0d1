//! The machine as the subjects use it: two hosts of our own, labs, processes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
    thread,
};

use anyhow::{Context, Result, bail};
use ipoib::os::{
    link::{LinkConfig, Netlink},
    space::{HostSpace, HostSpec},
    tap::Tap,
};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{
    copier::{self, Design},
    ring,
    subject::{Place, Way},
};

/// That of an `ib0`.
pub(crate) const MTU: u32 = 2044;

/// What subjects are made in.
#[derive(Debug)]
pub(crate) struct World {
    /// The program that is measured.
    pub(crate) ipoib: PathBuf,
    /// This program.
    pub(crate) me: PathBuf,
    /// A directory for files, gone at the end.
    pub(crate) dir: PathBuf,
    /// The two hosts.
    pub(crate) hosts: [HostSpace; 2],
    /// Options of all labs.
    with: Vec<String>,
    labs: BTreeMap<String, (String, Rc<Process>)>,
    networks: u8,
}

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        // Labs take their hosts down when told to end; it does not depend on us that others do.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..200 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    /// Two hosts, nothing between them; labs are to have these options.
    pub(crate) fn new(with: Vec<String>) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("ipoib-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let host =
            |name: &str| HostSpace::create(&HostSpec { hostname: name.to_owned(), ..HostSpec::default() });
        Ok(Self {
            ipoib: env!("CARGO_BIN_EXE_ipoib").into(),
            me: std::env::current_exe()?,
            dir,
            hosts: [host("a")?, host("b")?],
            with,
            labs: BTreeMap::new(),
            networks: 0,
        })
    }

    /// A network that nobody uses: the addresses of the two hosts.
    pub(crate) fn network(&mut self) -> [Ipv4Addr; 2] {
        self.networks += 1;
        [1, 2].map(|host| Ipv4Addr::new(10, 91, self.networks, host))
    }

    /// Gives the interface `name`, which both hosts have, addresses, the MTU of InfiniBand, and sets it up.
    pub(crate) fn furnish(&mut self, name: &str, mtu: u32) -> Result<Way> {
        let addresses = self.network();
        for (host, address) in self.hosts.iter().zip(addresses) {
            host.enter_with(|| -> Result<()> {
                let mut netlink = Netlink::open()?;
                let index = netlink.index_of(name)?;
                netlink.add_address(index, address.into(), 24, true)?;
                let config = LinkConfig { mtu: Some(mtu), up: Some(true), ..LinkConfig::default() };
                Ok(netlink.configure(index, &config)?)
            })??;
        }
        let ends = self.hosts.clone().map(Place::Space);
        Ok(Way { ends, server: addresses[1], processes: Vec::new() })
    }

    /// A lab with these options, and its name; the same for all who ask for the same.
    pub(crate) fn lab(&mut self, options: &[&str]) -> Result<(String, Rc<Process>)> {
        let key = options.join(" ");
        if let Some((name, process)) = self.labs.get(&key) {
            return Ok((name.clone(), Rc::clone(process)));
        }
        let name = format!("bench-{}-{}", std::process::id(), self.labs.len());
        let mut command = Command::new(&self.ipoib);
        command
            .args(["lab", "--name", &name])
            .args(options)
            .args(&self.with)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("ipoib lab")?;
        let talk = BufReader::new(child.stderr.take().context("its standard error")?);
        let process = Rc::new(Process(child));
        let mut lines = talk.lines();
        let mut said = String::new();
        loop {
            match lines.next() {
                Some(line) if line.as_deref().is_ok_and(|line| line.contains("up in")) => break,
                Some(line) => said += &(line? + "\n"),
                None => bail!("the lab did not come up: {said}"),
            }
        }
        thread::spawn(move || lines.for_each(drop));
        self.labs.insert(key, (name.clone(), Rc::clone(&process)));
        Ok((name, process))
    }

    /// A pair of TAPs with one program between them.
    pub(crate) fn copier(&mut self, name: &str, design: Design) -> Result<Option<Way>> {
        let (mut way, [a, b]) = self.taps(name)?;
        let design = format!("{design:?}").to_lowercase();
        way.processes = vec![self.me(&["copier", &design], &a, &b)?];
        Ok(Some(way))
    }

    /// A pair of TAPs with a program each, and one between these.
    pub(crate) fn rings(&mut self) -> Result<Option<Way>> {
        let (mut way, [a, b]) = self.taps("shm2")?;
        let memory = File::from(memfd_create("rings", MemfdFlags::CLOEXEC)?);
        memory.set_len(ring::MEMORY as u64)?;
        for tap in [&a, &b] {
            copier::blocking(tap.as_fd())?;
        }
        way.processes = vec![
            self.me(&["ring", "first"], &a, &memory)?,
            self.me(&["ring", "second"], &b, &memory)?,
            self.me(&["ring", "between"], &memory, &memory)?,
        ];
        Ok(Some(way))
    }

    /// Ends what runs under this name's sake no longer.
    fn taps(&mut self, name: &str) -> Result<(Way, [OwnedFd; 2])> {
        let make = |host: &HostSpace| -> Result<OwnedFd> {
            let tap = host.enter_with(|| Tap::create(name))??;
            tap.set_carrier(true)?;
            Ok(tap.as_fd().try_clone_to_owned()?)
        };
        let taps = [make(&self.hosts[0])?, make(&self.hosts[1])?];
        Ok((self.furnish(name, MTU)?, taps))
    }

    /// This program in another role.
    fn me(&self, words: &[&str], input: impl AsFd, output: impl AsFd) -> Result<Rc<Process>> {
        let mut command = Command::new(&self.me);
        let (input, output) = (input.as_fd().try_clone_to_owned()?, output.as_fd().try_clone_to_owned()?);
        command.args(words).stdin(input).stdout(output);
        Ok(Rc::new(Process(command.spawn()?)))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Processor seconds of a process and all that came from it and still run.
pub(crate) fn cpu(pid: u32) -> f64 {
    let mut sum = 0.0;
    let mut family = vec![pid];
    while let Some(pid) = family.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks.map(|task| task.path()) {
            let ran = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            sum += ran.split(' ').next().and_then(|ran| ran.parse().ok()).map_or(0.0, |ns: f64| ns * 1e-9);
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    sum
}
