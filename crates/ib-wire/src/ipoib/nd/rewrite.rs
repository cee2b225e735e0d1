//! Link-layer address options from one form to the other, and messages of our own.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::{ICMPV6, IPV6, LinkLayer, NdError, OptionKind, Raw, Sum};
use crate::{
    addr::{HwAddr, Mac},
    offload::Checksum,
};

/// The message as a link carries it, from the one the host sent. `map` gives the address that a stand-in
/// stands for; where it gives none, the option is left out. What follows the IPv6 payload is cut off, and the
/// checksum is complete.
pub fn to_ib(
    ip6: &[u8],
    checksum: Checksum,
    mut map: impl FnMut(OptionKind, Mac) -> Option<HwAddr>,
) -> Result<Vec<u8>, NdError> {
    rewrite(ip6, checksum, |kind, link| Ok(map(kind, link.ethernet().ok_or(())?).map(LinkLayer::Ib)))
}

/// The message as the host understands it, from the one the link carried; otherwise as `to_ib`.
pub fn to_ethernet(
    ip6: &[u8],
    checksum: Checksum,
    mut map: impl FnMut(OptionKind, HwAddr) -> Option<Mac>,
) -> Result<Vec<u8>, NdError> {
    rewrite(ip6, checksum, |kind, link| Ok(map(kind, link.ib().ok_or(())?).map(LinkLayer::Ethernet)))
}

/// An advertisement nobody asked for: tells all nodes of the link that `address` is now at `link`. `router`
/// must tell the truth, as hosts forget a router that advertises itself as none. RFC 4861 §7.2.6.
pub fn announcement(address: Ipv6Addr, link: HwAddr, router: bool) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IPV6 + 48);
    packet.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, ICMPV6, 255]);
    packet.extend_from_slice(&address.octets());
    packet.extend_from_slice(&ALL_NODES.octets());
    packet.extend_from_slice(&[136, 0, 0, 0, OVERRIDE | if router { ROUTER } else { 0 }, 0, 0, 0]);
    packet.extend_from_slice(&address.octets());
    put(&mut packet, OptionKind::Target, LinkLayer::Ib(link));
    finish(packet, |len| Sum::pseudo6(address, ALL_NODES, ICMPV6, len)).expect("it is short")
}

fn rewrite(
    ip6: &[u8],
    checksum: Checksum,
    mut map: impl FnMut(OptionKind, LinkLayer) -> Result<Option<LinkLayer>, ()>,
) -> Result<Vec<u8>, NdError> {
    let raw = Raw::open(ip6, checksum)?;
    let mut packet = Vec::with_capacity(ip6.len() + 32);
    packet.extend_from_slice(raw.ip);
    packet.extend_from_slice(raw.fixed);
    for option in raw.options() {
        let (kind, option) = option?;
        let Some(kind) = kind else {
            packet.extend_from_slice(option);
            continue;
        };
        let wrong = NdError::OptionLength { kind, units: option[1] };
        let link = LinkLayer::read(option).ok_or(wrong)?;
        if let Some(link) = map(kind, link).map_err(|()| wrong)? {
            put(&mut packet, kind, link);
        }
    }
    finish(packet, |len| raw.sum(len))
}

fn put(packet: &mut Vec<u8>, kind: OptionKind, link: LinkLayer) {
    packet.push(match kind {
        OptionKind::Source => 1,
        OptionKind::Target => 2,
    });
    match link {
        LinkLayer::Ethernet(mac) => {
            packet.push(1);
            packet.extend_from_slice(&mac.0);
        }
        LinkLayer::Ib(addr) => {
            packet.extend_from_slice(&[3, 0, 0]);
            packet.extend_from_slice(&addr.to_bytes());
        }
    }
}

