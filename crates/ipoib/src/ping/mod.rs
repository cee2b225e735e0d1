//! A small `ping`, for hosts whose machine has none. Options, output and exit status are those of iputils.

mod args;
mod echo;
mod report;
mod run;

use std::{io, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

pub use args::{Hint, PingArgs};

use crate::{cli::complaint::sentence, os::signals::Signals};
use run::Ping;

/// The program when it is called `ping`.
#[derive(Debug, Parser)]
#[command(name = "ping", about = "Ask a host whether it answers")]
struct Alone {
    #[command(flatten)]
    args: PingArgs,
}

/// Runs `ping` with `args`, or with the words of the command line if there are none.
pub fn main(args: Option<PingArgs>) -> ExitCode {
    let args = match args {
        Some(args) => args,
        None => match Alone::try_parse() {
            Ok(Alone { args }) => args,
            Err(error) => {
                // Where it goes to, nobody may be listening.
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { COULD_NOT } else { 0 });
            }
        },
    };
    match ping(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping: {}", sentence(&error));
            ExitCode::from(COULD_NOT)
        }
    }
}

fn ping(args: PingArgs) -> Result<bool> {
    let signals = Signals::block().context("signals")?;
    Ping::new(args)?.run(&signals)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

const COULD_NOT: u8 = 2;
