//! One line of a net file, by itself: what it says, before anything is known of the lines around it.

use alloc::{format, string::String};

use ib_wire::addr::{Guid, LinkSpeed, LinkWidth, Lmc, UnicastLid};

use super::model::NodeKind;

/// What a line says. Names are as in the file.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// Nothing, or a heading of `ibnetdiscover`. Ends a list of ports.
    Blank,
    /// Does not end a list of ports.
    Comment,
    Node(NodeLine<'a>),
    Port(PortLine<'a>),
    /// `@[port] "alias"`.
    Alias(u64, &'a str),
    /// GUID of the next node of a kind, and of its port 0.
    NodeGuid(NodeKind, GuidBase, Option<Guid>),
    VendorId(u32),
    DeviceId(u16),
    SystemGuid(Guid),
    /// Masks for the links that follow.
    Allow(Masks),
    Module(&'a str),
}

#[derive(Debug, PartialEq)]
pub(super) enum GuidBase {
    Absolute(u64),
    /// Counts from the last absolute one.
    Relative(u64),
}

/// `Switch 8 "S-1" # "sw1" base port 0 lid 2 lmc 0`.
#[derive(Debug, PartialEq)]
pub(super) struct NodeLine<'a> {
    pub(super) kind: NodeKind,
    pub(super) ports: u64,
    pub(super) id: &'a str,
    pub(super) description: Option<&'a str>,
    pub(super) enhanced_port0: bool,
    pub(super) address: Address,
}

/// `[1](100001) "S-1"[2] w=2 # lid 1 lmc 0 "sw1" lid 2 4xEDR`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PortLine<'a> {
    pub(super) port: u64,
    pub(super) guid: Option<Guid>,
    pub(super) peer: &'a str,
    pub(super) peer_port: Option<u64>,
    pub(super) peer_guid: Option<Guid>,
    pub(super) allow: Masks,
    pub(super) address: Address,
    pub(super) width: Option<LinkWidth>,
    pub(super) speed: Option<LinkSpeed>,
}

/// LID and LMC of the node or port that the line is about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Address {
    pub(super) lid: Option<UnicastLid>,
    pub(super) lmc: Option<Lmc>,
}

/// What a link may run at, where given: the bits of PortInfo.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Masks {
    pub(super) width: Option<u8>,
    pub(super) speed: Option<u8>,
    pub(super) extended: Option<u8>,
}

/// Reads a line, without its end.
pub(super) fn parse(line: &str) -> Result<Line<'_>, String> {
    let line = line.trim();
    let word = line.find(|c: char| !c.is_ascii_alphabetic()).map_or(line, |end| &line[..end]);
    match (line.chars().next(), word) {
        (None, _) | (_, "Chassis" | "Non" | "Hostname" | "pdebug") => Ok(Line::Blank),
        (Some('#'), _) => Ok(Line::Comment),
        (Some('['), _) => port_line(line).map(Line::Port),
        (Some('@'), _) => alias_line(&line[1..]),
        (_, "Switch") => node_line(NodeKind::Switch, line).map(Line::Node),
        (_, "Hca" | "Ca") => node_line(NodeKind::Hca, line).map(Line::Node),
        (_, "Rt") => node_line(NodeKind::Router, line).map(Line::Node),
        (_, "include") => Err("`include` is not followed: put the text of that file here".into()),
        (_, "do") => {
            Err("`do` is a command to ibsim's console: leave it out, and change the fabric when it runs"
                .into())
        }
        (_, "module") => {
            let mut rest = Cursor(line);
            rest.skip_to('"').ok_or_else(|| expected("a prefix in quotes, as module=\"m\"", line))?;
            Ok(Line::Module(rest.quoted()?))
        }
        _ => setting(word, &line[word.len()..]),
    }
}

