//! `ipoib lab -- COMMAND` and `ipoib exec`.

use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Done, Lab, PATIENCE, Running, ipoib, new_name, require, run};

/// `ipoib lab -- COMMAND`, to its end.
fn lab_runs(options: &[&str], command: &[&str]) -> Done {
    let name = new_name();
    let mut lab = ipoib(["lab", "--name", &name]);
    run(lab.args(options).arg("--").args(command), PATIENCE)
}

#[test]
fn a_lab_is_one_command_away() {
    require(&[("ping", "iputils-ping")]);
    let done = lab_runs(&[], &["ping", "-c", "3", "h2"]);
    done.exits(0).says(&["3 received", " 0% packet loss", "h2"]);
    println!("{:?}", done.took);
}

#[test]
fn the_status_of_the_command_is_passed_on() {
    let star = ["--topology", "star:2"];
    lab_runs(&star, &["sh", "-c", "exit 7"]).exits(7);
    lab_runs(&star, &["true"]).exits(0);
    lab_runs(&star, &["sh", "-c", "kill -TERM $$"]).exits(128 + 15);
    let missing = lab_runs(&star, &["there-is-no-such-program"]);
    assert!(!missing.status.success(), "{missing:?}");
    missing.says(&["there-is-no-such-program"]);
}

/// The command gets our own input and output, and knows where it is.
#[test]
fn a_command_sees_the_host_it_runs_in() {
    let lab = Lab::start(&["--topology", "star:2"]);
    assert_eq!(lab.sh("h2", "hostname"), "h2\n");
    assert_eq!(lab.sh("h2", "ls /sys/class/net"), "ib0\nlo\n");
    assert_eq!(lab.sh("h2", "cat /etc/hostname; echo $IPOIB_HOST"), "h2\nh2\n");
    let names = lab.sh("h2", "getent ahostsv4 h1; getent ahostsv6 h1");
    assert!(names.contains("10.77.0.1") && names.contains("fd77::1"), "{names}");
    let addresses = lab.sh("h2", "ip -br address show ib0");
    assert!(addresses.contains("10.77.0.2/24") && addresses.contains("fd77::2/64"), "{addresses}");
    assert!(addresses.contains("fe80::"), "{addresses}");
    lab.exec("h2", &["sh", "-c", "exit 7"]).exits(7);
    lab.exec("h9", &["true"]).exits(2).says(&["h9"]);
}

/// The machine may lack iputils: then the lab's own `ping` steps in.
#[test]
fn a_host_without_ping_has_the_labs_own() {
    let lab = Lab::start(&["--topology", "star:2"]);
    // Through `exec`, whose PATH has the lab's programs at its end.
    let own = |words: &[&str]| {
        run(lab.command("h1", &[&["ping"], words].concat()).env("PATH", "/nonexistent"), PATIENCE)
    };
    own(&["-c", "3", "h2"]).exits(0).says(&["0% packet loss"]);
    own(&["-6", "-c", "1", "h2"]).exits(0).says(&["0% packet loss", "fd77::2"]);
    own(&["-c", "1", "10.77.0.9"]).exits(1);

    let name = new_name();
    let mut alone = ipoib(["lab", "--name", &name, "--topology", "star:2", "--", "ping", "-c", "3", "h2"]);
    run(alone.env("PATH", "/nonexistent"), PATIENCE).exits(0).says(&["0% packet loss"]);
}

/// Ctrl-C reaches the command first; the lab ends with it.
#[test]
fn a_lab_that_is_told_to_end_ends_its_command() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15)] {
        let name = new_name();
        let script = "echo begun; exec sleep 600";
        let words = ["lab", "--name", &name, "--topology", "star:2", "--", "sh", "-c", script];
        let mut lab = Running::start(&mut ipoib(words));
        lab.wait_for("begun", PATIENCE);
        lab.signal(signal);
        let done = lab.finish(Duration::from_secs(2));
        let code = done.status.code();
        assert!(code == Some(128 + 15) || code == Some(128 + number), "{done:?}");
    }
}