/// Puts in the payload length and the checksum.
fn finish(mut packet: Vec<u8>, pseudo: impl FnOnce(usize) -> Sum) -> Result<Vec<u8>, NdError> {
    let len = packet.len() - IPV6;
    packet[4..6].copy_from_slice(&u16::try_from(len).map_err(|_| NdError::TooLong)?.to_be_bytes());
    packet[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = pseudo(len).with(&packet[IPV6..]).finish();
    packet[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(packet)
}

/// Where the checksum stands, from the IPv6 header.
const CHECKSUM: usize = IPV6 + 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Flags of an advertisement.
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::{
        super::{LinkLayer, NdKind, NdMessage, is_nd},
        *,
    };
    use crate::layout::Truncated;
    use proptest::prelude::*;

    /// A router solicitation that Linux sent on a native interface.
    const SOLICITATION: &str = "6000000000203afffe80000000000000525400fffe000002ff0200000000000000000000000000028500\
        5ca6000000000103000080000048fe80000000000000505400fffe000002";
    /// A neighbour advertisement likewise.
    const ADVERTISEMENT: &str = "6000000000303afffe80000000000000525400fffe000002fe80000000000000525400fffe00000188\
        0057ed60000000fe80000000000000525400fffe0000020203000080000048fe80000000000000505400fffe000002";
    /// A probe for a duplicate, with a nonce.
    const PROBE: &str = "6000000000203aff00000000000000000000000000000000ff0200000000000000000001ff0000028700427a0000\
        0000fe80000000000000525400fffe0000020e01ed7de6d905f4";

    const MAC: Mac = Mac([0x02, 1, 2, 3, 4, 5]);

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    fn linux() -> HwAddr {
        "80:00:00:48:fe:80:00:00:00:00:00:00:50:54:00:ff:fe:00:00:02".parse().unwrap()
    }

    /// To the host and back; the host's form as etherparse reads it.
    fn check(hex: &str, kind: NdKind, link: Option<OptionKind>) {
        let link_form = bytes(hex);
        assert!(is_nd(&link_form));
        let message = NdMessage::parse(&link_form, Checksum::Complete).unwrap();
        let found = |which| (link == Some(which)).then_some(LinkLayer::Ib(linux()));
        assert_eq!(message.kind, kind);
        assert_eq!(message.source_link, found(OptionKind::Source));
        assert_eq!(message.target_link, found(OptionKind::Target));

        let host_form = to_ethernet(&link_form, Checksum::Complete, |which, addr| {
            assert_eq!((Some(which), addr), (link, linux()));
            Some(MAC)
        })
        .unwrap();
        judge(&host_form);
        assert_eq!(host_form.len(), link_form.len() - if link.is_some() { 16 } else { 0 });
        let back = to_ib(&host_form, Checksum::Complete, |_, mac| (mac == MAC).then(linux)).unwrap();
        assert_eq!(back, link_form);
    }

    /// etherparse finds lengths and checksum right.
    fn judge(packet: &[u8]) {
        let (ip, rest) = etherparse::Ipv6Header::from_slice(packet).unwrap();
        assert_eq!(usize::from(ip.payload_length), rest.len());
        assert!(
            etherparse::Icmpv6Slice::from_slice(rest).unwrap().is_checksum_valid(ip.source, ip.destination)
        );
    }

    #[test]
    fn messages_of_linux_go_to_the_host_and_back() {
        check(SOLICITATION, NdKind::RouterSolicitation, Some(OptionKind::Source));
        check(ADVERTISEMENT, NdKind::NeighborAdvertisement, Some(OptionKind::Target));
        check(PROBE, NdKind::NeighborSolicitation, None);
    }

    #[test]
    fn an_address_nobody_knows_is_left_out() {
        let short = to_ethernet(&bytes(ADVERTISEMENT), Checksum::Complete, |_, _| None).unwrap();
        judge(&short);
        let message = NdMessage::parse(&short, Checksum::Complete).unwrap();
        assert_eq!((short.len(), message.target_link), (40 + 24, None));
        assert_eq!(message.target, Some("fe80::5254:ff:fe00:2".parse().unwrap()));
    }

    #[test]
    fn a_probe_for_a_duplicate_is_known() {
        let message = NdMessage::parse(&bytes(PROBE), Checksum::Complete).unwrap();
        assert!(message.is_duplicate_probe());
        assert!(!NdMessage::parse(&bytes(ADVERTISEMENT), Checksum::Complete).unwrap().is_duplicate_probe());
    }

    #[test]
    fn a_partial_checksum_is_completed() {
        let mut packet = bytes(SOLICITATION);
        packet[42..44].copy_from_slice(&[0xab, 0xcd]);
        assert_eq!(NdMessage::parse(&packet, Checksum::Complete), Err(NdError::Checksum));
        let partial = Checksum::Partial { start: 40, offset: 2 };
        judge(&to_ethernet(&packet, partial, |_, _| Some(MAC)).unwrap());
    }

    #[test]
    fn the_packet_within_a_redirect_is_left_alone() {
        let mut packet = bytes(ADVERTISEMENT)[..40].to_vec();
        packet.extend_from_slice(&[137, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&[0x20; 32]);
        put(&mut packet, OptionKind::Target, LinkLayer::Ib(linux()));
        let inner = bytes(SOLICITATION);
        packet.extend_from_slice(&[4, 10, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(&inner);
        let packet =
            finish(packet, |len| Raw::open(&bytes(ADVERTISEMENT), Checksum::Verified).unwrap().sum(len))
                .unwrap();

        let host_form = to_ethernet(&packet, Checksum::Complete, |_, _| Some(MAC)).unwrap();
        judge(&host_form);
        assert!(host_form.ends_with(&inner));
        assert_eq!(host_form.len(), packet.len() - 16);
        assert_eq!(to_ib(&host_form, Checksum::Complete, |_, _| Some(linux())).unwrap(), packet);
    }

    #[test]
    fn every_refusal_has_its_name() {
        let refused = |edit: fn(&mut Vec<u8>)| {
            let mut packet = bytes(ADVERTISEMENT);
            edit(&mut packet);
            to_ethernet(&packet, Checksum::Verified, |_, _| Some(MAC)).unwrap_err()
        };
        assert_eq!(refused(|p| p[7] = 64), NdError::HopLimit(64));
        assert_eq!(refused(|p| p[40] = 128), NdError::NotNd);
        assert_eq!(refused(|p| p[6] = 0), NdError::NotNd);
        assert_eq!(refused(|p| p[0] = 0x40), NdError::NotNd);
        assert_eq!(refused(|p| p[65] = 0), NdError::EmptyOption(2));
        assert_eq!(refused(|p| p[65] = 2), NdError::OptionLength { kind: OptionKind::Target, units: 2 });
        assert_eq!(refused(|p| p[65] = 1), NdError::OptionLength { kind: OptionKind::Target, units: 1 });
        assert_eq!(refused(|p| p[65] = 4), Truncated { need: 32, have: 24 }.into());
        assert_eq!(refused(|p| p.truncate(87)), Truncated { need: 88, have: 87 }.into());
        assert_eq!(refused(|p| p[5] = 20), Truncated { need: 64, have: 88 }.into());
    }

    #[test]
    fn behind_a_hop_by_hop_header_nothing_is_looked_at() {
        let mut packet = bytes(SOLICITATION);
        packet[6] = 0;
        assert!(!is_nd(&packet));
        assert!(!is_nd(&packet[..40]) && !is_nd(&[]));
    }

    #[test]
    fn an_announcement_overrides_what_was_known() {
        let address = "fe80::5254:ff:fe00:2".parse().unwrap();
        let packet = announcement(address, linux(), false);
        judge(&packet);
        let message = NdMessage::parse(&packet, Checksum::Complete).unwrap();
        assert_eq!((message.target, message.target_link), (Some(address), Some(LinkLayer::Ib(linux()))));
        assert_eq!(packet[44], 0x20);
        assert_eq!(announcement(address, linux(), true)[44], 0xa0);
    }

    proptest! {
        #[test]
        fn any_options_go_to_the_host_and_back(
            options in proptest::collection::vec((0..5u8, 1..4u8, any::<[u8; 24]>()), 0..8),
            kind in 0..5u8,
        ) {
            let kind = 133 + kind;
            let mut packet = bytes(PROBE)[..40].to_vec();
            packet.push(kind);
            packet.resize(40 + NdKind::of(kind).unwrap().fixed(), 0);
            for (kind, units, body) in options {
                let link = matches!(kind, 1 | 2);
                let units = if link { 3 } else { units };
                let start = packet.len();
                packet.extend_from_slice(&[kind, units]);
                packet.extend_from_slice(&body[..usize::from(units) * 8 - 2]);
                if link {
                    packet[start + 2..start + 4].fill(0);
                }
            }
            let probe = bytes(PROBE);
            let packet = finish(packet, |len| Raw::open(&probe, Checksum::Verified).unwrap().sum(len)).unwrap();
            let mut seen = Vec::new();
            let host_form = to_ethernet(&packet, Checksum::Complete, |_, addr| {
                seen.push(addr);
                Some(Mac([2, 0, 0, 0, 0, u8::try_from(seen.len()).unwrap()]))
            }).unwrap();
            judge(&host_form);
            let back = to_ib(&host_form, Checksum::Complete, |_, mac| seen.get(usize::from(mac.0[5]) - 1).copied());
            prop_assert_eq!(back, Ok(packet));
        }

        #[test]
        fn no_bytes_make_reading_panic(mut packet: Vec<u8>, nd: bool, kind in 133..138u8) {
            if nd && packet.len() > 42 {
                packet[0] = 0x60;
                packet[4] = 0;
                packet[6..8].copy_from_slice(&[58, 255]);
                packet[40] = kind;
            }
            for checksum in [Checksum::Complete, Checksum::Verified] {
                let _ = is_nd(&packet);
                let _ = NdMessage::parse(&packet, checksum);
                let _ = to_ib(&packet, checksum, |_, _| Some(linux()));
                let _ = to_ethernet(&packet, checksum, |_, _| Some(MAC));
            }
        }
    }
}
