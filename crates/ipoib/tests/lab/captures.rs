//! What a capture holds, and who may ask for one.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::{
    harness::{
        Lab, PATIENCE, Running, TempDir, eventually, new_name, require, run,
        tshark::{fields, tshark},
    },
    streams::Stream,
};

/// Whatever the filter names: there must be none.
#[track_caller]
fn nothing_wrong(file: &str) {
    let filter = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 \
                  || icmp.checksum.status == 0 || icmpv6.checksum.status == 0";
    let wrong = tshark(file, &["-Y", filter]);
    let shown: Vec<_> = wrong.lines().take(10).collect();
    assert!(wrong.is_empty(), "{} packets: {shown:#?}", wrong.lines().count());
}

#[test]
fn a_capture_of_the_bring_up_tells_the_whole_story() {
    let dir = TempDir::new();
    let file = dir.file("lab.pcapng");
    let lab = Lab::start(&["--capture", &file]);
    lab.exec("h1", &["ping", "-4", "-c", "2", "-i", "0.2", "h3"]).ok();
    lab.exec("h1", &["ping", "-6", "-c", "2", "-i", "0.2", "h3"]).ok();
    lab.exec("h1", &["ping", "-4", "-c", "1", "-s", "8192", "h3"]).ok();
    lab.end(Signal::TERM).exits(0);

    nothing_wrong(&file);
    let said = tshark(&file, &[]);
    let kinds: BTreeSet<_> =
        fields(&file, "infiniband", &["_ws.col.Protocol"]).into_iter().flatten().collect();
    println!("{kinds:?}, {} packets", said.lines().count());
    for word in [
        "SubnGet(NodeInfo)",
        "SubnSet(PortInfo)",
        "SubnSet(LinearForwardingTable)",
        "MCMemberRecord",
        "PathRecord",
        "Who has 10.77.0.3",
        "10.77.0.3 is at",
        "Echo (ping) request",
        "Echo (ping) reply",
        "Neighbor Solicitation for fd77::3",
        "Neighbor Advertisement fd77::3",
        "Fragmented IP protocol",
    ] {
        assert!(said.contains(word), "no {word} among {} packets", said.lines().count());
    }
    // ARP as it is on InfiniBand: hardware type 32, addresses of 20 octets.
    let arp = fields(&file, "arp", &["arp.hw.type", "arp.hw.size"]);
    assert!(!arp.is_empty() && arp.iter().all(|row| row[..] == ["32", "20"]), "{arp:?}");
}

#[test]
fn a_capture_records_the_links_that_were_asked_for() {
    let dir = TempDir::new();
    let lab = Lab::start(&[]);
    let [all, link, host] = ["all", "link", "host"].map(|name| dir.file(name));
    let captures = [
        lab.capture(all.as_ref(), &[]),
        lab.capture(link.as_ref(), &["--link", "sw1:1"]),
        lab.capture(host.as_ref(), &["--host", "h4"]),
    ];
    lab.exec("h1", &["ping", "-4", "-c", "3", "-i", "0.2", "h2"]).ok();
    for capture in captures {
        capture.signal(Signal::INT);
        capture.finish(PATIENCE).exits(0).says(&["packets recorded", "0 dropped"]);
    }
    let echoes = |file: &str| fields(file, "icmp", &["ip.src", "frame.interface_name"]);
    // Two links on the way, one of them to the first host, none to the last.
    assert_eq!(echoes(&all).len(), 12);
    assert_eq!(echoes(&link).len(), 6);
    assert!(echoes(&link).iter().all(|row| row[1].contains("sw1")), "{:?}", echoes(&link));
    assert_eq!(echoes(&host).len(), 0);
    nothing_wrong(&all);

    // Nothing is lost to a capture that cannot begin; one that does leaves nothing of the one before.
    let before = std::fs::metadata(&all).unwrap().len();
    let wrong = run(&mut lab.ipoib("capture", &["-w", &all, "--link", "sw9:1"]), PATIENCE);
    wrong.exits(2).says(&["sw9:1"]);
    assert_eq!(std::fs::metadata(&all).unwrap().len(), before);
    let again = lab.capture(all.as_ref(), &["--host", "h4"]);
    again.signal(Signal::INT);
    again.finish(PATIENCE).exits(0);
    assert!(std::fs::metadata(&all).unwrap().len() < before);
    nothing_wrong(&all);
}

#[test]
fn a_capture_can_be_piped_into_tshark() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let mut capture =
        lab.ipoib("capture", &["-w", "-"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let packets = capture.stdout.take().unwrap();
    let mut reader = Running::start_reading(
        Command::new("tshark").args(["-n", "-l", "-r", "-", "-Y", "icmp"]).stdin(packets),
    );
    let pinger = lab.spawn("h1", &["ping", "-4", "-i", "0.2", "h2"]);
    reader.wait_for("Echo (ping) reply", PATIENCE);
    drop(pinger);
    drop(reader);
    // Nobody reads any more: it ends at the next packet, and the lab goes on.
    assert!(lab.pings("h1", "h2"));
    eventually("the capture ends", PATIENCE, || capture.try_wait().unwrap());
    assert!(lab.pings("h1", "h2"));
}

#[test]
fn traffic_goes_on_under_a_capture_and_its_packets_are_sound() {
    require(&[("python3", "python3")]);
    let dir = TempDir::new();
    let file = dir.file(&new_name());
    let lab = Lab::start(&["--topology", "star:2"]);
    let capture = lab.capture(file.as_ref(), &["--link", "sw1:2"]);
    let bytes = Stream::start(&lab, "h1", "h2", 1).finish(PATIENCE);
    capture.signal(Signal::INT);
    let summary = capture.finish(PATIENCE);
    println!("{} MB; {}", bytes >> 20, summary.said().trim());
    assert!(bytes > 1 << 20);
    // What a link carries is at most the MTU, whatever the host handed over: as many packets as the first seconds of
    // the stream have are enough to read.
    let packets = tshark(&file, &["-c", "8000", "-T", "fields", "-e", "frame.len", "-Y", "tcp"]);
    let longest = packets.lines().filter_map(|line| line.parse::<u32>().ok()).max();
    assert!(longest.is_some_and(|len| (2000..2200).contains(&len)), "{longest:?}");
    let wrong = tshark(
        &file,
        &["-c", "8000", "-Y", "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0"],
    );
    assert!(wrong.is_empty(), "{}", wrong.lines().take(5).collect::<Vec<_>>().join("\n"));
}
