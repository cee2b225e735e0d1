//! The distribution's OpenSM as the subnet's manager, alone and beside others.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Lab, PATIENCE, Running, TempDir, eventually, ipoib, require, run};

/// What a standby needs to notice within a second that the master is gone.
const QUICK: &str = "sminfo_polling_timeout 100\npolling_retry_number 1\n";

fn needs() {
    require_opensm();
    require(&[("ping", "iputils-ping"), ("sminfo", "infiniband-diags")]);
}

/// Debian has it where users' search paths do not lead.
pub(crate) fn require_opensm() {
    assert!(
        PathBuf::from("/usr/sbin/opensm").is_file(),
        "opensm is missing: install the Debian package opensm"
    );
}

/// Starts OpenSM on a host; killed when dropped.
fn opensm(lab: &Lab, host: &str, options: &[&str]) -> Running {
    let log = format!("/run/opensm-{}.log", options.join("").replace(['/', ' '], ""));
    let words = [&["/usr/sbin/opensm", "-e", "-f", &log, "-D", "0x03", "-d", "2"], options].concat();
    lab.spawn(host, &words)
}

/// The node whose manager leads, by what `sminfo` says on `from`; none if nobody answers.
fn master(lab: &Lab, from: &str) -> Option<String> {
    let said = lab.exec(from, &["sminfo", "-t", "200"]).said();
    let guid = said.split("sm guid ").nth(1)?.split(',').next()?.trim_start_matches("0x").to_owned();
    if !said.contains("SMINFO_MASTER") {
        return None;
    }
    let guid = format!("{guid:0>16}");
    let same = |row: &Value| row["guid"].as_str().is_some_and(|text| text.replace(':', "") == guid);
    let row = lab.show("sm").into_iter().find(same)?;
    row["node"].as_str().map(str::to_owned)
}

#[track_caller]
fn wait_for_master(lab: &Lab, from: &str, node: &str, within: Duration) -> Duration {
    let what = format!("{node} leads; now {:?}", lab.show("sm"));
    eventually(&what, within, || (master(lab, from).as_deref() == Some(node)).then_some(())).1
}

#[test]
fn a_lab_under_opensm_comes_up_and_its_hosts_reach_each_other() {
    needs();
    let lab = Lab::start(&["--sm", "opensm"]);
    for from in ["h1", "h2", "h3", "h4"] {
        for to in ["h1", "h2", "h3", "h4"] {
            eventually(&format!("{from} reaches {to}"), PATIENCE, || lab.pings(from, to).then_some(()));
            lab.exec(from, &["ping", "-6", "-n", "-c", "2", "-i", "0.2", to]).ok();
        }
    }
    let managers = lab.show("sm");
    let [sm] = &managers[..] else { panic!("{managers:#?}") };
    assert_eq!((&sm["node"], &sm["kind"], &sm["role"]), (&"h1".into(), &"program".into(), &"master".into()));
    let groups = lab.show("groups");
    let broadcast = groups.iter().find(|row| row["ip"] == "broadcast").expect("there is one");
    assert_eq!((broadcast["qkey"].as_str(), broadcast["mtu"].as_u64()), (Some("0x00000b1b"), Some(2048)));
    assert_eq!(broadcast["members"].as_array().map(Vec::len), Some(4), "{broadcast:#}");
}

#[test]
fn opensm_that_cannot_run_says_why() {
    let dir = TempDir::new();
    let file = dir.write("partitions.conf", "Default=0x7fff, ipoib: ALL=full;\n");
    let lab =
        |words: &[&str]| run(ipoib(["lab", "--sm", "opensm"]).args(words).args(["--", "true"]), PATIENCE);
    lab(&["--sm-node", "h9"]).exits(2).says(&["--sm-node h9"]);
    lab(&["--opensm-config", "/no/such.conf"]).exits(2).says(&["/no/such.conf"]);
    lab(&["--partitions", &file]).exits(0);
}

/// Bring the subnet up with `--sm none -- opensm`: the command is the manager.
#[test]
fn the_command_may_be_the_manager() {
    needs();
    let mut lab = ipoib(["lab", "--sm", "none", "--topology", "star:2"]);
    // `-o`: one sweep, then it ends, and the lab with it.
    let script = "/usr/sbin/opensm -o -f /run/opensm.log -D 0x03 && grep 'SUBNET UP' /run/opensm.log";
    run(lab.args(["--", "sh", "-euc", script]), PATIENCE).exits(0).says(&["SUBNET UP"]);
}

