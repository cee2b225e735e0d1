//! F21 and F22: frames that make no sense, and two who claim to be one.
//!
//! What a lab's controls cannot do yet is to put packets on a link: this is what comes from a host.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    super::{bench::Bench, process::eventually},
    links::ACTIVE,
};

/// Sends frames past the host's own network code: each kind, so many times.
const FRAMES: &str = r#"
import socket, struct, sys
name, count = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((name, 0))
own = open('/sys/class/net/%s/address' % name).read().strip()
own = bytes.fromhex(own.replace(':', ''))
all, nobody = b'\xff' * 6, bytes.fromhex('020000000099')
arp = struct.pack('!HHBBH', 1, 0x800, 6, 4, 1)
ip = bytes.fromhex('4500001c000000004011') + b'\0\0' + socket.inet_aton('10.77.0.1') + socket.inet_aton('10.77.0.77') + bytes(8)
frames = {
    'unknown protocol': all + own + b'\x88\xb5' + bytes(50),
    'short ARP': all + own + b'\x08\x06' + arp[:4],
    'ARP of long addresses': all + own + b'\x08\x06' + struct.pack('!HHBBH', 1, 0x800, 20, 4, 1) + bytes(48),
    'unknown peer': nobody + own + b'\x08\x00' + ip,
    'VLAN': all + own + b'\x81\x00\x00\x05\x08\x00' + ip,
}
for frame in frames.values():
    for _ in range(count):
        s.send(frame)
print(len(frames) * count)
"#;

/// Frames of each kind that are sent in one go.
const AT_ONCE: u64 = 20;

/// How each kind is to be counted.
const COUNTED: [(&str, &[&str]); 4] = [
    ("unknown protocols", &["tx_unsupported_protocol"]),
    ("bad ARP", &["tx_bad_arp"]),
    ("unknown peers", &["tx_unknown_peer"]),
    ("VLANs", &["tx_vlan", "tx_unsupported_protocol"]),
];

/// F21: malformed frames are dropped and counted by cause.
pub(in super::super) fn malformed(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let count = |names: &[&str]| -> Result<u64> {
        names.iter().map(|name| lab.count(&client.name, &client.interface, name)).sum()
    };
    let before: Vec<u64> = COUNTED.iter().map(|(_, names)| count(names)).collect::<Result<_>>()?;
    // A few at a time, so that the interface's own queue holds them.
    let times = if bench.is_tricked("silent") { 0 } else { AT_ONCE };
    let rounds = bench.choose(1, 30);
    let mut figures = Vec::new();
    for round in 1..=rounds {
        bench.ok(client, &["python3", "-c", FRAMES, &client.interface, &times.to_string()], 60)?;
        figures.clear();
        for ((what, names), before) in COUNTED.iter().zip(&before) {
            let least = round * AT_ONCE;
            let what_for = format!("{least} {what} are counted as {}", names.join(" or "));
            eventually(&what_for, bench.limit(ACTIVE), || {
                Ok((count(names)? >= before + least).then_some(()))
            })?;
            figures.push(format!("{} {what}", count(names)? - before));
        }
    }
    bench.comes_back(client, &server.v4, ACTIVE)?;
    Ok(format!("counted: {}", figures.join(", ")))
}

/// F22: an address that somebody has.
pub(in super::super) fn duplicate(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    bench.sh(client, &format!("ip -6 address add {}/64 dev {}", server.v6, client.interface))?;
    let flags = || bench.sh(client, &format!("ip -6 address show dev {} to {}", client.interface, server.v6));
    let found = eventually("the kernel finds the IPv6 address taken", bench.limit(ACTIVE), || {
        Ok(flags()?.contains("dadfailed").then_some(()))
    });
    bench.sh(client, &format!("ip -6 address del {}/64 dev {}", server.v6, client.interface))?;
    found?;
    let probe = |address: &str| {
        bench.run(client, &["arping", "-D", "-I", &client.interface, "-c", "2", "-w", "2", address], 20)
    };
    if probe(&server.v4)?.status.success() {
        bail!("arping -D holds {} for free", server.v4);
    }
    if !probe(&bench.nobody()?)?.status.success() {
        bail!("arping -D holds {} for taken", bench.nobody()?);
    }
    bench.comes_back(client, &server.v4, Duration::from_secs(5))?;
    Ok("found by duplicate address detection and by ARP probes; a free one is free".into())
}
