//! What a command line comes to: files read, words understood, nothing begun.

use std::{ffi::OsStr, ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use ib_fabric::topology::{self, GENERATORS, Topology, parse_duration};
use ib_wire::addr::PKey;

use crate::{
    attach::AttachConfig,
    os::ring::{MAX_RING, MIN_RING},
};

use super::args::{AttachArgs, FabricArgs, LabArgs, ManagerArgs, SmArg};

/// All that `ipoib lab` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabPlan {
    /// The name asked for; `None` leaves the choice of a free one to the lab.
    pub name: Option<String>,
    /// What is cabled to what; valid.
    pub topology: Topology,
    /// What runs beside the fabric, and where.
    pub shape: Shape,
    /// How drivers that are processes of their own get their ports.
    pub attach: AttachPlan,
    /// Who manages the subnet.
    pub sm: SmChoice,
    /// The switch or host the manager runs at; `None` leaves the choice to the lab.
    pub place: Option<String>,
    /// Partition definitions, as written.
    pub partitions: Option<FileText>,
    /// Child interfaces: one `ib0.8001` per key in every host whose port has it. Full keys, without duplicates,
    /// never the default partition.
    pub children: Vec<PKey>,
    /// Where LIDs are remembered from one run to the next; the file need not exist.
    pub lids: Option<PathBuf>,
    /// Most address handles an interface keeps.
    pub max_address_vector: usize,
    /// Most multicast groups an interface is in.
    pub max_groups: usize,
    /// Send descriptors of an interface; its txqueuelen is twice that.
    pub tx_ring_size: u32,
    /// How long to look for more traffic before the thread sleeps.
    pub spin: Duration,
    /// Where to record all links, in pcapng.
    pub capture: Option<PathBuf>,
    /// What chance begins with; `None` leaves it to the lab, which says what it took.
    pub seed: Option<u64>,
    /// Command to run in the first host when the subnet is up; empty for none.
    pub command: Vec<OsString>,
    /// How much to say on stderr: 0 results only, 1 progress, 2 and more in detail.
    pub verbosity: u8,
}

/// What runs beside the fabric, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every host with its interfaces, all in one process.
    Together,
    /// Every host, and for each of its ports a driver that is a process of its own.
    Isolated,
    /// No hosts.
    FabricAlone,
}

/// The attach socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachPlan {
    /// Where it is to be; in the run directory if nothing is said.
    pub socket: Option<PathBuf>,
    /// Who may connect, and how large rings are.
    pub config: AttachConfig,
}

/// Who manages the subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmChoice {
    /// Our own.
    Embedded,
    /// The distribution's OpenSM.
    OpenSm {
        /// Its configuration file.
        config: Option<PathBuf>,
    },
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

impl FileText {
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        let text = fs::read_to_string(&path).with_context(|| format!("{}: cannot read", path.display()))?;
        Ok(Self { path, text })
    }
}

impl LabPlan {
    /// Makes the plan that the arguments ask for.
    pub(super) fn new(args: LabArgs) -> Result<Self> {
        let plan = Self::of_fabric(FabricArgs {
            topology: Some(args.topology),
            config: None,
            name: args.name,
            manager: args.manager,
            attach: AttachArgs {
                attach: None,
                attach_mode: None,
                ring_size: args.ring_size,
                driver_wait: args.driver_wait,
                spin: args.spin,
            },
            run: args.run,
        })?;
        Ok(Self {
            shape: if args.isolate { Shape::Isolated } else { Shape::Together },
            children: children(&args.children).context("--children")?,
            max_address_vector: usize::try_from(args.max_address_vector).unwrap_or(usize::MAX),
            max_groups: usize::try_from(args.max_groups).unwrap_or(usize::MAX),
            tx_ring_size: args.tx_ring_size,
            command: args.command,
            ..plan
        })
    }

