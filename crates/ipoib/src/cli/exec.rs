//! `exec`: this process becomes a command inside a host or switch.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use super::{args::ExecArgs, target};
use crate::{control::Entry, os::space::JoinedSpace};

/// Enters it and becomes the command; comes back only if that fails.
pub(super) fn run(args: &ExecArgs) -> Result<ExitCode> {
    // The client and its descriptors are gone before we enter.
    let entry = target::connect(&args.target)?.enter(&args.node)?;
    let Entry { user, net, mnt, uts, environment, cwd } = entry;
    let here = env::current_dir();
    JoinedSpace::from_fds(user, net, mnt, uts).join()?;
    if env::current_dir().ok() != here.ok() {
        env::set_current_dir(&cwd).with_context(|| format!("{}: cannot go there", cwd.display()))?;
    }

    let (program, arguments) = words(&args.command);
    let mut command = Command::new(&program);
    command.args(arguments);
    environment.apply(&mut command).context("PATH")?;
    let error = command.exec();
    Err(error).with_context(|| format!("{}: cannot run it in {}", program.display(), args.node))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_command_it_is_a_shell() {
        assert!(!words(&[]).0.is_empty());
        let given = ["ip".into(), "link".into()];
        assert_eq!(words(&given), ("ip".into(), &given[1..]));
    }
}
