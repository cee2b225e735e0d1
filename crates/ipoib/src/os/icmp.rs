//! Sockets for ICMP echo, which the built-in `ping` speaks through.
//!
//! Datagram sockets need no right where `net.ipv4.ping_group_range` has our group; elsewhere raw ones are tried.
#![expect(unsafe_code, reason = "control messages and two socket options are libc's")]

use std::{
    io,
    mem::size_of_val,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with, sockopt},
};

/// A socket that sends and receives ICMP; it never blocks.
#[derive(Debug)]
pub struct IcmpSocket {
    fd: OwnedFd,
    v6: bool,
    raw: bool,
}

/// Something that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// An ICMP message, on a raw socket of any kind and for anybody.
    Message {
        /// Who sent it.
        from: IpAddr,
        /// Routers it might still have passed.
        ttl: Option<u8>,
        /// Octets of it in the buffer.
        len: usize,
    },
    /// A message of ours was refused; the buffer has its beginning.
    Refused(Refusal),
}

/// Why a message of ours did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who says so; nobody if it was this machine before sending.
    pub from: Option<IpAddr>,
    /// Error number.
    pub errno: i32,
    /// ICMP type and code, if it was said by ICMP.
    pub icmp: Option<(u8, u8)>,
    /// The MTU, if the message was too long.
    pub mtu: u32,
    /// Octets of our message in the buffer.
    pub len: usize,
}

/// What happens to messages longer than the path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// They are not sent.
    Never,
    /// They are fragmented here, not on the way.
    Here,
    /// They may be fragmented anywhere.
    Anywhere,
    /// They are sent whole, whatever is known of the path.
    Probe,
}

impl IcmpSocket {
    /// Opens a socket for IPv4 or IPv6.
    pub fn open(v6: bool) -> io::Result<Self> {
        let (family, protocol) =
            if v6 { (AddressFamily::INET6, ipproto::ICMPV6) } else { (AddressFamily::INET, ipproto::ICMP) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (fd, raw) = match socket_with(family, SocketType::DGRAM, flags, Some(protocol)) {
            Ok(fd) => (fd, false),
            Err(Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT) => {
                (socket_with(family, SocketType::RAW, flags, Some(protocol))?, true)
            }
            Err(error) => return Err(error.into()),
        };
        let socket = Self { fd, v6, raw };
        let (level, wanted) = if v6 {
            (libc::IPPROTO_IPV6, [libc::IPV6_RECVERR, libc::IPV6_RECVHOPLIMIT])
        } else {
            (libc::IPPROTO_IP, [libc::IP_RECVERR, libc::IP_RECVTTL])
        };
        for option in wanted {
            socket.set(level, option, &1i32.to_ne_bytes())?;
        }
        Ok(socket)
    }

    /// True if the socket sees the messages of others, and leaves checksum and identifier of IPv4 to us.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Sends and receives by one interface only.
    pub fn bind_interface(&self, name: &str) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes())
    }

    /// Sends from one address.
    pub fn bind_address(&self, address: IpAddr) -> io::Result<()> {
        Ok(bind(&self.fd, &SocketAddr::new(address, 0))?)
    }

    /// Sets what happens to long messages.
    pub fn set_fragmentation(&self, what: Fragmentation) -> io::Result<()> {
        use sockopt::{Ipv4PathMtuDiscovery as V4, Ipv6PathMtuDiscovery as V6};
        Ok(match (what, self.v6) {
            (Fragmentation::Never, false) => sockopt::set_ip_mtu_discover(&self.fd, V4::DO),
            (Fragmentation::Never, true) => sockopt::set_ipv6_mtu_discover(&self.fd, V6::DO),
            (Fragmentation::Here, false) => sockopt::set_ip_mtu_discover(&self.fd, V4::WANT),
            (Fragmentation::Here, true) => sockopt::set_ipv6_mtu_discover(&self.fd, V6::WANT),
            (Fragmentation::Anywhere, false) => sockopt::set_ip_mtu_discover(&self.fd, V4::DONT),
            (Fragmentation::Anywhere, true) => sockopt::set_ipv6_mtu_discover(&self.fd, V6::DONT),
            (Fragmentation::Probe, false) => sockopt::set_ip_mtu_discover(&self.fd, V4::PROBE),
            (Fragmentation::Probe, true) => sockopt::set_ipv6_mtu_discover(&self.fd, V6::PROBE),
        }?)
    }

    /// Sends a message.
    pub fn send(&self, message: &[u8], to: SocketAddr) -> io::Result<()> {
        sendto(&self.fd, message, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// What came in, its octets in `buffer`; nothing if there is nothing. Refusals come first.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        if let Some(refusal) = self.refusal(buffer)? {
            return Ok(Some(Arrival::Refused(refusal)));
        }
        let Some(message) = self.read(buffer, 0)? else { return Ok(None) };
        let mut len = message.len;
        if self.raw && !self.v6 {
            let header = buffer.first().map_or(0, |first| usize::from(first & 0xf) * 4).min(len);
            buffer.copy_within(header..len, 0);
            len -= header;
        }
        let from = message.from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(Some(Arrival::Message { from, ttl: message.ttl(), len }))
    }

    fn refusal(&self, buffer: &mut [u8]) -> io::Result<Option<Refusal>> {
        let Some(message) = self.read(buffer, libc::MSG_ERRQUEUE)? else { return Ok(None) };
        let refusal = message.controls().find_map(|(level, kind, data)| match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                read_refusal(data, message.len)
            }
            _ => None,
        });
        Ok(refusal)
    }

    fn read(&self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<Option<Message>> {
        let mut message = Message::default();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all zeros is a valid `msghdr`: null pointers with lengths of zero.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = message.name.0.as_mut_ptr().cast();
        header.msg_namelen = libc::socklen_t::try_from(message.name.0.len()).unwrap_or(0);
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = message.control.0.as_mut_ptr().cast();
        header.msg_controllen = message.control.0.len();
        // SAFETY: the header's pointers lead to memory of the lengths beside them, all of it alive and ours.
        let len = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, flags | libc::MSG_DONTWAIT) };
        let Ok(len) = usize::try_from(len) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        };
        message.len = len;
        message.control_len = header.msg_controllen.min(message.control.0.len());
        message.from =
            read_address(&message.name.0[..usize::try_from(header.msg_namelen).unwrap_or(0).min(28)]);
        Ok(Some(message))
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: &[u8]) -> io::Result<()> {
        let len = libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0);
        // SAFETY: the call reads `len` octets at `value`, which are there.
        let done =
            unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, value.as_ptr().cast(), len) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What `recvmsg` tells beside the octets.
