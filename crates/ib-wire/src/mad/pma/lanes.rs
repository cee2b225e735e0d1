//! Sixteen counters in a row, one for each lane or service level.

use super::CounterHead;
use crate::layout::{get_bits, put_bits};

/// How wide each of the counters is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterBits {
    /// Flow control errors.
    Two = 2,
    /// Packets and ticks.
    Sixteen = 16,
    /// Words.
    ThirtyTwo = 32,
}

impl CounterBits {
    /// The largest value, at which a counter stops.
    pub const fn largest(self) -> u32 {
        u32::MAX >> (32 - self as u32)
    }
}

/// What many attributes are: PortVLOpPackets, PortXmitDataSL and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCounters {
    /// Which port, which operation, what to clear.
    pub head: CounterHead,
    /// By lane or service level.
    pub counters: [u32; 16],
}

impl LaneCounters {
    /// Reads the attribute.
    pub fn from_bytes(bytes: &[u8; 192], width: CounterBits) -> Self {
        let bits = width as usize;
        let head = CounterHead::from_bytes(&core::array::from_fn(|i| bytes[i]));
        let counter = |i| u32::try_from(get_bits(bytes, CounterHead::LEN * 8 + i * bits, bits));
        Self { head, counters: core::array::from_fn(|i| counter(i).expect("at most 32 bits")) }
    }

    /// The bytes of the attribute; what is too large for its counter is written as the largest value.
    pub fn to_bytes(&self, width: CounterBits) -> [u8; 192] {
        let bits = width as usize;
        let mut bytes = [0; 192];
        bytes[..CounterHead::LEN].copy_from_slice(&self.head.to_bytes());
        for (i, counter) in self.counters.iter().enumerate() {
            let value = (*counter).min(width.largest());
            put_bits(&mut bytes, CounterHead::LEN * 8 + i * bits, bits, value.into());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{addr::PortNum, packet::Opcode};

    #[test]
    fn counters_of_each_width_stand_behind_the_head() {
        let head = CounterHead { opcode: Opcode::UD_SEND_ONLY, port: PortNum(7), counter_select: 0x1234 };
        let counters = core::array::from_fn(|i| u32::try_from(i).expect("below 16") * 0x1111);
        let mut lanes = LaneCounters { head, counters };
        let bytes = lanes.to_bytes(CounterBits::ThirtyTwo);
        assert_eq!(bytes[..12], [0x64, 7, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0x11, 0x11]);
        assert_eq!(bytes[64..68], [0, 0, 0xff, 0xff], "bits 512 to 543 are lane 15");
        assert_eq!(LaneCounters::from_bytes(&bytes, CounterBits::ThirtyTwo), lanes);
        lanes.counters[1] = 0x1_0000;
        let bytes = lanes.to_bytes(CounterBits::Sixteen);
        assert_eq!((&bytes[6..8], &bytes[34..36], bytes[36]), (&[0xff, 0xff][..], &[0xff, 0xff][..], 0));
        let bytes = lanes.to_bytes(CounterBits::Two);
        assert_eq!(bytes[4..9], [0x3f, 0xff, 0xff, 0xff, 0]);
    }
}
