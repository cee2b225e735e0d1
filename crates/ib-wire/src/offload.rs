//! Large sends: one datagram that stands for many packets.
//!
//! The host's kernel hands over up to 64 KB of one flow as a single frame with a segment size and an
//! unfinished checksum. Inside the machine it stays whole; `ipoib::large` cuts it where bytes leave.
//! Offsets count from the first byte of the IP header.

use crate::ipoib::Header;

/// What is still to be done to a datagram before it may stand on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// Set if the datagram stands for several.
    pub segments: Option<Segments>,
}

impl Offload {
    /// Nothing to do: one packet, complete.
    pub const NONE: Self = Self { checksum: Checksum::Complete, segments: None };

    /// The largest payload on the link of a datagram with so many bytes of payload, IPoIB header included: of a large
    /// send, that of its full packets.
    #[inline]
    pub fn largest_of(&self, payload: usize) -> usize {
        match self.segments {
            None => payload,
            Some(segments) => payload.min(Header::LEN + segments.packet()),
        }
    }

    /// How many packets a datagram of `ip_len` bytes (IP header on) stands for.
    #[inline]
    pub fn packets(&self, ip_len: usize) -> usize {
        self.segments.map_or(1, |segments| segments.count(ip_len).0)
    }

    /// True if the bytes are not yet what a link would carry.
    pub const fn is_pending(&self) -> bool {
        self.segments.is_some() || matches!(self.checksum, Checksum::Partial { .. })
    }
}

/// State of the transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing is known; whatever stands in the packet is final.
    #[default]
    Complete,
    /// Checked by the sender's side; the receiver need not check again.
    Verified,
    /// To be computed over `start..` and stored at `start + offset`; the pseudo header's sum is in place.
    Partial {
        /// First byte of the transport header, counted from the IP header.
        start: u16,
        /// Where in the transport header the sum goes.
        offset: u16,
    },
}

/// How a large send is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// What is cut.
    pub kind: SegmentKind,
    /// Transport payload bytes of each packet but the last; not 0.
    pub size: u16,
    /// Bytes of IP and transport header that every packet repeats.
    pub header: u16,
    /// TCP only: the first packet alone keeps the CWR flag.
    pub ecn: bool,
}

impl Segments {
    /// Bytes of each packet but the last, from the IP header on.
    #[inline]
    pub fn packet(&self) -> usize {
        usize::from(self.header) + usize::from(self.size)
    }

    /// How many packets a datagram of `ip_len` bytes (IP header on) stands for, and the IP length of the
    /// last; all others are `header + size` long.
    pub fn count(&self, ip_len: usize) -> (usize, usize) {
        let data = ip_len.saturating_sub(self.header as usize);
        let size = (self.size as usize).max(1);
        let count = data.div_ceil(size).max(1);
        (count, self.header as usize + (data - (count - 1) * size))
    }
}

/// What a large send carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4 or IPv6.
    Udp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_holds_what_is_left() {
        let s = Segments { kind: SegmentKind::Tcp4, size: 1000, header: 40, ecn: false };
        assert_eq!(s.count(40 + 3000), (3, 1040));
        assert_eq!(s.count(40 + 3001), (4, 41));
        assert_eq!(s.count(40), (1, 40));
        assert_eq!(s.count(0), (1, 40));
    }
}
