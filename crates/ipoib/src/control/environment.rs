//! What a command in a node of the lab finds in its environment.

use std::{
    collections::BTreeMap,
    env::{self, JoinPathsError},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

/// What the environment of a command gets on top of what its caller has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Variables; a value of `None` removes one.
    pub env: BTreeMap<String, Option<String>>,
    /// Directories named by variables, unless the caller has named others.
    pub directories: BTreeMap<String, PathBuf>,
    /// Libraries put in front of LD_PRELOAD.
    pub preload: Vec<PathBuf>,
    /// Directories put at the end of PATH.
    pub path: Vec<PathBuf>,
}

impl Environment {
    /// Gives it to a command of this process.
    pub fn apply(&self, command: &mut Command) -> Result<(), JoinPathsError> {
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        for (name, directory) in &self.directories {
            if !is_chosen(env::var_os(name).as_deref(), directory) {
                command.env(name, directory);
            }
        }
        if !self.preload.is_empty() {
            command.env(PRELOAD, preload(&self.preload, env::var_os(PRELOAD).as_deref()));
        }
        command.env("PATH", self.search_path()?);
        Ok(())
    }

    /// PATH as the command gets it.
    pub fn search_path(&self) -> Result<OsString, JoinPathsError> {
        search_path(env::var_os("PATH"), &self.path)
    }
}

/// PATH with `more` at its end.
fn search_path(given: Option<OsString>, more: &[PathBuf]) -> Result<OsString, JoinPathsError> {
    let given = given.unwrap_or_else(|| DEFAULT_PATH.into());
    env::join_paths(env::split_paths(&given).chain(more.iter().cloned()))
}

/// The libraries, then those the caller has. A command of the lab that starts another has them already.
fn preload(ours: &[PathBuf], given: Option<&OsStr>) -> OsString {
    let mut all: Vec<OsString> = ours.iter().map(|path| path.clone().into()).collect();
    for library in given.unwrap_or_default().to_string_lossy().split([':', ' ']).filter(|l| !l.is_empty()) {
        if !all.iter().any(|known| known == library) {
            all.push(library.into());
        }
    }
    all.join(OsStr::new(":"))
}

/// True if the caller chose a directory: one beside `ours` is that of another node it came from.
fn is_chosen(given: Option<&OsStr>, ours: &Path) -> bool {
    given.is_some_and(|given| !given.is_empty() && Path::new(given).parent() != ours.parent())
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PRELOAD: &str = "LD_PRELOAD";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lab_brings_is_found_last() {
        let path = search_path(Some("/bin:/usr/bin".into()), &["/lab/bin".into()]).unwrap();
        assert_eq!(path, "/bin:/usr/bin:/lab/bin");
        assert!(search_path(None, &[]).unwrap().to_str().unwrap().contains("/sbin"));
    }

    #[test]
    fn a_library_of_the_lab_comes_first_and_once() {
        let ours = ["/lab/libib_umad.so".into()];
        assert_eq!(preload(&ours, None), "/lab/libib_umad.so");
        assert_eq!(preload(&ours, Some("".as_ref())), "/lab/libib_umad.so");
        let given = "/a.so:/lab/libib_umad.so /b.so";
        assert_eq!(preload(&ours, Some(given.as_ref())), "/lab/libib_umad.so:/a.so:/b.so");
    }

    #[test]
    fn a_directory_of_the_callers_own_stays() {
        let ours = Path::new("/run/ipoib/lab/opensm/h2");
        let chosen = |given: &'static str| is_chosen(Some(given.as_ref()), ours);
        assert!(chosen("/var/cache/opensm") && chosen("/run/ipoib/lab/other/h1"));
        assert!(!chosen("/run/ipoib/lab/opensm/h1") && !chosen("") && !is_chosen(None, ours));
    }
}
