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
                Step::Local(port) => return self.deliver(now, port, &flight),
                Step::Through(port) => match self.ports[port].switch {
                    Some(switch) => self.relay(now, port, switch, &mut flight),
                    None => Step::Out(port),
                },
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
            Some(switch) => self.relay(now, at, switch, flight),
        }
    }

    /// A switch looks a packet up that came in through `at`; port 0 for its own.
    pub(crate) fn relay(&mut self, now: Instant, at: usize, switch: usize, flight: &mut Flight) -> Step {
        flight.hops += 1;
        if flight.hops > MAX_HOPS {
            return self.drop_at(at, Drop::HopLimit, flight);
        }
        if flight.multicast
            && let Some((copies, others)) = self.spread(at, switch, flight)
        {
            return self.replicate(now, at, switch, (copies, others), flight);
        }
        let ingress = self.ports[at].num;
        let dlid = flight.packet.lrh.dlid;
        let found = match dlid.multicast() {
            Some(_) if flight.is_management() => Err(Drop::NoRoute),
            Some(mlid) => match self.switches[switch].group(mlid, ingress) {
                Ok(ports) => return self.replicate(now, at, switch, (0, ports), flight),
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

    /// One copy for each of `ports`, besides `copies` that were made before. Those for end ports arrive at once; of those
    /// for other switches the last goes on, and the others wait their turn.
    fn replicate(
        &mut self,
        now: Instant,
        at: usize,
        switch: usize,
        (mut copies, ports): (usize, PortSet),
        flight: &mut Flight,
    ) -> Step {
        let mut last = None;
        for out in ports {
            let (vl, step) = match self.towards(at, switch, out, flight) {
                Ok(step) => (flight.packet.lrh.vl, step),
                Err(reason) => {
                    self.drop_at(at, reason, flight);
                    continue;
                }
            };
            if copies > 0 {
                if self.copies_left == 0 {
                    return self.drop_at(at, Drop::MulticastStorm, flight);
                }
                self.copies_left -= 1;
            }
            copies += 1;
            if self.ends_behind(step) {
                self.carry(now, step, flight.clone());
            } else if let Some((step, vl)) = last.replace((step, vl)) {
                let mut copy = flight.clone();
                copy.packet.lrh.vl = vl;
                self.work.push_back(Work::Carry(step, copy));
            }
        }
        let Some((step, vl)) = last else { return Step::Done };
        flight.packet.lrh.vl = vl;
        step
    }

    /// True if a packet at this step of its way passes no other switch.
    #[inline]
    fn ends_behind(&self, step: Step) -> bool {
        match step {
            Step::Out(port) => {
                self.ports[port].cable.is_some_and(|cable| self.ports[cable.peer].switch.is_none())
            }
            _ => true,
        }
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
