//! Multicast LIDs: the lowest free one is given out, and given out again once nobody has it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use ib_wire::addr::{Lid, MulticastGid, MulticastLid};

/// Which groups have which LID.
#[derive(Clone, Debug, Default)]
pub(super) struct Mlids {
    groups: BTreeMap<u16, Vec<MulticastGid>>,
    /// Given back, counted from the first.
    free: BTreeSet<u16>,
    /// LIDs that were ever given out.
    ever: u16,
}

impl Mlids {
    /// A LID for a group: that of `like` if it is given, else the lowest free one of the first `limit`.
    pub(super) fn take(
        &mut self,
        mgid: MulticastGid,
        like: Option<MulticastLid>,
        limit: u16,
    ) -> Option<MulticastLid> {
        if let Some(mlid) = like {
            self.groups.entry(mlid.get()).or_default().push(mgid);
            return Some(mlid);
        }
        let index = match self.free.first() {
            Some(index) => *index,
            None => self.ever,
        };
        let mlid = Lid::FIRST_MULTICAST.0.checked_add(index).and_then(|lid| MulticastLid::try_from(lid).ok());
        let mlid = mlid.filter(|_| index < limit)?;
        if !self.free.remove(&index) {
            self.ever += 1;
        }
        self.groups.insert(mlid.get(), alloc::vec![mgid]);
        Some(mlid)
    }

    /// The group is gone.
    pub(super) fn give_back(&mut self, mgid: MulticastGid, mlid: MulticastLid) {
        let Some(groups) = self.groups.get_mut(&mlid.get()) else { return };
        groups.retain(|other| *other != mgid);
        if groups.is_empty() {
            self.groups.remove(&mlid.get());
            self.free.insert(mlid.get() - Lid::FIRST_MULTICAST.0);
        }
    }

    /// The groups that have the LID.
    pub(super) fn groups(&self, mlid: MulticastLid) -> impl Iterator<Item = MulticastGid> + '_ {
        self.groups.get(&mlid.get()).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ib_wire::addr::Gid;

    #[test]
    fn the_lowest_free_lid_is_given_out_first() {
        let group = |n| {
            let mut gid = Gid::ZERO;
            gid.0[0] = 0xff;
            gid.0[15] = n;
            gid.multicast().unwrap()
        };
        let mut mlids = Mlids::default();
        let lids: Vec<_> = (0..4).map(|n| mlids.take(group(n), None, 4).unwrap()).collect();
        assert_eq!(lids.iter().map(|l| l.get()).collect::<Vec<_>>(), [0xc000, 0xc001, 0xc002, 0xc003]);
        assert_eq!(mlids.take(group(9), None, 4), None);
        assert_eq!(mlids.take(group(9), Some(lids[2]), 4), Some(lids[2]));
        mlids.give_back(group(2), lids[2]);
        assert_eq!(mlids.take(group(4), None, 4), None, "the other group still has it");
        mlids.give_back(group(9), lids[2]);
        mlids.give_back(group(0), lids[0]);
        assert_eq!(mlids.take(group(5), None, 4), Some(lids[0]));
        assert_eq!(mlids.take(group(6), None, 2), None, "not one of the first two");
        assert_eq!(mlids.take(group(6), None, 4), Some(lids[2]));
    }
}
