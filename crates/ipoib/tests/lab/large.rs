//! Labs of many hosts.

use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{ENDS, Lab, require};

fn comes_up_and_works(topology: &str, last: &str) {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", topology]);
    let hosts = lab.show("hosts");
    println!("{topology}: {}", lab.said().lines().find(|line| line.contains("up in")).unwrap_or_default());
    assert_eq!(hosts.len(), 64);
    assert!(hosts.iter().all(|row| row["state"] == "up"));
    let all: Vec<_> = (2..=64).map(|n| format!("h{n}")).collect();
    let script =
        format!("for host in {}; do ping -q -c 1 -W 2 $host >/dev/null || echo $host; done", all.join(" "));
    assert_eq!(lab.sh("h1", &script), "", "hosts that do not answer");
    assert!(lab.pings(last, "h1"));
    let begin = Instant::now();
    lab.end(Signal::INT).exits(0);
    println!("ended in {:?}", begin.elapsed());
    assert!(begin.elapsed() < ENDS, "{:?}", begin.elapsed());
}

#[test]
fn sixty_four_hosts_on_one_switch() {
    comes_up_and_works("star:64", "h64");
}

#[test]
fn sixty_four_hosts_on_a_fat_tree() {
    comes_up_and_works("fat-tree:k=8,hosts=64", "h64");
}
