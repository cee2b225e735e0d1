//! F12 and F13: links that lose, flip bits and take their time, for data and for management.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    super::{
        bench::Bench,
        process::{pass, seconds},
        rows::number_after,
    },
    links::ACTIVE,
    stream::Stream,
};
use crate::control::HostFault;

/// F12: loss, corruption, delay.
pub(in super::super) fn bad_link(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let length = bench.choose(1, 4);
    let mut lost = Vec::new();
    for share in ["1%", "10%"] {
        let before = lab.total("link_loss")?;
        lab.fault_link(&server.name, &format!("loss {share}"))?;
        Stream::start(bench, client, server, length)?.finish(bench, 120)?;
        lost.push(lab.total("link_loss")? - before);
    }
    lab.fault_link(&server.name, "loss 0%")?;
    let bad = || -> Result<u64> { Ok(lab.total("bad_vcrc")? + lab.total("bad_icrc")?) };
    let before = bad()?;
    lab.fault_link(&server.name, "corrupt 1%")?;
    Stream::start(bench, client, server, length)?.finish(bench, 120)?;
    let flipped = bad()? - before;
    if lost.contains(&0) || flipped == 0 {
        bail!("the links did no harm: {lost:?} lost, {flipped} flipped");
    }
    lab.fault_link(&server.name, "corrupt 0%")?;
    let (twice, late) = disorder(bench, length)?;
    lab.fault_link(&server.name, "delay 20ms")?;
    let said = bench.ok(client, &["ping", "-n", "-q", "-c", "5", "-i", "0.2", "-W", "3", &server.v4], 20)?;
    let fastest = number_after(&said, "mdev =")?;
    if fastest < 40.0 {
        bail!("a round trip of {fastest} ms over a link of 20 ms");
    }
    lab.fault_link(&server.name, "clear")?;
    Ok(format!(
        "streams the same with 1% ({}) and 10% ({}) lost, 1% ({flipped}) flipped, 5% duplicated ({twice}) and \
         reordered ({late}); 20 ms are {fastest:.0} ms there and back",
        lost[0], lost[1]
    ))
}

/// A stream over a link that duplicates and reorders. How many pings were answered twice, and how many segments came
/// before their time.
fn disorder(bench: &Bench<'_>, length: usize) -> Result<(usize, f64)> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let early = || -> Result<f64> {
        let words = ["nstat", "-asz", "TcpExtTCPOFOQueue"];
        number_after(&bench.ok(server, &words, 10)?, "TcpExtTCPOFOQueue")
    };
    let before = early()?;
    lab.fault_link(&server.name, "duplicate 5%")?;
    lab.fault_link(&server.name, "reorder 5%")?;
    Stream::start(bench, client, server, length)?.finish(bench, 120)?;
    let late = early()? - before;
    let words = ["ping", "-n", "-c", "200", "-i", "0.005", "-W", "2", &server.v4];
    let twice = bench.ok(client, &words, 20)?.matches("DUP!").count();
    lab.fault_link(&server.name, "duplicate 0%")?;
    lab.fault_link(&server.name, "reorder 0%")?;
    if twice == 0 || late == 0.0 {
        bail!("the link did no harm: {twice} pings answered twice, {late} segments out of order");
    }
    Ok((twice, late))
}

/// F12b: half of everything is lost, management included, and the link still comes up.
pub(in super::super) fn half_lost(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    lab.fault_host(&server.name, HostFault::Unplug)?;
    bench.carrier(server, false, ACTIVE)?;
    lab.fault_link(&server.name, "loss 50%")?;
    lab.fault_host(&server.name, HostFault::Plug)?;
    let on = bench.carrier(server, true, bench.limit(COMES_UP_AT_LAST))?;
    lab.fault_link(&server.name, "clear")?;
    let back = bench.comes_back(client, &server.v4, ACTIVE)?;
    Ok(format!("carrier on in {}, answers {} after the loss ends", seconds(on), seconds(back)))
}

/// One question in four is answered, and what the manager has given up it begins anew with its next sweep, ten seconds
/// later. 9 s to 32 s have been seen; it is chance, and not the machine, that makes it long.
const COMES_UP_AT_LAST: Duration = Duration::from_secs(120);

/// F13: questions to the subnet administration are lost: they are asked again, and not too often.
pub(in super::super) fn questions(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let rounds = bench.choose(3, 10);
    let count = |name| lab.count(&server.name, &server.interface, name);
    let (asked, again) = (count("sa_requests")?, count("sa_retries")?);
    lab.fault_link(&server.name, "loss 40%")?;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        // All groups anew, and all paths.
        bench.sh(server, &format!("ip link set {0} down; ip link set {0} up", server.interface))?;
        slowest = slowest.max(bench.carrier(server, true, bench.limit(Duration::from_secs(60)))?);
        pass(Duration::from_millis(500))?;
    }
    lab.fault_link(&server.name, "clear")?;
    let back = bench.comes_back(client, &server.v4, ACTIVE)?;
    let (asked, again) = (count("sa_requests")? - asked, count("sa_retries")? - again);
    if again == 0 {
        bail!("nothing was asked again in {asked} questions");
    }
    if asked + again > rounds * MOST_ASKED {
        bail!("{asked} questions, asked again {again} times, in {rounds} rounds");
    }
    Ok(format!(
        "carrier on in {} at most, {again} of {asked} questions asked again, answers {} after the loss ends",
        seconds(slowest),
        seconds(back)
    ))
}

/// Questions, repetitions included, while an interface comes up over a bad link.
const MOST_ASKED: u64 = 120;