#[derive(Default)]
struct Message {
    len: usize,
    from: Option<IpAddr>,
    name: Aligned<128>,
    control: Aligned<512>,
    control_len: usize,
}

/// Octets that C structures may lie in.
#[repr(align(8))]
struct Aligned<const N: usize>([u8; N]);

impl<const N: usize> Default for Aligned<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl Message {
    /// The control messages: level, type and data of each.
    fn controls(&self) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
        // A `cmsghdr` is its length, a word, then level and type; the next one begins at a multiple of a word.
        const WORD: usize = size_of::<usize>();
        const HEADER: usize = WORD + 8;
        let mut rest = &self.control.0[..self.control_len];
        std::iter::from_fn(move || {
            let number = |at: usize| Some(libc::c_int::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
            let len = usize::from_ne_bytes(*rest.first_chunk::<WORD>()?);
            let (level, kind, data) = (number(WORD)?, number(WORD + 4)?, rest.get(HEADER..len)?);
            rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or(&[]);
            Some((level, kind, data))
        })
    }

    fn ttl(&self) -> Option<u8> {
        self.controls().find_map(|(level, kind, data)| match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                u8::try_from(i32::from_ne_bytes(*data.first_chunk()?)).ok()
            }
            _ => None,
        })
    }
}

/// A `sockaddr_in` or `sockaddr_in6`.
fn read_address(octets: &[u8]) -> Option<IpAddr> {
    let family = i32::from(u16::from_ne_bytes(*octets.first_chunk()?));
    match family {
        libc::AF_INET => Some(Ipv4Addr::from(*octets.get(4..)?.first_chunk::<4>()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(*octets.get(8..)?.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// A `sock_extended_err` and the address behind it.
fn read_refusal(octets: &[u8], len: usize) -> Option<Refusal> {
    const ICMP: u8 = 2;
    const ICMP6: u8 = 3;
    let [e0, e1, e2, e3, origin, kind, code, _, i0, i1, i2, i3, ..] = *octets else { return None };
    let by_icmp = matches!(origin, ICMP | ICMP6);
    Some(Refusal {
        from: octets.get(16..).and_then(read_address).filter(|_| by_icmp),
        errno: i32::from_ne_bytes([e0, e1, e2, e3]),
        icmp: by_icmp.then_some((kind, code)),
        mtu: u32::from_ne_bytes([i0, i1, i2, i3]),
        len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_read_one_by_one_and_never_beyond_their_end() {
        let mut message = Message::default();
        let mut put = |at: usize, len: usize, level: i32, kind: i32, value: i32| {
            message.control.0[at..at + 8].copy_from_slice(&len.to_ne_bytes());
            message.control.0[at + 8..at + 12].copy_from_slice(&level.to_ne_bytes());
            message.control.0[at + 12..at + 16].copy_from_slice(&kind.to_ne_bytes());
            message.control.0[at + 16..at + 20].copy_from_slice(&value.to_ne_bytes());
        };
        put(0, 20, libc::SOL_SOCKET, 7, 7);
        put(24, 20, libc::IPPROTO_IP, libc::IP_TTL, 64);
        message.control_len = 48;
        assert_eq!(message.controls().count(), 2);
        assert_eq!(message.ttl(), Some(64));
        for len in 0..48 {
            message.control_len = len;
            let _ = message.ttl();
        }
        message.control.0[24..32].copy_from_slice(&usize::MAX.to_ne_bytes());
        message.control_len = 48;
        assert_eq!(message.controls().count(), 1);
    }

    #[test]
    fn a_refusal_by_icmp_names_its_sender() {
        let mut octets = vec![0; 32];
        octets[..4].copy_from_slice(&libc::EHOSTUNREACH.to_ne_bytes());
        (octets[4], octets[5], octets[6]) = (2, 3, 1);
        octets[16..18].copy_from_slice(&2u16.to_ne_bytes());
        octets[20..24].copy_from_slice(&[10, 77, 0, 1]);
        let refusal = read_refusal(&octets, 9).unwrap();
        assert_eq!(refusal.from, Some(Ipv4Addr::new(10, 77, 0, 1).into()));
        assert_eq!((refusal.icmp, refusal.errno, refusal.len), (Some((3, 1)), libc::EHOSTUNREACH, 9));
        assert!(read_refusal(&octets[..11], 9).is_none());
    }
}
