//! Writes the part of the corpus that can be made anew: packets of the captures, exchanges made by hand, texts.
//!
//! `cargo run --example seeds` overwrites `corpus/*/seed-*`; all else in the corpus stays.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use ib_fabric::topology::{generate, to_ibnetdiscover, to_toml};
use ib_wire::{
    addr::Qpn,
    mad::MgmtClass,
    packet::{Bth, Grh, Lrh, NextHeader, Packet},
};

fn main() -> io::Result<()> {
    let mut seeds = Seeds { number: 0 };
    let captures = ["misc", "peer", "ud"].map(|name| data(&format!("ib-wire/tests/data/{name}-erf.pcap")));
    let mut seen = BTreeSet::new();
    for bytes in captures.iter().flat_map(|pcap| packets(pcap)) {
        let Some(kind) = kind(bytes) else { continue };
        if seen.insert(kind) {
            seeds.put("packet", &[bytes])?;
            if let Ok(packet) = Packet::parse(bytes) {
                seeds.payload(packet.bth.dest_qp, &packet.payload)?;
            }
        }
    }
    seeds.by_hand()?;
    seeds.texts()?;
    // Last, so that the others keep their numbers.
    ["link", "driver", "forged"].iter().try_for_each(|target| seeds.scenarios(target))
}

struct Seeds {
    number: usize,
}

impl Seeds {
    fn put(&mut self, target: &str, parts: &[&[u8]]) -> io::Result<()> {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&directory)?;
        self.number += 1;
        fs::write(directory.join(format!("seed-{:03}", self.number)), parts.concat())
    }

    /// What a queue pair got, for the targets that read payloads.
    fn payload(&mut self, qp: Qpn, payload: &[u8]) -> io::Result<()> {
        if qp == Qpn::SMI || qp == Qpn::GSI {
            self.put("mad", &[&[0], payload])?;
            return match MgmtClass(payload[1]) {
                MgmtClass::SUBN_ADM => self.put("mad", &[&[2], &payload[56..]]),
                _ => self.put("mad", &[&[1], &payload[64..128]]),
            };
        }
        let Some((header, ip)) = payload.split_first_chunk::<4>() else { return Ok(()) };
        match header[..2] {
            [0x08, 0x06] => self.put("ipoib", &[&[0], ip]),
            [0x86, 0xdd] if ip[6] == 58 => self.put("ipoib", &[&[2, 0, 0, 0], ip]),
            _ => self.put("ipoib", &[&[0], payload]),
        }
    }

    fn by_hand(&mut self) -> io::Result<()> {
        let request = dhcp(1, &[&[53, 1, 1], &[61, 7, 1, 2, 2, 0xc9, 1, 2, 3], &[55, 2, 1, 3], &[255]]);
        let reply = dhcp(2, &[&[53, 1, 2], &[54, 4, 10, 77, 0, 1], &[52, 1, 3], &[255]]);
        self.put("ipoib", &[&[3, 0, 1, 1], &request])?;
        self.put("ipoib", &[&[3, 0, 1, 0], &request])?;
        let len = u16::try_from(request.len()).expect("it is short").to_le_bytes();
        self.put("ipoib", &[&[4, 0, 1, 0], &len, &request, &reply])?;
        self.put(
            "ipoib",
            &[&[5], b"\x10some bytes of a payload\x02\x01\x02\x03\x04\x05\x06\x07\x05\x03\x02\x04\x09\x06"],
        )?;

        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 16], &[1, 1, 2, 0, 0, 0, 0, 1]].concat();
        let redirect =
            [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 32], &[2, 1, 2, 0, 0, 0, 0, 2, 4, 1, 0, 0, 0, 0, 0, 0]];
        let advert = [
            &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 3, 0, 0],
            &[7; 20],
            &[5, 1, 0, 0, 0, 0, 5, 0],
        ];
        for message in [solicitation, redirect.concat(), advert.concat()] {
            self.put("ipoib", &[&[2, 0, 1, 0], &ipv6(58, &message)])?;
        }
        let tcp =
            [&[0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x99, 1, 0, 0, 0, 0, 0][..], &[b'd'; 300]]
                .concat();
        let udp = [&[0x10, 0, 0x20, 0, 0, 0, 0, 0][..], &[b'd'; 300]].concat();
        let behind_options = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &tcp].concat();
        let how = |kind: u8| [6, kind, 3, 7, 0, 100, 0, 0, 1, 7];
        self.put("ipoib", &[&how(0), &ipv4(6, &tcp)])?;
        self.put("ipoib", &[&how(1), &ipv6(6, &tcp)])?;
        self.put("ipoib", &[&how(1), &ipv6(0, &behind_options)])?;
        self.put("ipoib", &[&how(2), &ipv4(17, &udp)])?;
        self.put("ipoib", &[&how(2), &ipv6(17, &udp)])?;
        for text in [
            "02:00:c9:0e:8a:11",
            "80:00:00:48:fe:80:00:00:00:00:00:00:50:54:00:ff:fe:00:00:02",
            "fe80::5054:ff:fe00:2",
            "ff12:401b:ffff::ffff:ffff",
            "0002:c903:000e:8a11",
            "0x0002c903000e8a11",
        ] {
            self.put("ipoib", &[&[1], text.as_bytes()])?;
        }
        for part in 3..6 {
            self.put("mad", &[&[part], &noise(240, 7)])?;
            self.put("mad", &[&[part], &[0; 100]])?;
        }
        SCENARIOS.iter().try_for_each(|target| self.scenarios(target))
    }

    fn scenarios(&mut self, target: &str) -> io::Result<()> {
        (1..=8).try_for_each(|scenario| self.put(target, &[&noise(600, scenario)]))
    }

    fn texts(&mut self) -> io::Result<()> {
        for name in ["ibnetdiscover-small", "ibnetdiscover-small-grouped"] {
            self.put("topology", &[&data(&format!("ib-fabric/tests/data/{name}.txt"))])?;
        }
        for spec in ["pair", "star:3", "ring:4,hosts=1", "fat-tree:k=2", "mesh:3,links=3,seed=7", "line:2"] {
            self.put("topology", &[spec.as_bytes()])?;
            let topology = generate(spec).expect("its documentation has it");
            self.put("topology", &[to_toml(&topology).as_bytes()])?;
            self.put("topology", &[to_ibnetdiscover(&topology).as_bytes()])?;
        }
        for text in [TOML, NET, "5ms", "1.5us", "0.1%", "10ppm", "4x", "EDR"] {
            self.put("topology", &[text.as_bytes()])?;
        }
        for text in PARTITIONS {
            self.put("partitions", &[text.as_bytes()])?;
        }
        Ok(())
    }
}