/// F1: OpenSM restarts. Flows that have their paths do not notice; new ones work once it is back.
#[test]
fn a_restart_loses_no_packet_of_a_flow_that_has_its_path() {
    needs();
    let lab = Lab::begin(&["--sm", "none"]);
    let mut first = opensm(&lab, "h1", &[]);
    eventually("h2 reaches h4", PATIENCE, || lab.pings("h2", "h4").then_some(()));
    lab.exec("h2", &["ping", "-n", "-c", "3", "-i", "0.2", "h4"]).ok();
    let address = lab.interface("h2", "ib0")["address"].clone();
    let flow = lab.spawn("h2", &["ping", "-n", "-q", "-i", "0.02", "-c", "400", "h4"]);
    first.signal(Signal::TERM);
    assert!(first.try_finish(PATIENCE).is_some());
    let _second = opensm(&lab, "h1", &["-p", "3"]);
    wait_for_master(&lab, "h3", "h1", PATIENCE);
    let ((), took) = eventually("h3 reaches h1", PATIENCE, || lab.pings("h3", "h1").then_some(()));
    println!("a new pair {took:?} after the manager was there");
    flow.finish(PATIENCE).says(&[" 0% packet loss"]).exits(0);
    assert_eq!(lab.interface("h2", "ib0")["address"], address);
}

/// F2, F3: a better manager takes over while data flows; after it is killed the first one leads again.
#[test]
fn handover_and_takeover_lose_no_data() {
    needs();
    let dir = TempDir::new();
    let quick = dir.write("opensm.conf", QUICK);
    let lab = Lab::begin(&["--sm", "none"]);
    let _first = opensm(&lab, "h1", &["-F", &quick, "-p", "1"]);
    eventually("h3 reaches h4", PATIENCE, || lab.pings("h3", "h4").then_some(()));
    lab.exec("h3", &["ping", "-n", "-c", "3", "-i", "0.2", "h4"]).ok();
    let flow = lab.spawn("h3", &["ping", "-n", "-q", "-i", "0.02", "-c", "600", "h4"]);

    let second = opensm(&lab, "h2", &["-F", &quick, "-p", "9"]);
    wait_for_master(&lab, "h4", "h2", PATIENCE);
    // The next question goes to the new one: a pair that has not met.
    eventually("h4 reaches h1", PATIENCE, || lab.pings("h4", "h1").then_some(()));
    let groups = || lab.show("groups").into_iter().map(|row| row["mgid"].to_string()).collect::<Vec<_>>();
    let before = groups();

    second.signal(Signal::KILL);
    let took = wait_for_master(&lab, "h4", "h1", PATIENCE);
    println!("the standby leads {took:?} after the master was killed");
    eventually("h2 reaches h3", PATIENCE, || lab.pings("h2", "h3").then_some(()));
    flow.finish(PATIENCE).says(&[" 0% packet loss"]).exits(0);
    eventually("the groups are there again", PATIENCE, || {
        let now = groups();
        before.iter().all(|mgid| now.contains(mgid)).then_some(())
    });
}

/// F4: nobody manages for a while. What is known goes on; what is not is asked for, but not in a storm.
#[test]
fn without_a_manager_old_flows_go_on_and_new_ones_wait() {
    needs();
    let lab = Lab::begin(&["--sm", "none"]);
    let mut sm = opensm(&lab, "h1", &[]);
    eventually("h2 reaches h3", PATIENCE, || lab.pings("h2", "h3").then_some(()));
    lab.exec("h2", &["ping", "-n", "-c", "3", "-i", "0.2", "h3"]).ok();
    sm.signal(Signal::TERM);
    assert!(sm.try_finish(PATIENCE).is_some());
    let queries = || lab.count("h2", "ib0", "path_queries");
    let before = queries();
    let begun = Instant::now();
    let flow = lab.spawn("h2", &["ping", "-n", "-q", "-i", "0.05", "-c", "160", "h3"]);
    let absent = lab.exec("h2", &["ping", "-n", "-c", "5", "-W", "1", "10.77.0.4"]);
    flow.finish(PATIENCE).says(&[" 0% packet loss"]).exits(0);
    println!("{}", absent.said());
    let asked = queries() - before;
    assert!(asked <= 2 + begun.elapsed().as_secs(), "{asked} questions in {:?}", begun.elapsed());
    let _sm = opensm(&lab, "h1", &["-p", "2"]);
    eventually("h2 reaches h4", PATIENCE, || lab.pings("h2", "h4").then_some(()));
}

