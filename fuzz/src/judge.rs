//! Checksums the slow and obvious way.

/// The Internet checksum's sum over `parts` one after the other: 0xffff if they hold a right checksum.
pub(crate) fn sum16(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded after every word")
}

/// Lengths and, where there is one, the header checksum of a whole IP packet; returns its protocol, where its
/// transport header begins if no extension header is in front, and the sum over pseudo header and the rest.
pub(crate) fn ip(packet: &[u8]) -> (u8, usize, u16) {
    let (protocol, start, addresses) = match packet[0] >> 4 {
        4 => {
            let start = usize::from(packet[0] & 0xf) * 4;
            assert_eq!(word(packet, 2), packet.len(), "IPv4 total length");
            assert_eq!(sum16(&[&packet[..start]]), 0xffff, "IPv4 header checksum");
            (packet[9], start, &packet[12..20])
        }
        6 => {
            assert_eq!(word(packet, 4) + 40, packet.len(), "IPv6 payload length");
            (packet[6], 40, &packet[8..40])
        }
        version => panic!("IP version {version}"),
    };
    (protocol, start, transport_sum(addresses, protocol, &packet[start..]))
}

/// Sum over the pseudo header and a transport segment.
pub(crate) fn transport_sum(addresses: &[u8], protocol: u8, segment: &[u8]) -> u16 {
    let len = u32::try_from(segment.len()).expect("segments are short").to_be_bytes();
    sum16(&[addresses, &len, &[0, protocol], segment])
}

/// The 16-bit number at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}
