//! The header a TAP puts before each frame: what is left to do for checksums and segmentation.
//!
//! Layout and meaning are those of virtio's network header, little endian, with the buffer count
//! (virtio 1.2 §5.1.6): twelve octets.

/// Octets of the header.
pub const VNET_HEADER_LEN: usize = 12;

/// A frame's unfinished work: a checksum to fill in, a large segment to cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// [`NEEDS_CSUM`](Self::NEEDS_CSUM), [`DATA_VALID`](Self::DATA_VALID).
    pub flags: u8,
    /// One of the `GSO_*` values, with or without [`GSO_ECN`](Self::GSO_ECN).
    pub gso_type: u8,
    /// Octets before the payload that every segment repeats; a hint.
    pub hdr_len: u16,
    /// Payload octets of each segment.
    pub gso_size: u16,
    /// Where the checksum starts, from the first octet of the frame.
    pub csum_start: u16,
    /// Where its result goes, from `csum_start`.
    pub csum_offset: u16,
    /// Buffers the frame occupies; a TAP always has one and writes zero.
    pub num_buffers: u16,
}

impl VnetHeader {
    /// The checksum field holds the pseudo header's sum only.
    pub const NEEDS_CSUM: u8 = 1;
    /// The checksum was verified on the way.
    pub const DATA_VALID: u8 = 2;

    /// An ordinary frame.
    pub const GSO_NONE: u8 = 0;
    /// TCP over IPv4, to be cut.
    pub const GSO_TCPV4: u8 = 1;
    /// TCP over IPv6, to be cut.
    pub const GSO_TCPV6: u8 = 4;
    /// UDP datagrams of one flow, to be cut.
    pub const GSO_UDP_L4: u8 = 5;
    /// The TCP segment carries the congestion mark. Added to the TCP types.
    pub const GSO_ECN: u8 = 0x80;

    /// Reads the twelve octets.
    pub const fn parse(bytes: &[u8; VNET_HEADER_LEN]) -> Self {
        let [flags, gso_type, b @ ..] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([b[0], b[1]]),
            gso_size: u16::from_le_bytes([b[2], b[3]]),
            csum_start: u16::from_le_bytes([b[4], b[5]]),
            csum_offset: u16::from_le_bytes([b[6], b[7]]),
            num_buffers: u16::from_le_bytes([b[8], b[9]]),
        }
    }

    /// The twelve octets.
    pub const fn emit(self) -> [u8; VNET_HEADER_LEN] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        let [n0, n1] = self.num_buffers.to_le_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1, n0, n1]
    }

    /// True if somebody must still fill in the checksum.
    pub const fn needs_checksum(self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// The `GSO_*` value without the congestion mark.
    pub const fn segmentation(self) -> u8 {
        self.gso_type & !Self::GSO_ECN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_stand_where_virtio_puts_them() {
        let header = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: VnetHeader::GSO_TCPV4 | VnetHeader::GSO_ECN,
            hdr_len: 0x0102,
            gso_size: 0x0304,
            csum_start: 0x0506,
            csum_offset: 0x0708,
            num_buffers: 0x090a,
        };
        assert_eq!(header.emit(), [1, 0x81, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9]);
        assert!(header.needs_checksum());
        assert_eq!(header.segmentation(), VnetHeader::GSO_TCPV4);
    }

    proptest! {
        #[test]
        fn every_header_survives_the_round_trip(bytes: [u8; VNET_HEADER_LEN]) {
            prop_assert_eq!(VnetHeader::parse(&bytes).emit(), bytes);
        }
    }
}
