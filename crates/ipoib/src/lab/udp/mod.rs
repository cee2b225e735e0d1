//! Ports that are bound to UDP sockets: links to other fabrics, one datagram a packet. docs/link.md.

mod link;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ib_fabric::{
    LinkId, OutsideConfig, OutsideView,
    topology::{Endpoint, Topology, UdpEnds, format_duration},
};
use ib_lab::Lab;
use ib_wire::{
    addr::Guid,
    mad::attr::{NodeInfo, NodeType},
    packet::Packet,
    payload::Pool,
    time::Instant,
};

use self::link::UdpLink;
use crate::{
    control::schema::{CounterRow, UdpRow},
    os::{
        poller::{Interest, Poller, Ready},
        udp::Received,
    },
};

/// Tokens of the poller from here on are ours, up to those of `umad`.
pub(super) const FIRST_TOKEN: u64 = 1 << 31;

/// Messages taken from one socket before others have their turn.
const BURST: usize = 16;
/// Where in a buffer a message is read to, so that a payload without a global route begins at a multiple of 4.
const READ_AT: usize = 64;

/// All bound ports.
#[derive(Debug, Default)]
pub(super) struct UdpLinks {
    links: BTreeMap<LinkId, UdpLink>,
    /// Those with something to send.
    waiting: BTreeSet<LinkId>,
    /// Who has which GUID in this fabric.
    own: BTreeMap<Guid, String>,
    spare: Vec<Arc<[u8]>>,
    received: Vec<Received>,
}

impl UdpLinks {
    /// Binds a port; its cable, if it has one, is pulled.
    pub(super) fn bind(
        &mut self,
        now: Instant,
        (topology, port): (&Topology, Endpoint),
        ends: UdpEnds,
        idle: Option<Duration>,
        lab: &mut Lab,
        poller: &Poller,
    ) -> Result<()> {
        let name = topology.port_name(port);
        if self.is_bound(&name) {
            bail!("{name}: bound already: `ipoib fabric unbind {name}` first");
        }
        let node = lab.fabric().node(&topology[port.node].name).context("the node is gone")?;
        let mut config = OutsideConfig::default();
        if let Some(idle) = idle {
            // A short idle time takes questions that are as frequent.
            config = OutsideConfig { idle, ask: config.ask.min(idle / 3) };
        }
        let link = UdpLink::open(name.clone(), ends)?;
        let id = lab.with_fabric(now, |fabric| fabric.bind(now, node, port.port, config)).context(name)?;
        let token = FIRST_TOKEN + id.index() as u64;
        if let Err(error) = poller.add(&link.socket, token, Interest::Read) {
            lab.with_fabric(now, |fabric| fabric.unbind(now, id));
            return Err(error).context("epoll");
        }
        if self.own.is_empty() {
            self.own = topology.nodes.iter().map(|node| (node.guid, node.name.clone())).collect();
        }
        self.links.insert(id, link);
        Ok(())
    }

    /// Unbinds a port, by its name: its cable is plugged in again.
    pub(super) fn unbind(&mut self, now: Instant, port: &str, lab: &mut Lab, poller: &Poller) -> Result<()> {
        let found = self.links.iter().find(|(_, link)| link.port == port).map(|(id, _)| *id);
        let id =
            found.with_context(|| format!("{port} is not bound: `ipoib show links` lists those that are"))?;
        if let Some(link) = self.links.remove(&id) {
            let _ = poller.remove(&link.socket);
        }
        self.waiting.remove(&id);
        lab.with_fabric(now, |fabric| fabric.unbind(now, id));
        Ok(())
    }

