//! F21b: packets that make no sense and come from a link: each is dropped by whom it concerns, and counted by cause.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use ib_wire::{
    addr::{HwAddr, Lid, PKey, PortNum, Psn, QKey, Qpn, ServiceLevel, VirtualLane},
    ipoib::{ArpOp, EtherType, IbArp},
    mad::{AttributeId, MadHeader, Method, MgmtClass, smp::DirectedSmp},
    offload::Offload,
    packet::{Packet, PacketSpec, seal},
};

use super::{
    super::{
        bench::Bench,
        lab::{Host, Lab},
        process::eventually,
    },
    links::ACTIVE,
};
use crate::control::schema::Noun;

/// Somebody as packets know him.
#[derive(Debug)]
struct Party {
    lid: Lid,
    address: HwAddr,
}

impl Party {
    fn of(lab: &Lab, host: &Host) -> Result<Self> {
        let row = lab.interface(host)?;
        let lid = row["lid"].as_u64().and_then(|lid| u16::try_from(lid).ok());
        let address = row["address"].as_str().and_then(|address| address.parse().ok());
        Ok(Self {
            lid: Lid(lid.context("`ipoib show hosts` has no LID")?),
            address: address.context("`ipoib show hosts` has no address")?,
        })
    }
}

/// Packets from one to another that differ from good ones in one thing.
#[derive(Debug)]
struct Forge {
    from: Party,
    to: Party,
    qkey: QKey,
}

impl Forge {
    fn spec(&self) -> PacketSpec {
        PacketSpec {
            vl: VirtualLane::default(),
            sl: ServiceLevel::default(),
            slid: self.from.lid,
            dlid: self.to.lid,
            global: None,
            pkey: PKey::DEFAULT_FULL,
            qkey: self.qkey,
            src_qp: self.from.address.qpn,
            dest_qp: self.to.address.qpn,
            psn: Psn::new(0),
        }
    }

    fn with(&self, edit: impl FnOnce(&mut PacketSpec)) -> Vec<u8> {
        let mut spec = self.spec();
        edit(&mut spec);
        bytes(spec, &[encapsulated(EtherType::IPV4, [0; 2]), vec![0x45; 20]].concat())
    }

    fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        bytes(self.spec(), payload)
    }

    /// Says that `ip` is at `address`: answers a question of the receiver, or asks one, which a kernel believes from
    /// somebody it does not know, too.
    fn arp(&self, op: ArpOp, address: HwAddr, ip: &Host, to: &Host) -> Result<Vec<u8>> {
        let arp = IbArp {
            op,
            sender_hw: address,
            sender_ip: ip.v4.parse()?,
            target_hw: self.to.address,
            target_ip: to.v4.parse()?,
        };
        Ok([encapsulated(EtherType::ARP, [0; 2]), arp.emit().to_vec()].concat())
    }

    /// A directed route whose pointer is beyond its end.
    fn bad_hop(&self) -> Vec<u8> {
        let mut smp = DirectedSmp::from_bytes(&[0; DirectedSmp::LEN]);
        smp.header = MadHeader::request(MgmtClass::SUBN_DIRECTED, Method::GET, AttributeId::NODE_INFO, 0);
        (smp.source_lid, smp.dest_lid) = (Lid::PERMISSIVE, Lid::PERMISSIVE);
        smp.set_hops(70, 2);
        let spec = PacketSpec {
            vl: VirtualLane::MANAGEMENT,
            slid: Lid::PERMISSIVE,
            dlid: Lid::PERMISSIVE,
            src_qp: Qpn::SMI,
            dest_qp: Qpn::SMI,
            qkey: QKey(0),
            ..self.spec()
        };
        bytes(spec, &smp.to_bytes())
    }
}

fn encapsulated(kind: EtherType, reserved: [u8; 2]) -> Vec<u8> {
    [kind.0.to_be_bytes(), reserved].concat()
}

