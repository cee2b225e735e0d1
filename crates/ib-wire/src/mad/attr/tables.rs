//! Tables that are read and written block by block. IBA 1 §14.2.5.5, §14.2.5.7 to §14.2.5.12.

use crate::{
    addr::{Guid, PKey, PortNum, ServiceLevel, VirtualLane},
    layout::{Field, get_bits, put_bits},
};

/// Eight GUIDs of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuidBlock(pub [Guid; 8]);

/// 32 partition keys of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PKeyBlock(pub [PKey; 32]);

/// Egress ports of 64 unicast LIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearBlock(pub [PortNum; 64]);

/// Port masks of 32 multicast LIDs, 16 ports at a time: bit n is port `16 * position + n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MulticastBlock(pub [u16; 32]);

/// Lane of each of the 16 service levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlToVlTable(pub [VirtualLane; 16]);

/// 32 entries of lane arbitration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlArbitrationBlock(pub [VlArbitrationEntry; 32]);

/// One turn of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlArbitrationEntry {
    /// Whose turn.
    pub vl: VirtualLane,
    /// How long, in 64-byte units; 0 skips it.
    pub weight: u8,
}

impl Default for PKeyBlock {
    fn default() -> Self {
        Self([PKey::INVALID; 32])
    }
}

impl Default for LinearBlock {
    fn default() -> Self {
        Self([PortNum::ALL; 64])
    }
}

impl SlToVlTable {
    /// In the modifier of a Set: for all ways out of a switch.
    pub const ALL_OUT: u32 = 1 << 16;
    /// In the modifier of a Set: for all ways into a switch.
    pub const ALL_IN: u32 = 1 << 17;

    /// The lane for `sl`.
    pub const fn vl(&self, sl: ServiceLevel) -> VirtualLane {
        self.0[sl.get() as usize]
    }
}

macro_rules! blocks {
    ($($name:ident[$bytes:literal]: $entry:literal bits, |$v:ident| $make:expr, |$w:ident| $take:expr;)*) => {$(
        impl $name {
            /// Bytes the block takes.
            pub const LEN: usize = $bytes;

            /// Reads the block.
            pub fn from_bytes(bytes: &[u8; $bytes]) -> Self {
                Self(core::array::from_fn(|i| {
                    let $v = get_bits(bytes, i * $entry, $entry);
                    $make
                }))
            }

            /// The bytes of the block.
            pub fn to_bytes(&self) -> [u8; $bytes] {
                let mut bytes = [0; $bytes];
                for (i, $w) in self.0.iter().enumerate() {
                    put_bits(&mut bytes, i * $entry, $entry, $take);
                }
                bytes
            }
        }

        impl Field for $name {
            fn get(bytes: &[u8], offset: usize, len: usize) -> Self {
                Self::from_bytes(&<[u8; $bytes]>::get(bytes, offset, len))
            }
            fn put(&self, bytes: &mut [u8], offset: usize, len: usize) {
                self.to_bytes().put(bytes, offset, len);
            }
        }
    )*};
}

/// The low `N` bytes of what `get_bits` returned for a field no wider than that.
macro_rules! narrow {
    ($v:expr => $ty:ty) => {
        <$ty>::try_from($v).expect("no wider than its entry")
    };
}

blocks! {
    GuidBlock[64]: 64 bits, |v| Guid(v), |w| w.0;
    PKeyBlock[64]: 16 bits, |v| PKey(narrow!(v => u16)), |w| u64::from(w.0);
    LinearBlock[64]: 8 bits, |v| PortNum(narrow!(v => u8)), |w| u64::from(w.0);
    MulticastBlock[64]: 16 bits, |v| narrow!(v => u16), |w| u64::from(*w);
    SlToVlTable[8]: 4 bits, |v| VirtualLane::new(narrow!(v => u8)), |w| u64::from(w.get());
    VlArbitrationBlock[64]: 16 bits,
        |v| VlArbitrationEntry { vl: VirtualLane::new(narrow!(v >> 8 => u8)), weight: narrow!(v & 0xff => u8) },
        |w| u64::from(w.vl.get()) << 8 | u64::from(w.weight);
}

impl From<LinearBlock> for [u8; 64] {
    fn from(block: LinearBlock) -> Self {
        block.to_bytes()
    }
}
