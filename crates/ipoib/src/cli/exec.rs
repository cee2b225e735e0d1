//! `exec`: this process becomes a command inside a host.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use super::{args::ExecArgs, target};
use crate::{control::Entry, os::space::JoinedSpace};

/// Enters the host and becomes the command; comes back only if that fails.
pub(super) fn run(args: &ExecArgs) -> Result<ExitCode> {
    // The client and its descriptors are gone before we enter.
    let entry = target::connect(&args.target)?.enter(&args.host)?;
    let Entry { user, net, mnt, uts, env: variables, path, cwd } = entry;
    let here = env::current_dir();
    JoinedSpace::from_fds(user, net, mnt, uts).join()?;
    if env::current_dir().ok() != here.ok() {
        env::set_current_dir(&cwd).with_context(|| format!("{}: cannot go there", cwd.display()))?;
    }

    let (program, arguments) = words(&args.command);
    let mut command = Command::new(&program);
    command.args(arguments);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("PATH", search_path(env::var_os("PATH"), path)?);
    let error = command.exec();
    Err(error).with_context(|| format!("{}: cannot run it in {}", program.display(), args.host))
}

/// The command and its arguments; a shell if there is none.
fn words(command: &[OsString]) -> (OsString, &[OsString]) {
    match command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => {
            let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty());
            (shell.unwrap_or_else(|| OsStr::new("/bin/sh").to_owned()), &[])
        }
    }
}

/// PATH with `more` at its end.
fn search_path(given: Option<OsString>, more: Vec<PathBuf>) -> Result<OsString> {
    let given = given.unwrap_or_else(|| DEFAULT_PATH.into());
    env::join_paths(env::split_paths(&given).chain(more)).context("PATH")
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lab_brings_is_found_last() {
        let path = search_path(Some("/bin:/usr/bin".into()), vec!["/lab/bin".into()]).unwrap();
        assert_eq!(path, "/bin:/usr/bin:/lab/bin");
        assert!(search_path(None, Vec::new()).unwrap().to_str().unwrap().contains("/sbin"));
    }

    #[test]
    fn without_a_command_it_is_a_shell() {
        assert!(!words(&[]).0.is_empty());
        let given = ["ip".into(), "link".into()];
        assert_eq!(words(&given), ("ip".into(), &given[1..]));
    }
}
