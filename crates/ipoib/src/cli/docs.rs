//! Completions and manual pages, from the definitions of the command line.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;

use super::{
    args::{Args, CompletionsArgs, ManArgs},
    output,
};

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "ipoib", &mut text);
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes one for each command.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode> {
    match &args.directory {
        Some(directory) => {
            clap_mangen::generate_to(Args::command(), directory)
                .with_context(|| format!("{}: cannot write", directory.display()))?;
        }
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut text)?;
            output::print(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
