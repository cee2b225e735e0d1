//! The way of a packet from host to host: nothing is allocated for it, and its payload is not copied.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::Duration,
};

use ib_fabric::topology;
use ib_lab::{InterfaceId, Lab, LabConfig, Output, Simulation, ToHost};
use ib_wire::{
    addr::Mac,
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::{Payload, Pool},
    time::Instant,
};

/// The system's allocator; counts what this thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // Threads that end free what they have when their counters are gone.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is the system allocator's, whose contract is the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for this function.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Where a frame begins in its buffer.
const AT: usize = 114;
const ETHERNET: usize = 14;
const BUFFER: usize = 1 << 16;
const FIRST: InterfaceId = InterfaceId(0);
const LAST: InterfaceId = InterfaceId(3);

/// Two switches, two hosts at each; the first host knows the last.
fn meet() -> (Simulation, Mac) {
    let config = LabConfig::new(topology::generate("pair").expect("a generator's spec"));
    let mut simulation = Simulation::new(config).expect("a lab");
    assert!(simulation.run_until(Duration::from_secs(60), |s| s.up() == 4));
    simulation.ping(FIRST, LAST);
    simulation.run_for(Duration::from_secs(2));
    let peers = simulation.lab().interface(FIRST).engine.snapshot().peers;
    assert_eq!(peers.len(), 1);
    (simulation, peers[0].mac)
}

/// An IPv4 packet of `len` octets for `to`, in a buffer of the pool.
fn frame(pool: &mut Pool, to: Mac, len: usize, protocol: u8) -> Payload {
    let mut buffer = pool.take();
    let bytes = Arc::get_mut(&mut buffer).expect("nobody else has it");
    bytes[AT..AT + 6].copy_from_slice(&to.0);
    bytes[AT + 12..AT + 14].copy_from_slice(&[8, 0]);
    let ip = &mut bytes[AT + ETHERNET..AT + ETHERNET + len];
    let header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 4];
    ip[..20].copy_from_slice(&header);
    ip[2..4].copy_from_slice(&u16::try_from(len).expect("an IP packet").to_be_bytes());
    // TCP: five words of header.
    ip[32] = 5 << 4;
    Payload::from_buffer(buffer, AT, AT + ETHERNET + len)
}

/// Sends one; how many hosts got it. Each sees the octets where the TAP's read put them.
fn send(lab: &mut Lab, now: Instant, pool: &mut Pool, frame: Payload, offload: Offload) -> usize {
    let place = frame[ETHERNET..].as_ptr();
    lab.handle_host_frame(now, FIRST, frame, offload);
    let mut arrived = 0;
    while let Some(output) = lab.poll_output() {
        let Output::Host { what: ToHost::Frame(frame), .. } = output else { panic!("{output:?}") };
        assert_eq!(frame.body.as_ptr(), place, "the payload was copied");
        assert_eq!(frame.offload, offload);
        arrived += 1;
        pool.recycle(frame.body);
    }
    arrived
}

/// Sends `len` octets many times, and sees that it costs nothing of the allocator.
fn costs_nothing(to: Option<Mac>, len: usize, protocol: u8, offload: Offload, receivers: usize) {
    let (mut simulation, peer) = meet();
    let mut pool = Pool::new(BUFFER, 8);
    simulation.with_lab(|lab, now| {
        let mut turn = || {
            let frame = frame(&mut pool, to.unwrap_or(peer), len, protocol);
            assert_eq!(send(lab, now, &mut pool, frame, offload), receivers);
        };
        // Queues and the pool get as large as they have to be.
        (0..100).for_each(|_| turn());
        let before = ASKED.get();
        (0..10_000).for_each(|_| turn());
        assert_eq!(ASKED.get() - before, 0, "allocations for 10 000 packets");
    });
}

#[test]
fn a_small_packet_is_neither_copied_nor_allocated_for() {
    costs_nothing(None, 92, 17, Offload::NONE, 1);
}

#[test]
fn a_large_send_is_neither_copied_nor_allocated_for() {
    let segments = Segments { kind: SegmentKind::Tcp4, size: 2004, header: 40, ecn: false };
    let checksum = Checksum::Partial { start: 20, offset: 16 };
    costs_nothing(None, 60_000, 6, Offload { checksum, segments: Some(segments) }, 1);
}

#[test]
fn a_broadcast_is_one_buffer_for_all() {
    costs_nothing(Some(Mac([0xff; 6])), 92, 17, Offload::NONE, 3);
}

#[test]
fn the_allocator_counts() {
    let before = ASKED.get();
    drop(std::hint::black_box(vec![0u8; 100]));
    assert!(ASKED.get() > before);
}