/// F5: the next manager gives other LIDs. Hosts find each other again without being told.
#[test]
fn other_lids_are_followed() {
    needs();
    let lab = Lab::begin(&["--sm", "none"]);
    let mut first = opensm(&lab, "h1", &[]);
    for (from, to) in [("h2", "h3"), ("h3", "h4"), ("h4", "h2")] {
        eventually(&format!("{from} reaches {to}"), PATIENCE, || lab.pings(from, to).then_some(()));
    }
    let lids = || lab.show("hosts").iter().map(|row| row["lid"].as_u64().unwrap()).collect::<Vec<_>>();
    let before = lids();
    first.signal(Signal::TERM);
    assert!(first.try_finish(PATIENCE).is_some());
    // From another port, with leave to give all LIDs anew: its own becomes the first.
    let _second = opensm(&lab, "h4", &["-r"]);
    let ((), took) = eventually("other LIDs", PATIENCE, || (lids() != before).then_some(()));
    println!("{before:?} became {:?} after {took:?}", lids());
    for (from, to) in [("h2", "h3"), ("h3", "h4"), ("h4", "h2"), ("h1", "h2")] {
        let ((), took) =
            eventually(&format!("{from} reaches {to}"), PATIENCE, || lab.pings(from, to).then_some(()));
        println!("{from} reaches {to} after {took:?}");
    }
}

/// F6: a partition is taken from a port and given back while OpenSM runs.
#[test]
fn a_partition_taken_and_given_back_moves_the_carrier() {
    needs();
    let dir = TempDir::new();
    let guids: Vec<String> = {
        let lab = Lab::start(&["--topology", "star:3"]);
        let rows = lab.show("hosts");
        rows.iter().map(|row| format!("0x{}", row["guid"].as_str().unwrap().replace(':', ""))).collect()
    };
    let text = |red: &[&String]| {
        let red: Vec<String> = red.iter().map(|guid| format!("{guid}=full")).collect();
        format!(
            "Default=0x7fff, ipoib: ALL=full;\nred=0x0001, ipoib: {};\nblue=0x0002, ipoib: ALL=full;\n",
            red.join(", ")
        )
    };
    let [h1, h2, h3] = &guids[..] else { panic!("three hosts") };
    let file = dir.write("partitions.conf", text(&[h1, h2, h3]));
    let lab = Lab::start(&[
        "--topology",
        "star:3",
        "--sm",
        "opensm",
        "--partitions",
        &file,
        "--children",
        "8001,8002",
    ]);
    let child = |host: &str| {
        let row = lab.interface(host, "ib0.8001");
        row["ipv4"][0].as_str().expect("an address").split('/').next().unwrap().to_owned()
    };
    let (one, two) = (child("h1"), child("h2"));
    eventually("h1 reaches h2 in red", PATIENCE, || lab.pings("h1", &two).then_some(()));
    assert!(!lab.pings("h1", "10.99.99.99"), "a ping can fail");

    let opensm = opensm_of(&lab);
    fs::write(&file, text(&[h1, h3])).unwrap();
    signal(opensm, Signal::HUP);
    let (reason, took) = eventually("h2 has lost red", PATIENCE, || {
        let row = lab.interface("h2", "ib0.8001");
        (row["state"] == "down").then(|| row["reason"].clone())
    });
    println!("down {took:?} after the signal: {reason}");
    assert!(reason.as_str().is_some_and(|text| text.contains("no member of partition 0x8001")), "{reason}");
    assert!(!lab.pings("h1", &two) && !lab.pings("h2", &one), "nothing leaks");
    assert_eq!(lab.interface("h2", "ib0.8002")["state"], "up", "the other partition is untouched");

    fs::write(&file, text(&[h1, h2, h3])).unwrap();
    signal(opensm, Signal::HUP);
    let ((), took) = eventually("h2 has red again", PATIENCE, || {
        (lab.interface("h2", "ib0.8001")["state"] == "up").then_some(())
    });
    println!("up {took:?} after the signal");
    eventually("h1 reaches h2 in red", PATIENCE, || lab.pings("h1", &two).then_some(()));
}

/// F7: the broadcast group comes back with another Q_Key and MTU; interfaces follow.
#[test]
fn another_q_key_and_mtu_of_the_broadcast_group_are_followed() {
    needs();
    let dir = TempDir::new();
    let file = dir.write("partitions.conf", "Default=0x7fff, ipoib: ALL=full;\n");
    let lab = Lab::begin(&["--sm", "none", "--topology", "star:3"]);
    let mut first = opensm(&lab, "h1", &["-P", &file]);
    eventually("h2 reaches h3", PATIENCE, || lab.pings("h2", "h3").then_some(()));
    assert_eq!(lab.interface("h2", "ib0")["mtu"], 2044);
    first.signal(Signal::TERM);
    assert!(first.try_finish(PATIENCE).is_some());
    fs::write(&file, "Default=0x7fff, ipoib, mtu=3, Q_Key=0x12345: ALL=full;\n").unwrap();
    let _second = opensm(&lab, "h1", &["-P", &file, "-p", "2"]);
    eventually("the MTU follows", PATIENCE, || {
        let rows = lab.show("hosts");
        rows.iter().all(|row| row["mtu"] == 1020 && row["state"] == "up").then_some(())
    });
    eventually("h2 reaches h3", PATIENCE, || lab.pings("h2", "h3").then_some(()));
    let groups = lab.show("groups");
    let broadcast = groups.iter().find(|row| row["ip"] == "broadcast").expect("there is one");
    assert_eq!(broadcast["qkey"], "0x00012345", "{broadcast:#}");
}

