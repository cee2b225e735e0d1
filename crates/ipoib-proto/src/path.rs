//! Ways to other ports: asked of subnet administration once, kept as address handles, bounded, the least
//! recently used given up first.
//!
//! A way once known is used until something better is known: it never ages, so unicast outlives the subnet
//! manager; what may be outdated is confirmed while traffic goes on.

use alloc::vec::Vec;

use ib_wire::{
    addr::{Gid, Lid, Mtu, QKey},
    mad::{
        Method,
        attr::PathRecord,
        sa::{RecordId, path_mask},
    },
    packet::GlobalRoute,
    time::Instant,
    ud::{AddressVector, UdSend},
};

use crate::{
    Drop, Event, Output, PathSnapshot, SaFailure,
    broadcast::Local,
    chance::backoff,
    context::Context,
    lru::{Id, Lru},
    map::{Map, map},
    queue::{Queue, Waiting},
    sa::{Answer, Question, SaClient, Subject},
};

/// What is known of the way to a port.
#[derive(Debug)]
enum State {
    /// Asked for the first time; packets wait.
    Querying,
    /// Known.
    Known(Known),
    /// Cannot be had; not asked for again before `until`.
    Failed { since: Instant, until: Instant },
}

#[derive(Debug)]
struct Known {
    to: AddressVector,
    mtu: Mtu,
    /// When it was confirmed: of an older epoch than the table's it is stale.
    epoch: u32,
    /// It is being confirmed.
    asking: bool,
    /// Not to be confirmed before.
    not_before: Instant,
}

/// How to send to a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) to: AddressVector,
    pub(crate) qkey: QKey,
    /// It should be confirmed.
    pub(crate) stale: bool,
}

#[derive(Debug)]
struct Path {
    gid: Gid,
    state: State,
    queue: Queue,
    failures: u32,
    /// Peers that use it.
    users: u32,
}

/// The paths of an interface.
#[derive(Debug)]
pub(crate) struct Paths {
    table: Lru<Path>,
    ids: Map<Gid, Id>,
    handles: usize,
    epoch: u32,
    /// Stale paths are not confirmed before: the members of a subnet spread their questions.
    confirm_from: Instant,
    qkey: QKey,
    traffic_class: u8,
}

