//! The format of OpenSM's partitions.conf.
//!
//! ```text
//! Name=0xKEY[,flag[=value]...]: member[=full|limited|both], ... ;
//! ```
//!
//! A definition may go on over lines; its head, up to the colon, stands on one. `#` begins a comment. An
//! entry `mgid=GID[,flag=value...]` takes the rest of its line. A definition of a partition that exists adds
//! to it. Where OpenSM skips what it does not understand, this says so and stops: half a partition is a
//! partition with the wrong members.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use ib_wire::{
    addr::{Gid, Guid, Mtu, MulticastGid, PKey, QKey, Rate, Scope, ServiceLevel},
    mad::attr::NodeType,
};

use super::{GroupParameters, Members, Membership, Partition, Partitions};

/// Where and why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct ParseError {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A definition begins and has no colon on its line.
    #[error("no partition definition: write Name=0xKEY,flags: members;")]
    NoHead,
    /// The file ends inside a definition.
    #[error("the definition of partition {0} does not end: write a ';' after its members")]
    NoEnd(String),
    /// The key is no number, or names no partition.
    #[error("{0} is no partition key: use 0x0001 to 0x7fff, or no key for a free one")]
    Key(String),
    /// No key is left for a partition without one.
    #[error("no partition key is free")]
    NoFreeKey,
    /// Unknown flag.
    #[error("unknown flag {0}")]
    Flag(String),
    /// A flag's value is missing or out of range.
    #[error("{flag}={value} is not possible: {hint}")]
    Value {
        /// The flag.
        flag: String,
        /// Its value, as written.
        value: String,
        /// What is possible.
        hint: &'static str,
    },
    /// Neither a GUID nor a word.
    #[error("{0} is no member: write a port GUID, ALL, ALL_CAS, ALL_SWITCHES, ALL_ROUTERS, ALL_VCAS or SELF")]
    Member(String),
    /// Neither full, limited nor both.
    #[error("{0} is no membership: write full, limited or both")]
    Membership(String),
    /// Not a multicast GID.
    #[error("{0} is no multicast GID")]
    Mgid(String),
    /// A group of IP that does not fit its partition's broadcast group.
    #[error("group {mgid} needs the {what} of its partition's broadcast group")]
    Unfit {
        /// The group.
        mgid: Gid,
        /// P_Key, MTU or rate.
        what: &'static str,
    },
}

pub(super) fn parse(file: &str, text: &str) -> Result<Partitions, ParseError> {
    let mut parser = Parser { partitions: Partitions::beside_a_file(), open: None };
    let mut last = 0;
    for (line, text) in (1..).zip(text.lines()) {
        last = line;
        parser.line(text).map_err(|reason| ParseError { file: file.into(), line, reason })?;
    }
    match parser.open {
        Some(open) => {
            let name = parser.partitions.list[open.partition].name.clone();
            Err(ParseError { file: file.into(), line: last, reason: Reason::NoEnd(name) })
        }
        None => Ok(parser.partitions),
    }
}

struct Parser {
    partitions: Partitions,
    open: Option<Open>,
}

/// The definition that the parser is in.
#[derive(Clone, Debug)]
struct Open {
    partition: usize,
    flags: Flags,
    membership: Membership,
}

