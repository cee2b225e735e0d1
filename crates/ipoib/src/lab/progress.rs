//! How far a lab has come, on stderr: a bar on a terminal, lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Labs of fewer hosts come up before a bar could be read.
const WORTH_A_BAR: usize = 32;

/// The progress of one lab.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    has_hosts: bool,
    name: String,
    summary: String,
}

impl Progress {
    /// A lab called `name`, described by `summary`.
    pub(super) fn new(verbosity: u8, has_hosts: bool, name: &str, summary: &str) -> Self {
        let quiet = verbosity == 0;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{msg:>14} [{bar:30}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, quiet, has_hosts, name: name.to_owned(), summary: summary.to_owned() }
    }

    /// `n` of `all` hosts are made.
    pub(super) fn hosts(&self, n: usize, all: usize) {
        self.show("hosts", n, all);
    }

    /// The kernel has room for `most` neighbours, those of all hosts together.
    pub(super) fn neighbors(&self, hosts: usize, most: u64) {
        let pairs = u64::try_from(hosts * hosts.saturating_sub(1)).unwrap_or(u64::MAX);
        if !self.quiet && pairs > most {
            eprintln!(
                "ipoib: the kernel knows {most} neighbours at a time, of all hosts together: if more of these {pairs} \
                 pairs talk at once, pings end with `No buffer space available`: `sysctl -w \
                 net.ipv4.neigh.default.gc_thresh3={pairs}` makes room, and net.ipv6 likewise"
            );
        }
    }

    /// `n` of `all` interfaces have their carrier.
    pub(super) fn carriers(&self, n: usize, all: usize) {
        self.show("carriers", n, all);
    }

    /// Everything is up.
    pub(super) fn up(&self, took: Duration, command: bool) {
        self.bar.finish_and_clear();
        if self.quiet {
            return;
        }
        let (name, summary, ms) = (&self.name, &self.summary, took.as_millis());
        let (what, hint) = match self.has_hosts {
            true => ("lab", "`ipoib exec h1 -- ping h2` or `ipoib show hosts`"),
            false => ("fabric", "`ipoib exec h1 -- ibnetdiscover` or `ipoib show links`"),
        };
        eprintln!("ipoib: {what} {name}: {summary}, up in {ms} ms");
        if !command {
            eprintln!("ipoib: try {hint}; end it with Ctrl-C");
        }
    }

    fn show(&self, what: &'static str, n: usize, all: usize) {
        if self.quiet || all < WORTH_A_BAR {
            return;
        }
        self.bar.set_message(what);
        self.bar.set_length(all as u64);
        self.bar.set_position(n as u64);
    }
}
