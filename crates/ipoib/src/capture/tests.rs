//! Captures as the outside judge reads them.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use ib_wire::{
    addr::{Gid, Guid, HwAddr, Lid, PKey, Psn, QKey, Qpn, Scope, ServiceLevel, SubnetPrefix, VirtualLane},
    ipoib::{Arp, ArpOp, EtherType, Header, broadcast_mgid, checksum::Sum},
    mad::{AttributeId, MadHeader, Method, MgmtClass, smp::DirectedSmp},
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::{GlobalRoute, Packet, PacketSpec},
    payload::Payload,
    time::Instant,
};

use super::*;

const NOVEMBER_2026: Timeline = Timeline::from_origin(1_795_000_000_000_000_000);

fn spec(from: u16, to: u16, qpn: u32) -> PacketSpec {
    PacketSpec {
        vl: VirtualLane::new(0),
        sl: ServiceLevel::new(0),
        slid: Lid(from),
        dlid: Lid(to),
        global: None,
        pkey: PKey::DEFAULT_FULL,
        qkey: QKey(0xb1b),
        src_qp: Qpn::new(0x48),
        dest_qp: Qpn::new(qpn),
        psn: Psn::new(0xff_fffe),
    }
}

/// "Which node are you?", by directed route.
fn mad() -> Packet {
    let header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
    let mut bytes = DirectedSmp::parse(&[0; 256]).unwrap().0;
    (bytes.header, bytes.source_lid, bytes.dest_lid) = (header, Lid::PERMISSIVE, Lid::PERMISSIVE);
    let to = PacketSpec {
        vl: VirtualLane::MANAGEMENT,
        slid: Lid::PERMISSIVE,
        dlid: Lid::PERMISSIVE,
        qkey: QKey(0),
        src_qp: Qpn::SMI,
        dest_qp: Qpn::SMI,
        ..spec(0, 0, 0)
    };
    Packet::new(to, Payload::from(&bytes.to_bytes()[..]), Offload::NONE)
}

/// "Who has 10.77.0.2?", to all.
fn arp() -> Packet {
    let gid = Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x0002_c903_0000_0001));
    let message = Arp {
        op: ArpOp::REQUEST,
        sender_hw: HwAddr::new(Qpn::new(0x48), gid),
        sender_ip: Ipv4Addr::new(10, 77, 0, 1),
        target_hw: HwAddr::from_bytes(&[0; 20]),
        target_ip: Ipv4Addr::new(10, 77, 0, 2),
    };
    let to_all = broadcast_mgid(Scope::LINK_LOCAL, PKey::DEFAULT_FULL).gid();
    let route = GlobalRoute { sgid: gid, dgid: to_all, traffic_class: 0, flow_label: 0, hop_limit: 0 };
    let to = PacketSpec { global: Some(route), dest_qp: Qpn::MULTICAST, ..spec(2, 0xc000, 0) };
    let payload = [&Header::new(EtherType::ARP).emit()[..], &message.emit()].concat();
    Packet::new(to, Payload::from(&payload[..]), Offload::NONE)
}

/// `data` bytes of TCP, whole, to be cut into packets of `size`; the kernel's half of the checksum in place.
fn tcp(data: usize, size: u16) -> Packet {
    let (from, to) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
    let total = u16::try_from(40 + data).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0, total[0], total[1], 0, 7, 0x40, 0, 64, 6, 0, 0];
    ip.extend_from_slice(&from.octets());
    ip.extend_from_slice(&to.octets());
    let sum = Sum::ZERO.with(&ip).finish().to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip.extend_from_slice(&[0x9c, 0x40, 0x9c, 0x41, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0x02, 0, 0, 0, 0, 0]);
    let pseudo = (!Sum::pseudo4(from, to, 6, 20 + data).finish()).to_be_bytes();
    ip[36..38].copy_from_slice(&pseudo);
    ip.extend(std::iter::repeat_n(b'x', data));
    let payload = [&Header::new(EtherType::IPV4).emit()[..], &ip].concat();
    let offload = Offload {
        checksum: Checksum::Partial { start: 20, offset: 16 },
        segments: Some(Segments { kind: SegmentKind::Tcp4, size, header: 40, ecn: false }),
    };
    Packet::new(spec(2, 3, 0x49), Payload::from(&payload[..]), offload)
}

/// A file that goes when the test does.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("ipoib-capture-{test}-{}.pcapng", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn record(place: &Place, packets: Vec<(usize, Packet)>) -> CaptureSummary {
    let interfaces = ["h1:1".to_owned(), "sw1:3".to_owned()];
    let file = PatientFile(File::create(&place.0).unwrap());
    let sink = CaptureSink::new(file, &interfaces, NOVEMBER_2026, Bound::default()).unwrap();
    for (n, (interface, packet)) in (0..).zip(packets) {
        assert!(sink.offer(Instant::from_nanos(n * 1_000_000_001), interface, Direction::Sent, packet));
    }
    sink.finish(Duration::from_secs(20)).unwrap()
}

