//! Ways that are clear from end to end: looked up once, then gone in one step.
//!
//! What becomes of a unicast datagram on its way follows from tables and states that seldom change, as long as every
//! link carries packets at once, unharmed and unseen. The fabric remembers such ways. A datagram that has one is
//! counted at every port it passes, as ever, and is at the far end. Everything else goes step by step (`walk`), by the
//! same rules: both ask `Port` and `Switch`.
//!
//! Whoever changes a table, a state or a link forgets all ways ([`Express::forget`]).

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, PKey, PortNum, Qpn, ServiceLevel, VirtualLane},
    packet::{Bth, Deth, Lrh, Measure},
    ud::{UdReceived, UdSend},
};

use crate::{
    endport::{EndPort, receive},
    fabric::Fabric,
    flight::Step,
    id::PortId,
    link::Link,
    output::Output,
    port::{Logical, Port},
    switch::Switch,
};

/// Ways that are remembered at most: those of as many pairs of ports that talk at one time.
const WAYS: usize = 1024;
/// Links of the longest way that is remembered.
const LINKS: usize = 8;
/// Bytes in front of the payload of a datagram without a GRH.
const UD_HEADERS: usize = Lrh::LEN + Bth::LEN + Deth::LEN;

/// The ways that were looked up since something changed.
#[derive(Debug, Default)]
pub(crate) struct Express {
    /// By a mixture of what they start from; empty until the first is looked up.
    ways: Vec<Way>,
    /// Counts changes.
    generation: u64,
}

/// What the way of a datagram depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The end port that sends.
    pub(crate) end: usize,
    pub(crate) dlid: Lid,
    pub(crate) sl: ServiceLevel,
    pub(crate) pkey: PKey,
}

/// A way, or that there is none that is clear.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    start: Start,
    /// What it was looked up in.
    generation: u64,
    clear: Option<Clear>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Clear {
    /// The end port it leads to.
    end: usize,
    /// The largest payload that all ports on the way take.
    largest: usize,
    links: usize,
    hops: [Hop; LINKS],
}

/// From one port over a link to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hop {
    out: u32,
    into: u32,
    vl: VirtualLane,
}

impl Express {
    /// Something changed that a way may depend on.
    pub(crate) const fn forget(&mut self) {
        self.generation += 1;
    }

    /// How often something changed.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }
}

impl Start {
    const fn place(&self) -> usize {
        (self.end.wrapping_mul(97) ^ self.dlid.0 as usize) % WAYS
    }
}

impl Fabric {
    /// Takes a datagram without a GRH to the far end, and comes back with what it counts for. If its way is not clear or
    /// the queue pair there does not take it, it comes back itself, and nothing has happened.
    #[inline]
    pub(crate) fn express(&mut self, start: Start, src_qp: Qpn, send: UdSend) -> Result<Measure, UdSend> {
        let Self { express, ports, links, ends, switches, outputs, .. } = self;
        if express.ways.is_empty() {
            express.ways.resize(WAYS, Way::NONE);
        }
        let way = &mut express.ways[start.place()];
        if way.generation != express.generation || way.start != start {
            let clear = survey(start, ends, ports, links, switches);
            *way = Way { start, generation: express.generation, clear };
        }
        debug_assert_eq!(way.clear, survey(start, ends, ports, links, switches), "a change was not told");
        let Some(clear) = &way.clear else { return Err(send) };
        if send.offload.largest_of(send.payload.len()) > clear.largest {
            return Err(send);
        }
        let Some(qp) = ends[clear.end].qps.get_mut(send.dest_qp) else { return Err(send) };
        if receive::check(qp, start.pkey, send.qkey).is_err() {
            return Err(send);
        }
        qp.received += 1;
        let measure = Measure::of(UD_HEADERS, send.payload.len(), &send.offload);
        for hop in &clear.hops[..clear.links] {
            ports[hop.out as usize].counters.sent(measure, false, start.sl);
            ports[hop.into as usize].counters.received(measure, false, start.sl, hop.vl);
        }
        let datagram = UdReceived {
            slid: ports[ends[start.end].port].info.lid,
            dlid: start.dlid,
            sl: start.sl,
            src_qp,
            pkey: start.pkey,
            grh: None,
            payload: send.payload,
            offload: send.offload,
        };
        outputs.put(Output::Received { port: PortId::of(clear.end), qpn: send.dest_qp, datagram });
        Ok(measure)
    }
}

/// The way of a datagram, if it is clear.
fn survey(
    start: Start,
    ends: &[EndPort],
    ports: &[Port],
    links: &[Link],
    switches: &[Switch],
) -> Option<Clear> {
    let Start { end, dlid, sl, pkey } = start;
    let mut at = ends[end].port;
    let port = &ports[at];
    if port.switch.is_some() || port.has_lid(dlid) {
        return None;
    }
    let mut vl = port.lanes.lane(sl, port.info.operational_vls)?;
    let mut clear = Clear { end, largest: port.largest(), links: 0, hops: [Hop::default(); LINKS] };
    loop {
        let (into, largest) = beyond(at, vl, pkey, ports, links)?;
        let peer = &ports[into];
        clear.largest = clear.largest.min(largest);
        let number = |at: usize| u32::try_from(at).ok();
        *clear.hops.get_mut(clear.links)? = Hop { out: number(at)?, into: number(into)?, vl };
        clear.links += 1;
        let Some(switch) = peer.switch else {
            clear.end = peer.end.filter(|_| peer.has_lid(dlid))?;
            return Some(clear);
        };
        let out = switches[switch].unicast(dlid).ok()?;
        if out == peer.num || out == PortNum::MANAGEMENT {
            return None;
        }
        at = peer.sibling(into, out);
        vl = switches[switch].lanes(peer.num, out).lane(sl, ports[at].info.operational_vls)?;
    }
}

/// The port at the other end of the link at `out`, if packets of a partition get there at once and unharmed on this lane,
/// and the largest payload that does.
pub(crate) fn beyond(
    out: usize,
    vl: VirtualLane,
    pkey: PKey,
    ports: &[Port],
    links: &[Link],
) -> Option<(usize, usize)> {
    let port = &ports[out];
    let cable = port.lets_out(Logical::Active).ok()?;
    port.admits_out(0, pkey).ok()?;
    let link = &links[cable.link];
    let Step::In(into) = link.beyond(cable) else { return None };
    let peer = &ports[into];
    if !link.is_clear(cable.is_a) || peer.state < Logical::Armed {
        return None;
    }
    peer.admits_in(vl, 0, pkey).ok()?;
    Some((into, port.neighbor_mtu().min(peer.largest())))
}

impl Way {
    /// Nothing was looked up: generations count from 0 and the source port of this one does not exist.
    const NONE: Self = Self {
        start: Start { end: usize::MAX, dlid: Lid::NONE, sl: ServiceLevel::new(0), pkey: PKey::INVALID },
        generation: 0,
        clear: None,
    };
}
