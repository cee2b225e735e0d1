//! A request that may be answered: who asks, and whether it is trusted.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Lid, PKey},
    mad::{Method, attr::Record, sa::SaMad},
    time::Instant,
    ud::MadAddress,
};

use crate::subnet::{PortId, Subnet};

/// A request with what is known of its sender.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) now: Instant,
    pub(super) subnet: &'a Subnet,
    pub(super) from: MadAddress,
    pub(super) mad: &'a SaMad,
    /// Named the SM_Key.
    pub(super) trusted: bool,
    /// The port that asks.
    pub(super) port: PortId,
    keys: Vec<PKey>,
}

impl<'a> Request<'a> {
    /// None if no port has the LID that it comes from.
    pub(super) fn new(now: Instant, subnet: &'a Subnet, from: MadAddress, mad: &'a SaMad) -> Option<Self> {
        let port = subnet.end_port_by_lid(from.lid)?;
        let keys = subnet.port(port)?.valid_pkeys().collect();
        Some(Self { now, subnet, from, mad, trusted: mad.sm_key != 0, port, keys })
    }

    /// The record in the request.
    pub(super) fn record<R: Record>(&self) -> R {
        R::read(&self.mad.data).expect("every record fits one MAD")
    }

    /// True if all these components count.
    pub(super) const fn has(&self, components: u64) -> bool {
        self.mad.component_mask & components == components
    }

    pub(super) fn is_table(&self) -> bool {
        self.mad.header.method == Method::GET_TABLE
    }

    /// The LID asked for, of records whose first component it is.
    pub(super) fn lid(&self) -> Option<Lid> {
        self.has(1).then(|| Lid(u16::from_be_bytes([self.mad.data[0], self.mad.data[1]])))
    }

    /// True if the sender belongs to the partition, as whatever member.
    pub(super) fn holds(&self, pkey: PKey) -> bool {
        self.keys.iter().any(|key| key.partition() == pkey.partition())
    }

    /// True if partitions let the sender talk with the port: it learns of no other.
    pub(super) fn may_see(&self, port: PortId) -> bool {
        port == self.port || common_key(self.subnet, self.port, port).is_some()
    }
}

/// The first key of `a` that is good for talking with `b`.
pub(super) fn common_key(subnet: &Subnet, a: PortId, b: PortId) -> Option<PKey> {
    let (a, b) = (subnet.port(a)?, subnet.port(b)?);
    a.valid_pkeys().find(|key| b.valid_pkeys().any(|other| key.admits(other)))
}

/// True if the port belongs to the partition, as whatever member.
pub(super) fn holds(subnet: &Subnet, port: PortId, pkey: PKey) -> bool {
    subnet.port(port).is_some_and(|p| p.valid_pkeys().any(|key| key.partition() == pkey.partition()))
}
