//! One port of a small managed subnet leads out of it, and whoever is there sends what he likes: bytes, packets with
//! right checksums, SMPs, large sends that are not quite what they were.
//!
//! Whatever comes: no panic, no storm, what leaves is whole packets, and the link is up only while somebody is heard.

use std::{sync::Arc, time::Duration};

use arbitrary::{Result, Unstructured};
use ib_fabric::{LinkId, OutsideConfig, topology};
use ib_lab::{InterfaceId, Lab, LabConfig, Output};
use ib_wire::{
    addr::PortNum,
    offload::{Checksum, Offload, SegmentKind, Segments},
    packet::Packet,
    payload::Payload,
    time::Instant,
};

use crate::{
    fabric::{datagram, fault, few, gmp, smp, spec},
    packet::with_checksums,
};

/// Plays the neighbour that the bytes describe.
pub fn check(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    // Running out of bytes only ends the scenario.
    let _ = play(&mut input);
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut scene = Scene::new(input.arbitrary()?);
    while !input.is_empty() {
        scene.step(input)?;
        scene.look();
    }
    scene.wait(Duration::from_secs(20));
    let view = scene.lab.fabric().outside(scene.link).expect("it is still bound");
    assert!(!view.up, "nobody has said anything for longer than the idle time");
    Ok(())
}

struct Scene {
    lab: Lab,
    link: LinkId,
    now: Instant,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let now = Instant::from_secs(1);
        let topology = topology::generate("star:2").expect("a plan that there is");
        let mut lab = Lab::new(LabConfig { seed, ..LabConfig::new(topology) }, now).expect("it can be built");
        let interfaces = lab.interfaces().len();
        (0..interfaces).for_each(|i| lab.handle_admin(now, InterfaceId(i), true));
        let link = bind(&mut lab, now);
        let mut scene = Self { lab, link, now };
        scene.wait(Duration::from_secs(2));
        scene
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (now, link) = (self.now, self.link);
        match input.int_in_range(0..=9)? {
            0 => self.wait(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            1 | 2 => {
                let raw = few(input)?;
                let bytes = if input.arbitrary()? { with_checksums(&raw) } else { raw };
                self.come(&bytes);
            }
            3 | 4 => self.come_packet(&smp(input)?),
            5 => self.come_packet(&gmp(input)?),
            6 => self.come_packet(&datagram(input)?),
            7 => self.many(input)?,
            8 => {
                let fault = fault(input)?;
                self.lab.with_fabric(now, |fabric| fabric.set_link_fault(now, link, fault));
            }
            _ => {
                self.lab.with_fabric(now, |fabric| fabric.unbind(now, link));
                assert_eq!(bind(&mut self.lab, now), link);
            }
        }
        Ok(())
    }

    fn come(&mut self, bytes: &[u8]) {
        let (now, link) = (self.now, self.link);
        self.lab.with_fabric(now, |fabric| fabric.handle_outside(now, link, Payload::from(bytes)));
    }

    fn come_packet(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.emit(&mut bytes);
        self.come(&bytes);
    }

    /// Packets of one large send in one buffer, some with other bytes in them.
    fn many(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let v6 = input.arbitrary()?;
        let (kind, transport) = if v6 { (SegmentKind::Tcp6, 40) } else { (SegmentKind::Tcp4, 20) };
        let mut ip = vec![0; usize::from(transport) + 20 + input.int_in_range(1..=9000)?];
        (ip[0], ip[6], ip[9]) = if v6 { (0x60, 6, 0) } else { (0x45, 0, 6) };
        (ip[usize::from(transport) + 12], ip[usize::from(transport) + 13]) = (5 << 4, 0x10);
        let size = input.int_in_range(100..=2000)?;
        let segments = Segments { kind, size, header: transport + 20, ecn: false };
        let checksum = Checksum::Partial { start: transport, offset: 16 };
        let ether_type = if v6 { [0x86, 0xdd, 0, 0] } else { [8, 0, 0, 0] };
        let payload = Payload::from(&[&ether_type[..], &ip].concat()[..]);
        let packet = Packet::new(spec(input)?, payload, Offload { checksum, segments: Some(segments) });
        let mut buffer = Vec::new();
        let length = packet.emit_all(&mut buffer).expect("that is how a large send looks");
        for _ in 0..input.int_in_range(0..=2)? {
            let which = input.choose_index(buffer.len().div_ceil(length))?;
            let end = buffer.len().min((which + 1) * length);
            let at = which * length + input.int_in_range(0..=120)?;
            if let Some(byte) = buffer[..end].get_mut(at) {
                *byte = input.arbitrary()?;
                let again = with_checksums(&buffer[which * length..end - 2]);
                if again.len() == end - which * length {
                    buffer[which * length..end].copy_from_slice(&again);
                }
            }
        }
        let segment = if input.ratio(1, 8)? { input.int_in_range(0..=3000)? } else { length };
        let (now, link) = (self.now, self.link);
        let mut shared: Arc<[u8]> = buffer.into();
        let held = input.ratio(1, 8)?.then(|| Arc::clone(&shared));
        let range = 0..shared.len();
        self.lab
            .with_fabric(now, |fabric| fabric.handle_outside_many(now, link, &mut shared, range, segment));
        drop(held);
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..200_000 {
            self.look();
            match self.lab.poll_timeout() {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = until;
                    return;
                }
            }
            self.lab.handle_timeout(self.now);
        }
        panic!("the subnet never rests");
    }

    /// What has left must be packets, each of which the far end could take.
    fn look(&mut self) {
        while let Some(output) = self.lab.poll_output() {
            let Output::Leaves { link, packet } = output else { continue };
            assert_eq!(link, self.link);
            let mut bytes = Vec::new();
            let length =
                packet.emit_all(&mut bytes).expect("what came was looked at before it was put together");
            assert!(bytes.chunks(length).all(|bytes| Packet::parse(bytes).is_ok()));
            assert_eq!(bytes.len().div_ceil(length), packet.measure().packets as usize);
        }
        let view = self.lab.fabric().outside(self.link).expect("it is bound");
        assert!(!view.up || view.heard.is_some_and(|heard| self.now.since(heard) <= view.config.idle));
    }
}

fn bind(lab: &mut Lab, now: Instant) -> LinkId {
    lab.with_fabric(now, |fabric| {
        let switch = fabric.node("sw1").expect("a star has a switch");
        fabric.bind(now, switch, PortNum(7), OutsideConfig::default()).expect("a free port")
    })
}
