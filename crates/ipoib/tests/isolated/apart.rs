//! A fabric and its drivers, each started by hand, in network namespaces of `ip netns`.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    harness::{Done, Lab, Netns, PATIENCE, Running, TempDir, eventually, ipoib, new_name, require, run},
    streams::STREAM,
};

/// As long as a release that hurries may take.
const BACK: Duration = Duration::from_secs(10);

fn pings(from: &Netns, to: &str) -> bool {
    run(&mut from.command(&["ping", "-c", "1", "-W", "0.3", to]), PATIENCE).status.success()
}

/// Waits until `to` answers; how long that took.
fn reaches(from: &Netns, to: &str) -> Duration {
    eventually(&format!("{to} answers"), BACK, || pings(from, to).then_some(())).1
}

/// A fabric of this name.
fn fabric(name: &str) -> Lab {
    let mut fabric = Lab::with(name.to_owned(), &mut ipoib(["fabric", "run", "star:2", "--name", name]));
    fabric.wait_until_up();
    fabric
}

/// A driver for host `n`, whose address is 10.77.0.n.
pub(crate) fn driver(fabric: &str, n: u8, netns: &Netns, more: &[&str]) -> Running {
    let (port, address) = (format!("{fabric}:h{n}"), format!("10.77.0.{n}/24"));
    let words = ["up", "ib0", "--port", &port, "--netns", netns.name(), "--address", &address];
    Running::start(ipoib(words).args(more))
}

fn up(fabric: &str, n: u8, netns: &Netns, more: &[&str]) -> Running {
    let mut driver = driver(fabric, n, netns, more);
    driver.wait_for("is up on", BACK);
    driver
}

/// F14, under load both ways.
#[test]
fn a_driver_that_is_asked_to_end_leaves_nothing() {
    let (fabric, a, b) = (fabric(&new_name()), Netns::new(), Netns::new());
    let first = up(fabric.name(), 1, &a, &[]);
    let _second = up(fabric.name(), 2, &b, &[]);
    reaches(&a, "10.77.0.2");
    a.sh("ip address add 239.1.2.3/32 dev ib0 autojoin");
    let members = |host: &str| {
        let groups = fabric.show("groups");
        let ports = groups
            .iter()
            .filter(|group| group["members"].as_array().unwrap().iter().any(|member| member["port"] == host));
        ports.count()
    };
    eventually("the group", BACK, || (members("h1") >= 3).then_some(()));
    let flood = |from: &Netns, to| Running::start(&mut from.command(&["ping", "-q", "-f", "-s", "8192", to]));
    let load = [flood(&a, "10.77.0.2"), flood(&b, "10.77.0.1")];
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    first.signal(Signal::TERM);
    first.finish(Duration::from_secs(2)).exits(0);
    println!("ended after {:?}", start.elapsed());
    eventually("it left its groups", BACK, || (members("h1") == 0).then_some(()));
    assert!(members("h2") > 0);
    assert!(!a.sh("ip -br link").contains("ib0"));
    assert_eq!(fabric.interface("h1", "ib0")["state"], "down");
    drop(load);
    let _again = up(fabric.name(), 1, &a, &[]);
    reaches(&a, "10.77.0.2");
}

#[test]
fn a_killed_driver_leaves_its_interface_to_the_next() {
    let (fabric, a, b) = (fabric(&new_name()), Netns::new(), Netns::new());
    let first = up(fabric.name(), 1, &a, &[]);
    let _second = up(fabric.name(), 2, &b, &[]);
    a.sh("ip address add 192.168.7.1/24 dev ib0");
    let seen =
        || (a.sh("ip -o address show ib0; cat /sys/class/net/ib0/ifalias"), fabric.interface("h1", "ib0"));
    let (addresses, row) = seen();
    first.signal(Signal::KILL);
    drop(first);
    assert!(a.sh("cat /sys/class/net/ib0/carrier").contains('0'));
    let _again = up(fabric.name(), 1, &a, &[]);
    reaches(&b, "10.77.0.1");
    let (addresses_now, row_now) = seen();
    assert_eq!(addresses_now, addresses);
    for name in ["address", "mac", "qpn", "guid"] {
        assert_eq!(row_now[name], row[name], "{name}");
    }
}

