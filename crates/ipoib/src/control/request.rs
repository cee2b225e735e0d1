//! What a client asks of the running lab, as the data thread gets it.
//!
//! Whoever answers never waits: the reply goes into a slot that is always free, and a client that has gone
//! away in the meantime is no error.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use ib_fabric::topology::{Mishap, Probability, UdpEnds, format_duration, parse_duration};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    Environment,
    schema::{Noun, Shown},
};
use crate::capture::CaptureStatus;

/// Where the answer goes: `let _ = reply.send(Ok(..))`. An `Err` is the sentence the user reads.
pub type Reply<T> = oneshot::Sender<Result<T, String>>;

/// Something to do, and where to say that it is done. A reply that is dropped unused tells the client that
/// the lab is ending.
#[derive(Debug)]
pub enum Request {
    /// The rows of a noun.
    Show {
        /// What to show.
        noun: Noun,
        /// Only what belongs to this host.
        host: Option<String>,
        /// The rows.
        reply: Reply<Shown>,
    },
    /// Changes what a link does to packets.
    FaultLink {
        /// One of its ends, `sw1:3`, or `h1` for a host with one port.
        link: String,
        /// What it is to do.
        fault: LinkFault,
        /// Done.
        reply: Reply<()>,
    },
    /// Pulls or plugs the cables of a host.
    FaultHost {
        /// The host.
        host: String,
        /// Which of the two.
        fault: HostFault,
        /// Done.
        reply: Reply<()>,
    },
    /// Changes how a subnet administration of ours answers.
    FaultSm {
        /// The switch or host of the manager; the only one if none is named.
        node: Option<String>,
        /// How.
        fault: SmFault,
        /// Done.
        reply: Reply<()>,
    },
    /// Lets a packet come in through a port, as if the far end of its cable had sent it.
    Inject {
        /// `sw1:3`, or `h1` for a host with one port.
        port: String,
        /// LRH through VCRC.
        packet: Vec<u8>,
        /// Done.
        reply: Reply<()>,
    },
    /// What it takes to run a command in a host or switch.
    Enter {
        /// Its name.
        host: String,
        /// Its namespaces and settings.
        reply: Reply<Entry>,
    },
    /// Starts a capture. The receiver makes a `CaptureSink` on `to` and hands back its status; the capture
    /// ends by itself, which the data thread learns from `CaptureSink::offer`.
    Capture {
        /// What to record.
        filter: CaptureFilter,
        /// Where pcapng goes: a file or a pipe.
        to: OwnedFd,
        /// The running capture.
        reply: Reply<CaptureStatus>,
    },
    /// Binds a port to a UDP socket, in place of its cable.
    Bind {
        /// The port, `sw1:7`, or `h3` for a host with one port.
        port: String,
        /// Both ends of the socket.
        ends: UdpEnds,
        /// Without a word for this long the link is down.
        idle: Option<Duration>,
        /// Bound.
        reply: Reply<()>,
    },
    /// Unbinds a port: its cable is plugged in again.
    Unbind {
        /// The port.
        port: String,
        /// Unbound.
        reply: Reply<()>,
    },
    /// Makes the subnet manager sweep now.
    Sweep {
        /// Started.
        reply: Reply<()>,
    },
    /// Starts a subnet manager of ours where none runs yet.
    StartSm {
        /// The switch or host; the lab chooses if none is named.
        node: Option<String>,
        /// 0 to 15.
        priority: Option<u8>,
        /// Started.
        reply: Reply<()>,
    },
    /// Ends a subnet manager of ours as if it were killed.
    KillSm {
        /// The switch or host; the only one if none is named.
        node: Option<String>,
        /// Ended.
        reply: Reply<()>,
    },
    /// Ends the lab.
    Stop {
        /// Heard; the end follows.
        reply: Reply<()>,
    },
    /// What this lab is.
    Info {
        /// A summary.
        reply: Reply<LabInfo>,
    },
}

