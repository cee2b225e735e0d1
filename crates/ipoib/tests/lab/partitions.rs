//! Partitions and child interfaces.

use crate::harness::{Lab, TempDir, require};

/// GUIDs of the ports of h1 to h4, which are the same in every lab of this topology.
fn guids() -> Vec<String> {
    let lab = Lab::start(&["--topology", "star:4"]);
    let rows = lab.show("hosts");
    rows.iter().map(|row| format!("0x{}", row["guid"].as_str().unwrap().replace(':', ""))).collect()
}

#[test]
fn child_interfaces_reach_their_partition_and_no_other() {
    require(&[("ping", "iputils-ping")]);
    let dir = TempDir::new();
    let [h1, h2, h3, h4] = &guids()[..] else { panic!("four hosts") };
    let text = format!(
        "Default=0x7fff, ipoib: ALL=full;\n\
         red=0x0001, ipoib: {h1}=full, {h2}=full;\n\
         blue=0x0002, ipoib: {h3}=full, {h4}=full;\n"
    );
    let file = dir.write("partitions.conf", text);
    let options = ["--partitions", &file, "--children", "0x8001,0x8002"];
    let lab = Lab::start(&[&["--topology", "star:4"], &options[..]].concat());

    let links = |host: &str| lab.sh(host, "ls /sys/class/net");
    assert_eq!(links("h1"), "ib0\nib0.8001\nlo\n");
    assert_eq!(links("h4"), "ib0\nib0.8002\nlo\n");
    for (host, name) in [("h1", "ib0.8001"), ("h2", "ib0.8001"), ("h3", "ib0.8002"), ("h4", "ib0.8002")] {
        let row = lab.interface(host, name);
        assert_eq!(row["state"], "up", "{row:#}");
        assert_eq!(row["pkey"], format!("0x{}", &name[4..]), "{row:#}");
        assert_ne!(row["qpn"], lab.interface(host, "ib0")["qpn"], "{row:#}");
    }
    let child = |host: &str| {
        let interface = if ["h1", "h2"].contains(&host) { "ib0.8001" } else { "ib0.8002" };
        let row = lab.interface(host, interface);
        let address = row["ipv4"][0].as_str().unwrap_or_else(|| panic!("no address: {row:#}"));
        address.split('/').next().unwrap().to_owned()
    };
    for (from, to) in [("h1", "h2"), ("h2", "h1"), ("h3", "h4"), ("h4", "h3")] {
        assert!(lab.pings(from, &child(to)), "{from} to {to}, inside");
        assert!(lab.pings(from, to), "{from} to {to}, in the default partition");
    }
    for (from, to) in [("h1", "h3"), ("h2", "h4"), ("h3", "h1"), ("h4", "h2")] {
        assert!(!lab.pings(from, &child(to)), "{from} to {to}, across");
        assert!(lab.pings(from, to), "{from} to {to}, in the default partition");
    }
    let groups = lab.show("groups");
    let broadcasts = groups.iter().filter(|row| row["ip"] == "broadcast");
    let mut keys: Vec<_> = broadcasts.map(|row| row["pkey"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    assert_eq!(keys, ["0x8001", "0x8002", "0xffff"]);
}

/// Limited members talk to full ones alone; what one of them broadcasts is refused by the other, and counted.
#[test]
fn limited_members_do_not_reach_each_other() {
    require(&[("ping", "iputils-ping")]);
    let dir = TempDir::new();
    let guids = guids();
    let text = format!("Default=0x7fff, ipoib: ALL=limited, SELF=full, {}=full;\n", guids[0]);
    let file = dir.write("partitions.conf", text);
    let lab = Lab::start(&["--topology", "star:4", "--partitions", &file]);
    assert!(lab.pings("h1", "h2") && lab.pings("h2", "h1") && lab.pings("h3", "h1"));
    let refused = || {
        let rows = lab.show("counters");
        let at_h3 = rows.iter().filter(|row| row["node"] == "h3" || row["node"] == "sw1");
        let named = at_h3.filter_map(|row| row["drops"].as_object()).flatten();
        named.filter(|(name, _)| name.contains("pkey")).filter_map(|(_, n)| n.as_u64()).sum::<u64>()
    };
    let before = refused();
    assert!(!lab.pings("h2", "10.77.0.3"));
    assert!(refused() > before, "{before}");
}

/// The group decides: its MTU less the header of IPoIB is that of the interface.
#[test]
fn a_partition_of_4096_bytes_has_interfaces_of_4092() {
    require(&[("ping", "iputils-ping")]);
    let dir = TempDir::new();
    let file = dir.write("partitions.conf", "Default=0x7fff, ipoib, mtu=5: ALL=full;\n");
    let lab = Lab::start(&["--topology", "star:2", "--partitions", &file]);
    assert_eq!(lab.sh("h1", "cat /sys/class/net/ib0/mtu"), "4092\n");
    assert_eq!(lab.interface("h1", "ib0")["mtu"], 4092);
    let ping = |size| lab.exec("h1", &["ping", "-4", "-M", "do", "-c", "1", "-s", size, "h2"]);
    ping("4064").exits(0);
    ping("4065").exits(1).says(&["essage too long"]);
}
