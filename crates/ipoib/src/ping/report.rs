//! What `ping` prints, in the words of iputils, so that scripts which read those read ours.

use std::{fmt::Write, net::IpAddr, time::Duration};

/// Numbers of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    pub(super) transmitted: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) errors: u64,
    /// Of answers, in microseconds.
    times: Times,
}

#[derive(Clone, Debug, Default)]
struct Times {
    count: u64,
    least: f64,
    most: f64,
    sum: f64,
    squares: f64,
}

impl Statistics {
    /// Counts how long an answer took.
    pub(super) fn took(&mut self, time: Duration) {
        let us = time.as_secs_f64() * 1e6;
        let times = &mut self.times;
        times.least = if times.count == 0 { us } else { times.least.min(us) };
        times.most = times.most.max(us);
        times.count += 1;
        times.sum += us;
        times.squares += us * us;
    }

    /// The longest time so far.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_secs_f64(self.times.most / 1e6)
    }

    /// The lines at the end.
    pub(super) fn summary(&self, host: &str, elapsed: Duration) -> String {
        let mut text = format!("\n--- {host} ping statistics ---\n");
        let _ = write!(text, "{} packets transmitted, {} received, ", self.transmitted, self.received);
        if self.duplicates > 0 {
            let _ = write!(text, "+{} duplicates, ", self.duplicates);
        }
        if self.errors > 0 {
            let _ = write!(text, "+{} errors, ", self.errors);
        }
        if let Some(loss) = self.loss() {
            let _ = write!(text, "{}% packet loss, time {}ms", six_digits(loss), elapsed.as_millis());
        }
        text.push('\n');
        if self.times.count > 0 {
            let Times { least, most, .. } = self.times;
            let (mean, deviation) = self.mean();
            let [least, mean, most, deviation] = [least, mean, most, deviation].map(|us| us / 1e3);
            let _ = writeln!(text, "rtt min/avg/max/mdev = {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms");
        }
        text
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody pings 2^53 times")]
    fn loss(&self) -> Option<f64> {
        let lost = self.transmitted.saturating_sub(self.received);
        (self.transmitted > 0).then(|| lost as f64 * 100.0 / self.transmitted as f64)
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody pings 2^53 times")]
    fn mean(&self) -> (f64, f64) {
        let mean = self.times.sum / self.times.count as f64;
        (mean, (self.times.squares / self.times.count as f64 - mean * mean).max(0.0).sqrt())
    }
}

/// A number in at most six digits, as C prints `%g` between 0 and 100.
fn six_digits(value: f64) -> String {
    let places = if value >= 100.0 {
        3
    } else if value >= 10.0 {
        4
    } else {
        5
    };
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first line.
pub(super) fn opening(host: &str, address: IpAddr, size: usize) -> String {
    let literal = host.parse::<IpAddr>().is_ok();
    match address {
        IpAddr::V4(_) => format!("PING {host} ({address}) {size}({}) bytes of data.\n", size + 28),
        IpAddr::V6(_) if literal => format!("PING {host}({address}) {size} data bytes\n"),
        IpAddr::V6(_) => format!("PING {host}({host} ({address})) {size} data bytes\n"),
    }
}

/// A line about an answer.
pub(super) fn answer(
    from: &str,
    octets: usize,
    sequence: u16,
    ttl: Option<u8>,
    took: Duration,
    again: bool,
) -> String {
    let ttl = ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
    let again = if again { " (DUP!)" } else { "" };
    format!("{octets} bytes from {from}: icmp_seq={sequence}{ttl} time={} ms{again}\n", milliseconds(took))
}

/// Three digits that mean something, as iputils has it.
fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms >= 99.95 => format!("{ms:.0}"),
        _ if ms >= 9.995 => format!("{ms:.1}"),
        _ if ms >= 0.9995 => format!("{ms:.2}"),
        _ => format!("{ms:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_reads_like_that_of_iputils() {
        let mut statistics = Statistics { transmitted: 3, received: 2, errors: 1, ..Statistics::default() };
        statistics.took(Duration::from_micros(40));
        statistics.took(Duration::from_micros(60));
        assert_eq!(
            statistics.summary("h2", Duration::from_millis(2003)),
            "\n--- h2 ping statistics ---\n\
             3 packets transmitted, 2 received, +1 errors, 33.3333% packet loss, time 2003ms\n\
             rtt min/avg/max/mdev = 0.040/0.050/0.060/0.010 ms\n"
        );
        assert_eq!(statistics.longest(), Duration::from_micros(60));
    }

    #[test]
    fn shares_have_no_more_digits_than_they_need() {
        assert_eq!([0.0, 50.0, 100.0, 12.5, 0.1].map(six_digits), ["0", "50", "100", "12.5", "0.1"]);
        assert_eq!(six_digits(200.0 / 3.0), "66.6667");
    }

    #[test]
    fn lines_read_like_those_of_iputils() {
        let v4 = opening("h2", [10, 77, 0, 2].into(), 56);
        assert_eq!(v4, "PING h2 (10.77.0.2) 56(84) bytes of data.\n");
        assert_eq!(
            opening("fd77::2", "fd77::2".parse().unwrap(), 56),
            "PING fd77::2(fd77::2) 56 data bytes\n"
        );
        assert_eq!(
            answer("h2 (10.77.0.2)", 64, 1, Some(64), Duration::from_micros(45), false),
            "64 bytes from h2 (10.77.0.2): icmp_seq=1 ttl=64 time=0.045 ms\n"
        );
        assert_eq!(
            [123_456, 12_345, 1_234, 123].map(|us| milliseconds(Duration::from_micros(us))),
            ["123", "12.3", "1.23", "0.123"]
        );
    }
}
