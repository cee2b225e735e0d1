//! The command line as it is typed. Nothing here does anything.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, builder::PossibleValue};

use super::verify::VerifyArgs;
use crate::{
    control::{HostFault, schema::Noun},
    ping::PingArgs,
};

/// IP over InfiniBand in user space, and the software fabric to run it on.
#[derive(Debug, Parser)]
#[command(
    name = "ipoib",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  ipoib lab                         a subnet of two switches and four hosts, until Ctrl-C\n  \
                  ipoib lab -- ping -c 3 h2         the same, only for a command in h1\n  \
                  ipoib exec h3 -- ip address       a command in a host of the running lab\n  \
                  ipoib show hosts                  what its hosts look like"
)]
pub(super) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Bring up a whole InfiniBand subnet on this machine, with an ib0 in every host
    Lab(LabArgs),
    /// Run an InfiniBand fabric alone, without hosts' networks
    #[command(subcommand)]
    Fabric(FabricVerb),
    /// Run one host's driver, on a port of a fabric that runs elsewhere
    Up(UpArgs),
    /// Run a command inside a host or switch of a running lab
    Exec(ExecArgs),
    /// Show what a running lab looks like from inside
    Show(ShowArgs),
    /// Make something go wrong in a running lab
    #[command(subcommand)]
    Fault(FaultVerb),
    /// Record packets of a running lab for Wireshark
    Capture(CaptureArgs),
    /// Talk to the subnet manager of a running lab
    #[command(subcommand)]
    Sm(SmVerb),
    /// List the labs that run
    List(ListArgs),
    /// End a running lab
    Stop(StopArgs),
    /// See with real programs that everything holds that the release notes promise
    Verify(VerifyArgs),
    /// Ask a host whether it answers, as the lab's hosts do without a ping of their own
    Ping(PingArgs),
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a directory
    #[command(hide = true)]
    Man(ManArgs),
}

/// Which lab is meant.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct TargetArgs {
    /// The lab to talk to; not needed while only one runs
    #[arg(long, value_name = "NAME", env = "IPOIB_LAB")]
    pub(super) lab: Option<String>,
}

/// `lab`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  ipoib lab --topology fat-tree:k=4\n  \
                        ipoib lab --name storm --capture storm.pcapng -- ping -c 3 h2")]
pub(super) struct LabArgs {
    /// Name for the lab, when several run
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Topology: a file, or one of pair, star:N, line:N, ring:N, fat-tree:k=K, mesh:N
    #[arg(long, value_name = "FILE|SPEC", default_value = "pair")]
    pub(super) topology: OsString,
    /// Who manages it, and how.
    #[command(flatten)]
    pub(super) manager: ManagerArgs,
    /// Child interfaces, such as ib0.8001, in every host whose port has the P_Key
    #[arg(long, value_name = "PKEY", num_args = 1.., value_delimiter = ',')]
    pub(super) children: Vec<String>,
    /// Address handles an interface keeps at most
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub(super) max_address_vector: u32,
    /// Multicast groups an interface is in at most
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(8..=1 << 16))]
    pub(super) max_groups: u32,
    /// Send descriptors of an interface; its txqueuelen is twice that
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..=8192))]
    pub(super) tx_ring_size: u32,
    /// Run every driver as a process of its own
    #[arg(long)]
    pub(super) isolate: bool,
    /// Look for more traffic for so long before sleeping, such as 20us: answers come sooner, at the cost of processor time
    #[arg(long, value_name = "TIME")]
    pub(super) spin: Option<String>,
    /// With --isolate: bytes of each ring between a driver and the fabric, a power of two
    #[arg(long, value_name = "BYTES", requires = "isolate")]
    pub(super) ring_size: Option<u32>,
    /// With --isolate: how long senders wait for a driver that does not read, before they lose what they send to it
    #[arg(long, value_name = "TIME", requires = "isolate")]
    pub(super) driver_wait: Option<String>,
    /// What it leaves behind, and how much it says.
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Command to run in the first host when the subnet is up; the lab ends with it, and with its status
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// `fabric`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  ipoib fabric run fat-tree:k=16\n  \
                        ipoib fabric bind sw1:7 --udp :4000 --peer 192.0.2.2:4000")]
