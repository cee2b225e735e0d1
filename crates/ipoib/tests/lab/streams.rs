//! Streams of TCP and UDP, and files, which arrive as they were sent.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Lab, PATIENCE, Running, TempDir, require};

/// Sends what chance gives for a time, or receives it; either says how much it was and its hash.
pub(crate) const STREAM: &str = include_str!("stream.py");

/// A stream from one host to another; `finish` compares what was sent with what came.
pub(crate) struct Stream {
    pub(crate) sender: Running,
    pub(crate) receiver: Running,
}

impl Stream {
    pub(crate) fn start(lab: &Lab, from: &str, to: &str, seconds: u32) -> Self {
        let mut receiver = lab.python(to, STREAM, &["receive"]);
        receiver.wait_for("listening", PATIENCE);
        let mut sender = lab.python(from, STREAM, &["send", to, &seconds.to_string()]);
        sender.wait_for("sending", PATIENCE);
        Self { sender, receiver }
    }

    /// Waits for its end. Bytes that arrived, which are those that were sent.
    #[track_caller]
    pub(crate) fn finish(self, within: Duration) -> u64 {
        let sent = self.sender.finish(within).ok();
        let received = self.receiver.finish(PATIENCE).ok();
        let (sent, received) =
            (sent.lines().last().unwrap_or_default(), received.lines().last().unwrap_or_default());
        assert_eq!(sent, received, "bytes and hash, sent and received");
        let bytes = received.split_whitespace().next().and_then(|word| word.parse().ok());
        bytes.unwrap_or_else(|| panic!("no number: {received}"))
    }
}

fn iperf(lab: &Lab, words: &[&str]) -> Value {
    let _server = lab.serve("h2", 5201, &["iperf3", "-s", "-1"]);
    let client = [&["iperf3", "-c", "h2", "-J", "-t", "2"], words].concat();
    let said = lab.exec("h1", &client).ok();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn iperf3_runs_both_ways_at_once() {
    require(&[("iperf3", "iperf3"), ("ss", "iproute2")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    for words in [&["--bidir", "-P", "4"][..], &["-6", "--bidir", "-P", "4"]] {
        let result = iperf(&lab, words);
        for way in ["sum_received", "sum_received_bidir_reverse"] {
            let rate = result["end"][way]["bits_per_second"].as_f64().unwrap_or_default();
            println!("{words:?} {way}: {:.0} Mb/s", rate / 1e6);
            assert!(rate > 1e6, "{words:?} {way}: {:#}", result["end"]);
        }
    }
    let result = iperf(&lab, &["--bidir", "-P", "4", "-u", "-b", "20M", "-l", "1400"]);
    for way in ["sum", "sum_bidir_reverse"] {
        let sum = &result["end"][way];
        println!("UDP {way}: {} of {} lost", sum["lost_packets"], sum["packets"]);
        assert!(sum["packets"].as_u64() > Some(1000), "{way}: {:#}", result["end"]);
        assert!(sum["lost_percent"].as_f64() < Some(5.0), "{way}: {sum:#}");
    }
}

#[test]
fn a_file_fetched_with_wget_is_the_same() {
    require(&[("wget", "wget"), ("python3", "python3"), ("ss", "iproute2")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let dir = TempDir::new();
    // Neither repeats nor compresses, and is the same in every run.
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).to_le_bytes()
    });
    let bytes: Vec<u8> = words.take(64 << 17).flatten().collect();
    dir.write("file", &bytes);
    let directory = dir.path().to_str().unwrap();
    let _server =
        lab.serve("h2", 8000, &["python3", "-m", "http.server", "-b", "::", "-d", directory, "8000"]);
    for (name, url) in [("v4", "http://10.77.0.2:8000/file"), ("v6", "http://[fd77::2]:8000/file")] {
        lab.exec("h1", &["wget", "-q", "-O", &dir.file(name), url]).ok();
        assert!(fs::read(dir.file(name)).unwrap() == bytes, "{name}: another file came");
    }
}

/// Every flush makes the kernel ask again, and the driver forget whom it knew.
#[test]
fn flushing_the_neighbors_under_load_loses_no_connection() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let streams = [Stream::start(&lab, "h1", "h2", 5), Stream::start(&lab, "h2", "h1", 5)];
    let flush = "while true; do ip neigh flush all; ip -6 neigh flush all; sleep 0.05; done";
    let flushers = ["h1", "h2"].map(|host| lab.spawn(host, &["sh", "-c", flush]));
    for stream in streams {
        let bytes = stream.finish(PATIENCE);
        println!("{} MB", bytes >> 20);
        assert!(bytes > 1 << 20, "{bytes}");
    }
    drop(flushers);
    assert!(lab.pings("h1", "h2"));
}

/// The lab stands still, as after Ctrl-Z: its hosts see loss, and go on when it does.
#[test]
fn a_lab_that_was_stopped_for_a_while_goes_on() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let stream = Stream::start(&lab, "h1", "h2", 5);
    lab.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(2));
    lab.signal(Signal::CONT);
    assert!(stream.finish(PATIENCE) > 1 << 20);
    assert!(lab.pings("h2", "h1"));
}
