//! infiniband-diags in the hosts and switches of a lab under OpenSM: every tool, and whether what it says is so.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    harness::{Lab, PATIENCE, TempDir, eventually, require, run},
    opensm::require_opensm,
};

fn needs() {
    require_opensm();
    require(&[("ibnetdiscover", "infiniband-diags"), ("iperf3", "iperf3"), ("ping", "iputils-ping")]);
}

/// What a tool says; it must end well.
#[track_caller]
fn tool(lab: &Lab, node: &str, words: &str) -> String {
    lab.exec(node, &words.split_whitespace().collect::<Vec<_>>()).ok()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name}: {row:#}"))
}

fn guid(row: &Value) -> String {
    text(row, "guid").replace(':', "")
}

/// The two labs of the acceptance: two switches with four hosts, and a fat tree of 64 hosts.
#[test]
fn every_tool_in_a_small_lab() {
    needs();
    check_all(&Lab::start(&["--sm", "opensm"]));
}

#[test]
fn every_tool_in_a_fat_tree() {
    needs();
    check_all(&Lab::start(&["--sm", "opensm", "--topology", "fat-tree:k=12,levels=2,hosts=64"]));
}

fn check_all(lab: &Lab) {
    let hosts = lab.show("hosts");
    let links = lab.show("links");
    let switch = tool(lab, "h1", "ibswitches");
    let switch = switch.split('"').nth(1).expect("there is one");
    let last = &hosts[hosts.len() - 1];
    let nodes = links.iter().flat_map(|row| [&row["a"], &row["b"]]).filter_map(Value::as_str).map(node_of);
    let names: BTreeSet<&str> = hosts.iter().map(|row| text(row, "name")).collect();
    let switches = nodes.filter(|node| !names.contains(node)).collect::<BTreeSet<&str>>().len();
    own_port(lab, &hosts[0]);
    topology(lab, &hosts, &links, (switches, switch));
    managed(lab, last, switch);
    records(lab, &hosts, &links, switches);
    routes(lab, &hosts[0], last, switch);
    performance(lab, last, switch);
    programs(lab, last, switch);
}

fn node_of(port: &str) -> &str {
    port.split(':').next().unwrap_or(port)
}

fn own_port(lab: &Lab, host: &Value) {
    let node = text(host, "name");
    let said = tool(lab, node, "ibstat");
    let (guid, lid) = (guid(host), host["lid"].as_u64().unwrap());
    for part in [&format!("Port GUID: 0x{guid}"), "State: Active", "Physical state: LinkUp"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(&format!("Base lid: {lid}\n")), "{said}");
    assert_eq!(tool(lab, node, "ibstat -l"), "ipoib_0\n");
    assert!(tool(lab, node, "ibstat -p").contains(&format!("0x{guid}")));
    let said = tool(lab, node, "ibaddr");
    assert!(said.contains(&format!("LID start 0x{lid:x} ")), "{said}");
    let said = tool(lab, node, "ibstatus");
    assert!(said.contains("4: ACTIVE") && said.contains(&format!("0x{lid:x}")), "{said}");
    assert!(tool(lab, node, "sminfo").contains("SMINFO_MASTER"));
}

