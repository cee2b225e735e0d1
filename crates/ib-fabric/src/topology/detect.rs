//! Reads a file in whichever form it is.

use alloc::{string::String, vec};

use super::{
    error::{Reason, TopologyErrors},
    ibnet::parse_ibnet,
    model::Topology,
    toml::parse_toml,
};

/// Reads a topology file: our own TOML, a net file of ibsim, or what `ibnetdiscover` printed.
///
/// The first line that is neither blank nor a comment tells which; the name only appears in errors.
pub fn parse(file_name: &str, text: &str) -> Result<Topology, TopologyErrors> {
    match form(text) {
        Form::Toml => parse_toml(file_name, text),
        Form::Net => parse_ibnet(file_name, text),
        Form::Other(line, what) => {
            let message = String::from(what);
            Err(TopologyErrors::collect(file_name, vec![(line, Reason::Syntax(message))])
                .expect("there is an error in the list"))
        }
    }
}

enum Form {
    Toml,
    Net,
    /// Something that people have, and what to do to get one of the others.
    Other(usize, &'static str),
}

/// Words that begin a line of a net file. None of them begins one of ours.
const NET_WORDS: [&str; 21] = [
    "Switch",
    "Hca",
    "Ca",
    "Rt",
    "Chassis",
    "Non",
    "Hostname",
    "vendid",
    "devid",
    "sysimgguid",
    "switchguid",
    "caguid",
    "hcaguids",
    "rtguid",
    "width",
    "speed",
    "extspeed",
    "module",
    "include",
    "do",
    "pdebug",
];

fn form(text: &str) -> Form {
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..).zip(text.lines().map(str::trim));
    let Some((number, line)) = { lines }.find(|(_, line)| !line.is_empty() && !line.starts_with('#')) else {
        return Form::Toml;
    };
    let word = line.find(|c: char| !c.is_ascii_alphabetic()).map_or(line, |end| &line[..end]);
    match word {
        "SW" | "CA" | "RT" => Form::Other(
            number,
            "this is the port list of `ibnetdiscover -p` or `iblinkinfo`: use the output of `ibnetdiscover` without options",
        ),
        "Unicast" | "Multicast" => Form::Other(
            number,
            "these are forwarding tables, which name no links: use the output of `ibnetdiscover`",
        ),
        _ if line.starts_with("{ ") => Form::Other(
            number,
            "this looks like opensm-subnet.lst or JSON: use the output of `ibnetdiscover`, or write TOML",
        ),
        _ if NET_WORDS.contains(&word) || is_port(line) => Form::Net,
        _ => Form::Toml,
    }
}

/// `[1]` or `@[1]`, which a misplaced port line begins with and no table of ours has for a name.
fn is_port(line: &str) -> bool {
    let inside = line.strip_prefix('@').unwrap_or(line).strip_prefix('[').unwrap_or("");
    inside.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::topology::{generate, to_ibnetdiscover, to_toml};

    #[test]
    fn content_tells_the_form() {
        let pair = generate("pair").unwrap();
        assert_eq!(parse("x", &to_toml(&pair)), Ok(pair.clone()));
        assert_eq!(parse("x", &to_ibnetdiscover(&pair)), Ok(pair));
        let misplaced = parse("x", "# a list\r\n\r\n[1] \"sw1\"\r\n").unwrap_err().to_string();
        assert!(misplaced.starts_with("x:3: this port belongs to no node"), "{misplaced}");
    }

    #[test]
    fn other_forms_are_named() {
        for (text, start) in [
            ("\nSW  3  1 0x0002c9 4x SDR - CA 1 1 0x1", "x:2: this is the port list of"),
            ("Unicast lids [0x0-0x4] of switch", "x:1: these are forwarding tables"),
            ("{ CA Ports:02 SystemGUID:1 }", "x:1: this looks like opensm-subnet.lst"),
            ("hello", "x:1: this is not TOML"),
        ] {
            let message = parse("x", text).unwrap_err().to_string();
            assert!(message.starts_with(start), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = parse("", &text);
        }
    }
}
