//! What the `gro` reference does: small UDP datagrams of one flow that come in one burst leave as one large send.

use std::os::fd::BorrowedFd;

use ipoib::os::{
    tap::MAX_READ,
    vnet::{VNET_HEADER_LEN as VNET, VnetHeader},
};

const IP: usize = VNET + 14;
const UDP: usize = IP + 20;
const DATA: usize = UDP + 8;
/// What the kernel takes.
const MOST: usize = 64;

/// The datagrams that wait, one frame.
pub(crate) struct Merger {
    frame: Vec<u8>,
    len: usize,
    size: usize,
    count: usize,
}

impl Merger {
    pub(crate) fn new() -> Self {
        Self { frame: vec![0; MAX_READ], len: 0, size: 0, count: 0 }
    }

    /// Takes the frame of `len` octets in `buffer`, and leaves another buffer there.
    pub(crate) fn pass(&mut self, buffer: &mut Vec<u8>, len: usize, to: BorrowedFd<'_>) {
        let small = is_small_udp(buffer, len);
        if small && self.takes(buffer, len) {
            self.frame[self.len..][..self.size].copy_from_slice(&buffer[DATA..len]);
            self.len += self.size;
            self.count += 1;
            return;
        }
        self.flush(to);
        if small {
            std::mem::swap(&mut self.frame, buffer);
            (self.len, self.size, self.count) = (len, len - DATA, 1);
        } else {
            let _ = rustix::io::write(to, &buffer[..len]);
        }
    }

    fn takes(&self, frame: &[u8], len: usize) -> bool {
        let same = |a: usize, b: usize| self.frame[a..b] == frame[a..b];
        let fits = self.count < MOST && self.len + self.size <= IP + usize::from(u16::MAX);
        // Ethernet, version to length, protocol, addresses and ports.
        self.count > 0
            && fits
            && len - DATA == self.size
            && same(VNET, IP + 4)
            && same(IP + 9, IP + 10)
            && same(IP + 12, UDP + 4)
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, to: BorrowedFd<'_>) {
        if self.count > 1 {
            let short = |n: usize| u16::try_from(n).expect("no longer than an IP packet");
            let vnet = VnetHeader {
                flags: VnetHeader::NEEDS_CSUM,
                gso_type: VnetHeader::GSO_UDP_L4,
                hdr_len: short(DATA - VNET),
                gso_size: short(self.size),
                csum_start: short(UDP - VNET),
                csum_offset: 6,
                num_buffers: 0,
            };
            self.frame[..VNET].copy_from_slice(&vnet.emit());
            let length = short(self.len - UDP);
            self.frame[IP + 2..IP + 4].copy_from_slice(&short(self.len - IP).to_be_bytes());
            self.frame[IP + 10..IP + 12].fill(0);
            let sum = !sum(&self.frame[IP..UDP], 0);
            self.frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
            self.frame[UDP + 4..UDP + 6].copy_from_slice(&length.to_be_bytes());
            let pseudo = self::sum(&self.frame[IP + 12..UDP], 17 + u32::from(length));
            self.frame[UDP + 6..UDP + 8].copy_from_slice(&pseudo.to_be_bytes());
        }
        if self.count > 0 {
            let _ = rustix::io::write(to, &self.frame[..self.len]);
            self.count = 0;
        }
    }
}

/// IPv4 without options and fragments, UDP that nobody has summed yet, some data and not much.
fn is_small_udp(frame: &[u8], len: usize) -> bool {
    (DATA + 1..1600).contains(&len)
        && frame[0] & VnetHeader::NEEDS_CSUM != 0
        && frame[1] == VnetHeader::GSO_NONE
        && frame[VNET + 12..IP + 1] == [8, 0, 0x45]
        && frame[IP + 6] & 0x3f == 0
        && frame[IP + 7] == 0
        && frame[IP + 9] == 17
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let add = |sum: u32, pair: &[u8]| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    let mut sum = bytes.chunks_exact(2).fold(start, add);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).expect("folded")
}