fn topology(lab: &Lab, hosts: &[Value], links: &[Value], (switches, switch): (usize, &str)) {
    let said = tool(lab, "h1", "ibhosts");
    assert_eq!(said.lines().count(), hosts.len(), "{said}");
    for host in hosts {
        assert!(said.contains(&format!("\"{} HCA-1\"", text(host, "name"))), "{said}");
    }
    let said = tool(lab, "h1", "ibswitches");
    assert_eq!(said.lines().count(), switches, "{said}");
    assert_eq!(tool(lab, "h1", "ibrouters"), "");
    assert_eq!(tool(lab, "h1", "ibnodes").lines().count(), hosts.len() + switches);
    let said = tool(lab, "h1", "iblinkinfo -l");
    assert_eq!(said.matches("Active/  LinkUp").count(), 2 * links.len(), "{said}");
    let said = tool(lab, "h1", "ibnetdiscover -p");
    assert!(said.lines().count() >= 2 * links.len(), "{said}");
    let dir = TempDir::new();
    let (cache, edited) = (dir.file("cache"), dir.file("edited"));
    tool(lab, "h1", &format!("ibnetdiscover --cache {cache}"));
    let said = tool(lab, "h1", &format!("iblinkinfo -l --load-cache {cache}"));
    assert_eq!(said.matches("Active/  LinkUp").count(), 2 * links.len(), "{said}");
    let said = tool(lab, switch, "ibstat");
    let own = said.split("Node GUID: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    tool(lab, "h1", &format!("ibcacheedit --switchguid {own}:0x1234 {cache} {edited}"));
    let said = tool(lab, "h1", &format!("ibnetdiscover --load-cache {edited}"));
    assert!(said.contains("switchguid=0x1234"), "{said}");
    tool(lab, "h1", "ibidsverify");
}

fn managed(lab: &Lab, last: &Value, switch: &str) {
    let lid = last["lid"].as_u64().unwrap();
    let switch = switch_lid(lab, switch);
    let says = |words: &str, parts: &[&str]| {
        let said = tool(lab, "h1", words);
        for part in parts {
            assert!(said.contains(part), "{words}: no {part:?}: {said}");
        }
    };
    let name = format!("{} HCA-1", text(last, "name"));
    says(&format!("smpquery ND {lid}"), &[&name]);
    says(&format!("smpquery NI {lid}"), &[&format!("PortGuid:........................0x{}", guid(last))]);
    says(&format!("smpquery NI {switch}"), &["NodeType:........................Switch"]);
    says(
        &format!("smpquery PI {lid}"),
        &["LinkState:.......................Active", &format!("Lid:.............................{lid}\n")],
    );
    says(&format!("smpquery PI {switch} 1"), &["PhysLinkState:...................LinkUp"]);
    says(&format!("smpquery SI {switch}"), &["LinearFdbCap:"]);
    says(&format!("smpquery PKeys {lid}"), &["0xffff 0x0000"]);
    says(&format!("smpquery SL2VL {lid}"), &["ports: in  0, out  0"]);
    says(&format!("smpquery VLArb {lid}"), &["VLArbitration tables"]);
    says(&format!("smpquery GI {lid}"), &[&format!("0x{}", guid(last))]);
    says(&format!("smpquery PIE {lid}"), &["Port info Extended"]);
    says(&format!("smpquery -G NI 0x{}", guid(last)), &["Channel Adapter"]);
    says("smpquery -D NI 0,1", &["Switch"]);
    says(&format!("smpquery -c NI {switch} 0,1"), &["NodeType"]);
    says(&format!("smpdump {lid} 0x11"), &["0101"]);
    // Another vendor's attribute: refused at once, not after timeouts.
    let refused = lab.exec("h1", &["smpquery", "MEPI", &lid.to_string()]);
    assert!(!refused.status.success() && refused.took < PATIENCE / 20, "{refused:?}");
    let said = tool(lab, "h1", &format!("ibportstate {switch} 1 query"));
    assert!(said.contains("LinkState:.......................Active"), "{said}");
}

fn switch_lid(lab: &Lab, switch: &str) -> u64 {
    let said = tool(lab, switch, "ibaddr");
    let lid = said.split("LID start 0x").nth(1).and_then(|rest| rest.split(' ').next()).expect("a LID");
    u64::from_str_radix(lid, 16).unwrap()
}

fn records(lab: &Lab, hosts: &[Value], links: &[Value], switches: usize) {
    let ask = |words: &str| tool(lab, "h1", &format!("saquery --smkey 1 {words}"));
    let count = |words: &str, mark: &str| ask(words).matches(mark).count();
    let nodes = hosts.len() + switches;
    assert_eq!(count("NR", "NodeRecord dump"), nodes);
    let named = ask("NR");
    assert!(hosts.iter().all(|host| named.contains(&format!("{} HCA-1", text(host, "name")))), "{named}");
    assert_eq!(count("LR", "LinkRecord dump"), 2 * links.len());
    assert_eq!(count("SWIR", "SwitchInfoRecord dump"), switches);
    assert!(count("PIR", "PortInfoRecord dump") > nodes);
    assert_eq!(count("CPI", "SA ClassPortInfo"), 1);
    assert_eq!(count("SMIR", "SMInfoRecord dump"), 1);
    assert!(count("MCMR", "MCMember Record dump") >= hosts.len());
    assert!(count("-g", "MCMemberRecord group dump") >= 1);
    assert!(count("-m", "MCMemberRecord member dump") >= hosts.len());
    assert!(count("PKTR", "PKeyTableRecord dump") >= hosts.len());
    assert!(count("GIR", "GUIDInfo Record dump") >= nodes);
    assert!(count("LFTR", "LFT Record dump") >= switches);
    assert!(count("MFTR", "MFT Record dump") >= 1);
    assert!(count("SL2VL", "SL2VLTableRecord dump") >= hosts.len());
    assert!(count("VLAR", "VLArbTableRecord dump") >= hosts.len());
    assert!(count("IIR", "InformInfoRecord dump") >= hosts.len());
    ask("SR");
    let paths = ask(&format!("PR --src-to-dst {}:{}", hosts[0]["lid"], hosts[1]["lid"]));
    assert_eq!(paths.matches("PathRecord dump").count(), 1, "{paths}");
    for words in ["-N", "-s", "-c", "-x", "-I", "--list"] {
        ask(words);
    }
}

fn routes(lab: &Lab, first: &Value, last: &Value, switch: &str) {
    let (from, to) = (first["lid"].as_u64().unwrap(), last["lid"].as_u64().unwrap());
    let said = tool(lab, "h1", &format!("ibtracert {from} {to}"));
    let steps: Vec<&str> = said.lines().filter(|line| line.starts_with('[')).collect();
    assert!(
        steps.last().is_some_and(|line| line.contains(&format!("{} HCA-1", text(last, "name")))),
        "{said}"
    );
    // The first switch on the way sends it where the lab says it does.
    let table = lab.show("routes");
    let rows = table.iter().filter(|row| row["switch"] == switch);
    let switch = switch_lid(lab, switch);
    let said = tool(lab, "h1", &format!("ibroute {switch}"));
    for row in rows.filter(|row| row["lid"].as_u64() < Some(0xc000)) {
        let (lid, port) = (row["lid"].as_u64().unwrap(), row["ports"][0].as_u64().unwrap());
        assert!(said.contains(&format!("0x{lid:04x} {port:03} ")), "{lid} by {port}: {said}");
    }
    let said = tool(lab, "h1", &format!("ibroute -M {switch}"));
    assert!(said.contains("0xc000"), "{said}");
    let said = tool(lab, "h1", "dump_fts");
    assert!(said.contains(&format!("0x{to:04x}")), "{said}");
    tool(lab, "h1", "dump_fts -M");
    assert!(tool(lab, "h1", "dump_mfts").contains("0xc000"));
    scripts(lab, first, last);
    tool(lab, "h1", &format!("ibtracert -m 0xc000 {from} {to}"));
}

/// Tools that are scripts around others. They keep what they found in the machine's cache, which is not for a test.
fn scripts(lab: &Lab, first: &Value, last: &Value) {
    let own_cache = |script: &str| {
        let script = format!("mount -t tmpfs tmpfs /var/cache && {script}");
        lab.exec("h1", &["unshare", "--mount", "sh", "-euc", &script]).ok()
    };
    let dir = TempDir::new();
    let (tables, cache) = (dir.file("lfts"), dir.file("cache"));
    own_cache(&format!(
        "dump_lfts > {tables} && ibnetdiscover --cache {cache} && check_lft_balance -l {tables} -i {cache}"
    ));
    // Nodes that are reached through the port of the first switch where the first host is: that host.
    let table = lab.show("links");
    let name = text(first, "name");
    let at = |row: &Value| [text(row, "a"), text(row, "b")].into_iter().any(|end| node_of(end) == name);
    let row = table.iter().find(|row| at(row)).expect("it has a cable");
    let end = [text(row, "a"), text(row, "b")].into_iter().find(|end| node_of(end) != name).unwrap();
    let (switch, port) = end.split_once(':').expect("a switch's port");
    let known = tool(lab, "h1", "ibswitches");
    let line = known.lines().find(|line| line.contains(&format!("\"{switch}\""))).expect("it is there");
    let guid = line.split_whitespace().find(|word| word.starts_with("0x")).expect("its GUID");
    let said = own_cache(&format!("ibfindnodesusing -R {guid} {port}"));
    assert!(said.contains(&format!("{name} HCA-1")), "{said}");
    assert!(!said.contains(&format!("{} HCA-1", text(last, "name"))), "{said}");
}

fn performance(lab: &Lab, last: &Value, switch: &str) {
    let lid = last["lid"].as_u64().unwrap();
    let switch = switch_lid(lab, switch);
    for options in [
        "",
        "-x",
        "-X",
        "-S",
        "-D",
        "-E",
        "-T",
        "-c",
        "--rcverr",
        "--xmtdisc",
        "--oprcvcounters",
        "--flowctlcounters",
        "--vloppackets",
        "--vlopdata",
        "--vlxmitflowctlerrors",
        "--vlxmitcounters",
        "--rcvcc",
        "--slrcvfecn",
        "--slrcvbecn",
        "--xmitcc",
        "--vlxmittimecc",
    ] {
        tool(lab, "h1", &format!("perfquery {options} {lid} 1"));
        tool(lab, "h1", &format!("perfquery {options} {switch} 1"));
    }
    tool(lab, "h1", &format!("perfquery --swportvlcong {switch} 1"));
    tool(lab, "h1", &format!("perfquery -a {switch}"));
    tool(lab, "h1", &format!("perfquery -l {switch}"));
    // A subnet that has just come up has lost the multicast that came before its groups; the tool's status says so.
    lab.exec("h1", &["ibqueryerrors", "--clear-errors", "--clear-counts"]).says(&["nodes checked"]);
    eventually("no errors", PATIENCE, || {
        lab.exec("h1", &["ibqueryerrors", "-s", "PortRcvSwitchRelayErrors"]).status.success().then_some(())
    });
}

fn programs(lab: &Lab, last: &Value, switch: &str) {
    assert!(tool(lab, switch, "sminfo").contains("SMINFO_MASTER"));
    let (host, lid) = (text(last, "name"), last["lid"].as_u64().unwrap().to_string());
    let _server = lab.spawn(host, &["ibping", "-S"]);
    eventually("ibping is answered", PATIENCE, || {
        let done = lab.exec("h1", &["ibping", "-c", "2", &lid]);
        done.said().contains("2 packets transmitted, 2 received, 0% packet loss").then_some(())
    });
    let _server = lab.spawn(host, &["ibsysstat", "-S"]);
    eventually("ibsysstat is answered", PATIENCE, || {
        lab.exec("h1", &["ibsysstat", &lid]).said().contains("sysstat ping succeeded").then_some(())
    });
    // Nobody serves these: an answer that says so, at once.
    for words in [["ibccquery", "ClassPortInfo", &lid], ["vendstat", "-N", &lid]] {
        let refused = lab.exec("h1", &words);
        assert!(!refused.status.success() && refused.took < PATIENCE / 20, "{refused:?}");
    }
    // What programs did is told when they have ended, and what was lost to them.
    let lost = || lab.count("h1", "programs", "requests_timed_out");
    let (sent, before) = (lab.count("h1", "programs", "mads_sent"), lost());
    assert!(sent > 0 && lab.count("h1", "programs", "mads_received") > 0);
    // A program that gives up no later than its port does may end before its request comes back to it.
    eventually("what is lost is told", PATIENCE, || {
        let nobody = lab.exec("h1", &["smpquery", "-t", "50", "nodeinfo", "48000"]);
        assert!(!nobody.status.success(), "{nobody:?}");
        (lost() > before).then_some(())
    });
    assert!(lab.count("h1", "programs", "mads_sent") > sent);
}

/// What ibnetdiscover prints is a topology file of ours, and the fabric it makes is printed the same.
#[test]
fn a_discovery_is_a_topology() {
    needs();
    let dir = TempDir::new();
    let discover = |lab: &Lab| {
        let said = tool(lab, "h1", "ibnetdiscover");
        let body: Vec<&str> = said.lines().filter(|line| !line.starts_with('#')).collect();
        body.join("\n")
    };
    for options in [&["--sm", "opensm"][..], &["--topology", "fat-tree:k=4"]] {
        let first = discover(&Lab::start(options));
        let file = dir.write("discovered.net", first.clone());
        let second = Lab::start(
            &[&["--topology", &file], &options[..if options[0] == "--sm" { 2 } else { 0 }]].concat(),
        );
        let again = discover(&second);
        // LIDs are the manager's, and the order is the tool's.
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(without_lids).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&first), lines(&again));
    }
}

