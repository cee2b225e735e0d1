//! What waits to be taken: outputs in order, and of multicast packets receiver by receiver.
//!
//! Packets to all come in crowds: every host tells its address when power comes back. Who gets one gets all of them in
//! a row, so that what it needs for one is still at hand for the next. Each receiver gets them in the order they were
//! sent, and they come no earlier or later among all else.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use ib_wire::{addr::Qpn, packet::Packet, ud::UdReceived};

use crate::{id::PortId, output::Output};

/// Outputs that nobody took yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Those before the crowd, or all if there is none.
    first: VecDeque<Output>,
    crowd: Crowd,
    /// Those after the crowd.
    then: VecDeque<Output>,
}

impl Outbox {
    /// Puts something at the end.
    #[inline]
    pub(crate) fn put(&mut self, output: Output) {
        let is_first = self.crowd.is_empty() && self.then.is_empty();
        if is_first { &mut self.first } else { &mut self.then }.push_back(output);
    }

    /// Puts the copies of a multicast packet there that queue pairs received, each with its end port.
    #[inline]
    pub(crate) fn put_copies(&mut self, packet: &Packet, receivers: impl IntoIterator<Item = (usize, Qpn)>) {
        let mut number = None;
        for (end, qpn) in receivers {
            if self.then.is_empty() {
                let number = *number.get_or_insert_with(|| self.crowd.number(packet));
                if self.crowd.put(end, qpn, number) {
                    continue;
                }
            }
            self.then.push_back(Output::Received { port: PortId::of(end), qpn, datagram: received(packet) });
        }
    }

    /// True if there is nothing to take.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.crowd.is_empty() && self.then.is_empty()
    }

    /// Takes what is next.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Output> {
        if let Some(output) = self.first.pop_front() {
            return Some(output);
        }
        if let Some(output) = self.crowd.take() {
            return Some(output);
        }
        if !self.then.is_empty() {
            mem::swap(&mut self.first, &mut self.then);
        }
        self.first.pop_front()
    }
}

/// Multicast packets, each kept once, and which of them each end port is to get.
#[derive(Debug, Default)]
struct Crowd {
    /// In the order they were sent.
    datagrams: Vec<Shared>,
    /// By end port.
    receivers: Vec<Receiver>,
    /// Which datagrams wait for whom: a row for so many of them as there are bits, in it a place for each end port.
    rows: Vec<Vec<u64>>,
    /// End ports that copies wait for.
    waiting: VecDeque<u32>,
    /// The row where the first of them is.
    row: usize,
}

/// A datagram that several get.
#[derive(Debug)]
struct Shared {
    /// Without its bytes once the last copy was taken.
    datagram: UdReceived,
    copies: u32,
}

/// Who gets what waits at an end port, and how much that is.
#[derive(Clone, Copy, Debug, Default)]
struct Receiver {
    qpn: Qpn,
    copies: u32,
}

impl Crowd {
    #[inline]
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number of the datagram that a packet carries.
    fn number(&mut self, packet: &Packet) -> usize {
        if !self.datagrams.last().is_some_and(|last| is_copy(&last.datagram, packet)) {
            self.datagrams.push(Shared { datagram: received(packet), copies: 0 });
        }
        self.datagrams.len() - 1
    }

    /// Puts a copy there. False if it has no place: one for another queue pair waits, or the same a second time.
    #[inline]
    fn put(&mut self, end: usize, qpn: Qpn, number: usize) -> bool {
        let (row, bit) = (number / ROW, 1 << (number % ROW));
        if self.rows.len() <= row {
            self.rows.push(Vec::new());
        }
        let row = &mut self.rows[row];
        if row.len() <= end {
            row.resize(end + 1, 0);
        }
        if self.receivers.len() <= end {
            self.receivers.resize(end + 1, Receiver::default());
        }
        let receiver = &mut self.receivers[end];
        if receiver.copies == 0 {
            self.waiting.push_back(u32::try_from(end).expect("fewer than 2^32 fit in memory"));
        } else if receiver.qpn != qpn || row[end] & bit != 0 {
            return false;
        }
        *receiver = Receiver { qpn, copies: receiver.copies + 1 };
        row[end] |= bit;
        self.datagrams[number].copies += 1;
        true
    }

    #[inline]
    fn take(&mut self) -> Option<Output> {
        let end = *self.waiting.front()? as usize;
        let bits = loop {
            match self.rows[self.row].get_mut(end) {
                Some(bits) if *bits != 0 => break bits,
                _ => self.row += 1,
            }
        };
        let number = self.row * ROW + bits.trailing_zeros() as usize;
        *bits &= *bits - 1;
        let receiver = &mut self.receivers[end];
        receiver.copies -= 1;
        if receiver.copies == 0 {
            self.waiting.pop_front();
            self.row = 0;
        }
        let Shared { datagram, copies } = &mut self.datagrams[number];
        *copies -= 1;
        let payload = if *copies == 0 { mem::take(&mut datagram.payload) } else { datagram.payload.clone() };
        let datagram = UdReceived { payload, ..*datagram };
        if self.waiting.is_empty() {
            self.datagrams.clear();
        }
        Some(Output::Received { port: PortId::of(end), qpn: receiver.qpn, datagram })
    }
}