impl Paths {
    /// No paths.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            table: Lru::new(),
            ids: map(seed),
            handles: 0,
            epoch: 0,
            confirm_from: Instant::ZERO,
            qkey: QKey(0),
            traffic_class: 0,
        }
    }

    /// What the broadcast group says about unicast. RFC 4391 §9.1.2.
    pub(crate) const fn set_link(&mut self, qkey: QKey, traffic_class: u8) {
        (self.qkey, self.traffic_class) = (qkey, traffic_class);
    }

    /// The path to `gid` for one more peer, new if need be; another may be given up for it.
    pub(crate) fn open(&mut self, cx: &mut Context, sa: &mut SaClient, gid: Gid) -> Id {
        if let Some(id) = self.ids.get(&gid).copied() {
            self.table.touch(id).expect("names and paths come and go together").users += 1;
            return id;
        }
        while self.table.len() >= cx.config.max_address_vector {
            let oldest = self.table.oldest().expect("a full table has an oldest");
            if self.remove(cx, sa, oldest, Drop::TxPathEvicted) {
                cx.counters.handles_evicted += 1;
            }
        }
        let state = State::Failed { since: cx.now, until: cx.now };
        let id = self.table.insert(Path { gid, state, queue: Queue::default(), failures: 0, users: 1 });
        self.ids.insert(gid, id);
        id
    }

    /// One peer less uses the path; without users it is given up at once. That it cannot be had stays known:
    /// the host, told to forget the neighbour, comes back soon.
    pub(crate) fn close(&mut self, cx: &mut Context, sa: &mut SaClient, id: Id) {
        if let Some(path) = self.table.get_mut(id) {
            path.users -= 1;
            if path.users == 0 && !matches!(path.state, State::Failed { until, .. } if until > cx.now) {
                self.remove(cx, sa, id, Drop::TxPeerGone);
            }
        }
    }

    /// Forgets what could not be had and nobody asks for any more.
    pub(crate) fn sweep(&mut self, cx: &mut Context, sa: &mut SaClient) {
        let over = |path: &Path| {
            path.users == 0 && matches!(path.state, State::Failed { until, .. } if until <= cx.now)
        };
        let over: Vec<Id> = self.table.iter().filter(|(_, path)| over(path)).map(|(id, _)| id).collect();
        for id in over {
            self.remove(cx, sa, id, Drop::TxPeerGone);
        }
    }

    /// The address handle of a path, if it is known; it counts as used.
    #[inline]
    pub(crate) fn handle(&mut self, id: Id) -> Option<Handle> {
        let path = self.table.touch(id)?;
        let State::Known(known) = &path.state else { return None };
        let stale = known.epoch != self.epoch && !known.asking;
        Some(Handle { to: known.to, qkey: self.qkey, stale })
    }

    /// Lets `packet` wait for a path that is not known, and asks for it unless it lately could not be had.
    /// Gives the packet back if the path is no more.
    pub(crate) fn wait(
        &mut self,
        cx: &mut Context,
        sa: &mut SaClient,
        local: &Local,
        id: Id,
        packet: Waiting,
    ) -> Result<(), Waiting> {
        let Some(path) = self.table.get_mut(id) else { return Err(packet) };
        let ask = match path.state {
            State::Failed { until, .. } if until > cx.now => {
                cx.discard_all(Drop::TxPathFailed, packet.packets());
                return Ok(());
            }
            State::Failed { .. } => true,
            _ => false,
        };
        let limit = cx.config.path_queue;
        path.queue.push(cx, limit, Drop::TxPathQueueFull, packet);
        if ask {
            path.state = State::Querying;
            let gid = path.gid;
            self.ask(cx, sa, local, gid);
        }
        Ok(())
    }

    /// Asks anew for a stale path, when it is time to.
    pub(crate) fn confirm(&mut self, cx: &mut Context, sa: &mut SaClient, local: &Local, id: Id) {
        let from = self.confirm_from;
        let Some(path) = self.table.get_mut(id) else { return };
        let State::Known(known) = &mut path.state else { return };
        if cx.now < from.max(known.not_before) {
            return;
        }
        known.asking = true;
        let gid = path.gid;
        self.ask(cx, sa, local, gid);
    }

    /// The answer to a path question.
    pub(crate) fn handle_answer(&mut self, cx: &mut Context, local: &Local, gid: Gid, answer: &Answer) {
        let Some(id) = self.ids.get(&gid).copied() else { return };
        let answer = answer.as_ref().map_err(|why| *why).and_then(|data| {
            let record = PathRecord::parse(&data[..]).map_err(|_| SaFailure::BadAnswer)?.0;
            if record.dlid.is_unicast() { Ok(record) } else { Err(SaFailure::BadAnswer) }
        });
        match answer {
            Ok(record) => self.resolved(cx, local, id, &record),
            Err(why) => self.failed(cx, id, why),
        }
    }

    /// A packet came from `gid` at `slid`: it is there, and perhaps at another LID than thought.
    pub(crate) fn handle_sign_of_life(&mut self, cx: &Context, local: &Local, gid: Gid, slid: Lid) {
        let Some(path) = self.ids.get(&gid).and_then(|id| self.table.get_mut(*id)) else { return };
        match &mut path.state {
            // From another subnet everything comes from the router's LID.
            State::Known(known)
                if gid.prefix() == local.gid.prefix()
                    && slid.is_unicast()
                    && !local.lmc.covers(known.to.dlid, slid) =>
            {
                // Where it sends from is where it is; the rest of the path is confirmed at a next packet.
                known.to.dlid = slid;
                known.epoch = self.epoch.wrapping_sub(1);
            }
            State::Failed { since, until } => *until = (*until).min(*since + cx.config.path_backoff),
            _ => {}
        }
    }

    /// The path to `gid` may be outdated: it is confirmed at a next packet, a failed one asked for again.
    pub(crate) fn suspect(&mut self, gid: Gid) {
        self.doubt(gid);
        let path = self.ids.get(&gid).and_then(|id| self.table.get_mut(*id));
        if let Some(State::Failed { since, until }) = path.map(|path| &mut path.state) {
            *until = *since;
        }
    }

    /// The host does not reach `gid`: a path that is known is confirmed at a next packet. Of one that could not be had
    /// that says nothing: the host fails to reach whom we let it forget.
    pub(crate) fn doubt(&mut self, gid: Gid) {
        let path = self.ids.get(&gid).and_then(|id| self.table.get_mut(*id));
        if let Some(State::Known(known)) = path.map(|path| &mut path.state) {
            known.epoch = self.epoch.wrapping_sub(1);
        }
    }

    /// The port `gid` is gone: what is known of it is worth nothing.
    pub(crate) fn lose(&mut self, cx: &mut Context, sa: &mut SaClient, gid: Gid) {
        if let Some(id) = self.ids.get(&gid).copied() {
            self.remove(cx, sa, id, Drop::TxPeerGone);
        }
    }

    /// Everything may be outdated; confirmed as it is used, from a moment within the spread on.
    pub(crate) fn mark_stale(&mut self, cx: &mut Context) {
        self.epoch = self.epoch.wrapping_add(1);
        self.confirm_from = cx.now + cx.chance.up_to(cx.config.reregister_spread);
    }

    /// Gives everything up.
    pub(crate) fn flush(&mut self, cx: &mut Context, sa: &mut SaClient) {
        for id in self.table.ids() {
            self.remove(cx, sa, id, Drop::TxFlushed);
        }
    }

    /// Address handles in use.
    pub(crate) const fn handles(&self) -> usize {
        self.handles
    }

    /// What one path shows, by its port.
    pub(crate) fn show(&self, now: Instant, gid: Gid) -> Option<PathSnapshot> {
        self.ids.get(&gid).and_then(|id| self.table.get(*id)).map(|path| self.show_path(now, path))
    }

    /// What all paths show, by GID.
    pub(crate) fn snapshot(&self, now: Instant) -> Vec<PathSnapshot> {
        let mut all: Vec<_> = self.table.iter().map(|(_, path)| self.show_path(now, path)).collect();
        all.sort_unstable_by_key(|path| path.gid);
        all
    }

    fn show_path(&self, now: Instant, path: &Path) -> PathSnapshot {
        let known = if let State::Known(known) = &path.state { Some(known) } else { None };
        PathSnapshot {
            gid: path.gid,
            state: match &path.state {
                State::Querying => "querying",
                State::Known(known) if known.epoch == self.epoch => "valid",
                State::Known(_) => "stale",
                State::Failed { .. } => "failed",
            },
            lid: known.map(|k| k.to.dlid),
            sl: known.map(|k| k.to.sl),
            rate: known.map(|k| k.to.rate),
            mtu: known.map(|k| k.mtu),
            global: known.is_some_and(|k| k.to.global.is_some()),
            pending: path.queue.len(),
            failures: path.failures,
            retry_in: match &path.state {
                State::Failed { until, .. } => Some(until.since(now)),
                _ => None,
            },
        }
    }

    fn ask(&self, cx: &mut Context, sa: &mut SaClient, local: &Local, gid: Gid) {
        cx.counters.path_queries += 1;
        let record = PathRecord {
            dgid: gid,
            sgid: local.gid,
            numb_path: 1,
            pkey: local.pkey,
            traffic_class: self.traffic_class,
            ..NO_PATH
        };
        let mask = path_mask::DGID
            | path_mask::SGID
            | path_mask::NUMB_PATH
            | path_mask::TRAFFIC_CLASS
            | path_mask::P_KEY;
        let question = Question::new(Method::GET, RecordId::PATH, mask, &record.to_bytes());
        sa.ask(cx, Subject::Path(gid), &question);
    }

    fn resolved(&mut self, cx: &mut Context, local: &Local, id: Id, record: &PathRecord) {
        let path = self.table.get_mut(id).expect("names and paths come and go together");
        let to = vector(local, path.gid, record);
        if !matches!(path.state, State::Known(_)) {
            self.handles += 1;
        }
        path.state = State::Known(Known {
            to,
            mtu: record.mtu,
            epoch: self.epoch,
            asking: false,
            // Signs that contradict the answer do not make a storm of questions.
            not_before: cx.now + cx.config.path_backoff,
        });
        path.failures = 0;
        cx.counters.path_resolved += 1;
        while let Some(Waiting { dest_qp, payload, offload, .. }) = path.queue.pop(cx) {
            cx.send(UdSend { to, dest_qp, qkey: self.qkey, payload, offload }, false);
        }
    }

    fn failed(&mut self, cx: &mut Context, id: Id, why: SaFailure) {
        let path = self.table.get_mut(id).expect("names and paths come and go together");
        path.failures = path.failures.saturating_add(1);
        cx.counters.path_failed += 1;
        let wait = backoff(cx.config.path_backoff, cx.config.max_path_backoff, path.failures);
        let until = cx.now + cx.chance.jitter(wait);
        if let State::Known(known) = &mut path.state {
            if !matches!(why, SaFailure::Refused(_)) {
                // Nobody said that it is wrong.
                (known.asking, known.not_before) = (false, until);
                return;
            }
            self.handles -= 1;
        }
        path.state = State::Failed { since: cx.now, until };
        let gid = path.gid;
        for mac in path.queue.macs() {
            cx.counters.neighbors_forgotten += 1;
            cx.emit(Output::ForgetNeighbor { mac, ip: None });
        }
        path.queue.clear(cx, Drop::TxPathFailed);
        cx.event(Event::PathFailed { gid, why });
    }

    /// Removes a path; true if it had a handle.
    fn remove(&mut self, cx: &mut Context, sa: &mut SaClient, id: Id, reason: Drop) -> bool {
        let Some(mut path) = self.table.remove(id) else { return false };
        self.ids.remove(&path.gid);
        sa.cancel(cx, Subject::Path(path.gid));
        path.queue.clear(cx, reason);
        let known = matches!(path.state, State::Known(_));
        self.handles -= usize::from(known);
        known
    }
}