fn without_lids(line: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut skip = false;
    for word in line.split_whitespace() {
        if !std::mem::replace(&mut skip, word == "lid") && word != "lid" {
            words.push(word);
        }
    }
    words.join(" ")
}

/// The counters that perfquery reads move by what a transfer moved.
#[test]
fn counters_are_the_bytes_that_iperf3_moved() {
    needs();
    let lab = Lab::start(&["--sm", "opensm"]);
    let (from, to) = (lab.interface("h1", "ib0"), lab.interface("h3", "ib0"));
    eventually("h1 reaches h3", PATIENCE, || lab.pings("h1", "h3").then_some(()));
    let read = |row: &Value, name: &str| -> u64 {
        let said = tool(&lab, "h2", &format!("perfquery -x {} 1", row["lid"]));
        let line = said.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("it is there");
        line.rsplit('.').next().unwrap().parse().unwrap()
    };
    let all = || {
        [
            read(&from, "PortXmitData"),
            read(&from, "PortXmitPkts"),
            read(&to, "PortRcvData"),
            read(&to, "PortRcvPkts"),
        ]
    };
    let _server = lab.serve("h3", 5201, &["iperf3", "-s", "-1"]);
    let before = all();
    let report = lab.exec("h1", &["iperf3", "-c", "h3", "-4", "-n", "64M", "-J"]).ok();
    let after = all();
    let report: Value = serde_json::from_str(&report).unwrap();
    let sum = |name: &str| report["end"][name]["bytes"].as_u64().unwrap();
    // The receiver stops counting when it has heard enough.
    let (bytes, most) = (sum("sum_received"), sum("sum_sent"));
    assert!((64 << 20) - (4 << 20) <= bytes && bytes <= most, "{bytes} of {most}");
    let [sent, sent_packets, got, got_packets] = std::array::from_fn(|i| after[i] - before[i]);
    println!("{bytes} bytes: {sent} words in {sent_packets} packets sent, {got} in {got_packets} received");
    // TCP's payload is at most 2044 - 20 - 20 - 12 of 2048 bytes; a packet has 26 bytes of headers and CRCs on the
    // link (LRH 8, BTH 12, DETH 8, ICRC 4, without VCRC's 2), which PortXmitData counts in words.
    let least_packets = bytes.div_ceil(1992);
    for (packets, words) in [(sent_packets, sent), (got_packets, got)] {
        assert!(packets >= least_packets, "{packets} packets cannot hold {bytes} bytes");
        assert!(packets <= most.div_ceil(1992) * 11 / 10 + 1000, "{packets} packets for {bytes} bytes");
        let least_words = bytes / 4 + packets * ((8 + 12 + 8 + 4 + 4 + 20 + 20) / 4);
        assert!(words >= least_words - packets * 3, "{words} words, at least {least_words}");
        assert!(words <= most / 4 + packets * 40, "{words} words for {bytes} bytes");
    }
    let shown = lab.count("h1", "port 1", "xmit_words");
    let now = read(&from, "PortXmitData");
    assert!(now >= shown && now - shown < 20_000, "{shown} in `show counters`, then {now} by perfquery");
}

