//! The environment of commands in the lab's nodes, `ipoib lab -- COMMAND` and `ipoib exec` alike.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Once,
};

use anyhow::Result;
use ib_umad::protocol::{NODE_VARIABLE, SOCKET_VARIABLE};

use super::{Running, umad::SOCKET};
use crate::control::Environment;

impl Running {
    /// What a command in a host or switch finds in its environment.
    pub(super) fn environment(&self, node: &str) -> Result<Environment> {
        let socket = self.dir.path().join(SOCKET).display().to_string();
        let env = [
            ("IPOIB_LAB", self.name.as_str()),
            ("IPOIB_HOST", node),
            ("HOSTNAME", node),
            (NODE_VARIABLE, node),
            (SOCKET_VARIABLE, &socket),
        ];
        let opensm = self.opensm_dir(node)?;
        let library = library(env::var_os(LIBRARY_VARIABLE), env::current_exe().ok().as_deref());
        if library.is_none() {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                tracing::warn!(
                    "no {LIBRARY} beside this program: InfiniBand tools in the hosts will find no port; build it \
                     with `cargo build -p ib-umad`, or name it in {LIBRARY_VARIABLE}"
                );
            });
        }
        Ok(Environment {
            env: env.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into(),
            // So that several OpenSMs do not write over each other's dumps.
            directories: ["OSM_TMP_DIR", "OSM_CACHE_DIR"]
                .map(|name| (name.to_owned(), opensm.clone()))
                .into(),
            preload: library.into_iter().collect(),
            path: vec![self.bin()],
        })
    }
}

/// The library that gives programs a port: the file named, or else the one that came with the program `exe`.
fn library(named: Option<OsString>, exe: Option<&Path>) -> Option<PathBuf> {
    let beside = exe
        .and_then(Path::parent)
        .into_iter()
        .flat_map(|dir| ["", "deps", "../lib/ipoib"].map(|place| dir.join(place).join(LIBRARY)));
    let places = named.map(PathBuf::from).into_iter().chain(beside);
    // The dynamic linker ends a name at a colon or space, and looks for one without a slash elsewhere.
    let usable = |path: &PathBuf| path.to_str().is_some_and(|path| !path.contains([':', ' ']));
    places.filter(|path| path.is_file()).filter_map(|path| path.canonicalize().ok()).find(usable)
}

const LIBRARY: &str = "libib_umad.so";
const LIBRARY_VARIABLE: &str = "IPOIB_UMAD_LIBRARY";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_library_is_the_one_named_else_the_nearest() {
        let dir = env::temp_dir().join(format!("ipoib-library-{}", std::process::id()));
        let dir = dir.to_str().unwrap();
        let make = |path: &str| {
            let path = PathBuf::from(format!("{dir}/{path}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path.canonicalize().unwrap()
        };
        let exe = make("bin/ipoib");
        let found = |named: Option<&Path>| library(named.map(Into::into), Some(&exe));
        assert_eq!(found(None), None);
        // The farthest first, so that each has to come before those that are there.
        for path in ["lib/ipoib/libib_umad.so", "bin/deps/libib_umad.so", "bin/libib_umad.so"] {
            let made = make(path);
            assert_eq!(found(None), Some(made));
        }
        let named = make("my own.so");
        assert_ne!(found(Some(&named)), Some(named), "the linker would take it for two");
        let named = make("my.so");
        assert_eq!(found(Some(&named)), Some(named));
        assert_eq!(library(None, None), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