    /// Makes the plan of a fabric alone.
    pub(super) fn of_fabric(args: FabricArgs) -> Result<Self> {
        let FabricArgs { topology, name, manager, attach, run, .. } = args.with_file()?;
        let topology = topology.context("no topology: name one, or write topology = ... into the file")?;
        let mut topology = read_topology(&topology).context("--topology")?;
        if let Some(number) = run.fabric {
            topology.set_fabric_number(number);
        }
        let sm = sm_choice(&manager, &topology)?;
        let spin = spin(attach.spin.as_deref())?;
        Ok(Self {
            name,
            topology,
            shape: Shape::FabricAlone,
            attach: attach.plan()?,
            sm,
            place: manager.sm_node,
            partitions: manager.partitions.map(FileText::read).transpose().context("--partitions")?,
            children: Vec::new(),
            lids: manager.lids,
            max_address_vector: 0,
            max_groups: 0,
            tx_ring_size: 1,
            spin,
            capture: run.capture,
            seed: run.seed,
            command: Vec::new(),
            verbosity: if run.quiet { 0 } else { 1 + run.verbose },
        })
    }
}

impl AttachArgs {
    fn plan(self) -> Result<AttachPlan> {
        let mut config = AttachConfig::default();
        if let Some(mode) = &self.attach_mode {
            config.mode = file_mode(mode).map_err(|error| anyhow!("--attach-mode {error}"))?;
        }
        if let Some(size) = self.ring_size {
            if !size.is_power_of_two() || !(MIN_RING..=MAX_RING).contains(&size) {
                bail!("--ring-size {size}: a power of two from {MIN_RING} to {MAX_RING}");
            }
            config.ring = size;
        }
        if let Some(wait) = &self.driver_wait {
            config.wait = driver_wait(wait)?;
        }
        Ok(AttachPlan { socket: self.attach, config })
    }
}

/// Reads `0660`.
pub(super) fn file_mode(text: &str) -> Result<u32> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777);
    bits.with_context(|| format!("{text}: write a file mode in octal, such as 0660"))
}

/// Who manages the subnet, where the topology allows it.
fn sm_choice(args: &ManagerArgs, topology: &Topology) -> Result<SmChoice> {
    let sm = args.sm.unwrap_or(SmArg::Embedded);
    if let Some(node) = &args.sm_node
        && topology.find(node).is_none()
    {
        bail!(
            "--sm-node {node}: no switch or host of the topology: `h1` is the first host, `sw1` the first switch"
        );
    }
    if args.opensm_config.is_some() && sm != SmArg::Opensm {
        bail!("--opensm-config: needs --sm opensm");
    }
    if args.lids.is_some() && sm != SmArg::Embedded {
        bail!("--lids: needs --sm embedded: OpenSM keeps its own file, guid2lid, in its cache directory");
    }
    if args.sm_node.is_some() && sm == SmArg::None {
        bail!("--sm-node: needs a subnet manager: --sm embedded or --sm opensm");
    }
    Ok(match sm {
        SmArg::Embedded => SmChoice::Embedded,
        SmArg::Opensm => SmChoice::OpenSm { config: args.opensm_config.clone() },
        SmArg::None => SmChoice::None,
    })
}

/// A generator's word is that generator, also if there is a file of the name; write `./pair` for the file.
pub(super) fn read_topology(given: &OsStr) -> Result<Topology> {
    let words = GENERATORS.iter().map(|help| help.usage.split(':').next().unwrap_or_default());
    let is_generator = |text: &str| {
        let word = text.split(':').next().unwrap_or_default();
        words.clone().any(|known| known == word)
    };
    match given.to_str() {
        Some(text) if is_generator(text) => Ok(topology::generate(text)?),
        Some(text) if !text.contains(['/', '.']) && !PathBuf::from(text).exists() => {
            // Neither: the generator's complaint lists what there is.
            topology::generate(text).context("no such file")
        }
        _ => {
            let file = FileText::read(given.into())?;
            Ok(topology::parse(&file.path.display().to_string(), &file.text)?)
        }
    }
}

