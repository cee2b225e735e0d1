//! What goes wrong in a fabric, and that traffic comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Lab, PATIENCE, eventually, require},
    streams::Stream,
};

/// Waits until the carrier of a host's ib0 is on or off; how long that took.
fn carrier(lab: &Lab, host: &str, on: bool, within: Duration) -> Duration {
    let wanted = if on { "1\n" } else { "0\n" };
    let what = format!("carrier {}", if on { "on" } else { "off" });
    eventually(&what, within, || (lab.sh(host, "cat /sys/class/net/ib0/carrier") == wanted).then_some(())).1
}

#[test]
fn a_pulled_cable_takes_the_carrier_and_a_stream_survives_it() {
    require(&[("python3", "python3"), ("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let stream = Stream::start(&lab, "h1", "h2", 8);
    thread::sleep(Duration::from_millis(500));
    lab.fault_link(&["sw1:2", "down"]);
    let down = Instant::now();
    println!("carrier off after {:?}", carrier(&lab, "h2", false, Duration::from_secs(1)));
    let row = lab.interface("h2", "ib0");
    assert_eq!(row["state"], "down", "{row:#}");
    assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{row:#}");
    println!("{}", row["reason"]);
    assert!(!lab.pings("h1", "10.77.0.2"));
    let link = lab.show("links").into_iter().find(|row| row["faults"]["down"] == true);
    assert!(link.is_some_and(|row| row["state"] == "down"));
    thread::sleep(Duration::from_secs(5).saturating_sub(down.elapsed()));
    lab.fault_link(&["sw1:2", "up"]);
    println!("carrier on after {:?}", carrier(&lab, "h2", true, Duration::from_secs(2)));
    let ((), took) =
        eventually("h2 answers", Duration::from_secs(2), || lab.pings("h1", "10.77.0.2").then_some(()));
    println!("ping {took:?} after that");
    let bytes = stream.finish(PATIENCE);
    println!("{} MB", bytes >> 20);
}

#[test]
fn a_cut_between_switches_is_routed_around_within_a_second() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&[]);
    for link in ["sw1:3", "sw1:4"] {
        for (from, to) in [("h1", "h3"), ("h2", "h4")] {
            assert!(lab.pings(from, to), "{from} to {to} before");
        }
        let pings = [("h1", "h3"), ("h2", "h4")]
            .map(|(from, to)| lab.spawn(from, &["ping", "-n", "-i", "0.02", "-c", "200", "-W", "1", to]));
        thread::sleep(Duration::from_millis(500));
        lab.fault_link(&[link, "down"]);
        for ping in pings {
            let said = ping.finish(PATIENCE).said();
            let answered =
                said.lines().filter(|line| line.contains("icmp_seq=") && line.contains("time=")).count();
            println!("{link}: {} of 200 lost", 200 - answered);
            assert!(answered >= 150, "away for more than a second: {said}");
            assert!(said.contains("icmp_seq=200 "), "{said}");
        }
        lab.fault_link(&[link, "up"]);
        eventually("the link is active again", PATIENCE, || {
            lab.show("links").iter().all(|row| row["state"] == "active").then_some(())
        });
    }
}

#[test]
fn a_stream_completes_over_a_link_that_loses_a_tenth() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    lab.fault_link(&["sw1:1", "loss", "10%"]);
    let stream = Stream::start(&lab, "h1", "h2", 3);
    println!("{} KB", stream.finish(PATIENCE) >> 10);
    let losses = lab.count("h1", "port 1", "link_loss") + lab.count("sw1", "port 1", "link_loss");
    assert!(losses > 0);
    lab.fault_link(&["sw1:1", "clear"]);
    assert!(lab.pings("h1", "h2"));
}

#[test]
fn a_link_that_flips_bits_never_delivers_a_wrong_byte() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    lab.fault_link(&["sw1:2", "corrupt", "1%"]);
    let streams = [Stream::start(&lab, "h1", "h2", 4), Stream::start(&lab, "h2", "h1", 4)];
    for stream in streams {
        println!("{} KB", stream.finish(PATIENCE) >> 10);
    }
    let bad =
        |node, part| ["bad_vcrc", "bad_icrc"].map(|name| lab.count(node, part, name)).iter().sum::<u64>();
    let (host, switch) = (bad("h2", "port 1"), bad("sw1", "port 2"));
    println!("{host} bad at the host, {switch} at the switch");
    assert!(host > 0 && switch > 0);
    let link = lab.show("links").into_iter().find(|row| row["faults"]["corrupt"] == "1%");
    let link = link.expect("a link with its fault");
    assert!(link["errors_at_a"].as_u64() > Some(0) && link["errors_at_b"].as_u64() > Some(0), "{link:#}");
}

#[test]
fn a_delay_is_seen_by_ping() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    // The shortest: what else the machine does delays some of them.
    let shortest = || {
        let said = lab.exec("h1", &["ping", "-q", "-c", "10", "-i", "0.05", "h2"]).ok();
        let times = said.lines().find_map(|line| line.split_once("mdev = ")).expect("a summary").1;
        times.split('/').next().and_then(|word| word.parse::<f64>().ok()).expect("a time")
    };
    assert!(shortest() < 5.0);
    lab.fault_link(&["sw1:1", "delay", "5ms"]);
    let delayed = shortest();
    println!("{delayed} ms");
    assert!((10.0..25.0).contains(&delayed), "{delayed} ms");
    lab.fault_link(&["sw1:1", "clear"]);
    assert!(shortest() < 5.0);
}

/// All its cables at once: for its peers, a host that is restarted.
#[test]
fn a_host_that_was_unplugged_comes_back_as_itself() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    assert!(lab.pings("h1", "h2"));
    let before = lab.interface("h2", "ib0");
    lab.fault_host("h2", "unplug");
    carrier(&lab, "h2", false, Duration::from_secs(1));
    let row = lab.interface("h2", "ib0");
    assert_ne!(row["state"], "up", "{row:#}");
    assert!(!lab.pings("h1", "10.77.0.2"));
    lab.fault_host("h2", "plug");
    carrier(&lab, "h2", true, Duration::from_secs(2));
    eventually("h2 answers", Duration::from_secs(2), || lab.pings("h1", "10.77.0.2").then_some(()));
    let after = lab.interface("h2", "ib0");
    for name in ["address", "mac", "qpn"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}
