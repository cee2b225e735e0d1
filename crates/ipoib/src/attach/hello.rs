//! What driver and fabric say to each other beside the rings: JSON, one packet a message.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::control::schema::Noun;

/// Version of all that is said, in messages and records. Both sides must be of one.
pub(crate) const VERSION: u32 = 4;
/// No message is longer.
pub(crate) const MAX_MESSAGE: usize = 64 << 10;
/// Interfaces that one driver may have on its port.
pub(crate) const MAX_INTERFACES: usize = 64;

/// What proves that a driver is the one that had the port before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u128);

impl Token {
    /// One that nobody can guess.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(u128::from_ne_bytes(bytes)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A driver's first message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The host: `h1`.
    pub(crate) node: String,
    /// Its port, from 1 on.
    pub(crate) port: u8,
    /// The driver's process.
    pub(crate) pid: u32,
    /// Set if it had a port before.
    pub(crate) token: Option<Token>,
    /// Take the port from the driver that has it; needs its token.
    pub(crate) takeover: bool,
    /// The interfaces: the parent, then its children.
    pub(crate) interfaces: Vec<Wanted>,
}

/// An interface of a driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Its name: `ib0`.
    pub(crate) name: String,
    /// The queue pair it had before.
    pub(crate) qpn: Option<u32>,
}

/// The fabric's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Greeting {
    /// The port is the driver's. With it come two descriptors: the rings, and the driver's end of the bell.
    Welcome {
        /// What to show the next time.
        token: Token,
        /// The queue pairs, in the order of the interfaces.
        qpns: Vec<u32>,
    },
    /// It is not.
    Refused {
        /// A sentence for people.
        why: String,
        /// It may be another time.
        again: bool,
    },
}

/// What a fabric says later.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToDriver {
    /// Say what there is to show.
    Show {
        /// Number of the question.
        id: u64,
        /// Of what.
        noun: Noun,
    },
    /// The port is another's now: go.
    Leave {
        /// A sentence for people.
        why: String,
    },
}

/// What a driver says later.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToFabric {
    /// How many of its interfaces carry traffic now.
    Up {
        /// That many.
        interfaces: usize,
    },
    /// The answer to a question. With it comes the descriptor of a file that holds it, as JSON.
    Shown {
        /// Number of the question.
        id: u64,
    },
}

/// A message as it is sent.
pub(crate) fn emit(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message that was received.
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}
