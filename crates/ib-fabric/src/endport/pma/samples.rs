//! Sampling: what a port counts between two moments, by the fabric's clock. IBA 1 §16.1.3.2.
//!
//! Each end port has one mechanism, for any port of its node. While one sampling runs another cannot be asked for.

use alloc::boxed::Box;
use core::time::Duration;

use ib_wire::{
    addr::PortNum,
    mad::{
        MadHeader, Method, Status,
        pma::{PortSamplesControl, PortSamplesResult, SampleStatus, SampledCounter},
    },
    time::Instant,
};

use super::{Agent, Data, put};
use crate::{counters::Counter, port::Port};

/// A sampling, and what came out of the last.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    /// As it was asked for.
    control: PortSamplesControl,
    phase: Phase,
    result: [u32; COUNTERS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Done,
    Started { begin: Instant },
    Running { end: Instant, from: [u64; COUNTERS] },
}

const COUNTERS: usize = PortSamplesControl::COUNTERS;

/// Ten times ten bits of one lane.
const TICK: u8 = 9;

impl Sampler {
    /// When it goes on.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Done => None,
            Phase::Started { begin } => Some(begin),
            Phase::Running { end, .. } => Some(end),
        }
    }

    /// Does what is due; `ports` are those of the node.
    pub(super) fn advance(&mut self, now: Instant, ports: &[Port]) {
        let Some(port) = find(ports, self.control.port) else { return };
        if let Phase::Started { begin } = self.phase
            && begin <= now
        {
            let end = begin + time(self.control.sample_interval, port);
            self.phase = Phase::Running { end, from: self.read(port) };
        }
        if let Phase::Running { end, from } = self.phase
            && end <= now
        {
            let to = self.read(port);
            self.result = core::array::from_fn(|i| u32::try_from(to[i] - from[i]).unwrap_or(u32::MAX));
            self.phase = Phase::Done;
        }
    }

    const fn status(&self) -> SampleStatus {
        match self.phase {
            Phase::Done => SampleStatus::DONE,
            Phase::Started { .. } => SampleStatus::STARTED,
            Phase::Running { .. } => SampleStatus::RUNNING,
        }
    }

    fn read(&self, port: &Port) -> [u64; COUNTERS] {
        core::array::from_fn(|i| {
            let counter = match self.control.counter(i) {
                SampledCounter::XMIT_DATA => Counter::XmitWords,
                SampledCounter::RCV_DATA => Counter::RcvWords,
                SampledCounter::XMIT_PKTS => Counter::XmitPackets,
                SampledCounter::RCV_PKTS => Counter::RcvPackets,
                _ => return 0,
            };
            port.counters.total(counter)
        })
    }
}

impl Agent<'_> {
    pub(super) fn samples_control(&mut self, header: &MadHeader, data: &mut Data) -> Result<(), Status> {
        check_mechanism(header)?;
        self.advance();
        let (asked, _) = PortSamplesControl::parse(data).map_err(|_| Status::BAD_FIELD)?;
        find(self.ports, asked.port).ok_or(Status::BAD_FIELD)?;
        let idle = self.sampler.as_ref().is_none_or(|sampler| sampler.due().is_none());
        if header.method == Method::SET && idle {
            self.start(asked)?;
        }
        let (control, status) = match &self.sampler {
            Some(sampler) => (sampler.control, sampler.status()),
            None => {
                let nothing = PortSamplesControl::from_bytes(&[0; PortSamplesControl::LEN]);
                (PortSamplesControl { port: asked.port, ..nothing }, SampleStatus::DONE)
            }
        };
        let answer = PortSamplesControl {
            tick: TICK,
            counter_width: 4,
            counter_masks_0_to_9: 0o11_1111_1111,
            counter_masks_10_to_14: 0o1_1111,
            sample_mechanisms: 0,
            sample_status: status,
            option_mask: 0,
            vendor_mask: 0,
            samples_only_option_mask: 0,
            ..control
        };
        put(data, &answer.to_bytes());
        Ok(())
    }

    pub(super) fn samples_result(&mut self, header: &MadHeader, data: &mut Data) -> Result<(), Status> {
        check_mechanism(header)?;
        self.advance();
        let mut answer = PortSamplesResult::from_bytes(&[0; PortSamplesResult::LEN]);
        if let Some(sampler) = &self.sampler {
            (answer.tag, answer.sample_status) = (sampler.control.tag, sampler.status());
            if sampler.phase == Phase::Done {
                sampler.result.iter().enumerate().for_each(|(i, value)| answer.set_counter(i, *value));
            }
        }
        put(data, &answer.to_bytes());
        Ok(())
    }

    fn start(&mut self, control: PortSamplesControl) -> Result<(), Status> {
        if (0..COUNTERS).any(|i| control.counter(i) > SampledCounter::XMIT_WAIT) {
            return Err(Status::BAD_FIELD);
        }
        let port = find(self.ports, control.port).ok_or(Status::BAD_FIELD)?;
        let begin = self.now + time(control.sample_start, port);
        let sampler = Sampler { control, phase: Phase::Started { begin }, result: [0; COUNTERS] };
        *self.sampler = Some(Box::new(sampler));
        self.advance();
        Ok(())
    }

    fn advance(&mut self) {
        if let Some(sampler) = self.sampler.as_mut() {
            sampler.advance(self.now, self.ports);
        }
    }
}

/// The modifier says which mechanism; there is one.
const fn check_mechanism(header: &MadHeader) -> Result<(), Status> {
    if header.modifier == 0 { Ok(()) } else { Err(Status::BAD_FIELD) }
}

fn find(ports: &[Port], num: PortNum) -> Option<&Port> {
    ports.iter().find(|port| port.num == num)
}

/// How long so many ticks are at the speed the port's link has.
fn time(ticks: u32, port: &Port) -> Duration {
    let bits = u64::from(ticks) * u64::from(TICK + 1) * 10;
    let mbps = u64::from(port.info.active_speed().lane_mbps());
    Duration::from_nanos(bits * 1000 / mbps)
}