/// The address handle of a path. A GRH goes along where routers are on the way. RFC 4391 §6.
fn vector(local: &Local, gid: Gid, record: &PathRecord) -> AddressVector {
    let global = (record.hop_limit > 0 || gid.prefix() != local.gid.prefix()).then_some(GlobalRoute {
        sgid: local.gid,
        dgid: gid,
        traffic_class: record.traffic_class,
        flow_label: record.flow_label,
        hop_limit: record.hop_limit,
    });
    AddressVector { dlid: record.dlid, sl: record.sl, rate: record.rate, global }
}

/// A record with all fields zero.
pub(crate) const NO_PATH: PathRecord = PathRecord {
    service_id: 0,
    dgid: Gid::ZERO,
    sgid: Gid::ZERO,
    dlid: Lid::NONE,
    slid: Lid::NONE,
    raw_traffic: false,
    flow_label: 0,
    hop_limit: 0,
    traffic_class: 0,
    reversible: false,
    numb_path: 0,
    pkey: ib_wire::addr::PKey::INVALID,
    qos_class: 0,
    sl: ib_wire::addr::ServiceLevel::new(0),
    mtu_selector: 0,
    mtu: Mtu(0),
    rate_selector: 0,
    rate: ib_wire::addr::Rate(0),
    life_selector: 0,
    life: ib_wire::addr::Timeout(0),
    preference: 0,
};
