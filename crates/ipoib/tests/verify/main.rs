//! `ipoib verify` from outside: all rows hold, each can fail, and what users see of them.

mod outside;
mod rows;

use std::{
    ffi::OsStr,
    process::{Command, Output},
};

use serde_json::Value;

/// `ipoib ARGS`.
fn ipoib<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipoib"));
    command.args(args).env_remove("IPOIB_LAB").env_remove("IPOIB_LOG");
    command
}

/// Both outputs as text, for messages.
fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs `ipoib verify ARGS --json`; how it ended and what it printed.
fn verify(args: &[&str]) -> (Output, Value) {
    let output = ipoib([&["verify", "--json"], args].concat()).output().unwrap();
    let document =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (output, document)
}

/// The ids of rows that ended so.
fn ended(document: &Value, result: &str) -> Vec<String> {
    let rows = document["rows"].as_array().unwrap_or_else(|| panic!("no rows: {document}"));
    let of = rows.iter().filter(|row| row["result"] == result);
    of.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}
