//! The last hop of multicast packets: which end ports at a switch get what comes in through one of its ports.
//!
//! Most members of a large group hang on a switch together, and who they are seldom changes. A switch whose links to
//! all of them are clear remembers them, with all that ports and queue pairs would be asked: its copies are counted and
//! received, and no packet is made. If one of them is in any way special, all go step by step (`walk`), by the same rules.
//! What several packets count at a port is added up, and counted before anybody can ask for it.
//!
//! Whoever changes a table, a state, a link or a queue pair forgets all of this, as with ways (`express`).

use alloc::vec::Vec;
use core::mem;

use ib_wire::{
    addr::{MulticastGid, MulticastLid, PKey, PortNum, QKey, Qpn, ServiceLevel, VirtualLane},
    packet::Measure,
};

use crate::{
    endport::{EndPort, receive},
    express,
    fabric::Fabric,
    flight::Flight,
    link::Link,
    port::Port,
    switch::{PortSet, Switch},
};

/// Sorts of packets that each switch remembers at most.
const SORTS: usize = 4;

/// What was looked up since something changed.
#[derive(Debug, Default)]
pub(crate) struct Spreads {
    /// By switch, then by multicast LID; empty until the first is looked up.
    known: Vec<Option<Spread>>,
    /// Those of them that have something to count.
    uncounted: Vec<usize>,
    /// Counts changes of queue pairs.
    generation: u64,
}

/// What the receivers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    /// The switch's port that the packet came in through.
    at: usize,
    mlid: MulticastLid,
    mgid: MulticastGid,
    sl: ServiceLevel,
    pkey: PKey,
    qkey: QKey,
}

/// Where packets of one sort go.
#[derive(Debug)]
struct Spread {
    sort: Sort,
    /// Changes of the fabric and of queue pairs until it was looked up.
    generation: (u64, u64),
    /// None if the way to one of them is not clear.
    reach: Option<Reach>,
    leaves: Vec<Leaf>,
    uncounted: Uncounted,
}

/// What each leaf got and has not counted.
#[derive(Clone, Copy, Debug, Default)]
struct Uncounted {
    datagrams: u64,
    measure: Measure,
}

/// All that get packets of a sort, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    /// The largest payload that all end ports take.
    largest: usize,
    /// Ports that lead to other switches.
    others: PortSet,
    /// How many copies that makes.
    copies: usize,
}

/// One that receives.
#[derive(Debug, PartialEq, Eq)]
struct Leaf {
    out: u32,
    into: u32,
    end: u32,
    /// The queue pair's place at the end port.
    place: u32,
    qpn: Qpn,
    vl: VirtualLane,
}

impl Spread {
    fn count(&mut self, ports: &mut [Port], ends: &mut [EndPort]) {
        let Uncounted { datagrams, measure } = mem::take(&mut self.uncounted);
        if datagrams == 0 {
            return;
        }
        for leaf in &self.leaves {
            ports[leaf.out as usize].counters.sent(measure, true, self.sort.sl);
            ports[leaf.into as usize].counters.received(measure, true, self.sort.sl, leaf.vl);
            ends[leaf.end as usize].qps.received_at(leaf.place as usize, datagrams);
        }
    }
}

impl Uncounted {
    fn add(&mut self, measure: Measure) {
        self.datagrams += 1;
        self.measure.packets += measure.packets;
        self.measure.words += measure.words;
    }

    /// True if one more might be more than there is room for.
    const fn is_much(&self) -> bool {
        self.measure.words > u32::MAX / 2
    }
}

impl Sort {
    /// The sort of a packet that came in through `at`, if it is a multicast as it should be.
    fn of(at: usize, flight: &Flight) -> Option<Self> {
        let packet = &flight.packet;
        let mgid = packet.grh.as_ref()?.dgid.multicast()?;
        let mlid = packet.lrh.dlid.multicast()?;
        let (sl, pkey, qkey) = (packet.lrh.sl, packet.bth.pkey, packet.deth.qkey);
        let is_data = !flight.is_management() && packet.bth.dest_qp == Qpn::MULTICAST;
        is_data.then_some(Self { at, mlid, mgid, sl, pkey, qkey })
    }
}

