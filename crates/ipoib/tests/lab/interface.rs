//! What a host's `ib0` looks like to its kernel, and that it stays who it is.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Lab, PATIENCE, descriptors, eventually, require, resident};

fn ip_json(lab: &Lab, host: &str, words: &[&str]) -> Value {
    let said = lab.exec(host, &[&["ip", "-j"], words].concat()).ok();
    let mut rows: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    rows[0].take()
}

#[test]
fn an_interface_has_the_numbers_of_a_real_one_and_shows_its_address() {
    require(&[("ip", "iproute2")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    for host in ["h1", "h2"] {
        let link = ip_json(&lab, host, &["-d", "link", "show", "ib0"]);
        let row = lab.interface(host, "ib0");
        assert_eq!((&link["mtu"], &link["txqlen"]), (&2044.into(), &256.into()), "{link:#}");
        assert_eq!(link["operstate"], "UP", "{link:#}");
        assert_eq!(link["address"], row["mac"]);
        assert_eq!(link["ifalias"], row["address"]);
        let address = row["address"].as_str().unwrap();
        assert_eq!(address.len(), 20 * 3 - 1, "{address}");
        // The queue pair, then the link-local prefix, then the GUID of the port.
        let octets = address.replace(':', "");
        let guid = row["guid"].as_str().unwrap().replace(':', "");
        let qpn = row["qpn"].as_str().unwrap().trim_start_matches("0x").to_owned();
        assert_eq!(octets[2..], format!("{qpn}fe80000000000000{guid}"));
        assert_eq!(row["state"], "up");
        assert_eq!(row["reason"], Value::Null);
        assert_eq!(row["mtu"], 2044);
    }
}

#[test]
fn the_queue_of_an_interface_is_twice_its_ring() {
    let lab = Lab::start(&["--topology", "star:2", "--tx-ring-size", "512"]);
    let link = ip_json(&lab, "h1", &["link", "show", "ib0"]);
    assert_eq!(link["txqlen"], 1024, "{link:#}");
}

#[test]
fn an_interface_keeps_its_address_when_it_is_set_down_and_up() {
    require(&[("ip", "iproute2"), ("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    assert!(lab.pings("h2", "h1"));
    let alike = |lab: &Lab| {
        let link = ip_json(lab, "h1", &["link", "show", "ib0"]);
        let row = lab.interface("h1", "ib0");
        ["address", "ifalias", "mtu", "txqlen"]
            .map(|name| link[name].clone())
            .into_iter()
            .chain(["address", "mac", "qpn", "lid", "guid"].map(|name| row[name].clone()))
            .collect::<Vec<_>>()
    };
    let before = alike(&lab);
    // The lab, and the driver where that is a process of its own.
    let driver = lab.interface("h1", "ib0")["driver"].as_u64().map(|number| u32::try_from(number).unwrap());
    let processes: Vec<u32> = [Some(lab.id()), driver].into_iter().flatten().collect();
    let had: Vec<_> = processes.iter().map(|process| (descriptors(*process), resident(*process))).collect();
    lab.sh(
        "h1",
        "for i in $(seq 100); do
            ip link set ib0 down; ip link set ib0 up
            ip address add 10.99.0.1/24 dev ib0; ip address del 10.99.0.1/24 dev ib0
        done",
    );
    // No `arp -d`, no ping from h1: the peer finds it by itself.
    for to in ["10.77.0.1", "fd77::1"] {
        let ((), took) = eventually(to, Duration::from_secs(2), || lab.pings("h2", to).then_some(()));
        println!("{to} answers {took:?} after the last `up`");
    }
    assert_eq!(alike(&lab), before);
    let handles = lab.show("neighbors").len();
    assert!(handles <= 4, "{handles} neighbors for two hosts");
    for (process, (open, memory)) in processes.into_iter().zip(had) {
        eventually("descriptors are where they were", PATIENCE, || {
            (descriptors(process) <= open).then_some(())
        });
        let grown = resident(process).saturating_sub(memory);
        assert!(grown < 8 << 10, "{grown} KiB more");
    }
}

#[test]
fn an_interface_that_is_set_down_says_so() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let row_is = |state: &str| {
        let what = format!("h1 is {state}");
        eventually(&what, PATIENCE, || {
            let row = lab.interface("h1", "ib0");
            (row["state"] == state).then_some(row)
        })
        .0
    };
    lab.sh("h1", "ip link set ib0 down");
    let row = row_is("down");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("down")), "{row:#}");
    lab.sh("h1", "ip link set ib0 up");
    assert_eq!(row_is("up")["reason"], Value::Null);
}

/// One handle for each peer, however many addresses it has; gone with the kernel's last entry.
#[test]
fn a_handle_goes_when_the_kernel_forgets_its_neighbor() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let handles = || lab.count("h1", "ib0", "handles");
    assert!(lab.pings("h1", "10.77.0.2") && lab.pings("h1", "fd77::2"));
    assert_eq!(handles(), 1);
    lab.sh("h1", "ip neigh flush all; ip -6 neigh flush all");
    eventually("the handle is gone", Duration::from_secs(1), || (handles() == 0).then_some(()));
    let of_h1 = lab.show("neighbors").into_iter().filter(|row| row["host"] == "h1");
    for row in of_h1 {
        assert_ne!(row["state"], "ready", "{row:#}");
        assert_eq!(row["ip"], serde_json::json!([]), "{row:#}");
    }
    assert!(lab.pings("h1", "10.77.0.2"));
    assert_eq!(handles(), 1);
}
