//! Service level to virtual lane, as a port or a pair of switch ports maps it. IBA 1 §7.6.

use ib_wire::{
    addr::{ServiceLevel, VirtualLane},
    mad::attr::SlToVlTable,
};

/// Data lanes of an operational-VLs code: 1 VL0, 2 VL0-1, 3 VL0-3, 4 VL0-7, 5 VL0-14.
pub(crate) const fn data_lanes(code: u8) -> u8 {
    match code {
        2 => 2,
        3 => 4,
        4 => 8,
        5.. => 15,
        _ => 1,
    }
}

/// A mapping, or none yet: then the lanes in use are taken in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lanes(Option<[u8; 8]>);

impl Lanes {
    /// A mapping as an SM wrote it.
    pub(crate) fn of(table: &SlToVlTable) -> Self {
        Self(Some(table.to_bytes()))
    }

    /// The lane for `sl` with `operational` lanes in use; `None` means discard.
    #[inline]
    pub(crate) fn lane(self, sl: ServiceLevel, operational: u8) -> Option<VirtualLane> {
        let lanes = data_lanes(operational);
        match self.0 {
            None => Some(VirtualLane::new(sl.get() % lanes)),
            Some(packed) => {
                let pair = packed[usize::from(sl.get() / 2)];
                let vl = if sl.get().is_multiple_of(2) { pair >> 4 } else { pair & 0xf };
                (vl < lanes).then_some(VirtualLane::new(vl))
            }
        }
    }

    /// The table as an SM reads it.
    pub(crate) fn table(self, operational: u8) -> SlToVlTable {
        match self.0 {
            Some(packed) => SlToVlTable::from_bytes(&packed),
            None => SlToVlTable(core::array::from_fn(|sl| {
                let sl = ServiceLevel::new(u8::try_from(sl).expect("below 16"));
                self.lane(sl, operational).unwrap_or(VirtualLane::MANAGEMENT)
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_table_discards_what_it_maps_outside_the_lanes_in_use() {
        let sl = ServiceLevel::new;
        assert_eq!(Lanes::default().lane(sl(9), 4), Some(VirtualLane::new(1)));
        let mut table = Lanes::default().table(5);
        assert_eq!(table.vl(sl(15)), VirtualLane::new(0));
        table.0[3] = VirtualLane::MANAGEMENT;
        table.0[4] = VirtualLane::new(7);
        let lanes = Lanes::of(&table);
        assert_eq!(lanes.lane(sl(3), 5), None);
        assert_eq!(lanes.lane(sl(4), 5), Some(VirtualLane::new(7)));
        assert_eq!(lanes.lane(sl(4), 3), None);
        assert_eq!(lanes.table(3), table);
    }
}
