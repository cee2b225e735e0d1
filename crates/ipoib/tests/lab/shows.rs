//! `ipoib show`, and what is said when it cannot be.

use serde_json::Value;

use crate::harness::{Lab, PATIENCE, TempDir, eventually, ipoib, require, run};

const NOUNS: [&str; 8] = ["hosts", "links", "neighbors", "paths", "groups", "routes", "counters", "sm"];

#[test]
fn everything_that_can_be_shown_has_rows_in_both_forms() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&[]);
    assert!(lab.pings("h1", "10.77.0.4") && lab.pings("h1", "fd77::4"));
    for noun in NOUNS {
        let rows = lab.show(noun);
        assert!(!rows.is_empty() && rows.iter().all(Value::is_object), "{noun}: {rows:?}");
        let text = run(&mut lab.ipoib("show", &[noun]), PATIENCE).ok();
        assert!(text.lines().count() > 1, "{noun}: {text}");
    }
    let of_h1 = run(&mut lab.ipoib("show", &["neighbors", "--host", "h1", "--json"]), PATIENCE).ok();
    let of_h1: Value = serde_json::from_str(&of_h1).unwrap();
    let rows = of_h1["neighbors"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["host"] == "h1"), "{of_h1:#}");
    let peer = rows.iter().find(|row| row["peer"] == "h4").unwrap_or_else(|| panic!("no h4: {of_h1:#}"));
    let h4 = lab.interface("h4", "ib0");
    for name in ["qpn", "lid"] {
        assert_eq!(peer[name], h4[name], "{name}: {peer:#}");
    }
    let ips = peer["ip"].as_array().unwrap();
    assert!(ips.contains(&"10.77.0.4".into()) && ips.contains(&"fd77::4".into()), "{peer:#}");
    assert_eq!(h4["ipv4"], serde_json::json!(["10.77.0.4/24"]));
    assert_eq!(h4["ipv6"].as_array().unwrap()[0], "fd77::4/64");
    lab.exec("h4", &["ip", "address", "add", "192.0.2.4/29", "dev", "ib0"]).ok();
    eventually("the new address is shown", PATIENCE, || {
        let shown = lab.interface("h4", "ib0")["ipv4"].clone();
        (shown == serde_json::json!(["10.77.0.4/24", "192.0.2.4/29"])).then_some(())
    });
}

/// Each switch sends a packet for a host out of the port that leads there.
#[test]
fn routes_and_links_agree() {
    let lab = Lab::start(&[]);
    let (hosts, routes, links) = (lab.show("hosts"), lab.show("routes"), lab.show("links"));
    assert_eq!(links.len(), 6);
    for link in &links {
        assert_eq!(link["state"], "active", "{link:#}");
    }
    for host in &hosts {
        let (name, lid) = (host["name"].as_str().unwrap(), &host["lid"]);
        let end =
            |row: &Value| [row["a"].clone(), row["b"].clone()].map(|end| end.as_str().unwrap().to_owned());
        let cable =
            links.iter().map(end).find(|ends| ends.iter().any(|end| end.starts_with(&format!("{name}:"))));
        let near = cable.unwrap().into_iter().find(|end| end.starts_with("sw")).unwrap();
        let (switch, port) = near.split_once(':').unwrap();
        let row = routes.iter().find(|row| row["switch"] == switch && row["lid"] == *lid);
        let row = row.unwrap_or_else(|| panic!("{switch} has no route to {name}"));
        assert_eq!(row["ports"], serde_json::json!([port.parse::<u8>().unwrap()]), "{row:#}");
        assert_eq!(row["to"], name, "{row:#}");
    }
}

#[test]
fn what_cannot_be_done_is_said_with_status_2() {
    let refused = |words: &[&str], says: &[&str]| {
        run(&mut ipoib(words), PATIENCE).exits(2).says(says);
    };
    refused(&["lab", "--no-such-option"], &["ipoib: ", "--no-such-option"]);
    refused(&["lab", "--topology", "circle:3"], &["ipoib: ", "circle"]);
    refused(&["lab", "--topology", "/no/such/file.toml"], &["/no/such/file.toml"]);
    refused(&["no-such-verb"], &["no-such-verb"]);
    refused(&["lab", "--name", "../etc"], &["../etc"]);
    refused(&["lab", "--partitions", "/no/such/file"], &["/no/such/file"]);
    refused(&["show", "--lab", "no-such-lab", "hosts"], &["no-such-lab"]);

    let dir = TempDir::new();
    let text =
        "[[switch]]\nname = \"sw1\"\n\n[[host]]\nname = \"h1\"\n\n[[link]]\na = \"sw1:1\"\nb = \"h2\"\n";
    let topology = dir.write("bad.toml", text);
    refused(&["lab", "--topology", &topology], &[&format!("{topology}:"), "h2"]);
    let partitions = dir.write("bad.conf", "Default=0x7fff, ipoib: ALL=full;\nred=0x1, ipoib: h1=fool;\n");
    refused(&["lab", "--partitions", &partitions], &[&format!("{partitions}:2")]);
}

#[test]
fn a_running_lab_says_what_it_does_not_have() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let refused = |words: &[&str], says: &[&str]| {
        run(&mut ipoib(words), PATIENCE).exits(2).says(&[says, &["ipoib: "]].concat());
    };
    let name = lab.name();
    refused(&["exec", "--lab", name, "h9", "true"], &["h9"]);
    refused(&["exec", "--lab", name, "h1", "no-such-program"], &["no-such-program"]);
    refused(&["show", "--lab", name, "hosts", "--host", "h9"], &["h9"]);
    refused(&["show", "--lab", name, "nonsense"], &["nonsense"]);
    refused(&["fault", "link", "--lab", name, "sw1:99", "down"], &["sw1:99"]);
    refused(&["fault", "link", "--lab", name, "sw1:1", "loss"], &["loss 1%"]);
    refused(&["fault", "link", "--lab", name, "sw1:1", "loss", "150%"], &["150%"]);
    refused(&["fault", "host", "--lab", name, "h9", "unplug"], &["h9"]);
    assert!(lab.pings("h1", "h2"));
}
