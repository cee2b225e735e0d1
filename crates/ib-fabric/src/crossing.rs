//! Links that are not perfect, or that somebody looks at; and bytes that come from outside.

use alloc::vec::Vec;
use core::time::Duration;

use ib_wire::{
    addr::PortNum,
    packet::{Packet, PacketError},
    time::Instant,
};
use rand_core::Rng;

use crate::{
    cut::cut,
    drop::Drop,
    fabric::{Fabric, Later, Work},
    flight::{Flight, Step},
    id::{LinkId, PortId},
    output::Output,
    port::Cable,
    topology::Mishap,
};

impl Fabric {
    /// Puts bytes, LRH through VCRC, on the link towards an end port, as if its neighbour had sent them.
    /// A switch's port 0 takes them as if they came from the switch.
    pub fn inject(&mut self, now: Instant, port: PortId, bytes: &[u8]) {
        let at = self.ends[port.index()].port;
        self.come_in(now, at, bytes);
    }

    /// Puts bytes, LRH through VCRC, on a link, as if the port at its end `a` (or `b`) had sent them.
    pub fn inject_on_link(&mut self, now: Instant, link: LinkId, from_a: bool, bytes: &[u8]) {
        let at = self.links[link.index()].ends[usize::from(from_a)];
        self.come_in(now, at, bytes);
    }

    /// A packet on a link that is tapped, slow or faulty.
    pub(crate) fn cross(&mut self, now: Instant, at: usize, cable: Cable, flight: &mut Flight) -> Step {
        let link = &self.links[cable.link];
        let fault = link.fault;
        if link.tapped {
            for tap in self.taps.at(cable.link, link.ends, &self.nodes) {
                let packet = flight.packet.clone();
                let (link, from_a) = (LinkId::of(cable.link), cable.is_a);
                self.outputs.put(Output::Tapped { tap, link, from_a, at: now, packet });
            }
        }
        if !fault.looks_at_packets() || !flight.packet.offload.is_pending() {
            return self.cross_one(now, at, cable, flight);
        }
        match cut(&flight.packet) {
            Err(_) => self.drop_at(at, Drop::BadOffload, flight),
            Ok(packets) => {
                self.copies_left += packets.len() * self.ports.len();
                for packet in packets {
                    let mut flight = flight.part(packet);
                    let step = self.cross_one(now, at, cable, &mut flight);
                    if step != Step::Done {
                        self.work.push_back(Work::Carry(step, flight));
                    }
                }
                Step::Done
            }
        }
    }

    /// A packet comes out of a slow link.
    pub(crate) fn come_out(
        &mut self,
        now: Instant,
        parked: usize,
        port: usize,
        link: usize,
        from_a: bool,
        epoch: u32,
    ) {
        let Some(flight) = self.parked.take(parked) else { return };
        if self.links[link].came_out(from_a, epoch) {
            if self.links[link].is_clear(from_a) {
                self.express.forget();
            }
            let step = self.links[link].beyond(Cable { link, peer: port, is_a: from_a });
            self.carry(now, step, flight);
        } else {
            self.drop_at(port, Drop::LinkDown, &flight);
        }
    }

    /// A packet that is one on the link too, or two.
    fn cross_one(&mut self, now: Instant, at: usize, cable: Cable, flight: &mut Flight) -> Step {
        if !flight.is_twin && self.befalls(Mishap::Duplicate, cable) {
            let mut twin = Flight { is_twin: true, ..flight.clone() };
            let step = self.pass(now, at, cable, &mut twin);
            if step != Step::Done {
                self.work.push_back(Work::Carry(step, twin));
            }
        }
        self.pass(now, at, cable, flight)
    }

    /// A packet passes the link or does not.
    fn pass(&mut self, now: Instant, at: usize, cable: Cable, flight: &mut Flight) -> Step {
        let lifetime = self.ports[at].switch.map(|switch| self.switches[switch].info.life_time);
        let limit = self.config.link_queue;
        let late = if self.befalls(Mishap::Reorder, cable) { Mishap::LATE } else { Duration::ZERO };
        let link = &mut self.links[cable.link];
        let epoch = link.epoch;
        let out = match link.schedule(now, cable.is_a, late, flight.measure, lifetime, limit) {
            Ok(out) => out,
            Err(reason) => return self.drop_at(at, reason, flight),
        };
        let lost = if self.befalls(Mishap::Loss, cable) {
            Some(Drop::LinkLoss)
        } else if flight.is_mad() && self.befalls(Mishap::MadLoss, cable) {
            Some(Drop::LinkMadLoss)
        } else if self.befalls(Mishap::Corrupt, cable) {
            self.corrupt(&mut flight.packet).err()
        } else {
            None
        };
        if let Some(reason) = lost {
            if out > now {
                self.links[cable.link].came_out(cable.is_a, epoch);
            }
            return self.drop_at(cable.peer, reason, flight);
        }
        if out <= now {
            return self.links[cable.link].beyond(cable);
        }
        let parked = self.parked.put(flight.clone());
        let (port, link, from_a) = (cable.peer, cable.link, cable.is_a);
        self.agenda.put(out, Later::Arrive { parked, port, link, from_a, epoch });
        Step::Done
    }

    /// Whether this befalls the next packet.
    fn befalls(&mut self, mishap: Mishap, cable: Cable) -> bool {
        self.happens(self.links[cable.link].fault.shares.of(mishap))
    }

    /// Flips a bit or a few of a packet as it stands on the link, and reads it as the far end would.
    fn corrupt(&mut self, packet: &mut Packet) -> Result<(), Drop> {
        let mut bytes = Vec::new();
        packet.emit(&mut bytes);
        for _ in 0..=self.random.next_u32() % 3 {
            let bit = self.random.next_u32() as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        *packet = Packet::parse(&bytes)?;
        Ok(())
    }

    fn come_in(&mut self, now: Instant, at: usize, bytes: &[u8]) {
        match Packet::parse(bytes) {
            Ok(packet) => {
                let from_own_switch = self.ports[at].num == PortNum::MANAGEMENT;
                let step = if from_own_switch { Step::Local(at) } else { Step::In(at) };
                self.carry(now, step, Flight::new(packet, at));
                self.run(now);
            }
            Err(error) => self.refuse_bytes(at, error),
        }
    }

    /// Bytes that are no packet came in through a port.
    pub(crate) fn refuse_bytes(&mut self, at: usize, error: PacketError) {
        self.ports[at].dropped(Drop::from(error), 1);
        tracing::trace!(node = %self.nodes[self.ports[at].node].name, %error, "dropped");
    }
}
