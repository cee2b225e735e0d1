//! Configuration files of `up` and `fabric run`: TOML, with the names of the options.
//!
//! What stands on the command line comes before what stands in the file. Whatever is wrong is told with file, line and
//! what would be right.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;

use super::{
    args::{AttachArgs, FabricArgs, ManagerArgs, SmArg, UpArgs},
    plan::{FileText, driver_wait, file_mode, read_topology, spin},
    up::{Port, address, child},
};
use crate::os::ring::{MAX_RING, MIN_RING};

/// `up --config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpFile {
    interface: Option<String>,
    port: Option<Spanned<String>>,
    netns: Option<String>,
    #[serde(default)]
    addresses: Vec<Spanned<String>>,
    #[serde(default)]
    children: Vec<Spanned<String>>,
    max_address_vector: Option<Spanned<i64>>,
    max_groups: Option<Spanned<i64>>,
    tx_ring_size: Option<Spanned<i64>>,
    spin: Option<Spanned<String>>,
    state: Option<PathBuf>,
    #[serde(default)]
    wait: bool,
    #[serde(default)]
    shares_host: bool,
}

/// `fabric run --config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FabricFile {
    topology: Option<Spanned<String>>,
    name: Option<String>,
    fabric: Option<Spanned<i64>>,
    sm: Option<Sm>,
    sm_node: Option<String>,
    opensm_config: Option<PathBuf>,
    partitions: Option<Spanned<String>>,
    lids: Option<PathBuf>,
    attach: Option<PathBuf>,
    attach_mode: Option<Spanned<String>>,
    ring_size: Option<Spanned<i64>>,
    driver_wait: Option<Spanned<String>>,
    spin: Option<Spanned<String>>,
    capture: Option<PathBuf>,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sm {
    Embedded,
    Opensm,
    None,
}

/// A file that was read.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn read<T: DeserializeOwned>(path: &Path) -> Result<(Self, T)> {
        let text = fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
        let file = Self { path: path.to_owned(), text };
        let values = toml::from_str(&file.text).map_err(|error| {
            let place = file.place(error.span().unwrap_or_default());
            anyhow!("{place}: {}", error.message())
        })?;
        Ok((file, values))
    }

    /// `FILE:LINE`.
    fn place(&self, span: Range<usize>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        format!("{}:{}", self.path.display(), before.matches('\n').count() + 1)
    }

    /// A text, if `read` can make something of it.
    fn text<T>(
        &self,
        name: &str,
        value: Spanned<String>,
        read: impl FnOnce(&str) -> Result<T>,
    ) -> Result<String> {
        read(value.get_ref()).map_err(|error| anyhow!("{}: {name}: {error:#}", self.place(value.span())))?;
        Ok(value.into_inner())
    }

    /// The same of each.
    fn texts<T>(
        &self,
        name: &str,
        values: impl IntoIterator<Item = Spanned<String>>,
        read: impl Fn(&str) -> Result<T>,
    ) -> Result<Vec<String>> {
        values.into_iter().map(|value| self.text(name, value, &read)).collect()
    }

    fn spin(&self, value: Option<Spanned<String>>) -> Result<Option<String>> {
        value.map(|text| self.text("spin", text, |text| spin(Some(text)))).transpose()
    }

    /// A number, if it is within its range.
    fn number<T: TryFrom<i64>>(
        &self,
        name: &str,
        value: Option<Spanned<i64>>,
        range: Range<i64>,
    ) -> Result<Option<T>> {
        let Some(value) = value else { return Ok(None) };
        let number = *value.get_ref();
        let wrong = || {
            let place = self.place(value.span());
            anyhow!("{place}: {name} is {number}: it must be within {} to {}", range.start, range.end - 1)
        };
        T::try_from(number).ok().filter(|_| range.contains(&number)).map(Some).ok_or_else(wrong)
    }
}

