//! The table that every fixed format is written as: one row a field, as the specification prints it.
//!
//! A row is `name: Type = offset, length;` in bits, counted straight through from the most significant bit
//! of byte 0. (The specification numbers header words from bit 31 down and attribute tables straight
//! through; here it is always the latter.) Rows must ascend and may not overlap: that is checked when the
//! crate is compiled. What no row covers is reserved: written as zero, ignored when read.

/// The bytes end before the format does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("truncated: {have} bytes where {need} are needed")]
pub struct Truncated {
    /// Bytes the format takes.
    pub need: usize,
    /// Bytes there were.
    pub have: usize,
}

/// Splits `N` bytes off the front.
pub fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Truncated> {
    bytes.split_first_chunk().ok_or(Truncated { need: N, have: bytes.len() })
}

/// A value that a row can hold.
pub(crate) trait Field: Sized {
    /// Reads the `len` bits from bit `offset` on.
    fn get(bytes: &[u8], offset: usize, len: usize) -> Self;
    /// Writes them; bits beyond `len` are cut off.
    fn put(&self, bytes: &mut [u8], offset: usize, len: usize);
}

/// Reads up to 64 bits.
#[inline(always)]
pub(crate) fn get_bits(bytes: &[u8], offset: usize, len: usize) -> u64 {
    let last = offset + len - 1;
    let mut value = 0u128;
    for byte in &bytes[offset / 8..=last / 8] {
        value = value << 8 | u128::from(*byte);
    }
    #[expect(clippy::cast_possible_truncation, reason = "masked to at most 64 bits")]
    let value = (value >> (7 - last % 8)) as u64;
    if len == 64 { value } else { value & ((1 << len) - 1) }
}

/// Writes up to 64 bits.
#[inline(always)]
pub(crate) fn put_bits(bytes: &mut [u8], offset: usize, len: usize, value: u64) {
    let last = offset + len - 1;
    let shift = 7 - last % 8;
    let mask = if len == 64 { u128::from(u64::MAX) } else { (1u128 << len) - 1 };
    let (mut value, mut mask) = ((u128::from(value) & mask) << shift, mask << shift);
    for byte in bytes[offset / 8..=last / 8].iter_mut().rev() {
        let [v, m] = [value, mask].map(|x| x.to_le_bytes()[0]);
        *byte = *byte & !m | v;
        value >>= 8;
        mask >>= 8;
    }
}

macro_rules! integer_fields {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            #[inline(always)]
            #[expect(clippy::allow_attributes, reason = "the cast loses nothing for the widest type")]
            #[allow(clippy::cast_possible_truncation)]
            fn get(bytes: &[u8], offset: usize, len: usize) -> Self {
                get_bits(bytes, offset, len) as Self
            }
            #[inline(always)]
            fn put(&self, bytes: &mut [u8], offset: usize, len: usize) {
                put_bits(bytes, offset, len, u64::from(*self));
            }
        }
    )*};
}
integer_fields!(u8, u16, u32, u64);

impl Field for bool {
    #[inline(always)]
    fn get(bytes: &[u8], offset: usize, len: usize) -> Self {
        get_bits(bytes, offset, len) != 0
    }
    #[inline(always)]
    fn put(&self, bytes: &mut [u8], offset: usize, len: usize) {
        put_bits(bytes, offset, len, u64::from(*self));
    }
}

impl<const N: usize> Field for [u8; N] {
    #[inline(always)]
    fn get(bytes: &[u8], offset: usize, _len: usize) -> Self {
        let mut value = [0; N];
        value.copy_from_slice(&bytes[offset / 8..offset / 8 + N]);
        value
    }
    #[inline(always)]
    fn put(&self, bytes: &mut [u8], offset: usize, _len: usize) {
        bytes[offset / 8..offset / 8 + N].copy_from_slice(self);
    }
}

/// Makes newtypes over one inner field usable as rows: `via!(Lid: u16 = Lid, |v| v.0)`.
macro_rules! via {
    ($($ty:ty: $inner:ty = $make:expr, $take:expr;)*) => {$(
        impl $crate::layout::Field for $ty {
            #[inline(always)]
            fn get(bytes: &[u8], offset: usize, len: usize) -> Self {
                $make(<$inner as $crate::layout::Field>::get(bytes, offset, len))
            }
            #[inline(always)]
            fn put(&self, bytes: &mut [u8], offset: usize, len: usize) {
                let take: fn(&$ty) -> $inner = $take;
                take(self).put(bytes, offset, len);
            }
        }
    )*};
}
pub(crate) use via;

mod fields {
    use crate::addr::*;

