//! A lab that has no fabric: it says what it is told to say, and keeps what programs said.
#![expect(dead_code, reason = "each of the test programs needs its part")]

use std::{
    collections::BTreeMap,
    io::{IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ib_umad::{
    frame::{self, Header},
    protocol::{Device, Port, Registration, Reply, Request, VERSION},
};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, listen, recv, sendmsg, socket_with,
};

/// The lab; it lasts as long as the test program.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    adapters: Vec<(Device, Vec<Port>)>,
    /// The far ends of the streams of open ports, by adapter.
    streams: BTreeMap<String, UnixStream>,
    registrations: Vec<(String, Registration)>,
    /// Agents that were removed, by adapter.
    unregistered: Vec<(String, u32)>,
    /// Open ports whose connection has ended.
    ended: Vec<String>,
    version: Option<u32>,
    refusals: BTreeMap<String, i32>,
}

/// The far end of an open port.
#[derive(Debug)]
pub(crate) struct Far {
    stream: UnixStream,
    unread: Vec<u8>,
}

/// The only node.
pub(crate) const NODE: &str = "h1";

/// How long something that should happen may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);

impl Lab {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = std::env::current_exe().unwrap().file_stem().unwrap().to_string_lossy().into_owned();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{count}"));
        let _ = std::fs::remove_file(&path);
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&socket, 64).unwrap();
        let lab = Self { path, state: Arc::default() };
        let serving = lab.clone();
        thread::spawn(move || {
            while let Ok(connection) = accept_with(&socket, SocketFlags::CLOEXEC) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&connection));
            }
        });
        lab
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an adapter with these ports.
    pub(crate) fn add(&self, device: Device, ports: Vec<Port>) {
        self.state.lock().unwrap().adapters.push((device, ports));
    }

    /// From now on it speaks another version.
    pub(crate) fn speak(&self, version: u32) {
        self.state.lock().unwrap().version = Some(version);
    }

    /// Refuses registrations at an adapter from now on.
    pub(crate) fn refuse(&self, device: &str, errno: i32) {
        self.state.lock().unwrap().refusals.insert(device.to_owned(), errno);
    }

    /// The far end of the port of an adapter that was opened last.
    pub(crate) fn far(&self, device: &str) -> Far {
        let found = eventually(|| self.state.lock().unwrap().streams.remove(device));
        Far { stream: found, unread: Vec::new() }
    }

    /// What was registered at an adapter, in order.
    pub(crate) fn registrations(&self, device: &str) -> Vec<Registration> {
        let state = self.state.lock().unwrap();
        let of_it = state.registrations.iter().filter(|(name, _)| name == device);
        of_it.map(|(_, registration)| registration.clone()).collect()
    }

    /// The agents that were removed at an adapter, in order.
    pub(crate) fn unregistered(&self, device: &str) -> Vec<u32> {
        let state = self.state.lock().unwrap();
        state.unregistered.iter().filter(|(name, _)| name == device).map(|(_, agent)| *agent).collect()
    }

    /// How many connections of open ports of an adapter have ended.
    pub(crate) fn ended(&self, device: &str) -> usize {
        self.state.lock().unwrap().ended.iter().filter(|name| *name == device).count()
    }

    fn serve(&self, connection: &OwnedFd) {
        let mut opened = None;
        let mut packet = vec![0; 64 << 10];
        while let Ok((length @ 1.., _)) = recv(connection, packet.as_mut_slice(), RecvFlags::empty()) {
            let request = serde_json::from_slice(&packet[..length]).unwrap();
            let (reply, stream) = self.reply(request, &mut opened);
            let reply = serde_json::to_vec(&reply).unwrap();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let streams: Vec<_> = stream.iter().map(AsFd::as_fd).collect();
            if !streams.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(&streams)));
            }
            if sendmsg(connection, &[IoSlice::new(&reply)], &mut control, SendFlags::NOSIGNAL).is_err() {
                break;
            }
        }
        self.state.lock().unwrap().ended.extend(opened);
    }

    fn reply(&self, request: Request, opened: &mut Option<String>) -> (Reply, Option<UnixStream>) {
        let mut state = self.state.lock().unwrap();
        let reply = match request {
            Request::Hello { version, node } => {
                let ours = state.version.unwrap_or(VERSION);
                if version != ours {
                    refused(libc::EPROTO, &format!("the lab speaks version {ours}, the program {version}"))
                } else if node != NODE {
                    refused(libc::ENODEV, &format!("{node}: there is no such node"))
                } else {
                    Reply::Done
                }
            }
            Request::Devices => {
                Reply::Devices(state.adapters.iter().map(|(device, _)| device.clone()).collect())
            }
            Request::Port { device, port } => {
                let of_it = |(named, _): &&(Device, Vec<Port>)| named.name == device;
                let ports = state.adapters.iter().find(of_it).map_or(&[][..], |(_, ports)| ports);
                match ports.iter().find(|found| found.number == port) {
                    Some(port) => Reply::Port(port.clone()),
                    None => refused(libc::ENODEV, "there is no such port"),
                }
            }
            Request::Open { device, .. } => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                state.streams.insert(device.clone(), ours);
                *opened = Some(device);
                return (Reply::Opened, Some(theirs));
            }
            Request::Register(registration) => match &*opened {
                Some(device) => match state.refusals.get(device) {
                    Some(&errno) => refused(errno, "not here"),
                    None => {
                        let agent = state.registrations.iter().filter(|(name, _)| name == device).count();
                        state.registrations.push((device.clone(), registration));
                        Reply::Registered { agent: agent.try_into().unwrap() }
                    }
                },
                None => refused(libc::EINVAL, "no port is open"),
            },
            Request::Unregister { agent } => match (agent, &*opened) {
                (0..32, Some(device)) => {
                    state.unregistered.push((device.clone(), agent));
                    Reply::Done
                }
                _ => refused(libc::EINVAL, "there is no such agent"),
            },
        };
        (reply, None)
    }
}

