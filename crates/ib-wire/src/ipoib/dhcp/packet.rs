//! A DHCP message in its IPv4 packet: taken apart, put together. RFC 2131 §2.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::super::checksum::Sum;
use crate::offload::Checksum;

/// UDP source and destination port of an unfragmented IPv4 packet.
pub(super) fn ports(ip4: &[u8]) -> Option<(u16, u16)> {
    let first = *ip4.first()?;
    let fragment = u16::from_be_bytes([*ip4.get(6)?, *ip4.get(7)?]) & 0x3fff;
    if first >> 4 != 4 || first & 0xf < 5 || *ip4.get(9)? != UDP || fragment != 0 {
        return None;
    }
    let udp = ip4.get(usize::from(first & 0xf) * 4..)?.first_chunk::<4>()?;
    Some((u16::from_be_bytes([udp[0], udp[1]]), u16::from_be_bytes([udp[2], udp[3]])))
}

/// A packet that is whole, undamaged and holds a DHCP message.
pub(super) struct Packet<'a> {
    pub(super) ports: (u16, u16),
    ip: &'a [u8],
    pub(super) bootp: Bootp,
    /// The options field.
    pub(super) options: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; what follows the IPv4 packet is left out. `checksum` tells whether somebody has
    /// to look at UDP's, which must be before it is computed anew.
    pub(super) fn open(ip4: &'a [u8], checksum: Checksum) -> Option<Self> {
        let ports = ports(ip4)?;
        let total = usize::from(u16::from_be_bytes([ip4[2], ip4[3]]));
        let (ip, rest) = ip4.get(..total)?.split_at_checked(usize::from(ip4[0] & 0xf) * 4)?;
        let udp = rest.get(..usize::from(u16::from_be_bytes([*rest.get(4)?, *rest.get(5)?])))?;
        let (header, message) = udp.split_first_chunk::<8>()?;
        if Sum::ZERO.with(ip).finish() != 0 {
            return None;
        }
        let unchecked = checksum != Checksum::Complete || header[6..] == [0, 0];
        if !unchecked && pseudo(ip, udp.len()).with(udp).finish() != 0 {
            return None;
        }
        let (fixed, message) = message.split_first_chunk()?;
        Some(Self { ports, ip, bootp: Bootp(*fixed), options: message.strip_prefix(&COOKIE)? })
    }

    /// A packet like this one with another message, complete in its lengths and checksums. `None` if it does
    /// not fit any packet.
    pub(super) fn rebuild(&self, bootp: &Bootp, options: &[u8]) -> Option<Vec<u8>> {
        let message = (Bootp::LEN + COOKIE.len() + options.len()).max(MIN_MESSAGE);
        let total = self.ip.len() + 8 + message;
        let word = |len: usize| u16::try_from(len).ok().map(u16::to_be_bytes);
        let mut packet = Vec::with_capacity(total);
        packet.extend_from_slice(self.ip);
        packet[2..4].copy_from_slice(&word(total)?);
        packet[10..12].fill(0);
        let sum = Sum::ZERO.with(&packet).finish();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&self.ports.0.to_be_bytes());
        packet.extend_from_slice(&self.ports.1.to_be_bytes());
        packet.extend_from_slice(&word(8 + message)?);
        packet.extend_from_slice(&[0, 0]);
        packet.extend_from_slice(&bootp.0);
        packet.extend_from_slice(&COOKIE);
        packet.extend_from_slice(options);
        packet.resize(total, 0);
        let (ip, udp) = packet.split_at_mut(self.ip.len());
        let sum = pseudo(ip, udp.len()).with(udp).finish_nonzero();
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        Some(packet)
    }
}

/// The fixed part of a message.
#[derive(Clone, Copy)]
pub(super) struct Bootp([u8; Self::LEN]);

impl Bootp {
    const LEN: usize = 236;

    pub(super) const fn op(&self) -> u8 {
        self.0[0]
    }

    /// Hardware type and address length.
    pub(super) const fn hardware(&self) -> (u8, u8) {
        (self.0[1], self.0[2])
    }

    pub(super) fn xid(&self) -> [u8; 4] {
        self.field(4)
    }

    /// True if the answer is to be broadcast.
    pub(super) const fn broadcast(&self) -> bool {
        self.0[10] & 0x80 != 0
    }

    pub(super) fn ciaddr(&self) -> [u8; 4] {
        self.field(12)
    }

    pub(super) fn giaddr(&self) -> [u8; 4] {
        self.field(24)
    }

    pub(super) fn chaddr(&self) -> [u8; 16] {
        self.field(28)
    }

    /// Server name, or options.
    pub(super) fn sname(&self) -> &[u8] {
        &self.0[44..108]
    }

    /// Boot file, or options.
    pub(super) fn file(&self) -> &[u8] {
        &self.0[108..]
    }

    pub(super) fn sname_mut(&mut self) -> &mut [u8] {
        &mut self.0[44..108]
    }

    pub(super) fn file_mut(&mut self) -> &mut [u8] {
        &mut self.0[108..]
    }

    pub(super) fn set_hardware(&mut self, (kind, len): (u8, u8), chaddr: [u8; 16]) {
        self.0[1] = kind;
        self.0[2] = len;
        self.0[28..44].copy_from_slice(&chaddr);
    }

    pub(super) const fn set_broadcast(&mut self, broadcast: bool) {
        self.0[10] = self.0[10] & 0x7f | if broadcast { 0x80 } else { 0 };
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect("fields lie within the fixed part")
    }
}

fn pseudo(ip: &[u8], len: usize) -> Sum {
    let address = |at: usize| Ipv4Addr::from(*ip[at..].first_chunk::<4>().expect("a header has 20 octets"));
    Sum::pseudo4(address(12), address(16), UDP, len)
}

const UDP: u8 = 17;
/// In front of the options.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// What BOOTP relays and servers take for whole. RFC 1542 §2.1.
const MIN_MESSAGE: usize = 300;