pub(super) enum FabricVerb {
    /// Switches, adapters and links, managed or not, until Ctrl-C
    ///
    /// Its users are drivers that are processes of their own, `ipoib up`, and programs that speak MADs, such as OpenSM
    /// and the infiniband-diags. Everything else is as in a lab: `exec`, `show`, `fault`, `capture`.
    #[command(after_help = "Examples:\n  ipoib fabric run fat-tree:k=16 --sm none\n  \
                            ipoib exec h1 -- ibnetdiscover > fabric.net")]
    Run(Box<FabricArgs>),
    /// Lead a port's cable out of the fabric, to a UDP socket
    ///
    /// One datagram is one InfiniBand packet, as docs/link.md says; the other end is a port of another fabric, or
    /// whatever else speaks InfiniBand. Whoever can send to the socket under the peer's address is in the subnet: bind
    /// to networks that you trust. The port's own cable is pulled until `fabric unbind`.
    #[command(after_help = "Examples:\n  ipoib fabric bind sw1:7 --udp :4000 --peer 192.0.2.2:4000\n  \
                            ipoib fabric bind h3 --udp 127.0.0.1:4000 --peer 127.0.0.1:4001 --idle 2s")]
    Bind(BindArgs),
    /// Plug a port's own cable in again
    #[command(after_help = "Example:\n  ipoib fabric unbind sw1:7")]
    Unbind {
        /// Which lab.
        #[command(flatten)]
        target: TargetArgs,
        /// The port that is bound
        #[arg(value_name = "PORT")]
        port: String,
    },
}

/// `fabric bind`.
#[derive(Debug, ClapArgs)]
pub(super) struct BindArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// A port, such as sw1:7, or h3 for a host with one port
    #[arg(value_name = "PORT")]
    pub(super) port: String,
    /// Where its datagrams come from: ADDRESS:PORT, or :PORT for all addresses of this machine
    #[arg(long, value_name = "LOCAL")]
    pub(super) udp: String,
    /// Where they go to, and the only place they come from: ADDRESS:PORT, or NAME:PORT
    #[arg(long, value_name = "REMOTE")]
    pub(super) peer: String,
    /// Without a word from there for so long the link is down; 5s if left out
    #[arg(long, value_name = "TIME")]
    pub(super) idle: Option<String>,
}

