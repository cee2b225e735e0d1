//! Which lab is meant.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::args::TargetArgs;
use crate::{
    control::{Client, SOCKET},
    os::rundir::{LabEntry, RunDir},
};

/// Connects to the lab that is meant.
pub(super) fn connect(target: &TargetArgs) -> Result<Client> {
    connect_to(&find(target)?)
}

/// Connects to this lab.
pub(super) fn connect_to(lab: &LabEntry) -> Result<Client> {
    Client::connect(&socket(lab)).with_context(|| format!("lab {}", lab.name))
}

/// The lab that is meant.
pub(super) fn find(target: &TargetArgs) -> Result<LabEntry> {
    choose(&running()?, target.lab.as_deref()).cloned()
}

/// The labs that run, by name.
pub(super) fn running() -> Result<Vec<LabEntry>> {
    let mut labs = RunDir::list().context("list the labs")?;
    labs.retain(|lab| lab.alive);
    Ok(labs)
}

/// Where a lab listens.
pub(super) fn socket(lab: &LabEntry) -> PathBuf {
    lab.path.join(SOCKET)
}

fn choose<'a>(labs: &'a [LabEntry], name: Option<&str>) -> Result<&'a LabEntry> {
    let names = || labs.iter().map(|lab| lab.name.as_str()).collect::<Vec<_>>().join(", ");
    match (labs, name) {
        ([], None) => bail!("no lab runs: start one with `ipoib lab`"),
        ([], Some(name)) => bail!("lab {name}: not running: start it with `ipoib lab --name {name}`"),
        (_, Some(name)) => match labs.iter().find(|lab| lab.name == name) {
            Some(lab) => Ok(lab),
            None => bail!("lab {name}: not running: choose one of {}", names()),
        },
        ([lab], None) => Ok(lab),
        (_, None) => bail!("several labs run: choose one with --lab: {}", names()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labs(names: &[&str]) -> Vec<LabEntry> {
        let entry = |name: &&str| LabEntry {
            name: (*name).to_owned(),
            path: PathBuf::from("/run/ipoib").join(name),
            alive: true,
            pid: None,
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn the_only_lab_needs_no_name() {
        assert_eq!(choose(&labs(&["a"]), None).unwrap().name, "a");
        assert_eq!(choose(&labs(&["a", "b"]), Some("b")).unwrap().name, "b");
    }

    #[test]
    fn a_lab_that_cannot_be_told_is_asked_for() {
        let why = |names: &[&str], name| choose(&labs(names), name).unwrap_err().to_string();
        assert_eq!(why(&[], None), "no lab runs: start one with `ipoib lab`");
        assert_eq!(why(&["a", "b"], None), "several labs run: choose one with --lab: a, b");
        assert_eq!(why(&["a", "b"], Some("c")), "lab c: not running: choose one of a, b");
        assert_eq!(why(&[], Some("c")), "lab c: not running: start it with `ipoib lab --name c`");
    }
}
