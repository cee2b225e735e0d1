//! Sampling of counters between two moments.

use ib_wire::{
    addr::{LinkSpeed, PortNum},
    mad::{
        AttributeId, MadHeader, Method, MgmtClass, Status,
        pma::{PmaAttribute, PmaMad, PortSamplesControl, PortSamplesResult, SampleStatus, SampledCounter},
    },
};

use crate::counters::Pma;

const FULL: u16 = 0xffff;
/// Ticks of a millisecond at EDR, 25 Gb/s a lane: a tick is a hundred bits.
const MILLISECOND: u32 = 250_000;

impl Pma {
    fn samples(
        &mut self,
        method: Method,
        modifier: u32,
        control: &PortSamplesControl,
    ) -> (Status, PortSamplesControl) {
        let attribute = AttributeId(PmaAttribute::PORT_SAMPLES_CONTROL.0);
        let header = MadHeader::request(MgmtClass::PERFORMANCE, method, attribute, modifier);
        let mut mad = PmaMad { header, data: [0; 192] };
        mad.data[..PortSamplesControl::LEN].copy_from_slice(&control.to_bytes());
        let (status, data) = self.ask_mad("sw1", &mad);
        (status, PortSamplesControl::parse(&data).expect("long enough").0)
    }

    fn sampled(&mut self) -> PortSamplesResult {
        let (status, data) = self.ask("sw1", Method::GET, PmaAttribute::PORT_SAMPLES_RESULT, [0; 4]);
        assert_eq!(status, Status::OK);
        PortSamplesResult::parse(&data).expect("long enough").0
    }
}

/// Packets through a port of the switch that faces h3, after `start` and for `interval` milliseconds.
fn control(start: u32, interval: u32) -> PortSamplesControl {
    let mut control = PortSamplesControl::from_bytes(&[0; PortSamplesControl::LEN]);
    (control.port, control.tag) = (PortNum(3), 0x77);
    (control.sample_start, control.sample_interval) = (start * MILLISECOND, interval * MILLISECOND);
    control.set_counter(2, SampledCounter::XMIT_PKTS);
    control.set_counter(3, SampledCounter::XMIT_DATA);
    control.set_counter(14, SampledCounter::XMIT_WAIT);
    control
}

#[test]
fn a_sampling_counts_from_its_beginning_to_its_end() {
    let mut pma = Pma::new();
    let (a, b) = (pma.world.qp("h2", FULL), pma.world.qp("h3", FULL));
    let speed = pma.world.port_info("sw1", 3).active_speed();
    assert_eq!(speed, LinkSpeed::Edr);
    let (status, idle) = pma.samples(Method::GET, 0, &control(0, 0));
    assert_eq!((status, idle.port, idle.tag), (Status::OK, PortNum(3), 0));
    assert_eq!((idle.tick, idle.counter_width, idle.sample_status), (9, 4, SampleStatus::DONE));

    let (status, started) = pma.samples(Method::SET, 0, &control(10, 20));
    assert_eq!((status, started.sample_status), (Status::OK, SampleStatus::STARTED));
    pma.world.post(("h2", a), ("h3", b), b"too early");
    pma.world.pass(9);
    assert_eq!(pma.sampled().sample_status, SampleStatus::STARTED);
    pma.world.pass(1);
    let running = pma.sampled();
    assert_eq!((running.sample_status, running.tag), (SampleStatus::RUNNING, 0x77));
    pma.world.post(("h2", a), ("h3", b), &[0; 80]);
    pma.world.post(("h2", a), ("h3", b), &[0; 80]);
    pma.world.pass(19);
    let (_, kept) = pma.samples(Method::SET, 0, &control(0, 1));
    assert_eq!((kept.sample_status, kept.sample_start), (SampleStatus::RUNNING, 10 * MILLISECOND));
    pma.world.pass(1);
    pma.world.post(("h2", a), ("h3", b), b"too late");
    let done = pma.sampled();
    assert_eq!((done.sample_status, done.tag), (SampleStatus::DONE, 0x77));
    assert_eq!((done.counter(2), done.counter(3), done.counter(14)), (2, 2 * 28, 0));
    assert_eq!(pma.world.fabric.poll_timeout(), None);

    pma.samples(Method::SET, 0, &control(0, 1));
    pma.world.pass(1);
    assert_eq!(pma.sampled().counter(2), 0, "a new one begins at nothing");
}

#[test]
fn a_sampling_of_what_does_not_exist_is_refused() {
    let mut pma = Pma::new();
    let mut status = |modifier, control: &PortSamplesControl| pma.samples(Method::SET, modifier, control).0;
    assert_eq!(status(1, &control(0, 1)), Status::BAD_FIELD, "another mechanism");
    assert_eq!(status(0, &PortSamplesControl { port: PortNum(9), ..control(0, 1) }), Status::BAD_FIELD);
    assert_eq!(status(0, &PortSamplesControl { port: PortNum::ALL, ..control(0, 1) }), Status::BAD_FIELD);
    let mut unknown = control(0, 1);
    unknown.set_counter(0, SampledCounter(6));
    assert_eq!(status(0, &unknown), Status::BAD_FIELD);
    let (status, _) = pma.ask("sw1", Method::SET, PmaAttribute::PORT_SAMPLES_RESULT, [0; 4]);
    assert_eq!(status, Status::BAD_METHOD_ATTRIBUTE);
    assert_eq!(pma.sampled().sample_status, SampleStatus::DONE);
    assert_eq!(pma.world.fabric.poll_timeout(), None);
}

#[test]
fn a_sampling_ends_with_the_power() {
    let mut pma = Pma::new();
    pma.samples(Method::SET, 0, &control(0, 20));
    let sw1 = pma.world.node("sw1");
    for on in [false, true] {
        pma.world.fabric.set_node_power(pma.world.now, sw1, on);
    }
    pma.world.drain();
    pma.world.pass(10);
    pma.world.sweep();
    let (_, started) = pma.samples(Method::SET, 0, &control(0, 20));
    assert_eq!(started.sample_status, SampleStatus::RUNNING);
    pma.world.pass(15);
    assert_eq!(pma.sampled().sample_status, SampleStatus::RUNNING, "the first one would have ended");
    pma.world.pass(5);
    assert_eq!(pma.sampled().sample_status, SampleStatus::DONE);
}
