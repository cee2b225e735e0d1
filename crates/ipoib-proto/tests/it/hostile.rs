//! Whatever comes, from whichever side: no panic, no endless loop, no bound broken.

use std::net::IpAddr;

use ib_wire::{
    addr::{Gid, HwAddr, Lid, Mac, PKey, Qpn, ServiceLevel},
    ipoib::EtherType,
    mad::{Mad, attr::PortState},
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::Payload,
    ud::{MadAddress, PortEvent},
};
use ipoib_proto::HostEvent;
use proptest::{collection::vec, prelude::*};

use crate::rig::{Rig, SM_LID, broadcast, peer};

#[derive(Clone, Debug)]
enum Input {
    Frame(Vec<u8>, Offload),
    Known(u16, u16, Vec<u8>),
    Datagram(HwAddr, u16, Option<[u8; 16]>, u16, Vec<u8>),
    Mad(Vec<u8>, u16),
    Answer(Vec<(usize, u8)>),
    Port(u8, u16, u8),
    Host(u8, IpAddr, Mac, u16),
    Admin(bool),
    Mute(bool),
    Wait(u64),
}

fn ethertype() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x0800), Just(0x0806), Just(0x86dd), Just(0x8035), any::<u16>()]
}

/// Bytes that look a little like what is expected.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(vec![]),
        Just(vec![0, 32, 8, 0, 20, 4, 0, 2]),
        Just(vec![0, 1, 8, 0, 6, 4, 0, 1]),
        Just(vec![0x45, 0, 1, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 68, 0, 67]),
        Just(vec![0x46, 0, 0, 40, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1]),
        Just(vec![0x60, 0, 0, 0, 0, 32, 58, 255]),
        Just(vec![0x60, 0, 0, 0, 0, 32, 0, 1]),
    ];
    (start, vec(any::<u8>(), 0..400)).prop_map(|(mut start, rest)| {
        start.extend(rest);
        start
    })
}

fn offload() -> impl Strategy<Value = Offload> {
    let segments = (any::<u16>(), any::<u16>()).prop_map(|(size, header)| Segments {
        kind: SegmentKind::Tcp4,
        size,
        header,
        ecn: false,
    });
    let checksum = prop_oneof![
        Just(Checksum::Complete),
        Just(Checksum::Verified),
        (any::<u16>(), any::<u16>()).prop_map(|(start, offset)| Checksum::Partial { start, offset }),
    ];
    (checksum, proptest::option::of(segments)).prop_map(|(checksum, segments)| Offload { checksum, segments })
}

fn input() -> impl Strategy<Value = Input> {
    let addr = prop_oneof![
        (0..8u16).prop_map(peer),
        (any::<u32>(), any::<[u8; 16]>()).prop_map(|(q, g)| HwAddr::new(Qpn::new(q), Gid(g))),
    ];
    let group = prop_oneof![Just(None), Just(Some(broadcast().0)), any::<[u8; 16]>().prop_map(Some)];
    prop_oneof![
        (vec(any::<u8>(), 0..80), offload()).prop_map(|(f, o)| Input::Frame(f, o)),
        (any::<u16>(), ethertype(), body()).prop_map(|(n, t, b)| Input::Known(n % 8, t, b)),
        (addr, any::<u16>(), group, ethertype(), body())
            .prop_map(|(a, l, g, t, b)| Input::Datagram(a, l, g, t, b)),
        (vec(any::<u8>(), 256), 0..3u16).prop_map(|(m, l)| Input::Mad(m, l)),
        vec((0..256usize, any::<u8>()), 0..4).prop_map(Input::Answer),
        (0..7u8, any::<u16>(), 0..5u8).prop_map(|(e, l, s)| Input::Port(e, l, s)),
        (0..7u8, any::<IpAddr>(), any::<[u8; 6]>(), any::<u16>()).prop_map(|(e, ip, mac, mtu)| Input::Host(
            e,
            ip,
            Mac(mac),
            mtu
        )),
        any::<bool>().prop_map(Input::Admin),
        any::<bool>().prop_map(Input::Mute),
        (0..100_000u64).prop_map(Input::Wait),
    ]
}

