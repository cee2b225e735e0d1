//! Component masks: which part of a record each bit of the mask stands for. IBA 1 §15.2.5.
//!
//! A row is a bit of the mask and the field it stands for, offset and length in bits as in the record's own
//! table. Bits without a row are reserved fields: they match always. Records that are chosen by more than
//! equality (paths, members) have their own code.

use ib_wire::mad::attr::{
    GuidInfoRecord, InformInfoRecord, LinearForwardingRecord, LinkRecord, MulticastForwardingRecord,
    NodeRecord, PKeyTableRecord, PortInfoRecord, Record, ServiceRecord, SlToVlRecord, SmInfoRecord,
    SwitchInfoRecord, VlArbitrationRecord,
};

/// Bit of the mask, offset and length of the field in bits.
pub(super) type Row = (u8, usize, usize);

/// A record that is matched field by field.
pub(super) trait Matched: Record {
    /// What the bits of the mask stand for.
    const COMPONENTS: &'static [Row];
}

/// True if `record` has what the masked components of `asked` name.
pub(super) fn matches<R: Matched>(mask: u64, asked: &[u8], record: &[u8]) -> bool {
    R::COMPONENTS
        .iter()
        .filter(|(bit, ..)| mask & 1 << bit != 0)
        .all(|(_, offset, len)| same_bits(asked, record, *offset, *len))
}

fn same_bits(a: &[u8], b: &[u8], offset: usize, len: usize) -> bool {
    let (first, last) = (offset / 8, (offset + len - 1) / 8);
    (first..=last).all(|i| {
        let mut mask = 0xff;
        if i == first {
            mask &= 0xff >> (offset % 8);
        }
        if i == last {
            mask &= 0xff << (7 - (offset + len - 1) % 8);
        }
        (a[i] ^ b[i]) & mask == 0
    })
}

macro_rules! components {
    ($($record:ident { $($bit:literal: $offset:literal, $len:literal;)* })*) => {$(
        impl Matched for $record {
            const COMPONENTS: &'static [Row] = &[$(($bit, $offset, $len)),*];
        }

        const _: () = assert!(rows_fit($record::COMPONENTS, $record::BYTES * 8), stringify!($record));
    )*};
}

/// True if bits ascend and fields lie within `len` bits.
const fn rows_fit(rows: &[Row], len: usize) -> bool {
    let mut i = 0;
    while i < rows.len() {
        let (bit, offset, bits) = rows[i];
        if bit > 63 || bits == 0 || offset + bits > len || (i > 0 && rows[i - 1].0 >= bit) {
            return false;
        }
        i += 1;
    }
    true
}

