//! Multicast: who asked for a group gets it, and nobody else.

use crate::harness::{Lab, PATIENCE, Running, eventually, require};

/// Joins a group and counts what comes on UDP port 5000 until nothing has come for a while.
const RECEIVER: &str = r#"
import ipaddress, socket, struct, sys
group, own = sys.argv[1:]
if ":" in group:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    index = struct.pack("@I", socket.if_nametoindex("ib0"))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, ipaddress.ip_address(group).packed + index)
else:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(own))
sock.bind(("", 5000))
print("joined")
sock.settimeout(20)
count = 0
try:
    while True:
        sock.recv(2048)
        count += 1
        sock.settimeout(1)
except TimeoutError:
    print("received", count)
"#;

/// Sends 500 datagrams to a group.
const SENDER: &str = r#"
import socket, sys, time
group, own = sys.argv[1:]
if ":" in group:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("ib0"))
else:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
for _ in range(500):
    sock.sendto(bytes(1000), (group, 5000))
    time.sleep(0.001)
"#;

/// A group of IP, and the MGID that carries it.
type Group = (&'static str, &'static str);

/// Whether a host is a full member of a group.
fn is_member(lab: &Lab, host: &str, (_, mgid): Group) -> bool {
    let groups = lab.show("groups");
    let row = groups.iter().find(|row| row["mgid"] == mgid);
    let members = row.and_then(|row| row["members"].as_array()).cloned().unwrap_or_default();
    members.iter().any(|member| member["port"] == host && member["join"] == "full")
}

/// A receiver in each of the hosts, joined as far as the fabric.
fn receivers(lab: &Lab, wanted: [(&str, Group); 2]) -> [Running; 2] {
    wanted.map(|(host, group)| {
        let ipv4 = lab.interface(host, "ib0")["ipv4"][0].clone();
        let own = ipv4.as_str().unwrap().split('/').next().unwrap();
        let mut receiver = lab.python(host, RECEIVER, &[group.0, own]);
        receiver.wait_for("joined", PATIENCE);
        eventually(&format!("{host} is in {group:?}"), PATIENCE, || {
            is_member(lab, host, group).then_some(())
        });
        receiver
    })
}

/// RFC 4391 §4: all 28 bits of an IPv4 group and the last 80 of an IPv6 group count. Each of these pairs has but
/// one Ethernet address.
#[test]
fn groups_that_ethernet_confuses_are_kept_apart() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:3"]);
    let multicast = |port| lab.count("sw1", port, "xmit_multicast_packets");
    let pairs = [
        [("239.1.1.1", "ff12:401b:ffff::f01:101"), ("239.129.1.1", "ff12:401b:ffff::f81:101")],
        [("ff15::77:1", "ff12:601b:ffff::77:1"), ("ff15::1:0:77:1", "ff12:601b:ffff:0:1:0:77:1")],
    ];
    for [first, second] in pairs {
        let [at_h2, at_h3] = receivers(&lab, [("h2", first), ("h3", second)]);
        let groups = lab.show("groups");
        let mlid = |group: Group| groups.iter().find(|row| row["mgid"] == group.1).unwrap()["mlid"].clone();
        assert_ne!(mlid(first), mlid(second), "{groups:#?}");

        let before = ["port 2", "port 3"].map(multicast);
        lab.python("h1", SENDER, &[first.0, "10.77.0.1"]).finish(PATIENCE).ok();
        assert_eq!(at_h2.finish(PATIENCE).ok(), "joined\nreceived 500\n");
        let after = ["port 2", "port 3"].map(multicast);
        assert!(after[0] - before[0] >= 500, "{before:?} {after:?}");
        assert!(after[1] - before[1] < 50, "the fabric carried them to h3: {before:?} {after:?}");

        lab.python("h1", SENDER, &[second.0, "10.77.0.1"]).finish(PATIENCE).ok();
        assert_eq!(at_h3.finish(PATIENCE).ok(), "joined\nreceived 500\n");
        for (host, group) in [("h2", first), ("h3", second)] {
            eventually(&format!("{host} has left {group:?}"), PATIENCE, || {
                (!is_member(&lab, host, group)).then_some(())
            });
        }
    }
}

/// For the fabric it joins to send only, for its own kernel not at all.
#[test]
fn a_sender_need_not_join() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:3"]);
    let group = ("239.7.7.7", "ff12:401b:ffff::f07:707");
    let receivers = receivers(&lab, [("h2", group), ("h3", group)]);
    lab.python("h1", SENDER, &[group.0, "10.77.0.1"]).finish(PATIENCE).ok();
    for receiver in receivers {
        assert_eq!(receiver.finish(PATIENCE).ok(), "joined\nreceived 500\n");
    }
    assert!(!is_member(&lab, "h1", group));
    let joined = lab.sh("h1", "ip maddress show dev ib0");
    assert!(!joined.contains(group.0), "{joined}");
}