/// `fabric run`.
#[derive(Debug, ClapArgs)]
pub(super) struct FabricArgs {
    /// Topology: a file, or one of pair, star:N, line:N, ring:N, fat-tree:k=K, mesh:N
    #[arg(value_name = "TOPOLOGY", required_unless_present = "config")]
    pub(super) topology: Option<OsString>,
    /// File with these options, in TOML
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name for the fabric, when several run
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Who manages it, and how.
    #[command(flatten)]
    pub(super) manager: ManagerArgs,
    /// How drivers get its ports.
    #[command(flatten)]
    pub(super) attach: AttachArgs,
    /// What it leaves behind, and how much it says.
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// Options about drivers that are processes of their own.
#[derive(Debug, ClapArgs)]
pub(super) struct AttachArgs {
    /// Where drivers connect; in the fabric's run directory if nothing is said
    #[arg(long, value_name = "SOCKET")]
    pub(super) attach: Option<PathBuf>,
    /// Who may connect, as a file mode; 0600 if nothing is said
    #[arg(long, value_name = "MODE")]
    pub(super) attach_mode: Option<String>,
    /// Bytes of each ring between a driver and the fabric, a power of two; 1048576 if nothing is said
    #[arg(long, value_name = "BYTES")]
    pub(super) ring_size: Option<u32>,
    /// How long senders wait for a driver that does not read, before they lose what they send to it; 10ms if nothing is said
    #[arg(long, value_name = "TIME")]
    pub(super) driver_wait: Option<String>,
    /// Look for more traffic for so long before sleeping, such as 20us; not at all if nothing is said
    #[arg(long, value_name = "TIME")]
    pub(super) spin: Option<String>,
}

/// `up`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "The interface outlives the driver: the next one takes it over with its addresses. A driver that is \
                        asked to end\n(SIGTERM, Ctrl-C) removes it.\n\nExamples:\n  \
                        ipoib up ib0 --port lab:h1 --netns blue --address 10.77.0.1/24\n  \
                        ipoib up ib0 --port lab:h1 --netns blue --takeover"
)]
pub(super) struct UpArgs {
    /// What to call the interface; ib0 if nothing is said
    #[arg(value_name = "INTERFACE")]
    pub(super) interface: Option<String>,
    /// The port: a fabric's name or its attach socket, a host, and the port's number if it is not 1
    #[arg(long, value_name = "FABRIC:HOST[:N]", required_unless_present = "config")]
    pub(super) port: Option<String>,
    /// File with these options, in TOML
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Network namespace for the interface: a name of `ip netns`, a process, or a file
    #[arg(long, value_name = "NAME|PID|FILE")]
    pub(super) netns: Option<String>,
    /// Address for a new interface; may be given several times
    #[arg(long = "address", value_name = "ADDRESS/LENGTH")]
    pub(super) addresses: Vec<String>,
    /// Child interface in another partition, with its addresses: 8001,10.78.0.1/24; may be given several times
    #[arg(long = "child", value_name = "PKEY[,ADDRESS/LENGTH]")]
    pub(super) children: Vec<String>,
    /// Address handles an interface keeps at most; 2048 if nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub(super) max_address_vector: Option<u32>,
    /// Multicast groups an interface is in at most; 4096 if nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1 << 16))]
    pub(super) max_groups: Option<u32>,
    /// Send descriptors of an interface; its txqueuelen is twice that; 128 if nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=8192))]
    pub(super) tx_ring_size: Option<u16>,
    /// Look for more traffic for so long before sleeping, such as 20us; not at all if nothing is said
    #[arg(long, value_name = "TIME")]
    pub(super) spin: Option<String>,
    /// Directory that remembers whose the port is
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) state: Option<PathBuf>,
    /// Take the port from the driver that has it, without an interruption
    #[arg(long)]
    pub(super) takeover: bool,
    /// Wait for a fabric that is not there yet
    #[arg(long)]
    pub(super) wait: bool,
    /// The host has further ports: this interface answers ARP for its own addresses only
    #[arg(long)]
    pub(super) shares_host: bool,
    /// Say more; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// Options about the subnet manager.
#[derive(Debug, ClapArgs)]
pub(super) struct ManagerArgs {
    /// Who manages the subnet; embedded if nothing is said
    #[arg(long, value_name = "SM", value_enum)]
    pub(super) sm: Option<SmArg>,
    /// The switch or host it runs on; else the first switch for embedded, the first host for opensm
    #[arg(long, value_name = "NODE")]
    pub(super) sm_node: Option<String>,
    /// OpenSM's own configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) opensm_config: Option<PathBuf>,
    /// Partitions, in OpenSM's format
    #[arg(long, value_name = "FILE")]
    pub(super) partitions: Option<PathBuf>,
    /// Remember in this file which port had which LID, for the next run
    #[arg(long, value_name = "FILE")]
    pub(super) lids: Option<PathBuf>,
}

/// Options of everything that runs until it is ended.
#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// Of fabrics that are joined, each needs its own number: it goes into GUIDs and addresses (10.77.N.x/16)
    #[arg(long, value_name = "N")]
    pub(super) fabric: Option<u8>,
    /// Record all links into this file (pcapng)
    #[arg(long, value_name = "FILE")]
    pub(super) capture: Option<PathBuf>,
    /// Begin chance with this number, so that a run can be had again
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Say more; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// `--sm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SmArg {
    /// The one that comes with this program
    Embedded,
    /// The distribution's OpenSM
    Opensm,
    /// None, until you start one
    None,
}

