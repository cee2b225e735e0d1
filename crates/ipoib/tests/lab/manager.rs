//! With and without a subnet manager.

use std::time::Duration;

use crate::harness::{Lab, PATIENCE, eventually, ipoib, require, run};

#[test]
fn without_a_manager_there_is_no_carrier_until_one_starts() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::begin(&["--topology", "star:2", "--sm", "none"]);
    let row = lab.interface("h1", "ib0");
    assert_eq!(row["state"], "down", "{row:#}");
    assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{row:#}");
    println!("{}", row["reason"]);
    assert_eq!(lab.sh("h1", "cat /sys/class/net/ib0/carrier"), "0\n");
    assert!(lab.show("sm").is_empty());
    let sweep = run(&mut ipoib(["sm", "sweep", "--lab", lab.name()]), PATIENCE);
    sweep.exits(2).says(&["no subnet manager"]);

    run(&mut ipoib(["sm", "start", "--lab", lab.name()]), PATIENCE).ok();
    let ((), took) = eventually("carrier", Duration::from_secs(1), || {
        (lab.sh("h1", "cat /sys/class/net/ib0/carrier") == "1\n").then_some(())
    });
    println!("carrier {took:?} after the manager started");
    eventually("the hosts reach each other", PATIENCE, || lab.pings("h1", "h2").then_some(()));
    let managers = lab.show("sm");
    assert_eq!(managers.len(), 1);
    assert_eq!(managers[0]["role"], "master", "{managers:#?}");
}

#[test]
fn a_manager_shows_what_it_found() {
    let lab = Lab::start(&[]);
    let managers = lab.show("sm");
    let [sm] = &managers[..] else { panic!("{managers:#?}") };
    assert_eq!(sm["role"], "master", "{sm:#}");
    assert_eq!(sm["nodes"], 6, "{sm:#}");
    assert!(sm["lids"].as_u64() >= Some(6), "{sm:#}");
    let sweeps = || lab.show("sm")[0]["sweeps"].as_u64().unwrap();
    // Without delays on links a sweep takes no time that could be told; what it asked can.
    assert!(sm["last_sweep_mads"].as_u64() > Some(6) && sm["last_sweep_us"] != 0, "{sm:#}");
    let before = sweeps();
    run(&mut ipoib(["sm", "sweep", "--lab", lab.name()]), PATIENCE).ok();
    eventually("a sweep", PATIENCE, || (sweeps() > before).then_some(()));
}

#[test]
fn lids_are_the_same_in_the_next_run() {
    let dir = crate::harness::TempDir::new();
    let file = dir.file("lids");
    let lids = |options: &[&str]| {
        let lab = Lab::start(&[&["--lids", &file], options].concat());
        let rows = lab.show("hosts");
        rows.iter().map(|row| (row["guid"].to_string(), row["lid"].clone())).collect::<Vec<_>>()
    };
    let first = lids(&["--seed", "1"]);
    assert_eq!(lids(&["--seed", "2"]), first);
    assert!(std::fs::read_to_string(&file).unwrap().lines().count() > 4);
}
