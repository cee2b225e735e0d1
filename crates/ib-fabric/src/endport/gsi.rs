//! QP1: general services. Performance management answers by itself; the rest is for software that registered.

use ib_wire::{
    addr::{QKey, Qpn},
    layout::split,
    mad::{MAD_LEN, Mad, MadHeader, Method, MgmtClass, Status},
    packet::GlobalRoute,
    time::Instant,
    ud::MadAddress,
};

use crate::{drop::Drop, fabric::Fabric, flight::Flight, id::PortId, output::Output};

impl Fabric {
    /// A MAD for QP1 of an end port.
    pub(crate) fn gsi(&mut self, now: Instant, at: usize, end: usize, flight: &Flight) -> Result<(), Drop> {
        let packet = &flight.packet;
        if !self.ports[at].pkeys.admits(packet.bth.pkey) {
            return Err(self.violated(now, end, Qpn::GSI, Drop::PKeyMismatch, flight));
        }
        if packet.deth.qkey != QKey::GSI {
            return Err(self.violated(now, end, Qpn::GSI, Drop::QKeyMismatch, flight));
        }
        if packet.payload.len() != MAD_LEN {
            return Err(Drop::MadMalformed);
        }
        let (mad, _) = split::<MAD_LEN>(&packet.payload).map_err(|_| Drop::MadMalformed)?;
        let (header, _) = MadHeader::parse(mad).map_err(|_| Drop::MadMalformed)?;
        if header.class.is_smp() {
            return Err(Drop::MadUnclaimed);
        }
        let is_request = matches!(header.method, Method::GET | Method::SET);
        if header.class == MgmtClass::PERFORMANCE && is_request {
            let answer = self.ask_pma(now, end, &header, mad);
            self.send_answer(end, flight, &answer);
            return Ok(());
        }
        if let Some(agent) = self.ends[end].agents.taker(&header, mad) {
            let (port, from, mad) = (PortId::of(end), far_end(flight), packet.payload.clone());
            self.outputs.put(Output::Mad { port, agent, from, mad });
            return Ok(());
        }
        if is_request {
            let mut answer = *mad;
            let known = header.base_version == 1;
            let status = if known { Status::BAD_METHOD_ATTRIBUTE } else { Status::BAD_VERSION };
            let header = MadHeader { method: Method::GET_RESP, status, ..header };
            answer[..MadHeader::LEN].copy_from_slice(&header.to_bytes());
            self.send_answer(end, flight, &answer);
        }
        Err(Drop::MadUnclaimed)
    }

    fn send_answer(&mut self, end: usize, flight: &Flight, answer: &Mad) {
        let mut flight = flight.clone();
        flight.packet.payload = answer.as_slice().into();
        self.answer_gmp(end, flight);
    }
}

/// Where a MAD came from, ready to be answered.
fn far_end(flight: &Flight) -> MadAddress {
    let packet = &flight.packet;
    let global = packet.grh.map(|grh| GlobalRoute {
        sgid: grh.dgid,
        dgid: grh.sgid,
        traffic_class: grh.traffic_class,
        flow_label: grh.flow_label,
        hop_limit: grh.hop_limit,
    });
    MadAddress {
        lid: packet.lrh.slid,
        qpn: packet.deth.src_qp,
        sl: packet.lrh.sl,
        pkey: packet.bth.pkey,
        global,
    }
}
