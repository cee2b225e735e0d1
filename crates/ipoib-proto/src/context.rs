//! What every concern of the interface needs: configuration, time, chance, timers, counters, the way out.

use alloc::collections::VecDeque;

use ib_wire::{ipoib::Header, offload::Offload, payload::Payload, time::Instant, ud::UdSend};
use tracing::{debug, info, trace};

use crate::{Config, Counters, Drop, Event, HostFrame, Output, chance::Chance, timer::Timers};

/// Handed to whoever acts.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) chance: Chance,
    /// Bytes in all queues together.
    pub(crate) pending_bytes: usize,
    out: VecDeque<Output>,
}

impl Context {
    /// Of an interface that has done nothing yet.
    pub(crate) fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self {
            config,
            now,
            counters: Counters::default(),
            timers: Timers::new(seed),
            chance: Chance::new(seed),
            pending_bytes: 0,
            out: VecDeque::new(),
        }
    }

    /// Discards a packet.
    pub(crate) fn discard(&mut self, reason: Drop) {
        self.discard_all(reason, 1);
    }

    /// Discards so many packets: those that a large send stands for.
    pub(crate) fn discard_all(&mut self, reason: Drop, packets: u64) {
        self.counters.drops.count(reason, packets);
        trace!(interface = %self.config.name, reason = reason.name(), packets, "drop");
    }

    /// Hands a datagram to the port.
    #[inline]
    pub(crate) fn send(&mut self, datagram: UdSend, multicast: bool) {
        let (packets, bytes) = on_link(datagram.payload.len().saturating_sub(Header::LEN), &datagram.offload);
        self.counters.tx_packets += packets;
        self.counters.tx_bytes += bytes;
        self.counters.tx_multicast += if multicast { packets } else { 0 };
        self.out.push_back(Output::Send(datagram));
    }

    /// Hands a frame to the host.
    #[inline]
    pub(crate) fn deliver(&mut self, frame: HostFrame, multicast: bool) {
        let (packets, bytes) = on_link(frame.body.len(), &frame.offload);
        self.counters.rx_packets += packets;
        self.counters.rx_bytes += bytes;
        self.counters.rx_multicast += if multicast { packets } else { 0 };
        self.out.push_back(Output::ToHost(frame));
    }

    /// Hands out anything else.
    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// Tells what happened.
    pub(crate) fn event(&mut self, event: Event) {
        let interface = self.config.name.as_str();
        match event {
            Event::GroupFailed { mgid, why, attempt } => {
                // RFC 4391 §12: failed multicast operations are logged.
                info!(interface, %mgid, attempt, "cannot join: {why}");
            }
            Event::PathFailed { gid, why } => debug!(interface, %gid, "no path: {why}"),
            Event::PeerMoved { ip, from, to } => debug!(interface, %ip, %from, %to, "neighbour moved"),
            Event::GroupJoined { mgid, mlid, send_only } => {
                debug!(interface, %mgid, %mlid, send_only, "joined");
            }
            Event::GroupLeft { mgid } => debug!(interface, %mgid, "left"),
            Event::Flushed(level) => info!(interface, %level, "flush"),
            Event::AddressChanged { now } => info!(interface, %now, "own address changed"),
        }
        self.emit(Output::Event(event));
    }

    /// True if there is a next output.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// The next output.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

/// Packets that a payload stands for, its IPoIB header in place.
#[inline]
pub(crate) fn packets(payload: &Payload, offload: &Offload) -> u64 {
    offload.packets(payload.len().saturating_sub(Header::LEN)) as u64
}

/// Packets and bytes on the link for `len` bytes from the IP header on.
#[inline]
fn on_link(len: usize, offload: &Offload) -> (u64, u64) {
    let Some(segments) = &offload.segments else { return (1, len as u64) };
    let (count, last) = segments.count(len);
    let whole = segments.packet();
    (count as u64, ((count - 1) * whole + last) as u64)
}
