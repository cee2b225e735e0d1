//! `/sys/class/infiniband` in the hosts, as the programs of an InfiniBand host read it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Lab, PATIENCE, TempDir, eventually, ipoib, new_name, require, run};

const PORT: &str = "/sys/class/infiniband/ipoib_0/ports/1";

/// What `ibstatus` says about one port: each line's name and value.
fn status(said: &str, port: u8) -> Vec<(String, String)> {
    let head = format!("Infiniband device 'ipoib_0' port {port} status:");
    let lines = said.lines().skip_while(|line| *line != head).skip(1).take_while(|line| !line.is_empty());
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.trim().into(), value.trim().into()));
    let pairs: Vec<_> = lines.filter_map(pair).collect();
    assert_eq!(pairs.len(), 7, "{said}");
    pairs
}

/// A file of a port.
#[track_caller]
fn file(lab: &Lab, host: &str, name: &str) -> String {
    lab.sh(host, &format!("cat {PORT}/{name}")).trim_end().to_owned()
}

#[test]
fn ibstatus_agrees_with_what_the_lab_shows() {
    require(&[("ibstatus", "infiniband-diags")]);
    let lab = Lab::start(&[]);
    for host in ["h1", "h4"] {
        let row = lab.interface(host, "ib0");
        let said = lab.exec(host, &["ibstatus"]).ok();
        let manager = &lab.show("sm")[0];
        // The address is 20 octets: flags, a queue pair, and the GID.
        let octets: Vec<&str> = row["address"].as_str().unwrap().split(':').collect();
        let gid = octets[4..].chunks(2).map(<[&str]>::concat).collect::<Vec<_>>().join(":");
        let lid = |row: &Value| format!("{:#x}", row["lid"].as_u64().unwrap());
        let expected = [
            ("default gid", gid.as_str()),
            ("base lid", &lid(&row)),
            ("sm lid", &lid(manager)),
            ("state", "4: ACTIVE"),
            ("phys state", "5: LinkUp"),
            ("rate", "100 Gb/sec (4X EDR)"),
            ("link_layer", "InfiniBand"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(status(&said, 1), expected, "{said}");
    }
}

/// The first thing a command does may be to look.
#[test]
fn a_lab_that_is_up_shows_ports_that_are() {
    require(&[("ibstatus", "infiniband-diags")]);
    let name = new_name();
    let words = ["lab", "--name", &name, "--topology", "star:8", "--", "ibstatus"];
    let said = run(&mut ipoib(words), PATIENCE).ok();
    assert_eq!(status(&said, 1)[3].1, "4: ACTIVE", "{said}");
}

/// What node_exporter and libibumad look for besides.
#[test]
fn an_adapter_has_the_files_of_a_kernels() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let texts =
        lab.sh("h2", "cd /sys/class/infiniband/ipoib_0; cat node_type node_desc hca_type board_id hw_rev");
    assert_eq!(texts, "1: CA\nh2 HCA-1\nipoib\nipoib-lab\n0\n");
    let mads =
        lab.sh("h2", "cd /sys/class/infiniband_mad; cat abi_version umad0/ibdev umad0/port issm0/port; ls");
    assert_eq!(mads, "5\nipoib_0\n1\n1\nabi_version\nissm0\numad0\n");
    assert_eq!(file(&lab, "h2", "pkeys/0"), "0xffff");
    assert_eq!(file(&lab, "h2", "gid_attrs/types/0"), "IB/RoCE v1");
    assert_eq!(lab.sh("h2", &format!("ls {PORT}/counters | wc -l")), "21\n");
    // Readable for all, writable for none, and no business of the machine's.
    let wrote = lab.exec("h2", &["sh", "-c", &format!("echo x > {PORT}/state")]);
    assert!(!wrote.status.success(), "{wrote:?}");
    assert!(!std::fs::exists("/sys/class/infiniband/ipoib_0").unwrap());
}

#[test]
fn counters_follow_what_passes() {
    require(&[("iperf3", "iperf3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let before: u64 = file(&lab, "h1", "counters/port_xmit_data").parse().unwrap();
    let server = lab.serve("h2", 5201, &["iperf3", "-s", "-1"]);
    lab.exec("h1", &["iperf3", "-c", "10.77.0.2", "-n", "50M"]).ok();
    let done = Instant::now();
    server.finish(PATIENCE);
    let same = |host: &str| {
        [
            ("port_xmit_data", "xmit_words"),
            ("port_rcv_data", "rcv_words"),
            ("port_xmit_packets", "xmit_packets"),
            ("port_rcv_packets", "rcv_packets"),
            ("unicast_xmit_packets", "xmit_unicast_packets"),
            ("multicast_rcv_packets", "rcv_multicast_packets"),
            ("port_xmit_discards", "xmit_discards"),
        ]
        .iter()
        .all(|(name, counter)| {
            let read: u64 = file(&lab, host, &format!("counters/{name}")).parse().unwrap();
            read == lab.count(host, "port 1", counter)
        })
    };
    // A second by design; each look takes many programs, which a busy machine takes its time to start.
    let within = Duration::from_secs(15).saturating_sub(done.elapsed());
    // Now and then a packet of the hosts' own passes between the two looks.
    let ((), took) = eventually("the counters agree", within, || (same("h1") && same("h2")).then_some(()));
    let after: u64 = file(&lab, "h1", "counters/port_xmit_data").parse().unwrap();
    println!("{} words, told after {took:?}", after - before);
    // iperf3 counts what its socket took, and may end before all of that has left.
    assert!((after - before) * 4 >= 45 << 20, "{before} {after}");
}

#[test]
fn a_port_whose_cable_is_pulled_says_so_within_a_second() {
    let lab = Lab::start(&["--topology", "star:2"]);
    let active = |wanted: &str| {
        let ((), took) = eventually(wanted, Duration::from_secs(1), || {
            (file(&lab, "h2", "state") == wanted).then_some(())
        });
        println!("{wanted} after {took:?}");
    };
    active("4: ACTIVE");
    lab.fault_link(&["sw1:2", "down"]);
    active("1: DOWN");
    assert_eq!(file(&lab, "h2", "phys_state"), "2: Polling");
    assert_eq!(file(&lab, "h1", "state"), "4: ACTIVE");
    let downed: u64 = file(&lab, "h2", "counters/link_downed").parse().unwrap();
    assert_eq!(downed, 1);
    lab.fault_link(&["sw1:2", "up"]);
    eventually("active again", Duration::from_secs(3), || {
        (file(&lab, "h2", "state") == "4: ACTIVE").then_some(())
    });
    assert_eq!(file(&lab, "h2", "phys_state"), "5: LinkUp");
}

/// Whoever reads in a loop while they change: whole texts only.
#[test]
fn a_reader_never_sees_half_a_text() {
    require(&[("python3", "python3")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let program = "
import sys, time
base, end, seen = sys.argv[1], time.time() + 4, set()
whole = {'1: DOWN', '2: INIT', '3: ARMED', '4: ACTIVE'}
last = 0
while time.time() < end:
    state = open(base + '/state').read()
    assert state[-1:] == '\\n' and state[:-1] in whole, repr(state)
    seen.add(state)
    count = open(base + '/counters/port_xmit_packets').read()
    assert count[-1:] == '\\n' and int(count) >= last, (count, last)
    last = int(count)
print(len(seen), last)
";
    let reader = lab.python("h2", program, &[PORT]);
    let ping = lab.spawn("h1", &["ping", "-q", "-i", "0.002", "-w", "3", "h2"]);
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        lab.fault_link(&["sw1:2", "down"]);
        std::thread::sleep(Duration::from_millis(300));
        lab.fault_link(&["sw1:2", "up"]);
    }
    let said = reader.finish(PATIENCE).ok();
    println!("states, packets: {said}");
    let seen: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(seen >= 2, "nothing changed while it read: {said}");
    drop(ping);
}

#[test]
fn a_port_shows_the_partitions_it_is_in() {
    let guids: Vec<_> = {
        let lab = Lab::start(&["--topology", "star:3"]);
        let guid = |row: &Value| format!("0x{}", row["guid"].as_str().unwrap().replace(':', ""));
        lab.show("hosts").iter().map(guid).collect()
    };
    let dir = TempDir::new();
    let text = format!(
        "Default=0x7fff, ipoib: ALL=full;\nred=0x0001, ipoib: {}=full, {}=limited;\n",
        guids[0], guids[1]
    );
    let lab = Lab::start(&["--topology", "star:3", "--partitions", &dir.write("partitions.conf", text)]);
    let keys = |host: &str| {
        let mut keys: Vec<_> =
            lab.sh(host, &format!("cat {PORT}/pkeys/*")).lines().map(str::to_owned).collect();
        keys.retain(|key| key != "0x0000");
        keys.sort();
        keys
    };
    assert_eq!(keys("h1"), ["0x8001", "0xffff"]);
    assert_eq!(keys("h2"), ["0x0001", "0xffff"]);
    assert_eq!(keys("h3"), ["0xffff"]);
}
