//! Pings of all kinds between all hosts.

use crate::harness::{Lab, PATIENCE, eventually, require};

/// Payload sizes: nothing, the default, what fits one packet and what is cut into up to 33.
const SIZES: [u32; 7] = [0, 56, 511, 1025, 2016, 8192, 65507];

#[test]
fn all_hosts_reach_all_with_all_sizes_in_both_families() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&[]);
    let hosts = ["h1", "h2", "h3", "h4"];
    for from in hosts {
        let others: Vec<_> = hosts.into_iter().filter(|to| *to != from).collect();
        let script = format!(
            "for family in -4 -6; do for to in {}; do for size in {}; do
                if [ $family$size = -665507 ]; then size=65487; fi
                ping -q $family -c 3 -i 0.01 -W 5 -s $size $to >/dev/null ||
                    {{ echo \"$to does not answer $size with $family\"; exit 1; }}
            done; done; done",
            others.join(" "),
            SIZES.map(|size| size.to_string()).join(" "),
        );
        lab.exec(from, &["sh", "-c", &script]).ok();
        // Not as ping counts: on a busy machine it may leave before its last answer is in.
        let all = 3 * others.len() * SIZES.len();
        for name in ["IcmpInEchoReps", "Icmp6InEchoReplies"] {
            eventually(&format!("{from} has all answers"), PATIENCE, || {
                let said = lab.exec(from, &["nstat", "-asz", name]).ok();
                let line = said.lines().find(|line| line.starts_with(name));
                let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
                let count = count.unwrap_or_else(|| panic!("no {name}: {said}"));
                assert!(count <= all, "{count} answers to {all} questions");
                (count == all).then_some(())
            });
        }
    }
}

#[test]
fn the_largest_packet_that_may_not_be_cut_is_2044() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    let ping = |family, size| lab.exec("h1", &["ping", family, "-M", "do", "-c", "1", "-s", size, "h2"]);
    ping("-4", "2016").exits(0);
    ping("-4", "2017").exits(1).says(&["essage too long"]);
    ping("-6", "1996").exits(0);
    ping("-6", "1997").exits(1).says(&["essage too long"]);
}

#[test]
fn a_broadcast_and_all_nodes_are_answered_by_every_host() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&[]);
    for host in ["h1", "h2", "h3", "h4"] {
        lab.sh(host, "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts");
    }
    let said = lab.sh("h1", "ping -n -b -c 3 -i 0.2 10.77.0.255");
    for peer in ["10.77.0.2", "10.77.0.3", "10.77.0.4"] {
        assert!(said.matches(&format!("from {peer}:")).count() >= 2, "{peer}: {said}");
    }
    let said = lab.sh("h1", "ping -n -6 -c 3 -i 0.2 ff02::1%ib0");
    for peer in ["h2", "h3", "h4"] {
        let address = lab.sh(peer, "ip -6 -br address show dev ib0 scope link | grep -o 'fe80[^/]*'");
        assert!(said.contains(address.trim()), "{peer} has {address} and is not in {said}");
    }
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    require(&[("ping", "iputils-ping")]);
    let lab = Lab::start(&["--topology", "star:2"]);
    for to in ["10.77.0.99", "fd77::99"] {
        lab.exec("h1", &["ping", "-n", "-c", "1", "-W", "5", to]).exits(1).says(&["nreachable"]);
    }
    assert!(lab.pings("h1", "h2"));
}