/// What `fault link` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// As if the cable were pulled.
    Down,
    /// Plugged again; other faults stay.
    Up,
    /// The share of packets that this befalls.
    Share(Mishap, Probability),
    /// Time each packet is under way.
    Delay(Duration),
    /// No fault is left, and the link is up.
    Clear,
}

impl LinkFault {
    /// The words of the command line: `loss` with `1%`, `down` with nothing.
    pub fn read(word: &str, amount: Option<&str>) -> Result<Self, String> {
        let needs =
            |example| amount.ok_or_else(|| format!("`{word}` needs an amount: write `{word} {example}`"));
        if let Some(mishap) = Mishap::by_name(word) {
            let share = needs("1%")?.parse::<Probability>().map_err(|error| error.to_string())?;
            return Ok(Self::Share(mishap, share));
        }
        let fault = match word {
            "delay" => {
                let time = parse_duration(needs("5ms")?).map_err(|error| error.to_string())?;
                return Ok(Self::Delay(time));
            }
            "down" => Self::Down,
            "up" => Self::Up,
            "clear" => Self::Clear,
            _ => {
                return Err(format!(
                    "there is no fault `{word}`: use down, up, loss, mad-loss, delay, corrupt, duplicate, reorder or \
                     clear"
                ));
            }
        };
        alone(word, amount).map(|()| fault)
    }

    /// The same words back.
    pub fn words(self) -> (&'static str, Option<String>) {
        match self {
            Self::Down => ("down", None),
            Self::Up => ("up", None),
            Self::Share(mishap, share) => (mishap.name(), Some(share.to_string())),
            Self::Delay(time) => ("delay", Some(format_duration(time))),
            Self::Clear => ("clear", None),
        }
    }
}

/// For a word that needs no amount.
fn alone(word: &str, amount: Option<&str>) -> Result<(), String> {
    match amount {
        None => Ok(()),
        Some(amount) => Err(format!("`{word}` takes no amount: leave `{amount}` out")),
    }
}

/// What `fault sm` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmFault {
    /// Its administration answers that it is busy.
    Busy,
    /// It answers questions with "no records".
    NoRecords,
    /// It answers so much later.
    Slow(Duration),
    /// It answers as it should.
    Clear,
}

impl SmFault {
    /// The words of the command line: `slow` with `5s`, `busy` with nothing.
    pub fn read(word: &str, amount: Option<&str>) -> Result<Self, String> {
        let fault = match word {
            "busy" => Self::Busy,
            "no_records" | "no-records" => Self::NoRecords,
            "clear" => Self::Clear,
            "slow" => {
                let amount = amount.ok_or("`slow` needs an amount: write `slow 5s`")?;
                return Ok(Self::Slow(parse_duration(amount).map_err(|error| error.to_string())?));
            }
            _ => return Err(format!("there is no fault `{word}`: use busy, no-records, slow or clear")),
        };
        alone(word, amount).map(|()| fault)
    }

    /// The same words back.
    pub fn words(self) -> (&'static str, Option<String>) {
        match self {
            Self::Busy => ("busy", None),
            Self::NoRecords => ("no_records", None),
            Self::Slow(time) => ("slow", Some(format_duration(time))),
            Self::Clear => ("clear", None),
        }
    }
}

/// The octets of a packet in hexadecimal digits, in any groups; `seal` appends its checksums.
pub fn packet_of(digits: &str, seal: bool) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    if digits.len() / 2 > LONGEST_PACKET {
        return Err(format!("a packet of {} octets: {LONGEST_PACKET} are the most", digits.len() / 2));
    }
    let octet = |pair: &[char]| match pair {
        [high, low] => Some(u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).unwrap_or(0)),
        _ => None,
    };
    let octets = digits.chunks(2).map(octet).collect::<Option<Vec<u8>>>();
    let mut octets =
        octets.ok_or("the packet is to be hexadecimal digits, two an octet: write `f0 01 00 05 ...`")?;
    if seal {
        ib_wire::packet::seal(&mut octets);
    }
    Ok(octets)
}

