//! Who is who: ARP, duplicate addresses, bounds on what is remembered.

use std::time::Duration;

use crate::harness::{Lab, PATIENCE, eventually, require};

/// The Ethernet address that arping sees is the one that stands for the peer.
#[test]
fn arping_reaches_its_peer() {
    require(&[("arping", "iputils-arping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let said = lab.exec("h1", &["arping", "-I", "ib0", "-c", "3", "10.77.0.2"]).ok();
    assert!(said.contains("Received 3 response(s)"), "{said}");
    let row = lab.show("neighbors").into_iter().find(|row| row["host"] == "h1" && row["peer"] == "h2");
    let mac = row.expect("h2 is a neighbor of h1")["mac"].as_str().unwrap().to_uppercase();
    assert!(said.contains(&mac), "{mac}: {said}");
    lab.exec("h1", &["arping", "-I", "ib0", "-c", "1", "-w", "1", "10.77.0.99"]).exits(1);
}

/// Neither is the own question an answer, nor does somebody else's address go unnoticed.
#[test]
fn duplicate_addresses_are_found_and_others_are_not() {
    require(&[("arping", "iputils-arping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    lab.sh("h1", "ip address add fd77::2/64 dev ib0; ip address add fd77::99/64 dev ib0");
    let flags = |address: &str| lab.sh("h1", &format!("ip -6 address show dev ib0 to {address}"));
    eventually("the address of h2 is found to be taken", PATIENCE, || {
        flags("fd77::2").contains("dadfailed").then_some(())
    });
    eventually("the free address is in use", PATIENCE, || {
        (!flags("fd77::99").contains("tentative")).then_some(())
    });
    assert!(!flags("fd77::99").contains("dadfailed"), "{}", flags("fd77::99"));
    let probe = |address| lab.exec("h1", &["arping", "-D", "-I", "ib0", "-c", "2", "-w", "2", address]);
    probe("10.77.0.2").exits(1);
    probe("10.77.0.98").exits(0);
}

/// Another host takes an address over: told by ARP, its peers believe it.
#[test]
fn an_address_that_moves_to_another_host_is_followed() {
    require(&[("arping", "iputils-arping"), ("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:3"]);
    lab.sh("h2", "ip address add 10.77.0.50/24 dev ib0");
    assert!(lab.pings("h1", "10.77.0.50"));
    lab.sh("h2", "ip address del 10.77.0.50/24 dev ib0");
    lab.sh("h3", "ip address add 10.77.0.50/24 dev ib0; arping -A -c 2 -I ib0 10.77.0.50");
    eventually("h3 answers", Duration::from_secs(5), || lab.pings("h1", "10.77.0.50").then_some(()));
    let rows = lab.show("neighbors");
    let row = rows.iter().find(|row| row["host"] == "h1" && row["peer"] == "h3");
    let row = row.unwrap_or_else(|| panic!("no h3: {rows:#?}"));
    assert!(row["ip"].as_array().unwrap().contains(&"10.77.0.50".into()), "{row:#}");
}

/// At the bound the oldest goes, and comes back when it is needed.
#[test]
fn more_peers_than_address_handles_still_talk() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:6", "--max-address-vector", "2"]);
    for _ in 0..2 {
        for peer in 2..=6 {
            assert!(lab.pings("h1", &format!("10.77.0.{peer}")), "h{peer}");
        }
    }
    assert!(lab.count("h1", "ib0", "handles") <= 2);
    assert!(lab.count("h1", "ib0", "handles_evicted") > 0);
}
