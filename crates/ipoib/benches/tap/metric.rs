//! What is measured, and what is asked of it.

use super::traffic::{Kind, Seen};

/// A figure.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its name, also on the command line.
    pub(crate) name: &'static str,
    /// What it is, with its unit.
    pub(crate) about: &'static str,
    /// The traffic.
    pub(crate) kind: Kind,
    /// Streams of it.
    pub(crate) streams: usize,
    /// Takes the figure from what the serving end and the client saw, and the subject's processor seconds.
    pub(crate) figure: fn(&Sample) -> f64,
    /// False if less is better.
    pub(crate) more_is_better: bool,
}

/// One run of some traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) server: Seen,
    pub(crate) client: Seen,
    pub(crate) subject_cpu: f64,
}

fn rate(seen: &Seen) -> f64 {
    if seen.seconds > 0.0 { seen.count as f64 / seen.seconds } else { 0.0 }
}

fn gigabits(sample: &Sample) -> f64 {
    (rate(&sample.server) + rate(&sample.client)) * 8e-9
}

fn cpu(sample: &Sample) -> f64 {
    let octets = sample.server.total + sample.client.total;
    (sample.server.cpu + sample.client.cpu + sample.subject_cpu) / (octets as f64 * 1e-9)
}

const fn row(
    name: &'static str,
    about: &'static str,
    (kind, streams): (Kind, usize),
    figure: fn(&Sample) -> f64,
) -> Metric {
    Metric { name, about, kind, streams, figure, more_is_better: true }
}

/// All figures. Those with the same traffic come from one run.
pub(crate) const METRICS: [Metric; 9] = [
    row("tcp1", "TCP, 1 stream, Gb/s", (Kind::Stream, 1), gigabits),
    Metric {
        more_is_better: false,
        ..row("cpu", "processor seconds of both ends and all between, per GB of tcp1", (Kind::Stream, 1), cpu)
    },
    row("tcp4", "TCP, 4 streams, Gb/s", (Kind::Stream, 4), gigabits),
    row("tcp2w", "TCP, 1 stream each way at once, Gb/s", (Kind::Both, 1), gigabits),
    row("udp64", "UDP, datagrams of 64 octets received, /s", (Kind::Flood, 1), |s| rate(&s.server)),
    row("tcprr", "TCP, requests and responses of 64 octets, /s", (Kind::TcpRr, 1), |s| rate(&s.client)),
    row("udprr", "UDP, requests and responses of 64 octets, /s", (Kind::UdpRr, 1), |s| rate(&s.client)),
    row("conn", "TCP connections with one request each, /s", (Kind::Connect, 1), |s| rate(&s.client)),
    Metric {
        more_is_better: false,
        ..row("ping", "ICMP echo, median, us", (Kind::Ping, 1), |s| s.client.median_us)
    },
];

/// A ratio that is asked for.
#[derive(Debug)]
pub(crate) struct Target {
    /// Who is to be ...
    pub(crate) subject: &'static str,
    /// ... measured by this ...
    pub(crate) metric: &'static str,
    /// ... against the best of these.
    pub(crate) against: &'static [&'static str],
    /// The least ratio; the greatest where less is better.
    pub(crate) bound: f64,
}

/// True if a target needs this figure.
pub(crate) fn is_asked_for(subject: &str, metric: &str) -> bool {
    let needs = |target: &Target| target.subject == subject || target.against.contains(&subject);
    TARGETS.iter().any(|target| target.metric == metric && needs(target))
}

const COPIERS: &[&str] = &["thr", "ep1"];

const fn target(
    subject: &'static str,
    metric: &'static str,
    against: &'static [&'static str],
    bound: f64,
) -> Target {
    Target { subject, metric, against, bound }
}

/// The ratios that this project wants to hold, on two processors.
pub(crate) const TARGETS: [Target; 11] = [
    target("lab", "tcp1", COPIERS, 0.95),
    target("lab", "tcp4", COPIERS, 0.95),
    target("lab", "tcp2w", COPIERS, 0.95),
    target("lab", "udp64", &["veth"], 1.5),
    target("lab", "tcprr", COPIERS, 0.95),
    target("lab", "udprr", COPIERS, 0.95),
    target("lab-spin", "tcprr", &["spin"], 0.95),
    target("lab-spin", "udprr", &["spin"], 0.95),
    target("lab", "ping", &["ep1"], 1.15),
    target("isolate", "tcp1", &["shm2"], 0.95),
    target("udp", "tcp1", &["veth-plain"], 1.0),
];
