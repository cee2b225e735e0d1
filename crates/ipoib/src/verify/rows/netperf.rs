//! T2: netperf where it is installed; iperf3 and sockperf everywhere.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    super::{bench::Bench, lab::Host, process::Process},
    megabits, number_after,
};

const CONTROL: u16 = 12865;
const IPERF3: u16 = 5201;
const SOCKPERF: u16 = 11111;

/// The figure of netperf: the last number of the last line that is more than two sizes of sockets.
fn figure(said: &str) -> Result<f64> {
    let numbers =
        |line: &str| line.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>();
    let mut lines = said.lines().rev().filter_map(numbers);
    let line = lines.find(|numbers| numbers.len() > 2);
    line.and_then(|numbers| numbers.last().copied())
        .with_context(|| format!("no figure in `{}`", said.trim()))
}

/// T2: streams with several sizes, requests with and without connections.
pub(in super::super) fn netperf(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let _server = bench.serve(server, ("tcp", CONTROL), &["netserver", "-4", "-D"])?;
    let seconds = bench.choose("1", "5");
    let run = |test: &str, more: &[&str]| {
        let words = ["netperf", "-P", "0", "-n", "2", "-H", &server.v4, "-l", seconds, "-t", test];
        let figure = figure(&bench.ok(client, &[&words, more].concat(), 40)?)?;
        if figure <= 0.0 {
            bail!("{test} {}: nothing came", more.join(" "));
        }
        anyhow::Ok(figure)
    };
    let mut figures = Vec::new();
    for size in ["64", "1024", "8192", "65536"] {
        figures.push(format!("{size} B {}", megabits(run("TCP_STREAM", &["--", "-m", size, "-M", size])?)));
    }
    run("UDP_STREAM", &["--", "-m", "1400", "-R", "1"])?;
    for test in ["TCP_RR", "UDP_RR", "TCP_CRR"] {
        figures.push(format!("{test} {:.0}/s", run(test, &[])?));
    }
    Ok(figures.join(", "))
}

/// Rate of an iperf3 client, in megabits a second.
fn rate(said: &str, way: &str) -> Result<f64> {
    let result: Value = serde_json::from_str(said).with_context(|| format!("iperf3: {}", said.trim()))?;
    let rate = result["end"][way]["bits_per_second"].as_f64().with_context(|| format!("iperf3: no {way}"))?;
    Ok(rate / 1e6)
}

/// T2b: many to one, and how that compares with one to one.
pub(in super::super) fn many_to_one(bench: &mut Bench<'_>) -> Result<String> {
    let clients = bench.lab()?.hosts.len() - 1;
    let mut best = [0.0, 1.0];
    // Where others work too, the two do not get the same share of the machine: the best of a few says what the lab can.
    for _ in 0..TRIES {
        let [sum, alone] = sum_and_alone(bench)?;
        if sum / alone > best[0] / best[1] {
            best = [sum, alone];
        }
        // One second says little of the ratio.
        if !bench.form.full || best[0] / best[1] >= LEAST_SHARE {
            return Ok(format!("{clients} to one {}, one to one {}", megabits(best[0]), megabits(best[1])));
        }
    }
    bail!("together {}, alone {}, at best of {TRIES} tries", megabits(best[0]), megabits(best[1]))
}

/// Megabits a second that many have together, and that one has alone.
fn sum_and_alone(bench: &Bench<'_>) -> Result<[f64; 2]> {
    let (hosts, server) = (&bench.lab()?.hosts, bench.server()?);
    let clients: &[Host] = &hosts[..hosts.len() - 1];
    let seconds = bench.choose("1", "5");
    let client = |host: &Host, port: u16| -> Result<Process> {
        let port = port.to_string();
        let words =
            ["iperf3", "-J", "-c", &server.v4, "-p", &port, "-t", seconds, "--connect-timeout", "3000"];
        bench.spawn(host, &words)
    };
    let listener =
        |port: u16| bench.serve(server, ("tcp", port), &["iperf3", "-s", "-1", "-p", &port.to_string()]);
    let patience = bench.limit(Duration::from_secs(60));
    let alone = {
        let _listener = listener(IPERF3)?;
        rate(&client(&clients[0], IPERF3)?.finish(patience)?.ok()?.stdout, "sum_received")?
    };
    let mut listeners = Vec::new();
    let mut ports = Vec::new();
    for (port, _) in (IPERF3 + 1..).zip(clients) {
        listeners.push(listener(port)?);
        ports.push(port);
    }
    let running: Vec<Process> =
        clients.iter().zip(&ports).map(|(host, port)| client(host, *port)).collect::<Result<_>>()?;
    let mut sum = 0.0;
    for (host, process) in clients.iter().zip(running) {
        let own = rate(&process.finish(patience)?.ok()?.stdout, "sum_received")?;
        if own <= 0.0 {
            bail!("{} got nothing through", host.name);
        }
        sum += own;
    }
    Ok([sum, alone])
}

/// What many must have together of what one has.
const LEAST_SHARE: f64 = 0.9;
const TRIES: usize = 3;

/// T2c: the free stand-ins.
pub(in super::super) fn free(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let seconds = bench.choose("1", "5");
    let port = IPERF3.to_string();
    let stream = |address: &str| -> Result<String> {
        let _server = bench.serve(server, ("tcp", IPERF3), &["iperf3", "-s", "-1", "-p", &port])?;
        let words = [
            "iperf3",
            "-J",
            "-c",
            address,
            "-p",
            &port,
            "-P",
            "4",
            "--bidir",
            "-t",
            seconds,
            "--connect-timeout",
            "3000",
        ];
        let said = bench.ok(client, &words, 40)?;
        let (there, back) = (rate(&said, "sum_received")?, rate(&said, "sum_received_bidir_reverse")?);
        if there <= 0.0 || back <= 0.0 {
            bail!("{address}: {there} Mb/s there, {back} Mb/s back");
        }
        Ok(megabits(there + back))
    };
    let (v4, v6) = (stream(&server.v4)?, stream(&server.v6)?);
    let _responder = bench.serve(server, ("udp", SOCKPERF), &["sockperf", "sr", "-i", &server.v4])?;
    let said = bench.ok(client, &["sockperf", "pp", "-i", &server.v4, "-t", seconds], 40)?;
    let latency = number_after(&said, "Latency is")?;
    if number_after(&said, "ReceivedMessages=")? < 10.0 {
        bail!("sockperf: hardly an answer: {}", said.trim());
    }
    Ok(format!("both ways IPv4 {v4}, IPv6 {v6}; half a round trip {latency:.0} us"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_of_netperf_ends_its_last_line_that_is_not_of_sockets_alone() {
        let stream = "131072  16384     64    5.00      180.43   \n";
        assert_eq!(figure(stream).unwrap(), 180.43);
        let requests = "16384  131072 1        1       1.00     28614.76   \n16384  131072\n";
        assert_eq!(figure(requests).unwrap(), 28_614.76);
        let datagrams = "212992    1400   1.00      314521      0    3522.06\n212992           1.00      310002           3471.45\n\n";
        assert_eq!(figure(datagrams).unwrap(), 3471.45);
        assert!(figure("recv_response: no answer").is_err());
    }
}
