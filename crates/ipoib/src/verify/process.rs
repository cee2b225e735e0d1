//! Programs that a row runs: what they say is kept, every wait has a deadline and ends when the run is interrupted,
//! and nobody of a program's process group outlives it.

use std::{
    fmt,
    io::{self, ErrorKind, Read},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};

pub(super) use super::done::Done;
use super::done::last_words;
use crate::os::signals;

/// Octets of a program's words that are kept; what a program says beyond is not of interest.
const KEPT: usize = 16 << 20;
/// A wait looks this often whether the run is interrupted.
const LOOK: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Somebody asked for the end of the run.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// Makes every wait end.
pub(super) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// An error if somebody asked for the end.
pub(super) fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(Interrupted) } else { Ok(()) }
}

/// A program that runs.
pub(super) struct Process {
    words: String,
    pid: Pid,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Set once it is reaped; until then its number, and that of its group, are its own.
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts it, with nothing to read unless the caller has set an input.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let words = words(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        signals::end_with_parent(signals::restore_in_child(command));
        let child = command.spawn().with_context(|| format!("{words}: cannot run it"))?;
        let pid = Pid::from_child(&child);
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        let reading = thread::Builder::new().name("reader".to_owned()).spawn(move || reader.follow(child));
        reading.context("start a thread")?;
        Ok(Self { words, pid, shared })
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends it a signal; one that has ended takes none.
    pub(super) fn signal(&self, signal: Signal) {
        let state = self.shared.lock();
        if state.status.is_none() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// What it has written to stdout so far.
    pub(super) fn stdout(&self) -> String {
        text(&self.shared.lock().stdout)
    }

    /// What it has written so far, stdout first.
    pub(super) fn said(&self) -> String {
        let state = self.shared.lock();
        text(&state.stdout) + &text(&state.stderr)
    }

    /// True once it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.shared.lock().status.is_some()
    }

    /// Waits until it has said `what`.
    pub(super) fn wait_for(&self, what: &str, within: Duration) -> Result<()> {
        let found = self.wait(within, |state| {
            let has = |bytes: &[u8]| bytes.windows(what.len()).any(|part| part == what.as_bytes());
            if has(&state.stdout) || has(&state.stderr) { Some(true) } else { state.status.map(|_| false) }
        })?;
        match found {
            Some(true) => Ok(()),
            Some(false) => bail!("{}: ended without saying `{what}`{}", self.words, self.last_words()),
            None => {
                bail!("{}: has not said `{what}` within {}{}", self.words, seconds(within), self.last_words())
            }
        }
    }

    /// Waits for its end, however it is.
    pub(super) fn finish(self, within: Duration) -> Result<Done> {
        match self.wait(within, |state| state.status)? {
            Some(status) => {
                let mut state = self.shared.lock();
                let [stdout, stderr] = [std::mem::take(&mut state.stdout), std::mem::take(&mut state.stderr)]
                    .map(|octets| text(&octets));
                Ok(Done { words: self.words.clone(), status, stdout, stderr })
            }
            None => bail!("{}: still runs after {}{}", self.words, seconds(within), self.last_words()),
        }
    }

    /// Waits until `look` finds something; `None` if it has not in time.
    fn wait<T>(&self, within: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Result<Option<T>> {
        let deadline = Instant::now() + within;
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&state) {
                return Ok(Some(found));
            }
            check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.shared.changed.wait_timeout(state, left.min(LOOK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn last_words(&self) -> String {
        last_words(&self.said())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let state = self.shared.lock();
        if state.status.is_none() {
            // The reader reaps it.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.words, self.id())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the program says until it ends, then ends its group and reaps it.
    fn follow(&self, mut child: Child) {
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let open = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        for pipe in open.into_iter().flatten() {
            if let Ok(flags) = fcntl_getfl(pipe) {
                let _ = fcntl_setfl(pipe, flags | OFlags::NONBLOCK);
            }
        }
        let pid = Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty());
        loop {
            let ended = wait_for_any(&out, &err, end.as_ref().ok());
            self.take(&mut out, |state| &mut state.stdout);
            self.take(&mut err, |state| &mut state.stderr);
            if ended {
                break;
            }
        }
        let mut state = self.lock();
        // Not reaped yet: nobody else can have its number. Whoever it left in its group goes with it.
        let _ = kill_process_group(pid, Signal::KILL);
        state.status = Some(child.wait().unwrap_or_else(|_| ExitStatus::from_raw(Signal::KILL.as_raw())));
        self.changed.notify_all();
    }

    /// Reads what there is; forgets a pipe that has ended.
    fn take<R: Read>(&self, pipe: &mut Option<R>, place: fn(&mut State) -> &mut Vec<u8>) {
        let Some(open) = pipe else { return };
        let mut buffer = [0; 1 << 14];
        loop {
            match open.read(&mut buffer) {
                Ok(0) => break *pipe = None,
                Ok(n) => {
                    let mut state = self.lock();
                    let kept = place(&mut state);
                    let room = KEPT.saturating_sub(kept.len());
                    kept.extend_from_slice(&buffer[..n.min(room)]);
                    self.changed.notify_all();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break *pipe = None,
            }
        }
    }
}

/// Waits until there is something to read, or the process has ended: then true.
fn wait_for_any(out: &Option<impl AsFd>, err: &Option<impl AsFd>, end: Option<&impl AsFd>) -> bool {
    let mut waited: Vec<PollFd<'_>> = Vec::new();
    waited.extend(end.map(|fd| PollFd::new(fd, PollFlags::IN)));
    waited.extend(out.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
    waited.extend(err.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
    match poll(&mut waited, None) {
        Ok(_) => match end {
            Some(_) => waited[0].revents().contains(PollFlags::IN),
            // Without a descriptor of the process, the end of its pipes tells.
            None => out.is_none() && err.is_none(),
        },
        Err(rustix::io::Errno::INTR) => false,
        Err(_) => true,
    }
}

/// Asks until the answer is `Some`; how long that took.
pub(super) fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok((found, start.elapsed()));
        }
        check()?;
        if start.elapsed() >= within {
            bail!("not within {}: {what}", seconds(within));
        }
        thread::sleep(TICK);
    }
}

/// Lets time pass, as when an outage is to last.
pub(super) fn pass(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        check()?;
        thread::sleep(left.min(LOOK));
    }
    Ok(())
}

/// How often `eventually` asks.
const TICK: Duration = Duration::from_millis(10);

/// `1.5 s`, `20 ms`.
pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The program as one would type it in its host.
fn words(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let inside =
        words.iter().position(|word| word == "--").filter(|_| words.first().is_some_and(|w| w == "exec"));
    let shown = match inside {
        Some(at) => words[at + 1..].to_vec(),
        None => [vec![command.get_program().to_string_lossy().into_owned()], words].concat(),
    };
    let line = shown.join(" ").replace('\n', " ");
    if line.chars().count() > 160 { line.chars().take(157).chain("...".chars()).collect() } else { line }
}

/// The clone of a file for a program's input.
pub(super) fn input(path: &std::path::Path) -> io::Result<Stdio> {
    std::fs::File::open(path).map(Stdio::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn what_a_program_says_and_how_it_ends_is_kept() {
        let done = sh("echo one; echo two >&2; exit 3").finish(PATIENCE).unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("one\n", "two\n"));
        let why = done.exits(0).unwrap_err().to_string();
        assert!(why.contains("exit status: 3 instead of 0: one | two"), "{why}");
    }

    #[test]
    fn waits_end_with_the_word_the_end_or_the_deadline() {
        let process = sh("echo begun; exec sleep 600");
        process.wait_for("begun", PATIENCE).unwrap();
        let why = process.wait_for("done", Duration::from_millis(30)).unwrap_err().to_string();
        assert!(why.contains("has not said `done` within 30 ms"), "{why}");
        process.signal(Signal::TERM);
        let why = process.wait_for("done", PATIENCE).unwrap_err().to_string();
        assert!(why.contains("ended without saying"), "{why}");
        let why = sh("exec sleep 600").finish(Duration::from_millis(30)).unwrap_err().to_string();
        assert!(why.contains("still runs after 30 ms"), "{why}");
    }

    #[test]
    fn nobody_of_the_group_outlives_its_first() {
        let (pipe, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 <&0 & exit 0"]).stdin(writer);
        let process = Process::start(&mut command).unwrap();
        drop(command);
        process.finish(PATIENCE).unwrap().ok().unwrap();
        // The sleeper held the other end.
        assert_eq!(io::read_to_string(pipe).unwrap(), "");
    }

    #[test]
    fn a_pipe_that_is_full_keeps_no_program_waiting() {
        let done = sh("head -c 1000000 /dev/zero | tr '\\0' x").finish(PATIENCE).unwrap().ok().unwrap();
        assert_eq!(done.stdout.len(), 1_000_000);
    }
}