/// Flags of a partition's head, which its `mgid` entries inherit.
#[derive(Clone, Debug)]
struct Flags {
    mtu: Mtu,
    rate: Rate,
    sl: ServiceLevel,
    scopes: Vec<Scope>,
    qkey: Option<QKey>,
    traffic_class: u8,
    flow_label: u32,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Reason> {
        let text = line.split('#').next().unwrap_or_default();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            let ended = pieces.peek().is_some();
            let mut rest = piece.trim();
            if !rest.is_empty() {
                let open = match self.open.take() {
                    Some(open) => open,
                    None => {
                        let (head, members) = rest.split_once(':').ok_or(Reason::NoHead)?;
                        rest = members;
                        self.head(head)?
                    }
                };
                self.entries(&open, rest)?;
                self.open = Some(open);
            }
            if ended {
                self.open = None;
            }
        }
        Ok(())
    }

    fn head(&mut self, head: &str) -> Result<Open, Reason> {
        let mut items = head.split(',').map(item);
        let (name, key) = items.next().unwrap_or_default();
        let (name, key) = match key {
            None if name.starts_with(|c: char| c.is_ascii_digit()) => ("", Some(name)),
            key => (name, key),
        };
        let mut flags = Flags::default();
        let (mut is_ipoib, mut at_index_0, mut membership) = (false, false, Membership::Limited);
        for (flag, value) in items {
            match (flag, value) {
                ("", None) => (),
                ("ipoib", None) => is_ipoib = true,
                ("indx0", None) => at_index_0 = true,
                ("defmember", Some(value)) => membership = read_membership(value)?,
                (flag, value) => flags.set(flag, value)?,
            }
        }
        let index = self.partition(name, key)?;
        let partition = &mut self.partitions.list[index];
        partition.at_index_0 |= at_index_0;
        partition.sl = flags.sl;
        if is_ipoib {
            add_groups(partition, &flags, GroupParameters::broadcast(partition.pkey));
        }
        Ok(Open { partition: index, flags, membership })
    }

    /// Finds the partition by key, without a key by name, or makes one.
    fn partition(&mut self, name: &str, key: Option<&str>) -> Result<usize, Reason> {
        let list = &mut self.partitions.list;
        let pkey = match key {
            Some(text) => {
                let number = number(text).and_then(|n| u16::try_from(n).ok()).map(PKey);
                number.ok_or_else(|| Reason::Key(text.into()))?.limited()
            }
            None => PKey::INVALID,
        };
        let found = if pkey.is_valid() {
            list.iter().position(|p| p.pkey == pkey)
        } else {
            list.iter().position(|p| !name.is_empty() && p.name == name)
        };
        if let Some(index) = found {
            return Ok(index);
        }
        let is_free = |key: &PKey| list.iter().all(|p| p.pkey != *key);
        let pkey = if pkey.is_valid() {
            pkey
        } else {
            (1..PKey::DEFAULT_LIMITED.0).map(PKey).find(is_free).ok_or(Reason::NoFreeKey)?
        };
        let name = if name.is_empty() { pkey.to_string() } else { name.into() };
        list.push(Partition::new(&name, pkey));
        Ok(list.len() - 1)
    }

    fn entries(&mut self, open: &Open, text: &str) -> Result<(), Reason> {
        let partition = &mut self.partitions.list[open.partition];
        let mut items = text.split(',').map(item);
        while let Some((word, value)) = items.next() {
            if word == "mgid" {
                return group(partition, open, value.unwrap_or_default(), items);
            }
            let membership = value.map_or(Ok(open.membership), read_membership)?;
            if word.is_empty() || word == "NONE" {
                continue;
            }
            partition.rules.push((read_members(word)?, membership));
        }
        Ok(())
    }
}

fn group<'a>(
    partition: &mut Partition,
    open: &Open,
    mgid: &str,
    items: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), Reason> {
    let parsed = mgid.parse::<Gid>().ok().and_then(Gid::multicast);
    let mut mgid = parsed.ok_or_else(|| Reason::Mgid(mgid.into()))?;
    let mut flags = Flags { scopes: Vec::new(), ..open.flags.clone() };
    for (flag, value) in items {
        if !flag.is_empty() {
            flags.set(flag, value)?;
        }
    }
    let [_, _, s0, s1, p0, p1, ..] = mgid.gid().0;
    if matches!([s0, s1], [0x40 | 0x60, 0x1b]) {
        let unfit = |what| Reason::Unfit { mgid: mgid.gid(), what };
        let pkey = PKey(u16::from_be_bytes([p0, p1]));
        if pkey != PKey::INVALID && pkey.partition() != partition.pkey.partition() {
            return Err(unfit("P_Key"));
        }
        if flags.mtu != open.flags.mtu {
            return Err(unfit("mtu"));
        }
        if flags.rate != open.flags.rate {
            return Err(unfit("rate"));
        }
        mgid = with_pkey(mgid, partition.pkey);
    }
    if flags.scopes.is_empty() {
        flags.scopes = open.flags.scopes.clone();
    }
    if flags.scopes.is_empty() {
        flags.scopes.push(mgid.scope());
    }
    add_groups(partition, &flags, GroupParameters { mgid, ..GroupParameters::broadcast(partition.pkey) });
    Ok(())
}

fn with_pkey(mgid: MulticastGid, pkey: PKey) -> MulticastGid {
    let mut gid = mgid.gid();
    gid.0[4..6].copy_from_slice(&pkey.full().0.to_be_bytes());
    gid.multicast().expect("the first octet was not touched")
}

