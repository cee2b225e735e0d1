//! Captures of a running lab: which links each records, and where packets go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ib_fabric::{
    Fabric, LinkId, TapFilter, TapId,
    topology::{Endpoint, Topology},
};
use ib_lab::{Lab, Tapped};
use ib_wire::time::Instant;

use crate::{
    capture::{Bound, CaptureSink, CaptureStatus, Direction, PatientFile, Timeline},
    control::CaptureFilter,
};

/// How long the end of a lab waits for captures to be written.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The captures that run.
#[derive(Debug, Default)]
pub(super) struct Captures {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    sink: CaptureSink,
    taps: Vec<TapId>,
    /// Interface of the capture, and whether it names end `a` of the link.
    interfaces: BTreeMap<LinkId, (usize, bool)>,
}

impl Captures {
    /// Starts one that writes to `to`.
    pub(super) fn start(
        &mut self,
        lab: &mut Lab,
        topology: &Topology,
        filter: &CaptureFilter,
        to: File,
        now: Instant,
    ) -> Result<CaptureStatus> {
        let ends = chosen(topology, lab.fabric(), filter)?;
        let names: Vec<String> = ends.iter().map(|end| topology.port_name(*end)).collect();
        let to = PatientFile(to);
        to.clear().context("the file cannot be emptied")?;
        let sink = CaptureSink::new(to, &names, Timeline::starting(now), Bound::default())?;
        let mut running = Running { sink, taps: Vec::new(), interfaces: BTreeMap::new() };
        for (i, end) in ends.iter().enumerate() {
            let node = &topology.nodes[end.node.0];
            let link =
                lab.fabric().link(&node.name, end.port).with_context(|| format!("{}: no link", names[i]))?;
            let leads_out = lab.fabric().outside(link).is_some();
            let names_a = leads_out || topology.link_at(*end).is_some_and(|link| link.a == *end);
            running.interfaces.insert(link, (i, names_a));
        }
        running.taps = lab.with_fabric(now, |fabric| {
            if running.interfaces.len() == topology.links.len() {
                return vec![fabric.add_tap(TapFilter::All)];
            }
            running.interfaces.keys().map(|link| fabric.add_tap(TapFilter::Link(*link))).collect()
        });
        let status = running.sink.status();
        self.running.push(running);
        Ok(status)
    }

    /// Starts one of all links that writes to a new file.
    pub(super) fn start_file(
        &mut self,
        lab: &mut Lab,
        topology: &Topology,
        path: &Path,
        now: Instant,
    ) -> Result<()> {
        let file = File::create(path).with_context(|| format!("{}: cannot write", path.display()))?;
        self.start(lab, topology, &CaptureFilter::default(), file, now).map(drop)
    }

    /// Hands a packet to the capture whose tap saw it.
    pub(super) fn offer(&self, tapped: Tapped) {
        let Some(running) = self.running.iter().find(|r| r.taps.contains(&tapped.tap)) else { return };
        let Some((interface, names_a)) = running.interfaces.get(&tapped.link) else { return };
        let direction = if tapped.from_a == *names_a { Direction::Sent } else { Direction::Received };
        running.sink.offer(tapped.at, *interface, direction, tapped.packet);
    }

    /// Takes the taps of captures that have ended out of the fabric.
    pub(super) fn reap(&mut self, lab: &mut Lab, now: Instant) {
        for ended in self.running.extract_if(.., |r| r.sink.has_ended()) {
            remove_taps(lab, &ended.taps, now);
        }
    }

    /// True if there are any.
    pub(super) const fn any(&self) -> bool {
        !self.running.is_empty()
    }

    /// Ends all; what was accepted is written if the disk is not too slow.
    pub(super) fn finish(&mut self, lab: &mut Lab, now: Instant) {
        for running in self.running.drain(..) {
            remove_taps(lab, &running.taps, now);
            match running.sink.finish(PATIENCE) {
                Some(summary) if summary.dropped > 0 || summary.error.is_some() => {
                    tracing::warn!(packets = summary.packets, dropped = summary.dropped, error = ?summary.error, "capture");
                }
                Some(_) => {}
                None => tracing::warn!("capture: the file is too slow, its end is missing"),
            }
        }
    }
}

fn remove_taps(lab: &mut Lab, taps: &[TapId], now: Instant) {
    lab.with_fabric(now, |fabric| taps.iter().for_each(|tap| fabric.remove_tap(*tap)));
}

/// The ends of links that `filter` names, one for each link; all links if it names none.
fn chosen(topology: &Topology, fabric: &Fabric, filter: &CaptureFilter) -> Result<Vec<Endpoint>> {
    let link = |end: &Endpoint| fabric.link(&topology[end.node].name, end.port);
    if filter.links.is_empty() && filter.hosts.is_empty() {
        let inside = topology.links.iter().map(|link| link.a);
        let outside = ports(topology).filter(|end| link(end).is_some_and(|id| fabric.outside(id).is_some()));
        let mut ends: Vec<Endpoint> = inside.chain(outside).collect();
        keep_first(&mut ends, link);
        return Ok(ends);
    }
    let mut ends: Vec<Endpoint> = Vec::new();
    for name in &filter.links {
        let end = topology.find_port(name).filter(|end| link(end).is_some());
        ends.push(end.with_context(|| format!("no link {name}: name one of its ends, as sw1:3"))?);
    }
    for host in &filter.hosts {
        let Some(node) = topology.find(host) else { bail!("no host {host}: `ipoib show hosts` lists them") };
        ends.extend(ports(topology).filter(|end| end.node == node && link(end).is_some()));
    }
    keep_first(&mut ends, link);
    Ok(ends)
}

/// Every port that takes a cable.
fn ports(topology: &Topology) -> impl Iterator<Item = Endpoint> {
    topology.indexed().flat_map(|(index, node)| (1..=node.port_count).map(move |port| (index, port).into()))
}

/// Of the ends of one link, leaves the first.
fn keep_first(ends: &mut Vec<Endpoint>, link: impl Fn(&Endpoint) -> Option<LinkId>) {
    let mut seen = BTreeSet::new();
    ends.retain(|end| seen.insert(link(end)));
}
