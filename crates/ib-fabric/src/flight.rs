//! A packet on its way through the fabric.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Qpn, VirtualLane},
    packet::{Measure, Packet},
};

/// A packet under way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    /// The packet.
    pub(crate) packet: Packet,
    /// What it counts for.
    pub(crate) measure: Measure,
    /// Payload bytes of the largest packet it stands for.
    pub(crate) largest: usize,
    /// True if it goes to a multicast LID.
    pub(crate) multicast: bool,
    /// Switches passed.
    pub(crate) hops: u8,
    /// The port it came in through last; at its origin the port it leaves from.
    pub(crate) ingress: usize,
    /// True for the second of two that a link made of one.
    pub(crate) is_twin: bool,
}

impl Flight {
    /// A packet about to leave through `port`, or just come in there.
    #[inline]
    pub(crate) fn new(packet: Packet, port: usize) -> Self {
        Self {
            measure: packet.measure(),
            largest: packet.largest_payload(),
            multicast: packet.lrh.dlid.is_multicast(),
            packet,
            hops: 0,
            ingress: port,
            is_twin: false,
        }
    }

    /// One of the packets that this one stands for, as far on its way.
    pub(crate) fn part(&self, packet: Packet) -> Self {
        Self { hops: self.hops, is_twin: self.is_twin, ..Self::new(packet, self.ingress) }
    }

    /// True on the lane of subnet management.
    #[inline]
    pub(crate) fn is_management(&self) -> bool {
        self.packet.lrh.vl == VirtualLane::MANAGEMENT
    }

    /// True if it carries a MAD, of subnet management or of another class.
    pub(crate) fn is_mad(&self) -> bool {
        matches!(self.packet.bth.dest_qp, Qpn::SMI | Qpn::GSI)
    }
}

/// Where a packet is about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Leaving through this port.
    Out(usize),
    /// Coming in through this port.
    In(usize),
    /// To be looked up by the switch whose port 0 this is.
    Through(usize),
    /// For the software or the agents behind this port.
    Local(usize),
    /// At the outer end of this link, which leads out of the fabric.
    Away(usize),
    /// At the inner end of it, from outside.
    Enter(usize),
    /// Nowhere: it was delivered, dropped or put on a slow link.
    Done,
}

/// Packets that wait, by number; numbers are used again.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    slots: Vec<Option<Flight>>,
    free: Vec<usize>,
}

impl Parked {
    /// Keeps a packet; its payload gives up a much larger buffer.
    pub(crate) fn put(&mut self, mut flight: Flight) -> usize {
        flight.packet.payload = flight.packet.payload.compact();
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(flight);
                slot
            }
            None => {
                self.slots.push(Some(flight));
                self.slots.len() - 1
            }
        }
    }

    /// Takes a packet back.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Flight> {
        let flight = self.slots.get_mut(slot)?.take();
        if flight.is_some() {
            self.free.push(slot);
        }
        flight
    }
}