fn bytes(spec: PacketSpec, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::new(spec, payload.into(), Offload::NONE).emit(&mut bytes);
    bytes
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// F21b: one packet of each kind, and what it is counted as.
pub(in super::super) fn packets(bench: &mut Bench<'_>) -> Result<String> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    bench.reaches(client, &server.v4)?;
    let groups = lab.show(Noun::Groups)?;
    let broadcast = groups.iter().find(|row| row["ip"] == "broadcast").context("no broadcast group")?;
    let qkey = broadcast["qkey"].as_str().and_then(|text| u32::from_str_radix(&text[2..], 16).ok());
    let forge = Forge {
        from: Party::of(lab, server)?,
        to: Party::of(lab, client)?,
        qkey: QKey(qkey.context("no Q_Key")?),
    };
    let known = bench.sh(client, &format!("ip neigh show {}", server.v4))?;
    let port = (client.name.as_str(), "port 1");
    let interface = (client.name.as_str(), client.interface.as_str());
    let good = forge.with(|_| {});
    let flipped = |from_end: usize| {
        let mut bytes = good.clone();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        bytes
    };
    // LRH and four octets, and a length that agrees.
    let mut short = good[..12].to_vec();
    (short[4], short[5]) = (0, 4);
    seal(&mut short);
    // The ICRC does not match, the VCRC does.
    let mut altered = good[..good.len() - 6].to_vec();
    altered.extend([0; 4]);
    let vcrc = ib_wire::crc::vcrc(&altered);
    altered.extend(vcrc);
    let mut long_address = forge.arp(ArpOp::REPLY, forge.from.address, server, client)?;
    long_address[8] = 6;
    let nobody = Host { v4: bench.nobody()?, ..server.clone() };
    let thief = HwAddr { qpn: Qpn::new(0x77_7777), ..forge.from.address };
    let poison = forge.arp(ArpOp::REQUEST, forge.from.address, &nobody, client)?;
    let kinds = [
        ("a header cut short", short, port, "truncated"),
        ("a wrong VCRC", flipped(1), port, "bad_vcrc"),
        ("a wrong ICRC", altered, port, "bad_icrc"),
        ("a bad hop", forge.bad_hop(), port, "smp_bad_hop"),
        ("another LID", forge.with(|spec| spec.dlid = Lid(0x3333)), port, "dlid_mismatch"),
        ("a wrong Q_Key", forge.with(|spec| spec.qkey = QKey(0x1234)), port, "qkey_mismatch"),
        ("a wrong P_Key", forge.with(|spec| spec.pkey = PKey(0x8123)), port, "pkey_mismatch"),
        ("queue pair 0", forge.with(|spec| spec.dest_qp = Qpn::SMI), port, "qp0_lane"),
        ("nobody's queue pair", forge.with(|spec| spec.dest_qp = thief.qpn), port, "no_qp"),
        ("no IPoIB header", forge.datagram(&[8, 0]), interface, "rx_runt"),
        (
            "an unknown EtherType",
            forge.datagram(&[encapsulated(EtherType(0x88b5), [0; 2]), vec![0; 40]].concat()),
            interface,
            "rx_unsupported_protocol",
        ),
        ("addresses of 6 octets", forge.datagram(&long_address), interface, "rx_bad_arp"),
        (
            "another's address claimed",
            forge.datagram(&forge.arp(ArpOp::REPLY, thief, server, client)?),
            interface,
            "rx_forged_arp",
        ),
        (
            "ARP of another partition",
            bytes(PacketSpec { pkey: PKey(0x8123), ..forge.spec() }, &poison),
            port,
            "pkey_mismatch",
        ),
    ];
    for (what, packet, (node, part), name) in &kinds {
        let before = lab.count(node, part, name)?;
        if !bench.is_tricked("silent") {
            lab.client()?.inject(&client.name, &digits(packet), false)?;
        }
        eventually(&format!("{what} is counted as {name}"), bench.limit(ACTIVE), || {
            Ok((lab.count(node, part, name)? == before + 1).then_some(()))
        })?;
    }
    if bench.is_tricked("a member") {
        lab.client()?.inject(&client.name, &digits(&forge.datagram(&poison)), false)?;
    }
    at_a_switch(bench, &forge)?;
    reserved(bench, &forge)?;
    let now = bench.sh(client, &format!("ip neigh show {}", server.v4))?;
    let address = |said: &str| said.split("lladdr ").nth(1).map(|rest| rest[..17].to_owned());
    if address(&known) != address(&now) {
        bail!("{} was at `{}` and is at `{}`", server.v4, known.trim(), now.trim());
    }
    let poisoned = bench.sh(client, &format!("ip neigh show {}", nobody.v4))?;
    if !poisoned.is_empty() {
        bail!("a frame of another partition got into the table of neighbours: {poisoned}");
    }
    bench.comes_back(client, &server.v4, ACTIVE)?;
    Ok(format!("{} kinds, each counted by its cause; no neighbour has changed", kinds.len() + 1))
}

/// A switch has no way to a LID that nobody has.
fn at_a_switch(bench: &Bench<'_>, forge: &Forge) -> Result<()> {
    let (lab, client) = (bench.lab()?, bench.client()?);
    let own = format!("{}:{}", client.name, PortNum(1));
    let links = lab.show(Noun::Links)?;
    let other = links.iter().find_map(|row| match (row["a"].as_str()?, row["b"].as_str()?) {
        (a, b) if a == own => Some(b.to_owned()),
        (a, b) if b == own => Some(a.to_owned()),
        _ => None,
    });
    let port = other.with_context(|| format!("no cable at {own}"))?;
    let (node, number) = port.split_once(':').context("a port without a number")?;
    let part = format!("port {number}");
    let before = lab.count(node, &part, "no_route")?;
    lab.client()?.inject(&port, &digits(&forge.with(|spec| spec.dlid = Lid(0x3333))), false)?;
    eventually("a LID of nobody is counted as no_route", bench.limit(ACTIVE), || {
        Ok((lab.count(node, &part, "no_route")? == before + 1).then_some(()))
    })
    .map(drop)
}

/// What a sender puts into the reserved octets is none of the receiver's business: RFC 4391 §6.
fn reserved(bench: &Bench<'_>, forge: &Forge) -> Result<()> {
    let (lab, client, server) = (bench.lab()?, bench.client()?, bench.server()?);
    let asked = || -> Result<u64> {
        let said = bench.sh(client, "sed -n 's/^Icmp: [0-9]/&/p' /proc/net/snmp")?;
        let echos = said.split_whitespace().nth(ICMP_IN_ECHOS).context("no ICMP counters")?;
        Ok(echos.parse()?)
    };
    let before = asked()?;
    let mut ip = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0];
    for host in [server, client] {
        ip.extend(host.v4.parse::<std::net::Ipv4Addr>()?.octets());
    }
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let mut echo = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    let payload = [encapsulated(EtherType::IPV4, [0xff; 2]), ip, echo].concat();
    lab.client()?.inject(&client.name, &digits(&forge.datagram(&payload)), false)?;
    eventually("an echo request with reserved bits set arrives", bench.limit(ACTIVE), || {
        Ok((asked()? > before).then_some(()))
    })
    .map(drop)
}

/// Place of InEchos among the words of the line.
const ICMP_IN_ECHOS: usize = 9;

/// The checksum of IP and ICMP over words that begin with a zero in its place.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(0)).to_be_bytes()
}
