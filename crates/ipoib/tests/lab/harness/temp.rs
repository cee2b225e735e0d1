//! A directory that goes away with the test.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::new_name;

/// Removed, with all that is in it, when dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(format!("ipoib-{}", new_name()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// The name of a file in it, as text for a command line.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("temporary names are text").to_owned()
    }

    /// Writes a file and returns its name.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let file = self.file(name);
        fs::write(&file, contents).unwrap_or_else(|error| panic!("{file}: {error}"));
        file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}
