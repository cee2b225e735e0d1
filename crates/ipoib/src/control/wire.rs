//! One client's connection: zlink reads it, we write it.
//!
//! zlink 0.8 serializes anew for every 256 bytes that a message outgrows its buffer by, which for the tables of
//! a large lab takes minutes. So messages are put into bytes here, and go out by zlink's socket.

use std::{os::fd::OwnedFd, time::Duration};

use serde::Serialize;
use tokio::time::timeout;
use zlink::{
    Call, Reply,
    connection::{
        ReadConnection,
        socket::{Socket, WriteHalf},
    },
    tokio::unix,
};

use super::protocol::RawCall;

/// A connection to a client.
#[derive(Debug)]
pub(super) struct Wire {
    read: ReadConnection<<unix::Stream as Socket>::ReadHalf>,
    write: <unix::Stream as Socket>::WriteHalf,
}

/// The connection is of no more use.
#[derive(Debug)]
pub(super) struct Broken;

impl Wire {
    pub(super) fn new(connection: unix::Connection) -> Self {
        let (read, write) = connection.split();
        Self { read, write: write.into_write_half() }
    }

    /// The next call and what came with it. May be dropped while it waits.
    pub(super) async fn call(&mut self) -> Result<(Call<RawCall>, Vec<OwnedFd>), Broken> {
        self.read.receive_call().await.map_err(|_| Broken)
    }

    /// Answers a call; `more` says that this is not the last answer.
    pub(super) async fn send(
        &mut self,
        value: impl Serialize,
        fds: Vec<OwnedFd>,
        more: bool,
    ) -> Result<(), Broken> {
        self.put(&Reply::new(Some(value)).set_continues(Some(more)), &fds).await
    }

    /// Answers a call with an error.
    pub(super) async fn refuse(&mut self, error: &impl Serialize) -> Result<(), Broken> {
        self.put(error, &[]).await
    }

    async fn put(&mut self, message: &impl Serialize, fds: &[OwnedFd]) -> Result<(), Broken> {
        let mut bytes = serde_json::to_vec(message).map_err(|_| Broken)?;
        bytes.push(0);
        timeout(PATIENCE, self.write.write(&bytes, fds, None)).await.map_err(|_| Broken)?.map_err(|_| Broken)
    }
}

/// How long a client may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);
