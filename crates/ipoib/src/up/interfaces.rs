//! The interfaces of a driver process, and what stands between them and their port.

use std::collections::VecDeque;

use anyhow::Result;
use ib_lab::{Driver, InterfaceId, PortRequest};
use ib_wire::{
    addr::{PKey, Qpn},
    time::Instant,
    ud::PortView,
};
use ipoib_proto::Config;

use super::{UpPlan, state::State};
use crate::{
    face::{self, FacePlan, Faces, Maker, Told},
    os::{clock, poller::Poller},
};

/// The interfaces, once the port is known.
pub(super) struct Interfaces {
    pub(super) engines: Driver,
    pub(super) faces: Faces,
    /// The port as it was last.
    pub(super) view: PortView,
    /// What waits for room in the ring. Frames of the host are left where they are meanwhile, so it is bounded by what
    /// engines ask of themselves.
    pub(super) backlog: VecDeque<(InterfaceId, PortRequest)>,
    /// Frames of the host are taken.
    pub(super) listens: bool,
    /// Interfaces with carrier, as the fabric was told.
    pub(super) told_up: usize,
}

impl Interfaces {
    /// Makes them in the host, or takes over those that are there; `first` is the first of the poller's numbers that are
    /// theirs.
    pub(super) fn make(
        now: Instant,
        plan: &UpPlan,
        state: &State,
        view: PortView,
        poller: &Poller,
        first: u64,
    ) -> Result<Self> {
        let keys = std::iter::once(PKey::DEFAULT_FULL).chain(plan.children.iter().copied());
        let configs: Vec<Config> = plan
            .names()
            .into_iter()
            .zip(keys)
            .enumerate()
            .map(|(nth, (name, pkey))| {
                let qpn = Qpn::new(state.qpn(nth).unwrap_or_default());
                Config {
                    max_address_vector: plan.max_address_vector,
                    max_groups: plan.max_groups,
                    tx_ring_size: plan.tx_ring_size,
                    ..Config::new(format!("{}/{name}", plan.node), view.guid, qpn, pkey)
                }
            })
            .collect();
        let engines = Driver::new(configs, &view, clock::now().as_nanos(), now)?;
        let addresses = std::iter::once(&plan.addresses).chain(&plan.child_addresses);
        let addresses = addresses.cloned().chain(std::iter::repeat(Vec::new()));
        let mut faces = Vec::new();
        for ((engine, name), addresses) in engines.interfaces().iter().zip(plan.names()).zip(addresses) {
            let mut face = FacePlan::new(plan.node.as_str().into(), name, engine);
            face.addresses.extend(addresses);
            face.alone = plan.children.is_empty() && !plan.shares_host;
            faces.push(face::make(face, Maker::Driver)?);
        }
        let faces = Faces::new(faces, poller, first)?;
        let (backlog, listens, told_up) = (VecDeque::new(), true, 0);
        Ok(Self { engines, faces, view, backlog, listens, told_up })
    }

    /// What the kernel has to say of one of them.
    pub(super) fn tell(&mut self, now: Instant, id: InterfaceId, told: Told) {
        match told {
            Told::Admin(up) => self.engines.handle_admin(now, id, up),
            Told::Host(event) => self.engines.handle_host(now, id, event),
            Told::Overrun => {}
        }
    }
}
