//! Where a lab keeps its files while it runs, and how a lab is found by its name.
//!
//! `/run/ipoib/LAB` as root, else `$XDG_RUNTIME_DIR/ipoib/LAB`, else `/tmp/ipoib-UID/LAB`. The lab holds a lock
//! (flock) on its directory, so what a killed lab left behind is told from a lab that runs, and taken over.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
    process::geteuid,
};

/// Tries before a lock counts as taken: a listing holds it for a moment.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);
const PID: &str = "pid";

/// Why a lab has no directory.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The name cannot be that of a directory of ours.
    #[error("{0:?}: not a name for a lab: use 1 to 32 letters, digits, `-`, `_` or `.`, not `.` first")]
    Name(String),
    /// Such a lab runs.
    #[error("a lab named {name} is running{}: choose another --name", .pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    Running {
        /// The lab.
        name: String,
        /// Its process, if it has said.
        pid: Option<u32>,
    },
    /// Somebody else made the place our directory belongs.
    #[error("{}: belongs to another user: remove it or set XDG_RUNTIME_DIR", .0.display())]
    Foreign(PathBuf),
    /// A file operation failed.
    #[error("{}: cannot {what}", .path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its error.
        #[source]
        source: io::Error,
    },
}

/// A lab that has a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabEntry {
    /// The lab's name.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// False if the lab is gone and only the directory is left.
    pub alive: bool,
    /// The lab's process, if it has said.
    pub pid: Option<u32>,
}

/// The directory of a lab that runs; removed when the value goes.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    owner: u32,
    /// Holds the lock.
    _lock: fs::File,
}

impl RunDir {
    /// Makes the directory of the lab `name`, or takes over the one a killed lab left.
    pub fn create(name: &str) -> Result<Self, RunDirError> {
        Self::create_in(&base(), name)
    }

    /// The same in another place.
    pub fn create_in(base: &Path, name: &str) -> Result<Self, RunDirError> {
        check(name)?;
        let path = base.join(name);
        for attempt in 0..ATTEMPTS {
            thread::sleep(PAUSE * attempt.min(1));
            make(base)?;
            make(&path)?;
            if let Some(lock) = lock(&path, FlockOperation::NonBlockingLockExclusive)? {
                return Self::take(path, lock);
            }
        }
        Err(RunDirError::Running { name: name.to_owned(), pid: pid(&path) })
    }

    fn take(path: PathBuf, lock: fs::File) -> Result<Self, RunDirError> {
        empty(&path).map_err(|source| io_error("clean up", &path, source))?;
        let owner = std::process::id();
        let file = path.join(PID);
        fs::write(&file, format!("{owner}\n")).map_err(|source| io_error("write", &file, source))?;
        Ok(Self { path, owner, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All labs of this user, by name.
    pub fn list() -> Result<Vec<LabEntry>, RunDirError> {
        Self::list_in(&base())
    }

    /// The same in another place.
    pub fn list_in(base: &Path) -> Result<Vec<LabEntry>, RunDirError> {
        let entries = match fs::read_dir(base) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error("list", base, source)),
        };
        let mut labs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| io_error("list", base, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if check(&name).is_ok() && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                let alive = is_locked(&path)?;
                labs.push(LabEntry { pid: pid(&path), name, path, alive });
            }
        }
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(labs)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // A forked child that unwinds must not tear down its parent's lab.
        if self.owner != std::process::id() {
            return;
        }
        // What cannot be removed now is taken over by the next lab of that name.
        let _ = empty(&self.path);
        let _ = fs::remove_dir(&self.path);
        if let Some(base) = self.path.parent() {
            let _ = fs::remove_dir(base);
        }
    }
}

/// The directory of the lab `name`, whether it runs or not.
pub fn path(name: &str) -> PathBuf {
    base().join(name)
}

/// Where drivers remember their ports. No lab can be called that.
pub fn ports() -> PathBuf {
    base().join(".ports")
}

/// The place of all labs of this user. The same inside and outside the user namespace a lab may have entered.
fn base() -> PathBuf {
    let euid = geteuid().as_raw();
    let ours = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.uid() == euid);
    if euid == 0 && ours(Path::new("/run")) {
        return PathBuf::from("/run/ipoib");
    }
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() && ours(&dir) => dir.join("ipoib"),
        _ => PathBuf::from(format!("/tmp/ipoib-{}", outer_uid(euid, &uid_map()))),
    }
}