    /// Datagrams have come. The lab's outputs are then to be taken.
    pub(super) fn handle(&mut self, now: Instant, ready: Ready, lab: &mut Lab, pool: &mut Pool) {
        let Some((id, link)) =
            self.links.iter_mut().find(|(id, _)| FIRST_TOKEN + id.index() as u64 == ready.token)
        else {
            return;
        };
        self.spare.resize_with(BURST, || pool.take());
        link.receive(&mut self.spare, READ_AT, &mut self.received);
        let filled = self.spare.drain(..self.received.len());
        for (Received { len, segment }, mut buffer) in self.received.drain(..).zip(filled) {
            link.counters.received += len.div_ceil(segment.max(1));
            let range = READ_AT..READ_AT + len;
            lab.with_fabric(now, |fabric| fabric.handle_outside_many(now, *id, &mut buffer, range, segment));
            pool.give(buffer);
        }
    }

    /// Takes a packet that leaves by a link.
    pub(super) fn queue(&mut self, id: LinkId, packet: &Packet) {
        if let Some(link) = self.links.get_mut(&id) {
            link.queue(packet);
            self.waiting.insert(id);
        }
    }

    /// Sends what waits.
    pub(super) fn send(&mut self) {
        while let Some(id) = self.waiting.pop_first() {
            if let Some(link) = self.links.get_mut(&id) {
                link.send();
            }
        }
    }

    /// A link came up, went down, or has another neighbour.
    pub(super) fn changed(&mut self, id: LinkId, up: bool, lab: &Lab) {
        let (Some(link), Some(view)) = (self.links.get_mut(&id), lab.fabric().outside(id)) else { return };
        let (port, peer) = (&link.port, link.ends.peer);
        match (std::mem::replace(&mut link.up, up), up) {
            (true, false) if view.heard.is_some() => {
                tracing::warn!(%port, %peer, "the link to the peer is down")
            }
            (false, true) => tracing::info!(%port, %peer, "the link to the peer is up"),
            (true, true) => {
                let neighbor = view.neighbor.as_ref().map(neighbor_text).unwrap_or_default();
                tracing::info!(%port, %peer, %neighbor, "the peer says who it is");
                let guid = view.neighbor.map_or(Guid::ZERO, |info| info.node_guid);
                if let Some(own) = self.own.get(&guid) {
                    tracing::warn!(
                        "{port}: the peer has the GUID of {own} of this fabric, {guid}: begin each of the fabrics \
                         with a number of its own, --fabric 1, --fabric 2"
                    );
                }
            }
            _ => {}
        }
    }

    /// Which link a port is bound to.
    pub(super) fn is_bound(&self, port: &str) -> bool {
        self.links.values().any(|link| link.port == port)
    }

    /// Every bound port, and how its link is.
    pub(super) fn rows(&self, now: Instant, lab: &Lab) -> impl Iterator<Item = (&str, UdpRow)> {
        let views = self.links.iter().map(|(id, link)| (link, lab.fabric().outside(*id)));
        views.filter_map(move |(link, view)| Some((link.port.as_str(), row(now, link, &view?))))
    }

    /// What is counted of every bound port.
    pub(super) fn counters(&self) -> impl Iterator<Item = CounterRow> {
        self.links.values().map(|link| {
            let (node, port) = link.port.rsplit_once(':').unwrap_or((&link.port, "1"));
            let [counters, drops] = link.counted();
            CounterRow { node: node.to_owned(), part: format!("port {port} udp"), counters, drops }
        })
    }
}

fn row(now: Instant, link: &UdpLink, view: &OutsideView) -> UdpRow {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    UdpRow {
        local: link.ends.local.to_string(),
        peer: link.ends.peer.to_string(),
        up: view.up,
        heard_ms: view.heard.map(|heard| millis(now.since(heard))),
        idle: format_duration(view.config.idle),
        neighbor: view.neighbor.as_ref().map(neighbor_text),
        asked: view.asked,
        refused: link.counters.refused as u64,
    }
}

/// `switch 0269:6201:0200:0100 port 7`.
fn neighbor_text(info: &NodeInfo) -> String {
    let kind = match info.node_type {
        NodeType::SWITCH => "switch",
        NodeType::CA => "host",
        NodeType::ROUTER => "router",
        _ => "node",
    };
    format!("{kind} {} port {}", info.node_guid, info.local_port)
}
