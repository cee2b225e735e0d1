//! The files as text: names and formats are those of `linux drivers/infiniband/core/sysfs.c` and `user_mad.c`.
//!
//! Functions of values alone. Tables of GIDs and P_Keys end with their last entry in use, where the kernel shows
//! all the empty ones too.

use std::borrow::Cow;

use ib_wire::{
    addr::{Gid, Guid, PKey, PortNum},
    mad::attr::{NodeType, PhysicalState, PortInfo, PortState},
};

use super::facts::{NodeFacts, PortFacts};

/// Name of a node's one adapter.
pub(in crate::lab) const DEVICE: &str = DEVICE_LINE.split_at(DEVICE_LINE.len() - 1).0;
/// The same as a file says it.
const DEVICE_LINE: &str = "ipoib_0\n";

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// Likely what many files say.
    Common(&'static str),
    /// Likely what no other says.
    Own(String),
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Common(text) => text,
            Self::Own(text) => text,
        }
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Common(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text)
    }
}

/// Paths and texts.
pub(super) type Files = Vec<(Cow<'static, str>, Text)>;

/// What is true of the device as a whole; paths from its directory.
pub(super) fn device(node: &NodeFacts) -> Files {
    let info = &node.info;
    let kind = match info.node_type {
        NodeType::CA => Text::Common("1: CA\n"),
        NodeType::SWITCH => "2: switch\n".into(),
        NodeType::ROUTER => "3: router\n".into(),
        other => format!("{}: <unknown>\n", other.0).into(),
    };
    let model = match info.vendor_id {
        MELLANOX => format!("MT{}\n", info.device_id).into(),
        _ => Text::Common("ipoib\n"),
    };
    vec![
        ("node_type".into(), kind),
        ("node_guid".into(), format!("{}\n", info.node_guid).into()),
        ("sys_image_guid".into(), format!("{}\n", info.system_image_guid).into()),
        ("node_desc".into(), format!("{}\n", node.description.text()).into()),
        ("fw_ver".into(), concat!(env!("CARGO_PKG_VERSION"), "\n").into()),
        ("hw_rev".into(), revision(info.revision)),
        ("board_id".into(), "ipoib-lab\n".into()),
        ("hca_type".into(), model),
    ]
}

/// What is true of a port; paths from its directory.
pub(super) fn port(facts: &PortFacts) -> Files {
    let info = &facts.info;
    let mut files: Files = vec![
        ("state".into(), state(info.state)),
        ("phys_state".into(), physical_state(info.physical_state)),
        ("lid".into(), format!("{:#x}\n", info.lid.0).into()),
        ("lid_mask_count".into(), number(info.lmc.0.into())),
        ("sm_lid".into(), format!("{:#x}\n", info.master_sm_lid.0).into()),
        ("sm_sl".into(), number(info.master_sm_sl.get().into())),
        ("rate".into(), rate(info).into()),
        ("cap_mask".into(), format!("{:#010x}\n", info.capability_mask.0).into()),
        ("link_layer".into(), "InfiniBand\n".into()),
    ];
    gids(facts, &mut files);
    pkeys(&facts.pkeys, &mut files);
    counters(facts, &mut files);
    files
}

/// The class of devices for MADs: two for each port of the node. Paths from the class's directory.
pub(super) fn mad_class(ports: impl IntoIterator<Item = PortNum>) -> Files {
    let mut files: Files = vec![("abi_version".into(), "5\n".into())];
    for (nth, port) in ports.into_iter().enumerate() {
        for class in ["umad", "issm"] {
            files.push((format!("{class}{nth}/ibdev").into(), DEVICE_LINE.into()));
            files.push((format!("{class}{nth}/port").into(), number(port.0.into())));
        }
    }
    files
}

fn state(state: PortState) -> Text {
    match state {
        PortState::NO_CHANGE => "0: NOP\n".into(),
        PortState::DOWN => "1: DOWN\n".into(),
        PortState::INITIALIZE => "2: INIT\n".into(),
        PortState::ARMED => "3: ARMED\n".into(),
        PortState::ACTIVE => "4: ACTIVE\n".into(),
        PortState(other) => format!("{other}: UNKNOWN\n").into(),
    }
}

fn physical_state(state: PhysicalState) -> Text {
    match state {
        PhysicalState::SLEEP => "1: Sleep\n".into(),
        PhysicalState::POLLING => "2: Polling\n".into(),
        PhysicalState::DISABLED => "3: Disabled\n".into(),
        PhysicalState::TRAINING => "4: PortConfigurationTraining\n".into(),
        PhysicalState::LINK_UP => "5: LinkUp\n".into(),
        PhysicalState::LINK_ERROR_RECOVERY => "6: LinkErrorRecovery\n".into(),
        PhysicalState::PHY_TEST => "7: Phy Test\n".into(),
        PhysicalState(other) => format!("{other}: <unknown>\n").into(),
    }
}

fn rate(info: &PortInfo) -> String {
    let (speed, lanes) = (info.active_speed(), info.link_width_active.lanes().unwrap_or(0));
    let mbps = speed.lane_mbps() * u32::from(lanes);
    let half = if mbps % 1000 == 0 { "" } else { ".5" };
    format!("{}{half} Gb/sec ({lanes}X {speed})\n", mbps / 1000)
}

fn gids(facts: &PortFacts, files: &mut Files) {
    let used = facts.aliases.iter().rposition(|guid| *guid != Guid::ZERO).map_or(0, |last| last + 1);
    let entries = std::iter::once(facts.guid).chain(facts.aliases[..used].iter().copied());
    for (index, guid) in entries.enumerate() {
        let gid = if guid == Guid::ZERO { Gid::ZERO } else { Gid::new(facts.info.gid_prefix, guid) };
        files.push((format!("gids/{index}").into(), full(gid).into()));
        files.push((format!("gid_attrs/types/{index}").into(), "IB/RoCE v1\n".into()));
        // Only an Ethernet port has an interface for a GID.
        files.push((format!("gid_attrs/ndevs/{index}").into(), "".into()));
    }
}

/// All 32 digits, as the kernel writes them.
fn full(gid: Gid) -> String {
    let groups = gid.to_ipv6().segments().map(|group| format!("{group:04x}"));
    groups.join(":") + "\n"
}

fn pkeys(table: &[PKey], files: &mut Files) {
    let used = table.iter().rposition(|key| key.is_valid()).map_or(1, |last| last + 1);
    for (index, key) in table[..used.min(table.len())].iter().enumerate() {
        let text = match *key {
            PKey::DEFAULT_FULL => "0xffff\n".into(),
            key => format!("{:#06x}\n", key.0).into(),
        };
        files.push((format!("pkeys/{index}").into(), text));
    }
}

fn counters(facts: &PortFacts, files: &mut Files) {
    let (old, new) = (&facts.counters, &facts.extended);
    let all = [
        ("counters/port_xmit_data", new.xmit_data),
        ("counters/port_rcv_data", new.rcv_data),
        ("counters/port_xmit_packets", new.xmit_pkts),
        ("counters/port_rcv_packets", new.rcv_pkts),
        ("counters/unicast_xmit_packets", new.unicast_xmit_pkts),
        ("counters/unicast_rcv_packets", new.unicast_rcv_pkts),
        ("counters/multicast_xmit_packets", new.multicast_xmit_pkts),
        ("counters/multicast_rcv_packets", new.multicast_rcv_pkts),
        ("counters/symbol_error", old.symbol_error.into()),
        ("counters/link_error_recovery", old.link_error_recovery.into()),
        ("counters/link_downed", old.link_downed.into()),
        ("counters/port_rcv_errors", old.rcv_errors.into()),
        ("counters/port_rcv_remote_physical_errors", old.rcv_remote_physical_errors.into()),
        ("counters/port_rcv_switch_relay_errors", old.rcv_switch_relay_errors.into()),
        ("counters/port_xmit_discards", old.xmit_discards.into()),
        ("counters/port_xmit_constraint_errors", old.xmit_constraint_errors.into()),
        ("counters/port_rcv_constraint_errors", old.rcv_constraint_errors.into()),
        ("counters/local_link_integrity_errors", old.local_link_integrity_errors.into()),
        ("counters/excessive_buffer_overrun_errors", old.excessive_buffer_overrun_errors.into()),
        ("counters/VL15_dropped", old.vl15_dropped.into()),
        ("counters/port_xmit_wait", old.xmit_wait.into()),
    ];
    files.extend(all.map(|(path, count)| (path.into(), number(count))));
}

fn number(n: u64) -> Text {
    match n {
        0 => "0\n".into(),
        1 => "1\n".into(),
        n => format!("{n}\n").into(),
    }
}

fn revision(revision: u32) -> Text {
    if revision == 0 { "0\n".into() } else { format!("{revision:x}\n").into() }
}

/// The one vendor whose adapters go by a number of their own.
const MELLANOX: u32 = 0x2c9;

#[cfg(test)]
mod tests {
    use ib_fabric::{Fabric, FabricConfig, topology};
    use ib_wire::{
        addr::{Lid, LinkSpeed, LinkWidth, Lmc, ServiceLevel, SubnetPrefix},
        time::Instant,
    };

    use super::*;

    /// A port of the fabric that `star:2` makes.
    fn facts(node: &str) -> (NodeFacts, PortFacts) {
        let topology = topology::generate("star:2").unwrap();
        let fabric = Fabric::new(&topology, FabricConfig::default(), 1, Instant::from_nanos(0)).unwrap();
        let (_, port) = fabric.end_ports_of(node).next().unwrap();
        (NodeFacts::take(&fabric, port), PortFacts::take(&fabric, port))
    }

    fn text(files: &Files, path: &str) -> String {
        let found = files.iter().find(|(name, _)| name == path);
        found.unwrap_or_else(|| panic!("no {path} among {files:?}")).1.as_str().to_owned()
    }

    #[test]
    fn an_adapter_and_a_switch_say_what_they_are() {
        let (mut node, _) = facts("h1");
        let files = device(&node);
        assert_eq!(text(&files, "node_type"), "1: CA\n");
        assert_eq!(text(&files, "hca_type"), "ipoib\n");
        assert_eq!(text(&files, "hw_rev"), "0\n");
        assert_eq!(text(&files, "node_guid"), format!("{}\n", node.info.node_guid));
        assert_eq!(text(&files, "node_guid").len(), 20);
        (node.info.vendor_id, node.info.device_id) = (0x2c9, 4123);
        assert_eq!(text(&device(&node), "hca_type"), "MT4123\n");
        assert_eq!(text(&device(&facts("sw1").0), "node_type"), "2: switch\n");
    }

    #[test]
    fn a_port_says_what_an_sm_made_of_it() {
        let (_, mut facts) = facts("h1");
        facts.info = PortInfo {
            state: PortState::ACTIVE,
            physical_state: PhysicalState::LINK_UP,
            lid: Lid(0x1a),
            lmc: Lmc(2),
            master_sm_lid: Lid(1),
            master_sm_sl: ServiceLevel::new(3),
            ..facts.info
        };
        let files = port(&facts);
        for (path, expected) in [
            ("state", "4: ACTIVE\n"),
            ("phys_state", "5: LinkUp\n"),
            ("lid", "0x1a\n"),
            ("lid_mask_count", "2\n"),
            ("sm_lid", "0x1\n"),
            ("sm_sl", "3\n"),
            ("link_layer", "InfiniBand\n"),
        ] {
            assert_eq!(text(&files, path), expected, "{path}");
        }
        let mask = text(&files, "cap_mask");
        assert_eq!(mask, format!("0x{:08x}\n", facts.info.capability_mask.0));
        facts.info.state = PortState::DOWN;
        facts.info.physical_state = PhysicalState::POLLING;
        facts.info.lid = Lid::NONE;
        let files = port(&facts);
        assert_eq!([text(&files, "state"), text(&files, "phys_state")], ["1: DOWN\n", "2: Polling\n"]);
        assert_eq!(text(&files, "lid"), "0x0\n");
    }

    #[test]
    fn a_rate_is_lanes_times_speed() {
        let (_, facts) = facts("h1");
        let of = |width, speed: LinkSpeed| {
            rate(&PortInfo {
                link_width_active: width,
                link_speed_active: speed.speed_bit(),
                link_speed_ext_active: speed.ext_bit(),
                ..facts.info
            })
        };
        assert_eq!(of(LinkWidth::X4, LinkSpeed::Edr), "100 Gb/sec (4X EDR)\n");
        assert_eq!(of(LinkWidth::X1, LinkSpeed::Sdr), "2.5 Gb/sec (1X SDR)\n");
        assert_eq!(of(LinkWidth::X4, LinkSpeed::Fdr), "56 Gb/sec (4X FDR)\n");
        assert_eq!(of(LinkWidth::X12, LinkSpeed::Ddr), "60 Gb/sec (12X DDR)\n");
    }

    #[test]
    fn tables_end_with_their_last_entry_in_use() {
        let (_, mut facts) = facts("h1");
        facts.guid = Guid(0x0002_c903_000e_0b72);
        facts.info.gid_prefix = SubnetPrefix::LINK_LOCAL;
        facts.pkeys = vec![PKey(0xffff), PKey::INVALID, PKey(1), PKey::INVALID];
        facts.aliases = vec![Guid::ZERO, Guid(0xabc), Guid::ZERO];
        let files = port(&facts);
        assert_eq!(text(&files, "gids/0"), "fe80:0000:0000:0000:0002:c903:000e:0b72\n");
        assert_eq!(text(&files, "gids/1"), "0000:0000:0000:0000:0000:0000:0000:0000\n");
        assert_eq!(text(&files, "gids/2"), "fe80:0000:0000:0000:0000:0000:0000:0abc\n");
        assert_eq!(text(&files, "gid_attrs/types/2"), "IB/RoCE v1\n");
        let keys = ["pkeys/0", "pkeys/1", "pkeys/2"].map(|path| text(&files, path));
        assert_eq!(keys, ["0xffff\n", "0x0000\n", "0x0001\n"]);
        for absent in ["gids/3", "pkeys/3"] {
            assert!(files.iter().all(|(path, _)| path != absent), "{absent}");
        }
        facts.pkeys = vec![PKey::INVALID; 32];
        assert_eq!(port(&facts).iter().filter(|(path, _)| path.starts_with("pkeys/")).count(), 1);
    }

    #[test]
    fn each_counter_is_in_its_file() {
        let (_, mut facts) = facts("h1");
        facts.extended.xmit_data = u64::MAX;
        facts.extended.multicast_rcv_pkts = 7;
        facts.counters.link_downed = 255;
        facts.counters.xmit_wait = 12;
        let files = port(&facts);
        assert_eq!(text(&files, "counters/port_xmit_data"), "18446744073709551615\n");
        assert_eq!(text(&files, "counters/multicast_rcv_packets"), "7\n");
        assert_eq!(text(&files, "counters/link_downed"), "255\n");
        assert_eq!(text(&files, "counters/port_xmit_wait"), "12\n");
        assert_eq!(files.iter().filter(|(path, _)| path.starts_with("counters/")).count(), 21);
    }

    #[test]
    fn every_port_has_its_two_devices_for_mads() {
        let files = mad_class([PortNum(1), PortNum(2)]);
        assert_eq!(text(&files, "abi_version"), "5\n");
        assert_eq!(text(&files, "umad1/port"), "2\n");
        assert_eq!(text(&files, "issm0/ibdev"), format!("{DEVICE}\n"));
    }
}
