//! T18: captures, as tshark reads them.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::super::{
    bench::{Bench, nothing},
    process::{Process, eventually},
};

/// `ipoib capture -w FILE`, while it runs.
#[derive(Debug)]
pub(in super::super) struct Recording {
    process: Process,
    file: String,
}

impl Recording {
    /// Begins; comes back when the first packet would be recorded.
    pub(in super::super) fn start(bench: &Bench<'_>, name: &str, words: &[&str]) -> Result<Self> {
        let file = bench.file(name);
        let process = Process::start(&mut bench.lab()?.ipoib(&[&["capture", "-w", &file], words].concat()))?;
        eventually("the capture begins", Duration::from_secs(20), || {
            if process.has_ended() {
                bail!("{}", process.said().trim());
            }
            Ok(fs::metadata(&file).is_ok_and(|found| found.len() > 0).then_some(()))
        })?;
        Ok(Self { process, file })
    }

    /// Ends it, and checks that nothing was lost; the file.
    pub(in super::super) fn end(self) -> Result<String> {
        self.process.signal(Signal::INT);
        self.process.finish(Duration::from_secs(20))?.ok()?.says(" 0 dropped")?;
        Ok(self.file)
    }
}

/// What tshark says about a file.
fn tshark(bench: &Bench<'_>, file: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", file]).stdin(nothing()).current_dir(bench.dir());
    for protocol in ["ip", "udp", "tcp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    Ok(Process::start(command.args(words))?.finish(Duration::from_secs(60))?.ok()?.stdout)
}

/// Fields of the packets that a filter lets through, a row for each.
pub(in super::super) fn fields(
    bench: &Bench<'_>,
    file: &str,
    filter: &str,
    names: &[&str],
) -> Result<Vec<Vec<String>>> {
    let mut words = vec!["-Y", filter, "-T", "fields"];
    words.extend(names.iter().flat_map(|name| ["-e", name]));
    let said = tshark(bench, file, &words)?;
    Ok(said.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// Packets of which tshark says that something is wrong with them.
const WRONG: &str = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || \
                     udp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0";

/// T18: pings from beginning to end.
pub(in super::super) fn pings(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    bench.sh(client, "ip neigh flush all; ip -6 neigh flush all")?;
    let recording = Recording::start(bench, "pings.pcapng", &[])?;
    let count = bench.choose("3", "20");
    for (family, to) in [("-4", &server.v4), ("-6", &server.v6)] {
        bench.run(client, &["ping", "-n", family, "-c", count, "-i", "0.05", "-W", "2", to], 30)?;
    }
    bench.run(client, &["ping", "-n", "-4", "-c", "1", "-s", "8192", "-W", "2", &server.v4], 30)?;
    let file = recording.end()?;
    let said = tshark(bench, &file, &[])?;
    let (who, is_at) = (format!("Who has {}", server.v4), format!("{} is at", server.v4));
    let words =
        ["Echo (ping) request", "Echo (ping) reply", "Neighbor Solicitation", "Fragmented IP protocol"];
    for word in [&who, &is_at].into_iter().map(String::as_str).chain(words) {
        if !said.contains(word) {
            bail!("no `{word}` among {} packets", said.lines().count());
        }
    }
    let wrong = tshark(bench, &file, &["-Y", WRONG])?;
    if let Some(first) = wrong.lines().next() {
        bail!("{} packets are malformed or have a wrong checksum: {}", wrong.lines().count(), first.trim());
    }
    let arp = fields(bench, &file, "arp", &["arp.hw.type", "arp.hw.size"])?;
    if arp.is_empty() || arp.iter().any(|row| row[..] != ["32", "20"]) {
        bail!("ARP is not as RFC 4391 §9.1.1 has it: {:?}", arp.first());
    }
    Ok(format!("{} packets, none malformed; ARP of hardware type 32", said.lines().count()))
}
