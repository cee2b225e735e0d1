//! The way of a packet from host to host, without their kernels: nanoseconds with `cargo bench -p ib-lab`,
//! instructions by stage with `bench/stages`.

use std::{env, sync::Arc, time::Duration};

use ib_fabric::topology;
use ib_lab::{InterfaceId, Lab, LabConfig, Output, Simulation, ToHost};
use ib_wire::{
    addr::Mac,
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::{Payload, Pool},
    time::Instant,
};

/// Where a frame begins in its buffer.
const AT: usize = 114;
const ETHERNET: usize = 14;
const BUFFER: usize = 1 << 16;

/// `small`, `large` or `broadcast`, and how many; all of them without.
fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let count = words.get(1).map_or(2_000_000, |count| count.parse().expect("a number of packets"));
    let (mut simulation, peer) = meet();
    for (name, to, len) in [("small", peer, 92), ("large", peer, 60_000), ("broadcast", Mac([0xff; 6]), 92)] {
        if words.first().is_some_and(|only| only != name) {
            continue;
        }
        let mut pool = Pool::new(BUFFER, 8);
        simulation.with_lab(|lab, now| {
            packets(lab, now, &mut pool, to, len, 100);
            let before = processor_nanos();
            measured(lab, now, &mut pool, to, len, count);
            println!("{name:10} {:7.1} ns", (processor_nanos() - before) as f64 / f64::from(count));
        });
    }
}

/// Where callgrind counts.
#[inline(never)]
fn measured(lab: &mut Lab, now: Instant, pool: &mut Pool, to: Mac, len: usize, count: u32) {
    packets(lab, now, pool, to, len, count);
}

#[inline(always)]
fn packets(lab: &mut Lab, now: Instant, pool: &mut Pool, to: Mac, len: usize, count: u32) {
    let offload = if len > 2044 {
        let segments = Segments { kind: SegmentKind::Tcp4, size: 2004, header: 40, ecn: false };
        Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: Some(segments) }
    } else {
        Offload::NONE
    };
    for _ in 0..count {
        let frame = frame(pool, to, len);
        lab.handle_host_frame(now, InterfaceId(0), frame, offload);
        while let Some(output) = lab.poll_output() {
            let Output::Host { what: ToHost::Frame(frame), .. } = output else { panic!("{output:?}") };
            pool.recycle(frame.body);
        }
    }
}

/// An IPv4 packet of `len` octets, as far as anybody looks at it.
fn frame(pool: &mut Pool, to: Mac, len: usize) -> Payload {
    let mut buffer = pool.take();
    let bytes = Arc::get_mut(&mut buffer).expect("nobody else has it");
    bytes[AT..AT + 6].copy_from_slice(&to.0);
    bytes[AT + 12..AT + 14].copy_from_slice(&[8, 0]);
    let ip = &mut bytes[AT + ETHERNET..];
    ip[..20].copy_from_slice(&[0x45, 0, 0, 92, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 4]);
    Payload::from_buffer(buffer, AT, AT + ETHERNET + len)
}

/// Two switches, two hosts at each; the first host knows the last.
fn meet() -> (Simulation, Mac) {
    let config = LabConfig::new(topology::generate("pair").expect("a generator's spec"));
    let mut simulation = Simulation::new(config).expect("a lab");
    assert!(simulation.run_until(Duration::from_secs(60), |s| s.up() == 4));
    simulation.ping(InterfaceId(0), InterfaceId(3));
    simulation.run_for(Duration::from_secs(2));
    let peers = simulation.lab().interface(InterfaceId(0)).engine.snapshot().peers;
    (simulation, peers[0].mac)
}

/// Time this thread has run, which others on the machine do not lengthen.
fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long we ran");
    text.split(' ').next().and_then(|ran| ran.parse().ok()).expect("its first number is nanoseconds")
}
