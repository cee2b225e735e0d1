//! Codes for what a link and a path can do: lanes, MTU, rate, time.

use core::{fmt, time::Duration};

/// Port number within a node: 0 is a switch's management port, HCA ports count from 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortNum(pub u8);

impl PortNum {
    /// A switch's management port.
    pub const MANAGEMENT: Self = Self(0);
    /// In a forwarding table: "no such destination". In a PMA request: "all ports".
    pub const ALL: Self = Self(255);
}

impl fmt::Display for PortNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PortNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortNum({})", self.0)
    }
}

/// Service level, `0..=15`: what a packet asks of the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceLevel(u8);

impl ServiceLevel {
    /// Keeps the low four bits.
    pub const fn new(value: u8) -> Self {
        Self(value & 0xf)
    }

    /// The number, below 16.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ServiceLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Virtual lane, `0..=15`: what a link carries it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualLane(u8);

impl VirtualLane {
    /// The lane of subnet management; in SL-to-VL tables it means "discard".
    pub const MANAGEMENT: Self = Self(15);

    /// Keeps the low four bits.
    pub const fn new(value: u8) -> Self {
        Self(value & 0xf)
    }

    /// The number, below 16.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// MTU code: 1..=5 for 256..4096 bytes of payload. Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtu(pub u8);

impl Mtu {
    /// 256 bytes.
    pub const B256: Self = Self(1);
    /// 512 bytes.
    pub const B512: Self = Self(2);
    /// 1024 bytes.
    pub const B1024: Self = Self(3);
    /// 2048 bytes: the default of IPoIB.
    pub const B2048: Self = Self(4);
    /// 4096 bytes.
    pub const B4096: Self = Self(5);

    /// Bytes, or `None` for a code without meaning.
    pub const fn bytes(self) -> Option<u16> {
        if self.0 >= 1 && self.0 <= 5 { Some(128 << self.0) } else { None }
    }

    /// The code for exactly `bytes`.
    pub const fn from_bytes(bytes: u16) -> Option<Self> {
        match bytes {
            256 => Some(Self::B256),
            512 => Some(Self::B512),
            1024 => Some(Self::B1024),
            2048 => Some(Self::B2048),
            4096 => Some(Self::B4096),
            _ => None,
        }
    }
}

impl Default for Mtu {
    fn default() -> Self {
        Self::B2048
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes() {
            Some(bytes) => bytes.fmt(f),
            None => write!(f, "?{}", self.0),
        }
    }
}

impl fmt::Debug for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mtu({self})")
    }
}

/// Rate code of a path. Codes are not in order of speed: compare `mbps`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate(pub u8);

/// Code and speed in Mb/s, as assigned (nominal figures of the specification's names).
const RATES: [(u8, u32); 23] = [
    (2, 2_500),
    (3, 10_000),
    (4, 30_000),
    (5, 5_000),
    (6, 20_000),
    (7, 40_000),
    (8, 60_000),
    (9, 80_000),
    (10, 120_000),
    (11, 14_000),
    (12, 56_000),
    (13, 112_000),
    (14, 168_000),
    (15, 25_000),
    (16, 100_000),
    (17, 200_000),
    (18, 300_000),
    (19, 28_000),
    (20, 50_000),
    (21, 400_000),
    (22, 600_000),
    (23, 800_000),
    (24, 1_200_000),
];

impl Rate {
    /// 10 Gb/s: the default of the broadcast group.
    pub const GBPS_10: Self = Self(3);

    /// Speed in Mb/s, or `None` for a code without meaning.
    pub fn mbps(self) -> Option<u32> {
        RATES.iter().find(|(code, _)| *code == self.0).map(|(_, mbps)| *mbps)
    }

