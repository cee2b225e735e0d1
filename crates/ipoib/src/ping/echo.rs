//! ICMP echo messages. RFC 792, RFC 4443 §4.

use ib_wire::ipoib::checksum::Sum;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Icmp,
    Icmp6,
}

impl Protocol {
    const fn request(self) -> u8 {
        match self {
            Self::Icmp => 8,
            Self::Icmp6 => 128,
        }
    }

    const fn reply(self) -> u8 {
        match self {
            Self::Icmp => 0,
            Self::Icmp6 => 129,
        }
    }
}

/// A question, `size` octets of data behind its header.
///
/// The checksum of ICMPv6 is the kernel's business in any case, it covers addresses we do not know yet.
pub(super) fn request(protocol: Protocol, identifier: u16, sequence: u16, size: usize) -> Vec<u8> {
    let mut message = vec![protocol.request(), 0, 0, 0];
    message.extend_from_slice(&identifier.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend((0..size).map(|i| i.to_le_bytes()[0]));
    if protocol == Protocol::Icmp {
        let sum = Sum::ZERO.with(&message).finish().to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// Identifier and sequence number of an answer.
pub(super) fn reply(protocol: Protocol, message: &[u8]) -> Option<(u16, u16)> {
    of_type(protocol.reply(), message)
}

/// The same of a question, which came back in a complaint.
pub(super) fn returned(protocol: Protocol, message: &[u8]) -> Option<(u16, u16)> {
    of_type(protocol.request(), message)
}

fn of_type(kind: u8, message: &[u8]) -> Option<(u16, u16)> {
    match *message {
        [first, 0, _, _, i0, i1, s0, s1, ..] if first == kind => {
            Some((u16::from_be_bytes([i0, i1]), u16::from_be_bytes([s0, s1])))
        }
        _ => None,
    }
}

/// What a complaint by ICMP means.
pub(super) fn meaning(protocol: Protocol, (kind, code): (u8, u8), mtu: u32) -> String {
    let known = match (protocol, kind, code) {
        (Protocol::Icmp, 3, 0) => "Destination Net Unreachable",
        (Protocol::Icmp, 3, 1) => "Destination Host Unreachable",
        (Protocol::Icmp, 3, 2) => "Destination Protocol Unreachable",
        (Protocol::Icmp, 3, 3) => "Destination Port Unreachable",
        (Protocol::Icmp, 3, 4) => return format!("Frag needed and DF set (mtu = {mtu})"),
        (Protocol::Icmp, 3, 9 | 10 | 13) => "Packet filtered",
        (Protocol::Icmp, 11, 0) => "Time to live exceeded",
        (Protocol::Icmp, 11, 1) => "Frag reassembly time exceeded",
        (Protocol::Icmp6, 1, 0) => "Destination unreachable: No route",
        (Protocol::Icmp6, 1, 1) => "Destination unreachable: Administratively prohibited",
        (Protocol::Icmp6, 1, 2) => "Destination unreachable: Beyond scope of source address",
        (Protocol::Icmp6, 1, 3) => "Destination unreachable: Address unreachable",
        (Protocol::Icmp6, 1, 4) => "Destination unreachable: Port unreachable",
        (Protocol::Icmp6, 2, _) => return format!("Packet too big: mtu={mtu}"),
        (Protocol::Icmp6, 3, 0) => "Time exceeded: Hop limit",
        (Protocol::Icmp6, 3, 1) => "Time exceeded: Defragmentation failure",
        _ => return format!("ICMP type {kind}, code {code}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_sums_up_and_has_its_size() {
        let message = request(Protocol::Icmp, 0x1234, 7, 56);
        assert_eq!((message.len(), Sum::ZERO.with(&message).finish()), (64, 0));
        assert_eq!(returned(Protocol::Icmp, &message), Some((0x1234, 7)));
        assert_eq!(reply(Protocol::Icmp, &message), None);
        assert_eq!(request(Protocol::Icmp6, 1, 1, 0)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        assert_eq!(reply(Protocol::Icmp6, &[129, 0, 1, 2, 0, 9, 0, 3]), Some((9, 3)));
        assert_eq!(reply(Protocol::Icmp6, &[129, 1, 1, 2, 0, 9, 0, 3]), None);
        assert_eq!(reply(Protocol::Icmp6, &[129, 0, 1, 2, 0, 9, 0]), None);
    }
}
