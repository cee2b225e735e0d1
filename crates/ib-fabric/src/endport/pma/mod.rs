//! Performance management: counters read and cleared by MAD. IBA 1 §16.1.
//!
//! `classic` holds the registers of a port, `lanes` what is counted by lane, service level or operation, `samples`
//! what is counted between two moments. What nothing in this fabric can cause is answered with zeros: flow control,
//! marks of congestion, waiting for credits. What is not known is refused.

pub(crate) mod classic;
mod lanes;
mod samples;

use alloc::boxed::Box;

use ib_wire::{
    addr::{PortNum, Timeout},
    mad::{
        Mad, MadHeader, Method, Status,
        attr::ClassPortInfo,
        pma::{PmaAttribute, PmaCapability, PmaMad, PortExtendedSpeedsCounters},
    },
    time::Instant,
};
pub(crate) use samples::Sampler;

use crate::{
    counters::{Counter, View},
    fabric::{Fabric, Later},
    port::Port,
};

type Data = [u8; 192];

const CAPABILITIES: u16 = PmaCapability::ALL_PORT_SELECT
    | PmaCapability::EXTENDED_WIDTH
    | PmaCapability::XMIT_WAIT
    | PmaCapability::QP1_DROPPED;

impl Fabric {
    /// Answers a Get or Set that came to an end port.
    pub(super) fn ask_pma(&mut self, now: Instant, end: usize, header: &MadHeader, mad: &Mad) -> Mad {
        self.count_spreads();
        let node = &self.nodes[self.ports[self.ends[end].port].node];
        let sampler = &mut self.ends[end].sampler;
        let before = sampler.as_ref().and_then(|sampler| sampler.due());
        let ports = &mut self.ports[node.ports.clone()];
        let mut agent = Agent { now, ports, is_switch: node.switch.is_some(), sampler };
        let mut answer = PmaMad::from_bytes(mad);
        answer.header.method = Method::GET_RESP;
        answer.header.status = match agent.serve(header, &mut answer.data) {
            Ok(()) => Status::OK,
            Err(status) => status,
        };
        let after = self.ends[end].sampler.as_ref().and_then(|sampler| sampler.due());
        if let Some(at) = after.filter(|_| after != before) {
            self.agenda.put(at, Later::Sample { end });
        }
        answer.to_bytes()
    }

    /// A sampling that the agent of an end port was asked for begins or ends.
    pub(crate) fn sample(&mut self, now: Instant, end: usize) {
        self.count_spreads();
        let node = &self.nodes[self.ports[self.ends[end].port].node];
        let Some(sampler) = &mut self.ends[end].sampler else { return };
        if sampler.due().is_some_and(|due| due <= now) {
            sampler.advance(now, &self.ports[node.ports.clone()]);
            if let Some(at) = sampler.due() {
                self.agenda.put(at, Later::Sample { end });
            }
        }
    }
}

/// What the agent of a node, asked through one of its end ports, can see.
struct Agent<'a> {
    now: Instant,
    /// All ports of the node.
    ports: &'a mut [Port],
    is_switch: bool,
    /// The sampling of the end port asked.
    sampler: &'a mut Option<Box<Sampler>>,
}

impl Agent<'_> {
    fn serve(&mut self, header: &MadHeader, data: &mut Data) -> Result<(), Status> {
        if header.base_version != 1 || header.class_version != 1 {
            return Err(Status::BAD_VERSION);
        }
        let set = header.method == Method::SET;
        let attribute = PmaAttribute(header.attribute.0);
        match attribute {
            PmaAttribute::CLASS_PORT_INFO if !set => put(data, &class_port_info().to_bytes()),
            PmaAttribute::PORT_SAMPLES_CONTROL => self.samples_control(header, data)?,
            PmaAttribute::PORT_SAMPLES_RESULT if !set => self.samples_result(header, data)?,
            PmaAttribute::PORT_COUNTERS => self.choose(data)?.port_counters(set, data),
            PmaAttribute::PORT_COUNTERS_EXTENDED => self.choose(data)?.port_counters_extended(set, data),
            PmaAttribute::PORT_RCV_ERROR_DETAILS => self.choose(data)?.port_rcv_error_details(set, data),
            PmaAttribute::PORT_XMIT_DISCARD_DETAILS => {
                self.choose(data)?.port_xmit_discard_details(set, data)
            }
            PmaAttribute::PORT_OP_RCV_COUNTERS => self.choose(data)?.port_op_rcv_counters(set, data),
            PmaAttribute::PORT_EXTENDED_SPEEDS_COUNTERS => {
                self.choose(data)?;
                extended_speeds(data);
            }
            _ => {
                let by_lane =
                    lanes::attribute(attribute, self.is_switch).ok_or(Status::BAD_METHOD_ATTRIBUTE)?;
                self.choose(data)?.lane_counters(by_lane, set, data);
            }
        }
        Ok(())
    }

    /// The ports that a request about counters means.
    fn choose(&mut self, data: &Data) -> Result<Chosen<'_>, Status> {
        let num = PortNum(data[1]);
        if num == PortNum::ALL {
            return Ok(Chosen(self.ports));
        }
        let index = self.ports.iter().position(|port| port.num == num).ok_or(Status::BAD_FIELD)?;
        Ok(Chosen(&mut self.ports[index..=index]))
    }
}

/// One port, or all of a node.
struct Chosen<'a>(&'a mut [Port]);

impl Chosen<'_> {
    const fn sum(&self) -> Sum<'_> {
        Sum(self.0)
    }
}

/// What they count, together.
struct Sum<'a>(&'a [Port]);

impl Sum<'_> {
    fn of(&self, view: View, counter: Counter) -> u64 {
        self.0.iter().map(|port| port.counters.since_clear(view, counter)).sum()
    }
}

fn class_port_info() -> ClassPortInfo {
    ClassPortInfo {
        base_version: 1,
        class_version: 1,
        capability_mask: CAPABILITIES,
        capability_mask2: PmaCapability::EXTENDED_ERRORS,
        response_time: Timeout(16),
        ..ClassPortInfo::from_bytes(&[0; ClassPortInfo::LEN])
    }
}

/// Links here have no encoding that could fail.
fn extended_speeds(data: &mut Data) {
    if let Ok((asked, _)) = PortExtendedSpeedsCounters::parse(data) {
        let answer = PortExtendedSpeedsCounters { sync_header_errors: 0, unknown_blocks: 0, ..asked };
        put(data, &answer.to_bytes());
    }
}

fn put(data: &mut Data, bytes: &[u8]) {
    data.fill(0);
    data[..bytes.len()].copy_from_slice(bytes);
}
