//! F8 to F10: links that go and come back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    super::{
        bench::Bench,
        process::{pass, seconds},
    },
    stream::Stream,
};

/// A carrier goes within this time.
pub(super) const GONE: Duration = Duration::from_secs(1);
/// Peers answer this long after the carrier at most.
pub(super) const BACK: Duration = Duration::from_secs(2);
/// A port trains and is swept within this time.
pub(super) const ACTIVE: Duration = Duration::from_secs(5);

/// Interfaces have subscribed to events this long after they came up.
pub(super) const SUBSCRIBED: Duration = Duration::from_millis(1500);

/// F8: the server's cable.
pub(in super::super) fn cable(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let (outage, length) = bench.choose((2, 4), (30, 36));
    bench.reaches(client, &server.v4)?;
    let stream = Stream::start(bench, client, server, length)?;
    pass(Duration::from_millis(500))?;
    lab.fault_link(&server.name, "down")?;
    let off = bench.carrier(server, false, GONE)?;
    let row = lab.interface(server)?;
    let reason = row["reason"].as_str().unwrap_or_default().to_owned();
    if row["state"] != "down" || reason.is_empty() {
        bail!("`ipoib show hosts` does not say why {} is down: {row}", server.name);
    }
    pass(Duration::from_secs(outage))?;
    lab.fault_link(&server.name, "up")?;
    let on = bench.carrier(server, true, ACTIVE)?;
    let back = bench.comes_back(client, &server.v4, BACK)?;
    let octets = stream.finish(bench, 120)?;
    Ok(format!(
        "carrier off in {} ({reason}), on in {}, answers {} later; stream of {} MiB the same",
        seconds(off),
        seconds(on),
        seconds(back),
        octets >> 20
    ))
}

/// F9: a cable with a bad contact.
pub(in super::super) fn flaps(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let (times, half) = bench.choose((10, Duration::from_millis(100)), (100, Duration::from_millis(250)));
    bench.reaches(client, &server.v4)?;
    let count = |name| lab.count(&server.name, &server.interface, name);
    let (handles, asked, descriptors) = (count("handles")?, count("sa_requests")?, lab.descriptors()?);
    for _ in 0..times {
        lab.fault_link(&server.name, "down")?;
        pass(half)?;
        lab.fault_link(&server.name, "up")?;
        pass(half)?;
    }
    bench.carrier(server, true, ACTIVE)?;
    let back = bench.comes_back(client, &server.v4, BACK)?;
    let questions = count("sa_requests")? - asked;
    if questions > times * MOST_ASKED {
        bail!("{questions} questions to the subnet administration in {times} flaps");
    }
    if count("handles")? > handles + 1 {
        bail!("{} handles instead of {handles}", count("handles")?);
    }
    lab.settles(descriptors)?;
    Ok(format!("{times} flaps, answers {} after the last; {questions} questions to the SA", seconds(back)))
}

/// Questions to the subnet administration for one flap: groups to join again, and paths.
const MOST_ASKED: u64 = 30;

/// F10: one of two cables between switches.
pub(in super::super) fn reroute(bench: &mut Bench<'_>) -> Result<String> {
    const PACE: Duration = Duration::from_millis(5);
    const COUNT: usize = 400;
    const MOST_LOST: Duration = Duration::from_secs(1);
    let lab = bench.lab()?;
    let (client, server) = (bench.client()?, bench.server()?);
    let (count, mut worst) = (COUNT.to_string(), Duration::ZERO);
    for link in ["sw1:3", "sw1:4"] {
        bench.comes_back(client, &server.v4, ACTIVE)?;
        let words = ["ping", "-n", "-O", "-i", "0.005", "-c", &count, "-W", "1", &server.v4];
        let ping = bench.spawn(client, &words)?;
        ping.wait_for("icmp_seq=50", ACTIVE)?;
        let cut = Instant::now();
        lab.fault_link(link, "down")?;
        let said = ping.finish(bench.limit(Duration::from_secs(30)))?.said();
        let answered = said.lines().filter(|line| line.contains("time=")).count();
        let lost = PACE * u32::try_from(COUNT - answered.min(COUNT)).unwrap_or(0);
        if lost > MOST_LOST {
            bail!(
                "{link} down: {} of {COUNT} pings lost within {}",
                COUNT - answered,
                seconds(cut.elapsed())
            );
        }
        worst = worst.max(lost);
        lab.fault_link(link, "up")?;
        pass(Duration::from_millis(300))?;
    }
    Ok(format!("away for {} at most", seconds(worst)))
}
