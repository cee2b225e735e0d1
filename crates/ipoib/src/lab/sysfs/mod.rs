//! `/sys/class/infiniband` and `/sys/class/infiniband_mad` as the nodes of a lab see them.
//!
//! Ordinary files, one tree a node, in a tmpfs that only the lab's nodes see: at `sys` in the run directory, and each
//! node's also where they belong (`os::space`). The data loop says what changed; a thread of its own writes. Port
//! changes are written at once, counters once a second, and of all that only the files whose text is another.

mod facts;
mod text;
mod tree;
mod writer;

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use anyhow::Result;
use ib_fabric::{Fabric, PortId};
use ib_wire::time::Instant;

pub(super) use self::text::DEVICE;
use self::{
    facts::{NodeFacts, PortFacts},
    writer::{Arrival, Batch, Writer},
};
use crate::os::{
    space::{Classes, Ground},
    wake::Waker,
};

/// The nodes' files, as the data loop sees them.
#[derive(Debug)]
pub(super) struct Sysfs {
    ports: Vec<Watched>,
    /// Which of `ports` an end port is.
    numbers: BTreeMap<PortId, usize>,
    /// Ports of which something was heard since the last batch.
    changed: Vec<usize>,
    arrivals: Vec<Arrival>,
    /// When all ports are looked at.
    look: Instant,
    writer: Writer,
}

#[derive(Debug)]
struct Watched {
    port: PortId,
    /// As it was when it was last written.
    facts: PortFacts,
}

impl Sysfs {
    /// Files of no node yet. `bell` is rung when a batch was written.
    pub(super) fn start(run_dir: &Path, ground: Ground, bell: Waker, now: Instant) -> io::Result<Self> {
        let writer = Writer::start(run_dir.join(SYS), ground, bell)?;
        Ok(Self {
            ports: Vec::new(),
            numbers: BTreeMap::new(),
            changed: Vec::new(),
            arrivals: Vec::new(),
            look: now + LOOK,
            writer,
        })
    }

    /// Gives a node files; the receiver is disconnected when they are there. Once a node.
    pub(super) fn add(&mut self, fabric: &Fabric, name: &str) -> Receiver<()> {
        let (written, receiver) = channel();
        let Some((_, first)) = fabric.end_ports_of(name).next() else { return receiver };
        let node = NodeFacts::take(fabric, first);
        let mut facts = Vec::new();
        for (number, port) in fabric.end_ports_of(name) {
            let now = PortFacts::take(fabric, port);
            self.numbers.insert(port, self.ports.len());
            self.ports.push(Watched { port, facts: now.clone() });
            facts.push((number, now));
        }
        self.arrivals.push(Arrival { name: name.to_owned(), node, ports: facts, written });
        receiver
    }

    /// Something happened to a port.
    pub(super) fn port_changed(&mut self, port: PortId) {
        self.changed.extend(self.numbers.get(&port));
    }

    /// Hands what was heard to the writer, unless it is busy: it rings when it is not.
    #[inline]
    pub(super) fn flush(&mut self, fabric: &Fabric) {
        let news = !self.changed.is_empty() || !self.arrivals.is_empty();
        if news && !self.writer.is_busy() {
            self.hand_over(fabric);
        }
    }

    /// Looks at all ports if it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant, fabric: &Fabric) {
        if now >= self.look && !self.writer.is_busy() {
            self.look = now + LOOK;
            self.changed.clear();
            self.changed.extend(0..self.ports.len());
        }
        self.flush(fabric);
    }

    fn hand_over(&mut self, fabric: &Fabric) {
        let mut batch = Batch { arrivals: std::mem::take(&mut self.arrivals), changes: Vec::new() };
        for number in self.changed.drain(..) {
            let Watched { port, facts } = &mut self.ports[number];
            if !facts.holds(fabric, *port) {
                *facts = PortFacts::take(fabric, *port);
                batch.changes.push((number, facts.clone()));
            }
        }
        if !batch.is_empty() {
            self.writer.write(batch);
        }
    }

    /// When `handle_timeout` has something to do; the bell calls for it besides.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.writer.is_busy()).then_some(self.look)
    }

    /// Waits until the files tell all that was heard; not forever, for they are not worth it. Only for times when no
    /// traffic waits.
    pub(super) fn settle(&mut self, fabric: &Fabric) {
        for _ in 0..PATIENCE {
            self.flush(fabric);
            if !self.writer.is_busy() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes room for the files: what all nodes have in common of the file system, with directories for these nodes.
pub(super) fn prepare(run_dir: &Path, names: &[&str]) -> Result<Ground> {
    for class in [DEVICES, MADS] {
        fs::create_dir_all(run_dir.join(SKELETON).join(class))?;
    }
    let room = run_dir.join(SYS);
    fs::create_dir(&room)?;
    let ground = Ground::create(&room)?;
    ground.enter_with(|| names.iter().try_for_each(|name| make_directories(&room.join(name))))??;
    Ok(ground)
}

/// What a node sees of the files; of one that was not named at first, once it has been added.
pub(super) fn classes(run_dir: &Path, name: &str) -> Classes {
    let dir = |class: &str| (class.to_owned(), run_dir.join(SYS).join(name).join(class));
    Classes { skeleton: run_dir.join(SKELETON), dirs: [DEVICES, MADS].map(dir).into() }
}

/// The directories of a node, which may be there already.
fn make_directories(node: &Path) -> io::Result<()> {
    [DEVICES, MADS].iter().try_for_each(|class| fs::create_dir_all(node.join(class)))
}

/// Time between two looks at all ports: counters tell nobody that they count.
const LOOK: Duration = Duration::from_secs(1);
/// Milliseconds that writing may take when a lab comes up.
const PATIENCE: u32 = 2000;
/// Where the files are in the run directory, and where the places are that they are shown at.
const SYS: &str = "sys";
const SKELETON: &str = "sys-class";
/// Classes of devices.
const DEVICES: &str = "infiniband";
const MADS: &str = "infiniband_mad";