/// F11: a switch goes with all behind it, and comes back.
#[test]
fn a_switch_that_is_taken_away_and_put_back() {
    needs();
    let lab = Lab::start(&["--sm", "opensm"]);
    for to in ["h2", "h3"] {
        eventually(&format!("h1 reaches {to}"), PATIENCE, || lab.pings("h1", to).then_some(()));
    }
    lab.fault_host("sw2", "unplug");
    eventually("h3 is out of reach", PATIENCE, || (!lab.pings("h1", "h3")).then_some(()));
    let gone = eventually("h1 knows", PATIENCE, || {
        let done = lab.exec("h1", &["ping", "-4", "-n", "-c", "2", "-W", "4", "h4"]);
        done.said().contains("Unreachable").then_some(())
    });
    println!("told {:?} later", gone.1);
    assert!(lab.pings("h1", "h2"), "who is not behind it is untouched");
    lab.fault_host("sw2", "plug");
    let ((), took) = eventually("h1 reaches h3 again", PATIENCE, || lab.pings("h1", "h3").then_some(()));
    println!("back {took:?} after the switch");
}

/// Our own manager and OpenSM in one subnet: the better one leads, the other waits and takes over.
#[test]
fn ours_and_opensm_obey_the_same_rules() {
    needs();
    let dir = TempDir::new();
    let quick = dir.write("opensm.conf", QUICK);
    let lab = Lab::start(&[]);
    let mut better = opensm(&lab, "h1", &["-F", &quick, "-p", "9"]);
    wait_for_master(&lab, "h3", "h1", PATIENCE);
    let roles = || lab.show("sm").iter().map(|row| row["role"].to_string()).collect::<Vec<_>>();
    assert_eq!(roles(), ["\"standby\"", "\"master\""]);
    better.signal(Signal::KILL);
    assert!(better.try_finish(PATIENCE).is_some());
    wait_for_master(&lab, "h3", "sw1", PATIENCE);

    let _worse = opensm(&lab, "h1", &["-F", &quick, "-p", "0"]);
    eventually("two managers", PATIENCE, || (lab.show("sm").len() == 2).then_some(()));
    run(&mut ipoib(["sm", "kill", "--lab", lab.name()]), PATIENCE).ok();
    wait_for_master(&lab, "h3", "h1", PATIENCE);
    run(&mut ipoib(["sm", "start", "--lab", lab.name(), "sw2", "--priority", "12"]), PATIENCE).ok();
    wait_for_master(&lab, "h3", "sw2", PATIENCE);
    eventually("h1 reaches h4", PATIENCE, || lab.pings("h1", "h4").then_some(()));
}

/// Each round a better manager comes, is handed the subnet, and is killed. The challengers take turns: OpenSM takes
/// no notice of a port whose traps it has heard ten times within ten seconds.
#[test]
fn sixty_handovers_in_a_row() {
    needs();
    let dir = TempDir::new();
    let quick = dir.write("opensm.conf", QUICK);
    let lab = Lab::begin(&["--sm", "none", "--topology", "star:16"]);
    let _first = opensm(&lab, "h1", &["-F", &quick, "-p", "1"]);
    wait_for_master(&lab, "h2", "h1", PATIENCE);
    let mut took = Vec::new();
    for round in 0..60 {
        let host = format!("h{}", 3 + round % 14);
        let mut challenger = opensm(&lab, &host, &["-F", &quick, "-p", "15"]);
        let came = wait_for_master(&lab, "h2", &host, PATIENCE);
        challenger.signal(Signal::KILL);
        assert!(challenger.try_finish(PATIENCE).is_some());
        took.push((came, wait_for_master(&lab, "h2", "h1", PATIENCE)));
    }
    let slowest = |part: fn(&(Duration, Duration)) -> Duration| took.iter().map(part).max();
    println!("slowest handover {:?}, slowest takeover {:?}", slowest(|t| t.0), slowest(|t| t.1));
}

/// The process of the OpenSM that the lab itself runs.
fn opensm_of(lab: &Lab) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", lab.id());
    let children = fs::read_to_string(&children).unwrap_or_else(|error| panic!("{children}: {error}"));
    let is_opensm =
        |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "opensm");
    children.split_whitespace().filter_map(|id| id.parse().ok()).find(is_opensm).expect("OpenSM runs")
}

fn signal(process: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(process.cast_signed()).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("it runs");
}
