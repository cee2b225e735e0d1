//! What a row of the table is: what it claims, what it needs, how it is checked, and how to see that it can fail.

use anyhow::Result;

use super::{bench::Bench, programs::Program};

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `T4b`.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What holds if it passes, in a sentence.
    pub meaning: &'static str,
    /// What is run, as one would type it in the hosts.
    pub command: &'static str,
    /// Known issues and fixed bugs of the release notes that it bears on.
    pub proves: &'static [Promise],
    /// What it runs.
    pub programs: &'static [Program],
    /// Where it runs.
    pub setting: Setting,
    /// Checks it. What it measured, in a few words.
    pub(super) check: fn(&mut Bench<'_>) -> Result<String>,
    /// What must make it fail.
    pub breakers: &'static [Breaker],
}

/// The lab that a row needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Any lab with this many hosts; of our own, the default one or a star.
    Any {
        /// How many.
        hosts: usize,
    },
    /// Any lab with three hosts or more; of our own, a star of nine.
    Many,
    /// Any lab with this many hosts, which the row harms and mends.
    Harmed {
        /// How many.
        hosts: usize,
    },
    /// A lab of its own with these options.
    Own(&'static [&'static str]),
    /// Labs that the row starts and ends itself.
    Several,
}

/// A claim of the release notes: a known issue of theirs that is none here, a bug that stays fixed, or an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// S-01.
    AddressVectors,
    /// S-02.
    TransmitRing,
    /// S-03.
    HandlesFreed,
    /// S-04.
    SameAddress,
    /// S-05.
    Ipv6,
    /// S-06.
    SocketBuffers,
    /// S-07.
    AddressShown,
    /// S-08.
    Dhcp,
    /// S-09.
    GroupsApart,
    /// S-10.
    Unload,
    /// S-11.
    Bandwidth,
    /// S-12.
    NeedsManager,
    /// S-13.
    Drafts,
}

impl Promise {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::AddressVectors,
        Self::TransmitRing,
        Self::HandlesFreed,
        Self::SameAddress,
        Self::Ipv6,
        Self::SocketBuffers,
        Self::AddressShown,
        Self::Dhcp,
        Self::GroupsApart,
        Self::Unload,
        Self::Bandwidth,
        Self::NeedsManager,
        Self::Drafts,
    ];

    /// `S-04`.
    pub fn id(self) -> String {
        format!("S-{:02}", self as u8 + 1)
    }

    /// What it says, in a sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::AddressVectors => {
                "An option bounds the remote ports one can be connected with (2048 unless told): at the bound the \
                 one unused for longest makes room, and nothing crashes."
            }
            Self::TransmitRing => {
                "An option sets the length of the transmit ring (128 unless told), and the interface's queue is \
                 twice as long."
            }
            Self::HandlesFreed => "The address handle of a peer is freed when the ARP entry for it goes.",
            Self::SameAddress => {
                "The hardware address, queue pair included, is the same after the interface was down: peers go on \
                 talking to it. (A known issue of the release.)"
            }
            Self::Ipv6 => "IPv6 works. (It did not in the release.)",
            Self::SocketBuffers => {
                "A program may choose the size of its socket buffers. (`ttcp -b` did not work in the release.)"
            }
            Self::AddressShown => {
                "There is a tool that shows the whole 20-byte address. (The tools of the time cut it short.)"
            }
            Self::Dhcp => "DHCP clients get leases. (They did not on the newer kernels of the time.)",
            Self::GroupsApart => {
                "Multicast groups whose IPv4 addresses differ only in bits 27 to 23 are groups of their own. (They \
                 were one.)"
            }
            Self::Unload => "Ending the driver, also under load, harms neither the machine nor other hosts.",
            Self::Bandwidth => {
                "Bandwidth is measured the same way from release to release, with netperf where it is installed."
            }
            Self::NeedsManager => {
                "Nothing works without a subnet manager: an interface says that it waits for one, and comes up by \
                 itself when there is one."
            }
            Self::Drafts => {
                "The wire is that of the IPoIB drafts of the time, which became RFC 4391 and RFC 4392 without a \
                 change of behaviour that we know of."
            }
        }
    }
}

/// Something that must make the row fail.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    /// What it does, in a few words.
    pub what: &'static str,
    /// How it is done.
    pub harm: Harm,
    /// What the row says when it notices, one of these: a row that fails for another reason has noticed nothing.
    pub noticed: &'static [&'static str],
}

impl Breaker {
    /// Whether the row failed because of this.
    pub(super) fn is_noticed(&self, error: &anyhow::Error) -> bool {
        let said = format!("{error:#}");
        self.noticed.iter().any(|words| said.contains(words))
    }
}

/// How a lab is broken before the row begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// A fault on the only link of the server: `loss 5%`.
    Server(&'static str),
    /// A fault on the only link of the client.
    Client(&'static str),
    /// A fault on a link that is named by one of its ends.
    Link(&'static str, &'static str),
    /// A shell script in the server.
    InServer(&'static str),
    /// A shell script in the client.
    InClient(&'static str),
    /// Other options for the lab.
    Options(&'static [&'static str]),
    /// The lab's process stands still.
    Stopped,
    /// Something that the row itself does wrong, by name.
    Trick(&'static str),
}

/// A row that does not apply here; the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LeftOut(pub(super) String);

/// How a row ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds; what was measured.
    Passed(String),
    /// It does not; why.
    Failed(String),
    /// It was not tried; why.
    LeftOut(String),
}

/// A row and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The row.
    pub row: &'static Row,
    /// How it ended.
    pub verdict: Verdict,
    /// From its beginning to its end.
    pub took: std::time::Duration,
}
