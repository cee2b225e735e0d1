//! The files on disk. A reader never sees half a text.
//!
//! A text that many files have is one file with many names, so that a large lab's thousands of zeros take neither
//! room nor time. A text takes the place of another by renaming; only if both are a file's own and equally long,
//! as those of a counter that counts, the new one is written over the old one, with one write.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::text::{Files, Text};

/// Texts by path, as they were written.
pub(super) type Written = BTreeMap<Cow<'static, str>, Text>;

/// Writes files below one directory.
#[derive(Debug)]
pub(super) struct Tree {
    dir: PathBuf,
    /// Where each text is that files share.
    shared: HashMap<&'static str, PathBuf>,
}

impl Tree {
    /// `dir` exists and is nobody else's. What begins with a dot there is ours.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, shared: HashMap::new() }
    }

    /// Makes a directory with these files; it appears whole.
    pub(super) fn make(&mut self, target: &Path, files: Files) -> io::Result<()> {
        let new = self.dir.join(NEW);
        fs::create_dir(&new)?;
        let made = self.fill(&new, &files).and_then(|()| fs::rename(&new, target));
        if made.is_err() {
            // Nothing may stand in the way of the next.
            let _ = fs::remove_dir_all(&new);
        }
        made
    }

    /// Makes these files in a directory that exists.
    pub(super) fn fill(&mut self, dir: &Path, files: &Files) -> io::Result<()> {
        let mut parents: Vec<&str> = Vec::new();
        for (path, text) in files {
            if let Some((parent, _)) = path.rsplit_once('/')
                && !parents.contains(&parent)
            {
                fs::create_dir_all(dir.join(parent))?;
                parents.push(parent);
            }
            self.create(&dir.join(&**path), text)?;
        }
        Ok(())
    }

    /// Makes of the files in `dir` that are as `old` says what `new` says.
    pub(super) fn change(&mut self, dir: &Path, old: &mut Written, new: Files) -> io::Result<()> {
        let mut gone = std::mem::take(old);
        let mut result = Ok(());
        for (path, text) in new {
            let before = gone.remove(&path);
            if before.as_ref() != Some(&text) {
                let put = self.put(&dir.join(&*path), before, &text);
                result = result.and(put);
            }
            old.insert(path, text);
        }
        for path in gone.into_keys() {
            let removed = fs::remove_file(dir.join(&*path));
            result = result.and(removed);
        }
        result
    }

    fn put(&mut self, path: &Path, before: Option<Text>, text: &Text) -> io::Result<()> {
        if let (Some(Text::Own(old)), Text::Own(new)) = (&before, text)
            && old.len() == new.len()
        {
            return fs::File::options().write(true).open(path)?.write_all_at(new.as_bytes(), 0);
        }
        let new = self.dir.join(NEW);
        let made = self.create(&new, text).and_then(|()| fs::rename(&new, path));
        if made.is_err() {
            let _ = fs::remove_file(&new);
        }
        made
    }

    fn create(&mut self, path: &Path, text: &Text) -> io::Result<()> {
        if let Text::Common(text) = *text
            && let Some(shared) = self.shared(text)?
        {
            match fs::hard_link(shared, path) {
                // Names of one file are limited, and not every file system knows more than one.
                Err(error)
                    if matches!(error.kind(), ErrorKind::TooManyLinks | ErrorKind::PermissionDenied) => {}
                linked => return linked,
            }
        }
        fs::File::create_new(path)?.write_all(text.as_str().as_bytes())
    }

    /// The file that has this text for all.
    fn shared(&mut self, text: &'static str) -> io::Result<Option<&Path>> {
        if !self.shared.contains_key(text) {
            let texts = self.dir.join(TEXTS);
            fs::create_dir_all(&texts)?;
            let path = texts.join(self.shared.len().to_string());
            fs::write(&path, text)?;
            self.shared.insert(text, path);
        }
        Ok(self.shared.get(text).map(PathBuf::as_path))
    }
}

/// What nodes cannot be called.
const NEW: &str = ".new";
const TEXTS: &str = ".texts";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn place(test: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ipoib-tree-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn files(state: &'static str, count: u64) -> Files {
        vec![
            ("state".into(), state.into()),
            ("counters/a".into(), format!("{count}\n").into()),
            ("counters/b".into(), "0\n".into()),
        ]
    }

    #[test]
    fn files_become_what_they_are_to_be_and_no_other_is_touched() {
        let dir = place("change");
        let mut tree = Tree::new(dir.clone());
        let target = dir.join("h1");
        tree.make(&target, files("1: DOWN\n", 7)).unwrap();
        let mut written: Written = files("1: DOWN\n", 7).into_iter().collect();
        let id = |path: &str| fs::metadata(target.join(path)).unwrap().ino();
        let (a, b) = (id("counters/a"), id("counters/b"));
        let read = |path: &str| fs::read_to_string(target.join(path)).unwrap();

        tree.change(&target, &mut written, files("4: ACTIVE\n", 8)).unwrap();
        assert_eq!([read("state"), read("counters/a"), read("counters/b")], ["4: ACTIVE\n", "8\n", "0\n"]);
        assert_eq!((id("counters/a"), id("counters/b")), (a, b), "in place, and not at all");
        tree.change(&target, &mut written, files("4: ACTIVE\n", 10)).unwrap();
        assert_eq!(read("counters/a"), "10\n");
        assert_ne!(id("counters/a"), a);

        let mut fewer = files("1: DOWN\n", 10);
        fewer.pop();
        fewer.push(("pkeys".into(), "0xffff\n".into()));
        tree.change(&target, &mut written, fewer).unwrap();
        assert!(!target.join("counters/b").exists());
        assert_eq!([read("state"), read("pkeys")], ["1: DOWN\n", "0xffff\n"]);
        fs::remove_dir_all(dir).unwrap();
    }

    /// One host's new text must not become another's.
    #[test]
    fn a_text_that_files_share_is_never_written_over() {
        let dir = place("shared");
        let mut tree = Tree::new(dir.clone());
        let (one, two) = (dir.join("h1"), dir.join("h2"));
        tree.make(&one, files("1: DOWN\n", 7)).unwrap();
        tree.make(&two, files("1: DOWN\n", 7)).unwrap();
        let id = |dir: &Path| fs::metadata(dir.join("counters/b")).unwrap().ino();
        assert_eq!(id(&one), id(&two));
        let mut written: Written = files("1: DOWN\n", 7).into_iter().collect();
        let mut new = files("9: DOWN\n", 7);
        new[2].1 = "5\n".to_owned().into();
        tree.change(&one, &mut written, new).unwrap();
        let read = |dir: &Path, path: &str| fs::read_to_string(dir.join(path)).unwrap();
        assert_eq!([read(&one, "counters/b"), read(&two, "counters/b")], ["5\n", "0\n"]);
        assert_eq!([read(&one, "state"), read(&two, "state")], ["9: DOWN\n", "1: DOWN\n"]);
        fs::remove_dir_all(dir).unwrap();
    }
}
