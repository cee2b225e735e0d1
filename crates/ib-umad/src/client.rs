//! A connection to the lab, and what is asked over it.

use std::{
    env, io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg,
        socket_with,
    },
};

use crate::protocol::{
    Device, MAX_PACKET, NODE_VARIABLE, Port, Registration, Reply, Request, SOCKET_VARIABLE, VERSION,
};

/// A connection that has said whose ports it wants. One request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
}

/// An adapter with its ports as they are now.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) device: Device,
    pub(crate) ports: Vec<Port>,
}

/// Why the lab does not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The program was not started by a lab.
    #[error(
        "no InfiniBand here: {0} is not set: start the program in a lab's host: ipoib exec HOST -- PROGRAM"
    )]
    Outside(&'static str),
    /// Nobody answers at the socket.
    #[error("no InfiniBand here: {path}: {source}: is the lab still running?")]
    Unreachable {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The connection has ended.
    #[error("the lab is gone")]
    Gone,
    /// The reply is none.
    #[error("the lab's reply cannot be read: is this library of the same release as the lab?")]
    Unreadable,
    /// The lab does not want to.
    #[error("the lab refuses: {why}")]
    Refused { errno: i32, why: String },
}

impl Connection {
    /// Connects to the lab that the environment names.
    pub(crate) fn connect() -> Result<Self, ClientError> {
        let variable = |name| env::var_os(name).ok_or(ClientError::Outside(name));
        let path = variable(SOCKET_VARIABLE)?;
        let node = variable(NODE_VARIABLE)?.to_string_lossy().into_owned();
        let connected = || {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
            let address = SocketAddrUnix::new(&path)?;
            retry_on_intr(|| connect(&socket, &address))?;
            Ok(Self { socket })
        };
        let connection = connected().map_err(|error: Errno| ClientError::Unreachable {
            path: path.to_string_lossy().into_owned(),
            source: error.into(),
        })?;
        connection.done(&Request::Hello { version: VERSION, node })?;
        Ok(connection)
    }

    /// The node's adapters, sorted by name, with their ports.
    pub(crate) fn adapters(&self) -> Result<Vec<Adapter>, ClientError> {
        let Reply::Devices(mut devices) = self.ask(&Request::Devices)?.0 else {
            return Err(ClientError::Unreadable);
        };
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        let adapter = |device: Device| {
            let ports = device.ports.iter().map(|&number| self.port(&device.name, number));
            Ok(Adapter { ports: ports.collect::<Result<_, _>>()?, device })
        };
        devices.into_iter().map(adapter).collect()
    }

    /// Makes the connection an open port, whose stream this is.
    pub(crate) fn open(&self, device: &str, port: u8) -> Result<OwnedFd, ClientError> {
        match self.ask(&Request::Open { device: device.to_owned(), port })? {
            (Reply::Opened, Some(stream)) => Ok(stream),
            _ => Err(ClientError::Unreadable),
        }
    }

    /// Registers an agent of the open port, and gives its number.
    pub(crate) fn register(&self, registration: Registration) -> Result<u32, ClientError> {
        match self.ask(&Request::Register(registration))?.0 {
            Reply::Registered { agent } => Ok(agent),
            _ => Err(ClientError::Unreadable),
        }
    }

    /// Removes an agent of the open port.
    pub(crate) fn unregister(&self, agent: u32) -> Result<(), ClientError> {
        self.done(&Request::Unregister { agent })
    }

    fn port(&self, device: &str, port: u8) -> Result<Port, ClientError> {
        match self.ask(&Request::Port { device: device.to_owned(), port })?.0 {
            Reply::Port(port) => Ok(port),
            _ => Err(ClientError::Unreadable),
        }
    }

    fn done(&self, request: &Request) -> Result<(), ClientError> {
        match self.ask(request)?.0 {
            Reply::Done => Ok(()),
            _ => Err(ClientError::Unreadable),
        }
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Option<OwnedFd>), ClientError> {
        let packet = serde_json::to_vec(request).map_err(|_| ClientError::Unreadable)?;
        let mut nothing = SendAncillaryBuffer::default();
        retry_on_intr(|| sendmsg(&self.socket, &[IoSlice::new(&packet)], &mut nothing, SendFlags::NOSIGNAL))
            .map_err(|_| ClientError::Gone)?;

        let mut packet = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut packet)];
            recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        })
        .map_err(|_| ClientError::Gone)?;
        if received.bytes == 0 {
            return Err(ClientError::Gone);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(ClientError::Unreadable);
        }
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptor = descriptors.flatten().last();
        match serde_json::from_slice(&packet[..received.bytes]) {
            Ok(Reply::Refused { errno, why }) => Err(ClientError::Refused { errno, why }),
            Ok(reply) => Ok((reply, descriptor)),
            Err(_) => Err(ClientError::Unreadable),
        }
    }
}

impl ClientError {
    /// The error number that a program sees of a request that was not granted.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::Refused { errno, .. } if *errno > 0 => *errno,
            Self::Refused { .. } => Errno::INVAL.raw_os_error(),
            _ => Errno::IO.raw_os_error(),
        }
    }
}
