//! QP0: SMPs that pass, end here, or are asked for by an agent here. IBA 1 §14.2.2, §14.2.4.

use core::time::Duration;

use ib_wire::{
    addr::{Lid, MKey, PortNum, Qpn, Tid},
    layout::{Truncated, split},
    mad::{
        AttributeId, MAD_LEN, MadHeader, Method, MgmtClass, Status,
        attr::Notice,
        smp::{DirectedSmp, LidSmp, Smp, SmpError},
    },
    time::Instant,
    ud::MadAddress,
};

use super::{
    directed::{Hop, step},
    sma::{Data, Device, Effect, KeyCheck, notice_data},
};
use crate::{
    drop::Drop,
    fabric::{Fabric, Later, Work},
    flight::{Flight, Step},
    id::PortId,
    output::Output,
};

impl Fabric {
    /// An SMP at a node, addressed to its port `at` or on a directed route through it.
    pub(crate) fn smi(&mut self, now: Instant, at: usize, flight: &mut Flight) -> Step {
        match self.try_smi(now, at, flight) {
            Ok(step) => step,
            Err(reason) => self.drop_at(at, reason, flight),
        }
    }

    fn try_smi(&mut self, now: Instant, at: usize, flight: &mut Flight) -> Result<Step, Drop> {
        let packet = &flight.packet;
        if packet.bth.dest_qp != Qpn::SMI {
            return Err(Drop::Qp0Lane);
        }
        let for_us = packet.lrh.dlid == Lid::PERMISSIVE || self.ports[at].has_lid(packet.lrh.dlid);
        if !for_us {
            return Err(Drop::DlidMismatch);
        }
        if packet.payload.len() != MAD_LEN {
            return Err(Drop::SmpMalformed);
        }
        let smp = Smp::parse(&packet.payload).map_err(|error| match error {
            SmpError::Hops { .. } => Drop::SmpBadHop,
            SmpError::Truncated(Truncated { .. }) | SmpError::Class(_) => Drop::SmpMalformed,
        })?;
        match smp {
            Smp::Directed(directed) => self.step_on(now, flight, directed),
            Smp::Lid(_) => self.smp_here(now, flight, smp),
        }
    }

