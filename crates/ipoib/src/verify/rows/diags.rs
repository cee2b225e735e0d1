//! T19: the diagnostics that come with InfiniBand, against a subnet that OpenSM manages.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    super::{bench::Bench, process::eventually},
    number_after,
};

/// T19: who is there, who manages it, what is counted, which way packets go.
pub(in super::super) fn programs(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let lab = bench.lab()?;
    let counts = (lab.hosts.len(), 2);
    bench.reaches(client, &server.v4)?;
    let run = |words: &[&str]| bench.ok(client, words, 30);
    let says = |words: &[&str], what: &str| -> Result<String> {
        let said = run(words)?;
        if !said.contains(what) {
            bail!("{}: no `{what}`: {}", words.join(" "), said.trim());
        }
        Ok(said)
    };
    says(&["sminfo"], "SMINFO_MASTER")?;
    let found = run(&["ibnetdiscover"])?;
    let of = |kind: &str| found.lines().filter(|line| line.starts_with(kind)).count();
    if (of("Ca\t"), of("Switch\t")) != counts {
        bail!(
            "ibnetdiscover finds {} adapters and {} switches instead of {counts:?}",
            of("Ca\t"),
            of("Switch\t")
        );
    }
    // The broadcast group, and that the server is in it.
    says(&["saquery", "-g"], "ff12:401b:ffff::ffff:ffff")?;
    let members = run(&["saquery", "-m"])?.matches("PortGid").count();
    if members < lab.hosts.len() {
        bail!("saquery -m: {members} memberships of {} hosts", lab.hosts.len());
    }
    let lid =
        |host: &super::super::lab::Host| -> Result<String> { Ok(lab.interface(host)?["lid"].to_string()) };
    let (here, there) = (lid(client)?, lid(server)?);
    says(&["ibtracert", &here, &there], "To ca")?;
    let counted = run(&["perfquery", &there, "1"])?.replace('.', "");
    if number_after(&counted, "PortXmitPkts:")? < 1.0 || number_after(&counted, "PortRcvPkts:")? < 1.0 {
        bail!("perfquery: nothing is counted at {}: {}", server.name, counted.trim());
    }
    let ponger = bench.spawn(server, &["ibping", "-S"])?;
    // It does not say when it listens.
    eventually("ibping -S answers", bench.limit(Duration::from_secs(20)), || {
        let once = bench.run(client, &["ibping", "-c", "1", "-L", &there], 10)?;
        Ok(once.said().contains(" 1 received").then_some(()))
    })?;
    let pinged = bench.run(client, &["ibping", "-c", "5", "-L", &there], 30)?.ok()?.said();
    drop(ponger);
    if !pinged.contains("5 packets transmitted, 5 received") {
        bail!("ibping: {}", pinged.trim());
    }
    let inventory = bench.file("osmtest.dat");
    // All of its flows take it half a minute of waiting.
    let flows: &[&str] = bench.choose(&["c"], &["c", "a"]);
    for flow in flows {
        let test = bench.spawn(client, &["osmtest", "-f", *flow, "-i", &inventory])?;
        let done = test.finish(bench.limit(Duration::from_secs(90)))?.ok()?;
        if !done.said().contains("PASS") {
            bail!("osmtest -f {flow}: {}", done.said().trim());
        }
    }
    Ok(format!("{} adapters, {} switches, {members} memberships; osmtest passes", counts.0, counts.1))
}
