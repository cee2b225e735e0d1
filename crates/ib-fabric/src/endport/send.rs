//! What software at an end port sends: datagrams and MADs.

use ib_wire::{
    addr::{Lid, PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    mad::{Mad, MadHeader, smp::Smp},
    offload::Offload,
    packet::{GlobalRoute, Packet, PacketSpec},
    payload::Payload,
    time::Instant,
    ud::{MadAddress, UdSend},
};

use super::{QpState, claimed, gid};
use crate::{
    drop::Drop,
    error::SendError,
    express::Start,
    fabric::{Fabric, Work},
    flight::{Flight, Step},
    id::{AgentId, PortId},
};

impl Fabric {
    /// Sends a datagram and carries it as far as nothing asks it to wait.
    ///
    /// A port without link, or not yet Active, drops it; that is not an error.
    pub fn post_send(
        &mut self,
        now: Instant,
        port: PortId,
        qpn: Qpn,
        mut send: UdSend,
    ) -> Result<(), SendError> {
        let qp = self.ends[port.index()].qps.get_mut(qpn).ok_or(SendError::NoQp(qpn))?;
        if qp.state != QpState::ReadyToSend {
            return Err(SendError::NotReady(qpn));
        }
        let dlid = send.to.dlid;
        if dlid == Lid::NONE || dlid == Lid::PERMISSIVE {
            return Err(SendError::BadLid(dlid));
        }
        if dlid.is_multicast() && send.to.global.is_none() {
            return Err(SendError::NoGlobalRoute(dlid));
        }
        if send.qkey.is_controlled() {
            send.qkey = qp.qkey;
        }
        if send.to.global.is_some() || !qp.pkey.is_valid() {
            return self.post_by_steps(now, port, qpn, send);
        }
        let start = Start { end: port.index(), dlid, sl: send.to.sl, pkey: qp.pkey };
        match self.express(start, qpn, send) {
            Ok(measure) => {
                if let Some(qp) = self.ends[port.index()].qps.get_mut(qpn) {
                    qp.take_psn(measure.packets);
                }
                Ok(())
            }
            Err(given_back) => self.post_by_steps(now, port, qpn, given_back),
        }
    }

    /// Sends a datagram from a queue pair that may, step by step.
    fn post_by_steps(&mut self, now: Instant, port: PortId, qpn: Qpn, send: UdSend) -> Result<(), SendError> {
        let end = &mut self.ends[port.index()];
        let at = end.port;
        let info = &self.ports[at].info;
        let sgid = gid(end, &self.ports[at]);
        let qp = end.qps.get_mut(qpn).ok_or(SendError::NoQp(qpn))?;
        let spec = PacketSpec {
            vl: VirtualLane::default(),
            sl: send.to.sl,
            slid: info.lid,
            dlid: send.to.dlid,
            global: send.to.global.map(|route| GlobalRoute { sgid, ..route }),
            pkey: qp.pkey,
            qkey: send.qkey,
            src_qp: qpn,
            dest_qp: send.dest_qp,
            psn: Psn::new(0),
        };
        // On the way it may be looked at, cut, and wait.
        let mut payload = send.payload;
        payload.make_own();
        let packet = Packet::new(spec, payload, send.offload);
        let mut flight = Flight::new(packet, at);
        let (len, mtu) = (flight.largest, info.mtu_cap.bytes().map_or(0, usize::from));
        if len > mtu {
            return Err(SendError::TooLarge { len, mtu });
        }
        flight.packet.bth.psn = qp.take_psn(flight.measure.packets);
        if !qp.pkey.is_valid() {
            self.drop_at(at, Drop::NoPKey, &flight);
            return Ok(());
        }
        self.keep_copy(now, port.index(), &flight);
        self.set_out(now, port.index(), flight);
        Ok(())
    }

    /// A member of a group hears what it sends there itself, before all others.
    fn keep_copy(&mut self, now: Instant, end: usize, flight: &Flight) {
        let mgid = flight.packet.grh.and_then(|grh| grh.dgid.multicast());
        if let (Some(mlid), Some(mgid)) = (flight.packet.lrh.dlid.multicast(), mgid)
            && !self.ends[end].qps.attached(mgid, mlid).is_empty()
        {
            self.deliver(now, self.ends[end].port, flight);
        }
    }

    /// Sends a MAD of an agent: SMPs through QP0, all else through QP1, whichever its class belongs to.
    ///
    /// A request gets the agent's number as the top half of its transaction identifier; an answer keeps the one it
    /// has. A directed route starts at this port if its source LID is permissive, else at the switch `to` names.
    pub fn send_mad(
        &mut self,
        now: Instant,
        port: PortId,
        agent: AgentId,
        to: MadAddress,
        mad: &Mad,
    ) -> Result<(), SendError> {
        let end = port.index();
        let spec = self.ends[end].agents.spec(agent).ok_or(SendError::NoAgent(agent))?;
        let (mut header, _) = MadHeader::parse(mad).expect("a MAD is longer than its header");
        if header.class.is_smp() != spec.class.is_smp() {
            return Err(SendError::WrongClass(header.class));
        }
        if !header.is_response() {
            header.tid = claimed(header.tid, agent);
        }
        let mut payload = Payload::from(&mad[..]);
        payload.make_mut()[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
        if spec.class.is_smp() {
            self.send_smp(now, end, to, payload);
            Ok(())
        } else {
            self.send_gmp(now, end, to, payload)
        }
    }

    /// The first step of a packet that an end port sends.
    pub(crate) fn depart(&mut self, end: usize, flight: &mut Flight) -> Step {
        let at = self.ends[end].port;
        let port = &self.ports[at];
        let dlid = flight.packet.lrh.dlid;
        if dlid.is_unicast() && port.has_lid(dlid) {
            return Step::Local(at);
        }
        if port.switch.is_some() {
            return Step::Through(at);
        }
        if !flight.is_management() {
            match port.lanes.lane(flight.packet.lrh.sl, port.info.operational_vls) {
                Some(vl) => flight.packet.lrh.vl = vl,
                None => return self.drop_at(at, Drop::NoLane, flight),
            }
        }
        Step::Out(at)
    }

    /// Carries a packet that leaves an end port as far as nothing asks it to wait.
    #[inline]
    fn set_out(&mut self, now: Instant, end: usize, mut flight: Flight) {
        let step = self.depart(end, &mut flight);
        self.carry(now, step, flight);
        self.run(now);
    }

    /// Sends a packet of an end port's own, after what is being done.
    pub(crate) fn originate(&mut self, end: usize, packet: Packet) {
        let mut flight = Flight::new(packet, self.ends[end].port);
        let step = self.depart(end, &mut flight);
        self.work.push_back(Work::Carry(step, flight));
    }

    /// A packet of QP0 at an end port.
    pub(crate) fn smp_packet(&self, end: usize, dlid: Lid, sl: ServiceLevel, payload: Payload) -> Packet {
        let slid = self.ports[self.ends[end].port].info.lid;
        let spec = PacketSpec {
            vl: VirtualLane::MANAGEMENT,
            sl,
            slid: if dlid == Lid::PERMISSIVE { Lid::PERMISSIVE } else { slid },
            dlid,
            global: None,
            pkey: PKey::DEFAULT_FULL,
            qkey: QKey(0),
            src_qp: Qpn::SMI,
            dest_qp: Qpn::SMI,
            psn: Psn::new(0),
        };
        Packet::new(spec, payload, Offload::NONE)
    }

    fn send_smp(&mut self, now: Instant, end: usize, to: MadAddress, payload: Payload) {
        let starts_here = match Smp::parse(&payload) {
            Ok(Smp::Directed(smp)) if smp.is_return() => smp.dest_lid == Lid::PERMISSIVE,
            Ok(Smp::Directed(smp)) => smp.source_lid == Lid::PERMISSIVE,
            _ => false,
        };
        let dlid = if starts_here { Lid::PERMISSIVE } else { to.lid };
        let packet = self.smp_packet(end, dlid, to.sl, payload);
        let at = self.ends[end].port;
        let mut flight = Flight::new(packet, at);
        let step = if starts_here { Step::Local(at) } else { self.depart(end, &mut flight) };
        self.carry(now, step, flight);
        self.run(now);
    }

    fn send_gmp(
        &mut self,
        now: Instant,
        end: usize,
        to: MadAddress,
        payload: Payload,
    ) -> Result<(), SendError> {
        let port = &self.ports[self.ends[end].port];
        let sgid = gid(&self.ends[end], port);
        let pkey = port.pkeys.find(to.pkey).ok_or(SendError::NoPKey(to.pkey))?;
        if !to.lid.is_unicast() {
            return Err(SendError::BadLid(to.lid));
        }
        let spec = PacketSpec {
            vl: VirtualLane::default(),
            sl: to.sl,
            slid: port.info.lid,
            dlid: to.lid,
            global: to.global.map(|route| GlobalRoute { sgid, ..route }),
            pkey: port.pkeys.get(pkey),
            qkey: QKey::GSI,
            src_qp: Qpn::GSI,
            dest_qp: to.qpn,
            psn: Psn::new(0),
        };
        let flight = Flight::new(Packet::new(spec, payload, Offload::NONE), self.ends[end].port);
        self.set_out(now, end, flight);
        Ok(())
    }
}