fn tshark(file: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(file)
        .args(["-n", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"])
        .args(arguments)
        .output()
        .expect("these tests need tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn tshark_reads_what_the_links_carried() {
    let place = Place::new("read");
    let summary = record(&place, vec![(1, mad()), (0, arp()), (0, tcp(5000, 2000))]);
    assert_eq!(summary, CaptureSummary { packets: 5, dropped: 0, error: None });

    let lines = tshark(&place.0, &[]);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].contains("SubnGet(NodeInfo)"), "{}", lines[0]);
    assert!(lines[1].contains("Who has 10.77.0.2? Tell 10.77.0.1"), "{}", lines[1]);
    assert!(
        lines[2..].iter().all(|line| line.contains("40000 → 40001") && line.contains("TCP")),
        "{lines:#?}"
    );

    let fields = ["frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction"];
    let fields = fields.into_iter().chain(["infiniband.bth.psn", "tcp.len", "tcp.checksum.status"]);
    let arguments: Vec<&str> = ["-T", "fields"].into_iter().chain(fields.flat_map(|f| ["-e", f])).collect();
    let rows = tshark(&place.0, &arguments);
    let expected = [
        "1795000000.000000000\tsw1:3\t0x00000002\t16777214\t\t",
        "1795000001.000000001\th1:1\t0x00000002\t16777214\t\t",
        "1795000002.000000002\th1:1\t0x00000002\t16777214\t2000\t1",
        "1795000002.000000002\th1:1\t0x00000002\t16777215\t2000\t1",
        "1795000002.000000002\th1:1\t0x00000002\t0\t1000\t1",
    ];
    assert_eq!(rows, expected);
    let wrong = "_ws.malformed || ip.checksum.status == 0 || _ws.expert.severity == error";
    assert_eq!(tshark(&place.0, &["-Y", wrong]), Vec::<String>::new());
}

#[test]
fn the_bytes_of_every_packet_hold_both_checksums() {
    let mut seen = 0;
    for packet in [mad(), arp(), tcp(60_000, 1992)] {
        cut::for_each(packet, |part| {
            let mut bytes = Vec::new();
            part.emit(&mut bytes);
            let again = Packet::parse(&bytes).unwrap();
            assert_eq!(again.payload, part.payload);
            seen += 1;
        })
        .unwrap();
    }
    assert_eq!(seen, 2 + 60_000_u32.div_ceil(1992));
}

#[test]
fn a_packet_that_cannot_be_cut_is_a_counted_drop() {
    let mut wrong = tcp(20_000, 1992);
    if let Some(segments) = &mut wrong.offload.segments {
        segments.header = 60;
    }
    let place = Place::new("uncut");
    let summary = record(&place, vec![(0, wrong), (0, arp())]);
    assert_eq!((summary.packets, summary.error), (1, None));
    assert!(summary.dropped > 0);
}

/// A disk that stands still until it is let go.
#[derive(Clone, Default)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    moving: Arc<(Mutex<bool>, Condvar)>,
}

impl Disk {
    fn let_go(&self) {
        *self.moving.0.lock().unwrap() = true;
        self.moving.1.notify_all();
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let moving = self.moving.0.lock().unwrap();
        drop(self.moving.1.wait_while(moving, |moving| !*moving).unwrap());
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_disk_costs_packets_of_the_capture_and_no_time() {
    let (disk, place) = (Disk::default(), Place::new("slow"));
    let bound = Bound { packets: 10, bytes: 1 << 20 };
    let sink = CaptureSink::new(disk.clone(), &["h1:1".to_owned()], NOVEMBER_2026, bound).unwrap();
    let before = std::time::Instant::now();
    for n in 0..1000 {
        assert!(sink.offer(Instant::from_nanos(n), 0, Direction::Received, arp()));
    }
    assert!(before.elapsed() < Duration::from_secs(5));
    disk.let_go();
    let summary = sink.finish(Duration::from_secs(20)).unwrap();
    assert_eq!(summary, CaptureSummary { packets: 10, dropped: 990, error: None });

    fs::write(&place.0, &*disk.bytes.lock().unwrap()).unwrap();
    assert_eq!(tshark(&place.0, &[]).len(), 10);
    let statistics = Command::new("capinfos").arg(&place.0).output().unwrap();
    let statistics = String::from_utf8(statistics.stdout).unwrap();
    assert!(statistics.contains("Number of stat entries = 1"), "{statistics}");
    let file = fs::read(&place.0).unwrap();
    let dropped = [&[5, 0, 8, 0][..], &990u64.to_le_bytes()].concat();
    assert!(file.windows(dropped.len()).any(|window| window == dropped));
}

#[test]
fn large_payloads_are_bounded_by_their_bytes() {
    let disk = Disk::default();
    let bound = Bound { packets: 1000, bytes: 100_000 };
    let sink = CaptureSink::new(disk.clone(), &["h1:1".to_owned()], NOVEMBER_2026, bound).unwrap();
    for n in 0..4 {
        assert!(sink.offer(Instant::from_nanos(n), 0, Direction::Received, tcp(40_000, 2000)));
    }
    disk.let_go();
    let summary = sink.finish(Duration::from_secs(20)).unwrap();
    assert_eq!((summary.packets, summary.dropped), (40, 40));
}

#[test]
fn a_reader_that_goes_away_ends_the_capture() {
    let (reader, writer) = io::pipe().unwrap();
    let file = PatientFile(File::from(std::os::fd::OwnedFd::from(writer)));
    let sink = CaptureSink::new(file, &["h1:1".to_owned()], NOVEMBER_2026, Bound::default()).unwrap();
    drop(reader);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while sink.offer(Instant::ZERO, 0, Direction::Received, arp()) {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(sink.finish(Duration::from_secs(20)).unwrap().error.is_some());
}

#[test]
fn a_capture_without_packets_is_a_file_all_the_same() {
    let place = Place::new("empty");
    assert_eq!(record(&place, Vec::new()), CaptureSummary::default());
    assert_eq!(tshark(&place.0, &[]), Vec::<String>::new());
}
