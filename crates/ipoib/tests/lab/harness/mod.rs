//! A lab that runs for a test, and the program as its users call it.
//!
//! A lab has one of three shapes, and tests need not know which: each test program has a `begin` that makes labs of its
//! own.

mod netns;
mod process;
mod temp;
pub(crate) mod tshark;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

pub(crate) use self::{
    netns::{Machines, Netns},
    process::{Done, PATIENCE, Running, descriptors, eventually, resident, run},
    temp::TempDir,
};

/// How long a lab may take to come up on a machine with other work.
const COMES_UP: Duration = Duration::from_secs(60);
/// How long a lab may take to end.
pub(crate) const ENDS: Duration = Duration::from_secs(2);

/// `ipoib ARGS`.
pub(crate) fn ipoib<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipoib"));
    // What the caller's lab would say of itself is not for these.
    command.args(args).env_remove("RUST_LOG").env_remove("IPOIB_LAB");
    command
}

/// A name that no other lab has.
pub(crate) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Fails unless the programs are there; says where Debian has them.
#[track_caller]
pub(crate) fn require(programs: &[(&str, &str)]) {
    let path = env::var_os("PATH").unwrap_or_default();
    for (program, package) in programs {
        let found = env::split_paths(&path).any(|dir| dir.join(program).is_file());
        assert!(found, "{program} is missing: install the Debian package {package}");
    }
}

/// A lab that runs until this is dropped.
pub(crate) struct Lab {
    name: String,
    running: Option<Running>,
    beside: Beside,
}

/// What a lab of several processes has beside its first fabric.
#[derive(Default)]
pub(crate) struct Beside {
    /// `ipoib up`, once for each host.
    pub(crate) drivers: Vec<Running>,
    /// Further fabrics.
    pub(crate) fabrics: Vec<Lab>,
    /// The hosts, by their names.
    pub(crate) hosts: BTreeMap<String, Netns>,
    /// Where the fabrics are.
    pub(crate) machines: Option<Machines>,
    /// Their files.
    pub(crate) dir: Option<TempDir>,
}

