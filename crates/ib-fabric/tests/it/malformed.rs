//! Bytes that no port should send: each ends in a drop with its own name, and nothing panics.

use ib_fabric::{Drop, Fabric};
use ib_wire::{
    addr::{Gid, Lid, PKey, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    crc,
    offload::Offload,
    packet::{GlobalRoute, Packet, PacketSpec},
};
use proptest::prelude::*;

use crate::world::{MLID, QKEY, World, mgid};

fn spec(world: &World, dest_qp: Qpn) -> PacketSpec {
    PacketSpec {
        vl: VirtualLane::default(),
        sl: ServiceLevel::default(),
        slid: world.lid("h1"),
        dlid: world.lid("h2"),
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKEY,
        src_qp: Qpn::new(0x99),
        dest_qp,
        psn: Psn::new(0),
    }
}

fn bytes(spec: PacketSpec, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::new(spec, payload.into(), Offload::NONE).emit(&mut bytes);
    bytes
}

/// With both checksums as they should be, whatever else is wrong.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - 6;
    let icrc = crc::icrc(&bytes[..body], bytes[1] & 3 == 3);
    bytes[body..body + 4].copy_from_slice(&icrc);
    let vcrc = crc::vcrc(&bytes[..body + 4]);
    bytes[body + 4..].copy_from_slice(&vcrc);
    bytes
}

#[test]
fn each_malformation_has_its_own_name() {
    let mut world = World::star();
    let qpn = world.qp("h2", 0xffff);
    let good = bytes(spec(&world, qpn), b"fine");
    let edit = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        seal(bytes)
    };
    let with = |edit: &dyn Fn(&mut PacketSpec)| {
        let mut spec = spec(&world, qpn);
        edit(&mut spec);
        bytes(spec, b"fine")
    };
    let global =
        |dgid| Some(GlobalRoute { sgid: Gid::ZERO, dgid, traffic_class: 0, flow_label: 0, hop_limit: 0 });
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    let mut bad_icrc = flipped.clone();
    let end = bad_icrc.len() - 2;
    let vcrc = crc::vcrc(&bad_icrc[..end]);
    bad_icrc[end..].copy_from_slice(&vcrc);
    let mut short = good[..20].to_vec();
    (short[4], short[5]) = (0, 4);
    let vcrc = crc::vcrc(&short[..16]);
    short.truncate(16);
    short.extend(vcrc);
    let mut no_grh = bytes(spec(&world, qpn), &[0; 64]);
    no_grh[1] = 3;
    let no_grh = seal(no_grh);
    let oversize = bytes(spec(&world, qpn), &[0; 4100]);
    let cases: Vec<(Vec<u8>, Drop)> = vec![
        (Vec::new(), Drop::Truncated),
        (vec![1], Drop::Truncated),
        (flipped, Drop::BadVcrc),
        (bad_icrc, Drop::BadIcrc),
        (short, Drop::Truncated),
        (edit(5, 99), Drop::BadLength),
        (edit(0, 1), Drop::BadVersion),
        (edit(9, 0x01), Drop::BadVersion),
        (edit(1, 0), Drop::RawPacket),
        (edit(1, 1), Drop::RawPacket),
        (edit(1, 3), Drop::Truncated),
        (no_grh, Drop::BadGrh),
        (edit(8, 0x04), Drop::BadOpcode),
        (with(&|spec| spec.vl = VirtualLane::new(9)), Drop::BadLane),
        (with(&|spec| spec.vl = VirtualLane::MANAGEMENT), Drop::Qp0Lane),
        (with(&|spec| spec.dest_qp = Qpn::SMI), Drop::Qp0Lane),
        (with(&|spec| spec.dlid = Lid(1)), Drop::DlidMismatch),
        (with(&|spec| spec.dlid = Lid(0)), Drop::DlidMismatch),
        (with(&|spec| spec.dlid = Lid::PERMISSIVE), Drop::DlidMismatch),
        (with(&|spec| spec.dlid = MLID), Drop::NoGrh),
        (with(&|spec| (spec.dlid, spec.global) = (MLID, global(Gid::ZERO))), Drop::DgidMismatch),
        (with(&|spec| (spec.dlid, spec.global) = (MLID, global(mgid(1).gid()))), Drop::NotMulticastQp),
        (
            with(&|spec| {
                (spec.dlid, spec.global) = (MLID, global(mgid(1).gid()));
                spec.dest_qp = Qpn::MULTICAST;
            }),
            Drop::NotAttached,
        ),
        (with(&|spec| spec.global = global(mgid(1).gid())), Drop::DgidMismatch),
        (with(&|spec| spec.dest_qp = Qpn::new(2)), Drop::NoQp),
        (with(&|spec| spec.pkey = PKey(0)), Drop::PKeyMismatch),
        (with(&|spec| spec.qkey = QKey(0)), Drop::QKeyMismatch),
        (with(&|spec| (spec.dest_qp, spec.qkey) = (Qpn::GSI, QKey::GSI)), Drop::MadMalformed),
        (with(&|spec| (spec.dest_qp, spec.vl) = (Qpn::SMI, VirtualLane::MANAGEMENT)), Drop::SmpMalformed),
        (oversize, Drop::Oversize),
    ];
    let port = world.port("h2");
    for (i, (bytes, reason)) in cases.into_iter().enumerate() {
        let before: u64 = total(&world.fabric);
        let same_before = world.dropped(reason);
        world.fabric.inject(world.now, port, &bytes);
        assert_eq!(world.dropped(reason), same_before + 1, "case {i}: {reason:?}");
        assert_eq!(total(&world.fabric), before + 1, "case {i}: and nothing else");
    }
    world.drain();
    assert!(world.take().is_empty());
    world.fabric.inject(world.now, port, &good);
    world.drain();
    assert_eq!(world.take().len(), 1, "the unharmed one arrives");
}

