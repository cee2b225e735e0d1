//! DHCP over IPoIB: servers and clients speak Ethernet, the wire speaks RFC 4390.

use std::{collections::BTreeSet, thread, time::Duration};

use rustix::process::Signal;

use crate::harness::{Lab, PATIENCE, Running, TempDir, eventually, require, tshark::fields};

/// What a client calls when something becomes of its lease: tells it, and sets the address.
const DHCLIENT_SCRIPT: &str = r#"#!/bin/sh
echo "$reason $new_ip_address"
case $reason in
    PREINIT) ip link set "$interface" up ;;
    BOUND | REBOOT | RENEW | REBIND) ip -4 address replace "$new_ip_address/24" dev "$interface" ;;
esac
"#;
const UDHCPC_SCRIPT: &str = r#"#!/bin/sh
echo "$1 $ip"
case $1 in
    deconfig) ip link set "$interface" up ;;
    bound | renew) ip -4 address replace "$ip/24" dev "$interface" ;;
esac
"#;

/// The least that a server grants is two minutes: too long to wait for the half of it.
const DHCLIENT_CONF: &str = "supersede dhcp-renewal-time 2;\nsupersede dhcp-rebinding-time 60;\n";

struct Setting {
    dir: TempDir,
    lab: Lab,
}

impl Setting {
    fn new() -> Self {
        require(&[("dnsmasq", "dnsmasq-base"), ("dhclient", "isc-dhcp-client"), ("udhcpc", "udhcpc")]);
        let setting = Self { dir: TempDir::new(), lab: Lab::start(&["--topology", "star:3"]) };
        for host in ["h2", "h3"] {
            setting.lab.sh(host, "ip -4 address flush dev ib0");
        }
        setting.dir.write("dhclient.conf", DHCLIENT_CONF);
        for (name, text) in [("dhclient-script", DHCLIENT_SCRIPT), ("udhcpc-script", UDHCPC_SCRIPT)] {
            let file = setting.dir.write(name, text);
            setting.lab.sh("h1", &format!("chmod 755 {file}"));
        }
        setting
    }

    /// A server in h1.
    fn server(&self) -> Running {
        let leases = format!("--dhcp-leasefile={}", self.dir.file("server-leases"));
        let mut words = vec!["dnsmasq", "-k", "-C", "/dev/null", "-p", "0", "-u", "root", "--log-facility=-"];
        words.extend(["--pid-file", "-i", "ib0", "-z", "--no-ping"]);
        words.extend(["--dhcp-range=10.77.0.100,10.77.0.150,120", &leases, "--dhcp-authoritative"]);
        let mut server = self.lab.spawn("h1", &words);
        server.wait_for("DHCP, IP range", PATIENCE);
        server
    }

    fn dhclient(&self) -> Running {
        let names = ["leases", "pid", "dhclient-script", "dhclient.conf"];
        let [leases, pid, script, conf] = names.map(|name| self.dir.file(name));
        let files = ["-cf", &conf, "-lf", &leases, "-pf", &pid, "-sf", &script];
        self.lab.spawn("h2", &[&["dhclient", "-d", "-v", "-4"], &files[..], &["ib0"]].concat())
    }

    fn udhcpc(&self) -> Running {
        let script = self.dir.file("udhcpc-script");
        self.lab.spawn("h3", &["udhcpc", "-f", "-i", "ib0", "-s", &script, "-t", "10", "-T", "1"])
    }
}

/// The address that a client told of with these words.
fn address_after(client: &mut Running, word: &str) -> String {
    client.wait_for(word, PATIENCE);
    let said = client.stdout();
    let address = said.lines().find_map(|line| line.strip_prefix(word));
    let address = address.unwrap_or_else(|| panic!("{said}")).trim().to_owned();
    assert!(address.starts_with("10.77.0.1"), "{said}");
    address
}

