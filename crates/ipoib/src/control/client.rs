//! The other end of the control socket, for our own command line. Blocks; starts no thread.

use std::{
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    pin::pin,
    time::Duration,
};

use ib_fabric::topology::{UdpEnds, format_duration};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};
use zlink::{Call, tokio::unix};

use super::{
    protocol::{
        BindPort, Capture, Captured, Done, Enter, Entered, EntryIndexes, FaultHost, FaultLink, FaultSm,
        Inject, KillSm, LabError, Nothing, RawCall, Show, Shown, StartSm, UnbindPort,
    },
    request::{CaptureFilter, Entry, HostFault, LabInfo, LinkFault, SmFault},
    schema::Noun,
};
use crate::capture::CaptureSummary;

/// A connection to a lab.
#[derive(Debug)]
pub struct Client {
    // Before the runtime, which it needs to its end.
    connection: unix::Connection,
    runtime: Runtime,
}

/// Why the lab did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It said so.
    #[error("{0}")]
    Refused(String),
    /// It is about to end.
    #[error("the lab is ending")]
    Ending,
    /// It has ended, or the socket is not one of ours.
    #[error("the lab does not answer: it may have ended, `ipoib list` shows those that run")]
    Gone(#[source] io::Error),
    /// It takes too long.
    #[error("the lab has not answered for {} seconds", PATIENCE.as_secs())]
    Slow,
    /// It speaks another version of the protocol.
    #[error("the lab and this program are of different versions: {0}")]
    Foreign(String),
}

