//! ARP and RARP between six octets and twenty. RFC 4391 §9.2.

use ib_wire::{
    addr::{HwAddr, Mac},
    ipoib::{ArpError, ArpOp, EthArp, IbArp},
};

/// The message of the host as the link carries it. `peer` is whom the frame goes to, none for everybody: an
/// answer, and a question to one, carry their address.
pub(crate) fn outbound(bytes: &[u8], own: HwAddr, peer: Option<HwAddr>) -> Result<IbArp, ArpError> {
    Ok(EthArp::parse(bytes)?.with_hardware(own, peer.unwrap_or_default()))
}

/// The message of the link as the host understands it. `from` stands for its sender.
pub(crate) fn inbound(arp: &IbArp, from: Mac, own: HwAddr, own_mac: Mac) -> EthArp {
    let to_us = (arp.target_hw.qpn, arp.target_hw.gid) == (own.qpn, own.gid);
    let answer = matches!(arp.op, ArpOp::REPLY | ArpOp::RARP_REPLY);
    arp.with_hardware(from, if answer || to_us { own_mac } else { Mac::ZERO })
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use ib_wire::addr::{Gid, HwFlags, Qpn};

    use super::*;

    fn addr(n: u32) -> HwAddr {
        let gid = [0xfe; 16];
        HwAddr::new(Qpn::new(n), Gid(gid))
    }

    fn host(op: ArpOp) -> EthArp {
        EthArp {
            op,
            sender_hw: Mac([2; 6]),
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_hw: Mac([4; 6]),
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        }
    }

    #[test]
    fn a_question_to_all_names_no_target_and_an_answer_does() {
        let question = outbound(&host(ArpOp::REQUEST).emit(), addr(2), None).unwrap();
        assert_eq!((question.sender_hw, question.target_hw), (addr(2), HwAddr::default()));
        let answer = outbound(&host(ArpOp::REPLY).emit(), addr(2), Some(addr(3))).unwrap();
        assert_eq!((answer.sender_hw, answer.target_hw), (addr(2), addr(3)));
    }

    #[test]
    fn the_host_sees_itself_as_target_whatever_flags_it_was_given() {
        let flagged = HwAddr { flags: HwFlags::RC, ..addr(2) };
        let mut arp = host(ArpOp::REQUEST).with_hardware(addr(3), flagged);
        assert_eq!(inbound(&arp, Mac([6; 6]), addr(2), Mac([8; 6])).target_hw, Mac([8; 6]));
        arp.target_hw = HwAddr::default();
        let seen = inbound(&arp, Mac([6; 6]), addr(2), Mac([8; 6]));
        assert_eq!((seen.sender_hw, seen.target_hw), (Mac([6; 6]), Mac::ZERO));
    }
}
