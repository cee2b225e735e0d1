//! The tests of `tests/lab` about traffic, once more: two fabrics in two network namespaces are one subnet, joined by
//! UDP, every host is a network namespace with a driver of its own, and nobody may notice.

#[path = "../lab/dhcp.rs"]
mod dhcp;
#[path = "../lab/groups.rs"]
mod groups;
#[expect(dead_code, reason = "others use the rest of it")]
#[path = "../lab/harness/mod.rs"]
mod harness;
#[path = "../lab/interface.rs"]
mod interface;
#[path = "../lab/neighbors.rs"]
mod neighbors;
#[path = "../lab/ping.rs"]
mod ping;
#[path = "../lab/streams.rs"]
mod streams;

use std::{fmt::Write, ops::RangeInclusive, time::Duration};

use harness::{Beside, Lab, Machines, Netns, PATIENCE, Running, TempDir, ipoib, new_name, run};
use streams::Stream;

/// How long a driver may take until its interface carries traffic.
const BACK: Duration = Duration::from_secs(20);
/// The port of each switch that leads to the other.
const WIRE: u8 = 20;

/// A star is two: the first half of its hosts is in the east, with the subnet manager, the rest in the west. Host n is at
/// port n of its switch, which is called sw1 in both. Other options are for the drivers.
fn begin(args: &[&str]) -> Lab {
    let (star, options) = match args {
        ["--topology", star, options @ ..] => (*star, options),
        options => ("star:4", options),
    };
    let hosts: u8 = star.strip_prefix("star:").and_then(|n| n.parse().ok()).expect("a star");
    let (machines, dir) = (Machines::new(), TempDir::new());
    let east_end = format!(
        "[[link]]\na = \"sw1:{WIRE}\"\nudp = {{ local = \"192.0.2.1:4000\", peer = \"192.0.2.2:4000\" }}\n"
    );
    let east_file = dir.write("east.toml", topology(1, 1..=hosts / 2) + &east_end);
    let west_file = dir.write("west.toml", topology(2, hosts / 2 + 1..=hosts));

    let east = fabric(&machines.0[0], &[&east_file]);
    let west = fabric(&machines.0[1], &[&west_file, "--sm", "none"]);
    let (port, ends) = (format!("sw1:{WIRE}"), ["192.0.2.2:4000", "192.0.2.1:4000"]);
    let bind = ["fabric", "bind", "--lab", west.name(), &port, "--udp", ends[0], "--peer", ends[1]];
    run(&mut ipoib(bind), PATIENCE).ok();

    let mut beside = Beside::default();
    let names = hosts_file(hosts);
    for n in 1..=hosts {
        let fabric = if n <= hosts / 2 { &east } else { &west };
        let netns = Netns::new();
        netns.write_hosts(&names);
        let [port, v4, v6] =
            [format!("{}:h{n}", fabric.name()), format!("10.77.0.{n}/24"), format!("fd77::{n}/64")];
        let state = dir.file("state");
        let mut driver = ipoib(["up", "ib0", "--port", &port, "--netns", netns.name(), "--state", &state]);
        driver.args(["--address", &v4, "--address", &v6]).args(options);
        beside.drivers.push(Running::start(&mut driver));
        beside.hosts.insert(format!("h{n}"), netns);
    }
    beside.drivers.iter_mut().for_each(|driver| driver.wait_for("is up on", BACK));
    east.beside(Beside { fabrics: vec![west], machines: Some(machines), dir: Some(dir), ..beside })
}

/// `ipoib fabric run ARGS` on a machine; it answers.
fn fabric(machine: &Netns, args: &[&str]) -> Lab {
    let name = new_name();
    let words = [&[env!("CARGO_BIN_EXE_ipoib"), "fabric", "run", "--name", &name], args].concat();
    let mut fabric = Lab::with(name.clone(), &mut machine.command(&words));
    fabric.wait_until_it_answers();
    fabric
}

/// A switch with these hosts.
fn topology(fabric: u8, hosts: RangeInclusive<u8>) -> String {
    let mut text = format!("fabric = {fabric}\nswitch = [{{ name = \"sw1\", ports = 24 }}]\n");
    for n in hosts {
        let _ = writeln!(text, "[[host]]\nname = \"h{n}\"\n[[link]]\na = \"sw1:{n}\"\nb = \"h{n}\"");
    }
    text
}

fn hosts_file(hosts: u8) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for n in 1..=hosts {
        let _ = writeln!(text, "10.77.0.{n} h{n}\nfd77::{n} h{n}");
    }
    text
}

#[test]
fn what_one_fabric_has_for_the_other_goes_over_the_wire() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let wire = format!("port {WIRE} udp");
    let sent = || lab.count("sw1", &wire, "datagrams_sent");
    let before = sent();
    let bytes = Stream::start(&lab, "h1", "h2", 2).finish(PATIENCE);
    let datagrams = sent() - before;
    println!("{} MB in {datagrams} datagrams", bytes >> 20);
    assert!(datagrams > bytes / 2044, "{datagrams} datagrams for {bytes} bytes");
    for name in ["udp_unreachable", "udp_too_large", "udp_bad_offload"] {
        assert_eq!(lab.count("sw1", &wire, name), 0, "{name}");
    }
    // One manager for all: two switches and two hosts.
    let managers = lab.show("sm");
    assert_eq!(managers.len(), 1, "{managers:#?}");
    assert_eq!(managers[0]["nodes"], 4, "{managers:#?}");
}
