//! What a row works with: a lab, a directory of its own, and how long it may take.

use std::{
    fs::{self, File},
    io::Read,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    lab::{Host, Lab, SHORT},
    process::{Done, Interrupted, Process, eventually, input},
    row::LeftOut,
};

/// How a run is to be.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// This program.
    pub(super) program: PathBuf,
    /// The whole of every row, not its short form.
    pub(super) full: bool,
    /// Nothing is expected to work: give up early.
    pub(super) hasty: bool,
    /// Drivers of labs of our own are processes of their own.
    pub(super) isolate: bool,
    /// What chance begins with.
    pub(super) seed: u64,
}

/// The longest that a row waits for anything when nothing is expected to work.
const HASTE: Duration = Duration::from_secs(5);

/// A ping that gives up after half a second has ended by then, though others keep the machine busy.
const UNANSWERED: Duration = Duration::from_secs(5);

/// What a row works with.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) form: &'a Form,
    lab: Option<&'a Lab>,
    dir: PathBuf,
    trick: Option<&'static str>,
}

impl<'a> Bench<'a> {
    /// For a row that works in `lab`, if it needs one; `dir` goes away with this.
    pub(super) fn new(
        form: &'a Form,
        lab: Option<&'a Lab>,
        dir: PathBuf,
        trick: Option<&'static str>,
    ) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("{}: cannot make it", dir.display()))?;
        Ok(Self { form, lab, dir, trick })
    }

    /// The lab.
    pub(super) fn lab(&self) -> Result<&'a Lab> {
        self.lab.context("this row has no lab")
    }

    /// A lab besides.
    pub(super) fn another_lab(&self, args: &[&str]) -> Result<Lab> {
        Lab::start(self.form, &new_name(), args, false)
    }

    /// The first host, where clients run.
    pub(super) fn client(&self) -> Result<&'a Host> {
        self.lab()?.hosts.first().context("the lab has no host")
    }

    /// The last host, where servers run: as far from the first as a lab has it.
    pub(super) fn server(&self) -> Result<&'a Host> {
        self.lab()?.hosts.last().context("the lab has no host")
    }

    /// An address in the network of the first host that nobody has.
    pub(super) fn nobody(&self) -> Result<String> {
        let first: Ipv4Addr = self.client()?.v4.parse().context("the first host has no IPv4 address")?;
        let [a, b, ..] = first.octets();
        Ok(Ipv4Addr::new(a, b, 0, 253).to_string())
    }

    /// True if the row is to do something wrong that has this name.
    pub(super) fn is_tricked(&self, name: &str) -> bool {
        self.trick == Some(name)
    }

    /// One of two amounts: for the short form, and for the whole.
    pub(super) fn choose<T>(&self, short: T, full: T) -> T {
        if self.form.full { full } else { short }
    }

    /// This long, or less if nothing is expected to work.
    pub(super) fn limit(&self, time: Duration) -> Duration {
        if self.form.hasty { time.min(HASTE) } else { time }
    }

    /// Runs a command in a host to its end, however it is.
    pub(super) fn run(&self, host: &Host, words: &[&str], within: u64) -> Result<Done> {
        self.spawn(host, words)?.finish(self.limit(Duration::from_secs(within)))
    }

    /// Runs a command in a host; it must end well. What it wrote to stdout.
    pub(super) fn ok(&self, host: &Host, words: &[&str], within: u64) -> Result<String> {
        Ok(self.run(host, words, within)?.ok()?.stdout)
    }

    /// Runs a shell script in a host that takes no time; it must end well. What it wrote to stdout.
    pub(super) fn sh(&self, host: &Host, script: &str) -> Result<String> {
        Ok(self.spawn(host, &["sh", "-euc", script])?.finish(SHORT)?.ok()?.stdout)
    }

    /// Starts a command in a host.
    pub(super) fn spawn(&self, host: &Host, words: &[&str]) -> Result<Process> {
        Process::start(self.lab()?.command(&host.name, words).current_dir(&self.dir))
    }

    /// Starts a command in a host that reads a file.
    pub(super) fn spawn_reading(&self, host: &Host, words: &[&str], file: &str) -> Result<Process> {
        let stdin = input(&self.path(file)).with_context(|| format!("{file}: cannot read"))?;
        Process::start(self.lab()?.command(&host.name, words).current_dir(&self.dir).stdin(stdin))
    }

    /// Starts a server in a host and waits until it has this port: `tcp` or `udp`.
    pub(super) fn serve(&self, host: &Host, port: (&str, u16), words: &[&str]) -> Result<Process> {
        let server = self.spawn(host, words)?;
        let what = format!("{} listens on {} port {}", words[0], port.0, port.1);
        eventually(&what, self.limit(SHORT), || {
            if server.has_ended() {
                bail!("{}: has ended: {}", words.join(" "), server.said().trim());
            }
            Ok(listens(server.id(), port).then_some(()))
        })?;
        Ok(server)
    }

    /// The row's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text for a command line.
    pub(super) fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file in it; its name.
    pub(super) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<String> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, contents).with_context(|| format!("{}: cannot write", path.display()))?;
        Ok(self.file(name))
    }

    /// Writes a file of octets that neither repeat nor compress.
    pub(super) fn random(&self, name: &str, len: usize) -> Result<String> {
        self.write(name, noise(self.form.seed ^ len as u64, len))
    }

    /// Checks that two files of it are the same; how long they are.
    pub(super) fn same(&self, one: &str, other: &str) -> Result<u64> {
        same(&self.path(one), &self.path(other))
    }

    /// Whether one ping is answered within half a second.
    pub(super) fn answers(&self, from: &Host, to: &str) -> Result<bool> {
        let ping = self.spawn(from, &["ping", "-n", "-c", "1", "-W", "0.5", to])?;
        match ping.finish(UNANSWERED) {
            Ok(done) => Ok(done.status.success()),
            Err(error) if error.is::<Interrupted>() => Err(error),
            // It should have given up by now: there was no answer.
            Err(_) => Ok(false),
        }
    }

    /// Checks that a ping is answered at all, as before something goes wrong.
    pub(super) fn reaches(&self, from: &Host, to: &str) -> Result<()> {
        self.spawn(from, &["ping", "-n", "-c", "1", "-W", "8", to])?.finish(SHORT)?.ok().map(drop)
    }

    /// Waits until a ping is answered; how long that took.
    pub(super) fn comes_back(&self, from: &Host, to: &str, within: Duration) -> Result<Duration> {
        let what = format!("{to} answers {}", from.name);
        Ok(eventually(&what, within, || Ok(self.answers(from, to)?.then_some(())))?.1)
    }

    /// Waits until a host's carrier is on or off; how long that took.
    pub(super) fn carrier(&self, host: &Host, on: bool, within: Duration) -> Result<Duration> {
        let what = format!("{}'s carrier is {}", host.name, if on { "on" } else { "off" });
        let script = format!("cat /sys/class/net/{}/carrier", host.interface);
        let wanted = if on { "1\n" } else { "0\n" };
        Ok(eventually(&what, within, || Ok((self.sh(host, &script)? == wanted).then_some(())))?.1)
    }

    /// Leaves the row out unless the lab has so many hosts.
    pub(super) fn needs_hosts(&self, count: usize) -> Result<()> {
        if self.lab()?.hosts.len() < count {
            return Err(LeftOut(format!("it needs {count} hosts")).into());
        }
        Ok(())
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // What cannot be removed is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A name that no other lab has.
pub(super) fn new_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("verify-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Octets that are the same in every run with this seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    });
    let mut octets: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
    octets.truncate(len);
    octets
}

/// Checks that two files are the same; how long they are.
pub(super) fn same(one: &Path, other: &Path) -> Result<u64> {
    let open = |path: &Path| File::open(path).with_context(|| format!("{}: cannot read", path.display()));
    let (mut a, mut b) = (open(one)?, open(other)?);
    let (long, short) = (a.metadata()?.len(), b.metadata()?.len());
    if long != short {
        bail!("{} has {long} octets, {} has {short}", one.display(), other.display());
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(long);
        }
        b.read_exact(&mut right[..n])?;
        if let Some(i) = (0..n).find(|i| left[*i] != right[*i]) {
            bail!("{} and {} differ at octet {}", one.display(), other.display(), at + i);
        }
        at += n;
    }
}

