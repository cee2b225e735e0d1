//! F13: management that is lost while data pass, and a subnet administration that is busy, slow or knows nothing.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    super::{
        bench::Bench,
        lab::Host,
        process::{eventually, pass, seconds},
    },
    links::{ACTIVE, SUBSCRIBED},
    watch::Watch,
};
use crate::control::{SmFault, schema::Noun};

/// F13b: a link loses half of the management packets and no other.
pub(in super::super) fn mads_lost(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, server) = (bench.lab()?, bench.server()?);
    let count = |name| lab.count(&server.name, &server.interface, name);
    let (lost, again) = (lab.total("link_mad_loss")?, count("sa_retries")?);
    let watch = Watch::start(bench)?;
    lab.fault_link(&server.name, "mad_loss 50%")?;
    pass(bench.choose(Duration::from_secs(1), Duration::from_secs(5)))?;
    lab.client()?.sweep()?;
    let pings = watch.end(bench)?;
    if bench.is_tricked("all") {
        lab.fault_link(&server.name, "mad_loss 100%")?;
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..bench.choose(3, 5) {
        bench.sh(server, &format!("ip link set {0} down; ip link set {0} up", server.interface))?;
        slowest = slowest.max(bench.carrier(server, true, bench.limit(Duration::from_secs(60)))?);
    }
    lab.fault_link(&server.name, "clear")?;
    bench.comes_back(bench.client()?, &server.v4, ACTIVE)?;
    let (lost, again) = (lab.total("link_mad_loss")? - lost, count("sa_retries")? - again);
    if lost == 0 || again == 0 {
        bail!("{lost} management packets were lost, {again} questions asked again");
    }
    Ok(format!(
        "none of {pings} pings lost; {lost} management packets lost, {again} questions asked again, carrier on in {} \
         at most",
        seconds(slowest)
    ))
}

/// A host that knows the way to the server no more, though the server knows the way to it.
fn forgetful<'a>(bench: &Bench<'a>) -> Result<&'a Host> {
    let (other, server) = (&bench.lab()?.hosts[1], bench.server()?);
    // It asks for nothing else any more.
    pass(SUBSCRIBED)?;
    bench.reaches(other, &server.v4)?;
    bench.reaches(server, &other.v4)?;
    bench.sh(other, "ip neigh flush all")?;
    Ok(other)
}

/// So many pings, one each 20 ms, to a server whose path is not known.
const IN_A_ROW: u64 = 100;

/// They and their patience take so long.
const AS_LONG: Duration = Duration::from_secs(3);

/// F13c: the administration is busy.
pub(in super::super) fn busy(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, server) = (bench.lab()?, bench.server()?);
    let watch = Watch::start(bench)?;
    let other = forgetful(bench)?;
    let count = |name| lab.count(&other.name, &other.interface, name);
    let names = ["sa_requests", "sa_busy", "tx_path_queue_full"];
    let before: Vec<u64> = names.into_iter().map(count).collect::<Result<_>>()?;
    if !bench.is_tricked("prompt") {
        lab.client()?.fault_sm(None, SmFault::Busy)?;
    }
    let times = IN_A_ROW.to_string();
    let words = ["ping", "-n", "-q", "-i", "0.02", "-c", &times, "-W", "1", &server.v4];
    bench.run(other, &words, 30)?.exits(1)?;
    // After a quarter of a second, twice as long each time up to 4 s, and by chance up to a quarter less: so often in 6 s
    // and in 23 s, for each of two questions.
    let (longer, most) = bench.choose((Duration::from_secs(3), 5), (Duration::from_secs(20), 10));
    pass(longer)?;
    let since = |i: usize| anyhow::Ok(count(names[i])? - before[i]);
    let (asked, busy, full) = (since(0)?, since(1)?, since(2)?);
    if busy == 0 || asked > 2 * most {
        bail!("told {busy} times that the administration is busy, asked {asked} times: {} at most", 2 * most);
    }
    if full == 0 {
        bail!("{IN_A_ROW} pings have waited for one path, and none was dropped for it");
    }
    lab.client()?.fault_sm(None, SmFault::Clear)?;
    let back = bench.comes_back(other, &server.v4, bench.limit(Duration::from_secs(8)))?;
    let pings = watch.end(bench)?;
    Ok(format!(
        "none of {pings} pings lost; a new peer asked {asked} times in {}, {full} of {IN_A_ROW} pings did not fit its queue, \
         answered {} after",
        seconds(AS_LONG + longer),
        seconds(back)
    ))
}

/// F13d: the administration takes five seconds for each answer.
pub(in super::super) fn slow(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, server) = (bench.lab()?, bench.server()?);
    let watch = Watch::start(bench)?;
    let other = forgetful(bench)?;
    let count = |name| lab.count(&other.name, &other.interface, name);
    let asked = count("sa_requests")?;
    if !bench.is_tricked("prompt") {
        lab.client()?.fault_sm(None, SmFault::Slow(SLOW))?;
    }
    let met = bench.comes_back(other, &server.v4, bench.limit(Duration::from_secs(30)));
    let asked = count("sa_requests")? - asked;
    lab.client()?.fault_sm(None, SmFault::Clear)?;
    let met = met?;
    if met < SLOW {
        bail!("a new peer answers within {}", seconds(met));
    }
    if asked > MOST_ASKED {
        bail!("asked {asked} times in {}", seconds(met));
    }
    bench.comes_back(other, &server.v4, ACTIVE)?;
    let pings = watch.end(bench)?;
    Ok(format!("none of {pings} pings lost; a new peer answers in {}, asked {asked} times", seconds(met)))
}

const SLOW: Duration = Duration::from_secs(5);
/// Questions until the waits are as long as a slow administration takes. Each is sent four times before it has failed;
/// until then that happens three times; and there are two at a time: for the path, and for a group that is confirmed.
const MOST_ASKED: u64 = 2 * 3 * 4;
/// Questions for a path that does not exist, a second apart at first, while 60 packets want it.
const MOST_IN_VAIN: u64 = 15;

/// F13e: the administration knows no records.
pub(in super::super) fn no_records(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, server) = (bench.lab()?, bench.server()?);
    let watch = Watch::start(bench)?;
    let other = forgetful(bench)?;
    let count = |name| lab.count(&other.name, &other.interface, name);
    let (asked, failed) = (count("path_queries")?, count("path_failed")?);
    if !bench.is_tricked("records") {
        lab.client()?.fault_sm(None, SmFault::NoRecords)?;
    }
    let pings = bench.spawn(other, &["ping", "-n", "-i", "0.1", "-w", "6", &server.v4])?;
    let is_it =
        |row: &Value| row["host"] == *other.name && row["peer"] == *server.name && row["state"] == "failed";
    eventually("`ipoib show paths` says that the path has failed", bench.limit(ACTIVE), || {
        Ok(lab.show(Noun::Paths)?.iter().any(is_it).then_some(()))
    })?;
    let done = pings.finish(bench.limit(Duration::from_secs(20)))?.exits(1)?;
    let (asked, failed) = (count("path_queries")? - asked, count("path_failed")? - failed);
    if failed == 0 || asked > MOST_IN_VAIN {
        bail!("asked {asked} times, {failed} answers that there is no path; {}", done.said().trim());
    }
    lab.client()?.fault_sm(None, SmFault::Clear)?;
    let back = bench.comes_back(other, &server.v4, bench.limit(Duration::from_secs(20)))?;
    let pings = watch.end(bench)?;
    Ok(format!(
        "none of {pings} pings lost; a new peer is unreachable, asked {asked} times in 6 s, shown as failed, answers \
         {} after",
        seconds(back)
    ))
}
