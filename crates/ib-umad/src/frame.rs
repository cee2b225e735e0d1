//! What goes over the stream of an open port: MADs with their addresses.
//!
//! A frame is its length without these four bytes, the 64 bytes of the kernel's `struct ib_user_mad` with the P_Key
//! index (Linux, user_mad documentation; ABI 5), and the MAD. Numbers are in the machine's order except where the
//! structure has them in network order: its program keeps the same bytes in its buffer.

use std::mem::size_of;

/// Bytes of the length before each frame.
pub const PREFIX: usize = size_of::<u32>();

/// Bytes of the header, which `umad_size` tells the program.
pub const HEADER: usize = 64;

/// Longest MAD of a frame, in bytes: a message of many segments is one MAD here.
pub const MAX_MAD: usize = 64 << 20;

/// The kernel's header of a MAD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The agent that sends, or that it is for.
    pub agent: u32,
    /// 0, or the error number with which a request comes back.
    pub status: u32,
    /// How long an answer is waited for, in ms; 0: there will be none.
    pub timeout_ms: u32,
    /// How often a request without answer is sent again.
    pub retries: u32,
    /// Length of MAD and header, where the kernel says it.
    pub length: u32,
    /// The far end.
    pub address: Address,
}

/// The kernel's `struct ib_mad_addr` without its reserved bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Queue pair.
    pub qpn: u32,
    /// Q_Key.
    pub qkey: u32,
    /// LID.
    pub lid: u16,
    /// Service level.
    pub sl: u8,
    /// Low bits of our own LID.
    pub path_bits: u8,
    /// Set if there is a GRH, and what follows is of meaning.
    pub grh: bool,
    /// Our GID's place in the port's table.
    pub gid_index: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// The far end's GID.
    pub gid: [u8; 16],
    /// Flow label.
    pub flow_label: u32,
    /// P_Key's place in the port's table.
    pub pkey_index: u16,
}

impl Header {
    /// Reads it from the program's buffer or from a stream.
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let native = |at: usize| u32::from_ne_bytes(four(bytes, at));
        let network = |at: usize| u32::from_be_bytes(four(bytes, at));
        let address = Address {
            qpn: network(20),
            qkey: network(24),
            lid: u16::from_be_bytes([bytes[28], bytes[29]]),
            sl: bytes[30],
            path_bits: bytes[31],
            grh: bytes[32] != 0,
            gid_index: bytes[33],
            hop_limit: bytes[34],
            traffic_class: bytes[35],
            gid: std::array::from_fn(|i| bytes[36 + i]),
            flow_label: network(52),
            // In the machine's order, unlike the others.
            pkey_index: u16::from_ne_bytes([bytes[56], bytes[57]]),
        };
        Self {
            agent: native(0),
            status: native(4),
            timeout_ms: native(8),
            retries: native(12),
            length: native(16),
            address,
        }
    }

    /// Writes it.
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let Self { agent, status, timeout_ms, retries, length, address } = self;
        let mut bytes = [0; HEADER];
        for (at, number) in [(0, agent), (4, status), (8, timeout_ms), (12, retries), (16, length)] {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes[20..24].copy_from_slice(&address.qpn.to_be_bytes());
        bytes[24..28].copy_from_slice(&address.qkey.to_be_bytes());
        bytes[28..30].copy_from_slice(&address.lid.to_be_bytes());
        bytes[30] = address.sl;
        bytes[31] = address.path_bits;
        bytes[32] = address.grh.into();
        bytes[33] = address.gid_index;
        bytes[34] = address.hop_limit;
        bytes[35] = address.traffic_class;
        bytes[36..52].copy_from_slice(&address.gid);
        bytes[52..56].copy_from_slice(&address.flow_label.to_be_bytes());
        bytes[56..58].copy_from_slice(&address.pkey_index.to_ne_bytes());
        bytes
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame has this length.
    #[error("a frame of {0} bytes: at least {HEADER}, at most {HEADER} + {MAX_MAD}")]
    Length(usize),
}

/// Puts one frame at the end of `out`.
pub fn write(header: &Header, mad: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(HEADER + mad.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(mad);
}

/// Bytes of header and MAD that follow a prefix.
pub fn length(prefix: &[u8; PREFIX]) -> Result<usize, FrameError> {
    let length = u32::from_ne_bytes(*prefix) as usize;
    if (HEADER..=HEADER + MAX_MAD).contains(&length) { Ok(length) } else { Err(FrameError::Length(length)) }
}

/// A header, its MAD, and how many bytes both are with their prefix.
pub type Frame<'a> = (Header, &'a [u8], usize);

/// The frame `bytes` begin with; none if some are missing.
pub fn read(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = length(prefix)?;
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let Some((header, mad)) = frame.split_first_chunk() else { return Ok(None) };
    Ok(Some((Header::parse(header), mad, PREFIX + length)))
}

fn four(bytes: &[u8; HEADER], at: usize) -> [u8; 4] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let address = Address {
            qpn: 1,
            qkey: 0x8001_0000,
            lid: 0x0304,
            sl: 5,
            path_bits: 6,
            grh: true,
            gid_index: 7,
            hop_limit: 8,
            traffic_class: 9,
            gid: std::array::from_fn(|i| u8::try_from(i).unwrap_or(0)),
            flow_label: 0x000a_0b0c,
            pkey_index: 0x0d0e,
        };
        Header { agent: 1, status: 110, timeout_ms: 200, retries: 3, length: 320, address }
    }

    #[test]
    fn a_header_has_the_kernel_s_layout() {
        let bytes = header().to_bytes();
        assert_eq!(Header::parse(&bytes), header());
        assert_eq!(bytes[4..8], 110_u32.to_ne_bytes());
        assert_eq!(bytes[20..36], [0, 0, 0, 1, 0x80, 1, 0, 0, 3, 4, 5, 6, 1, 7, 8, 9]);
        assert_eq!(bytes[52..58], [&[0, 0x0a, 0x0b, 0x0c][..], &0x0d0e_u16.to_ne_bytes()].concat());
        assert_eq!(bytes[58..], [0; 6]);
    }

    #[test]
    fn frames_follow_each_other_and_wait_for_their_last_byte() {
        let mut stream = Vec::new();
        write(&header(), &[1, 2, 3], &mut stream);
        let end = stream.len();
        write(&Header::default(), &[], &mut stream);
        assert_eq!(read(&stream), Ok(Some((header(), &[1, 2, 3][..], end))));
        assert_eq!(read(&stream[end..]), Ok(Some((Header::default(), &[][..], PREFIX + HEADER))));
        for short in 0..end {
            assert_eq!(read(&stream[..short]), Ok(None));
        }
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_stream() {
        for length in [0, HEADER - 1, HEADER + MAX_MAD + 1] {
            let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes();
            assert_eq!(read(&bytes), Err(FrameError::Length(length)));
        }
    }
}
