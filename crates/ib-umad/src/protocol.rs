//! What a program and the lab say to each other about ports and agents.
//!
//! A program connects to the lab's socket ([`SOCKET_VARIABLE`]), a Unix socket of sequenced packets, and says
//! [`Request::Hello`]. Each packet is one [`Request`] or one [`Reply`] in JSON; each request has one reply, in order.
//!
//! [`Request::Open`] turns the connection into an open port: a stream socket comes with the reply, as a descriptor.
//! MADs go over that one, as [`frame`](crate::frame)s in both directions and nothing else, so that a program may wait
//! for it as for the kernel's device. Agents are registered and removed over the connection, and end with it: the
//! port is closed when either of the two is, by whomever, for whatever reason.

use serde::{Deserialize, Serialize};

/// Changes with every change of what is said here or in [`frame`](crate::frame).
pub const VERSION: u32 = 1;

/// Environment variable with the path of the lab's socket.
pub const SOCKET_VARIABLE: &str = "IPOIB_UMAD_SOCKET";

/// Environment variable with the name of the node whose ports the program sees.
pub const NODE_VARIABLE: &str = "IPOIB_UMAD_NODE";

/// Longest packet of this protocol, in bytes; a port with all its P_Keys fits.
pub const MAX_PACKET: usize = 64 << 10;

/// Agents that one open port may have: their numbers are 0 to 31, as the kernel's.
pub const MAX_AGENTS: u32 = 32;

/// What a program asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first of every connection. [`Reply::Done`] follows.
    Hello {
        /// [`VERSION`] of the program's library.
        version: u32,
        /// Whose ports it wants to see.
        node: String,
    },
    /// The node's adapters. [`Reply::Devices`] follows.
    Devices,
    /// A port as it is now. [`Reply::Port`] follows.
    Port {
        /// The adapter's name.
        device: String,
        /// The port's number, 0 on a switch.
        port: u8,
    },
    /// Opens a port, once per connection. [`Reply::Opened`] follows, and the stream's descriptor with it.
    Open {
        /// The adapter's name.
        device: String,
        /// The port's number, 0 on a switch.
        port: u8,
    },
    /// Registers an agent of the open port. [`Reply::Registered`] follows.
    Register(Registration),
    /// Removes an agent of the open port. [`Reply::Done`] follows.
    Unregister {
        /// The agent's number.
        agent: u32,
    },
}

/// What the lab replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The node's adapters, by name.
    Devices(Vec<Device>),
    /// A port.
    Port(Port),
    /// The port is open; its stream comes as a descriptor with this packet.
    Opened,
    /// The agent's number, to stand in frames.
    Registered {
        /// The number.
        agent: u32,
    },
    /// No.
    Refused {
        /// Which error number the program is to see.
        errno: i32,
        /// Why, for people.
        why: String,
    },
}

/// What an agent wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Management class.
    pub class: u8,
    /// Version of the class.
    pub class_version: u8,
    /// Version of RMPP that the lab is to speak for the agent: 1, or 0 if the program cuts its messages itself.
    pub rmpp_version: u8,
    /// Vendor, for the vendor classes 0x30 to 0x4f.
    pub oui: Option<[u8; 3]>,
    /// Methods it takes unasked: bit `n` for method `n`.
    pub methods: u128,
}

/// An adapter, or a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name on the node, at most 19 bytes.
    pub name: String,
    /// Node type by IBA: 1 adapter, 2 switch, 3 router.
    pub node_type: u8,
    /// Numbers of its end ports: 1 and up, or 0 alone on a switch.
    pub ports: Vec<u8>,
    /// Firmware version.
    pub firmware: String,
    /// Hardware revision.
    pub hardware: String,
    /// Name of the model.
    pub model: String,
    /// Node GUID.
    pub node_guid: u64,
    /// System image GUID.
    pub system_guid: u64,
}

/// An end port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u8,
    /// Base LID, 0 for none.
    pub lid: u16,
    /// LID mask control.
    pub lmc: u8,
    /// LID of the master SM, 0 for none.
    pub sm_lid: u16,
    /// Service level to the master SM.
    pub sm_sl: u8,
    /// PortState by IBA: 1 Down to 4 Active.
    pub state: u8,
    /// PortPhysicalState by IBA: 3 Disabled, 5 LinkUp.
    pub physical_state: u8,
    /// Rate in Gb/s, rounded down; 0 without a link.
    pub rate: u32,
    /// CapabilityMask.
    pub capabilities: u32,
    /// Upper half of GID 0.
    pub prefix: u64,
    /// Port GUID, lower half of GID 0.
    pub guid: u64,
    /// Partition table with its empty places.
    pub pkeys: Vec<u16>,
    /// File that an SM holds open as long as the port is to have its IsSM bit.
    pub issm: String,
}