impl UpArgs {
    /// Adds what its file says.
    pub(super) fn with_file(mut self) -> Result<Self> {
        let Some(path) = self.config.take() else { return Ok(self) };
        let (file, said) = File::read::<UpFile>(&path)?;
        self.interface = self.interface.or(said.interface);
        let port = said.port.map(|text| file.text("port", text, Port::read)).transpose()?;
        let addresses = file.texts("addresses", said.addresses, address)?;
        let children = file.texts("children", said.children, child)?;
        self.port = self.port.or(port);
        self.netns = self.netns.or(said.netns);
        if self.addresses.is_empty() {
            self.addresses = addresses;
        }
        if self.children.is_empty() {
            self.children = children;
        }
        let handles = file.number("max_address_vector", said.max_address_vector, 1..(1 << 16) + 1)?;
        self.max_address_vector = self.max_address_vector.or(handles);
        self.max_groups = self.max_groups.or(file.number("max_groups", said.max_groups, 8..(1 << 16) + 1)?);
        self.tx_ring_size = self.tx_ring_size.or(file.number("tx_ring_size", said.tx_ring_size, 2..8193)?);
        self.spin = self.spin.or(file.spin(said.spin)?);
        self.state = self.state.or(said.state);
        self.wait |= said.wait;
        self.shares_host |= said.shares_host;
        Ok(self)
    }
}

