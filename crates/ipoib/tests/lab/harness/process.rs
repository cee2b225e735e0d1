//! Programs that are run from a test: every wait has a deadline, and what they said is kept.

use std::{
    fmt, fs,
    os::unix::{fs::FileExt, process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Pid, Signal, kill_process, kill_process_group},
};

/// How long a program may take of which nothing is expected but that it ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs; killed, with what it started, when dropped.
pub(crate) struct Running {
    words: String,
    child: Child,
    stdout: fs::File,
    stderr: fs::File,
    since: Instant,
}

impl Running {
    /// Starts it, with nothing to read.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_reading(command.stdin(Stdio::null()))
    }

    /// Starts it with the input it has.
    pub(crate) fn start_reading(command: &mut Command) -> Self {
        let (stdout, stderr) = (memory(), memory());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap()).process_group(0);
        let words = words(command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{words}: {error}"));
        Self { words, child, stdout, stderr, since: Instant::now() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {error}", self.words));
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        text(&contents(&self.stdout))
    }

    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        text(&contents(&self.stderr))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has written `what`, to either place.
    pub(crate) fn wait_for(&mut self, what: &str, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            // Asked before looking, so that its last words count.
            let ended = self.has_ended();
            if self.stdout().contains(what) || self.stderr().contains(what) {
                return;
            }
            assert!(!ended, "ended without saying {what:?}: {self:?}");
            assert!(Instant::now() < deadline, "has not said {what:?} within {within:?}: {self:?}");
            thread::sleep(TICK);
        }
    }

    /// Its exit status if it ends in time.
    pub(crate) fn try_finish(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return Some(status),
                None if Instant::now() >= deadline => return None,
                None => thread::sleep(TICK),
            }
        }
    }

    /// Waits until it ends.
    pub(crate) fn finish(mut self, within: Duration) -> Done {
        let Some(status) = self.try_finish(within) else {
            panic!("still runs after {within:?}: {self:?}");
        };
        let (stdout, stderr) = (contents(&self.stdout), contents(&self.stderr));
        Done { words: self.words.clone(), status, stdout, stderr, took: self.since.elapsed() }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it started is in its process group, which may outlive it; an empty one is no error.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nstdout:\n{}\nstderr:\n{}", self.words, self.stdout(), self.stderr())
    }
}

/// A program that has ended.
pub(crate) struct Done {
    words: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) took: Duration,
}

impl Done {
    /// Its stdout; it must have ended well.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert!(self.status.success(), "{self:?}");
        text(&self.stdout)
    }

    /// Checks its exit code.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        self
    }

    /// Checks that it said all of `words`.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        let said = self.said();
        for word in words {
            assert!(said.contains(word), "does not say {word:?}: {self:?}");
        }
        self
    }

    /// Stdout and stderr.
    pub(crate) fn said(&self) -> String {
        text(&self.stdout) + &text(&self.stderr)
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        write!(f, "{}: {}\nstdout:\n{stdout}\nstderr:\n{stderr}", self.words, self.status)
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command, within: Duration) -> Done {
    Running::start(command).finish(within)
}

/// Asks until the answer is `Some`, and says how long that took.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(TICK);
    }
}

/// Open descriptors of a process.
pub(crate) fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// Memory that a process occupies, in KiB.
pub(crate) fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How often a wait looks.
const TICK: Duration = Duration::from_millis(5);

fn memory() -> fs::File {
    memfd_create("output", MemfdFlags::CLOEXEC).unwrap().into()
}

/// All of a file whose position belongs to the program that writes it.
fn contents(file: &fs::File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    let len = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(len);
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().chars().take(200).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}
