//! How a packet moves from port to port: out, over a link, in, through a switch. Run to completion.

use ib_wire::{
    addr::{Lid, PortNum},
    time::Instant,
};

use crate::{
    drop::Drop,
    fabric::{Fabric, Work},
    flight::{Flight, Step},
    port::Logical,
    switch::PortSet,
};

/// Switches a packet may pass: more than on any way through a sane fabric.
const MAX_HOPS: u8 = 64;

impl Fabric {
    /// Does what is left to do for an input.
    pub(crate) fn run(&mut self, now: Instant) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Carry(step, flight) => self.carry(now, step, flight),
                Work::Retrain(port) => self.retrain(now, port),
                Work::Physical(port, to) => self.set_physical(now, port, to),
                Work::Ask(link) => self.ask_outside(now, link),
            }
        }
        self.copies_left = self.ports.len();
    }

    /// Carries one packet until it is nowhere any more; copies of it, and answers, are left in `work`.
    pub(crate) fn carry(&mut self, now: Instant, mut step: Step, mut flight: Flight) {
        loop {
            step = match step {
                Step::Out(port) => self.leave(now, port, &mut flight),
                Step::In(port) => self.arrive(now, port, &mut flight),
                Step::Local(port) if flight.is_management() => self.smi(now, port, &mut flight),
                Step::Local(port) => return self.deliver(now, port, flight),
                Step::Away(link) => return self.go_away(now, link, flight),
                Step::Enter(link) => self.enter(now, link, &mut flight),
                Step::Done => return,
            }
        }
    }

    /// A packet leaves a port.
    fn leave(&mut self, now: Instant, at: usize, flight: &mut Flight) -> Step {
        let management = flight.is_management();
        let needed = if management { Logical::Initialize } else { Logical::Active };
        let port = &mut self.ports[at];
        let cable = match port.lets_out(needed) {
            Ok(cable) => cable,
            Err(reason) => return self.drop_at(at, reason, flight),
        };
        if !management && let Err(reason) = port.admits_out(flight.largest, flight.packet.bth.pkey) {
            return self.refuse(now, at, reason, flight);
        }
        port.counters.sent(flight.measure, flight.multicast, flight.packet.lrh.sl);
        if self.links[cable.link].is_clear(cable.is_a) {
            self.links[cable.link].beyond(cable)
        } else {
            self.cross(now, at, cable, flight)
        }
    }

    /// A port does not let a data packet pass.
    fn refuse(&mut self, now: Instant, at: usize, reason: Drop, flight: &Flight) -> Step {
        match reason {
            Drop::PKeyInbound | Drop::PKeyOutbound => self.refuse_partition(now, at, reason, flight),
            _ => self.drop_at(at, reason, flight),
        }
    }

    /// A packet comes in through a port.
    fn arrive(&mut self, now: Instant, at: usize, flight: &mut Flight) -> Step {
        let management = flight.is_management();
        let port = &mut self.ports[at];
        let needed = if management { Logical::Initialize } else { Logical::Armed };
        if port.state < needed {
            return self.drop_at(at, Drop::PortNotReceiving, flight);
        }
        let lrh = &flight.packet.lrh;
        port.counters.received(flight.measure, flight.multicast, lrh.sl, lrh.vl);
        flight.ingress = at;
        if !management && let Err(reason) = port.admits_in(lrh.vl, flight.largest, flight.packet.bth.pkey) {
            return self.refuse(now, at, reason, flight);
        }
        match port.switch {
            None => Step::Local(at),
            Some(_) if management && flight.packet.lrh.dlid == Lid::PERMISSIVE => Step::Local(at),
            Some(switch) => self.relay(at, switch, flight),
        }
    }

    /// A switch looks a packet up that came in through `at`; port 0 for its own.
    pub(crate) fn relay(&mut self, at: usize, switch: usize, flight: &mut Flight) -> Step {
        flight.hops += 1;
        if flight.hops > MAX_HOPS {
            return self.drop_at(at, Drop::HopLimit, flight);
        }
        let ingress = self.ports[at].num;
        let dlid = flight.packet.lrh.dlid;
        let found = match dlid.multicast() {
            Some(_) if flight.is_management() => Err(Drop::NoRoute),
            Some(mlid) => match self.switches[switch].group(mlid, ingress) {
                Ok(ports) => return self.replicate(at, switch, ports, flight),
                Err(reason) => Err(reason),
            },
            None => self.switches[switch].unicast(dlid),
        };
        let step = match found {
            Ok(out) if out == ingress => Err(Drop::RouteBack),
            Ok(out) => self.towards(at, switch, out, flight),
            Err(reason) => Err(reason),
        };
        step.unwrap_or_else(|reason| self.drop_at(at, reason, flight))
    }

    /// One copy for each of `ports`; the last goes on at once.
    fn replicate(&mut self, at: usize, switch: usize, mut ports: PortSet, flight: &mut Flight) -> Step {
        let mut last = None;
        while let Some(out) = ports.pop() {
            if let Some(step) = last.take() {
                if self.copies_left == 0 {
                    return self.drop_at(at, Drop::MulticastStorm, flight);
                }
                self.copies_left -= 1;
                self.work.push_back(Work::Carry(step, flight.clone()));
            }
            match self.towards(at, switch, out, flight) {
                Ok(step) => last = Some(step),
                Err(reason) => {
                    self.drop_at(at, reason, flight);
                }
            }
        }
        last.unwrap_or(Step::Done)
    }

    /// The way to port `out` of the switch, on the lane that is mapped for it.
    #[inline]
    fn towards(&self, at: usize, switch: usize, out: PortNum, flight: &mut Flight) -> Result<Step, Drop> {
        let from = self.ports[at].num;
        let port = self.ports[at].sibling(at, out);
        if out == PortNum::MANAGEMENT {
            return Ok(Step::Local(port));
        }
        if !flight.is_management() {
            let lanes = self.switches[switch].lanes(from, out);
            let operational = self.ports[port].info.operational_vls;
            flight.packet.lrh.vl = lanes.lane(flight.packet.lrh.sl, operational).ok_or(Drop::NoLane)?;
        }
        Ok(Step::Out(port))
    }
}