/// `name=value`, of which `name` is read already.
fn setting<'a>(name: &str, rest: &str) -> Result<Line<'a>, String> {
    let value = rest.split(|c: char| c.is_whitespace() || c == '#').next().unwrap_or("");
    let kind = match name {
        "switchguid" => Some(NodeKind::Switch),
        "caguid" | "hcaguids" => Some(NodeKind::Hca),
        "rtguid" => Some(NodeKind::Router),
        "vendid" | "devid" | "sysimgguid" | "width" | "speed" | "extspeed" => None,
        _ => {
            return Err(format!(
                "`{}` begins no line of a net file: those are Switch, Hca, Ca, Rt, [port], or a setting such as \
                 switchguid=0x200000",
                if name.is_empty() { rest } else { name }
            ));
        }
    };
    if let Some(kind) = kind {
        let (base, port) = value.split_once('(').map_or((value, None), |(base, port)| (base, Some(port)));
        let port = port.map(|port| hex_guid(port.trim_end_matches(')'))).transpose()?;
        let relative = base.strip_prefix("=+").or_else(|| base.strip_prefix('+'));
        let base = match relative {
            Some(offset) => GuidBase::Relative(number(offset)?),
            None => GuidBase::Absolute(number(after_equals(base)?)?),
        };
        return Ok(Line::NodeGuid(kind, base, port));
    }
    let value = number(after_equals(value)?)?;
    Ok(match name {
        "vendid" => Line::VendorId(u32::try_from(within(name, value, 0xff_ffff)?).unwrap_or_default()),
        "devid" => Line::DeviceId(u16::try_from(within(name, value, 0xffff)?).unwrap_or_default()),

        "sysimgguid" => Line::SystemGuid(Guid(value)),
        _ => {
            let mut masks = Masks::default();
            masks.set(name, value)?;
            Line::Allow(masks)
        }
    })
}

impl Masks {
    /// Sets the mask that a setting or an option names; false for any other name.
    fn set(&mut self, name: &str, value: u64) -> Result<bool, String> {
        let (mask, max) = match name {
            "w" | "width" => (&mut self.width, 31),
            "s" | "speed" => (&mut self.speed, 7),
            "e" | "extspeed" => (&mut self.extended, 31),
            _ => return Ok(false),
        };
        let value = match name {
            "w" | "width" if value == 0 => return Err(format!("{name} cannot be 0: write 2 for 4x")),
            // ibsim's way to say QDR.
            "s" | "speed" if value == 0 => LinkSpeed::Qdr.speed_bit().into(),
            _ => within(name, value, max)?,
        };
        *mask = u8::try_from(value).ok();
        Ok(true)
    }
}

fn within(name: &str, value: u64, max: u64) -> Result<u64, String> {
    if value <= max { Ok(value) } else { Err(format!("{name} cannot be {value}: write at most {max:#x}")) }
}

fn after_equals(text: &str) -> Result<&str, String> {
    text.strip_prefix('=').ok_or_else(|| expected("`=` and a number", text))
}

fn node_line(kind: NodeKind, line: &str) -> Result<NodeLine<'_>, String> {
    let mut rest = Cursor(line);
    let before =
        rest.skip_to('"').ok_or_else(|| expected("an identifier in quotes, as Switch 8 \"sw1\"", line))?;
    let ports = before.trim_start_matches(|c: char| !c.is_ascii_digit()).trim();
    let ports = number(ports).map_err(|_| expected("the number of ports, as Switch 8 \"sw1\"", line))?;
    let id = rest.quoted()?;
    let (description, tail) = description(rest.0);
    let mut node = NodeLine {
        kind,
        ports,
        id,
        description,
        enhanced_port0: tail.contains("enhanced port 0"),
        address: Address::default(),
    };
    let mut words = tail.split_whitespace();
    while let Some(word) = words.next() {
        node.address.word(word, words.clone().next())?;
    }
    Ok(node)
}

/// Description and what follows it. A description in quotes ends at the last quote of the line, so that it may
/// hold quotes itself; one without ends where an address begins.
fn description(text: &str) -> (Option<&str>, &str) {
    let Some((before, comment)) = text.split_once('#') else { return (None, text) };
    let comment = comment.trim();
    if let Some((_, rest)) = comment.split_once('"').filter(|(before, _)| before.is_empty()) {
        return rest.rsplit_once('"').map_or((Some(rest), ""), |(text, tail)| (Some(text), tail));
    }
    let ends = [" enhanced port ", " base port ", " lid ", " lmc "];
    let end = ends.iter().filter_map(|end| comment.find(end)).min().unwrap_or(comment.len());
    let text = comment[..end].trim();
    if text.is_empty() { (None, before) } else { (Some(text), &comment[end..]) }
}

