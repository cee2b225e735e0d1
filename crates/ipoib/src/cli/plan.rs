//! What a command line comes to: files read, words understood, nothing begun.

use std::{ffi::OsString, path::PathBuf};

use ib_fabric::topology::Topology;
use ib_wire::addr::PKey;

/// All that `ipoib lab` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabPlan {
    /// The name asked for; `None` leaves the choice of a free one to the lab.
    pub name: Option<String>,
    /// What is cabled to what; valid.
    pub topology: Topology,
    /// Who manages the subnet.
    pub sm: SmChoice,
    /// Partition definitions, as written.
    pub partitions: Option<FileText>,
    /// Child interfaces: one `ib0.8001` per key in every host whose port has it. Full keys, without duplicates,
    /// never the default partition.
    pub children: Vec<PKey>,
    /// Where LIDs are remembered from one run to the next; the file need not exist.
    pub lids: Option<PathBuf>,
    /// Most address handles an interface keeps.
    pub max_address_vector: usize,
    /// Send descriptors of an interface; its txqueuelen is twice that.
    pub tx_ring_size: u32,
    /// Where to record all links, in pcapng.
    pub capture: Option<PathBuf>,
    /// What chance begins with; `None` leaves it to the lab, which says what it took.
    pub seed: Option<u64>,
    /// Command to run in the first host when the subnet is up; empty for none.
    pub command: Vec<OsString>,
    /// How much to say on stderr: 0 results only, 1 progress, 2 and more in detail.
    pub verbosity: u8,
}

/// Who manages the subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmChoice {
    /// Our own.
    Embedded,
    /// Nobody, until the user starts somebody.
    None,
}

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileText {
    /// Its name, for messages.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}
