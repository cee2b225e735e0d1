//! T17: DHCP, with a server and a client that know Ethernet alone.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, time::Duration};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{Process, eventually},
    },
    capture::{Recording, fields},
};

/// What the client calls when something becomes of its lease: tells it, and sets the address.
const SCRIPT: &str = r#"#!/bin/sh
echo "$reason $new_ip_address"
case $reason in
    PREINIT) ip link set "$interface" up ;;
    BOUND | REBOOT | RENEW | REBIND) ip -4 address replace "$new_ip_address/24" dev "$interface" ;;
esac
"#;

/// A server grants two minutes at least, and a client waits for half of it: too long here.
const CONFIG: &str =
    "supersede dhcp-renewal-time 2;\nsupersede dhcp-rebinding-time 60;\ntimeout 20;\nretry 1;\n";

/// T17: discover, bound, renewed; what the wire carries.
pub(in super::super) fn lease(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let net = server.v4.rsplit_once('.').context("the server has no IPv4 address")?.0;
    bench.sh(client, &format!("ip -4 address flush dev {}", client.interface))?;
    let recording = Recording::start(bench, "dhcp.pcapng", &["--host", &server.name])?;
    let leases = format!("--dhcp-leasefile={}", bench.file("server-leases"));
    let range = format!("--dhcp-range={net}.100,{net}.150,120");
    let words =
        ["dnsmasq", "-k", "-C", "/dev/null", "-p", "0", "-u", "root", "--log-facility=-", "--pid-file"];
    let more = ["-i", &server.interface, "-z", "--no-ping", "--dhcp-authoritative", &range, &leases];
    let _server = bench.serve(server, ("udp", 67), &[&words[..], &more].concat())?;
    let first = dhclient(bench, client)?;
    let address = bound(bench, &first, "BOUND ")?;
    let pinged = bench.comes_back(server, &address, bench.limit(Duration::from_secs(5)))?;
    first.wait_for("RENEW ", bench.limit(Duration::from_secs(15)))?;
    first.signal(Signal::TERM);
    first.finish(bench.limit(Duration::from_secs(10)))?;
    // Once more: it asks for the address that it remembers, by the identifier that it had.
    let second = dhclient(bench, client)?;
    let again = bound(bench, &second, "REBOOT ")?;
    drop(second);
    if again != address {
        bail!("{address} at first, {again} after a restart");
    }
    let file = recording.end()?;
    let identifier = on_the_wire(bench, &file, &address)?;
    Ok(format!(
        "{address} bound, answers in {}, renewed, kept; identifier {identifier}",
        super::super::process::seconds(pinged)
    ))
}

fn dhclient(bench: &Bench<'_>, client: &Host) -> Result<Process> {
    let script = bench.write("dhclient-script", SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let config = bench.write("dhclient.conf", CONFIG)?;
    let (leases, pid) = (bench.file("leases"), bench.file("pid"));
    let files = ["-cf", &config, "-lf", &leases, "-pf", &pid, "-sf", &script];
    bench.spawn(client, &[&["dhclient", "-d", "-4"], &files[..], &[&client.interface]].concat())
}

/// The address that the client told of with these words.
fn bound(bench: &Bench<'_>, client: &Process, word: &str) -> Result<String> {
    client.wait_for(word, bench.limit(Duration::from_secs(30)))?;
    let address = || {
        let said = client.stdout();
        let line = said
            .split_once(word)
            .and_then(|(_, rest)| rest.split_once('\n').map(|(line, _)| line.trim().to_owned()));
        Ok(line)
    };
    Ok(eventually("the address", Duration::from_secs(5), address)?.0)
}

/// RFC 4390 §2.1: no link address, but an identifier in its place, and answers by broadcast. The identifier.
fn on_the_wire(bench: &Bench<'_>, file: &str, leased: &str) -> Result<String> {
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
    let rows = fields(bench, file, "dhcp", &names)?;
    let (mut kinds, mut identifiers) = (BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let [kind, htype, hlen, chaddr, broadcast, ciaddr, to, options, values] = &row[..] else {
            bail!("tshark: {row:?}")
        };
        if htype != "0x20" || hlen != "0" || !chaddr.is_empty() {
            bail!("hardware type {htype}, length {hlen}, address `{chaddr}` instead of 0x20, 0 and none");
        }
        let from_client = match (kind.as_str(), ciaddr.as_str()) {
            ("1" | "3", "0.0.0.0") => {
                if (broadcast.as_str(), to.as_str()) != ("1", "255.255.255.255") {
                    bail!("a question to {to} whose broadcast flag is {broadcast}");
                }
                kinds.insert(if kind == "1" { "discover" } else { "request" });
                true
            }
            ("3", address) => {
                if address != leased || broadcast != "0" || to == "255.255.255.255" {
                    bail!("a renewal of {address} to {to} whose broadcast flag is {broadcast}");
                }
                kinds.insert("renewal");
                true
            }
            ("2", _) => {
                kinds.insert("offer");
                false
            }
            ("5", _) => {
                kinds.insert("acknowledgement");
                false
            }
            _ => false,
        };
        if from_client {
            let mut pairs = options.split(',').zip(values.split(','));
            let identifier = pairs.find(|(option, _)| *option == "61").map(|(_, value)| value);
            identifiers.insert(identifier.context("a message of the client has no identifier")?.to_owned());
        }
    }
    for kind in ["discover", "offer", "request", "acknowledgement", "renewal"] {
        if !kinds.contains(kind) {
            bail!("no {kind} among {} messages", rows.len());
        }
    }
    // RFC 4361 §6.1: type 255, then an IAID of 4 octets and a DUID.
    match identifiers.iter().collect::<Vec<_>>()[..] {
        [one] if one.starts_with("ff") && one.len() > 14 => Ok(format!("{}...", &one[..14])),
        _ => bail!("identifiers {identifiers:?} instead of one that begins with ff"),
    }
}
