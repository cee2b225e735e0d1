//! Globally unique identifiers (EUI-64) of nodes and ports.

use core::{fmt, str::FromStr};

/// An EUI-64: of a node, a port or a system image.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u64);

impl Guid {
    /// "No GUID".
    pub const ZERO: Self = Self(0);

    /// The eight bytes in transmission order.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// As `0002:c903:000e:8a11`.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(f, "{:04x}:{:04x}:{:04x}:{:04x}", v >> 48, v >> 32 & 0xffff, v >> 16 & 0xffff, v & 0xffff)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// The text is no GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID: write 16 hex digits, as 0x0002c903000e8a11 or 0002:c903:000e:8a11")]
pub struct ParseGuidError;

/// Reads `0x0002c903000e8a11`, `2c903000e8a11` and `0002:c903:000e:8a11`.
impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(':') {
            let mut value = 0u64;
            let mut groups = 0;
            for group in text.split(':') {
                if group.is_empty() || group.len() > 4 || group.starts_with('+') {
                    return Err(ParseGuidError);
                }
                value = value << 16 | u64::from(u16::from_str_radix(group, 16).map_err(|_| ParseGuidError)?);
                groups += 1;
            }
            return if groups == 4 { Ok(Self(value)) } else { Err(ParseGuidError) };
        }
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        if digits.is_empty() || digits.len() > 16 || digits.starts_with('+') {
            return Err(ParseGuidError);
        }
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| ParseGuidError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_read_the_same() {
        assert_eq!("0x0002c903000e8a11".parse(), Ok(Guid(0x0002_c903_000e_8a11)));
        assert_eq!("0002:c903:000e:8a11".parse(), Ok(Guid(0x0002_c903_000e_8a11)));
        assert_eq!("0002:c903:000e".parse::<Guid>(), Err(ParseGuidError));
        assert_eq!("0x".parse::<Guid>(), Err(ParseGuidError));
        assert_eq!("0x10002c903000e8a11".parse::<Guid>(), Err(ParseGuidError));
        assert_eq!("0002:c903:+00e:8a11".parse::<Guid>(), Err(ParseGuidError));
    }
}