    /// The code whose speed is the greatest not above `mbps`.
    pub fn at_most(mbps: u32) -> Option<Self> {
        RATES.iter().filter(|(_, m)| *m <= mbps).max_by_key(|(_, m)| *m).map(|(code, _)| Self(*code))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mbps() {
            Some(mbps) if mbps % 1000 != 0 => write!(f, "{}.{} Gb/s", mbps / 1000, mbps % 1000 / 100),
            Some(mbps) => write!(f, "{} Gb/s", mbps / 1000),
            None => write!(f, "rate?{}", self.0),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({self})")
    }
}

/// Link width: one bit per width; "active" has exactly one. 1=1x 2=4x 4=8x 8=12x 16=2x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkWidth(pub u8);

impl LinkWidth {
    /// One lane.
    pub const X1: Self = Self(1);
    /// Four lanes.
    pub const X4: Self = Self(2);
    /// Eight lanes.
    pub const X8: Self = Self(4);
    /// Twelve lanes.
    pub const X12: Self = Self(8);
    /// Two lanes.
    pub const X2: Self = Self(16);

    /// Number of lanes of an active width.
    pub const fn lanes(self) -> Option<u8> {
        match self.0 {
            1 => Some(1),
            2 => Some(4),
            4 => Some(8),
            8 => Some(12),
            16 => Some(2),
            _ => None,
        }
    }
}

/// Signalling speed of one lane, by its generation.
///
/// PortInfo spreads it over two fields: the old speed bits (SDR 1, DDR 2, QDR 4) and the extended ones
/// (FDR 1, EDR 2, HDR 4, NDR 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkSpeed {
    /// 2.5 Gb/s a lane.
    Sdr,
    /// 5 Gb/s a lane.
    Ddr,
    /// 10 Gb/s a lane.
    Qdr,
    /// 14 Gb/s a lane.
    Fdr,
    /// 25 Gb/s a lane.
    Edr,
    /// 50 Gb/s a lane.
    Hdr,
    /// 100 Gb/s a lane.
    Ndr,
}

impl LinkSpeed {
    /// Every speed, slowest first.
    pub const ALL: [Self; 7] = [Self::Sdr, Self::Ddr, Self::Qdr, Self::Fdr, Self::Edr, Self::Hdr, Self::Ndr];

    /// Mb/s of one lane.
    pub const fn lane_mbps(self) -> u32 {
        match self {
            Self::Sdr => 2_500,
            Self::Ddr => 5_000,
            Self::Qdr => 10_000,
            Self::Fdr => 14_000,
            Self::Edr => 25_000,
            Self::Hdr => 50_000,
            Self::Ndr => 100_000,
        }
    }

    /// The bit of PortInfo's LinkSpeed fields; the extended speeds show as QDR there.
    pub const fn speed_bit(self) -> u8 {
        match self {
            Self::Sdr => 1,
            Self::Ddr => 2,
            _ => 4,
        }
    }

    /// The bit of PortInfo's LinkSpeedExt fields; 0 up to QDR.
    pub const fn ext_bit(self) -> u8 {
        match self {
            Self::Sdr | Self::Ddr | Self::Qdr => 0,
            Self::Fdr => 1,
            Self::Edr => 2,
            Self::Hdr => 4,
            Self::Ndr => 8,
        }
    }
}

impl fmt::Display for LinkSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdr => "SDR",
            Self::Ddr => "DDR",
            Self::Qdr => "QDR",
            Self::Fdr => "FDR",
            Self::Edr => "EDR",
            Self::Hdr => "HDR",
            Self::Ndr => "NDR",
        })
    }
}

/// A time code of five bits: `4.096 us * 2^code`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(pub u8);

impl Timeout {
    /// The time it stands for.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(4096 << (self.0 & 0x1f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_codes_are_ordered_by_speed_not_by_number() {
        assert_eq!(Rate::at_most(40_000), Some(Rate(7)));
        assert_eq!(Rate::at_most(9_999), Some(Rate(5)));
        assert_eq!(Rate::at_most(1), None);
    }

    #[test]
    fn timeout_18_is_a_little_over_a_second() {
        assert_eq!(Timeout(18).duration(), Duration::from_nanos(1_073_741_824));
    }
}