impl Fabric {
    /// Counts what was put off.
    #[inline]
    pub(crate) fn count_spreads(&mut self) {
        while let Some(at) = self.spreads.uncounted.pop() {
            if let Some(spread) = &mut self.spreads.known[at] {
                spread.count(&mut self.ports, &mut self.ends);
            }
        }
    }

    /// A queue pair, or where a group's packets go, is about to change.
    pub(crate) fn forget_spreads(&mut self) {
        self.count_spreads();
        self.spreads.generation += 1;
    }

    /// Hands a packet that came in through `at` to all end ports of the switch that are to get it: how many these are,
    /// and the ports that lead elsewhere. None if that is to be done step by step; then nothing has happened.
    pub(crate) fn spread(&mut self, at: usize, switch: usize, flight: &Flight) -> Option<(usize, PortSet)> {
        let sort = Sort::of(at, flight)?;
        let Self { spreads, express, ports, links, ends, switches, outputs, .. } = self;
        if spreads.known.is_empty() {
            spreads.known.resize_with(switches.len() * SORTS, || None);
        }
        let generation = (express.generation(), spreads.generation);
        let place = switch * SORTS + sort.mlid.index() % SORTS;
        let known = &mut spreads.known[place];
        let is_known = |spread: &Spread| spread.generation == generation && spread.sort == sort;
        if !known.as_ref().is_some_and(is_known) {
            if let Some(old) = known {
                old.count(ports, ends);
            }
            let mut leaves = Vec::new();
            let reach = survey(sort, switch, ends, ports, links, switches, |leaf| leaves.push(leaf));
            *known = Some(Spread { sort, generation, reach, leaves, uncounted: Uncounted::default() });
        }
        let spread = known.as_mut()?;
        let Spread { reach, leaves, uncounted, .. } = spread;
        debug_assert!(
            {
                let (mut known, mut same) = (leaves.iter(), true);
                let check = |leaf| same &= known.next() == Some(&leaf);
                let now = survey(sort, switch, ends, ports, links, switches, check);
                now == *reach && (now.is_none() || same && known.next().is_none())
            },
            "a change was not told"
        );
        let Reach { largest, others, copies } = (*reach)?;
        if flight.largest > largest || self.copies_left < copies {
            return None;
        }
        outputs.put_copies(&flight.packet, leaves.iter().map(|leaf| (leaf.end as usize, leaf.qpn)));
        if uncounted.datagrams == 0 {
            spreads.uncounted.push(place);
        }
        uncounted.add(flight.measure);
        let receivers = leaves.len();
        if uncounted.is_much() {
            spread.count(ports, ends);
        }
        self.copies_left -= receivers.saturating_sub(1);
        Some((receivers, others))
    }
}

/// Looks for all that get packets of a sort, if the way to all of them is clear. `take` gets the end ports.
fn survey(
    sort: Sort,
    switch: usize,
    ends: &[EndPort],
    ports: &[Port],
    links: &[Link],
    switches: &[Switch],
    mut take: impl FnMut(Leaf),
) -> Option<Reach> {
    let ingress = &ports[sort.at];
    let switch = &switches[switch];
    let mut reach = Reach { largest: usize::MAX, others: PortSet::default(), copies: 0 };
    for num in switch.group(sort.mlid, ingress.num).ok()? {
        if num == PortNum::MANAGEMENT {
            return None;
        }
        reach.copies += 1;
        let out = ingress.sibling(sort.at, num);
        let port = &ports[out];
        if port.cable.is_none_or(|cable| ports[cable.peer].switch.is_some()) {
            reach.others.insert(num);
            continue;
        }
        let vl = switch.lanes(ingress.num, num).lane(sort.sl, port.info.operational_vls)?;
        let (into, largest) = express::beyond(out, vl, sort.pkey, ports, links)?;
        reach.largest = reach.largest.min(largest);
        let end = ports[into].end?;
        let (place, qp) = ends[end].qps.only_one(sort.mgid, sort.mlid)?;
        receive::check(qp, sort.pkey, sort.qkey).ok()?;
        let number = |at: usize| u32::try_from(at).ok();
        let [out, into, end, place] = [out, into, end, place].map(number);
        take(Leaf { out: out?, into: into?, end: end?, place: place?, qpn: qp.qpn, vl });
    }
    Some(reach)
}