/// Whether somebody listens on this port in the network of this process, once it is in a host.
fn listens(pid: u32, (protocol, port): (&str, u16)) -> bool {
    let network = |of: &str| fs::metadata(format!("/proc/{of}/ns/net")).map(|ns| ns.ino()).ok();
    if network(&pid.to_string()) == network("self") {
        return false;
    }
    // TCP listens in state 0A; a UDP socket without a peer is in state 07.
    let state = if protocol == "tcp" { "0A" } else { "07" };
    ["", "6"].iter().any(|version| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{protocol}{version}")).unwrap_or_default();
        table.lines().any(|line| has_port(line, port, state))
    })
}

/// A line of `/proc/net/tcp`: number, local address and port, remote address and port, state.
fn has_port(line: &str, port: u16, state: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (local, found) = (words.next(), words.nth(1));
    local.is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && found == Some(state)
}

/// A stopwatch in whole words.
pub(super) fn rate(octets: u64, since: Instant) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let megabits = octets as f64 * 8.0 / 1e6 / since.elapsed().as_secs_f64().max(1e-6);
    format!("{megabits:.0} Mb/s")
}

/// Nothing to read.
pub(super) fn nothing() -> Stdio {
    Stdio::null()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_are_told_apart() {
        let dir = std::env::temp_dir().join(new_name());
        fs::create_dir(&dir).unwrap();
        let file = |name: &str, octets: &[u8]| {
            fs::write(dir.join(name), octets).unwrap();
            dir.join(name)
        };
        let data = noise(7, 3 << 20);
        let mut wrong = data.clone();
        wrong[2_000_003] ^= 1;
        let (one, twin) = (file("one", &data), file("twin", &data));
        assert_eq!(same(&one, &twin).unwrap(), 3 << 20);
        let why = same(&one, &file("wrong", &wrong)).unwrap_err().to_string();
        assert!(why.ends_with("differ at octet 2000003"), "{why}");
        assert!(same(&one, &file("short", &data[1..])).unwrap_err().to_string().contains("3145727"));
        assert!(same(&one, &dir.join("none")).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_listener_is_found_in_the_kernels_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0";
        assert!(has_port(line, 8080, "0A") && !has_port(line, 8080, "07") && !has_port(line, 80, "0A"));
    }

    #[test]
    fn noise_is_the_same_for_the_same_seed() {
        assert_eq!(noise(3, 1001), noise(3, 1001));
        assert_ne!(noise(3, 64), noise(5, 64));
        assert_eq!(noise(3, 1001).len(), 1001);
    }
}
