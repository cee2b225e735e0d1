//! Ports that are bound to UDP sockets: labs that are one subnet, and somebody who is no lab at all.

use std::net::{SocketAddr, UdpSocket};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    harness::{Done, Lab, Machines, Netns, PATIENCE, TempDir, eventually, ipoib, new_name, require, run},
    peer::Peer,
};

/// Two UDP ports of the loopback interface that nobody uses.
fn free_ports() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap())
}

fn fabric(lab: &Lab, words: &[&str]) -> Done {
    run(ipoib(["fabric", words[0], "--lab", lab.name()]).args(&words[1..]), PATIENCE)
}

fn bind(lab: &Lab, port: &str, local: &str, peer: &str, more: &[&str]) -> Done {
    fabric(lab, &[&["bind", port, "--udp", local, "--peer", peer], more].concat())
}

/// The row of a bound port.
fn link(lab: &Lab, port: &str) -> Value {
    let rows = lab.show("links");
    let row = rows.iter().find(|row| row["a"] == port && !row["udp"].is_null());
    row.unwrap_or_else(|| panic!("{port} is not bound: {rows:#?}")).clone()
}

fn wait_for_pings(lab: &Lab, from: &str, to: &str) {
    eventually(&format!("{to} answers {from}"), PATIENCE, || lab.pings(from, to).then_some(()));
}

#[test]
fn somebody_who_has_read_the_manual_is_in_the_subnet() {
    require(&[("ping", "iputils-ping")]);
    let [here, there] = free_ports();
    let lab = Lab::start(&["--topology", "star:2"]);
    bind(&lab, "sw1:7", &here.to_string(), &there.to_string(), &["--idle", "2s"]).ok();
    let ip = "10.77.0.99";
    let start = || Peer::start(there, here, ip.parse().unwrap());
    let peer = start();
    for host in ["h1", "h2"] {
        wait_for_pings(&lab, host, ip);
    }
    lab.sh("h1", &format!("ping -q -c 20 -i 0.02 -s 1800 {ip}"));
    let row = link(&lab, "sw1:7");
    assert_eq!(row["state"], "active", "{row:#}");
    assert_eq!(row["udp"]["up"], true, "{row:#}");
    assert_eq!(row["udp"]["neighbor"], "host 0200:5eff:fe00:0001 port 1", "{row:#}");
    assert_eq!(row["errors_at_a"], 0, "{row:#}");

    // It dies, and comes back long after that was noticed.
    drop(peer);
    eventually("the link is down", PATIENCE, || (link(&lab, "sw1:7")["udp"]["up"] == false).then_some(()));
    assert!(!lab.pings("h1", ip));
    let peer = start();
    wait_for_pings(&lab, "h1", ip);

    // It comes back before anybody has missed it, and says so.
    drop(peer);
    let _peer = start();
    wait_for_pings(&lab, "h2", ip);
    assert!(lab.pings("h1", "h2"));
}

#[test]
fn a_bound_host_is_elsewhere_until_it_is_unbound() {
    require(&[("ping", "iputils-ping")]);
    let [here, there] = free_ports().map(|address| address.to_string());
    let lab = Lab::start(&["--topology", "star:2"]);
    bind(&lab, "h2", &here, &there, &[]).ok();
    let rows = lab.show("links");
    assert_eq!(rows.len(), 2, "its cable is gone: {rows:#?}");
    assert_eq!(rows[1]["b"], format!("udp {there}"));
    assert!(!lab.pings("h1", "10.77.0.2"));
    let shown = run(&mut lab.ipoib("show", &["links"]), PATIENCE).ok();
    assert!(shown.contains("never heard of") || shown.contains("nobody listens there"), "{shown}");

    for (words, says) in [
        (["h2", &here, &there], "h2:1: bound already: `ipoib fabric unbind h2:1` first"),
        (["sw1:7", &here, &there], "in use by another program or link"),
        (["sw1:0", ":1", &there], "no port sw1:0"),
        (["sw9:1", ":1", &there], "no port sw9:1"),
        (["sw1:7", "192.0.2.7:4000", &there], "not an address of this machine"),
        (["sw1:7", "4000", &there], "`4000` is no local end: write an address of this machine"),
        (["sw1:7", ":4000", "127.0.0.1"], "`127.0.0.1` is no peer: write its address and port"),
        (["sw1:7", "[::1]:4000", &there], "both as IPv4 or both as IPv6"),
        (["sw1:7", ":4000", "no-such-host.invalid:4000"], "no such name"),
    ] {
        bind(&lab, words[0], words[1], words[2], &[]).exits(2).says(&[says]);
    }
    bind(&lab, "sw1:7", ":4000", &there, &["--idle", "5"]).exits(2).says(&["--idle", "5ms"]);
    fabric(&lab, &["unbind", "sw1:1"]).exits(2).says(&["not bound"]);
    fabric(&lab, &["unbind", "h2"]).ok();
    wait_for_pings(&lab, "h1", "10.77.0.2");
    assert_eq!(lab.show("links").len(), 2);
    assert!(lab.show("links").iter().all(|row| row["udp"].is_null()));
}