components! {
    NodeRecord {
        0: 0, 16; 2: 32, 8; 3: 40, 8; 4: 48, 8; 5: 56, 8; 6: 64, 64; 7: 128, 64; 8: 192, 64; 9: 256, 16;
        10: 272, 16; 11: 288, 32; 12: 320, 8; 13: 328, 24; 14: 352, 512;
    }

    PortInfoRecord {
        0: 0, 16; 1: 16, 8; 3: 32, 64; 4: 96, 64; 5: 160, 16; 6: 176, 16; 7: 192, 32; 8: 224, 16; 9: 240, 16;
        10: 256, 8; 11: 264, 8; 12: 272, 8; 13: 280, 8; 14: 288, 4; 15: 292, 4; 16: 296, 4; 17: 300, 4;
        18: 304, 2; 20: 309, 3; 21: 312, 4; 22: 316, 4; 23: 320, 4; 24: 324, 4; 25: 328, 4; 26: 332, 4;
        27: 336, 8; 28: 344, 8; 29: 352, 8; 30: 360, 4; 31: 364, 4; 32: 368, 3; 33: 371, 5; 34: 376, 4;
        35: 380, 1; 36: 381, 1; 37: 382, 1; 38: 383, 1; 39: 384, 16; 40: 400, 16; 41: 416, 16; 42: 432, 8;
        43: 440, 1; 45: 443, 5; 47: 451, 5; 48: 456, 4; 49: 460, 4; 50: 464, 16; 52: 488, 24; 53: 512, 16;
        54: 528, 4; 55: 532, 4; 57: 539, 5;
    }

    SwitchInfoRecord {
        0: 0, 16; 2: 32, 16; 3: 48, 16; 4: 64, 16; 5: 80, 16; 6: 96, 8; 7: 104, 8; 8: 112, 8;
    }

    LinearForwardingRecord { 0: 0, 16; 1: 16, 16; }

    MulticastForwardingRecord { 0: 0, 16; 1: 16, 4; 3: 23, 9; }

    SmInfoRecord { 0: 0, 16; 2: 32, 64; 3: 96, 64; 4: 160, 32; 5: 192, 4; 6: 196, 4; }

    LinkRecord { 0: 0, 16; 1: 16, 8; 2: 24, 8; 3: 32, 16; }

    GuidInfoRecord {
        0: 0, 16; 1: 16, 8; 4: 64, 64; 5: 128, 64; 6: 192, 64; 7: 256, 64; 8: 320, 64; 9: 384, 64;
        10: 448, 64; 11: 512, 64;
    }

    PKeyTableRecord { 0: 0, 16; 1: 16, 16; 2: 32, 8; }

    SlToVlRecord { 0: 0, 16; 1: 16, 8; 2: 24, 8; }

    VlArbitrationRecord { 0: 0, 16; 1: 16, 8; 2: 24, 8; }

    InformInfoRecord {
        0: 0, 128; 1: 128, 16; 3: 192, 128; 4: 320, 16; 5: 336, 16; 7: 368, 8; 8: 376, 8; 9: 384, 16;
        10: 400, 16; 11: 416, 24; 13: 443, 5; 15: 456, 24;
    }

    ServiceRecord {
        0: 0, 64; 1: 64, 128; 2: 192, 16; 4: 224, 32; 5: 256, 128; 6: 384, 512;
        7: 896, 8; 8: 904, 8; 9: 912, 8; 10: 920, 8; 11: 928, 8; 12: 936, 8; 13: 944, 8; 14: 952, 8;
        15: 960, 8; 16: 968, 8; 17: 976, 8; 18: 984, 8; 19: 992, 8; 20: 1000, 8; 21: 1008, 8; 22: 1016, 8;
        23: 1024, 16; 24: 1040, 16; 25: 1056, 16; 26: 1072, 16; 27: 1088, 16; 28: 1104, 16; 29: 1120, 16;
        30: 1136, 16; 31: 1152, 32; 32: 1184, 32; 33: 1216, 32; 34: 1248, 32; 35: 1280, 64; 36: 1344, 64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ib_wire::addr::{Lid, PortNum};

    #[test]
    fn only_masked_fields_count() {
        let link = |from, port, to| {
            LinkRecord { from_lid: Lid(from), from_port: PortNum(port), to_port: PortNum(1), to_lid: Lid(to) }
                .to_bytes()
        };
        let (asked, record) = (link(7, 3, 9), link(7, 4, 9));
        assert!(matches::<LinkRecord>(0, &asked, &record));
        assert!(matches::<LinkRecord>(0b1101, &asked, &record));
        assert!(!matches::<LinkRecord>(0b10, &asked, &record));
    }

    #[test]
    fn fields_smaller_than_a_byte_are_compared_by_their_bits() {
        assert!(same_bits(&[0b1010_0101], &[0b0110_0101], 4, 4));
        assert!(!same_bits(&[0b1010_0101], &[0b0110_0101], 0, 4));
        assert!(same_bits(&[0xf1, 0x23, 0x4f], &[0x01, 0x23, 0x40], 4, 16));
        assert!(!same_bits(&[0xf1, 0x23, 0x4f], &[0x01, 0x22, 0x40], 4, 16));
    }
}
