//! Hosts with several ports.

use crate::harness::{Lab, PATIENCE, TempDir, eventually, require};

/// A host with two ports has two interfaces, in networks of their own.
#[test]
fn each_port_of_a_host_is_an_interface() {
    require(&[("ping", "iputils-ping")]);
    let dir = TempDir::new();
    let text = r#"
[[switch]]
name = "leaf"

[[host]]
name = "db"
ports = 2

[[host]]
name = "web"
ports = 2

[[link]]
a = "leaf:1"
b = "db:1"

[[link]]
a = "leaf:2"
b = "db:2"

[[link]]
a = "leaf:3"
b = "web:1"

[[link]]
a = "leaf:4"
b = "web:2"
"#;
    let file = dir.write("two.toml", text);
    let lab = Lab::start(&["--topology", &file]);
    assert_eq!(lab.sh("web", "ls /sys/class/net"), "ib0\nib1\nlo\n");
    for to in ["10.77.0.2", "10.78.0.2", "fd77::2", "fd78::2", "web", "web-ib1"] {
        assert!(lab.pings("db", to), "{to}");
    }
    lab.fault_link(&["leaf:4", "down"]);
    eventually("the second way is gone", PATIENCE, || (!lab.pings("db", "10.78.0.2")).then_some(()));
    assert!(lab.pings("db", "10.77.0.2"));
    assert_eq!(lab.interface("web", "ib1")["state"], "down");
    assert_eq!(lab.interface("web", "ib0")["state"], "up");
}