/// Targets whose bytes are decisions: any will do for a beginning.
const SCENARIOS: [&str; 3] = ["fabric", "interface", "manager"];

/// The same in every run.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

const TOML: &str = r#"
defaults = { speed = "HDR", mtu = 4096 }
switch = [{ name = "sw1", ports = 36, hosts = 2, enhanced_port0 = true, port = [{ num = 0, lid = 7, lmc = 0 }] }]
router = [{ name = "r1", ports = 2, vendor_id = 0x2c9, device_id = 7 }]
[[host]]
name = "db"
ports = 2
description = "a \"host\""
guid = "0x0002c903000e8a10"
system_guid = "0x0002c903000e8a13"
port = [{ num = 1, guid = "0x0002c903000e8a11", lid = 9, lmc = 1 }]
[[link]]
a = "sw1"
b = "db:2"
delay = "5ms"
loss = "1%"
corrupt = "1ppm"
width = "12x"
[[link]]
a = "sw1:9"
b = "r1:1"
"#;

const NET: &str = "width=3\nspeed=7\nextspeed=1\nmodule=\"m1\"\nvendid=0x2c9\ndevid=0x7\nsysimgguid=0x99\n\
    switchguid=0x100(101)\nSwitch 8 \"sw\" # \"sw1\" enhanced port 0 lid 2 lmc 0\n[1] \"h\"[1](70) # \"h1 HCA-1\" lid 1 4xEDR\n\
    @[8] \"up\"\n\ncaguid=0x69\nHca 2 \"h\" # \"h1 HCA-1\"\n[1](70) \"sw\" w=2 s=1 e=0\n\n\
    switchguid=+0x10\nmodule=\"m2\"\nSwitch 8 \"sw\"\n[1] \"m1@up\"\nRt 1 \"r\"\n";

