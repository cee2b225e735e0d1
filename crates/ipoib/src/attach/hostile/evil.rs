//! A driver that does what it likes.

use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use ib_lab::PortRequest;
use ib_wire::{
    addr::{Gid, Lid, MulticastGid, PKey, QKey, Qpn, Rate, ServiceLevel},
    offload::{Checksum, Offload, SegmentKind, Segments},
    payload::Payload,
    ud::{AddressVector, MadAddress, QpCommand, UdSend},
};

use super::{
    choices::Choices,
    honest::Honest,
    scene::{Scene, hello},
};
use crate::{
    attach::{
        hello::{Greeting, MAX_MESSAGE, ToFabric, Token, emit, read},
        record,
    },
    control::schema::Noun,
    os::{
        bell::Bell,
        local::Packets,
        ring::{Rings, Side},
    },
};

/// Plays the driver that the bytes describe, beside two good ones.
pub fn driver(bytes: &[u8]) {
    let (mut choices, mut scene) = (Choices::new(bytes), Scene::new());
    let (mut one, mut other) = (Honest::attach(&mut scene, "h1"), Honest::attach(&mut scene, "h3"));
    let (mut evil, mut number) = (Evil::attach(&mut scene, None), 0);
    while !choices.is_empty() {
        if evil.packets.is_over() {
            evil = evil.come_again(&mut scene);
        }
        evil.step(&mut choices, &mut scene);
        scene.turn(2);
        number += 1;
        if number % 4 == 0 {
            one.talk(&mut other, &mut scene, number);
        }
    }
    other.talk(&mut one, &mut scene, number);
    evil.come_again(&mut scene);
    one.talk(&mut other, &mut scene, number + 1);
}

/// It, and what it was given.
pub(in crate::attach) struct Evil {
    pub(in crate::attach) packets: Packets,
    memory: OwnedFd,
    pub(in crate::attach) bell: Option<OwnedFd>,
    pub(in crate::attach) rings: Rings,
    pub(in crate::attach) token: Token,
    /// Questions it was asked.
    owed: Vec<u64>,
}

