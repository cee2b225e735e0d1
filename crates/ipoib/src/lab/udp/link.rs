//! One port that is bound to a UDP socket.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use ib_fabric::topology::UdpEnds;
use ib_wire::{ipoib::large::LargeError, packet::Packet};

use crate::os::udp::{MAX_SEGMENTS, MAX_SEND, Message, Received, UdpSocket};

/// Bytes of datagrams that wait for the end of a turn at most.
const WAITING: usize = 256 << 10;

/// A bound port's socket, and what is about to leave by it.
#[derive(Debug)]
pub(super) struct UdpLink {
    /// The port: `sw1:7`.
    pub(super) port: String,
    pub(super) ends: UdpEnds,
    pub(super) socket: UdpSocket,
    pub(super) counters: Counters,
    /// As last told.
    pub(super) up: bool,
    batch: Batch,
}

/// Datagrams, and what happened to them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    sent: usize,
    pub(super) received: usize,
    /// Word came that nobody listens at the peer.
    pub(super) refused: usize,
    queue_full: usize,
    unreachable: usize,
    too_large: usize,
    /// What a large send said of itself was wrong.
    bad_offload: usize,
}

/// Datagrams to be sent.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: Vec<Message>,
}

impl UdpLink {
    pub(super) fn open(port: String, ends: UdpEnds) -> Result<Self> {
        let socket = UdpSocket::open(ends.local, ends.peer)?;
        let counters = Counters::default();
        Ok(Self { port, ends, socket, counters, up: false, batch: Batch::default() })
    }

    /// Takes a packet that leaves.
    pub(super) fn queue(&mut self, packet: &Packet) {
        if self.batch.add(packet).is_err() {
            self.counters.bad_offload += 1;
        }
        if self.batch.bytes.len() >= WAITING {
            self.send();
        }
    }

    /// Sends what waits.
    pub(super) fn send(&mut self) {
        let Batch { bytes, messages } = &mut self.batch;
        if messages.is_empty() {
            return;
        }
        let report = self.socket.send(bytes, messages);
        bytes.clear();
        messages.clear();
        let counters = &mut self.counters;
        counters.sent += report.sent;
        counters.queue_full += report.full;
        counters.unreachable += report.unreachable;
        counters.too_large += report.too_large;
        counters.refused += report.refused;
    }

    /// Takes messages that have come.
    pub(super) fn receive(&mut self, buffers: &mut [Arc<[u8]>], offset: usize, received: &mut Vec<Received>) {
        match self.socket.receive(buffers, offset, received) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => self.counters.refused += 1,
            Err(error) => tracing::debug!(port = %self.port, %error, "receiving UDP"),
            Ok(()) => {}
        }
    }

    /// What is counted, and what was lost, by name.
    pub(super) fn counted(&self) -> [BTreeMap<String, u64>; 2] {
        let Counters { sent, received, refused, queue_full, unreachable, too_large, bad_offload } =
            self.counters;
        let named = |numbers: &[(&str, usize)]| {
            numbers.iter().map(|(name, n)| ((*name).to_owned(), *n as u64)).collect::<BTreeMap<_, _>>()
        };
        let overrun = usize::try_from(self.socket.overruns()).unwrap_or(0);
        [
            named(&[("datagrams_sent", sent), ("datagrams_received", received), ("peer_refused", refused)]),
            named(&[
                ("udp_send_queue_full", queue_full),
                ("udp_receive_queue_full", overrun),
                ("udp_unreachable", unreachable),
                ("udp_too_large", too_large),
                ("udp_bad_offload", bad_offload),
            ]),
        ]
    }
}

impl Batch {
    fn add(&mut self, packet: &Packet) -> Result<(), LargeError> {
        let start = self.bytes.len();
        let length = packet.emit_all(&mut self.bytes)?;
        for at in (start..self.bytes.len()).step_by(length.max(1)) {
            self.join(at, length.min(self.bytes.len() - at));
        }
        Ok(())
    }

    /// Makes the datagram at the end part of the last message, or a message of its own.
    fn join(&mut self, at: usize, len: usize) {
        if let Some(last) = self.messages.last_mut()
            && len <= last.segment
            && last.range.len() % last.segment == 0
            && last.count() < MAX_SEGMENTS
            && last.range.len() + len <= MAX_SEND
        {
            last.range.end = at + len;
        } else {
            self.messages.push(Message { range: at..at + len, segment: len });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_one_length_leave_together_and_a_shorter_one_ends_a_message() {
        let mut batch = Batch::default();
        let mut at = 0;
        for len in [100, 100, 60, 60, 100, 100] {
            batch.join(at, len);
            at += len;
        }
        let lengths: Vec<_> =
            batch.messages.iter().map(|m| (m.range.clone(), m.segment, m.count())).collect();
        assert_eq!(lengths, [(0..260, 100, 3), (260..320, 60, 1), (320..520, 100, 2)]);
        let mut batch = Batch::default();
        (0..200).for_each(|i| batch.join(i * 2086, 2086));
        assert!(batch.messages.iter().all(|m| m.range.len() <= MAX_SEND && m.count() <= MAX_SEGMENTS));
        assert_eq!(batch.messages.iter().map(Message::count).sum::<usize>(), 200);
    }
}