const PARTITIONS: [&str; 4] = [
    "Default=0x7fff,ipoib:ALL=full;",
    "Default=0x7fff : ALL, SELF=full ;\nStorage=0x1001 , ipoib , rate=6, mtu=5 , sl=3,scope=2,scope=0xe, \
     Q_Key=0x80000b1b,TClass=1, FlowLabel=7:\n\t0x10=full, 0x11=limi, # 0x12,\n0x13;  New, defmember=full : 0x11, \
     ALL_SWITCHES=both; 0x22 : SELF;\nNew : 0x13;\n",
    "A=5,indx0:0x10;B=6:ALL=full,0x10=limited;\n: ALL_CAS, ALL_ROUTERS, ALL_VCAS, NONE;",
    "Default=0x7fff,ipoib,mtu=5:\nmgid=ff12:401b::1,sl=2\nmgid=ff12:401b:ffff::2:1,Q_Key=7,scope=5\n\
     mgid=ff0e::1,mtu=1,rate=3\nALL=full;\n",
];

fn data(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The InfiniBand packets of a little-endian pcap file of ERF records, those cut short left out.
fn packets(pcap: &[u8]) -> impl Iterator<Item = &[u8]> {
    const FILE_HEADER: usize = 24;
    const ERF_HEADER: usize = 16;
    let mut rest = &pcap[FILE_HEADER..];
    std::iter::from_fn(move || {
        let (header, tail) = rest.split_first_chunk::<16>()?;
        let captured = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let (record, tail) = tail.split_at(captured);
        rest = tail;
        let wire = usize::from(u16::from_be_bytes([record[14], record[15]]));
        Some(record.get(ERF_HEADER..ERF_HEADER + wire).unwrap_or(&[]))
    })
}

/// What tells one packet's way through the readers from another's; none for long ones.
fn kind(bytes: &[u8]) -> Option<Vec<u8>> {
    const DETH: usize = 8;
    if bytes.len() > 400 {
        return None;
    }
    let (lrh, rest) = Lrh::parse(bytes).ok()?;
    let has_grh = lrh.next == NextHeader::GRH;
    let rest = if has_grh { rest.get(Grh::LEN..)? } else { rest };
    let (bth, rest) = Bth::parse(rest).ok()?;
    let payload = rest.get(DETH..)?;
    let mut kind = vec![lrh.next.0, bth.opcode.0];
    if bth.dest_qp == Qpn::SMI || bth.dest_qp == Qpn::GSI {
        kind.extend_from_slice(payload.get(1..4)?);
        kind.extend_from_slice(payload.get(16..18)?);
    } else {
        kind.extend_from_slice(payload.get(..2)?);
        kind.extend_from_slice(&[payload.get(10).copied()?, payload.get(44).copied().unwrap_or(0)]);
    }
    Some(kind)
}

fn ipv4(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + rest.len()).expect("it is short").to_be_bytes();
    [&[0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2][..], rest].concat()
}

fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, next, 255][..], &[0xfd; 16], &[0xfe; 16], rest].concat()
}

/// A message in its packet; the target puts lengths and checksums in.
fn dhcp(op: u8, options: &[&[u8]]) -> Vec<u8> {
    let mut bootp = [0; 236];
    bootp[..8].copy_from_slice(&[op, if op == 1 { 1 } else { 32 }, 6, 0, 1, 2, 3, 4]);
    bootp[28..34].copy_from_slice(&[2, 2, 0xc9, 1, 2, 3]);
    let message = [&bootp[..], &[99, 130, 83, 99], &options.concat()].concat();
    let ports = if op == 1 { [0, 68, 0, 67] } else { [0, 67, 0, 68] };
    ipv4(17, &[&ports[..], &[0; 4], &message].concat())
}
