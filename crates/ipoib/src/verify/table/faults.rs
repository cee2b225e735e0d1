//! The faults.

use super::super::{
    faults,
    programs::{ARPING, IP, NUTTCP, PING, PYTHON},
    row::{Breaker, Harm, Promise, Row, Setting},
};

const HARMED: Setting = Setting::Harmed { hosts: 2 };

const fn breaks(what: &'static str, harm: Harm) -> Breaker {
    Breaker { what, harm }
}

/// Whatever comes back comes late.
const SLOW: &[Breaker] = &[breaks("every packet of the server takes 0.4 s", Harm::Server("delay 400ms"))];

/// F4 to F25.
pub(super) static FAULTS: &[Row] = &[
    Row {
        id: "F4",
        title: "no subnet manager, then one",
        meaning: "Without a subnet manager no carrier is on and every interface says what it waits for; all come up \
                  by themselves when there is one.",
        command: "ipoib lab --sm none; ipoib show hosts; ipoib sm start",
        proves: &[Promise::NeedsManager],
        programs: &[PING],
        setting: Setting::Several,
        check: faults::manager::none,
        breakers: &[breaks("no manager comes", Harm::Trick("none comes"))],
    },
    Row {
        id: "F8",
        title: "cable pulled and plugged",
        meaning: "The carrier goes within 1 s and its reason is shown; a TCP stream survives 30 s; peers answer \
                  within 2 s after the carrier.",
        command: "ipoib fault link h4 down; ipoib fault link h4 up",
        proves: &[],
        programs: &[NUTTCP, PING, IP],
        setting: HARMED,
        check: faults::links::cable,
        breakers: SLOW,
    },
    Row {
        id: "F9",
        title: "bad contact",
        meaning: "A hundred flaps leak neither address handles nor descriptors, and the subnet administration is \
                  asked a bounded number of times.",
        command: "ipoib fault link h4 down; ipoib fault link h4 up, a hundred times",
        proves: &[Promise::HandlesFreed],
        programs: &[PING],
        setting: HARMED,
        check: faults::links::flaps,
        breakers: SLOW,
    },
    Row {
        id: "F10",
        title: "cut between switches",
        meaning: "With another way, peers are away for 1 s at most.",
        command: "ping -i 0.02 h4; ipoib fault link sw1:3 down",
        proves: &[],
        programs: &[PING],
        setting: Setting::Own(&["--topology", "pair"]),
        check: faults::links::reroute,
        breakers: &[breaks("there is no other way", Harm::Link("sw1:4", "down"))],
    },
    Row {
        id: "F12",
        title: "loss, corruption, delay",
        meaning: "Streams complete and are the same over links that lose 1% and 10% and that flip bits: what was \
                  corrupted is never delivered. (Duplicates and reordering need a link model that has them.)",
        command: "ipoib fault link h4 loss 10%; corrupt 1%; delay 20ms; nuttcp -t -s h4 <tx; cmp",
        proves: &[],
        programs: &[NUTTCP, PING],
        setting: HARMED,
        check: faults::quality::bad_link,
        breakers: &[breaks("the client's link loses 80%", Harm::Client("loss 80%"))],
    },
    Row {
        id: "F12b",
        title: "half of everything lost",
        meaning: "A link that loses half of all packets, management included, comes up.",
        command: "ipoib fault host h4 unplug; ipoib fault link h4 loss 50%; ipoib fault host h4 plug",
        proves: &[],
        programs: &[PING, IP],
        setting: HARMED,
        check: faults::quality::half_lost,
        breakers: &[breaks("packets of the server take 30 s", Harm::Server("delay 30s"))],
    },
    Row {
        id: "F13",
        title: "questions lost",
        meaning: "Questions to the subnet administration that are lost are asked again, and not too often.",
        command: "ipoib fault link h4 loss 40%; ip link set ib0 down; ip link set ib0 up",
        proves: &[],
        programs: &[PING, IP],
        setting: HARMED,
        check: faults::quality::questions,
        breakers: &[breaks("packets of the server take 30 s", Harm::Server("delay 30s"))],
    },
    Row {
        id: "F14",
        title: "Ctrl-C and SIGTERM",
        meaning: "A lab under load ends within 2 s and with exit status 0, and can be started again at once. \
                  (Drivers of one host each are processes of their own in a later release.)",
        command: "kill -INT LAB; kill -TERM LAB; ipoib lab --name LAB",
        proves: &[Promise::Unload],
        programs: &[PING],
        setting: Setting::Several,
        check: faults::endings::ended,
        breakers: &[breaks("the lab stands still", Harm::Trick("stopped"))],
    },
    Row {
        id: "F15",
        title: "Ctrl-Z",
        meaning: "A lab that was stopped for 30 s goes on within 2 s, and a TCP stream survives; so it does when its \
                  program is stopped.",
        command: "kill -STOP LAB; kill -CONT LAB; kill -STOP nuttcp; kill -CONT nuttcp",
        proves: &[],
        programs: &[NUTTCP, PING],
        setting: Setting::Own(&["--topology", "star:2"]),
        check: faults::endings::stopped,
        breakers: SLOW,
    },
    Row {
        id: "F16",
        title: "SIGKILL",
        meaning: "Of a lab that is killed nothing is left: its command ends, its name is free, the next has the same \
                  addresses.",
        command: "ipoib lab --name LAB -- sleep 600; kill -KILL LAB; ipoib lab --name LAB",
        proves: &[Promise::Unload, Promise::SameAddress],
        programs: &[PING],
        setting: Setting::Several,
        check: faults::endings::killed,
        breakers: &[breaks("a program stays in a host", Harm::Trick("left behind"))],
    },
    Row {
        id: "F17",
        title: "adapter unplugged",
        meaning: "An interface whose adapter is gone stays, without a carrier and with the reason, and comes back as \
                  itself.",
        command: "ipoib fault host h4 unplug; ipoib fault host h4 plug",
        proves: &[Promise::SameAddress],
        programs: &[PING, IP],
        setting: HARMED,
        check: faults::hosts::unplugged,
        breakers: SLOW,
    },
    Row {
        id: "F18",
        title: "interface down and up",
        meaning: "After a thousand times the hardware address is the same, peers answer within 2 s, nothing leaked.",
        command: "ip link set ib0 down; ip link set ib0 up; ip address add; ip address del",
        proves: &[Promise::SameAddress],
        programs: &[PING, IP],
        setting: HARMED,
        check: faults::hosts::down_and_up,
        breakers: SLOW,
    },
    Row {
        id: "F18b",
        title: "neighbours come and go",
        meaning: "The address handle of a peer goes with the neighbour entry.",
        command: "ping h4; ip neigh flush dev ib0; ipoib show counters",
        proves: &[Promise::HandlesFreed],
        programs: &[PING, IP],
        setting: HARMED,
        check: faults::hosts::handles,
        breakers: &[breaks(
            "the client never forgets the server",
            Harm::InClient(
                "ping -q -c1 -W2 10.77.0.4; mac=$(ip -o neigh show 10.77.0.4 | sed 's/.*lladdr //; s/ .*//'); \
                 ip neigh replace 10.77.0.4 lladdr $mac dev ib0 nud permanent",
            ),
        )],
    },
    Row {
        id: "F19",
        title: "address moves",
        meaning: "When an address moves to another host, its peers follow: at once if told by ARP, else within 40 s.",
        command: "ip address del in h2; ip address add; arping -A in h4",
        proves: &[],
        programs: &[PING, ARPING, IP],
        setting: Setting::Harmed { hosts: 3 },
        check: faults::hosts::moved,
        breakers: &[breaks("the new host's cable is pulled", Harm::Server("down"))],
    },
    Row {
        id: "F20",
        title: "more peers than handles",
        meaning: "At the bound on address handles the oldest makes room, and all peers answer.",
        command: "ipoib lab --topology star:6 --max-address-vector 2; ping $EACH",
        proves: &[Promise::AddressVectors],
        programs: &[PING],
        setting: Setting::Own(&["--topology", "star:6", "--max-address-vector", "2"]),
        check: faults::limits::full_table,
        breakers: &[breaks(
            "the bound is not met",
            Harm::Options(&["--topology", "star:6", "--max-address-vector", "64"]),
        )],
    },
    Row {
        id: "F21",
        title: "frames that make no sense",
        meaning: "What a host sends that makes no sense is dropped and counted by its cause. (What comes from a link \
                  needs a way to put packets on one.)",
        command: "python3, a raw socket in h1; ipoib show counters",
        proves: &[],
        programs: &[PYTHON, PING],
        setting: HARMED,
        check: faults::hostile::malformed,
        breakers: &[breaks("nothing is sent", Harm::Trick("silent"))],
    },
    Row {
        id: "F22",
        title: "duplicate addresses",
        meaning: "An address that another host has is found to be taken, by IPv6 and by ARP probes.",
        command: "ip -6 address add fd77::4/64 in h1; arping -D 10.77.0.4",
        proves: &[Promise::Ipv6],
        programs: &[PING, ARPING, IP],
        setting: HARMED,
        check: faults::hostile::duplicate,
        breakers: &[breaks("the other host is not heard", Harm::Server("down"))],
    },
    Row {
        id: "F23",
        title: "disk full",
        meaning: "A capture whose disk is full ends with a message, and the lab goes on.",
        command: "ipoib capture -w /dev/full",
        proves: &[],
        programs: &[PING],
        setting: HARMED,
        check: faults::limits::full_disk,
        breakers: &[breaks("the lab stands still", Harm::Stopped)],
    },
    Row {
        id: "F25",
        title: "everybody asks at once",
        meaning: "When a link of a spine goes and all hosts forget their peers, all are reached again, with a \
                  bounded number of questions, none of them unanswered.",
        command: "ipoib lab --topology fat-tree:k=4; ipoib fault link SPINE down; ip neigh flush all in every host",
        proves: &[],
        programs: &[PING, IP],
        setting: Setting::Own(&["--topology", "fat-tree:k=4"]),
        check: faults::limits::storm,
        breakers: &[breaks("the cable of one host is pulled", Harm::Link("h5", "down"))],
    },
];