impl FabricArgs {
    /// Adds what its file says.
    pub(super) fn with_file(mut self) -> Result<Self> {
        let Some(path) = self.config.take() else { return Ok(self) };
        let (file, said) = File::read::<FabricFile>(&path)?;
        let sizes = i64::from(MIN_RING)..i64::from(MAX_RING) + 1;
        let sm = |sm| match sm {
            Sm::Embedded => SmArg::Embedded,
            Sm::Opensm => SmArg::Opensm,
            Sm::None => SmArg::None,
        };
        let size = said.ring_size.as_ref().map(Spanned::span);
        let ring_size = file.number("ring_size", said.ring_size, sizes)?;
        if let (Some(span), Some(size)) = (size, ring_size.filter(|size: &u32| !size.is_power_of_two())) {
            bail!("{}: ring_size is {size}: it must be a power of two", file.place(span));
        }
        let topology = |text: &str| read_topology(text.as_ref());
        let topology = said.topology.map(|text| file.text("topology", text, topology)).transpose()?;
        let partitions = |text: &str| FileText::read(text.into());
        let partitions = said.partitions.map(|text| file.text("partitions", text, partitions)).transpose()?;
        let mode = said.attach_mode.map(|text| file.text("attach_mode", text, file_mode)).transpose()?;
        let wait = said.driver_wait.map(|text| file.text("driver_wait", text, driver_wait)).transpose()?;
        let spin = file.spin(said.spin)?;
        let Self { manager, attach, mut run, .. } = self;
        run.fabric = run.fabric.or(file.number("fabric", said.fabric, 0..256)?);
        run.capture = run.capture.or(said.capture);
        run.seed = run.seed.or(said.seed);
        Ok(Self {
            topology: self.topology.or_else(|| topology.map(Into::into)),
            name: self.name.or(said.name),
            manager: ManagerArgs {
                sm: manager.sm.or_else(|| said.sm.map(sm)),
                sm_node: manager.sm_node.or(said.sm_node),
                opensm_config: manager.opensm_config.or(said.opensm_config),
                partitions: manager.partitions.or_else(|| partitions.map(Into::into)),
                lids: manager.lids.or(said.lids),
            },
            attach: AttachArgs {
                attach: attach.attach.or(said.attach),
                attach_mode: attach.attach_mode.or(mode),
                ring_size: attach.ring_size.or(ring_size),
                driver_wait: attach.driver_wait.or(wait),
                spin: attach.spin.or(spin),
            },
            run,
            config: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{
        super::args::{Args, FabricVerb, Verb},
        *,
    };

    /// What `ipoib VERB --config FILE WORDS` reads, and then does.
    fn parsed<T>(verb: &[&str], text: &str, words: &[&str], then: impl FnOnce(Verb) -> T) -> T {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ipoib-config-{}-{number}", std::process::id()));
        fs::write(&path, text).unwrap();
        let words = [&["ipoib"], verb, &["--config", path.to_str().unwrap()], words].concat();
        let done = then(Args::try_parse_from(words).unwrap().verb);
        fs::remove_file(path).unwrap();
        done
    }

    fn up(text: &str, words: &[&str]) -> Result<UpArgs> {
        parsed(&["up"], text, words, |verb| match verb {
            Verb::Up(args) => args.with_file(),
            _ => unreachable!("`up` was given"),
        })
    }

    fn fabric(text: &str) -> Result<FabricArgs> {
        parsed(&["fabric", "run"], text, &[], |verb| match verb {
            Verb::Fabric(FabricVerb::Run(args)) => args.with_file(),
            _ => unreachable!("`fabric run` was given"),
        })
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let text = "port = \"lab:h1\"\ntx_ring_size = 64\nmax_address_vector = 100\nwait = true\n";
        let args = up(text, &["--tx-ring-size", "32"]).unwrap();
        assert_eq!((args.tx_ring_size, args.max_address_vector, args.wait), (Some(32), Some(100), true));
        assert_eq!(args.port.as_deref(), Some("lab:h1"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_would_be_right() {
        let why = |text| format!("{:#}", up(text, &[]).unwrap_err());
        let unknown = why("port = \"lab:h1\"\ntx_ringsize = 64\n");
        assert!(unknown.contains(":2: unknown field `tx_ringsize`, expected one of"), "{unknown}");
        assert!(unknown.contains("`tx_ring_size`"), "{unknown}");
        let range = why("\n\ntx_ring_size = 1\n");
        assert!(range.contains(":3: tx_ring_size is 1: it must be within 2 to 8192"), "{range}");
        let kind = why("max_address_vector = \"many\"\n");
        assert!(kind.contains(":1: invalid type: string \"many\""), "{kind}");
        assert!(why("port = \n").contains(":1: "));
        for (text, says) in [
            ("wait = true\nport = \"lab\"\n", ":2: port: lab: write FABRIC:HOST"),
            ("addresses = [\"fd77::1/64\",\n\"10.77.0.1\"]\n", ":2: addresses: `10.77.0.1` is no address"),
            ("children = [\"zz\"]\n", ":1: children: `zz` is no partition"),
        ] {
            assert!(why(text).contains(says), "{}", why(text));
        }
    }

    #[test]
    fn so_it_is_for_a_fabric() {
        let args = fabric(
            "topology = \"star:2\"\nfabric = 3\nattach_mode = \"0660\"\nring_size = 524288\ndriver_wait = \"3ms\"\n",
        )
        .unwrap();
        assert_eq!((args.run.fabric, args.attach.ring_size), (Some(3), Some(1 << 19)));
        assert_eq!(args.attach.driver_wait.as_deref(), Some("3ms"));
        for (text, says) in [
            (
                "\ntopology = \"blob:3\"\n",
                ":2: topology: no such file: there is no generator `blob`: use one of",
            ),
            ("topology = \"/no/such.net\"\n", ":1: topology: /no/such.net: cannot read"),
            ("partitions = \"/no/such.conf\"\n", ":1: partitions: /no/such.conf: cannot read"),
            ("attach_mode = \"999\"\n", ":1: attach_mode: 999: write a file mode in octal, such as 0660"),
            ("ring_size = 300000\n", ":1: ring_size is 300000: it must be a power of two"),
            ("driver_wait = \"2s\"\n", ":1: driver_wait: --driver-wait 2s: at most 1s; 10ms is usual"),
            ("ring_size = 30\n", ":1: ring_size is 30: it must be within 262144 to 67108864"),
            ("fabric = 256\n", ":1: fabric is 256: it must be within 0 to 255"),
            ("sm = \"ours\"\n", ":1: unknown variant `ours`, expected one of `embedded`, `opensm`, `none`"),
        ] {
            let why = format!("{:#}", fabric(text).unwrap_err());
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn the_units_of_systemd_are_commands_and_files_of_ours() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd");
        let read = |name: &str| fs::read_to_string(format!("{directory}/{name}")).unwrap();
        for name in ["ipoib-up@.service", "ipoib-fabric@.service"] {
            let text = read(name);
            let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
            let words = line.split_whitespace().skip(1);
            let parsed = Args::try_parse_from(["ipoib"].into_iter().chain(words));
            assert!(matches!(parsed.unwrap().verb, Verb::Up(_) | Verb::Fabric(FabricVerb::Run(_))), "{name}");
        }
        toml::from_str::<UpFile>(&read("ib0.toml")).unwrap();
        toml::from_str::<FabricFile>(&read("fabric-lab.toml")).unwrap();
    }
}
