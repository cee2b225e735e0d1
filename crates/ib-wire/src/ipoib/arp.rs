//! ARP and RARP, with 20-octet addresses on the link (56 octets) and six-octet ones towards the host (28).
//! RFC 4391 §9.2, RFC 826, RFC 903.
//!
//! Both forms are one type, `Arp`, over the address it holds. Whom a stand-in stands for is the caller's
//! knowledge: `with_hardware` puts the addresses in.

use core::net::Ipv4Addr;

use super::EtherType;
use crate::{
    addr::{HwAddr, Mac},
    layout::{Truncated, split},
};

/// An ARP or RARP message for IPv4 over a link whose addresses are `H`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp<H> {
    /// Question or answer, and of which protocol.
    pub op: ArpOp,
    /// The sender's link address.
    pub sender_hw: H,
    /// The sender's IP address; 0.0.0.0 in a probe for a duplicate.
    pub sender_ip: Ipv4Addr,
    /// The link address that the message is for; zero in a question that does not know it.
    pub target_hw: H,
    /// The IP address asked about, or of the one answered.
    pub target_ip: Ipv4Addr,
}

/// ARP as a link carries it.
pub type IbArp = Arp<HwAddr>;

/// ARP as a host's Ethernet interface speaks it.
pub type EthArp = Arp<Mac>;

/// What a message asks or answers. Open: other values are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArpOp(pub u16);

impl ArpOp {
    /// "Who has the target IP address?"
    pub const REQUEST: Self = Self(1);
    /// "The sender has it."
    pub const REPLY: Self = Self(2);
    /// "Which IP address has the target link address?"
    pub const RARP_REQUEST: Self = Self(3);
    /// The answer to that.
    pub const RARP_REPLY: Self = Self(4);
}

/// Why bytes are no ARP message for this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArpError {
    /// They end too early.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// Another kind of link.
    #[error("hardware type {0}: ARP of another link")]
    HardwareType(u16),
    /// Another protocol than IPv4.
    #[error("protocol type {0:#06x} is not IPv4")]
    ProtocolType(u16),
    /// Link addresses of another length.
    #[error("link addresses of {0} octets")]
    HardwareLength(u8),
    /// Protocol addresses of another length than four.
    #[error("protocol addresses of {0} octets where IPv4 has 4")]
    ProtocolLength(u8),
}

impl<H> Arp<H> {
    /// The same message between other link addresses, of this kind or another.
    pub fn with_hardware<K>(self, sender_hw: K, target_hw: K) -> Arp<K> {
        Arp { op: self.op, sender_hw, sender_ip: self.sender_ip, target_hw, target_ip: self.target_ip }
    }
}

impl Arp<HwAddr> {
    /// Octets on the wire.
    pub const LEN: usize = 56;

    /// Reads a message; what follows its 56 octets is padding.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ArpError> {
        read(bytes, HARDWARE_INFINIBAND, HwAddr::from_bytes)
    }

    /// The octets on the wire.
    #[inline]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        write(
            &mut bytes,
            HARDWARE_INFINIBAND,
            &self.with_hardware(self.sender_hw.to_bytes(), self.target_hw.to_bytes()),
        );
        bytes
    }
}

impl Arp<Mac> {
    /// Octets on the wire.
    pub const LEN: usize = 28;

    /// Reads a message; what follows its 28 octets is padding.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ArpError> {
        read(bytes, HARDWARE_ETHERNET, |mac| Mac(*mac))
    }

    /// The octets on the wire.
    #[inline]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        write(&mut bytes, HARDWARE_ETHERNET, &self.with_hardware(self.sender_hw.0, self.target_hw.0));
        bytes
    }
}

#[inline]
fn read<H, const N: usize>(
    bytes: &[u8],
    hardware: u16,
    address: fn(&[u8; N]) -> H,
) -> Result<Arp<H>, ArpError> {
    let whole = FIXED + 2 * (N + 4);
    let truncated = |_| Truncated { need: whole, have: bytes.len() };
    let (&[h0, h1, p0, p1, hlen, plen, o0, o1], rest) = split::<FIXED>(bytes).map_err(truncated)?;
    match (u16::from_be_bytes([h0, h1]), EtherType(u16::from_be_bytes([p0, p1]))) {
        (other, _) if other != hardware => return Err(ArpError::HardwareType(other)),
        (_, EtherType(other)) if other != EtherType::IPV4.0 => return Err(ArpError::ProtocolType(other)),
        _ if usize::from(hlen) != N => return Err(ArpError::HardwareLength(hlen)),
        _ if plen != 4 => return Err(ArpError::ProtocolLength(plen)),
        _ => {}
    }
    let (sender_hw, rest) = split::<N>(rest).map_err(truncated)?;
    let (sender_ip, rest) = split::<4>(rest).map_err(truncated)?;
    let (target_hw, rest) = split::<N>(rest).map_err(truncated)?;
    let (target_ip, _) = split::<4>(rest).map_err(truncated)?;
    Ok(Arp {
        op: ArpOp(u16::from_be_bytes([o0, o1])),
        sender_hw: address(sender_hw),
        sender_ip: Ipv4Addr::from(*sender_ip),
        target_hw: address(target_hw),
        target_ip: Ipv4Addr::from(*target_ip),
    })
}

