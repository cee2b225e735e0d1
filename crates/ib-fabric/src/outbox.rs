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
        if self.crowd.is_empty() { &mut self.first } else { &mut self.then }.push_back(output);
    }

    /// Puts the copy of a multicast packet there that a queue pair of the end port `end` received.
    #[inline]
    pub(crate) fn put_copy(&mut self, end: usize, qpn: Qpn, packet: &Packet) {
        if self.then.is_empty() {
            self.crowd.put(end, qpn, packet);
        } else {
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

/// Multicast packets, each kept once, and what each end port received of them.
#[derive(Debug, Default)]
struct Crowd {
    datagrams: Vec<Shared>,
    copies: Vec<Copied>,
    /// By end port.
    chains: Vec<Option<Chain>>,
    /// End ports that have a chain.
    waiting: VecDeque<u32>,
}

/// A datagram that several get.
#[derive(Debug)]
struct Shared {
    /// Gone with the last copy.
    datagram: Option<UdReceived>,
    copies: u32,
}

/// One received by one.
#[derive(Debug)]
struct Copied {
    datagram: u32,
    qpn: Qpn,
    next: u32,
}

/// The copies of one end port: the first and the last.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

impl Crowd {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn put(&mut self, end: usize, qpn: Qpn, packet: &Packet) {
        match self.datagrams.last_mut() {
            Some(last) if last.datagram.as_ref().is_some_and(|datagram| is_copy(datagram, packet)) => {
                last.copies += 1;
            }
            _ => self.datagrams.push(Shared { datagram: Some(received(packet)), copies: 1 }),
        }
        let copy = number(self.copies.len());
        self.copies.push(Copied { datagram: number(self.datagrams.len() - 1), qpn, next: copy });
        if self.chains.len() <= end {
            self.chains.resize(end + 1, None);
        }
        match &mut self.chains[end] {
            Some(chain) => {
                self.copies[chain.last as usize].next = copy;
                chain.last = copy;
            }
            none => {
                *none = Some(Chain { first: copy, last: copy });
                self.waiting.push_back(number(end));
            }
        }
    }

    fn take(&mut self) -> Option<Output> {
        let end = *self.waiting.front()? as usize;
        let chain = self.chains[end].as_mut().expect("who waits has a chain");
        let Copied { datagram, qpn, next } = self.copies[chain.first as usize];
        if chain.first == chain.last {
            self.chains[end] = None;
            self.waiting.pop_front();
        } else {
            chain.first = next;
        }
        let shared = &mut self.datagrams[datagram as usize];
        shared.copies -= 1;
        let datagram = if shared.copies == 0 { shared.datagram.take() } else { shared.datagram.clone() };
        if self.waiting.is_empty() {
            self.datagrams.clear();
            self.copies.clear();
        }
        let datagram = datagram.expect("it is there until its last copy is taken");
        Some(Output::Received { port: PortId::of(end), qpn, datagram })
    }
}

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

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than 2^32 fit in memory")
}
