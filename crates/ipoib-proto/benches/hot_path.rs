//! Time of one packet through an interface, each way: `cargo bench -p ipoib-proto`.
//!
//! Buffers are reused as the program does, so that what is measured is the interface.

use std::{hint::black_box, net::Ipv4Addr};

use ib_wire::{
    addr::{
        Gid, Guid, HwAddr, Lid, Lmc, Mac, Mtu, PKey, QKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout,
    },
    ipoib::{ArpOp, EthArp, EtherType, Header, IbArp, broadcast_mgid},
    mad::{
        Mad, Method,
        attr::{McMemberRecord, PathRecord, PhysicalState, PortState},
        sa::{RecordId, SaMad},
    },
    offload::Offload,
    packet::Grh,
    payload::{Payload, Pool},
    time::Instant,
    ud::{MadAddress, PortView, UdReceived},
};
use ipoib_proto::{Config, Interface, Output};

const GUID: Guid = Guid(0x0002_c903_000e_8a11);
/// After all peers were met.
const LATER: Instant = Instant::from_secs(10_000);
const ROUNDS: u64 = 5_000_000;

fn main() {
    for peers in [1, 256, 2048] {
        let mut interface = up();
        let macs: Vec<Mac> = (0..peers).map(|n| meet(&mut interface, n)).collect();
        assert_eq!(interface.snapshot().bounds.handles, macs.len());
        report(&format!("host frame to one of {peers} peers"), |n| {
            send(&mut interface, macs[n % macs.len()])
        });
        for global in [false, true] {
            let how = if global { "with" } else { "without" };
            report(&format!("datagram {how} GRH from one of {peers} peers"), |n| {
                receive(&mut interface, u64::try_from(n % macs.len()).unwrap(), global);
            });
        }
    }
}

fn report(what: &str, mut act: impl FnMut(usize)) {
    let start = processor_nanos();
    for n in 0..usize::try_from(ROUNDS).unwrap() {
        // Coprime with the tables: no two neighbours in a row.
        act(n.wrapping_mul(1009));
    }
    println!("{what:45} {:6.1} ns", (processor_nanos() - start) as f64 / ROUNDS as f64);
}

/// Time this thread has run, which others on the machine do not lengthen.
fn processor_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says how long we ran");
    text.split(' ').next().and_then(|ran| ran.parse().ok()).expect("its first number is nanoseconds")
}

fn peer(n: u64) -> HwAddr {
    HwAddr::new(Qpn::new(0x100), Gid::new(SubnetPrefix::LINK_LOCAL, Guid(0x1000 + n)))
}

fn lid(n: u64) -> Lid {
    Lid(100 + u16::try_from(n).unwrap())
}

fn port() -> PortView {
    PortView {
        guid: GUID,
        prefix: SubnetPrefix::LINK_LOCAL,
        state: PortState::ACTIVE,
        physical_state: PhysicalState::LINK_UP,
        lid: Lid(5),
        lmc: Lmc(0),
        sm_lid: Lid(1),
        sm_sl: ServiceLevel::new(0),
        mtu: Mtu::B4096,
        rate: Some(Rate(7)),
        subnet_timeout: Timeout(18),
        pkeys: vec![PKey::DEFAULT_FULL],
    }
}

fn up() -> Interface {
    let config = Config::new("ib0", GUID, Qpn::new(0x48), PKey::DEFAULT_FULL);
    let mut interface = Interface::new(config, &port(), 1, Instant::ZERO).unwrap();
    interface.handle_admin(Instant::ZERO, true);
    settle(&mut interface, Instant::ZERO);
    assert!(interface.carrier().is_up());
    interface
}

/// Answers everything asked.
fn settle(interface: &mut Interface, now: Instant) {
    let mut asked = Vec::new();
    loop {
        while let Some(output) = interface.poll_output() {
            if let Output::Mad { mad, .. } = output {
                asked.push(mad);
            }
        }
        let Some(mad) = asked.pop() else { return };
        interface.handle_mad(now, MadAddress::gsi(Lid(1), ServiceLevel::new(0)), &answer(&mad));
    }
}

