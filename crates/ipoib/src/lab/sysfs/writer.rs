//! The thread that writes: one batch at a time, so that traffic never waits for a disk.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use ib_wire::addr::PortNum;

use super::{
    DEVICES, MADS,
    facts::{NodeFacts, PortFacts},
    make_directories,
    text::{self, DEVICE},
    tree::{Tree, Written},
};
use crate::os::{space::Ground, wake::Waker};

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Nodes that have no files yet. Their ports are numbered on from those before them.
    pub(super) arrivals: Vec<Arrival>,
    /// Ports by their number, and how they are now.
    pub(super) changes: Vec<(usize, PortFacts)>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.changes.is_empty()
    }
}

/// A node that is to have files.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) name: String,
    pub(super) node: NodeFacts,
    pub(super) ports: Vec<(PortNum, PortFacts)>,
    /// Goes when they are there.
    pub(super) written: Sender<()>,
}

/// The thread, as others see it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    batches: Option<SyncSender<Batch>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    busy: AtomicBool,
    stop: AtomicBool,
    bell: Waker,
}

impl Writer {
    /// Starts it. It writes below `dir`, a directory on `ground`, and rings `bell` after each batch.
    pub(super) fn start(dir: PathBuf, ground: Ground, bell: Waker) -> io::Result<Self> {
        let (batches, receiver) = sync_channel(1);
        let state = Arc::new(State { busy: AtomicBool::new(false), stop: AtomicBool::new(false), bell });
        let tree = Tree::new(PathBuf::new());
        let work = Work { tree, ports: Vec::new(), state: Arc::clone(&state), complained: false };
        let work = move || work.run(&ground, &dir, receiver);
        let thread = thread::Builder::new().name("sysfs".to_owned()).spawn(work)?;
        Ok(Self { batches: Some(batches), state, thread: Some(thread) })
    }

    /// True while a batch is being written.
    pub(super) fn is_busy(&self) -> bool {
        self.state.busy.load(Ordering::Acquire)
    }

    /// Hands over a batch. Only while it is not busy.
    pub(super) fn write(&self, batch: Batch) {
        self.state.busy.store(true, Ordering::Release);
        let sent = self.batches.as_ref().is_some_and(|batches| batches.try_send(batch).is_ok());
        if !sent {
            self.state.busy.store(false, Ordering::Release);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        drop(self.batches.take());
        // Files must not come while the directory goes. If it panicked, its message is on stderr.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread has.
struct Work {
    tree: Tree,
    ports: Vec<(PathBuf, Written)>,
    state: Arc<State>,
    complained: bool,
}

/// Says that a batch is done with, however that came.
struct Done<'a>(&'a State);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.bell.wake();
    }
}

impl Work {
    fn run(mut self, ground: &Ground, dir: &Path, batches: Receiver<Batch>) {
        // Thousands of short paths: on its ground the thread has a current directory of its own.
        let begun = ground.enter().map_err(io::Error::other).and_then(|()| env::set_current_dir(dir));
        if begun.is_err() {
            return self.complain(begun);
        }
        for batch in batches {
            let state = Arc::clone(&self.state);
            let _done = Done(&state);
            for arrival in batch.arrivals {
                let result = self.arrive(arrival);
                self.complain(result);
            }
            for (port, facts) in batch.changes {
                let result = self.change(port, &facts);
                self.complain(result);
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) -> io::Result<()> {
        if self.stop() {
            return Ok(());
        }
        let Arrival { name, node, ports, written: _written } = arrival;
        let dir = Path::new(&name);
        make_directories(dir)?;
        let device = dir.join(DEVICES).join(DEVICE);
        let mut files = text::device(&node);
        for (number, facts) in &ports {
            let texts = text::port(facts);
            files.extend(
                texts.iter().map(|(path, text)| (format!("ports/{number}/{path}").into(), text.clone())),
            );
            self.ports.push((device.join("ports").join(number.to_string()), texts.into_iter().collect()));
        }
        self.tree.fill(&dir.join(MADS), &text::mad_class(ports.iter().map(|(number, _)| *number)))?;
        self.tree.make(&device, files)
    }

    fn change(&mut self, port: usize, facts: &PortFacts) -> io::Result<()> {
        if self.stop() {
            return Ok(());
        }
        let Some((dir, written)) = self.ports.get_mut(port) else { return Ok(()) };
        self.tree.change(dir, written, text::port(facts))
    }

    fn stop(&self) -> bool {
        self.state.stop.load(Ordering::Acquire)
    }

    /// Says it once: a disk that is full stays so.
    fn complain(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !std::mem::replace(&mut self.complained, true)
        {
            tracing::warn!(%error, "/sys/class/infiniband of the hosts is not up to date");
        }
    }
}
