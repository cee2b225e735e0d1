//! T1: nuttcp, the ttcp of today.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{super::bench::Bench, megabits, number_after};

const PORT: u16 = 5000;

/// What nuttcp says of itself, in the form for programs.
fn nuttcp(bench: &Bench<'_>, words: &[&str]) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    let listener = bench.serve(server, ("tcp", PORT), &["nuttcp", "-1", "--nofork"])?;
    let said = bench.ok(client, &[&["nuttcp", "-fparse"], words, &[&server.v4]].concat(), 30)?;
    listener.finish(bench.limit(Duration::from_secs(10)))?;
    Ok(said)
}

/// T1: every length of buffer.
pub(in super::super) fn lengths(bench: &mut Bench<'_>) -> Result<String> {
    let (mut slowest, mut fastest) = (f64::MAX, 0_f64);
    for length in [1, 64, 511, 1024, 2044, 8192, 65536, 1 << 20] {
        let octets = bench.choose(4 << 20, 64 << 20);
        let most = bench.choose(20_000, 200_000);
        let count = (octets / length).clamp(4, most);
        let said = nuttcp(bench, &[&format!("-l{length}"), &format!("-n{count}")])?;
        let rate = number_after(&said, "rate_Mbps=")?;
        if rate <= 0.0 {
            bail!("-l{length}: nothing came: {}", said.trim());
        }
        slowest = slowest.min(rate);
        fastest = fastest.max(rate);
    }
    Ok(format!("1 B to 1 MiB, {} to {}", megabits(slowest), megabits(fastest)))
}

/// T1b: a socket buffer of the program's choice.
pub(in super::super) fn socket_buffer(bench: &mut Bench<'_>) -> Result<String> {
    let count = bench.choose("-n2000", "-n20000");
    let rate = number_after(&nuttcp(bench, &["-w256k", "-l8192", count])?, "rate_Mbps=")?;
    Ok(format!("256 KiB, {}", megabits(rate)))
}

/// T1c: what one end reads the other writes, octet for octet.
pub(in super::super) fn pipe(bench: &mut Bench<'_>) -> Result<String> {
    let (client, server) = (bench.client()?, bench.server()?);
    bench.random("tx", bench.choose(16 << 20, 256 << 20))?;
    let receiver = bench.serve(server, ("tcp", PORT), &["sh", "-c", "exec nuttcp -1 -s --nofork >rx"])?;
    let sender = bench.spawn_reading(client, &["nuttcp", "-t", "-s", &server.v4], "tx")?;
    let done = sender.finish(bench.limit(Duration::from_secs(60)))?.ok()?;
    receiver.finish(bench.limit(Duration::from_secs(10)))?.ok()?;
    let octets = bench.same("tx", "rx")?;
    let rate = number_after(&done.said(), "sec =")?;
    Ok(format!("{} MiB the same, {}", octets >> 20, megabits(rate)))
}

/// T1d: UDP at a rate that the machine can hold.
pub(in super::super) fn datagrams(bench: &mut Bench<'_>) -> Result<String> {
    let (rate, seconds) = bench.choose(("-R30m", "-T1"), ("-R100m", "-T5"));
    let before = own_queues(bench)?;
    let said = nuttcp(bench, &["-u", "-w2m", rate, "-l1400", seconds])?;
    let (lost, packets) = (number_after(&said, "drop=")?, number_after(&said, "pkt=")?);
    let queues = own_queues(bench)? - before;
    let way = (lost - queues).max(0.0);
    if packets < 1000.0 || way > packets * MOST_LOST || lost > packets * MOST_OVERRUN {
        bail!("{lost} of {packets} datagrams lost, {queues} of them by full queues of the hosts");
    }
    Ok(format!(
        "{way} of {packets} lost on the way, {queues} by full queues of the hosts, {}",
        megabits(number_after(&said, "rate_Mbps=")?)
    ))
}

/// What the hosts' own kernels dropped because a program, or the lab, had no turn: the client's interface, the server's
/// sockets.
pub(super) fn own_queues(bench: &Bench<'_>) -> Result<f64> {
    let (client, server) = (bench.client()?, bench.server()?);
    let file = format!("cat /sys/class/net/{}/statistics/tx_dropped", client.interface);
    let sent: f64 = bench.sh(client, &file)?.trim().parse()?;
    let received = bench.sh(server, "nstat -asz UdpRcvbufErrors")?;
    Ok(sent + number_after(&received, "UdpRcvbufErrors")?)
}

/// On the way.
const MOST_LOST: f64 = 0.001;
/// In all, on a machine that others use.
const MOST_OVERRUN: f64 = 0.05;
