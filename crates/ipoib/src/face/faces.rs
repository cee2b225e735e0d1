//! Faces together: what is read of them, and what engines want done to them.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ib_lab::{InterfaceId, ToHost};
use ib_wire::{
    offload::{SegmentKind, Segments},
    payload::{Payload, Pool},
};
use ipoib_proto::{CarrierReason, Event, HostFrame};

use super::{
    Face, LONG, Told,
    bundle::{Frame, Sent, bundle},
    frame, story,
};
use crate::os::{
    poller::{Interest, Poller},
    space::drop_together,
};

/// Faces, each with the number of its interface.
#[derive(Debug)]
pub(crate) struct Faces {
    all: Vec<Face>,
    /// Carrier of every interface, as last told.
    carriers: Vec<CarrierReason>,
    /// A long frame has passed since that was asked last.
    long: bool,
    /// Descriptors: of interface i `first + 2 * i`, and one more for what the kernel tells.
    first: u64,
}

impl Face {
    /// Hands the host a frame; its buffer comes back.
    #[inline]
    fn write(&mut self, frame: HostFrame) -> Payload {
        let head = frame::head(&frame.head, &frame.offload);
        if self.tap.write(&head, &frame.body).is_err() {
            self.counters.host_refused += frame.offload.packets(frame.body.len()) as u64;
        }
        frame.body
    }

    /// The next frame of the host, in this space or else in a buffer of the pool's.
    #[inline]
    fn read(&mut self, poller: &Poller, pool: &mut Pool, mut space: Option<Payload>) -> Option<Frame> {
        loop {
            let mut space = space.take().unwrap_or_else(|| frame::space(pool.take()));
            match self.tap.read(space.make_mut()) {
                Ok(Some(len)) => {
                    self.long = len >= LONG;
                    match frame::received(space, len) {
                        Some(frame) => return Some(frame),
                        None => self.counters.bad_frame += 1,
                    }
                }
                Ok(None) => {
                    pool.recycle(space);
                    return None;
                }
                Err(error) => {
                    tracing::warn!(interface = %self.plan.name, %error, "reading the TAP");
                    let _ = poller.remove(self.tap.as_fd());
                    pool.recycle(space);
                    return None;
                }
            }
        }
    }
}

/// Datagrams with less data are mostly sent one by one.
const SMALL: u16 = 1000;

/// True of a frame that was long when its host sent it, not put together from many.
fn is_long(frame: &HostFrame) -> bool {
    let is_bundle = |how: Segments| how.kind == SegmentKind::Udp && how.size < SMALL;
    frame.body.len() >= LONG && !frame.offload.segments.is_some_and(is_bundle)
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
        Ok(Self { all, carriers, long: false, first })
    }

    /// Which face a number of the poller's belongs to.
    pub(crate) fn spoke(&self, token: u64) -> Option<Spoke> {
        let n = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let id = InterfaceId(n / 2);
        (id.0 < self.all.len()).then_some(if n % 2 == 0 { Spoke::Tap(id) } else { Spoke::Kernel(id) })
    }

    /// Frames to ask the host for in this turn of the loop, at most. A host that sends one frame and waits for an answer
    /// is not asked for another; one that had more last time, or sent in the turn before too, is for all of a burst.
    pub(crate) fn most(&self, id: InterfaceId, turn: u64, burst: usize) -> usize {
        let face = &self.all[id.0];
        if face.had_more || face.turn + 1 == turn { burst } else { 1 }
    }

    /// The host had so many frames in this turn.
    pub(crate) fn had(&mut self, id: InterfaceId, turn: u64, count: usize) {
        let face = &mut self.all[id.0];
        (face.turn, face.had_more) = (turn, count > 1);
    }

    /// True if a long frame has passed, from a host or to one, since this was asked last.
    pub(crate) const fn take_long(&mut self) -> bool {
        std::mem::replace(&mut self.long, false)
    }

    /// True if the last frame of the host was long, so that the next may be.
    pub(crate) fn sends_long(&self, id: InterfaceId) -> bool {
        self.all[id.0].long
    }

    /// What the host sends next, in this space or else in a buffer of the pool's: a frame, or datagrams of one flow that
    /// are carried as one. At most `most` frames are read; the last may be left for the next call.
    pub(crate) fn read(
        &mut self,
        id: InterfaceId,
        poller: &Poller,
        pool: &mut Pool,
        space: Option<Payload>,
        most: usize,
    ) -> Option<Sent> {
        let face = &mut self.all[id.0];
        let bundles = space.is_none() && face.tap.offloads().uso;
        let apart = face.apart.take();
        let first = apart.or_else(|| face.read(poller, pool, space))?;
        let most = if bundles { most } else { 1 };
        let (sent, apart) = bundle(first, most, pool, |pool| face.read(poller, pool, None));
        face.apart = apart;
        self.long |= face.long;
        Some(sent)
    }

    /// True if a frame of the host has been read already.
    pub(crate) fn has_read(&self, id: InterfaceId) -> bool {
        self.all[id.0].apart.is_some()
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

    /// Does what an engine wants for its host. Buffers of frames go to the pool.
    pub(crate) fn carry_out(&mut self, id: InterfaceId, what: ToHost, pool: &mut Pool) {
        let face = &mut self.all[id.0];
        match what {
            ToHost::Frame(frame) => {
                self.long |= is_long(&frame);
                pool.recycle(face.write(frame));
            }
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
                if let Event::AddressChanged { now } = *event {
                    face.show_address(now);
                }
                story::interface(&face.plan, &event);
            }
        }
    }

    /// Takes frames of hosts, or leaves them in the hosts' own queues.
    pub(crate) fn listen(&self, poller: &Poller, on: bool) -> Result<()> {
        let interest = if on { Interest::Read } else { Interest::Errors };
        for (face, token) in self.all.iter().zip((self.first..).step_by(2)) {
            poller.modify(face.tap.as_fd(), token, interest).context("epoll")?;
        }
        Ok(())
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

    /// Interfaces that carry traffic and whose host may send.
    pub(crate) fn sending(&mut self) -> usize {
        let faces = self.all.iter_mut().zip(&self.carriers);
        faces
            .filter(|(_, carrier)| carrier.is_up())
            .filter_map(|(face, _)| face.may_send().then_some(()))
            .count()
    }

    /// True once all carriers are on, and every host may send: some kernels take a moment after the carrier.
    pub(crate) fn are_ready(&mut self) -> bool {
        self.up() == self.all.len() && self.all.iter_mut().all(Face::may_send)
    }

    /// Lets kept interfaces go with this value after all.
    pub(crate) fn release(&self) {
        for face in &self.all {
            if let Err(error) = face.tap.release() {
                tracing::warn!(interface = %face.plan.name, %error, "cannot be removed");
            }
        }
    }

    /// Takes the interfaces away. Kept ones stay.
    pub(crate) fn end(self) {
        drop_together(self.all);
    }
}