impl Client {
    /// Connects to the lab's socket.
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClientError::Gone)?;
        let connection = runtime.block_on(unix::connect(socket)).map_err(lost)?;
        Ok(Self { connection, runtime })
    }

    /// What the lab is.
    pub fn info(&mut self) -> Result<LabInfo, ClientError> {
        self.call("Info", Nothing {})
    }

    /// The document that shows a noun.
    pub fn show(&mut self, noun: Noun, host: Option<String>) -> Result<Value, ClientError> {
        self.call::<Shown>("Show", Show { noun, host }).map(|shown| shown.document)
    }

    /// Changes what a link does.
    pub fn fault_link(&mut self, link: &str, fault: LinkFault) -> Result<(), ClientError> {
        let (fault, value) = fault.words();
        let parameters = FaultLink { link: link.to_owned(), fault: fault.to_owned(), value };
        self.call("FaultLink", parameters).map(|Done {}| ())
    }

    /// Pulls or plugs the cables of a host.
    pub fn fault_host(&mut self, host: &str, fault: HostFault) -> Result<(), ClientError> {
        self.call("FaultHost", FaultHost { host: host.to_owned(), fault }).map(|Done {}| ())
    }

    /// Changes how a subnet administration answers.
    pub fn fault_sm(&mut self, node: Option<String>, fault: SmFault) -> Result<(), ClientError> {
        let (fault, value) = fault.words();
        self.call("FaultSm", FaultSm { node, fault: fault.to_owned(), value }).map(|Done {}| ())
    }

    /// Lets a packet, in hexadecimal digits, come in through a port; `seal` appends its checksums.
    pub fn inject(&mut self, port: &str, packet: &str, seal: bool) -> Result<(), ClientError> {
        let parameters = Inject { port: port.to_owned(), packet: packet.to_owned(), seal: Some(seal) };
        self.call("Inject", parameters).map(|Done {}| ())
    }

    /// The way into a host or switch.
    pub fn enter(&mut self, host: &str) -> Result<Entry, ClientError> {
        let call = Call::new(RawCall::ours("Enter", Enter { host: host.to_owned() }));
        let connection = &mut self.connection;
        self.runtime.block_on(patiently(async {
            connection.send_call(&call, Vec::new()).await.map_err(lost)?;
            let (_, Entered { entry }, fds) = receive(connection).await?;
            opened(entry, fds)
        }))
    }

    /// Records into `to` until `stop` comes, or the capture ends by itself. `stop` begins to wait before anything is
    /// recorded.
    pub fn capture(
        &mut self,
        filter: CaptureFilter,
        to: OwnedFd,
        stop: impl AsyncFnOnce(),
    ) -> Result<CaptureSummary, ClientError> {
        let connection = &mut self.connection;
        self.runtime.block_on(async {
            let call = Call::new(RawCall::ours("Capture", Capture { filter, to: 0 })).set_more(true);
            let mut stop = pin!(stop());
            let stopped = {
                let mut start = pin!(patiently(async {
                    connection.send_call(&call, vec![to]).await.map_err(lost)?;
                    receive::<Captured>(connection).await.map(|_| ())
                }));
                tokio::select! {
                    // Waits from the first moment: a signal may come before the lab has answered.
                    biased;
                    () = &mut stop => start.await.map(|()| true)?,
                    started = &mut start => started.map(|()| false)?,
                }
            };
            if !stopped {
                tokio::select! {
                    biased;
                    () = &mut stop => {}
                    ended = receive::<Captured>(connection) => {
                        return ended.map(|(_, captured, _)| captured.into());
                    }
                }
            }
            let end = Call::new(RawCall::ours("EndCapture", Nothing {})).set_oneway(true);
            patiently(async {
                connection.send_call(&end, Vec::new()).await.map_err(lost)?;
                receive::<Captured>(connection).await.map(|(_, captured, _)| captured.into())
            })
            .await
        })
    }

    /// Binds a port to a UDP socket.
    pub fn bind(&mut self, port: &str, ends: &UdpEnds, idle: Option<Duration>) -> Result<(), ClientError> {
        let (local, peer) = (ends.local.to_string(), ends.peer.to_string());
        let idle = idle.map(format_duration);
        self.call("BindPort", BindPort { port: port.to_owned(), local, peer, idle }).map(|Done {}| ())
    }

    /// Unbinds a port.
    pub fn unbind(&mut self, port: &str) -> Result<(), ClientError> {
        self.call("UnbindPort", UnbindPort { port: port.to_owned() }).map(|Done {}| ())
    }

    /// Makes the subnet manager sweep.
    pub fn sweep(&mut self) -> Result<(), ClientError> {
        self.call("Sweep", Nothing {}).map(|Done {}| ())
    }

    /// Starts a subnet manager.
    pub fn start_sm(&mut self, node: Option<String>, priority: Option<u8>) -> Result<(), ClientError> {
        self.call("StartSm", StartSm { node, priority }).map(|Done {}| ())
    }

    /// Ends a subnet manager of the lab's own, without a word to anybody.
    pub fn kill_sm(&mut self, node: Option<String>) -> Result<(), ClientError> {
        self.call("KillSm", KillSm { node }).map(|Done {}| ())
    }

    /// Ends the lab, and waits until it has.
    pub fn stop(&mut self) -> Result<(), ClientError> {
        match self.call("Stop", Nothing {}) {
            Ok(Done {}) => {}
            // It was quicker than its answer.
            Err(ClientError::Gone(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        let connection = &mut self.connection;
        self.runtime.block_on(patiently(async {
            // The end of the connection is the end of the lab.
            match receive::<Done>(connection).await {
                Err(ClientError::Gone(_)) => Ok(()),
                Err(error) => Err(error),
                Ok(_) => Err(ClientError::Foreign("two answers to one call".into())),
            }
        }))
    }

    fn call<T: DeserializeOwned + std::fmt::Debug>(
        &mut self,
        method: &str,
        parameters: impl Serialize,
    ) -> Result<T, ClientError> {
        let call = Call::new(RawCall::ours(method, parameters));
        let connection = &mut self.connection;
        self.runtime.block_on(patiently(async {
            connection.send_call(&call, Vec::new()).await.map_err(lost)?;
            receive(connection).await.map(|(_, value, _)| value)
        }))
    }
}

/// The next reply: whether more follow, what it says, what came with it.
async fn receive<T: DeserializeOwned + std::fmt::Debug>(
    connection: &mut unix::Connection,
) -> Result<(bool, T, Vec<OwnedFd>), ClientError> {
    let (reply, fds) = connection.receive_reply::<Value, LabError>().await.map_err(lost)?;
    let reply = reply.map_err(|error| match error {
        LabError::Failed { reason } => ClientError::Refused(reason),
        LabError::Ending => ClientError::Ending,
    })?;
    let more = reply.continues() == Some(true);
    let parameters = reply.into_parameters().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let value =
        serde_json::from_value(parameters).map_err(|error| ClientError::Foreign(error.to_string()))?;
    Ok((more, value, fds))
}

/// Puts the descriptors of an entry where they belong.
fn opened(entry: EntryIndexes, fds: Vec<OwnedFd>) -> Result<Entry, ClientError> {
    let take = |index: usize| {
        let fd = fds.get(index).ok_or_else(|| ClientError::Foreign("a descriptor is missing".into()))?;
        fd.as_fd().try_clone_to_owned().map_err(ClientError::Gone)
    };
    Ok(Entry {
        user: entry.user.map(take).transpose()?,
        net: take(entry.net)?,
        mnt: take(entry.mnt)?,
        uts: take(entry.uts)?,
        environment: entry.environment,
        cwd: entry.cwd,
    })
}

async fn patiently<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    timeout(PATIENCE, work).await.unwrap_or(Err(ClientError::Slow))
}

fn lost(error: zlink::Error) -> ClientError {
    match error {
        zlink::Error::Io(error) => ClientError::Gone(error),
        zlink::Error::VarlinkService(error) => ClientError::Foreign(error.to_string()),
        zlink::Error::UnknownErrorReply(error) => ClientError::Foreign(error),
        zlink::Error::Json(error) => ClientError::Foreign(error.to_string()),
        other => ClientError::Gone(io::Error::other(other.to_string())),
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