/// ibportstate on a link that carries traffic: off, on, and once more by a reset.
#[test]
fn ibportstate_takes_a_busy_link_down_and_up() {
    needs();
    let lab = Lab::start(&["--sm", "opensm"]);
    eventually("h1 reaches h2", PATIENCE, || lab.pings("h1", "h2").then_some(()));
    let flow = lab.spawn("h1", &["ping", "-n", "-q", "-i", "0.01", "h2"]);
    let switch = switch_lid(&lab, "sw1").to_string();
    let state = |host: &str| text(&lab.interface(host, "ib0"), "state").to_owned();
    let set = |words: &[&str]| lab.exec("h1", &[&["ibportstate", &switch, "2"], words].concat()).ok();
    set(&["disable"]);
    eventually("h2 is down", PATIENCE, || (state("h2") == "down").then_some(()));
    assert!(!lab.pings("h1", "h2"));
    assert_eq!(state("h1"), "up");
    set(&["enable"]);
    eventually("h2 is up", PATIENCE, || (state("h2") == "up").then_some(()));
    eventually("h1 reaches h2", PATIENCE, || lab.pings("h1", "h2").then_some(()));
    set(&["reset"]);
    eventually("h1 reaches h2 after the reset", PATIENCE, || lab.pings("h1", "h2").then_some(()));
    drop(flow);
}

/// osmtest makes an inventory of the subnet and validates all that the administration says against it.
#[test]
fn osmtest_validates_everything() {
    require_opensm();
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--sm", "opensm", "--topology", "star:3"]);
    let osmtest = |flow: &str| {
        let script = format!("cd $OSM_TMP_DIR && /usr/sbin/osmtest -l /run/osmtest.log -f {flow}");
        run(&mut lab.command("h2", &["sh", "-euc", &script]), 2 * PATIENCE)
    };
    osmtest("c").exits(0).says(&["\"Create Inventory\" PASS"]);
    osmtest("a").exits(0).says(&["\"All Validations\" PASS"]);
}
