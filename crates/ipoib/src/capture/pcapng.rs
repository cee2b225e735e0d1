//! The file format: pcapng blocks around ERF records, as bytes.
//!
//! Of all link types for InfiniBand, Wireshark's releases read ERF (197) with record type 21, so that is what
//! is written: a 16-byte record header, then LRH through VCRC. Blocks are little-endian, ERF lengths
//! big-endian. draft-ietf-opsawg-pcapng; Wireshark `wiretap/erf.c`.

use ib_wire::packet::Packet;

/// Which way a packet went, seen from the end of the link that its interface names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in there.
    Received,
    /// It went out there.
    Sent,
}

/// What a capture says about an interface at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InterfaceStatistics {
    /// Packets that came by, whether written or not.
    pub(super) received: u64,
    /// Packets that could not be written in time.
    pub(super) dropped: u64,
}

/// Appends what every file begins with: who wrote it.
pub(super) fn section_header(out: &mut Vec<u8>) {
    let block = Block::begin(out, 0x0a0d_0d0a);
    out.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    // The length of the section is not known in advance.
    out.extend_from_slice(&(-1i64).to_le_bytes());
    option(out, 4, concat!("ipoib ", env!("CARGO_PKG_VERSION")).as_bytes());
    end_of_options(out);
    block.end(out);
}

/// Appends the description of an interface. They are numbered from 0 in the order they are described.
pub(super) fn interface(out: &mut Vec<u8>, name: &str) {
    let block = Block::begin(out, 1);
    out.extend_from_slice(&LINK_TYPE_ERF.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    // No limit on the bytes kept of a packet.
    out.extend_from_slice(&0u32.to_le_bytes());
    option(out, 2, name.as_bytes());
    // Times count in 10^-9 seconds.
    option(out, 9, &[9]);
    end_of_options(out);
    block.end(out);
}

/// Appends a packet at `time`, nanoseconds since 1970. A pending offload must have been carried out.
pub(super) fn packet(out: &mut Vec<u8>, interface: u32, time: u64, direction: Direction, packet: &Packet) {
    let block = Block::begin(out, 6);
    out.extend_from_slice(&interface.to_le_bytes());
    split_time(out, time);
    let lengths = out.len();
    out.extend_from_slice(&[0; 8]);
    let record = out.len();
    out.extend_from_slice(&[0; ERF_HEADER]);
    packet.emit(out);
    let len = out.len() - record;
    let header = erf_header(time, len);
    out[record..record + ERF_HEADER].copy_from_slice(&header);
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    out[lengths..lengths + 4].copy_from_slice(&len);
    out[lengths + 4..lengths + 8].copy_from_slice(&len);
    pad(out, record);
    let flags: u32 = match direction {
        Direction::Received => 1,
        Direction::Sent => 2,
    };
    option(out, 2, &flags.to_le_bytes());
    end_of_options(out);
    block.end(out);
}

/// Appends the statistics of an interface, recorded from `start` to `end`.
pub(super) fn statistics(
    out: &mut Vec<u8>,
    interface: u32,
    start: u64,
    end: u64,
    counted: InterfaceStatistics,
) {
    let block = Block::begin(out, 5);
    out.extend_from_slice(&interface.to_le_bytes());
    split_time(out, end);
    for (code, time) in [(2u16, start), (3, end)] {
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(&8u16.to_le_bytes());
        split_time(out, time);
    }
    option(out, 4, &counted.received.to_le_bytes());
    option(out, 5, &counted.dropped.to_le_bytes());
    end_of_options(out);
    block.end(out);
}

/// The header of a record of `len` bytes, itself included.
fn erf_header(time: u64, len: usize) -> [u8; ERF_HEADER] {
    let mut header = [0; ERF_HEADER];
    // Seconds and their fraction in 2^-32, rounded up so that cutting it to nanoseconds gives `time` back.
    let fraction = ((time % NANOS) << 32).div_ceil(NANOS);
    header[..8].copy_from_slice(&((time / NANOS) << 32 | fraction).to_le_bytes());
    header[8] = ERF_INFINIBAND;
    header[9] = ERF_VARIABLE_LENGTH;
    header[10..12].copy_from_slice(&length(len).to_be_bytes());
    // 12..14 counts lost records where the interface knows; the statistics at the end do that here.
    header[14..16].copy_from_slice(&length(len - ERF_HEADER).to_be_bytes());
    header
}

fn length(len: usize) -> u16 {
    u16::try_from(len).expect("a packet of a link is below 8 KiB")
}

/// High half first, each little-endian: pcapng's form of a time.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is asked for")]
fn split_time(out: &mut Vec<u8>, time: u64) {
    out.extend_from_slice(&((time >> 32) as u32).to_le_bytes());
    out.extend_from_slice(&(time as u32).to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    let start = out.len();
    out.extend_from_slice(value);
    pad(out, start);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

/// Fills up to a multiple of four bytes from `start`.
fn pad(out: &mut Vec<u8>, start: usize) {
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
}

/// A block whose length is not known yet.
struct Block {
    start: usize,
}

impl Block {
    fn begin(out: &mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Self { start }
    }

    fn end(self, out: &mut Vec<u8>) {
        let len = u32::try_from(out.len() + 4 - self.start).expect("blocks are below 4 GiB").to_le_bytes();
        out[self.start + 4..self.start + 8].copy_from_slice(&len);
        out.extend_from_slice(&len);
    }
}

const LINK_TYPE_ERF: u16 = 197;
const ERF_HEADER: usize = 16;
const ERF_INFINIBAND: u8 = 21;
const ERF_VARIABLE_LENGTH: u8 = 4;
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_say_their_length_at_both_ends() {
        let mut out = Vec::new();
        section_header(&mut out);
        interface(&mut out, "sw1:3");
        statistics(&mut out, 0, 1, 2, InterfaceStatistics { received: 3, dropped: 4 });
        let mut kinds = Vec::new();
        let mut rest = &out[..];
        while let Some((head, _)) = rest.split_first_chunk::<8>() {
            let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let len = usize::try_from(word(4)).unwrap();
            assert_eq!(len % 4, 0);
            assert_eq!(&rest[len - 4..len], &head[4..8]);
            kinds.push(word(0));
            rest = &rest[len..];
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 5]);
        assert!(rest.is_empty());
    }

    #[test]
    fn the_fraction_of_a_second_comes_back_exactly() {
        for nanos in [0, 1, 2, 999, 123_456_789, 500_000_000, 999_999_999] {
            let header = erf_header(7 * NANOS + nanos, ERF_HEADER);
            let stamp = u64::from_le_bytes(header[..8].try_into().unwrap());
            assert_eq!(stamp >> 32, 7);
            assert_eq!(((stamp & 0xffff_ffff) * NANOS) >> 32, nanos);
        }
    }
}
