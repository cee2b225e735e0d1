//! What a lab runs in its hosts: the command of `ipoib lab -- COMMAND`, and OpenSM.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{self, Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    control::Environment,
    os::{
        program,
        space::{HostSpace, Lifetime},
    },
};

/// A command in a host; it dies with the lab.
#[derive(Debug)]
pub(super) struct Child(process::Child);

impl Child {
    /// Starts it with our standard input and output.
    pub(super) fn start(space: &HostSpace, command: &[OsString], environment: &Environment) -> Result<Self> {
        spawn(command, prepared(space, command, environment)?)
    }

    /// Starts it without a terminal: no input, and `output` for all it says.
    pub(super) fn start_apart(
        space: &HostSpace,
        command: &[OsString],
        environment: &Environment,
        output: File,
    ) -> Result<Self> {
        let mut prepared = prepared(space, command, environment)?;
        prepared.stdin(Stdio::null()).stdout(output.try_clone().context("its output")?).stderr(output);
        // A Ctrl-C at our terminal is for us to pass on.
        prepared.process_group(0);
        spawn(command, prepared)
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its exit code if it has ended; 128 and the number of the signal that killed it.
    pub(super) fn poll(&mut self) -> io::Result<Option<ExitCode>> {
        let status = self.0.try_wait()?;
        let code =
            |s: process::ExitStatus| s.code().or_else(|| s.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(status.map(|status| ExitCode::from(u8::try_from(code(status)).unwrap_or(u8::MAX))))
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        // It may have ended on its own.
        let _ = Pid::from_raw(self.0.id().cast_signed()).map(|pid| kill_process(pid, Signal::TERM));
    }

    /// Ends it.
    pub(super) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prepared(space: &HostSpace, command: &[OsString], environment: &Environment) -> Result<Command> {
    let (program, arguments) = command.split_first().context("no command")?;
    let path = environment.search_path().context("PATH")?;
    let mut command = space.command(found(program, &path), Lifetime::Parent);
    command.args(arguments);
    environment.apply(&mut command).context("PATH")?;
    Ok(command)
}

fn spawn(words: &[OsString], mut command: Command) -> Result<Child> {
    let name = words.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    Ok(Child(command.spawn().with_context(|| format!("{name}: cannot run it"))?))
}

/// The program's file: `Command` looks along our own PATH, not the one the command is given.
fn found(name: &OsString, path: &OsString) -> OsString {
    if name.to_string_lossy().contains('/') {
        return name.clone();
    }
    program::find_in(name, path).map_or_else(|| name.clone(), Into::into)
}
