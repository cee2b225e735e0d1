//! Captures, as tshark reads them.

use std::process::Command;

use super::{PATIENCE, require, run};

/// What tshark has to say about a file.
pub(crate) fn tshark(file: &str, words: &[&str]) -> String {
    require(&[("tshark", "tshark")]);
    let checks = ["ip", "udp", "tcp"].map(|protocol| format!("{protocol}.check_checksum:TRUE"));
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", file]);
    for check in &checks {
        command.args(["-o", check]);
    }
    run(command.args(words), PATIENCE).ok()
}

/// Fields of the packets that a filter lets through, one row for each.
pub(crate) fn fields(file: &str, filter: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut words = vec!["-Y", filter, "-T", "fields"];
    words.extend(names.iter().flat_map(|name| ["-e", name]));
    let said = tshark(file, &words);
    said.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
