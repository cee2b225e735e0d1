//! The flows of the release notes: one file for each family of programs.

pub(super) mod capture;
pub(super) mod cluster;
pub(super) mod dhcp;
pub(super) mod diags;
pub(super) mod ftp;
pub(super) mod huge;
pub(super) mod inetd;
pub(super) mod iperf;
pub(super) mod netperf;
pub(super) mod netpipe;
pub(super) mod ping;
pub(super) mod ssh;
pub(super) mod stress;
pub(super) mod ttcp;
pub(super) mod web;

use anyhow::{Context, Result};

/// The number that follows `before` in a text, up to the next character that belongs to none.
pub(super) fn number_after(text: &str, before: &str) -> Result<f64> {
    let missing = || format!("no number after `{before}` in `{}`", text.trim());
    let rest = text.split_once(before).with_context(missing)?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().with_context(missing)
}

/// Megabits in words: `980 Mb/s`, `1.9 Gb/s`.
pub(super) fn megabits(rate: f64) -> String {
    if rate >= 1000.0 { format!("{:.1} Gb/s", rate / 1000.0) } else { format!("{rate:.0} Mb/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_what_stands_before_them() {
        assert_eq!(number_after("pkt=8914 data_loss=0.00012", "data_loss=").unwrap(), 0.00012);
        assert_eq!(number_after("Latency is 269.177 usec", "Latency is").unwrap(), 269.177);
        assert!(
            number_after("none", "x=").unwrap_err().to_string().contains("no number after `x=` in `none`")
        );
    }

    #[test]
    fn rates_are_readable() {
        assert_eq!([megabits(12.3), megabits(1930.0)], ["12 Mb/s", "1.9 Gb/s"]);
    }
}