fn alias_line(line: &str) -> Result<Line<'_>, String> {
    let mut rest = Cursor(line);
    let port = rest.bracket('[', ']').ok_or_else(|| expected("a port, as @[1] \"alias\"", line))?;
    rest.skip_to('"').ok_or_else(|| expected("an alias in quotes, as @[1] \"alias\"", line))?;
    Ok(Line::Alias(number(port)?, rest.quoted()?))
}

fn port_line(line: &str) -> Result<PortLine<'_>, String> {
    let mut rest = Cursor(line);
    let port = rest.bracket('[', ']').ok_or_else(|| expected("a port, as [1] \"sw1\"[2]", line))?;
    let mut port = PortLine { port: number(port)?, ..PortLine::default() };
    rest.skip_external();
    port.guid = rest.bracket('(', ')').map(hex_guid).transpose()?;
    let between =
        rest.skip_to('"').ok_or_else(|| expected("the other end in quotes, as [1] \"sw1\"[2]", line))?;
    if !between.trim().is_empty() {
        return Err(expected("the other end in quotes, as [1] \"sw1\"[2]", between.trim()));
    }
    port.peer = rest.quoted()?;
    rest.skip_external();
    port.peer_port = rest.bracket('[', ']').map(number).transpose()?;
    rest.skip_external();
    port.peer_guid = rest.bracket('(', ')').map(hex_guid).transpose()?;
    port.tail(rest.0)?;
    Ok(port)
}

impl PortLine<'_> {
    /// Options, then after `#` what `ibnetdiscover` knows: own address before the far description, width and speed
    /// after it.
    fn tail(&mut self, tail: &str) -> Result<(), String> {
        let (own, far) = match (tail.find('"'), tail.rfind('"')) {
            (Some(first), Some(last)) => (&tail[..first], &tail[last + 1..]),
            _ => (tail, ""),
        };
        let (options, own) = own.split_once('#').unwrap_or((own, ""));
        let mut words = options.split_whitespace();
        while let Some(word) = words.next() {
            if self.address.word(word, words.clone().next())? {
                words.next();
            } else if !self.option(word)? && !self.link(word) {
                return Err(expected("w=, s=, e=, lid, lmc or a comment after #", word));
            }
        }
        // A comment may be anybody's: what is no number there is no error.
        let mut words = own.split_whitespace();
        while let Some(word) = words.next() {
            let _ = self.address.word(word, words.clone().next());
            self.link(word);
        }
        for word in far.split_whitespace() {
            self.link(word);
        }
        Ok(())
    }

    /// `w=2`, `s=7`, `e=1`; false for anything else.
    fn option(&mut self, word: &str) -> Result<bool, String> {
        let Some((name, value)) = word.split_once('=') else { return Ok(false) };
        match name {
            "w" | "s" | "e" => self.allow.set(name, number(value)?),
            _ => Ok(false),
        }
    }

    /// `4xEDR`; false for anything else.
    fn link(&mut self, word: &str) -> bool {
        let widths = [
            ("12x", Some(LinkWidth::X12)),
            ("1x", Some(LinkWidth::X1)),
            ("2x", Some(LinkWidth::X2)),
            ("4x", Some(LinkWidth::X4)),
            ("8x", Some(LinkWidth::X8)),
            ("??", None),
        ];
        let found = widths.iter().find_map(|(name, width)| Some((width, word.strip_prefix(name)?)));
        let Some((width, speed)) =
            found.filter(|(_, speed)| speed.starts_with(|c: char| c.is_ascii_uppercase() || c == '?'))
        else {
            return false;
        };
        self.width = *width;
        self.speed = nearest_speed(speed);
        true
    }
}

