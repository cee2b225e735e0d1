//! However a lab ends, it is quick and leaves nothing.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::harness::{ENDS, Lab, PATIENCE, Running, eventually, ipoib, new_name, run};

/// Processes in the network namespace `ns`, such as `net:[4026532233]`.
fn inhabitants(ns: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let inside = processes.filter(|process| {
        fs::read_link(process.path().join("ns/net")).is_ok_and(|found| found.to_string_lossy() == ns)
    });
    inside.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

/// Interfaces and mounts of this machine that could be a lab's.
fn leftovers(name: &str) -> Vec<String> {
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    let links = links.map(|link| link.file_name().to_string_lossy().into_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(name)).map(str::to_owned);
    links
        .filter(|link| link.starts_with("ib") || link.starts_with("tap"))
        .chain(mounts.collect::<Vec<_>>())
        .collect()
}

#[test]
fn both_signals_end_a_lab_at_once_and_for_good() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::start(&["--topology", "star:2"]);
        let name = lab.name().to_owned();
        let ns = lab.sh("h1", "readlink /proc/self/ns/net");
        let begin = std::time::Instant::now();
        lab.end(signal).exits(0);
        let took = begin.elapsed();
        assert!(took < ENDS, "{took:?}");
        assert_eq!(inhabitants(ns.trim()), [""; 0]);
        assert_eq!(leftovers(&name), [""; 0]);
        assert!(!Path::new("/run/ipoib").join(&name).exists());
        run(&mut ipoib(["exec", "--lab", &name, "h1", "true"]), PATIENCE).exits(2).says(&[&name]);
    }
}

#[test]
fn a_lab_ends_when_it_is_told_to_stop() {
    let mut lab = Lab::start(&["--topology", "star:2"]);
    run(&mut lab.ipoib("stop", &[]), PATIENCE).ok();
    lab.has_ended_well();
}

#[test]
fn a_killed_lab_leaves_nothing_and_its_name_is_free() {
    let name = new_name();
    let script = "readlink /proc/self/ns/net; exec sleep 600";
    let words = [&["lab", "--name", &name, "--topology", "star:2"], crate::SHAPE].concat();
    let mut lab = Running::start(ipoib(&words).args(["--", "sh", "-c", script]));
    lab.wait_for("net:[", PATIENCE);
    let ns = lab.stdout().trim().to_owned();
    assert!(!inhabitants(&ns).is_empty(), "{ns}");
    lab.signal(Signal::KILL);
    lab.try_finish(PATIENCE).unwrap();
    eventually("the command dies with the lab", PATIENCE, || inhabitants(&ns).is_empty().then_some(()));
    assert_eq!(leftovers(&name), [""; 0]);

    let mut next = Lab::with(name.clone(), &mut ipoib(&words));
    next.wait_until_up();
    assert!(next.pings("h1", "h2"));
    next.end(Signal::TERM).exits(0);
    assert!(!Path::new("/run/ipoib").join(&name).exists());
}

#[test]
fn a_name_is_taken_as_long_as_its_lab_runs() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let again = run(&mut ipoib(["lab", "--name", lab.name()]), PATIENCE);
    again.exits(2).says(&["is running", "--name"]);
    assert!(lab.pings("h1", "h2"));
}

/// A server that runs in a host is its user's, not the lab's: it is told by its network.
#[test]
fn a_lab_ends_though_programs_run_in_its_hosts() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let _busy = lab.spawn("h1", &["ping", "-i", "0.01", "h2"]);
    let _idle = lab.spawn("h2", &["sleep", "600"]);
    let begin = std::time::Instant::now();
    lab.end(Signal::TERM).exits(0);
    assert!(begin.elapsed() < ENDS, "{:?}", begin.elapsed());
}
