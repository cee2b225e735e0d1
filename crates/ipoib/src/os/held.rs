//! Files that programs hold open to say something, and who sees it: a subnet manager's `issm` file.
//!
//! Such a file is a FIFO nobody writes to. Whoever opens it for reading holds it until the descriptor is closed,
//! also by death. The kernel tells of the opening (inotify) and of the last closing (an error at the writing end).

use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        CWD, FileType, Mode, OFlags,
        inotify::{self, CreateFlags, WatchFlags},
        mknodat, open,
    },
    io::Errno,
};

/// Tells when files are opened. None of its calls waits.
#[derive(Debug)]
pub struct Openings(OwnedFd);

impl Openings {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Makes the file, for its owner alone, and watches it. Readable once somebody opens it.
    pub fn make(&self, path: &Path) -> io::Result<HeldFile> {
        match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(error) => return Err(error.into()),
        }
        inotify::add_watch(&self.0, path, WatchFlags::OPEN)?;
        Ok(HeldFile { path: path.to_owned(), end: None })
    }

    /// Takes what was told; which file it was is found out by [`HeldFile::look`].
    pub fn drain(&self) {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.0, &mut space);
        while reader.next().is_ok() {}
    }
}

impl AsFd for Openings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A file that may be held.
#[derive(Debug)]
pub struct HeldFile {
    path: PathBuf,
    /// Its writing end, while somebody holds the other. An error there says that the last one has let go.
    end: Option<OwnedFd>,
}

impl HeldFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The writing end, to wait for its error; none while nobody holds the file.
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(AsFd::as_fd)
    }

    /// Sees whether somebody holds a file that nobody held. True if so.
    pub fn look(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        // Without a reader there is nobody to write to.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.end = open(&self.path, flags, Mode::empty()).ok();
        self.end.is_some()
    }

    /// The last one has let go.
    pub fn let_go(&mut self) {
        self.end = None;
    }
}

impl Drop for HeldFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::OpenOptionsExt, time::Duration};

    use super::*;
    use crate::os::{
        clock,
        poller::{Interest, Poller},
    };

    #[test]
    fn a_file_is_held_as_long_as_somebody_has_it_open() {
        let mut poller = Poller::new().unwrap();
        let openings = Openings::new().unwrap();
        poller.add(&openings, 1, Interest::Read).unwrap();
        let path = std::env::temp_dir().join(format!("ipoib-held-{}", std::process::id()));
        let mut file = openings.make(&path).unwrap();
        let wait = |poller: &mut Poller| -> Vec<u64> {
            poller
                .wait(Some(clock::now() + Duration::from_millis(200)))
                .unwrap()
                .map(|ready| ready.token)
                .collect()
        };
        assert!(!file.look());
        assert_eq!(wait(&mut poller), [0_u64; 0], "our own look is not told");
        let hold = || fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let first = hold();
        assert_eq!(wait(&mut poller), [1]);
        assert!(file.look());
        openings.drain();
        poller.add(file.end().unwrap(), 2, Interest::Errors).unwrap();
        let second = hold();
        drop(first);
        openings.drain();
        assert_eq!(wait(&mut poller), [0_u64; 0], "the second holds it still");
        drop(second);
        assert_eq!(wait(&mut poller), [2]);
        poller.remove(file.end().unwrap()).unwrap();
        file.let_go();
        assert!(!file.look());
        drop(file);
        assert!(!path.exists());
    }
}
