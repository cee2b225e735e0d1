//! Drivers that are as they should be.

use std::time::Duration;

use ib_lab::PortRequest;
use ib_wire::{
    addr::{PKey, QKey, Qpn, Rate, ServiceLevel},
    mad::attr::PortState,
    offload::Offload,
    payload::{Payload, Pool},
    ud::{AddressVector, PortView, QpCommand, UdSend},
};

use super::scene::{Scene, hello};
use crate::attach::{Asking, FromFabric, Port};

const QKEY: QKey = QKey(0x0b1b);

/// One of them.
pub(in crate::attach) struct Honest {
    port: Port,
    qpn: Qpn,
    view: Option<PortView>,
    heard: Vec<Payload>,
    pool: Pool,
}

impl Honest {
    /// Gets its port, and waits until it is Active.
    pub(in crate::attach) fn attach(scene: &mut Scene, node: &str) -> Self {
        let asking = Asking::start(&scene.path, &hello(node, None)).expect("a fabric");
        scene.turn(3);
        let (port, granted) = asking.poll().expect("no refusal").expect("an answer");
        let pool = Pool::new(crate::face::BUFFER, 4);
        let mut honest = Self { port, qpn: Qpn::new(granted.qpns[0]), view: None, heard: Vec::new(), pool };
        honest.ask(scene, &PortRequest::Qp(QpCommand::SetKeys { pkey: PKey::DEFAULT_FULL, qkey: QKEY }));
        for _ in 0..20 {
            scene.wait(Duration::from_millis(100));
            honest.listen();
            if honest.view.as_ref().is_some_and(|view| view.state == PortState::ACTIVE) {
                return honest;
            }
        }
        panic!("{node} is not Active: {:?}", honest.view);
    }

    /// A datagram gets from one to the other.
    pub(in crate::attach) fn talk(&mut self, to: &mut Self, scene: &mut Scene, number: u32) {
        // Whatever came meanwhile may have filled its ring.
        to.listen();
        let text = [&b"\x08\0\0\0"[..], &number.to_be_bytes()].concat();
        self.send(to, scene, &text);
        assert!(to.has_heard(&text), "number {number} is lost");
    }

    /// Sends a datagram to one that does not listen meanwhile.
    pub(in crate::attach) fn send(&mut self, to: &Self, scene: &mut Scene, text: &[u8]) {
        let dlid = to.view.as_ref().expect("it is Active").lid;
        let send = UdSend {
            to: AddressVector { dlid, sl: ServiceLevel::new(0), rate: Rate(3), global: None },
            dest_qp: to.qpn,
            qkey: QKEY,
            payload: Payload::from(text),
            offload: Offload::NONE,
        };
        self.ask(scene, &PortRequest::Send(send));
    }

    /// Listens; true if this has come since it did last.
    pub(in crate::attach) fn has_heard(&mut self, text: &[u8]) -> bool {
        self.listen();
        self.heard.drain(..).any(|payload| *payload == *text)
    }

    fn ask(&mut self, scene: &mut Scene, request: &PortRequest) {
        self.listen();
        assert!(self.port.write(0, request).expect("a port"), "there is room");
        scene.turn(3);
    }

    fn listen(&mut self) {
        assert!(self.port.bell().drain(), "the fabric is there");
        self.hear(usize::MAX);
    }

    /// Takes so many records from its ring, if there are.
    pub(in crate::attach) fn hear(&mut self, records: usize) {
        for _ in 0..records {
            match self.port.read(&mut self.pool).expect("the fabric makes sense") {
                Some(FromFabric::Received { datagram, .. }) => self.heard.push(datagram.payload),
                Some(FromFabric::Mad { .. }) => {}
                Some(FromFabric::Port { view, .. }) => self.view = Some(view),
                None => return,
            }
        }
    }
}