/// Datagrams in a row of bits.
const ROW: usize = u64::BITS as usize;

/// What a queue pair receives of a packet.
pub(crate) fn received(packet: &Packet) -> UdReceived {
    UdReceived {
        slid: packet.lrh.slid,
        dlid: packet.lrh.dlid,
        sl: packet.lrh.sl,
        src_qp: packet.deth.src_qp,
        pkey: packet.bth.pkey,
        grh: packet.grh,
        payload: packet.payload.clone(),
        offload: packet.offload,
    }
}

/// True if a queue pair would receive the same of this packet.
fn is_copy(datagram: &UdReceived, packet: &Packet) -> bool {
    datagram.payload.is_same(&packet.payload)
        && datagram.slid == packet.lrh.slid
        && datagram.dlid == packet.lrh.dlid
        && datagram.sl == packet.lrh.sl
        && datagram.src_qp == packet.deth.src_qp
        && datagram.pkey == packet.bth.pkey
        && datagram.grh == packet.grh
        && datagram.offload == packet.offload
}

#[cfg(test)]
mod tests {
    use ib_wire::{
        addr::{Lid, PKey, Psn, QKey, ServiceLevel, VirtualLane},
        offload::Offload,
        packet::PacketSpec,
        payload::Payload,
        ud::PortEvent,
    };

    use super::*;

    const A: Qpn = Qpn::new(0x400);
    const B: Qpn = Qpn::new(0x401);

    fn packet(n: u8) -> Packet {
        let spec = PacketSpec {
            vl: VirtualLane::default(),
            sl: ServiceLevel::new(0),
            slid: Lid(1),
            dlid: Lid(0xc000),
            global: None,
            pkey: PKey::DEFAULT_FULL,
            qkey: QKey(1),
            src_qp: A,
            dest_qp: Qpn::MULTICAST,
            psn: Psn::new(0),
        };
        Packet::new(spec, Payload::from(&[n][..]), Offload::NONE)
    }

    fn event(end: usize) -> Output {
        Output::Port { port: PortId::of(end), event: PortEvent::Active }
    }

    /// End port, queue pair and byte of the next datagram; of an event the end port alone.
    fn next(outbox: &mut Outbox) -> Option<(usize, Option<(Qpn, u8)>)> {
        outbox.take().map(|output| match output {
            Output::Received { port, qpn, datagram } => (port.index(), Some((qpn, datagram.payload[0]))),
            Output::Port { port, .. } => (port.index(), None),
            other => panic!("nobody put {other:?}"),
        })
    }

    #[test]
    fn each_receiver_of_a_crowd_gets_all_in_a_row() {
        let mut outbox = Outbox::default();
        (0..200).for_each(|n| {
            outbox.put_copies(&packet(n), [(5, A), (2, B)].into_iter().skip(usize::from(n % 2)))
        });
        let of_five = (0..200).step_by(2).map(|n| (5, Some((A, n))));
        for expected in of_five.chain((0..200).map(|n| (2, Some((B, n))))) {
            assert_eq!(next(&mut outbox), Some(expected));
        }
        assert!(outbox.is_empty() && next(&mut outbox).is_none());
    }

    #[test]
    fn what_comes_later_waits_behind_a_crowd() {
        let mut outbox = Outbox::default();
        outbox.put(event(1));
        outbox.put_copies(&packet(1), [(2, A)]);
        outbox.put(event(3));
        assert_eq!([next(&mut outbox), next(&mut outbox)], [Some((1, None)), Some((2, Some((A, 1))))]);
        outbox.put(event(4));
        outbox.put_copies(&packet(2), [(2, A)]);
        let rest = [Some((3, None)), Some((4, None)), Some((2, Some((A, 2)))), None];
        assert_eq!([(); 4].map(|()| next(&mut outbox)), rest);
    }

    #[test]
    fn a_second_queue_pair_and_a_twin_are_not_lost() {
        let mut outbox = Outbox::default();
        let first = packet(1);
        outbox.put_copies(&first, [(0, A), (0, B)]);
        outbox.put_copies(&first, [(0, A)]);
        outbox.put_copies(&packet(2), [(0, B)]);
        let all = [(A, 1), (B, 1), (A, 1), (B, 2)].map(|what| Some((0, Some(what))));
        assert_eq!([(); 4].map(|()| next(&mut outbox)), all);
        assert!(outbox.is_empty());
    }
}