    /// One step of a directed route, from this node or to it.
    fn step_on(&mut self, now: Instant, flight: &mut Flight, mut smp: DirectedSmp) -> Result<Step, Drop> {
        let ingress = &self.ports[flight.ingress];
        let hop = step(&mut smp, ingress.num, ingress.switch.is_some());
        match hop {
            Hop::Here => self.smp_here(now, flight, Smp::Directed(smp)),
            Hop::Bad => Err(Drop::SmpBadHop),
            Hop::Out(num) => {
                write(flight, &Smp::Directed(smp));
                flight.hops += 1;
                (flight.packet.lrh.slid, flight.packet.lrh.dlid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
                self.directed_port(flight.ingress, num).map(Step::Out)
            }
            Hop::ByLid(lid) => {
                write(flight, &Smp::Directed(smp));
                let end = self.end_of(flight.ingress);
                Ok(self.depart_by_lid(end, flight, lid))
            }
        }
    }

    /// The port through which a directed route leaves a node; an adapter's route leaves where it came from.
    fn directed_port(&self, ingress: usize, num: PortNum) -> Result<usize, Drop> {
        let from = &self.ports[ingress];
        let found = match from.switch {
            Some(_) if num == PortNum::MANAGEMENT => None,
            Some(_) => self.nodes[from.node].port(num),
            None => (num == from.num).then_some(ingress),
        };
        found.ok_or(Drop::SmpNoPort)
    }

    fn depart_by_lid(&mut self, end: usize, flight: &mut Flight, lid: Lid) -> Step {
        let port = self.ends[end].port;
        flight.packet.lrh.slid = self.ports[port].info.lid;
        flight.packet.lrh.dlid = lid;
        flight.ingress = port;
        self.depart(end, flight)
    }

    /// An SMP for this node: for its agent, or for software that registered.
    fn smp_here(&mut self, now: Instant, flight: &mut Flight, smp: Smp) -> Result<Step, Drop> {
        let end = self.end_of(flight.ingress);
        let header = *smp.header();
        if is_for_agent(&header) {
            return self.ask_agent(now, end, flight, smp);
        }
        if header.method == Method::TRAP_REPRESS && self.repress(now, end, &smp)? {
            return Ok(Step::Done);
        }
        write(flight, &smp);
        let (mad, _) = split::<MAD_LEN>(&flight.packet.payload).map_err(|_| Drop::SmpMalformed)?;
        let agent = self.ends[end].agents.taker(&header, mad).ok_or(Drop::SmpUnclaimed)?;
        let lrh = &flight.packet.lrh;
        let from = MadAddress { sl: lrh.sl, ..MadAddress::smi(lrh.slid) };
        let mad = flight.packet.payload.clone();
        self.outputs.put(Output::Mad { port: PortId::of(end), agent, from, mad });
        Ok(Step::Done)
    }

    /// Asks the subnet management agent, and sends its answer.
    fn ask_agent(&mut self, now: Instant, end: usize, flight: &mut Flight, smp: Smp) -> Result<Step, Drop> {
        let mut effects = core::mem::take(&mut self.effects);
        let ingress = flight.ingress;
        let mut device = self.device(end, ingress);
        let key = device.check_key(smp.header().method, smp.m_key());
        let first_port = device.node.ports.start;
        let first_end = device.node.ends.start;
        if key == KeyCheck::Refused {
            self.effects = effects;
            self.refuse_key(now, end, flight, &smp);
            return Err(Drop::SmpMKey);
        }
        let (status, data) = device.answer(smp.header(), smp.data(), key, &mut effects);
        if smp.header().method == Method::SET {
            match smp.header().attribute {
                // Ways of single receivers do not depend on it.
                AttributeId::MULTICAST_FORWARDING => self.forget_spreads(),
                _ => self.express.forget(),
            }
        }
        if key == KeyCheck::Good {
            self.ends[end].lease_end = None;
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Event { end, event } => self.tell(first_end + end, event),
                Effect::Retrain { port } => self.work.push_back(Work::Retrain(first_port + port)),
                Effect::Physical { port, to } => self.work.push_back(Work::Physical(first_port + port, to)),
            }
        }
        self.effects = effects;
        self.answer_smp(end, flight, smp, status, data)
    }

    fn answer_smp(
        &mut self,
        end: usize,
        flight: &mut Flight,
        smp: Smp,
        status: Status,
        data: Data,
    ) -> Result<Step, Drop> {
        let asker = flight.packet.lrh.slid;
        match smp {
            Smp::Lid(smp) => {
                let mut answer = LidSmp { m_key: MKey(0), data, ..smp };
                answer.header.method = answering(answer.header.method);
                answer.header.status = status;
                write(flight, &Smp::Lid(answer));
                Ok(self.depart_by_lid(end, flight, asker))
            }
            Smp::Directed(smp) => {
                let mut answer = DirectedSmp { m_key: MKey(0), data, ..smp };
                answer.header.method = answering(answer.header.method);
                answer.set_status(status, true);
                if answer.dest_lid != Lid::PERMISSIVE {
                    write(flight, &Smp::Directed(answer));
                    return Ok(self.depart_by_lid(end, flight, asker));
                }
                let ingress = &self.ports[flight.ingress];
                let hop = step(&mut answer, ingress.num, ingress.switch.is_some());
                write(flight, &Smp::Directed(answer));
                match hop {
                    Hop::Out(num) => self.directed_port(flight.ingress, num).map(Step::Out),
                    Hop::ByLid(lid) => Ok(self.depart_by_lid(end, flight, lid)),
                    Hop::Here => Ok(Step::Local(flight.ingress)),
                    Hop::Bad => Err(Drop::SmpBadHop),
                }
            }
        }
    }