/// `exec`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  ipoib exec h3 -- ip -s link show ib0\n  \
                        ipoib exec sw1 -- ibstatus\n\nInfiniBand tools find the node's port: the command has \
                        libib_umad.so preloaded, which is\nlooked for in IPOIB_UMAD_LIBRARY, beside this program and \
                        in ../lib/ipoib.")]
pub(super) struct ExecArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// The host or switch
    #[arg(value_name = "NODE")]
    pub(super) node: String,
    /// The command, and what it is given; a shell if there is none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// `show`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  ipoib show neighbors --host h1")]
pub(super) struct ShowArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// What to show
    #[arg(value_name = "WHAT", value_enum)]
    pub(super) noun: Noun,
    /// Only what belongs to this host
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// Counters that are zero, too
    #[arg(long)]
    pub(super) all: bool,
    /// Print the whole answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl ValueEnum for Noun {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Hosts => "interfaces, their state and addresses",
            Self::Links => "cables, their state and faults",
            Self::Neighbors => "whom each interface can send to",
            Self::Paths => "path records that interfaces hold",
            Self::Groups => "multicast groups and their members",
            Self::Routes => "forwarding tables of the switches",
            Self::Counters => "everything that is counted, drops by name",
            Self::Sm => "subnet managers",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// `fault`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipoib fault link sw1:3 loss 1%")]
pub(super) enum FaultVerb {
    /// Change what a link does to packets
    #[command(after_help = "Examples:\n  ipoib fault link sw1:3 down\n  ipoib fault link sw1:3 loss 1%\n  \
                            ipoib fault link sw1:3 delay 5ms\n  ipoib fault link sw1:3 corrupt 0.1%\n  \
                            ipoib fault link sw1:3 duplicate 1%\n  ipoib fault link sw1:3 reorder 1%\n  \
                            ipoib fault link sw1:3 mad-loss 50%\n  ipoib fault link sw1:3 clear")]
    Link(FaultLinkArgs),
    /// Pull all cables of a host, or plug them again
    #[command(after_help = "Example:\n  ipoib fault host h1 unplug")]
    Host(FaultHostArgs),
    /// Change how the lab's own subnet administration answers
    #[command(
        after_help = "Examples:\n  ipoib fault sm busy\n  ipoib fault sm slow 5s\n  ipoib fault sm clear"
    )]
    Sm(FaultSmArgs),
    /// Let a packet of your making come in through a port
    #[command(after_help = "Example, a packet for LID 4 that ends within its headers:\n  \
                            ipoib fault inject h1 --seal 00020004000500010464ffff")]
    Inject(InjectArgs),
}

/// `fault link`.
#[derive(Debug, ClapArgs)]
pub(super) struct FaultLinkArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// One of its ends, such as sw1:3, or h1 for a host with one port
    #[arg(value_name = "LINK")]
    pub(super) link: String,
    /// down, up, loss, mad-loss (management packets alone), delay, corrupt, duplicate, reorder (a millisecond later
    /// than those behind) or clear
    #[arg(value_name = "FAULT")]
    pub(super) fault: String,
    /// How much of it: 5ms for delay, a share of packets such as 1% for what befalls some
    #[arg(value_name = "AMOUNT")]
    pub(super) amount: Option<String>,
}

/// `fault sm`.
#[derive(Debug, ClapArgs)]
pub(super) struct FaultSmArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// busy, no-records, slow or clear
    #[arg(value_name = "FAULT")]
    pub(super) fault: String,
    /// How much later: 5s for slow
    #[arg(value_name = "AMOUNT")]
    pub(super) amount: Option<String>,
    /// The switch or host of the manager, if there are several
    #[arg(long, value_name = "NODE")]
    pub(super) node: Option<String>,
}