fn total(fabric: &Fabric) -> u64 {
    Drop::ALL.iter().map(|reason| fabric.dropped(*reason)).sum()
}

fn length(n: usize) -> u16 {
    n.try_into().expect("short packets")
}

/// A packet with anything in its fields, and checksums that match.
fn sealed() -> impl Strategy<Value = Vec<u8>> {
    let header = (any::<[u8; 8]>(), any::<bool>(), any::<[u8; 40]>(), any::<[u8; 20]>());
    (header, prop::collection::vec(any::<u8>(), 0..300), prop::bool::ANY).prop_map(
        |((mut lrh, global, grh, mut transport), mut payload, is_mad)| {
            if is_mad {
                payload.resize(256, 0);
            }
            lrh[0] &= 0xf0;
            lrh[1] = lrh[1] & 0xf0 | if global { 3 } else { 2 };
            transport[0] = 0x64;
            transport[1] &= 0xc0;
            payload.resize(payload.len().next_multiple_of(4), 0);
            let mut bytes = lrh.to_vec();
            if global {
                bytes.extend(grh);
                bytes[8] = 0x60;
                bytes[14] = 0x1b;
            }
            bytes.extend(transport);
            bytes.extend(payload);
            bytes.extend([0; 6]);
            let words = length((bytes.len() - 2) / 4);
            bytes[4..6].copy_from_slice(&words.to_be_bytes());
            if global {
                let behind = length(bytes.len() - 2 - 48);
                bytes[12..14].copy_from_slice(&behind.to_be_bytes());
            }
            seal(bytes)
        },
    )
}

/// An SMP with anything in it, to a port that reads it.
fn smp() -> impl Strategy<Value = Vec<u8>> {
    let fields = (any::<bool>(), prop::sample::select(vec![1u8, 2, 5, 6, 7, 0x81, 0x20]), 0u16..0x40);
    (fields, any::<u32>(), prop::collection::vec(any::<u8>(), 256)).prop_map(
        |((directed, method, attribute), modifier, mut mad)| {
            mad[0] = 1;
            mad[1] = if directed { 0x81 } else { 1 };
            mad[2] = 1;
            mad[3] = method;
            (mad[6], mad[7]) = (mad[6] % 6, mad[7] % 6);
            mad[16..18].copy_from_slice(&attribute.to_be_bytes());
            mad[20..24].copy_from_slice(&(modifier & 0xf003_07ff).to_be_bytes());
            let spec = PacketSpec {
                vl: VirtualLane::MANAGEMENT,
                sl: ServiceLevel::default(),
                slid: Lid(1),
                dlid: if directed { Lid::PERMISSIVE } else { Lid(2) },
                global: None,
                pkey: PKey::DEFAULT_FULL,
                qkey: QKey(0),
                src_qp: Qpn::SMI,
                dest_qp: Qpn::SMI,
                psn: Psn::new(0),
            };
            bytes(spec, &mad)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_end_without_panic(
        raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..8),
        sealed in prop::collection::vec(sealed(), 0..16),
        smps in prop::collection::vec(smp(), 0..24),
    ) {
        let mut world = World::star();
        let links: Vec<_> = world.fabric.links().collect();
        for (i, bytes) in raw.iter().chain(&sealed).chain(&smps).enumerate() {
            let link = links[i % links.len()];
            world.fabric.inject_on_link(world.now, link, i % 2 == 0, bytes);
            world.drain();
        }
        world.pass(5_000);
        let _ = world.fabric.snapshot();
    }
}
