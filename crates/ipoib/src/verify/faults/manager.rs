//! F1 to F7 and F11: subnet managers that go, come and hand over.
//!
//! What needs no OpenSM is here: an interface without a manager waits for one.

use anyhow::{Result, bail};

use super::{
    super::{
        bench::{Bench, new_name},
        lab::Lab,
        process::{eventually, pass, seconds},
    },
    links::ACTIVE,
};
use crate::control::schema::Noun;

/// F4: no manager, then one.
pub(in super::super) fn none(bench: &mut Bench<'_>) -> Result<String> {
    let lab = Lab::start(&bench.form.program, &new_name(), &["--sm", "none"], true)?;
    pass(bench.choose(std::time::Duration::from_secs(1), std::time::Duration::from_secs(60)))?;
    let rows = lab.show(Noun::Hosts)?;
    let reason = rows.first().and_then(|row| row["reason"].as_str()).unwrap_or_default().to_owned();
    if rows.iter().any(|row| row["state"] == "up" || row["reason"].as_str().is_none_or(str::is_empty)) {
        bail!("not all interfaces say what they wait for: {rows:?}");
    }
    if !bench.is_tricked("none comes") {
        lab.client()?.start_sm(None, None)?;
    }
    let (_, took) = eventually("all interfaces come up by themselves", bench.limit(ACTIVE), || {
        Ok(lab.show(Noun::Hosts)?.iter().all(|row| row["state"] == "up").then_some(()))
    })?;
    let (from, to) = (&lab.hosts[0], &lab.hosts[lab.hosts.len() - 1]);
    let words = ["ping", "-n", "-c", "1", "-W", "2", &to.v4];
    let ping = super::super::process::Process::start(&mut lab.command(&from.name, &words))?;
    ping.finish(ACTIVE)?.ok()?;
    Ok(format!("waits ({reason}), up {} after a manager came", seconds(took)))
}
