//! Packets of the Linux driver under OpenSM, recorded on a link: what we read of them, we write again
//! byte for byte, both checksums included.

use ib_wire::{
    addr::Qpn,
    mad::{MgmtClass, pma::PmaMad, sa::SaMad, smp::Smp},
    packet::{Packet, PacketError},
};

const FILES: [(&str, &[u8]); 3] = [
    ("misc", include_bytes!("data/misc-erf.pcap")),
    ("peer", include_bytes!("data/peer-erf.pcap")),
    ("ud", include_bytes!("data/ud-erf.pcap")),
];

/// The InfiniBand packets of a little-endian pcap file of ERF records.
fn packets(pcap: &[u8]) -> Vec<&[u8]> {
    const FILE_HEADER: usize = 24;
    const ERF_HEADER: usize = 16;
    let mut rest = &pcap[FILE_HEADER..];
    let mut found = Vec::new();
    while rest.len() >= 16 {
        let captured = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let record = &rest[16..16 + captured];
        assert_eq!(record[8] & 0x7f, 21, "record type InfiniBand");
        let wire = usize::from(u16::from_be_bytes(record[14..16].try_into().unwrap()));
        found.push(&record[ERF_HEADER..ERF_HEADER + wire.min(captured - ERF_HEADER)]);
        rest = &rest[16 + captured..];
    }
    assert!(rest.is_empty());
    found
}

#[test]
fn every_datagram_is_written_as_it_was_read() {
    let mut same = 0;
    for (file, pcap) in FILES {
        for (number, bytes) in packets(pcap).into_iter().enumerate() {
            let packet = match Packet::parse(bytes) {
                Ok(packet) => packet,
                Err(PacketError::Opcode(opcode)) if opcode.0 >> 5 != 3 => continue,
                Err(error) => panic!("{file}, packet {}: {error}", number + 1),
            };
            let mut out = Vec::new();
            packet.emit(&mut out);
            assert_eq!(out, bytes, "{file}, packet {}", number + 1);
            assert_eq!(packet.measure().words as usize * 4 + 2, bytes.len());
            same += 1;
        }
    }
    assert!(same > 500, "only {same} datagrams in the captures");
}

#[test]
fn every_mad_is_written_as_it_was_read() {
    let mut seen = [0; 3];
    for (file, pcap) in FILES {
        for bytes in packets(pcap) {
            let Ok(packet) = Packet::parse(bytes) else { continue };
            if packet.bth.dest_qp != Qpn::SMI && packet.bth.dest_qp != Qpn::GSI {
                continue;
            }
            let mad = &*packet.payload;
            match MgmtClass(mad[1]) {
                MgmtClass::SUBN_LID | MgmtClass::SUBN_DIRECTED => {
                    assert_eq!(Smp::parse(mad).unwrap().to_bytes(), mad, "{file}");
                    seen[0] += 1;
                }
                MgmtClass::SUBN_ADM => {
                    assert_eq!(SaMad::parse(mad).unwrap().0.to_bytes(), mad, "{file}");
                    seen[1] += 1;
                }
                MgmtClass::PERFORMANCE => {
                    assert_eq!(PmaMad::parse(mad).unwrap().0.to_bytes(), mad, "{file}");
                    seen[2] += 1;
                }
                _ => {}
            }
        }
    }
    assert!(seen[0] > 50 && seen[1] > 10, "{seen:?}");
}