    via! {
        Lid: u16 = Lid, |v| v.0;
        Lmc: u8 = Lmc, |v| v.0;
        Gid: [u8; 16] = Gid, |v| v.0;
        SubnetPrefix: u64 = SubnetPrefix, |v| v.0;
        Guid: u64 = Guid, |v| v.0;
        PKey: u16 = PKey, |v| v.0;
        QKey: u32 = QKey, |v| v.0;
        MKey: u64 = MKey, |v| v.0;
        Qpn: u32 = Qpn::new, |v| v.get();
        Psn: u32 = Psn::new, |v| v.get();
        Tid: u64 = Tid, |v| v.0;
        ServiceLevel: u8 = ServiceLevel::new, |v| v.get();
        VirtualLane: u8 = VirtualLane::new, |v| v.get();
        Mtu: u8 = Mtu, |v| v.0;
        Rate: u8 = Rate, |v| v.0;
        PortNum: u8 = PortNum, |v| v.0;
        LinkWidth: u8 = LinkWidth, |v| v.0;
        Timeout: u8 = Timeout, |v| v.0;
        Scope: u8 = Scope, |v| v.0;
    }
}

/// True if rows ascend, do not overlap and end within `bits`.
pub(crate) const fn rows_fit(rows: &[(usize, usize)], bits: usize) -> bool {
    let (mut i, mut free) = (0, 0);
    while i < rows.len() {
        if rows[i].0 < free || rows[i].1 == 0 {
            return false;
        }
        free = rows[i].0 + rows[i].1;
        i += 1;
    }
    free <= bits
}

/// Declares a fixed format as a table. See the module.
macro_rules! layout {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident[$len:literal] {
            $( $(#[$fdoc:meta])* $field:ident: $ty:ty = $off:literal, $bits:literal; )*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $ty, )*
        }

        const _: () = assert!($crate::layout::rows_fit(&[$(($off, $bits)),*], $len * 8), stringify!($name));

        impl $name {
            /// Bytes the format takes.
            pub const LEN: usize = $len;

            /// Reads the fields; every bit pattern is readable.
            #[inline]
            pub fn from_bytes(bytes: &[u8; $len]) -> Self {
                Self { $( $field: $crate::layout::Field::get(bytes, $off, $bits), )* }
            }

            /// Reads the fields from the front of `bytes` and returns the rest.
            #[inline]
            pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), $crate::layout::Truncated> {
                let (head, rest) = $crate::layout::split::<$len>(bytes)?;
                Ok((Self::from_bytes(head), rest))
            }

            /// The bytes, reserved bits zero.
            #[inline]
            pub fn to_bytes(&self) -> [u8; $len] {
                let mut bytes = [0; $len];
                $( $crate::layout::Field::put(&self.$field, &mut bytes, $off, $bits); )*
                bytes
            }
        }

        impl $crate::layout::Field for $name {
            #[inline]
            fn get(bytes: &[u8], offset: usize, _len: usize) -> Self {
                Self::from_bytes(&<[u8; $len] as $crate::layout::Field>::get(bytes, offset, $len * 8))
            }
            #[inline]
            fn put(&self, bytes: &mut [u8], offset: usize, _len: usize) {
                self.to_bytes().put(bytes, offset, $len * 8);
            }
        }
    )*};
}
pub(crate) use layout;

/// A number with assigned values that stays readable when the value is unknown.
macro_rules! open_enum {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident($inner:ty) {
            $( $(#[$vdoc:meta])* $value:ident = $number:expr; )*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        #[expect(clippy::allow_attributes, reason = "not every table of values needs every item")]
        #[allow(unused_qualifications)]
        impl $name {
            $( $(#[$vdoc])* pub const $value: Self = Self($number); )*

            /// The assigned name, if the value has one.
            pub const fn name(self) -> Option<&'static str> {
                $( if self.0 == Self::$value.0 { return Some(stringify!($value)); } )*
                None
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }

        $crate::layout::via! { $name: $inner = $name, |v| v.0; }
    )*};
}
pub(crate) use open_enum;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_put_are_the_bits_got(offset in 0usize..64, len in 1usize..=64, value: u64, fill: u8) {
            let mut bytes = [fill; 24];
            put_bits(&mut bytes, offset, len, value);
            let want = if len == 64 { value } else { value & ((1 << len) - 1) };
            prop_assert_eq!(get_bits(&bytes, offset, len), want);
            put_bits(&mut bytes, offset, len, get_bits(&[fill; 24], offset, len));
            prop_assert_eq!(bytes, [fill; 24]);
        }
    }

    #[test]
    fn overlapping_and_overlong_tables_are_refused() {
        assert!(rows_fit(&[(0, 8), (8, 8)], 16));
        assert!(!rows_fit(&[(0, 9), (8, 8)], 16));
        assert!(!rows_fit(&[(0, 8), (8, 9)], 16));
    }
}