    /// A TrapRepress: false if no trap of this port waits for it.
    fn repress(&mut self, now: Instant, end: usize, smp: &Smp) -> Result<bool, Drop> {
        let ingress = self.ends[end].port;
        let key = self.device(end, ingress).check_key(Method::TRAP_REPRESS, smp.m_key());
        if key == KeyCheck::Refused {
            return Err(Drop::SmpMKey);
        }
        let Some(again) = self.ends[end].traps.repress(smp.header().tid) else { return Ok(false) };
        if let Some(notice) = again {
            self.raise_again(now, end, notice);
        }
        Ok(true)
    }

    /// The lease of an M_Key ran out: everybody may read it.
    pub(crate) fn end_lease(&mut self, now: Instant, end: usize) {
        if self.ends[end].lease_end.is_some_and(|lease_end| lease_end <= now) {
            self.ends[end].lease_end = None;
            let port = self.ends[end].port;
            self.ports[port].info.m_key_protect = 0;
        }
    }

    /// Starts the lease of the M_Key after a request without it.
    pub(crate) fn start_lease(&mut self, now: Instant, end: usize) {
        let period = self.ports[self.ends[end].port].info.m_key_lease_period;
        if period != 0 && self.ends[end].lease_end.is_none() {
            let lease_end = now + Duration::from_secs(period.into());
            self.ends[end].lease_end = Some(lease_end);
            self.agenda.put(lease_end, Later::Lease { end });
        }
    }

    /// The node of an end port as its agent sees it.
    fn device(&mut self, end: usize, ingress: usize) -> Device<'_> {
        let Self { nodes, ports, ends, switches, .. } = self;
        let node = &nodes[ports[ingress].node];
        let (first_port, first_end) = (node.ports.start, node.ends.start);
        Device {
            node,
            ports: &mut ports[node.ports.clone()],
            ends: &mut ends[node.ends.clone()],
            switch: node.switch.map(|switch| &mut switches[switch]),
            ingress: ingress - first_port,
            end: end - first_end,
        }
    }

    /// The end port that answers for a port: itself, or the switch's port 0.
    pub(crate) fn end_of(&self, port: usize) -> usize {
        let at = &self.ports[port];
        at.end.unwrap_or_else(|| self.nodes[at.node].ends.start)
    }

    /// Sends a notice to the master SM, if the port knows one.
    pub(crate) fn send_trap(&mut self, end: usize, tid: Tid, notice: &Notice) {
        let info = &self.ports[self.ends[end].port].info;
        let (sm_lid, sm_sl, m_key) = (info.master_sm_lid, info.master_sm_sl, MKey(0));
        let mut header = MadHeader::request(MgmtClass::SUBN_LID, Method::TRAP, AttributeId::NOTICE, 0);
        header.tid = tid;
        let smp = LidSmp { header, m_key, data: notice_data(notice) };
        let packet = self.smp_packet(end, sm_lid, sm_sl, smp.to_bytes().as_slice().into());
        self.originate(end, packet);
    }
}

/// True for what the port's own agent answers: all but what concerns the SM there, traps and answers. A method
/// that subnet management does not have is for the agent to refuse.
const fn is_for_agent(header: &MadHeader) -> bool {
    match header.method {
        Method::GET | Method::SET => header.attribute.0 != AttributeId::SM_INFO.0,
        Method::TRAP | Method::TRAP_REPRESS | Method::REPORT => false,
        _ => !header.is_response(),
    }
}

/// The method of an answer.
const fn answering(method: Method) -> Method {
    match method {
        Method::GET | Method::SET => Method::GET_RESP,
        other => Method(other.0 | Method::RESPONSE_BIT),
    }
}

/// Puts an SMP back into its packet; in place, unless somebody else holds the bytes.
fn write(flight: &mut Flight, smp: &Smp) {
    flight.packet.payload.make_mut().copy_from_slice(&smp.to_bytes());
}