/// `fault inject`.
#[derive(Debug, ClapArgs)]
pub(super) struct InjectArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Where it comes in, such as sw1:3, or h1 for a host with one port
    #[arg(value_name = "PORT")]
    pub(super) port: String,
    /// Its octets, from the local route header through the VCRC, in hexadecimal digits
    #[arg(value_name = "HEX")]
    pub(super) packet: String,
    /// Append both checksums, which the octets lack
    #[arg(long)]
    pub(super) seal: bool,
}

/// `fault host`.
#[derive(Debug, ClapArgs)]
pub(super) struct FaultHostArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// The host
    #[arg(value_name = "HOST")]
    pub(super) host: String,
    /// What happens to its cables
    #[arg(value_name = "FAULT", value_enum)]
    pub(super) fault: HostFault,
}

impl ValueEnum for HostFault {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Unplug, Self::Plug]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Unplug => PossibleValue::new("unplug").help("pull them all"),
            Self::Plug => PossibleValue::new("plug").help("plug them again"),
        })
    }
}

/// `capture`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  ipoib capture -w lab.pcapng --link sw1:3\n  \
                        ipoib capture -w - --host h1 | tshark -r -")]
pub(super) struct CaptureArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Where to write pcapng; - for the standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Only this link, by one of its ends; may be given several times
    #[arg(long = "link", value_name = "LINK")]
    pub(super) links: Vec<String>,
    /// Only the links of this host; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    pub(super) hosts: Vec<String>,
}

/// `sm`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  ipoib sm sweep")]
pub(super) enum SmVerb {
    /// Have it look at the whole fabric now
    #[command(after_help = "Example:\n  ipoib sm sweep")]
    Sweep {
        /// Which lab.
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Start one of ours where none runs, as after `lab --sm none`
    #[command(after_help = "Example:\n  ipoib sm start sw2")]
    Start {
        /// Which lab.
        #[command(flatten)]
        target: TargetArgs,
        /// The switch or host it is to run at; the lab's choice if none is named
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Of several, the one with the highest leads
        #[arg(long, value_name = "0-15", value_parser = clap::value_parser!(u8).range(0..=15))]
        priority: Option<u8>,
    },
    /// End one of ours as if its process were killed: nothing is undone, nothing handed over
    #[command(after_help = "Example:\n  ipoib sm kill sw2")]
    Kill {
        /// Which lab.
        #[command(flatten)]
        target: TargetArgs,
        /// The switch or host it runs at; not needed while only one runs
        #[arg(value_name = "NODE")]
        node: Option<String>,
    },
}

/// `list`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "The exit status is 1 if none runs.\n\nExample:\n  ipoib list")]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `stop`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  ipoib stop --lab storm")]
pub(super) struct StopArgs {
    /// Which lab.
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

/// `completions`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Example:\n  ipoib completions bash > ~/.local/share/bash-completion/completions/ipoib"
)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  ipoib man | man -l -")]
pub(super) struct ManArgs {
    /// Where to write the pages of all commands
    #[arg(value_name = "DIRECTORY")]
    pub(super) directory: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_an_example() {
        fn walk(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&Args::command());
    }

    #[test]
    fn what_follows_the_dashes_is_the_command() {
        let args =
            Args::try_parse_from(["ipoib", "lab", "--seed", "7", "--", "ping", "-c", "3", "h2"]).unwrap();
        let Verb::Lab(lab) = args.verb else { panic!("{args:?}") };
        assert_eq!((lab.run.seed, lab.command.len()), (Some(7), 4));
        for words in [&["exec", "h3", "--", "ip", "-s", "link"][..], &["exec", "h3", "ip", "-s", "link"]] {
            let args = Args::try_parse_from([&["ipoib"], words].concat()).unwrap();
            let Verb::Exec(exec) = args.verb else { panic!("{args:?}") };
            assert_eq!(
                (exec.node.as_str(), exec.command),
                ("h3", ["ip", "-s", "link"].map(OsString::from).to_vec())
            );
        }
    }
}