#[test]
fn two_kinds_of_clients_get_leases_use_and_renew_them() {
    let setting = Setting::new();
    let lab = &setting.lab;
    let file = setting.dir.file("dhcp.pcapng");
    let capture = lab.capture(file.as_ref(), &["--host", "h1"]);
    let server = setting.server();

    let mut dhclient = setting.dhclient();
    let mut udhcpc = setting.udhcpc();
    let first = address_after(&mut dhclient, "BOUND ");
    let second = address_after(&mut udhcpc, "bound ");
    assert_ne!(first, second);
    for (from, to) in [("h1", &first), ("h1", &second), ("h2", &second), ("h3", &first)] {
        eventually("the leased address answers", PATIENCE, || lab.pings(from, to).then_some(()));
    }
    // Unicast from the address that it has, to the server it has it from.
    dhclient.wait_for("RENEW ", PATIENCE);
    udhcpc.signal(Signal::USR1);
    udhcpc.wait_for("renew ", PATIENCE);
    drop(dhclient);
    // Restarted, it asks for the address that it remembers.
    assert_eq!(address_after(&mut setting.dhclient(), "REBOOT "), first);

    thread::sleep(Duration::from_millis(200));
    capture.signal(Signal::INT);
    capture.finish(PATIENCE).ok();
    drop(server);
    on_the_wire(&file, [&first, &second]);
}

/// RFC 4390 §2.1: no link address, but an identifier in its place, and answers by broadcast.
fn on_the_wire(file: &str, leased: [&String; 2]) {
    let names = [
        "dhcp.option.dhcp",
        "dhcp.hw.type",
        "dhcp.hw.len",
        "dhcp.hw.addr",
        "dhcp.flags.bc",
        "dhcp.ip.client",
        "ip.dst",
        "dhcp.option.type",
        "dhcp.option.value",
    ];
    // What the server's port sent and received.
    let rows = fields(file, "dhcp", &names);
    let mut kinds = Vec::new();
    let mut identifiers = BTreeSet::new();
    for row in &rows {
        let [kind, htype, hlen, chaddr, broadcast, ciaddr, to, options, values] = &row[..] else {
            panic!("{row:?}")
        };
        assert_eq!((htype.as_str(), hlen.as_str()), ("0x20", "0"), "{row:?}");
        assert!(chaddr.is_empty(), "{row:?}");
        let values: Vec<_> = options.split(',').zip(values.split(',')).collect();
        let identifier = values.iter().find(|(option, _)| *option == "61").map(|(_, value)| *value);
        let kind = match (kind.as_str(), ciaddr.as_str()) {
            ("1", "0.0.0.0") => "discover",
            ("3", "0.0.0.0") => "request",
            ("3", _) => "renewal",
            ("2", _) => "offer",
            ("5", _) => "acknowledgement",
            _ => "other",
        };
        kinds.push(kind);
        match kind {
            "discover" | "request" => {
                assert_eq!((broadcast.as_str(), to.as_str()), ("1", "255.255.255.255"), "{row:?}")
            }
            "renewal" => {
                assert!(leased.contains(&ciaddr), "{row:?}");
                assert_eq!((broadcast.as_str(), to.as_str()), ("0", "10.77.0.1"), "{row:?}");
            }
            _ => continue,
        }
        // RFC 4361 §6.1: type 255, then an IAID of 4 octets and a DUID.
        let identifier = identifier.unwrap_or_else(|| panic!("no identifier: {row:?}"));
        assert!(identifier.starts_with("ff") && identifier.len() > 2 * 7, "{row:?}");
        identifiers.insert(identifier.to_owned());
    }
    let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
    for (kind, least) in
        [("discover", 2), ("offer", 2), ("request", 3), ("renewal", 2), ("acknowledgement", 5)]
    {
        assert!(count(kind) >= least, "{} of {kind} in {rows:#?}", count(kind));
    }
    assert_eq!(identifiers.len(), 2, "one for each client, whatever it does: {identifiers:?}");
}