/// How long to look for more before sleeping; not at all if nothing is said.
pub(super) fn spin(given: Option<&str>) -> Result<Duration> {
    given.map_or(Ok(Duration::ZERO), |text| time("--spin", text, Duration::from_millis(1), "20us"))
}

/// How long senders wait for a driver.
pub(super) fn driver_wait(text: &str) -> Result<Duration> {
    time("--driver-wait", text, Duration::from_secs(1), "10ms")
}

/// Reads an option's time, of which more than `most` makes no sense.
fn time(option: &str, text: &str, most: Duration, usual: &str) -> Result<Duration> {
    let time = parse_duration(text).with_context(|| format!("{option} {text}"))?;
    if time > most {
        bail!("{option} {text}: at most {most:?}; {usual} is usual");
    }
    Ok(time)
}

/// P_Keys in hexadecimal, with `0x` or without, whose membership bit does not matter.
pub(super) fn children(given: &[String]) -> Result<Vec<PKey>> {
    let mut keys = Vec::new();
    for text in given {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let key = u16::from_str_radix(digits, 16).ok().map(|key| PKey(key).full());
        match key.filter(|key| !matches!(key.partition(), 0 | 0x7fff)) {
            Some(key) if keys.contains(&key) => {}
            Some(key) => keys.push(key),
            None => bail!(
                "`{text}` is no partition of a child: write a P_Key in hex from 0001 to 7ffe, such as 8001"
            ),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::args, *};

    fn plan(words: &[&str]) -> Result<LabPlan> {
        let args = args::Args::try_parse_from([&["ipoib", "lab"], words].concat()).unwrap();
        let args::Verb::Lab(lab) = args.verb else { unreachable!("`lab` was given") };
        LabPlan::new(lab)
    }

    fn refusal(words: &[&str]) -> String {
        format!("{:#}", plan(words).unwrap_err())
    }

    #[test]
    fn without_options_it_is_the_lab_of_the_manual() {
        let plan = plan(&[]).unwrap();
        assert_eq!(plan.topology.counts().to_string(), "2 switches, 4 hosts, 6 links");
        assert_eq!((plan.max_address_vector, plan.tx_ring_size, plan.verbosity), (2048, 128, 1));
        assert_eq!((plan.sm, plan.seed, plan.name), (SmChoice::Embedded, None, None));
    }

    #[test]
    fn a_topology_is_a_word_or_a_file() {
        assert_eq!(plan(&["--topology", "star:7"]).unwrap().topology.counts().hosts, 7);
        let file = std::env::temp_dir().join(format!("ipoib-plan-{}.toml", std::process::id()));
        fs::write(&file, topology::to_toml(&topology::generate("line:3").unwrap())).unwrap();
        let read = plan(&["--topology", file.to_str().unwrap()]);
        fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap().topology.counts().switches, 3);
    }

    #[test]
    fn what_cannot_be_done_says_what_to_do() {
        assert!(refusal(&["--topology", "stair:7"]).contains("no generator `stair`: use one of pair star:N"));
        assert!(refusal(&["--topology", "star"]).contains("`star` needs N: write star:N"));
        assert!(refusal(&["--topology", "/no/such.toml"]).contains("/no/such.toml: cannot read"));
        assert!(refusal(&["--opensm-config", "/etc/o.conf"]).contains("needs --sm opensm"));
        assert!(refusal(&["--sm-node", "h9"]).contains("no switch or host"));
        assert!(refusal(&["--sm", "opensm", "--lids", "l"]).contains("guid2lid"));
        assert!(refusal(&["--sm", "none", "--sm-node", "h1"]).contains("needs a subnet manager"));
        assert!(refusal(&["--children", "ffff"]).contains("from 0001 to 7ffe"));
        assert!(
            refusal(&["--partitions", "/no/partitions"])
                .contains("--partitions: /no/partitions: cannot read")
        );
    }

    #[test]
    fn children_are_full_keys_named_once() {
        let plan = plan(&["--children", "0x8001,1", "2"]).unwrap();
        assert_eq!(plan.children, [PKey(0x8001), PKey(0x8002)]);
    }
}
