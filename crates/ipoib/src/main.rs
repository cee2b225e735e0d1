//! The program. All of it is in the library; here it begins.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipoib::cli::main(ipoib::lab::run)
}
