//! Where data packets end: the queue pairs of a port. IBA 1 §9.6.1, §10.2.5, §10.9.3.

use ib_wire::{
    addr::{MulticastGid, MulticastLid, PKey, QKey, Qpn, VirtualLane},
    time::Instant,
};

use super::{QpState, qp::QueuePair};
use crate::{drop::Drop, fabric::Fabric, flight::Flight, id::PortId, outbox::received, output::Output};

impl Fabric {
    /// Hands a packet that is not an SMP to whom it is for behind the port `at`.
    pub(crate) fn deliver(&mut self, now: Instant, at: usize, flight: &Flight) {
        if let Err(reason) = self.take(now, at, flight) {
            self.drop_at(at, reason, flight);
        }
    }

    fn take(&mut self, now: Instant, at: usize, flight: &Flight) -> Result<(), Drop> {
        let port = &self.ports[at];
        let end = port.end.ok_or(Drop::DlidMismatch)?;
        let packet = &flight.packet;
        let dest_qp = packet.bth.dest_qp;
        if dest_qp == Qpn::SMI || packet.lrh.vl == VirtualLane::MANAGEMENT {
            return Err(Drop::Qp0Lane);
        }
        if let Some(mlid) = packet.lrh.dlid.multicast() {
            let mgid = packet.grh.ok_or(Drop::NoGrh)?.dgid.multicast().ok_or(Drop::DgidMismatch)?;
            if dest_qp != Qpn::MULTICAST {
                return Err(Drop::NotMulticastQp);
            }
            return self.take_multicast(now, end, mgid, mlid, flight);
        }
        if !port.has_lid(packet.lrh.dlid) {
            return Err(Drop::DlidMismatch);
        }
        if let Some(grh) = packet.grh
            && !self.ends[end].has_gid(grh.dgid, port.info.gid_prefix)
        {
            return Err(Drop::DgidMismatch);
        }
        if dest_qp == Qpn::GSI {
            return self.gsi(now, at, end, flight);
        }
        let qp = self.ends[end].qps.get_mut(dest_qp).ok_or(Drop::NoQp)?;
        match check(qp, flight.packet.bth.pkey, flight.packet.deth.qkey) {
            Ok(()) => {
                qp.received += 1;
                let datagram = received(&flight.packet);
                self.outputs.put(Output::Received { port: PortId::of(end), qpn: dest_qp, datagram });
                Ok(())
            }
            Err(reason) => Err(self.violated(now, end, dest_qp, reason, flight)),
        }
    }

    fn take_multicast(
        &mut self,
        now: Instant,
        end: usize,
        mgid: MulticastGid,
        mlid: MulticastLid,
        flight: &Flight,
    ) -> Result<(), Drop> {
        let attached = self.ends[end].qps.attached(mgid, mlid);
        let mut result = Err(Drop::NotAttached);
        for place in attached {
            let Some(qp) = self.ends[end].qps.attached_qp(place) else { continue };
            let qpn = qp.qpn;
            match check(qp, flight.packet.bth.pkey, flight.packet.deth.qkey) {
                Ok(()) => {
                    qp.received += 1;
                    self.outputs.put_copies(&flight.packet, [(end, qpn)]);
                    result = Ok(());
                }
                Err(reason) => {
                    let reason = self.violated(now, end, qpn, reason, flight);
                    result = result.map_err(|_| reason);
                }
            }
        }
        result
    }

    /// The way back for an answer to a packet that came through QP1.
    pub(crate) fn answer_gmp(&mut self, end: usize, mut flight: Flight) {
        let port = &self.ports[self.ends[end].port];
        let packet = &mut flight.packet;
        packet.lrh.dlid = core::mem::replace(&mut packet.lrh.slid, port.info.lid);
        packet.lrh.vl = VirtualLane::default();
        packet.bth.dest_qp = core::mem::replace(&mut packet.deth.src_qp, Qpn::GSI);
        if let Some(pkey) = port.pkeys.find(packet.bth.pkey) {
            packet.bth.pkey = port.pkeys.get(pkey);
        }
        if let Some(grh) = &mut packet.grh {
            core::mem::swap(&mut grh.sgid, &mut grh.dgid);
        }
        self.originate(end, flight.packet);
    }
}

/// What a queue pair checks of a datagram.
#[inline]
pub(crate) fn check(qp: &QueuePair, pkey: PKey, qkey: QKey) -> Result<(), Drop> {
    if qp.state != QpState::ReadyToSend {
        return Err(Drop::QpNotReady);
    }
    if !qp.pkey.admits(pkey) {
        return Err(Drop::PKeyMismatch);
    }
    if qp.qkey != qkey {
        return Err(Drop::QKeyMismatch);
    }
    Ok(())
}
