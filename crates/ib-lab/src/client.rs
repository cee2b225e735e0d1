//! Drivers that are elsewhere: the fabric's side of interfaces that another process runs.
//!
//! A client holds a port as an interface of the lab would: a queue pair and an agent for each of its interfaces. What
//! it asks comes in as `PortRequest`, what its port has for it goes out as `PortNotice`; [`Driver`](crate::Driver)
//! is the other side.

use alloc::{collections::BTreeMap, vec::Vec};

use ib_fabric::{Fabric, PortId};
use ib_wire::{
    addr::Qpn,
    payload::Payload,
    ud::{MadAddress, PortEvent, UdReceived},
};

use crate::{LabError, seat::Seat};

/// A driver that is elsewhere, by its number in the lab; numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub(crate) u64);

/// What a port has for a driver that is elsewhere.
#[derive(Clone, Debug)]
pub enum PortNotice {
    /// A datagram for one of its queue pairs.
    Received {
        /// For the interface of this number, from 0 on.
        nth: usize,
        /// What.
        datagram: UdReceived,
    },
    /// A MAD for one of its agents.
    Mad {
        /// For the interface of this number.
        nth: usize,
        /// From where.
        from: MadAddress,
        /// 256 bytes.
        mad: Payload,
    },
    /// The port changed; `Fabric::port_view` tells how it is now.
    Port(PortEvent),
}

/// The clients of a lab.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    seats: BTreeMap<ClientId, Vec<Seat>>,
    last: u64,
}

impl Clients {
    /// Takes a place at `port` for each of the queue pairs wanted, or none at all.
    pub(crate) fn add(
        &mut self,
        fabric: &mut Fabric,
        port: PortId,
        wanted: &[Option<Qpn>],
    ) -> Result<ClientId, LabError> {
        let mut seats = Vec::with_capacity(wanted.len());
        for (nth, want) in wanted.iter().enumerate() {
            match Seat::take(fabric, port, *want, nth == 0) {
                Ok(seat) => seats.push(seat),
                Err(error) => {
                    seats.into_iter().for_each(|seat: Seat| seat.leave(fabric));
                    return Err(error);
                }
            }
        }
        self.last += 1;
        let id = ClientId(self.last);
        self.seats.insert(id, seats);
        Ok(id)
    }

    /// Takes a client's places away. They come back; none if it had gone.
    pub(crate) fn remove(&mut self, fabric: &mut Fabric, id: ClientId) -> Vec<Seat> {
        let seats = self.seats.remove(&id).unwrap_or_default();
        seats.iter().for_each(|seat| seat.leave(fabric));
        seats
    }

    /// The places of a client, in the order of its interfaces; none if it has gone.
    pub(crate) fn seats(&self, id: ClientId) -> &[Seat] {
        self.seats.get(&id).map_or(&[], Vec::as_slice)
    }
}