impl Lab {
    /// A lab that is up.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut lab = crate::begin(args);
        lab.wait_until_up();
        lab
    }

    /// A lab that answers but need not be up.
    pub(crate) fn begin(args: &[&str]) -> Self {
        crate::begin(args)
    }

    /// `ipoib lab ARGS`, which answers.
    pub(crate) fn run(args: &[&str]) -> Self {
        let name = new_name();
        let mut lab = Self::with(name.clone(), ipoib(["lab", "--name", &name]).args(args));
        lab.wait_until_it_answers();
        lab
    }

    /// A lab of this name that `command` starts.
    pub(crate) fn with(name: String, command: &mut Command) -> Self {
        Self { name, running: Some(Running::start(command)), beside: Beside::default() }
    }

    /// The same, and what there is beside it.
    pub(crate) fn beside(mut self, beside: Beside) -> Self {
        self.beside = beside;
        self
    }

    /// Kills its process, and starts another in its place.
    pub(crate) fn replace(&mut self, command: &mut Command) {
        drop(self.running.take());
        self.running = Some(Running::start(command));
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> u32 {
        self.running().id()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("taken by `end` only")
    }

    /// Waits until the subnet is up.
    #[track_caller]
    pub(crate) fn wait_until_up(&mut self) {
        self.running.as_mut().expect("runs").wait_for("up in", COMES_UP);
    }

    pub(crate) fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + COMES_UP;
        while !run(&mut self.ipoib("show", &["hosts", "--json"]), PATIENCE).status.success() {
            let lab = self.running.as_mut().expect("runs");
            assert!(!lab.has_ended() && Instant::now() < deadline, "the lab does not answer: {lab:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// `ipoib VERB --lab THIS ARGS`.
    pub(crate) fn ipoib(&self, verb: &str, args: &[&str]) -> Command {
        ipoib([verb, "--lab", &self.name].iter().chain(args))
    }

    /// A host that is a network namespace of ours.
    pub(crate) fn host(&self, name: &str) -> &Netns {
        &self.beside.hosts[name]
    }

    /// A command for one of the hosts.
    pub(crate) fn command(&self, host: &str, words: &[&str]) -> Command {
        match self.beside.hosts.get(host) {
            Some(netns) => netns.command(words),
            None => ipoib(["exec", "--lab", &self.name, host, "--"].iter().chain(words)),
        }
    }

    /// Runs a command in a host, to its end.
    #[track_caller]
    pub(crate) fn exec(&self, host: &str, words: &[&str]) -> Done {
        run(&mut self.command(host, words), PATIENCE)
    }

    /// Runs a shell script in a host; it must end well. What it wrote to stdout.
    #[track_caller]
    pub(crate) fn sh(&self, host: &str, script: &str) -> String {
        self.exec(host, &["sh", "-euc", script]).ok()
    }

    /// Starts a command in a host.
    pub(crate) fn spawn(&self, host: &str, words: &[&str]) -> Running {
        Running::start(&mut self.command(host, words))
    }

    /// Starts a Python program in a host.
    pub(crate) fn python(&self, host: &str, program: &str, args: &[&str]) -> Running {
        let words: Vec<_> = ["python3", "-uc", program].iter().chain(args).copied().collect();
        self.spawn(host, &words)
    }

    /// Starts a server in a host and waits until it listens on this TCP port.
    #[track_caller]
    pub(crate) fn serve(&self, host: &str, port: u16, words: &[&str]) -> Running {
        let mut server = self.spawn(host, words);
        let filter = format!("sport = :{port}");
        eventually(&format!("a server on port {port}"), PATIENCE, || {
            assert!(!server.has_ended(), "{server:?}");
            (!self.exec(host, &["ss", "-Hltn", &filter]).ok().is_empty()).then_some(())
        });
        server
    }

    /// The rows of `ipoib show NOUN --json`, of all fabrics.
    #[track_caller]
    pub(crate) fn show(&self, noun: &str) -> Vec<Value> {
        let mut rows = self.rows(noun);
        rows.extend(self.beside.fabrics.iter().flat_map(|fabric| fabric.rows(noun)));
        if !self.beside.fabrics.is_empty() {
            self.name_strangers(&mut rows);
        }
        rows
    }

    /// A fabric knows hosts of another by their GIDs.
    fn name_strangers(&self, rows: &mut [Value]) {
        let fabrics = self.beside.fabrics.iter().chain([self]);
        for host in fabrics.flat_map(|fabric| fabric.rows("hosts")) {
            if let (Some(name), Some(guid)) = (host["name"].as_str(), host["guid"].as_str()) {
                rows.iter_mut().for_each(|row| rename(row, &gid(guid), name));
            }
        }
    }

    /// The rows of one.
    #[track_caller]
    fn rows(&self, noun: &str) -> Vec<Value> {
        let said = run(&mut self.ipoib("show", &[noun, "--json"]), PATIENCE).ok();
        let document: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(document["schema"], 1, "{document}");
        document[noun].as_array().unwrap_or_else(|| panic!("no rows of {noun}: {document}")).clone()
    }

    /// The row about an interface.
    #[track_caller]
    pub(crate) fn interface(&self, host: &str, interface: &str) -> Value {
        let mut rows = self.show("hosts").into_iter();
        let row = rows.find(|row| row["name"] == host && row["interface"] == interface);
        row.unwrap_or_else(|| panic!("no row for {interface} of {host}"))
    }

    /// The number `name` among the counters, or drops, of `part` of `node`; what never happened may not be listed. Two
    /// fabrics may have a node of one name: then it is their sum.
    #[track_caller]
    pub(crate) fn count(&self, node: &str, part: &str, name: &str) -> u64 {
        let rows = self.show("counters");
        let found: Vec<_> = rows.iter().filter(|row| row["node"] == node && row["part"] == part).collect();
        assert!(!found.is_empty(), "nothing counts at {part} of {node}: {rows:#?}");
        let number =
            |row: &Value| [&row["counters"][name], &row["drops"][name]].into_iter().find_map(Value::as_u64);
        found.into_iter().filter_map(number).sum()
    }

    /// `ipoib fault link LINK FAULT [AMOUNT]`.
    #[track_caller]
    pub(crate) fn fault_link(&self, words: &[&str]) {
        run(ipoib(["fault", "link", "--lab", &self.name]).args(words), PATIENCE).ok();
    }

    /// `ipoib fault host HOST FAULT`.
    #[track_caller]
    pub(crate) fn fault_host(&self, host: &str, fault: &str) {
        run(&mut ipoib(["fault", "host", "--lab", &self.name, host, fault]), PATIENCE).ok();
    }

    /// Starts `ipoib capture -w FILE ARGS`.
    #[track_caller]
    pub(crate) fn capture(&self, file: &Path, args: &[&str]) -> Running {
        let file = file.to_str().expect("temporary names are text");
        let written = || std::fs::metadata(file).and_then(|found| Ok((found.len(), found.modified()?))).ok();
        let before = written();
        let mut capture = Running::start(self.ipoib("capture", &["-w", file]).args(args));
        // It has begun when the file has its first block.
        eventually("the capture begins", PATIENCE, || {
            assert!(!capture.has_ended(), "{capture:?}");
            written().filter(|now| now.0 > 0 && Some(*now) != before)
        });
        capture
    }

    /// Whether a ping from one host to an address or a host is answered, in at most two seconds.
    pub(crate) fn pings(&self, from: &str, to: &str) -> bool {
        let done = self.exec(from, &["ping", "-n", "-c", "1", "-W", "2", to]);
        done.status.success()
    }

    /// What the lab has said.
    pub(crate) fn said(&self) -> String {
        self.running().stderr()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running().signal(signal);
    }

    /// Checks that it ends by itself, in time.
    #[track_caller]
    pub(crate) fn has_ended_well(&mut self) {
        let lab = self.running.take().expect("once");
        lab.finish(ENDS).exits(0);
    }

    /// Ends the lab with a signal; how that went.
    #[track_caller]
    pub(crate) fn end(mut self, signal: Signal) -> Done {
        let running = self.running.take().expect("once");
        running.signal(signal);
        running.finish(PATIENCE)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if thread::panicking() {
            eprintln!("the lab: {running:?}");
        }
        let begin = Instant::now();
        if !running.has_ended() {
            running.signal(Signal::TERM);
        }
        let status = running.try_finish(ENDS);
        if thread::panicking() {
            return;
        }
        let took = begin.elapsed();
        let status =
            status.unwrap_or_else(|| panic!("the lab has not ended {took:?} after SIGTERM: {running:?}"));
        assert!(status.success(), "the lab ended with {status}: {running:?}");
    }
}

/// The link-local GID of the port with this GUID.
fn gid(guid: &str) -> String {
    let digits: String = guid.chars().filter(char::is_ascii_hexdigit).collect();
    let low = u64::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("a GUID: {guid}"));
    std::net::Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(low)).to_string()
}

/// Gives the port with this GID its host's name, wherever somebody knows it.
fn rename(value: &mut Value, gid: &str, name: &str) {
    match value {
        Value::String(text) if text == gid => name.clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, gid, name)),
        Value::Object(fields) => {
            if fields.get("gid").is_some_and(|known| known == gid) {
                fields.insert("peer".to_owned(), name.into());
            }
            fields.values_mut().for_each(|value| rename(value, gid, name));
        }
        _ => {}
    }
}