fn apply(rig: &mut Rig, input: Input) {
    let now = rig.now;
    match input {
        Input::Frame(frame, offload) => {
            rig.interface.handle_host_frame(now, Payload::from(&frame[..]), offload);
        }
        Input::Known(n, ethertype, body) => {
            let mac = ib_wire::ipoib::peer_mac(peer(n).gid, peer(n).qpn, 0);
            let mac = if n == 0 { Mac::BROADCAST } else { mac };
            rig.host(mac, EtherType(ethertype), &body);
        }
        Input::Datagram(from, slid, group, ethertype, body) => {
            rig.datagram((from, Lid(slid)), group.map(Gid), slid & 1 == 0, EtherType(ethertype), &body);
        }
        Input::Mad(bytes, lid) => {
            let mut mad: Mad = bytes.try_into().unwrap();
            (mad[0], mad[1], mad[2]) = (1, 3, 2);
            rig.interface.handle_mad(now, MadAddress::gsi(Lid(lid), ServiceLevel::new(0)), &mad);
        }
        Input::Answer(changes) => {
            // An answer to the last question, with some bytes changed.
            let Some(asked) = rig.sa.asked.last() else { return };
            let mut mad = asked.to_bytes();
            mad[3] = 0x81;
            for (at, value) in changes {
                mad[at] = value;
            }
            rig.interface.handle_mad(now, MadAddress::gsi(SM_LID, ServiceLevel::new(0)), &mad);
        }
        Input::Port(event, lid, state) => {
            rig.port.state = PortState(state);
            rig.port.lid = Lid(lid);
            if lid % 7 == 0 {
                rig.port.pkeys = vec![PKey(lid)];
            } else {
                rig.port.pkeys = vec![PKey::DEFAULT_FULL];
            }
            rig.port_event(PortEvent::ALL[usize::from(event)]);
        }
        Input::Host(event, ip, mac, mtu) => {
            let event = match event {
                0 => HostEvent::NeighborGone { ip: Some(ip), mac },
                1 => HostEvent::NeighborFailed { ip, mac: Some(mac) },
                2 => HostEvent::GroupJoined(ip),
                3 => HostEvent::GroupLeft(ip),
                4 => HostEvent::AddressAdded(ip),
                5 => HostEvent::AddressRemoved(ip),
                _ => HostEvent::MtuChanged(mtu),
            };
            rig.interface.handle_host(now, event);
        }
        Input::Admin(up) => rig.interface.handle_admin(now, up),
        Input::Mute(mute) => rig.sa.mute = mute,
        Input::Wait(millis) => rig.advance(millis),
    }
    rig.drain();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn nothing_from_outside_makes_it_panic(inputs in vec(input(), 1..60)) {
        let mut rig = Rig::up_with(|config| {
            config.snoop_memberships = true;
            (config.max_address_vector, config.max_peers, config.max_groups) = (4, 16, 16);
        });
        (0..8).for_each(|n| { rig.add_peer(n); });
        for input in inputs {
            apply(&mut rig, input);
            let bounds = rig.snapshot().bounds;
            prop_assert!(bounds.handles <= 4 && bounds.peers <= 16 && bounds.groups <= 17);
            prop_assert!(bounds.pending_bytes <= bounds.max_pending_bytes);
            prop_assert!(bounds.sa_outstanding <= bounds.sa_window);
        }
        // Left alone with a healthy port it comes up again.
        rig.sa.mute = false;
        rig.port.pkeys = vec![PKey::DEFAULT_FULL];
        rig.interface.handle_admin(rig.now, true);
        rig.port.state = PortState::ACTIVE;
        rig.port_event(PortEvent::PKeyChange);
        rig.port_event(PortEvent::Active);
        rig.advance(120_000);
        prop_assert!(rig.interface.carrier().is_up(), "{}", rig.interface.carrier());
        prop_assert_eq!(rig.snapshot().bounds.pending_bytes, 0);
    }
}
