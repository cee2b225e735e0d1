//! What can be wrong with a topology, with the line and what to write instead.

use alloc::{string::String, vec::Vec};
use core::fmt;

use ib_wire::addr::Guid;

use super::{
    model::{Node, NodeKind},
    quantity::BadQuantity,
};

/// One thing wrong, and where. Shows itself as `file:line: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyError {
    /// As the caller named it; empty for a topology that came from no file.
    pub file: String,
    /// From 1; 0 where no single line is to blame.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", 0) => {}
            ("", line) => write!(f, "line {line}: ")?,
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) => write!(f, "{file}:{line}: ")?,
        }
        self.reason.fmt(f)
    }
}

impl core::error::Error for TopologyError {}

/// Everything wrong with one topology, by line: at least one error, at most [`TopologyErrors::CAP`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyErrors {
    /// By line.
    pub errors: Vec<TopologyError>,
    /// How many more there were.
    pub omitted: usize,
}

impl TopologyErrors {
    /// How many errors are kept: more are never read.
    pub const CAP: usize = 20;

    /// From `(line, reason)` in any order; `None` when there are none.
    pub(super) fn collect(file: &str, mut found: Vec<(usize, Reason)>) -> Option<Self> {
        found.sort_by_key(|(line, _)| *line);
        let omitted = found.len().saturating_sub(Self::CAP);
        found.truncate(Self::CAP);
        let errors: Vec<_> = found
            .into_iter()
            .map(|(line, reason)| TopologyError { file: file.into(), line, reason })
            .collect();
        (!errors.is_empty()).then_some(Self { errors, omitted })
    }
}

/// One error a line.
impl fmt::Display for TopologyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\n... and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl core::error::Error for TopologyErrors {}

/// What is wrong. Every message ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file's grammar is broken; the text says how and what is expected.
    #[error("{0}")]
    Syntax(String),
    /// A quantity that cannot be read.
    #[error(transparent)]
    Quantity(#[from] BadQuantity),
    /// No node at all.
    #[error("there are no nodes: name at least one switch or host")]
    Empty,
    /// A name that cannot be a host name.
    #[error(
        "`{name}` cannot be a name: use 1 to 63 letters, digits, `.`, `_` and `-`, starting with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Two nodes of one name.
    #[error("there are two nodes named `{name}`{}: give one of them another name", earlier(*line))]
    NameTwice {
        /// The name.
        name: String,
        /// Line of the first; 0 if unknown.
        line: usize,
    },
    /// A description that does not fit its field.
    #[error("the description of {node} has {len} bytes: shorten it to {max}", max = Node::MAX_DESCRIPTION)]
    LongDescription {
        /// The node.
        node: String,
        /// Its length in bytes.
        len: usize,
    },
    /// No ports, or more than can be numbered.
    #[error("{node} has {ports} ports: write 1 to {max}", max = Node::MAX_PORTS)]
    PortCount {
        /// The node.
        node: String,
        /// What was given.
        ports: u64,
    },
    /// A node whose end ports are not the ones of its kind. Only code can make one.
    #[error("the end ports of {node} are not those of a {kind}: make the node with Node::new")]
    EndPorts {
        /// The node.
        node: String,
        /// Its kind.
        kind: NodeKind,
    },
    /// A GUID of zero.
    #[error("{owner} has the GUID 0: leave the GUID out to have one assigned")]
    ZeroGuid {
        /// `sw1`, or `h1:2` for a port.
        owner: String,
    },
    /// A GUID in two places.
    #[error("{owner} has the GUID 0x{guid:016x} of {other}{}: each needs its own", earlier(*line), guid = guid.0)]
    GuidTwice {
        /// `sw1`, or `h1:2` for a port.
        owner: String,
        /// Who had it first.
        other: String,
        /// The GUID.
        guid: Guid,
        /// Line of the first; 0 if unknown.
        line: usize,
    },
    /// A link names a node that is not there.
    #[error("there is no node `{name}`: add it, or correct the name")]
    NoSuchNode {
        /// The name.
        name: String,
    },
    /// A link names a port that is not there.
    #[error("{node} has no port {port}: its ports are 1 to {ports}")]
    NoSuchPort {
        /// The node.
        node: String,
        /// The port named.
        port: u64,
        /// Ports it has.
        ports: u8,
    },
    /// A port at two links.
    #[error("port {port} has a link already, to {peer}{}: use a free port", earlier(*line))]
    PortUsedTwice {
        /// `sw1:3`.
        port: String,
        /// Far end of the first link.
        peer: String,
        /// Line of the first; 0 if unknown.
        line: usize,
    },
    /// A link from a port to itself.
    #[error("port {port} is linked to itself: name another port at one end")]
    SelfLink {
        /// `sw1:3`.
        port: String,
    },
    /// A link listed at one of its nodes only.
    #[error("{port} names {peer} as its peer, but {peer} {says}: list the link at both ends")]
    OneSided {
        /// `sw1:3`.
        port: String,
        /// The other end, as named.
        peer: String,
        /// What the other end says instead.
        says: String,
    },
    /// A link width that is none of 1x, 2x, 4x, 8x, 12x.
    #[error("the width of the link at {port} is no single width: use 1x, 2x, 4x, 8x or 12x")]
    BadWidth {
        /// `sw1:3`.
        port: String,
    },
}

fn earlier(line: usize) -> String {
    if line == 0 { String::new() } else { alloc::format!(" (line {line})") }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    #[test]
    fn errors_stand_by_line_and_the_rest_is_counted() {
        let found = (1..=25).rev().map(|line| (line, Reason::Empty)).collect();
        let errors = TopologyErrors::collect("a.toml", found).unwrap();
        assert_eq!(errors.errors.len(), 20);
        let text = errors.to_string();
        assert!(text.starts_with("a.toml:1: there are no nodes"), "{text}");
        assert!(text.ends_with("... and 5 more"), "{text}");
        assert_eq!(TopologyErrors::collect("a.toml", vec![]), None);
    }
}
