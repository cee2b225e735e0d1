//! Handles: small numbers that name a part of one fabric. Using one with another fabric names another part.

use core::fmt;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u32);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

handles! {
    /// A switch or channel adapter.
    NodeId "node";
    /// An end port: a port of a channel adapter, or port 0 of a switch. Software attaches here.
    PortId "port";
    /// A cable.
    LinkId "link";
    /// A capture tap.
    TapId "tap";
    /// An agent that sends and receives MADs at one port; never 0, as it stands in transaction identifiers.
    AgentId "agent";
}

macro_rules! positions {
    ($($name:ident)*) => {$(
        impl $name {
            pub(crate) fn of(index: usize) -> Self {
                Self(u32::try_from(index).expect("a fabric has fewer than 2^32 parts of a kind"))
            }

            /// Its number: counted from 0 within the fabric, without gaps.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

positions! { NodeId PortId LinkId }

impl AgentId {
    /// Its number: the high half of the transaction identifiers of its requests.
    pub const fn number(self) -> u32 {
        self.0
    }
}
