//! A TAP: the Ethernet interface whose other end is this program.
//!
//! Every frame is preceded by a [`VnetHeader`](super::vnet::VnetHeader), so that large sends and unfinished
//! checksums pass through whole; without that a TAP is some sixteen times slower.
#![expect(unsafe_code, reason = "the device is configured by ioctl")]

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl, opcode},
    net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with},
};

use super::vnet::VNET_HEADER_LEN;

/// Time between two looks whether an interface is free.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

const DEVICE: &str = "/dev/net/tun";

/// Room for the largest read: vnet header, Ethernet header with a VLAN tag, the largest IP packet.
pub const MAX_READ: usize = VNET_HEADER_LEN + 18 + 65535;

// linux include/uapi/linux/if_tun.h
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETPERSIST: Opcode = opcode::write::<i32>(b'T', 203);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);
const TUNSETVNETHDRSZ: Opcode = opcode::write::<i32>(b'T', 216);
const TUNSETVNETLE: Opcode = opcode::write::<i32>(b'T', 220);
const TUNSETCARRIER: Opcode = opcode::write::<i32>(b'T', 226);
const IFF_TAP: u16 = 0x0002;
const IFF_NO_CARRIER: u16 = 0x0040;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const IFF_TUN_EXCL: u16 = 0x8000;
const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO: usize = 0x02 | 0x04 | 0x08;
const TUN_F_USO: usize = 0x20 | 0x40;

/// Why there is no TAP, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The device node may not be opened.
    #[error("{DEVICE}: permission denied: run as root or `chmod 666 {DEVICE}`")]
    Forbidden,
    /// There is no device node, or no driver behind it.
    #[error("{DEVICE}: not there: `modprobe tun`, in a container pass the device in (--device {DEVICE})")]
    Missing,
    /// The device node does not open for another reason.
    #[error("{DEVICE}: cannot open")]
    Open(#[source] io::Error),
    /// No interface can be called that.
    #[error("{0:?}: not an interface name: use 1 to 15 characters without `/`, `:` or space")]
    Name(String),
    /// The network namespace has such an interface.
    #[error(
        "{0}: an interface of that name exists, or is in use: choose another name or `ip link delete {0}`"
    )]
    Exists(String),
    /// The network namespace belongs to somebody else.
    #[error("{0}: no right to make an interface in this network namespace (CAP_NET_ADMIN is missing)")]
    NotOurs(String),
    /// The driver refused something it normally grants.
    #[error("{name}: {call} failed")]
    Refused {
        /// The interface.
        name: String,
        /// The call that was refused.
        call: &'static str,
        /// Its error.
        #[source]
        source: io::Error,
    },
}

/// What the kernel may leave to us, and takes from us, unfinished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Checksums.
    pub checksum: bool,
    /// Large TCP sends, IPv4 and IPv6.
    pub tso: bool,
    /// Large UDP sends; Linux 6.2.
    pub uso: bool,
}

impl Offloads {
    /// In the order of preference.
    const CHOICES: [Self; 3] = [
        Self { checksum: true, tso: true, uso: true },
        Self { checksum: true, tso: true, uso: false },
        Self { checksum: false, tso: false, uso: false },
    ];

    const fn bits(self) -> usize {
        (if self.checksum { TUN_F_CSUM } else { 0 })
            | (if self.tso { TUN_F_TSO } else { 0 })
            | (if self.uso { TUN_F_USO } else { 0 })
    }
}

/// An Ethernet interface of the network namespace it was made in. It goes when this value goes, unless it is kept.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
    index: u32,
    offloads: Offloads,
}

impl Tap {
    /// Makes the interface `name` in the calling thread's network namespace: down, without carrier.
    pub fn create(name: &str) -> Result<Self, TapError> {
        Self::open(name, IFF_TUN_EXCL)
    }