/// The speed of that name, or the nearest to it that we know; `None` for `???`.
fn nearest_speed(name: &str) -> Option<LinkSpeed> {
    match name {
        "FDR10" => Some(LinkSpeed::Qdr),
        _ if name.starts_with('?') => None,
        _ => super::quantity::parse_speed(name).ok().or_else(|| LinkSpeed::ALL.last().copied()),
    }
}

impl Address {
    /// Takes `lid N` and `lmc N`; false for any other word.
    fn word(&mut self, word: &str, value: Option<&str>) -> Result<bool, String> {
        match word {
            "lid" => {
                let lid = number(value.unwrap_or(""))?;
                self.lid = match u16::try_from(lid).map(UnicastLid::try_from) {
                    Ok(Ok(lid)) => Some(lid),
                    _ if lid == 0 => None,
                    _ => {
                        return Err(format!(
                            "LID {lid} is no unicast LID: write 1 to {}, or 0 for none",
                            UnicastLid::MAX
                        ));
                    }
                };
            }
            "lmc" => {
                let lmc = number(value.unwrap_or(""))?;
                let lmc = u8::try_from(lmc).ok().filter(|lmc| *lmc <= 7);
                self.lmc = Some(Lmc(lmc.ok_or("the LMC goes from 0 to 7")?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Moves to the next `to`; what was passed over.
    fn skip_to(&mut self, to: char) -> Option<&'a str> {
        let at = self.0.find(to)?;
        let (before, rest) = self.0.split_at(at);
        self.0 = rest;
        Some(before)
    }

    /// The text in the quotes that begin here.
    fn quoted(&mut self) -> Result<&'a str, String> {
        self.bracket('"', '"').ok_or_else(|| expected("a closing quote", self.0))
    }

    /// The text in the brackets that begin here, after blanks.
    fn bracket(&mut self, open: char, close: char) -> Option<&'a str> {
        let (inner, rest) = self.0.trim_start().strip_prefix(open)?.split_once(close)?;
        self.0 = rest;
        Some(inner)
    }

    /// Passes over `[ext 7]`, the number on the housing.
    fn skip_external(&mut self) {
        if self.0.trim_start().starts_with("[ext") {
            self.bracket('[', ']');
        }
    }
}

fn expected(what: &str, found: &str) -> String {
    format!("expected {what}, found `{}`", found.trim())
}

/// A number as C reads it: decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let value = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    value.ok_or_else(|| expected("a number", text))
}

/// A GUID as it stands in parentheses: hexadecimal without `0x`.
fn hex_guid(text: &str) -> Result<Guid, String> {
    text.trim().parse().map_err(|_| expected("a GUID in hexadecimal digits", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn port(line: &str) -> PortLine<'_> {
        match parse(line) {
            Ok(Line::Port(port)) => port,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[track_caller]
    fn node(line: &str) -> NodeLine<'_> {
        match parse(line) {
            Ok(Line::Node(node)) => node,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn port_lines_of_both_kinds_are_read() {
        let line = port(
            "[1](100001) \t\"S-0000000000200000\"[3]\t\t# lid 1 lmc 2 \"sw \"1\" lid 7\" lid 2 4xHDR s=1 w=2 v=4",
        );
        assert_eq!((line.port, line.guid, line.peer), (1, Some(Guid(0x10_0001)), "S-0000000000200000"));
        assert_eq!((line.peer_port, line.peer_guid), (Some(3), None));
        assert_eq!((line.address.lid.map(UnicastLid::get), line.address.lmc), (Some(1), Some(Lmc(2))));
        assert_eq!((line.width, line.speed), (Some(LinkWidth::X4), Some(LinkSpeed::Hdr)));
        let line = port("[17][ext 3]\t\"H-1\"[1][ext 4](100006) \t\t# \"h3 HCA-1\" lid 5 12xXDR");
        assert_eq!((line.peer_guid, line.address.lid), (Some(Guid(0x10_0006)), None));
        assert_eq!((line.width, line.speed), (Some(LinkWidth::X12), LinkSpeed::ALL.last().copied()));
    }

    #[test]
    fn ibsims_options_are_masks() {
        let line = port("[2] \"Hca1\" w=3 s=7 e=0x2 lid 9 # mine, lid of that");
        assert_eq!(line.allow, Masks { width: Some(3), speed: Some(7), extended: Some(2) });
        assert_eq!((line.peer, line.peer_port), ("Hca1", None));
        assert_eq!(line.address.lid.map(UnicastLid::get), Some(9));
        assert_eq!(parse("width=2"), Ok(Line::Allow(Masks { width: Some(2), ..Masks::default() })));
    }

    #[test]
    fn unknown_widths_and_speeds_count_as_not_given() {
        let line = port("[2]\t\"S-1\"[1]\t\t# \"sw\" lid 5 ?????");
        assert_eq!((line.width, line.speed), (None, None));
        assert_eq!(port("[2] \"S\" # \"\" lid 5 4xFDR10").speed, Some(LinkSpeed::Qdr));
    }

    #[test]
    fn descriptions_may_hold_anything() {
        let line = node("Switch\t8 \"S-1\"\t\t# \"a \"b\" # lid 9\" enhanced port 0 lid 3 lmc 1");
        assert_eq!((line.ports, line.id, line.description), (8, "S-1", Some("a \"b\" # lid 9")));
        assert!(line.enhanced_port0);
        assert_eq!((line.address.lid.map(UnicastLid::get), line.address.lmc), (Some(3), Some(Lmc(1))));
        assert_eq!(node("Hca 2 \"x\"").description, None);
        assert_eq!(node("Hca 2 \"x\" # \"\"").description, Some(""));
        let bare = node("Switch 8 \"S-1\" # my switch base port 0 lid 4");
        assert_eq!((bare.description, bare.address.lid.map(UnicastLid::get)), (Some("my switch"), Some(4)));
    }

    #[test]
    fn settings_are_read() {
        let switch = |base, port| Ok(Line::NodeGuid(NodeKind::Switch, base, port));
        assert_eq!(parse("switchguid=0x2a(2b)\t# x"), switch(GuidBase::Absolute(42), Some(Guid(43))));
        assert_eq!(parse("switchguid=+0x10"), switch(GuidBase::Relative(16), None));
        assert_eq!(parse("switchguid+3"), switch(GuidBase::Relative(3), None));
        assert_eq!(parse("vendid=0x2c9"), Ok(Line::VendorId(0x2c9)));
        assert_eq!(parse("sysimgguid=0x20\t\t# Chassis 1"), Ok(Line::SystemGuid(Guid(32))));
        assert_eq!(parse("module=\"m1\""), Ok(Line::Module("m1")));
        assert_eq!(parse("@[3] \"up\""), Ok(Line::Alias(3, "up")));
        assert_eq!(parse("Non-Chassis Nodes"), Ok(Line::Blank));
    }

    #[test]
    fn a_line_that_is_not_understood_says_what_would_be() {
        for (line, message) in [
            (
                "Swich 8 \"a\"",
                "`Swich` begins no line of a net file: those are Switch, Hca, Ca, Rt, [port], or a setting such as switchguid=0x200000",
            ),
            ("Switch \"a\"", "expected the number of ports, as Switch 8 \"sw1\", found `Switch \"a\"`"),
            ("Switch 8 a", "expected an identifier in quotes, as Switch 8 \"sw1\", found `Switch 8 a`"),
            ("Switch 8 \"a", "expected a closing quote, found `\"a`"),
            ("[x] \"a\"", "expected a number, found `x`"),
            ("[1] sw1", "expected the other end in quotes, as [1] \"sw1\"[2], found `[1] sw1`"),
            ("[1] to \"sw1\"", "expected the other end in quotes, as [1] \"sw1\"[2], found `to`"),
            ("[1] \"sw1\" x=1", "expected w=, s=, e=, lid, lmc or a comment after #, found `x=1`"),
            ("[1] \"sw1\" w=32", "w cannot be 32: write at most 0x1f"),
            ("[1] \"sw1\" lid 49152", "LID 49152 is no unicast LID: write 1 to 49151, or 0 for none"),
            ("caguid=", "expected a number, found ``"),
            ("include \"x\"", "`include` is not followed: put the text of that file here"),
        ] {
            assert_eq!(parse(line), Err(message.into()), "{line}");
        }
    }
}
