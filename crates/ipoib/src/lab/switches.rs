//! Nodes without interfaces as the machine has them: a space each, from the first command on that is run in it.
//!
//! Switches, and in a fabric alone its adapters too. As in a managed switch: a name, the lab's names, ports of its own,
//! and of the network only a loopback. Spaces are made in threads of their own, for that takes longer than a packet
//! should wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread,
};

use anyhow::Result;

use crate::os::space::{HostSpace, HostSpec};

/// The switches that commands were run in.
#[derive(Debug, Default)]
pub(super) struct Switches(BTreeMap<String, Arc<Slot>>);

/// A switch that commands are run in.
#[derive(Debug)]
struct Slot {
    spec: HostSpec,
    /// Held while the space is made, so that those who come meanwhile get the same.
    made: Mutex<Made>,
}

#[derive(Debug)]
struct Made {
    /// Disconnected when its files are there.
    files: Receiver<()>,
    space: Option<HostSpace>,
}

impl Switches {
    /// Hands the space of a switch to `then`, in another thread. `first` is asked at the first command: what the
    /// switch is to see, and a receiver that is disconnected once its files are there.
    pub(super) fn enter(
        &mut self,
        name: &str,
        first: impl FnOnce() -> Result<(HostSpec, Receiver<()>)>,
        then: impl FnOnce(Result<HostSpace>) + Send + 'static,
    ) {
        let slot = match self.0.get(name) {
            Some(slot) => Arc::clone(slot),
            None => {
                let (spec, files) = match first() {
                    Ok(first) => first,
                    Err(error) => return then(Err(error)),
                };
                let slot = Arc::new(Slot { spec, made: Mutex::new(Made { files, space: None }) });
                self.0.insert(name.to_owned(), Arc::clone(&slot));
                slot
            }
        };
        let thread = thread::Builder::new().name("switch".to_owned()).spawn(move || then(slot.space()));
        if let Err(error) = thread {
            tracing::warn!(switch = name, %error, "no thread to make its space");
        }
    }
}

impl Slot {
    /// Made anew by whoever comes next if it cannot be made now.
    fn space(&self) -> Result<HostSpace> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = &made.space {
            return Ok(space.clone());
        }
        // The only thing to be received is the end.
        let _ = made.files.recv();
        let space = HostSpace::create(&self.spec)?;
        Ok(made.space.insert(space).clone())
    }
}
