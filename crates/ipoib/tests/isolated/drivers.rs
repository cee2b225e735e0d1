//! F14 to F17 in a lab whose drivers are processes: they are killed, stopped and unplugged under load, and only those
//! who talk to them notice, and only for a while.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    harness::{Lab, PATIENCE, descriptors, eventually, resident},
    streams::Stream,
};

/// A lab starts a driver again after 20 ms; the rest is the machine's.
const BACK: Duration = Duration::from_secs(10);

/// The process of a host's driver.
pub(crate) fn driver(lab: &Lab, host: &str) -> Pid {
    let number = || lab.interface(host, "ib0")["driver"].as_i64();
    let (number, _) = eventually("a driver", BACK, number);
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Waits until a ping is answered; how long that took.
fn back(lab: &Lab, from: &str, to: &str) -> Duration {
    eventually(&format!("{from} reaches {to}"), BACK, || lab.pings(from, to).then_some(())).1
}

/// What an interface is known by, and what a host set itself.
fn identity(lab: &Lab, host: &str) -> (String, String) {
    let address = lab.interface(host, "ib0")["address"].to_string();
    (address, lab.sh(host, "ip -br address show ib0 | tr -s ' ' | cut -d' ' -f1,3-"))
}

#[test]
fn a_killed_driver_comes_back_as_who_it_was_and_streams_go_on() {
    let lab = Lab::start(&["--topology", "star:3"]);
    lab.sh("h2", "ip address add 192.168.7.2/24 dev ib0");
    let before = identity(&lab, "h2");
    let stream = Stream::start(&lab, "h1", "h2", 4);
    for _ in 0..3 {
        let victim = driver(&lab, "h2");
        kill_process(victim, Signal::KILL).unwrap();
        let gone = || (driver(&lab, "h2") != victim).then_some(());
        eventually("another driver", BACK, gone);
        println!("back after {:?}", back(&lab, "h1", "h2"));
        assert!(lab.pings("h1", "h3"), "others do not notice");
    }
    assert!(stream.finish(BACK * 3) > 0);
    assert_eq!(identity(&lab, "h2"), before);
    assert!(lab.said().contains("a driver has ended"), "{}", lab.said());
}

#[test]
fn a_stopped_driver_is_its_own_peers_concern_only() {
    let lab = Lab::start(&["--topology", "star:4"]);
    assert!(lab.pings("h3", "h2"));
    let stopped = driver(&lab, "h2");
    // A stream to it waits; one between others does not.
    let waiting = Stream::start(&lab, "h1", "h2", 6);
    let memory = resident(lab.id());
    kill_process(stopped, Signal::STOP).unwrap();
    let others = Stream::start(&lab, "h3", "h4", 2);
    // What it will not read comes faster than it ever could.
    lab.sh("h3", "ping -q -f -s 60000 -w 2 h2 || true");
    assert!(others.finish(PATIENCE) > 10_000_000, "others do not notice");
    assert!(lab.pings("h1", "h3"));
    let row = lab.interface("h2", "ib0");
    assert!(row["reason"].as_str().is_some_and(|why| why.contains("does not answer")), "{row}");
    assert!(lab.count("h2", "driver", "driver_ring_full") > 0, "{:#?}", lab.show("counters"));
    let grown = resident(lab.id()).saturating_sub(memory);
    assert!(grown < 64 << 10, "queues are bounded: {grown} KiB more");
    kill_process(stopped, Signal::CONT).unwrap();
    let took = back(&lab, "h1", "h2");
    assert!(took < Duration::from_secs(2), "after SIGCONT {took:?}");
    assert!(waiting.finish(BACK * 3) > 0);
    assert_eq!(driver(&lab, "h2"), stopped);
}

#[test]
fn an_unplugged_adapter_takes_the_carrier_along_and_brings_it_back() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let before = (identity(&lab, "h1"), driver(&lab, "h1"));
    lab.fault_host("h1", "unplug");
    let carrier = |wanted: &str| {
        let seen = || (lab.sh("h1", "cat /sys/class/net/ib0/carrier").trim() == wanted).then_some(());
        eventually("the carrier", BACK, seen);
    };
    carrier("0");
    let row = lab.interface("h1", "ib0");
    assert!(row["reason"].as_str().is_some_and(|why| why.contains("no link")), "{row}");
    lab.fault_host("h1", "plug");
    carrier("1");
    back(&lab, "h2", "h1");
    assert_eq!((identity(&lab, "h1"), driver(&lab, "h1")), before);
}

#[test]
fn whoever_is_killed_the_others_keep_their_connections() {
    const HOSTS: u32 = 8;
    const KILLS: u32 = 100;
    let lab = Lab::start(&["--topology", "star:8"]);
    // Two whose drivers live, and a stream between them for all that time.
    let stream = Stream::start(&lab, "h1", "h2", 20);
    let all_pairs: Vec<_> = (1..=HOSTS)
        .map(|host| {
            let others: Vec<_> = (1..=HOSTS).filter(|other| *other != host).collect();
            let pings = others.iter().map(|other| format!("ping -q -i 0.05 -w 20 h{other} >/dev/null & "));
            lab.spawn(&format!("h{host}"), &["sh", "-c", &(pings.collect::<String>() + "wait")])
        })
        .collect();
    let (start, had) = (Instant::now(), descriptors(lab.id()));
    let memory = resident(lab.id());
    let mut killed = 0;
    for n in 0..KILLS {
        let host = format!("h{}", 3 + n % (HOSTS - 2));
        if let Some(number) = lab.interface(&host, "ib0")["driver"].as_i64() {
            let victim = Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
            killed += u32::from(kill_process(victim, Signal::KILL).is_ok());
        }
        thread::sleep(Duration::from_millis(180));
    }
    println!("{killed} drivers killed in {:?}", start.elapsed());
    assert!(killed >= KILLS * 3 / 4, "{killed}");
    assert!(stream.finish(BACK * 4) > 0);
    drop(all_pairs);
    for host in 2..=HOSTS {
        back(&lab, "h1", &format!("h{host}"));
        back(&lab, &format!("h{host}"), "h1");
    }
    let now = || (descriptors(lab.id()) <= had).then_some(());
    eventually("descriptors are where they were", BACK, now);
    let grown = resident(lab.id()).saturating_sub(memory);
    assert!(grown < 32 << 10, "{grown} KiB more");
    lab.end(Signal::INT).exits(0);
}