    /// Makes an interface that stays when this value goes, or takes over the one that stayed: its carrier is off, all
    /// else is as it was. True if it is new. Waits until whoever has it lets go of it, at most `patience`.
    pub fn keep(name: &str, patience: Duration) -> Result<(Self, bool), TapError> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let is_new = socket.and_then(|socket| netdevice::name_to_index(socket, name)).is_err();
        let end = Instant::now() + patience;
        let tap = loop {
            match Self::open(name, 0) {
                Err(TapError::Exists(_)) if Instant::now() < end => std::thread::sleep(LOOK_AGAIN),
                opened => break opened?,
            }
        };
        tap.persist(true).map_err(|error| tap.refused("TUNSETPERSIST", error))?;
        Ok((tap, is_new))
    }

    fn open(name: &str, flags: u16) -> Result<Self, TapError> {
        let mut request = IfReq::new(name, flags).ok_or_else(|| TapError::Name(name.to_owned()))?;
        let fd = open()?;
        // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which `IfReq` is laid out as.
        unsafe { ioctl(&fd, Updater::<TUNSETIFF, IfReq>::new(&mut request)) }
            .map_err(|error| not_made(name, error))?;
        let mut tap = Self { fd, name: request.name(), index: 0, offloads: Offloads::default() };
        tap.index = tap.find_index().map_err(|error| tap.refused("SIOCGIFINDEX", error))?;
        tap.set_header().map_err(|error| tap.refused("TUNSETVNETHDRSZ", error))?;
        tap.offloads = tap.negotiate()?;
        tap.carrier(false).map_err(|error| tap.refused("TUNSETCARRIER", error))?;
        Ok(tap)
    }

    /// Lets a kept interface go with this value after all.
    pub fn release(&self) -> io::Result<()> {
        Ok(self.persist(false)?)
    }

    /// The name it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's number in its network namespace.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// What the driver granted. It holds in both directions.
    pub const fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Plugs the cable in or pulls it.
    ///
    /// The kernel follows in its own time: what the host sends before the interface's
    /// [`OperState`](super::link::OperState) is `Up`, a millisecond or so later, is dropped.
    pub fn set_carrier(&self, on: bool) -> io::Result<()> {
        Ok(self.carrier(on)?)
    }

    /// Takes one frame from the host: the vnet header's twelve octets, then Ethernet. `None` if there is none.
    ///
    /// What does not fit into `buf` is lost: give it [`MAX_READ`] octets. Fails with `EBADFD` once the
    /// interface was deleted from outside.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.fd, &mut *buf) {
                Ok(len) => return Ok(Some(len)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands the host one frame: `head` is the vnet header and the frame's start, `body` the rest.
    ///
    /// Fails with `EIO` while the interface is down, `EINVAL` if the vnet header does not fit the frame.
    pub fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])
    }

    /// Hands the host one frame that lies in any number of pieces.
    pub fn write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        rustix::io::writev(&self.fd, pieces)?;
        Ok(())
    }

    fn find_index(&self) -> Result<u32, Errno> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        netdevice::name_to_index(socket, &self.name)
    }

    fn set_header(&self) -> Result<(), Errno> {
        let len = i32::try_from(VNET_HEADER_LEN).expect("twelve");
        // SAFETY: both read an int through the pointer they are given.
        unsafe {
            ioctl(&self.fd, Setter::<TUNSETVNETHDRSZ, i32>::new(len))?;
            ioctl(&self.fd, Setter::<TUNSETVNETLE, i32>::new(1))
        }
    }

    fn negotiate(&self) -> Result<Offloads, TapError> {
        let mut last = Errno::INVAL;
        for choice in Offloads::CHOICES {
            // SAFETY: TUNSETOFFLOAD takes its argument by value.
            match unsafe { ioctl(&self.fd, IntegerSetter::<TUNSETOFFLOAD>::new_usize(choice.bits())) } {
                Ok(()) => return Ok(choice),
                Err(error) => last = error,
            }
        }
        Err(self.refused("TUNSETOFFLOAD", last))
    }

    fn persist(&self, on: bool) -> Result<(), Errno> {
        // SAFETY: TUNSETPERSIST takes its argument by value.
        unsafe { ioctl(&self.fd, IntegerSetter::<TUNSETPERSIST>::new_usize(usize::from(on))) }
    }

    fn carrier(&self, on: bool) -> Result<(), Errno> {
        // SAFETY: TUNSETCARRIER reads an int through the pointer it is given.
        unsafe { ioctl(&self.fd, Setter::<TUNSETCARRIER, i32>::new(i32::from(on))) }
    }

    fn refused(&self, call: &'static str, error: Errno) -> TapError {
        TapError::Refused { name: self.name.clone(), call, source: error.into() }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open() -> Result<OwnedFd, TapError> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(DEVICE, flags, Mode::empty()).map_err(|error| match error {
        Errno::ACCESS | Errno::PERM => TapError::Forbidden,
        Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::NOTDIR => TapError::Missing,
        other => TapError::Open(other.into()),
    })
}

fn not_made(name: &str, error: Errno) -> TapError {
    match error {
        Errno::PERM => TapError::NotOurs(name.to_owned()),
        Errno::BUSY | Errno::EXIST => TapError::Exists(name.to_owned()),
        Errno::INVAL => TapError::Name(name.to_owned()),
        other => TapError::Refused { name: name.to_owned(), call: "TUNSETIFF", source: other.into() },
    }
}

/// `struct ifreq` as TUNSETIFF uses it.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<IfReq>() == size_of::<libc::ifreq>());

impl IfReq {
    /// `None` if no interface can have this name.
    fn new(name: &str, more: u16) -> Option<Self> {
        let mut bytes = [0; 16];
        if name.is_empty() || name.contains(['/', ':', '%', '\0']) || name.contains(char::is_whitespace) {
            return None;
        }
        // The last octet stays zero.
        bytes[..15].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_NO_CARRIER | more;
        Some(Self { name: bytes, flags, rest: [0; 22] })
    }

    fn name(&self) -> String {
        let name = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}
