//! Asking, listening, and knowing when to end.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    args::PingArgs,
    echo::{self, Protocol},
    report::{self, Statistics},
};
use crate::os::{
    icmp::{Arrival, IcmpSocket, Refusal},
    signals::Signals,
};

/// One run of `ping`.
pub(super) struct Ping {
    args: PingArgs,
    socket: IcmpSocket,
    to: SocketAddr,
    protocol: Protocol,
    identifier: u16,
    /// When each question of which no answer came yet was sent; of those before, only that there was an answer.
    asked: HashMap<u16, (Instant, bool)>,
    sequence: u16,
    statistics: Statistics,
    begun: Instant,
    buffer: Vec<u8>,
}

impl Ping {
    /// Finds the host and opens a socket.
    pub(super) fn new(args: PingArgs) -> Result<Self> {
        let to = resolve(&args)?;
        let protocol = if to.is_ipv6() { Protocol::Icmp6 } else { Protocol::Icmp };
        let socket = IcmpSocket::open(to.is_ipv6()).context("socket")?;
        match args.from.as_deref() {
            None => reachable(to)?,
            Some(from) => match from.parse::<IpAddr>() {
                Ok(address) => socket.bind_address(address).with_context(|| format!("bind: {from}"))?,
                Err(_) => socket.bind_interface(from).with_context(|| format!("-I {from}"))?,
            },
        }
        if let Some(hint) = args.fragmentation {
            socket.set_fragmentation(hint.into()).context("-M")?;
        }
        let identifier = std::process::id().to_le_bytes();
        Ok(Self {
            args,
            socket,
            to,
            protocol,
            identifier: u16::from_le_bytes([identifier[0], identifier[1]]),
            asked: HashMap::new(),
            sequence: 0,
            statistics: Statistics::default(),
            begun: Instant::now(),
            buffer: vec![0; 1 << 17],
        })
    }

    /// Asks until there is no more to ask; true if there was an answer.
    pub(super) fn run(mut self, signals: &Signals) -> Result<bool> {
        let size = usize::from(self.args.size);
        say(&report::opening(&self.args.host, self.to.ip(), size))?;
        let mut next = self.begun;
        loop {
            let now = Instant::now();
            if !self.has_asked_all() && now >= next {
                self.ask(now)?;
                next += self.args.interval.max(SHORTEST_INTERVAL);
            }
            let Some(until) = self.until(next) else { break };
            if now >= until && self.is_over(now) {
                break;
            }
            if self.wait(until, signals)? {
                break;
            }
            while self.hear()? {}
        }
        say(&self.statistics.summary(&self.args.host, self.begun.elapsed()))?;
        let enough =
            self.args.deadline.is_none() || self.args.count.is_none_or(|n| self.statistics.received >= n);
        Ok(self.statistics.received > 0 && enough)
    }

    fn has_asked_all(&self) -> bool {
        self.args.count.is_some_and(|count| self.statistics.transmitted >= count)
    }

    /// The moment up to which there is something to wait for; none if everything is answered.
    fn until(&self, next: Instant) -> Option<Instant> {
        let deadline = self.args.deadline.map(|deadline| self.begun + deadline);
        let own = if self.has_asked_all() {
            let settled = self.statistics.received + self.statistics.errors;
            if settled >= self.statistics.transmitted {
                return None;
            }
            next - self.args.interval.max(SHORTEST_INTERVAL) + self.patience()
        } else {
            next
        };
        Some(deadline.map_or(own, |deadline| deadline.min(own)))
    }

