//! What stands between an Ethernet-speaking host and the link: header, ARP, Neighbor Discovery, DHCP, groups,
//! addresses as text, large sends.

use arbitrary::{Result, Unstructured};
use ib_wire::{
    addr::{
        Gid, Guid, HwAddr, HwFlags, Lid, Mac, PKey, Psn, QKey, Qpn, ServiceLevel, SubnetPrefix, VirtualLane,
    },
    ipoib::{
        DhcpTranslator, EthArp, Header, IbArp, IpoibMgid, NdError, NdMessage, dhcp, group_mac,
        large::{complete_checksum, header_len, segments},
        nd,
    },
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{Packet, PacketSpec},
    payload::Payload,
};

use crate::judge;

/// The first byte says which part gets the others.
pub fn check(bytes: &[u8]) {
    let Some((part, bytes)) = bytes.split_first() else { return };
    let mut input = Unstructured::new(bytes);
    // Running out of bytes only ends a scenario.
    let _ = match part % 7 {
        0 => {
            small(bytes);
            Ok(())
        }
        1 => {
            text(bytes);
            Ok(())
        }
        2 => neighbor_discovery(&mut input),
        3 => dhcp_out(&mut input),
        4 => dhcp_in(&mut input),
        5 => payload(&mut input),
        _ => large(&mut input),
    };
}

