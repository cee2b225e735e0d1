//! Hearing what happens at a host's interface.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
};

use ib_wire::addr::Mac;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

pub use super::event::HostEvent;
use super::{
    event::{Heard, decode},
    link::{AddressInfo, LinkError, LinkInfo, Memberships, NeighborInfo, Netlink, split},
};

// linux include/uapi/linux/rtnetlink.h: link, neigh, IPv4 address, IPv6 address
const GROUPS: [u32; 4] = [1, 3, 5, 9];
/// IPv4 and IPv6 multicast; Linux 6.14.
const MULTICAST_GROUPS: [u32; 2] = [37, 38];
/// What the kernel keeps for us while we are busy.
const RECEIVE_QUEUE: usize = 1 << 20;
const DATAGRAM: usize = 32 * 1024;

/// Everything about the interface that events tell the changes of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostState {
    /// The interface, if it exists.
    pub link: Option<LinkInfo>,
    /// Its addresses.
    pub addresses: Vec<AddressInfo>,
    /// The peers the host knows.
    pub neighbors: Vec<NeighborInfo>,
    /// The groups it listens to.
    pub groups: Vec<IpAddr>,
}

/// A subscription to the events of one interface. Opened inside its network namespace, used from any thread.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    netlink: Netlink,
    memberships: Memberships,
    index: u32,
    group_events: bool,
    known: LinkInfo,
    /// The peers' addresses: the kernel does not repeat them when it forgets a peer.
    macs: BTreeMap<IpAddr, Mac>,
    queue: VecDeque<HostEvent>,
    buf: Vec<u8>,
}

impl Monitor {
    /// Listens to the interface `index` of the calling thread's network namespace.
    pub fn open(index: u32) -> Result<Self, LinkError> {
        let failed = |source| LinkError {
            what: "listen to it",
            name: format!("interface {index}"),
            said: None,
            source,
        };
        let (socket, group_events) = subscribe().map_err(failed)?;
        let memberships = Memberships::open().map_err(failed)?;
        let mut netlink = Netlink::open()?;
        let known = netlink.link(index)?;
        let macs = macs_of(&netlink.neighbors(index)?);
        let (queue, buf) = (VecDeque::new(), Vec::with_capacity(DATAGRAM));
        Ok(Self { socket, netlink, memberships, index, group_events, known, macs, queue, buf })
    }

    /// True if the kernel tells of multicast groups; else read them off IGMP and MLD, or ask for the state.
    pub const fn has_group_events(&self) -> bool {
        self.group_events
    }

    /// The next event, `None` if there is none now. Never blocks.
    pub fn poll_event(&mut self) -> io::Result<Option<HostEvent>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            match self.receive() {
                Ok(()) => self.hear(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(HostEvent::Overrun));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The state as a whole, at the start and after an overrun. Events before it are dropped; one that happens
    /// meanwhile may be both in the state and told later.
    pub fn resync(&mut self) -> Result<HostState, LinkError> {
        self.queue.clear();
        // An overrun is one more failed read; what is queued ends after at most a queue's worth of messages.
        for _ in 0..RECEIVE_QUEUE / 64 {
            if self.receive().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                break;
            }
        }
        let link = match self.netlink.link(self.index) {
            Ok(link) => Some(link),
            Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => None,
            Err(error) => return Err(error),
        };
        self.known = link.clone().unwrap_or_default();
        let groups = self.memberships.groups(self.index).map_err(|source| LinkError {
            what: "list its groups",
            name: self.known.name.clone(),
            said: None,
            source,
        })?;
        let (addresses, neighbors) =
            (self.netlink.addresses(self.index)?, self.netlink.neighbors(self.index)?);
        self.macs = macs_of(&neighbors);
        Ok(HostState { link, addresses, neighbors, groups })
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buf.clear();
        self.socket.recv(&mut self.buf, 0).map(drop)
    }

    fn hear(&mut self) {
        let mut rest = self.buf.as_slice();
        while let Some((message, after)) = split(rest) {
            rest = after;
            match decode(message, self.index) {
                Some(Heard::Event(event)) => self.queue.push_back(with_mac(event, &mut self.macs)),
                Some(Heard::Link(link)) => {
                    self.queue.extend(changes(&self.known, &link));
                    self.known = link;
                }
                None => {}
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn macs_of(neighbors: &[NeighborInfo]) -> BTreeMap<IpAddr, Mac> {
    neighbors.iter().filter_map(|peer| Some((peer.addr, peer.mac?))).collect()
}

/// Adds what the kernel left out, and remembers what it said.
fn with_mac(event: HostEvent, macs: &mut BTreeMap<IpAddr, Mac>) -> HostEvent {
    match event {
        HostEvent::NeighborUpdated { addr, mac, .. } => {
            macs.insert(addr, mac);
            event
        }
        HostEvent::NeighborFailed { addr, mac } => {
            HostEvent::NeighborFailed { addr, mac: mac.or_else(|| macs.get(&addr).copied()) }
        }
        HostEvent::NeighborGone { addr, mac } => {
            let known = macs.remove(&addr);
            HostEvent::NeighborGone { addr, mac: mac.or(known) }
        }
        _ => event,
    }
}

fn subscribe() -> io::Result<(Socket, bool)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    // Without the right to it the default queue must do: an overrun is dealt with.
    let _ = set_socket_recv_buffer_size_force(&socket, RECEIVE_QUEUE);
    socket.bind_auto()?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    let group_events = MULTICAST_GROUPS.into_iter().all(|group| socket.add_membership(group).is_ok());
    Ok((socket, group_events))
}

/// The kernel sends the whole interface whatever has changed.
fn changes(old: &LinkInfo, new: &LinkInfo) -> impl Iterator<Item = HostEvent> + use<> {
    let state = if new.is_up() { HostEvent::LinkUp } else { HostEvent::LinkDown };
    let mac = new.mac.filter(|_| new.mac != old.mac);
    [
        (new.mtu != old.mtu).then_some(HostEvent::MtuChanged { mtu: new.mtu }),
        mac.map(|mac| HostEvent::MacChanged { mac }),
        (new.is_up() != old.is_up()).then_some(state),
    ]
    .into_iter()
    .flatten()
}