#[test]
fn labs_with_the_same_guids_are_told_to_take_numbers() {
    let [here, there] = free_ports().map(|address| address.to_string());
    let labs = [(); 2].map(|()| Lab::start(&["--topology", "star:2"]));
    bind(&labs[0], "sw1:7", &here, &there, &[]).ok();
    bind(&labs[1], "sw1:8", &there, &here, &[]).ok();
    eventually("the warning", PATIENCE, || labs[0].said().contains("--fabric 1").then_some(()));
    assert!(labs[0].said().contains("has the GUID of sw1 of this fabric"), "{}", labs[0].said());
    assert!(labs[0].pings("h1", "h2") && labs[1].pings("h1", "h2"));
}

/// `ipoib lab ARGS` on a machine.
fn lab(machine: &Netns, args: &[&str]) -> Lab {
    let name = new_name();
    let words = [&[env!("CARGO_BIN_EXE_ipoib"), "lab", "--name", &name], args].concat();
    let mut lab = Lab::with(name.clone(), &mut machine.command(&words));
    lab.wait_until_it_answers();
    lab
}

#[test]
fn labs_on_two_machines_are_one_subnet_and_outlive_each_other() {
    require(&[("ping", "iputils-ping"), ("iperf3", "iperf3")]);
    let machines = Machines::new();
    let dir = TempDir::new();
    // One end by its file, the other by command.
    let file = dir.write(
        "east.toml",
        r#"fabric = 1
switch = [{ name = "sw1", ports = 8, hosts = 2 }]
link = [{ a = "sw1:7", udp = { local = ":4000", peer = "192.0.2.2:4000", idle = "2s" } }]
"#,
    );
    let east = lab(&machines.0[0], &["--topology", &file]);
    let west = || {
        let mut lab = lab(&machines.0[1], &["--fabric", "2", "--sm", "none"]);
        bind(&lab, "sw2:8", "192.0.2.2:4000", "192.0.2.1:4000", &["--idle", "2s"]).ok();
        lab.wait_until_up();
        lab
    };
    let lab = west();
    let all = |lab: &Lab| {
        for host in ["10.77.2.1", "10.77.2.4", "fd77::2:3"] {
            wait_for_pings(&east, "h1", host);
            wait_for_pings(&east, "h2", host);
        }
        wait_for_pings(lab, "h4", "10.77.1.2");
        wait_for_pings(lab, "h1", "fd77::1:1");
    };
    all(&lab);
    east.sh("h1", "ping -q -c 10 -i 0.02 -s 65000 10.77.2.4");
    let bulk = |mtu: &str| {
        machines.set_mtu(mtu);
        let server = lab.serve("h3", 5201, &["iperf3", "-s"]);
        for words in [&[][..], &["-R"], &["-6"]] {
            let to = if words == ["-6"] { "fd77::2:3" } else { "10.77.2.3" };
            let client = [&["iperf3", "-c", to, "-n", "32M"], words].concat();
            println!("{mtu}: {}", east.exec("h2", &client).ok());
        }
        drop(server);
    };
    // Datagrams that the kernel cuts from large ones; and those that do not fit the wire, which IP has to cut.
    bulk("9000");
    bulk("1500");
    let count =
        |lab: &Lab, part, name| lab.count(if lab.name() == east.name() { "sw1" } else { "sw2" }, part, name);
    assert!(count(&east, "port 7 udp", "datagrams_sent") > 2 * (32 << 20) / 2044);
    for name in ["udp_unreachable", "udp_too_large", "udp_bad_offload"] {
        assert_eq!(count(&east, "port 7 udp", name) + count(&lab, "port 8 udp", name), 0, "{name}");
    }
    assert_eq!(link(&east, "sw1:7")["errors_at_a"], 0);

    // One is killed; what is left goes on, and takes the next one in.
    drop(lab.end(Signal::KILL));
    eventually("the link is down", PATIENCE, || (link(&east, "sw1:7")["udp"]["up"] == false).then_some(()));
    assert!(east.pings("h1", "10.77.1.2"));
    all(&west());
}
