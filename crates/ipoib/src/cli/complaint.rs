//! How the program says that it could not: `ipoib: what: why`, and exit status 2.

use std::process::ExitCode;

/// Exit status of a program that could not do what it was asked.
pub(super) const COULD_NOT: u8 = 2;

/// An error with its causes, each said once and without the numbers of the system's errors.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or(&cause);
        // Errors that pass another one on unchanged say the same again.
        if said.ends_with(cause) {
            continue;
        }
        let colon = if said.is_empty() { "" } else { ": " };
        said = format!("{said}{colon}{cause}");
    }
    said
}

/// Says what went wrong.
pub(super) fn of(error: &anyhow::Error) -> ExitCode {
    eprintln!("ipoib: {}", sentence(error));
    ExitCode::from(COULD_NOT)
}

/// Says what is wrong with the words typed; help and version are no complaint.
pub(super) fn of_words(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match super::output::print(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => of(&error),
        };
    }
    let text = error.render().to_string();
    match text.strip_prefix("error: ") {
        Some(text) => eprint!("ipoib: {text}"),
        None => eprint!("{text}"),
    }
    ExitCode::from(COULD_NOT)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn causes_follow_what_failed_and_none_is_said_twice() {
        let error = Err::<(), _>(anyhow!("no space left")).context("x.pcapng: cannot write").unwrap_err();
        assert_eq!(sentence(&error), "x.pcapng: cannot write: no space left");
        let error = Err::<(), _>(anyhow!("no space left")).context("disk: no space left").unwrap_err();
        assert_eq!(sentence(&error), "disk: no space left");
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(2)).context("x");
        assert_eq!(sentence(&error), "x: No such file or directory");
    }
}
