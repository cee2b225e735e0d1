//! The host's side of IPoIB interfaces: TAPs in the hosts' networks, and what kernels tell of them.
//!
//! What is here knows neither fabric nor port. A lab has the faces of all its hosts, a driver process those of its
//! one port; what both do with them is the same, and is here.

mod bundle;
mod faces;
mod frame;
mod make;
mod rows;
mod story;
mod told;

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, sync::Arc};

use ib_wire::addr::{HwAddr, Mac};
use ipoib_proto::Interface;

#[cfg(any(test, feature = "hostile"))]
pub(crate) use self::frame::head;
pub(crate) use self::{
    faces::{Faces, Spoke},
    frame::{BEFORE_IP, IP_AT},
    make::{Maker, make},
    rows::{ip_group, join_words, numbers, rows},
    told::Told,
};
use crate::os::{link::Netlink, monitor::Monitor, tap::Tap};

/// Size of the buffers that frames are read into; anything else that carries one frame fits too.
pub(crate) const BUFFER: usize = frame::BUFFER;

/// A frame of so many bytes is long: it is sooner handed on where it lies than copied.
pub(crate) const LONG: usize = 4096;

/// An address with the length of its network part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub addr: IpAddr,
    /// Bits of the network part.
    pub prefix_len: u8,
}

impl fmt::Display for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

impl FromStr for Assigned {
    type Err = String;

    /// Reads `10.77.0.1/24` and `fd77::1/64`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no address with a prefix length: write 10.77.0.1/24 or fd77::1/64");
        let (addr, prefix_len) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        let prefix_len = prefix_len.parse().ok().filter(|len| *len <= longest).ok_or_else(wrong)?;
        Ok(Self { addr, prefix_len })
    }
}

/// What an interface is to be, before it exists.
#[derive(Clone, Debug)]
pub(crate) struct FacePlan {
    /// The host it belongs to, for messages.
    pub(crate) host: Arc<str>,
    /// Its name there.
    pub(crate) name: String,
    mac: Mac,
    hw: HwAddr,
    /// Bytes from the IP header on, before the broadcast group says otherwise.
    pub(crate) mtu: u32,
    queue_len: u32,
    /// Addresses it gets, its link-local one first.
    pub(crate) addresses: Vec<Assigned>,
    /// True if the host has no other interface on the fabric.
    pub(crate) alone: bool,
}

impl FacePlan {
    /// The face that `engine` is to have, with a link-local address alone.
    pub(crate) fn new(host: Arc<str>, name: String, engine: &Interface) -> Self {
        let link_local = Assigned { addr: engine.link_local().into(), prefix_len: 64 };
        Self {
            host,
            name,
            mac: engine.mac(),
            hw: engine.hw_addr(),
            mtu: 2044,
            queue_len: engine.config().tx_queue_len(),
            addresses: vec![link_local],
            alone: true,
        }
    }
}

/// The host's side of an IPoIB interface.
#[derive(Debug)]
pub(crate) struct Face {
    pub(crate) plan: FacePlan,
    pub(crate) tap: Tap,
    netlink: Netlink,
    monitor: Monitor,
    /// Peers the host knows, by IP address.
    neighbors: BTreeMap<IpAddr, Mac>,
    /// Addresses the host has, with the lengths of their network parts.
    addresses: BTreeMap<IpAddr, u8>,
    /// The host's kernel has let frames out since the interface came up.
    sends: bool,
    /// The turn of the loop in which the host last sent.
    turn: u64,
    /// It had more than one frame then.
    had_more: bool,
    /// The last of them was long.
    long: bool,
    /// A frame that was read and has not been carried: it did not go with those before it.
    apart: Option<bundle::Frame>,
    counters: FaceCounters,
}

/// What can go wrong between engine and kernel.
#[derive(Clone, Copy, Debug, Default)]
struct FaceCounters {
    /// Frames the host sent with a header that makes no sense.
    bad_frame: u64,
    /// Frames the kernel refused: the interface is down, or the header does not fit.
    host_refused: u64,
}