impl Evil {
    pub(in crate::attach) fn attach(scene: &mut Scene, token: Option<Token>) -> Self {
        let packets = Packets::connect(&scene.path).expect("a fabric");
        packets.send(&emit(&hello("h2", token)), &[]).expect("room for a hello");
        scene.turn(3);
        let (mut space, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let len = packets.receive_with(&mut space, &mut fds).expect("a connection").expect("an answer");
        let greeting: Greeting = read(&space[..len]).expect("JSON");
        let Greeting::Welcome { token, .. } = greeting else { panic!("a free port: {greeting:?}") };
        let [memory, bell]: [OwnedFd; 2] = fds.try_into().expect("two descriptors");
        let rings = rings(&memory, &bell);
        Self { packets, memory, bell: Some(bell), rings, token, owed: Vec::new() }
    }

    /// Ends the connection, keeps what it was given for a moment, and gets the port once more.
    fn come_again(self, scene: &mut Scene) -> Self {
        let Self { packets, token, .. } = self;
        drop(packets);
        scene.turn(1);
        Self::attach(scene, Some(token))
    }

    fn step(&mut self, choices: &mut Choices<'_>, scene: &mut Scene) {
        match choices.below(12) {
            0 => scene.wait(Duration::from_millis(choices.number::<1>() * 4)),
            1 | 2 => choices.scribble(&self.memory),
            3..=5 => {
                let record = self.record(choices);
                let _ = self.rings.writer.write(&[&record]);
            }
            6 => {
                let record = self.record(choices);
                while let Ok(true) = self.rings.writer.write(&[&record]) {}
            }
            7 => self.say(choices),
            8 => self.ring(choices),
            9 => {
                if let Some(bell) = &self.bell {
                    self.rings = rings(&self.memory, bell);
                }
            }
            10 => {
                let _ = scene.attach.ask(choices.number::<1>(), Noun::Hosts);
                let mut space = vec![0; MAX_MESSAGE];
                while let Ok(Some(len @ 1..)) = self.packets.receive(&mut space) {
                    let question = serde_json::from_slice::<serde_json::Value>(&space[..len]).ok();
                    self.owed.extend(question.and_then(|question| question["show"]["id"].as_u64()));
                }
            }
            _ => self.greet(choices, scene),
        }
    }

    /// Something like a record.
    fn record(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        if choices.below(4) == 0 {
            return [&u16::try_from(choices.below(12)).unwrap_or(0).to_ne_bytes(), choices.bytes(200)]
                .concat();
        }
        let request = request(choices);
        let mut record = record::of_request(choices.below(3), &request).slices().concat();
        choices.spoil(&mut record);
        record
    }

    fn say(&mut self, choices: &mut Choices<'_>) {
        let mut message = match choices.below(4) {
            0 => choices.bytes(64).to_vec(),
            1 => emit(&ToFabric::Up { interfaces: choices.below(1 << 16) }),
            _ => emit(&ToFabric::Shown { id: self.owed.pop().unwrap_or_else(|| choices.number::<1>()) }),
        };
        if choices.below(4) == 0 {
            choices.spoil(&mut message);
        }
        let file = file(choices.bytes(64));
        let sent: &[BorrowedFd<'_>] = match choices.below(4) {
            0 => &[],
            1 => &[self.packets.as_fd()],
            2 => &[self.memory.as_fd(), file.as_fd()],
            _ => &[file.as_fd()],
        };
        for _ in 0..=choices.below(40) {
            let _ = self.packets.send(&message, sent);
        }
    }

    fn ring(&mut self, choices: &mut Choices<'_>) {
        let Some(bell) = &self.bell else { return };
        let _ = rustix::io::ioctl_fionbio(bell, choices.below(2) == 0);
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        let _ = rustix::net::send(bell, &vec![1; choices.below(1 << 16)], flags);
        if choices.below(16) == 0 {
            self.bell = None;
        }
    }

    /// Says hello beside the connection it has.
    fn greet(&self, choices: &mut Choices<'_>, scene: &mut Scene) {
        let Ok(packets) = Packets::connect(&scene.path) else { return };
        // Tokens of others are secrets, so ports of others are out of reach while they have them.
        let node = ["h1", "h2", "h3", "sw1", "nobody"][choices.below(5)];
        let mut hello = hello(node, (choices.below(2) == 0).then_some(self.token));
        hello.port = choices.below(3).to_le_bytes()[0];
        hello.takeover = node != "h2" && choices.below(2) == 0;
        let wanted = hello.interfaces[0].clone();
        hello.interfaces.resize(choices.below(80), wanted);
        let mut message = emit(&hello);
        if choices.below(3) == 0 {
            choices.spoil(&mut message);
        }
        let _ = packets.send(&message, &[]);
        scene.turn(3);
    }
}

fn rings(memory: &OwnedFd, bell: &OwnedFd) -> Rings {
    let bell = Bell::from(bell.try_clone().expect("a descriptor"));
    Rings::map(memory.as_fd(), Side::Guest, &bell).expect("the memory cannot be made worse")
}

/// A file in memory.
fn file(bytes: &[u8]) -> File {
    let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    let mut file = File::from(file);
    file.write_all(bytes).expect("memory");
    file
}

fn request(choices: &mut Choices<'_>) -> PortRequest {
    let mut gid = [0xff; 16];
    gid[15] = choices.number::<1>().to_le_bytes()[0];
    let mgid = MulticastGid::try_from(Gid(gid)).expect("it begins with ff");
    let mlid = Lid(0xc000 + u16::try_from(choices.below(4)).unwrap_or(0));
    let sl = ServiceLevel::new(0);
    match choices.below(6) {
        0 => PortRequest::Qp(QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKey(0x0b1b) }),
        1 => PortRequest::Qp(QpCommand::Attach { mgid, mlid }),
        2 => PortRequest::Qp(QpCommand::Detach { mgid, mlid }),
        3 => {
            let mut mad = [0; 256];
            let bytes = choices.bytes(100);
            mad[..4].copy_from_slice(&[1, 3, 2, [1, 2, 0x12, 0x15][choices.below(4)]]);
            mad[16..18].copy_from_slice(&u16::try_from(choices.below(0x40)).unwrap_or(0).to_be_bytes());
            mad[24..24 + bytes.len()].copy_from_slice(bytes);
            let to = Lid(u16::try_from(choices.below(6)).unwrap_or(0));
            PortRequest::Mad { to: MadAddress::gsi(to, sl), mad: Box::new(mad) }
        }
        _ => {
            let segments = Segments { kind: SegmentKind::Tcp4, size: 1000, header: 40, ecn: false };
            let offload = match choices.below(3) {
                0 => Offload::NONE,
                1 => Offload { checksum: Checksum::Partial { start: 20, offset: 16 }, segments: None },
                _ => Offload {
                    checksum: Checksum::Partial { start: 20, offset: 16 },
                    segments: Some(segments),
                },
            };
            let mut payload = vec![0; choices.below(1 << 16)];
            let first = choices.bytes(64);
            let len = first.len().min(payload.len());
            payload[..len].copy_from_slice(&first[..len]);
            let dlid = Lid(u16::try_from(choices.below(8)).unwrap_or(0));
            let to = AddressVector { dlid, sl, rate: Rate(3), global: None };
            let dest_qp = Qpn::new(u32::try_from(choices.number::<2>()).unwrap_or(0));
            let payload = Payload::from(&payload[..]);
            PortRequest::Send(UdSend { to, dest_qp, qkey: QKey(0x0b1b), payload, offload })
        }
    }
}
