//! Which LID a port gets: the one it was promised, else the one it has, else the lowest that is free.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use ib_wire::addr::{Guid, Lid, UnicastLid};

use crate::subnet::{PortId, Subnet};

/// Promised LIDs by port GUID. They outlive the port's absence, and the manager if its host keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LidBook {
    by_guid: BTreeMap<Guid, Lid>,
    owner: BTreeMap<Lid, Guid>,
}

impl LidBook {
    /// Starts from what an earlier manager promised; of two that want one LID the first has it.
    pub(crate) fn new(promised: &[(Guid, Lid)]) -> Self {
        let mut book = Self::default();
        for (guid, lid) in promised {
            if lid.is_unicast() && !book.owner.contains_key(lid) && !book.by_guid.contains_key(guid) {
                book.promise(*guid, *lid);
            }
        }
        book
    }

    /// Gives every end port of the model a LID. Returns how many had to go without.
    pub(crate) fn assign(&mut self, subnet: &mut Subnet) -> usize {
        let mut ends: Vec<(PortId, Guid, Lid)> = subnet
            .end_ports()
            .map(|(id, port)| (id, port.guid, port.info.map_or(Lid::NONE, |info| info.lid)))
            .collect();
        let own = subnet.own_port();
        // Those on one switch get LIDs side by side, so that what changes on the way to them is in few blocks.
        ends.sort_by_cached_key(|(id, _, _)| (Some(*id) != own, subnet.switch_port(*id).unwrap_or(*id)));
        for (_, guid, has) in &ends {
            if !self.by_guid.contains_key(guid) && has.is_unicast() && !self.owner.contains_key(has) {
                self.promise(*guid, *has);
            }
        }
        let here: BTreeSet<Guid> = ends.iter().map(|(_, guid, _)| *guid).collect();
        let mut free = 1;
        let mut without = 0;
        for (id, guid, _) in ends {
            let lid = match self.by_guid.get(&guid) {
                Some(lid) => *lid,
                None => match self.lowest_free(&mut free).or_else(|| self.of_absent(&here)) {
                    Some(lid) => lid,
                    None => {
                        without += 1;
                        continue;
                    }
                },
            };
            self.promise(guid, lid);
            subnet.set_lid(id, lid);
        }
        without
    }

    /// Every promise, by GUID.
    pub(crate) fn promised(&self) -> impl Iterator<Item = (Guid, Lid)> + '_ {
        self.by_guid.iter().map(|(guid, lid)| (*guid, *lid))
    }

    fn promise(&mut self, guid: Guid, lid: Lid) {
        self.by_guid.insert(guid, lid);
        self.owner.insert(lid, guid);
    }

    fn lowest_free(&self, from: &mut u16) -> Option<Lid> {
        let free = (*from..=UnicastLid::MAX).map(Lid).find(|lid| !self.owner.contains_key(lid))?;
        *from = free.0 + 1;
        Some(free)
    }

    /// When all are promised, a port that is away loses its own.
    fn of_absent(&mut self, here: &BTreeSet<Guid>) -> Option<Lid> {
        let (lid, guid) = self.owner.iter().find(|(_, guid)| !here.contains(guid)).map(|(l, g)| (*l, *g))?;
        self.by_guid.remove(&guid);
        self.owner.remove(&lid);
        Some(lid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_promises_for_one_lid_the_first_is_kept() {
        let (a, b) = (Guid(1), Guid(2));
        let book =
            LidBook::new(&[(a, Lid(5)), (b, Lid(5)), (b, Lid(6)), (a, Lid(7)), (Guid(3), Lid(0xc000))]);
        assert_eq!(book.promised().collect::<Vec<_>>(), [(a, Lid(5)), (b, Lid(6))]);
    }

    #[test]
    fn the_lowest_free_lid_skips_promised_ones() {
        let book = LidBook::new(&[(Guid(1), Lid(1)), (Guid(2), Lid(3))]);
        let mut from = 1;
        let free: Vec<_> = core::iter::from_fn(|| book.lowest_free(&mut from)).take(3).collect();
        assert_eq!(free, [Lid(2), Lid(4), Lid(5)]);
    }

    #[test]
    fn when_none_is_left_an_absent_port_loses_its_own() {
        let mut book = LidBook::new(&[(Guid(1), Lid(1)), (Guid(2), Lid(2))]);
        assert_eq!(book.of_absent(&BTreeSet::from([Guid(1)])), Some(Lid(2)));
        assert_eq!(book.of_absent(&BTreeSet::from([Guid(1)])), None);
    }
}