fn small(bytes: &[u8]) {
    if let Ok((header, rest)) = Header::parse(bytes) {
        assert_eq!(header.emit()[..2], bytes[..2]);
        assert_eq!(rest, &bytes[4..]);
    }
    if let Ok(arp) = IbArp::parse(bytes) {
        assert_eq!(arp.emit(), bytes[..IbArp::LEN]);
        let host = arp.with_hardware(Mac([2, 0, 0, 0, 0, 1]), Mac::ZERO);
        assert_eq!(EthArp::parse(&host.emit()), Ok(host));
        assert_eq!(host.with_hardware(arp.sender_hw, arp.target_hw), arp);
    }
    if let Ok(arp) = EthArp::parse(bytes) {
        assert_eq!(arp.emit(), bytes[..EthArp::LEN]);
    }
    if let Some(gid) = bytes.first_chunk::<16>()
        && let Some(mgid) = Gid(*gid).multicast()
        && let Some(group) = IpoibMgid::parse(mgid)
    {
        assert_eq!(group.to_mgid(), mgid);
    }
    if let Some(ip) = bytes.first_chunk::<16>() {
        assert!(group_mac(std::net::IpAddr::from(*ip)).is_multicast());
        assert!(group_mac(std::net::IpAddr::from([ip[0], ip[1], ip[2], ip[3]])).is_multicast());
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(mac) = text.parse::<Mac>() {
        assert_eq!(mac.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(addr) = text.parse::<HwAddr>() {
        assert_eq!(addr.to_string(), text.to_ascii_lowercase());
        assert_eq!(HwAddr::from_bytes(&addr.to_bytes()), addr);
    }
    if let Ok(gid) = text.parse::<Gid>() {
        assert_eq!(gid.to_string().parse(), Ok(gid));
    }
    if let Ok(guid) = text.parse::<Guid>() {
        assert_eq!(guid.to_string().parse(), Ok(guid));
    }
}

fn neighbor_discovery(input: &mut Unstructured<'_>) -> Result<()> {
    let checksum = checksum(input)?;
    let repair: bool = input.arbitrary()?;
    let unknown: u8 = input.arbitrary()?;
    let mut ip6 = input.bytes(input.len())?.to_vec();
    if repair {
        repair_icmp6(&mut ip6);
    }
    let whole = nd::is_nd(&ip6);
    let said = NdMessage::parse(&ip6, checksum);
    assert!(whole || said.is_err());

    let to_ib =
        |ip6: &[u8], sum| nd::to_ib(ip6, sum, |_, mac| (mac.0[5] != unknown).then(|| stands_for(mac)));
    let to_ethernet = |ip6: &[u8], sum| nd::to_ethernet(ip6, sum, |_, addr| stand_in(addr));
    if let Ok(there) = to_ib(&ip6, checksum) {
        turned(&there, &said, &to_ethernet, &to_ib);
    }
    if let Ok(there) = to_ethernet(&ip6, checksum) {
        turned(&there, &said, &to_ib, &to_ethernet);
    }
    Ok(())
}

type Turn<'a> = &'a dyn Fn(&[u8], Checksum) -> Turned;
type Turned = core::result::Result<Vec<u8>, NdError>;

/// What came out says what went in, and further ways back and forth change nothing, as whoever is not known was
/// left out the first time.
fn turned(there: &[u8], said: &core::result::Result<NdMessage, NdError>, back: Turn<'_>, forth: Turn<'_>) {
    let said = said.as_ref().expect("what is turned can be read");
    assert_eq!(judge::ip(there).2, 0xffff, "ICMPv6 checksum");
    let read = NdMessage::parse(there, Checksum::Complete).expect("it was written by us");
    let fixed = |m: &NdMessage| (m.kind, m.source, m.destination, m.target);
    assert_eq!(fixed(&read), fixed(said));
    let once = back(there, Checksum::Complete).expect("all its addresses have one form");
    let Ok(again) = forth(&once, Checksum::Complete) else { return };
    assert_eq!(back(&again, Checksum::Complete), Ok(once));
}

/// The address that a stand-in stands for.
fn stands_for(mac: Mac) -> HwAddr {
    let [a, b, c, d, e, f] = mac.0.map(u64::from);
    let guid = Guid(a << 40 | b << 32 | c << 24 | d << 16 | e << 8 | f);
    HwAddr { flags: HwFlags::NONE, qpn: Qpn::new(7), gid: Gid::new(SubnetPrefix::LINK_LOCAL, guid) }
}

/// The other way; of no use for peers that `stands_for` did not make.
fn stand_in(addr: HwAddr) -> Option<Mac> {
    let [.., a, b, c, d, e, f] = addr.gid.0;
    let mac = Mac([a, b, c, d, e, f]);
    (stands_for(mac) == addr).then_some(mac)
}

/// Length, hop limit and checksum as in a healthy ICMPv6 packet.
fn repair_icmp6(ip6: &mut [u8]) {
    if ip6.len() < 44 {
        return;
    }
    ip6[0] = 0x60 | ip6[0] & 0xf;
    let len = u16::try_from(ip6.len() - 40).unwrap_or(u16::MAX);
    ip6[4..6].copy_from_slice(&len.to_be_bytes());
    ip6[6..8].copy_from_slice(&[58, 255]);
    ip6[42..44].fill(0);
    let end = 40 + usize::from(len);
    let sum = !judge::transport_sum(&ip6[8..40], 58, &ip6[40..end]);
    ip6[42..44].copy_from_slice(&sum.to_be_bytes());
}

/// A host's request goes out, and a server's answer to it comes back.
fn dhcp_out(input: &mut Unstructured<'_>) -> Result<()> {
    let mut translator = translator();
    let checksum = checksum(input)?;
    let repair: bool = input.arbitrary()?;
    let echo: bool = input.arbitrary()?;
    let mut ip4 = input.bytes(input.len())?.to_vec();
    if repair {
        repair_dhcp(&mut ip4, (68, 67));
    }
    let Some(sent) = translator.handle_out(&ip4, checksum) else { return Ok(()) };
    assert!(dhcp::is_dhcp(&ip4), "only what is offered is turned");
    well_formed_dhcp(&sent);
    assert_eq!(sent[29..31], [32, 0], "hardware type and length");
    assert_eq!(sent[56..72], [0; 16], "no hardware address");
    assert_eq!(translator.handle_out(&sent, Checksum::Complete), None, "what is turned is not turned again");

    let mut answer = sent.clone();
    answer[28] = 2;
    if !echo {
        answer.truncate(28 + 240);
        answer.extend_from_slice(&[53, 1, 2, 255]);
    }
    repair_dhcp(&mut answer, (67, 68));
    let Some(seen) = translator.handle_in(&answer, Checksum::Complete) else {
        panic!("the answer to our own request is turned");
    };
    well_formed_dhcp(&seen);
    assert_eq!(seen[29..31], [1, 6]);
    let header = usize::from(ip4[0] & 0xf) * 4;
    assert_eq!(seen[56..72], ip4[header + 36..header + 52], "the host's hardware address");
    Ok(())
}

fn dhcp_in(input: &mut Unstructured<'_>) -> Result<()> {
    let mut translator = translator();
    let checksum = checksum(input)?;
    let repair: bool = input.arbitrary()?;
    for _ in 0..input.int_in_range(1..=3)? {
        let len = usize::from(input.arbitrary::<u16>()?).min(input.len());
        let mut ip4 = input.bytes(len)?.to_vec();
        if repair {
            repair_dhcp(&mut ip4, (68, 67));
        }
        let _ = translator.handle_out(&ip4, checksum);
    }
    let mut ip4 = input.bytes(input.len())?.to_vec();
    if repair {
        repair_dhcp(&mut ip4, (67, 68));
    }
    if let Some(seen) = translator.handle_in(&ip4, checksum) {
        well_formed_dhcp(&seen);
        assert_eq!(translator.handle_in(&seen, Checksum::Complete), None);
    }
    Ok(())
}

fn translator() -> DhcpTranslator {
    DhcpTranslator::new(
        Mac([2, 2, 0xc9, 1, 2, 3]),
        dhcp::client_id(Guid(0x0002_c903_0001_0203), PKey::DEFAULT_FULL),
    )
}

fn well_formed_dhcp(ip4: &[u8]) {
    let (protocol, start, sum) = judge::ip(ip4);
    assert_eq!((protocol, sum), (17, 0xffff), "UDP and its checksum");
    assert_eq!(judge::word(ip4, start + 4), ip4.len() - start, "UDP length");
    assert!(ip4.len() - start >= 8 + 300);
}

/// An IPv4 header of 20 octets in place of what is there, UDP between `ports`, BOOTP, lengths, checksums.
fn repair_dhcp(ip4: &mut Vec<u8>, ports: (u16, u16)) {
    ip4.resize(ip4.len().clamp(28 + 240, 1500), 0);
    let len = u16::try_from(ip4.len()).expect("just made so");
    ip4[0] = 0x45;
    ip4[2..4].copy_from_slice(&len.to_be_bytes());
    ip4[6..8].fill(0);
    ip4[9..12].copy_from_slice(&[17, 0, 0]);
    let sum = !judge::sum16(&[&ip4[..20]]);
    ip4[10..12].copy_from_slice(&sum.to_be_bytes());
    ip4[20..22].copy_from_slice(&ports.0.to_be_bytes());
    ip4[22..24].copy_from_slice(&ports.1.to_be_bytes());
    ip4[24..26].copy_from_slice(&(len - 20).to_be_bytes());
    ip4[26..28].fill(0);
    ip4[264..268].copy_from_slice(&[99, 130, 83, 99]);
    let sum = !judge::transport_sum(&ip4[12..20], 17, &ip4[20..]);
    ip4[26..28].copy_from_slice(&sum.to_be_bytes());
}

/// Windows on shared buffers behave like vectors.
fn payload(input: &mut Unstructured<'_>) -> Result<()> {
    let headroom = input.int_in_range(0..=100)?;
    let mut model = input.arbitrary::<Vec<u8>>()?;
    let mut window = Payload::with_headroom(headroom, &model);
    let mut sharers = Vec::new();
    while !input.is_empty() {
        match input.int_in_range(0..=6)? {
            0 => {
                let n: usize = input.int_in_range(0..=80)?;
                window.trim_front(n);
                model.drain(..n.min(model.len()));
            }
            1 => {
                let n: usize = input.int_in_range(0..=200)?;
                window.truncate(n);
                model.truncate(n);
            }
            2 => {
                let head = input.arbitrary::<[u8; 7]>()?;
                window.prepend(&head);
                model.splice(..0, head);
            }
            3 => {
                window.make_mut().iter_mut().for_each(|byte| *byte ^= 0x55);
                model.iter_mut().for_each(|byte| *byte ^= 0x55);
            }
            4 => window = window.compact(),
            5 => sharers.push((window.clone(), model.clone())),
            _ => {
                sharers.pop();
            }
        }
        assert_eq!(*window, *model);
        assert!(sharers.iter().all(|(window, model)| **window == **model));
    }
    Ok(())
}

fn large(input: &mut Unstructured<'_>) -> Result<()> {
    let kind = *input.choose(&[SegmentKind::Tcp4, SegmentKind::Tcp6, SegmentKind::Udp])?;
    let checksum = match input.int_in_range(0..=3)? {
        0 => Checksum::Partial { start: input.arbitrary()?, offset: input.arbitrary()? },
        1 => Checksum::Partial { start: input.int_in_range(0..=60)?, offset: input.int_in_range(0..=20)? },
        2 => Checksum::Verified,
        _ => Checksum::Complete,
    };
    let told = if input.ratio(1, 8)? { Some(input.arbitrary()?) } else { None };
    let size = if input.arbitrary()? { input.int_in_range(0..=40)? } else { input.arbitrary()? };
    let (cut, ecn) = (input.ratio(7, 8)?, input.arbitrary()?);
    let more = if input.ratio(1, 8)? { input.arbitrary::<u16>()? } else { 0 };
    let mut ip = input.bytes(input.len())?.to_vec();
    ip.resize(ip.len() + usize::from(more), 0xa5);

    let real = header_len(&ip, kind);
    let header = told.unwrap_or(real.as_ref().copied().unwrap_or(0));
    let how = cut.then_some(Segments { kind, size, header, ecn });
    let offload = Offload { checksum, segments: how };
    measured(&ip, offload);
    let Ok(parts) = segments(&ip, &offload) else { return Ok(()) };
    assert_eq!(parts.len(), how.map_or(1, |how| how.count(ip.len()).0));
    let longest = parts.max_len();
    let parts: Vec<Vec<u8>> = parts.collect();
    assert_eq!(parts.iter().map(Vec::len).max(), Some(longest));
    let Some(how) = how else {
        let [whole] = &parts[..] else { panic!("one packet") };
        let mut want = ip;
        if let Checksum::Partial { start, offset } = checksum {
            complete_checksum(&mut want, start, offset).expect("the segmenter did it");
        }
        assert_eq!(*whole, want);
        return Ok(());
    };
    assert_eq!(Ok(how.header), real);
    let (_, last) = how.count(ip.len());
    let header = usize::from(how.header);
    let mut data = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        assert_eq!(part.len(), if is_last { last } else { header + usize::from(how.size) });
        well_formed(part, header, kind);
        data.extend_from_slice(&part[header..]);
    }
    assert_eq!(data, ip[header..]);

    // What counters say of the large send is what its packets come to.
    let total: usize = parts.iter().map(|part| words(packet(part, Offload::NONE).measure())).sum();
    let measure = packet(&ip, offload).measure();
    assert_eq!((measure.packets as usize, words(measure)), (parts.len(), total));
    Ok(())
}

/// Lengths and checksums of one packet of a large send.
fn well_formed(part: &[u8], header: usize, kind: SegmentKind) {
    let (_, start, _) = judge::ip(part);
    let addresses = if part[0] >> 4 == 4 { &part[12..20] } else { &part[8..40] };
    let (protocol, transport) = match kind {
        SegmentKind::Udp => (17, header - 8),
        SegmentKind::Tcp4 => (6, start),
        // Behind extension headers the place follows from TCP's own length, which ends at `header`.
        SegmentKind::Tcp6 => {
            let ends = |at: &usize| at + usize::from(part[at + 12] >> 4) * 4 == header;
            let sums = |at: &usize| judge::transport_sum(addresses, 6, &part[*at..]) == 0xffff;
            let found = (40..header - 19).step_by(8).find(|at| ends(at) && sums(at));
            (6, found.expect("a TCP header with a right checksum"))
        }
    };
    assert_eq!(judge::transport_sum(addresses, protocol, &part[transport..]), 0xffff, "transport checksum");
    if protocol == 17 {
        assert_eq!(judge::word(part, transport + 4), part.len() - transport, "UDP length");
        assert_ne!(judge::word(part, transport + 6), 0, "0 would say that there is none");
    }
}

/// Whatever a host says of its packets, they can be counted.
fn measured(ip: &[u8], offload: Offload) {
    let packet = packet(ip, offload);
    let measure = packet.measure();
    assert!(measure.packets >= 1 && measure.words >= measure.packets);
    assert!(packet.largest_payload() <= packet.payload.len());
}

/// `ip` behind a Header, as a port gets it.
fn packet(ip: &[u8], offload: Offload) -> Packet {
    let spec = PacketSpec {
        vl: VirtualLane::new(0),
        sl: ServiceLevel::new(0),
        slid: Lid(1),
        dlid: Lid(2),
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey(0x0b1b),
        src_qp: Qpn::new(0x48),
        dest_qp: Qpn::new(0x49),
        psn: Psn::new(0),
    };
    let bytes = [&[8, 0, 0, 0][..], ip].concat();
    Packet::new(spec, Payload::from(&bytes[..]), offload)
}

fn words(measure: ib_wire::packet::Measure) -> usize {
    measure.words as usize
}

fn checksum(input: &mut Unstructured<'_>) -> Result<Checksum> {
    Ok(*input.choose(&[
        Checksum::Complete,
        Checksum::Verified,
        Checksum::Partial { start: 20, offset: 6 },
    ])?)
}
