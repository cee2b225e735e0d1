//! Packets that wait for a path or a group: few, bounded in bytes, the oldest goes first when too many come.

use alloc::collections::VecDeque;

use ib_wire::{
    addr::{Mac, Qpn},
    offload::Offload,
    payload::Payload,
};

use crate::{
    Drop,
    context::{Context, packets},
};

/// A packet that waits, its IPoIB header in place.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The Ethernet address it was sent to.
    pub(crate) mac: Mac,
    /// Destination queue pair.
    pub(crate) dest_qp: Qpn,
    /// The bytes.
    pub(crate) payload: Payload,
    /// What is still to be done to them.
    pub(crate) offload: Offload,
}

impl Waiting {
    /// How many it stands for.
    pub(crate) fn packets(&self) -> u64 {
        packets(&self.payload, &self.offload)
    }
}

/// A bounded queue. Its bytes count in `Context::pending_bytes` too.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    packets: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    /// Adds a packet; discards the oldest as `full` while there are more than `limit` or too many bytes.
    pub(crate) fn push(&mut self, cx: &mut Context, limit: usize, full: Drop, mut packet: Waiting) {
        // A buffer of the pool is much larger than most packets and is wanted back.
        packet.payload = packet.payload.compact();
        let len = packet.payload.len();
        while !self.packets.is_empty()
            && (self.packets.len() >= limit || self.bytes + len > cx.config.queue_bytes)
        {
            self.discard_oldest(cx, full);
        }
        if cx.pending_bytes + len > cx.config.max_pending_bytes {
            return cx.discard_all(Drop::TxPendingFull, packet.packets());
        }
        self.bytes += len;
        cx.pending_bytes += len;
        self.packets.push_back(packet);
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self, cx: &mut Context) -> Option<Waiting> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.payload.len();
        cx.pending_bytes -= packet.payload.len();
        Some(packet)
    }

    /// Discards all.
    pub(crate) fn clear(&mut self, cx: &mut Context, reason: Drop) {
        while !self.is_empty() {
            self.discard_oldest(cx, reason);
        }
    }

    fn discard_oldest(&mut self, cx: &mut Context, reason: Drop) {
        if let Some(packet) = self.pop(cx) {
            cx.discard_all(reason, packet.packets());
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// True if none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The Ethernet addresses they were sent to, each once.
    pub(crate) fn macs(&self) -> alloc::collections::BTreeSet<Mac> {
        self.packets.iter().map(|packet| packet.mac).collect()
    }
}

#[cfg(test)]
mod tests {
    use ib_wire::{
        addr::{Guid, PKey},
        offload::{SegmentKind, Segments},
        time::Instant,
    };

    use super::*;
    use crate::Config;

    fn packet(len: usize) -> Waiting {
        let payload = Payload::with_headroom(0, &alloc::vec![0; len]);
        Waiting { mac: Mac::ZERO, dest_qp: Qpn::new(2), payload, offload: Offload::NONE }
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let config = Config::new("ib0", Guid(1), Qpn::new(2), PKey::DEFAULT_FULL);
        let config = Config { queue_bytes: 1 << 16, max_pending_bytes: 100_000, ..config };
        let mut cx = Context::new(config, 0, Instant::ZERO);
        let (mut a, mut b) = (Queue::default(), Queue::default());
        for len in [10, 20, 30] {
            a.push(&mut cx, 2, Drop::TxPathQueueFull, packet(len));
        }
        assert_eq!((a.len(), cx.pending_bytes), (2, 50));
        a.push(&mut cx, 64, Drop::TxPathQueueFull, packet(65_520));
        assert_eq!((a.len(), cx.counters.drops.get(Drop::TxPathQueueFull)), (1, 3));
        b.push(&mut cx, 64, Drop::TxGroupQueueFull, packet(60_000));
        assert_eq!((b.len(), cx.counters.drops.get(Drop::TxPendingFull)), (0, 1));
        a.clear(&mut cx, Drop::TxFlushed);
        assert_eq!((cx.pending_bytes, cx.counters.drops.get(Drop::TxFlushed)), (0, 1));
    }

    #[test]
    fn a_large_send_is_lost_as_the_packets_it_stands_for() {
        let config = Config::new("ib0", Guid(1), Qpn::new(2), PKey::DEFAULT_FULL);
        let mut cx = Context::new(config, 0, Instant::ZERO);
        let mut queue = Queue::default();
        let segments = Segments { kind: SegmentKind::Udp, size: 64, header: 28, ecn: false };
        let mut large = packet(4 + 28 + 10 * 64);
        large.offload.segments = Some(segments);
        queue.push(&mut cx, 1, Drop::TxPathQueueFull, large);
        queue.push(&mut cx, 1, Drop::TxPathQueueFull, packet(20));
        queue.clear(&mut cx, Drop::TxFlushed);
        let lost = |reason| cx.counters.drops.get(reason);
        assert_eq!((lost(Drop::TxPathQueueFull), lost(Drop::TxFlushed)), (10, 1));
    }
}