#[test]
fn a_new_driver_takes_over_without_a_gap() {
    let (fabric, a, b) = (fabric(&new_name()), Netns::new(), Netns::new());
    let _first = up(fabric.name(), 1, &a, &[]);
    let mut drivers = vec![up(fabric.name(), 2, &b, &[])];
    reaches(&a, "10.77.0.2");
    let refused = driver(fabric.name(), 2, &b, &[]).finish(PATIENCE);
    refused.exits(2).says(&["in the hands of process", "--takeover"]);
    for _ in 0..3 {
        let mut ping = Running::start(&mut a.command(&["ping", "-n", "-i", "0.005", "-w", "2", "10.77.0.2"]));
        ping.wait_for("icmp_seq=20 ", PATIENCE);
        let next = up(fabric.name(), 2, &b, &["--takeover"]);
        let before = drivers.pop().unwrap().finish(PATIENCE);
        before.exits(0).says(&["took the port over"]);
        drivers.push(next);
        let said = ping.finish(PATIENCE).said();
        let answered: Vec<u32> = said
            .lines()
            .filter_map(|line| line.split("icmp_seq=").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        let gap = answered.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        println!("longest gap {} ms", (gap - 1) * 5);
        // Less than 100 ms by design; a busy machine is given more.
        assert!(gap <= 200, "{gap} pings of 5 ms: {said}");
    }
}

#[test]
fn drivers_wait_for_a_fabric_that_went_away() {
    let name = new_name();
    let (a, b) = (Netns::new(), Netns::new());
    let mut fabric = fabric(&name);
    let drivers = [up(&name, 1, &a, &[]), up(&name, 2, &b, &[])];
    let before = a.sh("ip -o address show ib0; cat /sys/class/net/ib0/ifalias");
    reaches(&a, "10.77.0.2");
    let python = |netns: &Netns, words: &[&str]| {
        Running::start(netns.command(&["python3", "-uc", STREAM]).args(words))
    };
    let mut receiver = python(&b, &["receive"]);
    receiver.wait_for("listening", PATIENCE);
    let mut sender = python(&a, &["send", "10.77.0.2", "6"]);
    sender.wait_for("sending", PATIENCE);
    for _ in 0..5 {
        fabric.end(Signal::KILL);
        eventually("no carrier", BACK, || a.sh("cat /sys/class/net/ib0/carrier").contains('0').then_some(()));
        fabric = self::fabric(&name);
        println!("back after {:?}", reaches(&a, "10.77.0.2"));
        assert_eq!(a.sh("ip -o address show ib0; cat /sys/class/net/ib0/ifalias"), before);
    }
    let last = |done: Done| done.ok().lines().last().map(str::to_owned);
    assert_eq!(
        last(sender.finish(PATIENCE)),
        last(receiver.finish(PATIENCE)),
        "bytes and hash, sent and received"
    );
    for driver in drivers {
        driver.signal(Signal::TERM);
        driver.finish(Duration::from_secs(2)).exits(0);
    }
    assert!(!a.sh("ip -br link").contains("ib0"));
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let (name, netns) = (new_name(), Netns::new());
    let none = driver(&name, 1, &netns, &[]).finish(PATIENCE);
    none.exits(2).says(&["no fabric", "ipoib fabric run"]);
    let fabric = fabric(&name);
    driver(&name, 9, &netns, &[]).finish(PATIENCE).exits(2).says(&["no host h9"]);
    run(&mut ipoib(["up", "--port", "h1"]), PATIENCE).exits(2).says(&["FABRIC:HOST"]);
    run(&mut ipoib(["up", "--port", "x:h1", "--netns", "nowhere"]), PATIENCE)
        .exits(2)
        .says(&["/run/netns/nowhere"]);
    // A driver that may wait does.
    drop(fabric);
    let mut waiting = driver(&name, 1, &netns, &["--wait"]);
    assert!(waiting.try_finish(Duration::from_millis(300)).is_none());
    let _fabric = self::fabric(&name);
    waiting.wait_for("is up on", BACK);
}

#[test]
fn who_may_attach_is_a_matter_of_the_mode_of_the_socket() {
    require(&[("setpriv", "util-linux")]);
    let (dir, name) = (TempDir::new(), new_name());
    let (program, socket) = (dir.file("ipoib"), dir.file("attach"));
    fs::copy(env!("CARGO_BIN_EXE_ipoib"), &program).unwrap();
    let words = ["fabric", "run", "star:2", "--name", &name, "--attach", &socket, "--attach-mode"];
    // What is there and is not a socket stays.
    fs::write(&socket, "mine").unwrap();
    run(ipoib(words).arg("0600"), PATIENCE).exits(2).says(&[&socket, "no socket"]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    fs::remove_file(&socket).unwrap();
    for mode in ["0600", "0666"] {
        let mut fabric = Lab::with(name.clone(), ipoib(words).arg(mode));
        fabric.wait_until_up();
        let port = format!("{socket}:h1");
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program, "up", "--port", &port]);
        let done = run(user.args(["--state", &dir.file("state")]), PATIENCE);
        // It may not make an interface either way.
        done.exits(2);
        let attached = fabric.show("counters").iter().any(|row| row["part"] == "driver");
        assert_eq!(attached, mode == "0666", "{mode}: {done:?}");
        drop(fabric);
        assert!(!fs::exists(&socket).unwrap());
    }
}