/// More than the longest packet that a header can tell of, checksums included.
const LONGEST_PACKET: usize = 8192;

/// What `fault host` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostFault {
    /// Pulls all its cables.
    Unplug,
    /// Plugs them again.
    Plug,
}

/// The way into a host or switch. The descriptors are `/proc/PID/ns/*`.
#[derive(Debug)]
pub struct Entry {
    /// The lab's user namespace, unless root started it: to be entered first.
    pub user: Option<OwnedFd>,
    /// Network namespace.
    pub net: OwnedFd,
    /// Mount namespace.
    pub mnt: OwnedFd,
    /// Host name.
    pub uts: OwnedFd,
    /// What the command finds in its environment.
    pub environment: Environment,
    /// Where to be if the caller's directory does not exist in there.
    pub cwd: PathBuf,
}

/// Which packets to record. Empty lists mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptureFilter {
    /// Ends of links, such as `sw1:3`.
    pub links: Vec<String>,
    /// Hosts, all ports of each.
    pub hosts: Vec<String>,
}

/// A summary of a lab for `list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabInfo {
    /// Its name.
    pub name: String,
    /// Process of the lab.
    pub pid: u32,
    /// Hosts.
    pub hosts: u64,
    /// Switches.
    pub switches: u64,
    /// Links.
    pub links: u64,
    /// `starting`, `up`, `ending`.
    pub state: String,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// The seed it runs with.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_written() {
        for (word, amount) in
            [("down", None), ("up", None), ("clear", None), ("loss", Some("1%")), ("delay", Some("5ms"))]
        {
            let fault = LinkFault::read(word, amount).unwrap();
            assert_eq!(fault.words(), (word, amount.map(str::to_owned)));
        }
        for mishap in Mishap::ALL {
            let fault = LinkFault::read(mishap.name(), Some("2%")).unwrap();
            assert_eq!(fault.words(), (mishap.name(), Some("2%".to_owned())));
        }
        assert_eq!(LinkFault::read("mad-loss", Some("50%")).unwrap().words().0, "mad_loss");
        assert_eq!(LinkFault::read("corrupt", Some("0.10%")).unwrap().words().1.unwrap(), "0.1%");
    }

    #[test]
    fn a_managers_fault_is_read_as_it_is_written() {
        for (word, amount) in [("busy", None), ("no_records", None), ("clear", None), ("slow", Some("5s"))] {
            let fault = SmFault::read(word, amount).unwrap();
            assert_eq!(fault.words(), (word, amount.map(str::to_owned)));
        }
        assert_eq!(SmFault::read("no-records", None), Ok(SmFault::NoRecords));
        let why = |word, amount| SmFault::read(word, amount).unwrap_err();
        assert_eq!(why("slow", None), "`slow` needs an amount: write `slow 5s`");
        assert_eq!(why("busy", Some("1%")), "`busy` takes no amount: leave `1%` out");
        assert!(why("lazy", None).contains("no-records"));
    }

    #[test]
    fn a_packet_is_read_in_any_groups_of_digits() {
        assert_eq!(packet_of("f0 01:0A\n0b", false), Ok(vec![0xf0, 1, 10, 11]));
        assert_eq!(packet_of("f001", true).unwrap().len(), 8);
        assert!(packet_of("f00", false).unwrap_err().contains("two an octet"));
        assert!(packet_of("xy", false).is_err());
        assert!(packet_of(&"00".repeat(9000), false).unwrap_err().contains("8192"));
    }

    #[test]
    fn a_wrong_fault_says_what_to_write() {
        let why = |word, amount| LinkFault::read(word, amount).unwrap_err();
        assert_eq!(why("loss", None), "`loss` needs an amount: write `loss 1%`");
        assert_eq!(why("down", Some("1%")), "`down` takes no amount: leave `1%` out");
        assert!(why("delay", Some("5")).contains("5ms"));
        assert!(why("lose", None).contains("corrupt"));
    }
}
