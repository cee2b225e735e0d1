//! A hundred times somebody is killed, a driver or the fabric itself, and started again, as a service manager would.

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    apart,
    harness::{Beside, Lab, Netns, PATIENCE, Running, descriptors, eventually, ipoib, new_name, resident},
    streams::{STREAM, Stream},
};

const HOSTS: u8 = 6;
/// Drivers of the first hosts live; each sends a stream to the next of them.
const SURVIVORS: u8 = 3;
const KILLS: u32 = 100;
const PACE: Duration = Duration::from_millis(200);
/// Streams last as long as all that, in seconds.
const LENGTH: u32 = 22;
/// As long as a driver or a host may look for somebody who has been away.
const BACK: Duration = Duration::from_secs(20);

/// The same in every run of one seed.
struct Chance(u64);

impl Chance {
    /// Says its seed, which IPOIB_TEST_SEED may set.
    fn new() -> Self {
        let any = || RandomState::new().build_hasher().finish();
        let seed = env::var("IPOIB_TEST_SEED").ok().map_or_else(any, |text| text.parse().unwrap());
        println!("IPOIB_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn fabric(name: &str) -> Command {
    ipoib(["fabric", "run", &format!("star:{HOSTS}"), "--name", name])
}

fn driver(lab: &Lab, n: u8, netns: &Netns) -> Running {
    apart::driver(lab.name(), n, netns, &["--wait"])
}

/// A stream that leaves the machine to others for most of the time.
fn stream(lab: &Lab, from: &str, to: &str) -> Stream {
    let mut receiver = lab.python(to, STREAM, &["receive"]);
    receiver.wait_for("listening", PATIENCE);
    let mut sender = lab.python(from, STREAM, &["send", to, &LENGTH.to_string(), "0.01"]);
    sender.wait_for("sending", PATIENCE);
    Stream { sender, receiver }
}

/// What a host has set itself, and what its interface is known by.
fn identities(lab: &Lab) -> Vec<String> {
    let look = "ip -o -4 address show ib0; cat /sys/class/net/ib0/ifalias /sys/class/net/ib0/address";
    (1..=HOSTS).map(|n| lab.sh(&format!("h{n}"), look)).collect()
}

fn all_pairs(mut each: impl FnMut(u8, u8)) {
    for from in 1..=HOSTS {
        (1..=HOSTS).filter(|to| *to != from).for_each(|to| each(from, to));
    }
}

/// Waits until every host reaches every other.
fn everybody_answers(lab: &Lab) {
    all_pairs(|from, to| {
        let (from, to) = (format!("h{from}"), format!("10.77.0.{to}"));
        eventually(&format!("{from} reaches {to}"), BACK, || lab.pings(&from, &to).then_some(()));
    });
}

#[test]
fn a_hundred_killings_of_drivers_and_of_the_fabric_harm_no_connection_of_others() {
    let (name, mut chance) = (new_name(), Chance::new());
    let hosts: Vec<Netns> = (0..HOSTS).map(|_| Netns::new()).collect();
    let text: String = (1..=HOSTS).map(|n| format!("10.77.0.{n} h{n}\n")).collect();
    hosts.iter().for_each(|netns| netns.write_hosts(&text));
    let hosts = (1..=HOSTS).map(|n| format!("h{n}")).zip(hosts).collect();
    let mut lab = Lab::with(name.clone(), &mut fabric(&name)).beside(Beside { hosts, ..Beside::default() });
    lab.wait_until_up();
    let start = |lab: &Lab, n: u8| driver(lab, n, lab.host(&format!("h{n}")));
    let mut drivers: Vec<Running> = (1..=HOSTS).map(|n| start(&lab, n)).collect();
    everybody_answers(&lab);
    let before = identities(&lab);

    let pings: Vec<Running> = (1..=HOSTS)
        .map(|host| {
            let others = (1..=HOSTS).filter(|other| *other != host);
            let words = others.map(|to| format!("ping -q -i 0.05 10.77.0.{to} >/dev/null & "));
            lab.spawn(&format!("h{host}"), &["sh", "-c", &(words.collect::<String>() + "wait")])
        })
        .collect();
    let streams: Vec<Stream> =
        (1..=SURVIVORS).map(|n| stream(&lab, &format!("h{n}"), &format!("h{}", n % SURVIVORS + 1))).collect();
    thread::sleep(Duration::from_millis(500));
    let survivors: Vec<u32> = drivers[..usize::from(SURVIVORS)].iter().map(Running::id).collect();
    let sizes = || survivors.iter().map(|process| (descriptors(*process), resident(*process)));
    let at_first: Vec<_> = sizes().collect();

    let (begin, mut fabrics) = (Instant::now(), 0);
    for nth in 0..KILLS {
        thread::sleep((PACE * nth).saturating_sub(begin.elapsed()));
        match chance.below(u64::from(HOSTS - SURVIVORS) + 1) {
            0 => {
                lab.replace(&mut fabric(&name));
                fabrics += 1;
            }
            victim => {
                let n = SURVIVORS + u8::try_from(victim).unwrap();
                // The old one is killed before the new one is there.
                drop(drivers.remove(usize::from(n) - 1));
                drivers.insert(usize::from(n) - 1, start(&lab, n));
            }
        }
    }
    println!("{fabrics} fabrics and {} drivers killed in {:?}", KILLS - fabrics, begin.elapsed());
    assert!(fabrics > 0 && fabrics < KILLS, "{fabrics}");

    for stream in streams {
        let bytes = stream.finish(PATIENCE);
        println!("{} MB", bytes >> 20);
        assert!(bytes > 1 << 20, "{bytes}");
    }
    drop(pings);
    everybody_answers(&lab);
    assert_eq!(identities(&lab), before);
    for (driver, (process, (had, memory))) in drivers.iter_mut().zip(survivors.iter().zip(at_first)) {
        assert!(!driver.has_ended(), "{driver:?}");
        let now = || (descriptors(*process) <= had).then_some(());
        eventually("descriptors are where they were", BACK, now);
        let grown = resident(*process).saturating_sub(memory);
        println!("{had} descriptors, {memory} KiB and {grown} more");
        assert!(grown < 8 << 10, "{grown} KiB more");
    }
    for driver in drivers {
        driver.signal(Signal::TERM);
        driver.finish(PATIENCE).exits(0);
    }
    lab.end(Signal::INT).exits(0);
}