impl Far {
    /// Sends a frame to the program.
    pub(crate) fn send(&mut self, header: &Header, mad: &[u8]) {
        let mut bytes = Vec::new();
        frame::write(header, mad, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Sends some bytes of a frame to the program.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame from the program.
    pub(crate) fn receive(&mut self) -> (Header, Vec<u8>) {
        self.stream.set_read_timeout(Some(SOON)).unwrap();
        loop {
            if let Some((header, mad, length)) = frame::read(&self.unread).unwrap() {
                let whole = (header, mad.to_vec());
                self.unread.drain(..length);
                return whole;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).expect("a frame of the program");
            assert_ne!(count, 0, "the program has closed the port");
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }

    /// Whether the program has closed the port.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let closed = matches!(self.stream.read(&mut [0]), Ok(0));
        self.stream.set_nonblocking(false).unwrap();
        closed
    }
}

/// An adapter with the given ports, all active.
pub(crate) fn adapter(name: &str, ports: &[u8]) -> (Device, Vec<Port>) {
    let guid =
        0x0002_c903_0000_0000 | u64::from(name.bytes().fold(0, |sum: u8, byte| sum.wrapping_add(byte))) << 8;
    let device = Device {
        name: name.to_owned(),
        node_type: 1,
        ports: ports.to_vec(),
        firmware: "1.2.3".to_owned(),
        hardware: "b0".to_owned(),
        model: "ipoib".to_owned(),
        node_guid: guid,
        system_guid: guid | 0xff,
    };
    let ports = ports.iter().map(|&number| Port {
        number,
        lid: 0x10 + u16::from(number),
        lmc: 1,
        sm_lid: 7,
        sm_sl: 2,
        state: 4,
        physical_state: 5,
        rate: 100,
        capabilities: 0x0251_486a,
        prefix: 0xfe80_0000_0000_0000,
        guid: guid + u64::from(number),
        pkeys: vec![0xffff, 0x8001, 0],
        issm: format!("/run/lab/issm-{name}-{number}"),
    });
    (device, ports.collect())
}

/// What `look` finds at last.
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never happened");
        thread::sleep(Duration::from_millis(5));
    }
}

fn refused(errno: i32, why: &str) -> Reply {
    Reply::Refused { errno, why: why.to_owned() }
}