#[inline]
fn write<const N: usize>(bytes: &mut [u8], hardware: u16, arp: &Arp<[u8; N]>) {
    let hlen = u8::try_from(N).expect("link addresses are short");
    let [h0, h1] = hardware.to_be_bytes();
    let [p0, p1] = EtherType::IPV4.0.to_be_bytes();
    let [o0, o1] = arp.op.0.to_be_bytes();
    let fixed = [h0, h1, p0, p1, hlen, 4, o0, o1];
    let parts: [&[u8]; 5] =
        [&fixed, &arp.sender_hw, &arp.sender_ip.octets(), &arp.target_hw, &arp.target_ip.octets()];
    let mut at = 0;
    for part in parts {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Octets before the first address.
const FIXED: usize = 8;
const HARDWARE_ETHERNET: u16 = 1;
const HARDWARE_INFINIBAND: u16 = 32;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// A reply that Linux sent on a native interface.
    const REPLY: [u8; 56] = [
        0x00, 0x20, 0x08, 0x00, 0x14, 0x04, 0x00, 0x02, 0x80, 0x00, 0x00, 0x48, 0xfe, 0x80, 0, 0, 0, 0, 0, 0,
        0x50, 0x54, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x02, 10, 8, 0, 2, 0x80, 0x00, 0x00, 0x48, 0xfe, 0x80, 0,
        0, 0, 0, 0, 0, 0x50, 0x54, 0x00, 0xff, 0xfe, 0x00, 0x00, 0x01, 10, 8, 0, 1,
    ];

    #[test]
    fn a_reply_of_linux_is_read_and_written_back() {
        let arp = IbArp::parse(&REPLY).unwrap();
        assert_eq!(arp.op, ArpOp::REPLY);
        assert_eq!(
            arp.sender_hw,
            "80:00:00:48:fe:80:00:00:00:00:00:00:50:54:00:ff:fe:00:00:02".parse().unwrap()
        );
        assert_eq!((arp.sender_ip, arp.target_ip), (Ipv4Addr::new(10, 8, 0, 2), Ipv4Addr::new(10, 8, 0, 1)));
        assert_eq!(arp.emit(), REPLY);
    }

    #[test]
    fn the_way_to_the_host_and_back_changes_nothing() {
        let link = IbArp::parse(&REPLY).unwrap();
        let host = link.with_hardware(Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 1]));
        let host = EthArp::parse(&host.emit()).unwrap();
        assert_eq!(host.with_hardware(link.sender_hw, link.target_hw).emit(), REPLY);
    }

    #[test]
    fn etherparse_reads_what_we_write() {
        let arp = EthArp::parse(&sample().emit()).unwrap().emit();
        let other = etherparse::ArpPacketSlice::from_slice(&arp).unwrap();
        assert_eq!(other.sender_hw_addr(), [2, 0, 0, 0, 0, 2]);
        assert_eq!(other.target_protocol_addr(), [10, 8, 0, 1]);
        let other = etherparse::ArpPacketSlice::from_slice(&REPLY).unwrap();
        assert_eq!(other.sender_hw_addr(), IbArp::parse(&REPLY).unwrap().sender_hw.to_bytes());
    }

    #[test]
    fn every_refusal_has_its_name() {
        let refused = |at: usize, value: u8| {
            let mut bytes = REPLY;
            bytes[at] = value;
            IbArp::parse(&bytes).unwrap_err()
        };
        assert_eq!(refused(1, 1), ArpError::HardwareType(1));
        assert_eq!(refused(2, 0x86), ArpError::ProtocolType(0x8600));
        assert_eq!(refused(4, 6), ArpError::HardwareLength(6));
        assert_eq!(refused(5, 16), ArpError::ProtocolLength(16));
        assert_eq!(IbArp::parse(&REPLY[..55]), Err(Truncated { need: 56, have: 55 }.into()));
        assert_eq!(EthArp::parse(&REPLY), Err(ArpError::HardwareType(32)));
    }

    fn sample() -> EthArp {
        let sender = Mac([2, 0, 0, 0, 0, 2]);
        IbArp::parse(&REPLY).unwrap().with_hardware(sender, Mac::ZERO)
    }

    proptest! {
        #[test]
        fn padding_is_accepted_and_the_rest_survives(op: u16, body: [u8; 48], padding: Vec<u8>) {
            let mut bytes = REPLY.to_vec();
            bytes[6..8].copy_from_slice(&op.to_be_bytes());
            bytes[8..].copy_from_slice(&body);
            let sent = bytes.clone();
            bytes.extend(padding);
            prop_assert_eq!(&IbArp::parse(&bytes).unwrap().emit()[..], &sent);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            let _ = IbArp::parse(&bytes);
            let _ = EthArp::parse(&bytes);
        }
    }
}