    /// How long after the last question an answer may come.
    fn patience(&self) -> Duration {
        if self.statistics.received > 0 {
            // A busy machine may need longer for one answer than for all before it.
            (self.statistics.longest() * 2).max(self.args.interval).max(self.args.wait.min(LEAST_PATIENCE))
        } else {
            self.args.wait
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.has_asked_all() || self.args.deadline.is_some_and(|deadline| now >= self.begun + deadline)
    }

    fn ask(&mut self, now: Instant) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let size = usize::from(self.args.size);
        let message = echo::request(self.protocol, self.identifier, self.sequence, size);
        self.statistics.transmitted += 1;
        self.asked.insert(self.sequence, (now, false));
        match self.socket.send(&message, self.to) {
            Ok(()) => Ok(()),
            // The kernel's own refusals also wait to be received, with their reason.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMSGSIZE)) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EHOSTUNREACH | libc::ECONNREFUSED)) => {
                Ok(())
            }
            Err(error) => {
                self.statistics.errors += 1;
                eprintln!("ping: sendmsg: {}", reason(&error));
                Ok(())
            }
        }
    }

    /// Waits for something to hear; true if the user has enough.
    fn wait(&self, until: Instant, signals: &Signals) -> Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error)).context("poll"),
        }
        // A child's end is none of ours: whichever signal comes, it is time to go.
        Ok(signals.read().context("signals")?.is_some())
    }

    /// Takes in one message; false if there is none.
    fn hear(&mut self) -> Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let heard = self.socket.receive(&mut buffer);
        let result = match heard {
            Ok(None) => Ok(false),
            Ok(Some(Arrival::Message { from, ttl, len })) => {
                self.answered(from, ttl, &buffer[..len]).map(|()| true)
            }
            Ok(Some(Arrival::Refused(refusal))) => {
                self.refused(&refusal, &buffer[..refusal.len]).map(|()| true)
            }
            // The reason stands in the queue of refusals, and was or will be told.
            Err(error) if error.raw_os_error().is_some_and(is_refusal) => Ok(true),
            Err(error) => Err(error).context("recvmsg"),
        };
        self.buffer = buffer;
        result
    }

    fn answered(&mut self, from: IpAddr, ttl: Option<u8>, message: &[u8]) -> Result<()> {
        let Some((identifier, sequence)) = echo::reply(self.protocol, message) else { return Ok(()) };
        // The kernel sorts by identifier, unless it gives us everything.
        if self.socket.is_raw() && identifier != self.identifier {
            return Ok(());
        }
        let Some((asked, had)) = self.asked.get_mut(&sequence) else { return Ok(()) };
        let (took, again) = (asked.elapsed(), *had);
        *had = true;
        if again {
            self.statistics.duplicates += 1;
        } else {
            self.statistics.received += 1;
        }
        self.statistics.took(took);
        self.asked.retain(|old, _| {
            sequence.wrapping_sub(*old) < REMEMBERED || old.wrapping_sub(sequence) < REMEMBERED
        });
        if self.args.quiet {
            return Ok(());
        }
        say(&report::answer(&self.called(from), message.len(), sequence, ttl, took, again))
    }

    fn refused(&mut self, refusal: &Refusal, message: &[u8]) -> Result<()> {
        let returned = echo::returned(self.protocol, message);
        if self.socket.is_raw() && returned.is_some_and(|(identifier, _)| identifier != self.identifier) {
            return Ok(());
        }
        self.statistics.errors += 1;
        if self.args.quiet {
            return Ok(());
        }
        match (refusal.from, refusal.icmp) {
            (Some(from), Some(icmp)) => {
                let sequence = returned.map_or(self.sequence, |(_, sequence)| sequence);
                let meaning = echo::meaning(self.protocol, icmp, refusal.mtu);
                say(&format!("From {} icmp_seq={sequence} {meaning}\n", self.called(from)))
            }
            _ if refusal.errno == libc::EMSGSIZE => {
                eprintln!("ping: local error: message too long, mtu={}", refusal.mtu);
                Ok(())
            }
            _ => {
                eprintln!("ping: local error: {}", reason(&io::Error::from_raw_os_error(refusal.errno)));
                Ok(())
            }
        }
    }

    /// A host as the user called it, if it is the one.
    fn called(&self, address: IpAddr) -> String {
        if address == self.to.ip() && self.args.host.parse::<IpAddr>().is_err() {
            return format!("{} ({address})", self.args.host);
        }
        address.to_string()
    }
}

/// The first address of the host that is of the family asked for.
fn resolve(args: &PingArgs) -> Result<SocketAddr> {
    let host = &args.host;
    let found = (host.as_str(), 0).to_socket_addrs();
    let mut found = found.map_err(|error| match error.raw_os_error() {
        Some(_) => anyhow!(error).context(host.clone()),
        None => anyhow!("{host}: Name or service not known"),
    })?;
    let wanted = |address: &SocketAddr| !(args.v4 && address.is_ipv6() || args.v6 && address.is_ipv4());
    found.find(wanted).with_context(|| format!("{host}: Address family for hostname not supported"))
}

/// Without a way there, nothing is worth trying.
fn reachable(to: SocketAddr) -> Result<()> {
    let any: SocketAddr = if to.is_ipv6() { ([0u16; 8], 0).into() } else { ([0u8; 4], 0).into() };
    let mut there = to;
    there.set_port(PROBE_PORT);
    // No packet is sent: the kernel only looks for a route.
    match UdpSocket::bind(any).and_then(|socket| socket.connect(there)) {
        Ok(()) => Ok(()),
        Err(error) => bail!("connect: {}", reason(&error)),
    }
}

/// The reason without Rust's number behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn is_refusal(errno: i32) -> bool {
    matches!(
        errno,
        libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ECONNREFUSED
            | libc::EMSGSIZE
            | libc::EPROTO
            | libc::EACCES
    )
}

/// Prints at once: somebody may be watching through a pipe.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")
}

/// Questions whose answers are known, if they come late or twice.
const REMEMBERED: u16 = 4096;
const LEAST_PATIENCE: Duration = Duration::from_secs(1);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
const PROBE_PORT: u16 = 1025;