/// Adds the group once for each scope, unless it is there.
fn add_groups(partition: &mut Partition, flags: &Flags, like: GroupParameters) {
    let group = GroupParameters {
        qkey: flags.qkey.unwrap_or(GroupParameters::Q_KEY),
        mtu: flags.mtu,
        rate: flags.rate,
        sl: flags.sl,
        traffic_class: flags.traffic_class,
        flow_label: flags.flow_label,
        ..like
    };
    let default = [Scope::LINK_LOCAL];
    let scopes = if flags.scopes.is_empty() { &default[..] } else { &flags.scopes };
    for scope in scopes {
        let group = group.in_scope(*scope);
        if partition.groups.iter().all(|g| g.mgid != group.mgid) {
            partition.groups.push(group);
        }
    }
}

impl Default for Flags {
    fn default() -> Self {
        let group = GroupParameters::broadcast(PKey::DEFAULT_LIMITED);
        Self {
            mtu: group.mtu,
            rate: group.rate,
            sl: group.sl,
            scopes: Vec::new(),
            qkey: None,
            traffic_class: 0,
            flow_label: 0,
        }
    }
}

impl Flags {
    fn set(&mut self, flag: &str, value: Option<&str>) -> Result<(), Reason> {
        let wrong = |hint| Reason::Value { flag: flag.into(), value: value.unwrap_or_default().into(), hint };
        let within = |max: u32, hint| value.and_then(number).filter(|n| *n <= max).ok_or_else(|| wrong(hint));
        let byte = |max: u8, hint| within(max.into(), hint).map(|n| u8::try_from(n).unwrap_or(max));
        match flag {
            "mtu" => {
                let hint = "it is a code: 1 to 5 for 256 to 4096 bytes";
                self.mtu =
                    Some(Mtu(byte(5, hint)?)).filter(|m| m.bytes().is_some()).ok_or_else(|| wrong(hint))?;
            }
            "rate" => {
                let hint = "it is a code: 3 for 10 Gb/s, 7 for 40 Gb/s, 16 for 100 Gb/s";
                self.rate =
                    Some(Rate(byte(63, hint)?)).filter(|r| r.mbps().is_some()).ok_or_else(|| wrong(hint))?;
            }
            "sl" => self.sl = ServiceLevel::new(byte(15, "0 to 15")?),
            "scope" => {
                let scope = byte(15, "1 to 15, or 0x1 to 0xf")?;
                if scope == 0 {
                    return Err(wrong("1 to 15, or 0x1 to 0xf"));
                }
                self.scopes.push(Scope(scope));
            }
            "Q_Key" => self.qkey = Some(QKey(within(u32::MAX, "a number of 32 bits")?)),
            "TClass" => self.traffic_class = byte(u8::MAX, "0 to 255")?,
            "FlowLabel" => self.flow_label = within(0xf_ffff, "0 to 0xfffff")?,
            _ => return Err(Reason::Flag(flag.into())),
        }
        Ok(())
    }
}

/// `word`, or `word=value`, without the blanks around.
fn item(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((word, value)) => (word.trim(), Some(value.trim())),
        None => (text.trim(), None),
    }
}

/// As C reads numbers: 0x for hex, a leading 0 for octal.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, if text.len() > 1 && text.starts_with('0') { 8 } else { 10 }),
    };
    u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

/// The word or, as OpenSM's own examples have it, its beginning.
fn read_membership(text: &str) -> Result<Membership, Reason> {
    let words = [("full", Membership::Full), ("limited", Membership::Limited), ("both", Membership::Both)];
    let found = words.into_iter().find(|(word, _)| !text.is_empty() && word.starts_with(text));
    found.map(|(_, membership)| membership).ok_or_else(|| Reason::Membership(text.into()))
}

fn read_members(word: &str) -> Result<Members, Reason> {
    Ok(match word {
        "ALL" => Members::All,
        "ALL_CAS" => Members::Nodes(NodeType::CA),
        "ALL_SWITCHES" => Members::Nodes(NodeType::SWITCH),
        "ALL_ROUTERS" => Members::Nodes(NodeType::ROUTER),
        "ALL_VCAS" => Members::VirtualNodes,
        "SELF" => Members::Own,
        _ => {
            let guid = word.parse().ok().filter(|guid| *guid != Guid::ZERO);
            Members::Port(guid.ok_or_else(|| Reason::Member(word.into()))?)
        }
    })
}