fn answer(mad: &Mad) -> Mad {
    let mut answer = SaMad::from_bytes(mad);
    answer.header.method = Method::GET_RESP;
    match RecordId(answer.header.attribute.0) {
        RecordId::PATH => {
            let mut record = PathRecord::parse(&answer.data).unwrap().0;
            record.dlid = lid(record.dgid.guid().0 - 0x1000);
            answer.data[..64].copy_from_slice(&record.to_bytes());
        }
        RecordId::MC_MEMBER => {
            let mut record = McMemberRecord::parse(&answer.data).unwrap().0;
            let is_broadcast =
                record.mgid == broadcast_mgid(ib_wire::addr::Scope::LINK_LOCAL, PKey(0xffff)).gid();
            (record.mlid, record.mtu, record.qkey) =
                (Lid(if is_broadcast { 0xc000 } else { 0xc001 }), Mtu::B2048, QKey(0x0b1b));
            answer.data[..52].copy_from_slice(&record.to_bytes());
        }
        _ => {}
    }
    answer.to_bytes()
}

/// Peer `n` answers an ARP question, and the path to it becomes known.
fn meet(interface: &mut Interface, n: u64) -> Mac {
    let arp = IbArp {
        op: ArpOp::REPLY,
        sender_hw: peer(n),
        sender_ip: Ipv4Addr::from_bits(0x0a01_0000 + u32::try_from(n).unwrap()),
        target_hw: interface.hw_addr(),
        target_ip: Ipv4Addr::new(10, 0, 0, 1),
    };
    let mut payload = Payload::from(&arp.emit()[..]);
    payload.prepend(&Header::new(EtherType::ARP).emit());
    interface.handle_datagram(Instant::ZERO, datagram(n, false, payload));
    let Some(Output::ToHost(frame)) = interface.poll_output() else { panic!("the host gets the answer") };
    let mac = EthArp::parse(&frame.body).unwrap().sender_hw;
    // Questions are limited in a second: each peer has one of its own.
    let now = Instant::from_secs(n);
    interface.handle_timeout(now);
    settle(interface, now);
    let frame = [&mac.0[..], &[2; 6], &[8, 0, 0x45, 0, 0, 20]].concat();
    interface.handle_host_frame(now, Payload::from(&frame[..]), Offload::NONE);
    settle(interface, now);
    mac
}

fn datagram(n: u64, global: bool, payload: Payload) -> UdReceived {
    let grh = Grh {
        version: 6,
        traffic_class: 0,
        flow_label: 0,
        payload_length: 0,
        next_header: Grh::NEXT_BTH,
        hop_limit: 0,
        sgid: peer(n).gid,
        dgid: port().gid(),
    };
    UdReceived {
        slid: lid(n),
        dlid: Lid(5),
        sl: ServiceLevel::new(0),
        src_qp: peer(n).qpn,
        pkey: PKey::DEFAULT_FULL,
        grh: global.then_some(grh),
        payload,
        offload: Offload::NONE,
    }
}

std::thread_local! {
    static POOL: std::cell::RefCell<Pool> = const { std::cell::RefCell::new(Pool::new(256, 1)) };
}

fn send(interface: &mut Interface, to: Mac) {
    let mut buffer = POOL.with_borrow_mut(Pool::take);
    let bytes = std::sync::Arc::get_mut(&mut buffer).expect("nobody else has it");
    bytes[64..70].copy_from_slice(&to.0);
    bytes[76..80].copy_from_slice(&[8, 0, 0x45, 0]);
    bytes[87] = 6;
    interface.handle_host_frame(LATER, Payload::from_buffer(buffer, 64, 180), Offload::NONE);
    if let Some(Output::Send(send)) = black_box(interface.poll_output()) {
        POOL.with_borrow_mut(|pool| pool.recycle(send.payload));
    }
}

fn receive(interface: &mut Interface, n: u64, global: bool) {
    let mut buffer = POOL.with_borrow_mut(Pool::take);
    let bytes = std::sync::Arc::get_mut(&mut buffer).expect("nobody else has it");
    bytes[64..70].copy_from_slice(&[8, 0, 0, 0, 0x45, 0]);
    bytes[77] = 6;
    interface.handle_datagram(Instant::ZERO, datagram(n, global, Payload::from_buffer(buffer, 64, 180)));
    if let Some(Output::ToHost(frame)) = black_box(interface.poll_output()) {
        POOL.with_borrow_mut(|pool| pool.recycle(frame.body));
    }
}