fn uid_map() -> String {
    fs::read_to_string("/proc/self/uid_map").unwrap_or_default()
}

/// What the parent of our user namespace calls `uid`: rows are first inside, first outside, count.
fn outer_uid(uid: u32, map: &str) -> u32 {
    let rows = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    rows.filter(|(inside, _, count)| uid.checked_sub(*inside).is_some_and(|offset| offset < *count))
        .map(|(inside, outside, _)| outside + (uid - inside))
        .next()
        .unwrap_or(uid)
}

fn check(name: &str) -> Result<(), RunDirError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 32 || name.starts_with('.') || !name.chars().all(legal) {
        return Err(RunDirError::Name(name.to_owned()));
    }
    Ok(())
}

/// Makes a directory only we can enter, or sees to it that the one there is ours.
fn make(path: &Path) -> Result<(), RunDirError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // The last lab just removed the parent; the caller tries again.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io_error("make the directory", path, source)),
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() && meta.uid() == geteuid().as_raw() => Ok(()),
        Ok(_) => Err(RunDirError::Foreign(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("look at", path, source)),
    }
}

/// Locks a directory; `None` if somebody holds it, or it was removed meanwhile.
fn lock(path: &Path, how: FlockOperation) -> Result<Option<fs::File>, RunDirError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fs::File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io_error("open", path, error.into())),
    };
    match flock(&file, how) {
        Ok(()) => Ok(is_at(&file, path).then_some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(io_error("lock", path, error.into())),
    }
}

/// True if `path` still leads to `file`.
fn is_at(file: &fs::File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

fn is_locked(path: &Path) -> Result<bool, RunDirError> {
    Ok(lock(path, FlockOperation::NonBlockingLockShared)?.is_none() && path.exists())
}

fn pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path.join(PID)).ok()?.trim().parse().ok()
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> RunDirError {
    RunDirError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(test: &str) -> PathBuf {
        env::temp_dir().join(format!("ipoib-rundir-{test}-{}", std::process::id()))
    }

    #[test]
    fn a_second_lab_of_the_name_is_refused_and_told_who_runs() {
        let base = place("second");
        let first = RunDir::create_in(&base, "a").unwrap();
        let refused = RunDir::create_in(&base, "a").unwrap_err();
        let expected =
            format!("a lab named a is running (process {}): choose another --name", std::process::id());
        assert_eq!(refused.to_string(), expected);
        let second = RunDir::create_in(&base, "b").unwrap();
        let names: Vec<_> = RunDir::list_in(&base).unwrap().into_iter().map(|l| (l.name, l.alive)).collect();
        assert_eq!(names, [("a".to_owned(), true), ("b".to_owned(), true)]);
        drop((first, second));
        assert!(!base.exists());
    }

    #[test]
    fn what_a_killed_lab_left_is_seen_and_taken_over() {
        let base = place("stale");
        fs::create_dir_all(base.join("old/h1/run")).unwrap();
        fs::write(base.join("old/pid"), "4194305\n").unwrap();
        fs::write(base.join("old/h1/run/x"), "").unwrap();
        let path = base.join("old");
        let found = RunDir::list_in(&base).unwrap();
        assert_eq!(found, [LabEntry { name: "old".into(), path, alive: false, pid: Some(4_194_305) }]);
        let dir = RunDir::create_in(&base, "old").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(dir);
        assert!(!base.exists());
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for name in ["", ".", "..", "a/b", ".x", "a b", &"x".repeat(33)] {
            assert!(matches!(RunDir::create_in(&place("name"), name), Err(RunDirError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn the_user_outside_is_found_through_the_map() {
        assert_eq!(outer_uid(0, "         0       1000          1\n"), 1000);
        assert_eq!(outer_uid(5, "0 1000 1\n1 100000 65536\n"), 100_004);
        assert_eq!(outer_uid(1000, "0 0 4294967295\n"), 1000);
        assert_eq!(outer_uid(7, ""), 7);
    }
}
