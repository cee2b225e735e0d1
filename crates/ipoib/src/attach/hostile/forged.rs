//! A fabric that does what it likes.

use std::{os::fd::AsFd, time::Duration};

use ib_lab::{Driver, DriverOutput, InterfaceId, PortNotice, ToHost};
use ib_wire::{
    addr::{Guid, Lid, Lmc, Mtu, PKey, Qpn, Rate, ServiceLevel, SubnetPrefix, Timeout},
    mad::attr::{PhysicalState, PortState},
    offload::{Checksum, Offload},
    payload::{Payload, Pool},
    time::Instant,
    ud::{MadAddress, PortEvent, PortView, UdReceived},
};
use ipoib_proto::Config;

use super::{
    choices::Choices,
    scene::{hello, new_path},
};
use crate::{
    attach::{
        Asking, FromFabric, Lost, Port, ToDriver,
        hello::{Greeting, Token, emit},
        record,
    },
    control::schema::{Noun, Shown},
    face,
    os::{
        bell::Bell,
        local::{Listener, Packets},
        ring::{self, MIN_RING, Rings, Side},
    },
};

/// Plays the fabric that the bytes describe.
pub fn fabric(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let path = new_path();
    let listener = Listener::bind(&path).expect("a socket");
    let asking = Asking::start(&path, &hello("h1", None)).expect("it listens");
    let theirs = listener.accept().expect("a socket").expect("a connection");
    drop(listener);
    let memory = ring::memory(MIN_RING).expect("memory");
    let (bell, other) = Bell::pair().expect("sockets");
    let mut welcome = emit(&Greeting::Welcome { token: Token(7), qpns: vec![0x48] });
    let fds = [memory.as_fd(), other.as_fd(), memory.as_fd()];
    let fds = match choices.below(16) {
        0 => &fds[1..],
        1 => &fds[..1],
        2 => &fds[..],
        _ => &fds[..2],
    };
    if choices.below(16) == 0 {
        choices.spoil(&mut welcome);
    }
    let _ = theirs.send(&welcome, fds);
    // Anything but a port has a name, or is yet to come.
    let Ok(Ok((port, _))) = asking.poll() else { return };
    let Ok(rings) = Rings::map(memory.as_fd(), Side::Maker, &bell) else { return };
    let mut victim = Victim { port, driver: None, now: Instant::from_secs(1), pool: pool() };
    let mut forger = Forger { theirs, rings, bell };
    while !choices.is_empty() {
        match choices.below(8) {
            0 => choices.scribble(&memory),
            1 => forger.say(&mut choices),
            2 => victim.wait(Duration::from_millis(choices.number::<2>())),
            3 => victim.host_sends(&mut choices),
            _ => forger.write(&mut choices),
        }
        if victim.turn().is_err() {
            return;
        }
    }
}

fn pool() -> Pool {
    Pool::new(face::BUFFER, 4)
}

/// The fabric.
struct Forger {
    theirs: Packets,
    rings: Rings,
    bell: Bell,
}

impl Forger {
    fn say(&self, choices: &mut Choices<'_>) {
        let mut message = match choices.below(3) {
            0 => emit(&ToDriver::Show { id: choices.number::<1>(), noun: Noun::Neighbors }),
            1 => emit(&ToDriver::Leave { why: String::new() }),
            _ => choices.bytes(64).to_vec(),
        };
        if choices.below(3) == 0 {
            choices.spoil(&mut message);
        }
        let _ = self.theirs.send(&message, &[]);
    }

    fn write(&mut self, choices: &mut Choices<'_>) {
        let nth = choices.below(2);
        let mut keys = Vec::new();
        let mut record = match choices.below(4) {
            0 => choices.bytes(200).to_vec(),
            1 => {
                let event = PortEvent::ALL[choices.below(PortEvent::ALL.len())];
                record::of_port(event, &view(choices), &mut keys).slices().concat()
            }
            2 => {
                let mut mad = vec![0; 256];
                let bytes = choices.bytes(120);
                mad[..4].copy_from_slice(&[1, 3, 2, [0x81, 0x92, 6, 0x86][choices.below(4)]]);
                mad[8..8 + bytes.len()].copy_from_slice(bytes);
                let from = MadAddress::gsi(Lid(1), ServiceLevel::new(0));
                let notice = PortNotice::Mad { nth, from, mad: Payload::from(&mad[..]) };
                record::of_notice(&notice).map(|pieces| pieces.slices().concat()).unwrap_or_default()
            }
            _ => {
                let notice = PortNotice::Received { nth, datagram: datagram(choices) };
                record::of_notice(&notice).map(|pieces| pieces.slices().concat()).unwrap_or_default()
            }
        };
        choices.spoil(&mut record);
        for _ in 0..=choices.below(4) {
            let _ = self.rings.writer.write(&[&record]);
        }
        self.bell.ring();
    }
}

