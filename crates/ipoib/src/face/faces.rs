//! Faces together: what is read of them, and what engines want done to them.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ib_lab::{InterfaceId, ToHost};
use ib_wire::{
    offload::Offload,
    payload::{Payload, Pool},
};
use ipoib_proto::{CarrierReason, Event, HostFrame};

use super::{Face, Told, frame, story};
use crate::os::{
    poller::{Interest, Poller},
    space::drop_together,
};

/// Buffers kept for frames when none is under way.
const POOL: usize = 64;

/// Faces, each with the number of its interface.
#[derive(Debug)]
pub(crate) struct Faces {
    all: Vec<Face>,
    /// Carrier of every interface, as last told.
    carriers: Vec<CarrierReason>,
    pool: Pool,
    /// Descriptors: of interface i `first + 2 * i`, and one more for what the kernel tells.
    first: u64,
}

/// What a descriptor of a face is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoke {
    /// The host sends.
    Tap(InterfaceId),
    /// The kernel has news.
    Kernel(InterfaceId),
}

impl Faces {
    /// Listens to these faces; `first` is the first of the poller's numbers that are theirs.
    pub(crate) fn new(all: Vec<Face>, poller: &Poller, first: u64) -> Result<Self> {
        for (face, token) in all.iter().zip((first..).step_by(2)) {
            poller.add(face.tap.as_fd(), token, Interest::Read).context("epoll")?;
            poller.add(face.monitor.as_fd(), token + 1, Interest::Read).context("epoll")?;
        }
        let carriers = vec![CarrierReason::AdminDown; all.len()];
        Ok(Self { all, carriers, pool: Pool::new(frame::BUFFER, POOL), first })
    }

    /// Which face a number of the poller's belongs to.
    pub(crate) fn spoke(&self, token: u64) -> Option<Spoke> {
        let n = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let id = InterfaceId(n / 2);
        (id.0 < self.all.len()).then_some(if n % 2 == 0 { Spoke::Tap(id) } else { Spoke::Kernel(id) })
    }

    /// The next frame that the host sends.
    pub(crate) fn read(&mut self, id: InterfaceId, poller: &Poller) -> Option<(Payload, Offload)> {
        let face = &mut self.all[id.0];
        loop {
            let mut buffer = self.pool.take();
            let space = std::sync::Arc::get_mut(&mut buffer).map(frame::space)?;
            match face.tap.read(space) {
                Ok(Some(len)) => match frame::received(buffer, len) {
                    Some(frame) => return Some(frame),
                    None => face.counters.bad_frame += 1,
                },
                Ok(None) => {
                    self.pool.give(buffer);
                    return None;
                }
                Err(error) => {
                    tracing::warn!(interface = %face.plan.name, %error, "reading the TAP");
                    let _ = poller.remove(face.tap.as_fd());
                    self.pool.give(buffer);
                    return None;
                }
            }
        }
    }

    /// The next thing that the kernel tells.
    pub(crate) fn hear(&mut self, id: InterfaceId, poller: &Poller) -> Option<Told> {
        let face = &mut self.all[id.0];
        face.poll_told().unwrap_or_else(|error| {
            tracing::warn!(interface = %face.plan.name, %error, "listening to the kernel");
            let _ = poller.remove(face.monitor.as_fd());
            None
        })
    }

    /// All that the kernel would have told, of a face that missed some of it.
    pub(crate) fn resync(&mut self, id: InterfaceId) -> Result<Vec<Told>> {
        let face = &mut self.all[id.0];
        face.resync().with_context(|| face.plan.name.clone())
    }

    /// Does what an engine wants for its host.
    pub(crate) fn carry_out(&mut self, id: InterfaceId, what: ToHost) {
        let face = &mut self.all[id.0];
        match what {
            ToHost::Frame(frame) => self.write(id, frame),
            ToHost::Carrier { on, reason } => {
                if on != self.carriers[id.0].is_up() {
                    face.set_carrier(on);
                }
                self.carriers[id.0] = reason;
                story::carrier(&face.plan, on, reason);
            }
            ToHost::Mtu(mtu) => face.set_mtu(mtu),
            ToHost::ForgetNeighbor { mac, ip } => face.forget(mac, ip),
            ToHost::Event(event) => {
                if let Event::AddressChanged { now } = event {
                    face.show_address(now);
                }
                story::interface(&face.plan, &event);
            }
        }
    }

    #[inline]
    fn write(&mut self, id: InterfaceId, frame: HostFrame) {
        let face = &mut self.all[id.0];
        let head = frame::head(&frame.head, &frame.offload);
        if face.tap.write(&head, &frame.body).is_err() {
            face.counters.host_refused += 1;
        }
        self.pool.give(frame.body.into_buffer());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Face> {
        self.all.iter()
    }

    /// Interfaces whose carrier is on.
    pub(crate) fn up(&self) -> usize {
        self.carriers.iter().filter(|reason| reason.is_up()).count()
    }

    /// True once all carriers are on, and every host may send: some kernels take a moment after the carrier.
    pub(crate) fn are_ready(&mut self) -> bool {
        self.up() == self.all.len() && self.all.iter_mut().all(Face::may_send)
    }

    /// Takes the interfaces away. Kept ones stay.
    pub(crate) fn end(self) {
        drop_together(self.all);
    }
}
