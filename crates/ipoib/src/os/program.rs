//! Where the files of programs are.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where programs live that only an administrator's search path has.
const ADMINISTRATION: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The file of that name in the first of the directories of a search path that has one.
pub fn find_in(name: impl AsRef<Path>, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|dir| dir.join(&name)).find(|file| file.is_file())
}

/// The file of a program of this machine: along our own PATH, then where servers live.
pub fn find(name: impl AsRef<Path>) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administration = || env::join_paths(ADMINISTRATION).ok();
    find_in(&name, &path).or_else(|| find_in(&name, &administration()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_has_the_file_wins() {
        assert_eq!(find_in("sh", OsStr::new("/nowhere:/bin:/usr/bin")), Some("/bin/sh".into()));
        assert_eq!(find_in("sh", OsStr::new("/nowhere")), None);
        assert_eq!(find_in("bin", OsStr::new("/")), None, "a directory is no program");
        assert!(find("sh").is_some());
        assert_eq!(find("there-is-no-such"), None);
    }
}