fn view(choices: &mut Choices<'_>) -> PortView {
    let small = |choices: &mut Choices<'_>| u16::try_from(choices.below(6)).unwrap_or(0);
    PortView {
        guid: Guid(0x0002_c903_0000_0001),
        prefix: SubnetPrefix(0xfe80 << 48),
        state: PortState([4, 4, 1, 2][choices.below(4)]),
        physical_state: PhysicalState(5),
        lid: Lid(small(choices)),
        lmc: Lmc(0),
        sm_lid: Lid(small(choices)),
        sm_sl: ServiceLevel::new(0),
        mtu: Mtu(4),
        rate: Some(Rate(3)),
        subnet_timeout: Timeout(18),
        pkeys: vec![PKey::DEFAULT_FULL; choices.below(3)],
    }
}

fn datagram(choices: &mut Choices<'_>) -> UdReceived {
    let kind: &[u8] = [&[8, 0, 0, 0][..], &[0x86, 0xdd, 0, 0], &[8, 6, 0, 0]][choices.below(3)];
    let rest = vec![0; choices.below(9000)];
    let payload = [kind, choices.bytes(80), &rest].concat();
    let checksum = match choices.below(3) {
        0 => Checksum::Complete,
        1 => Checksum::Partial { start: 20, offset: 6 },
        _ => Checksum::Partial { start: 40, offset: 16 },
    };
    UdReceived {
        slid: Lid(1),
        dlid: Lid(2),
        sl: ServiceLevel::new(0),
        src_qp: Qpn::new(0x49),
        pkey: PKey::DEFAULT_FULL,
        grh: None,
        payload: Payload::from(&payload[..]),
        offload: Offload { checksum, segments: None },
    }
}

/// A driver.
struct Victim {
    port: Port,
    driver: Option<Driver>,
    now: Instant,
    pool: Pool,
}

impl Victim {
    /// What `ipoib up` does when its bell or its connection has something.
    fn turn(&mut self) -> Result<(), Lost> {
        self.port.bell().hear(false);
        for _ in 0..128 {
            let Some(said) = self.port.read(&mut self.pool)? else { break };
            self.take(said)?;
            self.flush()?;
        }
        while let Some(said) = self.port.listen()? {
            match said {
                ToDriver::Show { id, .. } => {
                    let _ = self.port.answer(id, &Shown::Hosts(Vec::new()));
                }
                ToDriver::Leave { .. } => return Err(Lost::Gone),
            }
        }
        self.flush()
    }

    fn take(&mut self, said: FromFabric) -> Result<(), Lost> {
        match (said, &mut self.driver) {
            (FromFabric::Port { view, .. }, None) => {
                let config = Config::new("h1/ib0".to_owned(), view.guid, Qpn::new(0x48), PKey::DEFAULT_FULL);
                let mut driver = Driver::new(vec![config], &view, 1, self.now)
                    .map_err(|error| Lost::Broken(error.to_string()))?;
                driver.handle_admin(self.now, InterfaceId(0), true);
                self.driver = Some(driver);
            }
            (FromFabric::Port { event, view }, Some(driver)) => driver.handle_port(self.now, event, &view),
            (FromFabric::Received { nth: 0, datagram }, Some(driver)) => {
                driver.handle_datagram(self.now, InterfaceId(0), datagram);
            }
            (FromFabric::Mad { nth: 0, from, mad }, Some(driver)) => {
                driver.handle_mad(self.now, InterfaceId(0), from, &mad);
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Lost> {
        while let Some(output) = self.driver.as_mut().and_then(Driver::poll_output) {
            match output {
                DriverOutput::Host { what: ToHost::Frame(frame), .. } => {
                    // As it would be written to the host.
                    assert!(face::head(&frame.head, &frame.offload).ends_with(&frame.head));
                }
                DriverOutput::Host { .. } => {}
                DriverOutput::Port { interface, request } => {
                    let _ = self.port.write(interface.0, &request)?;
                }
            }
        }
        self.port.has_room().map(drop)
    }

    fn host_sends(&mut self, choices: &mut Choices<'_>) {
        let Some(driver) = &mut self.driver else { return };
        // To a host it may know, or to all.
        let to = [[0xff; 6], [2, 0, 0, 0, 0, 1]][choices.below(2)];
        let frame = [&to[..], &[2; 6], &[8, 0x00], choices.bytes(64)].concat();
        driver.handle_host_frame(self.now, InterfaceId(0), Payload::from(&frame[..]), Offload::NONE);
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..10_000 {
            let next = self.driver.as_ref().and_then(Driver::poll_timeout).filter(|next| *next <= until);
            let (Some(next), Some(driver)) = (next, &mut self.driver) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            driver.handle_timeout(self.now);
            if self.flush().is_err() {
                return;
            }
        }
        panic!("the driver never rests");
    }
}
