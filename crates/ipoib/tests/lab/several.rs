//! Labs side by side.

use std::process::Command;

use crate::harness::{Lab, PATIENCE, ipoib, require, run};

#[test]
fn labs_with_the_same_addresses_do_not_disturb_each_other() {
    require(&[("ping", "iputils-ping")]);
    let [one, other] = [(); 2].map(|()| Lab::start(&["--topology", "star:2"]));
    for lab in [&one, &other] {
        assert!(lab.pings("h1", "h2") && lab.pings("h2", "h1"));
    }
    other.sh("h2", "ip link set ib0 down");
    assert!(!other.pings("h1", "10.77.0.2"));
    assert!(one.pings("h1", "10.77.0.2"));
    let before = other.count("sw1", "port 1", "rcv_packets");
    one.sh("h1", "ping -q -i 0.01 -c 50 h2");
    assert!(other.count("sw1", "port 1", "rcv_packets") < before + 50);

    // Which one is meant has to be said.
    let vague = run(&mut ipoib(["exec", "h1", "--", "true"]), PATIENCE);
    vague.exits(2).says(&["--lab", one.name(), other.name()]);
    run(&mut ipoib(["exec", "--lab", "no-such-lab", "h1", "true"]), PATIENCE).exits(2).says(&["no-such-lab"]);
    let listed = run(&mut ipoib(["list", "--json"]), PATIENCE).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    for lab in [&one, &other] {
        let row = listed["labs"].as_array().unwrap().iter().find(|row| row["name"] == lab.name());
        let row = row.unwrap_or_else(|| panic!("{} is not in {listed:#}", lab.name()));
        assert_eq!((&row["hosts"], &row["state"], &row["pid"]), (&2.into(), &"up".into(), &lab.id().into()));
    }
}

/// In a /run of its own, where no other lab is.
#[test]
fn the_only_lab_needs_no_name() {
    require(&[("unshare", "util-linux"), ("mount", "mount")]);
    let script = "
        mount -t tmpfs none /run
        ! $0 list
        $0 lab --topology star:2 &
        lab=$!
        until $0 show hosts >/dev/null 2>&1; do kill -0 $lab; sleep 0.05; done
        $0 exec h2 -- hostname
        $0 exec h2 -- ipoib list
        $0 list
        $0 stop
        wait $lab
        ! test -e /run/ipoib";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script, env!("CARGO_BIN_EXE_ipoib")]).env_remove("IPOIB_LAB");
    let done = run(&mut command, PATIENCE);
    done.exits(0).says(&["no lab runs", "h2\n"]);
    assert!(done.ok().matches("lab").count() >= 2, "{done:?}");
}
