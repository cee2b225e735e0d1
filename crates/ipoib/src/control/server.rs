//! The lab's end of the control socket: a thread of its own, one task per client.
//!
//! Nothing a client does reaches the data thread but well-formed requests. A client that does not read its
//! answers is cut off, one that asks too much waits for itself alone.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime,
    sync::{Semaphore, oneshot},
    task::{LocalSet, spawn_local},
    time::timeout,
};
use zlink::{Listener as _, tokio::unix};

use super::{
    answer::{Answer, Asker, answer},
    protocol::{CallError, Captured, Done, INTERFACE, LabError, RawCall},
    request::Request,
    wire::{Broken, Wire},
};
use crate::capture::CaptureStatus;

/// The thread that answers clients. Ends when dropped, and takes the socket away.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Listens at `path` and gives what clients ask for to `to_data`, which must not wait.
    pub fn start(path: &Path, to_data: impl Fn(Request) + Send + 'static) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let (end, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            let places = Arc::new(Semaphore::new(MOST_CLIENTS));
            let served = LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    result = accept(listener, Rc::new(to_data), Arc::clone(&places)) => result,
                    _ = ended => {
                        // Whoever waits for an answer gets one, be it that the lab ends.
                        let all = u32::try_from(MOST_CLIENTS).unwrap_or(u32::MAX);
                        let _ = timeout(FAREWELL, places.acquire_many(all)).await;
                        Ok(())
                    }
                }
            });
            if let Err(error) = served {
                tracing::error!(%error, "the control socket is gone");
            }
        })?;
        Ok(Self { path: path.to_owned(), end: Some(end), thread: Some(thread) })
    }

    /// Where clients find it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, it said so.
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, ask: Asker, places: Arc<Semaphore>) -> zlink::Result<()> {
    let mut listener = unix::Listener::try_from(OwnedFd::from(listener))?;
    loop {
        let connection = match listener.accept().await {
            Ok(Some(connection)) => connection,
            Ok(None) => return Ok(()),
            // Out of descriptors, or the client has gone already: neither is the end.
            Err(error) => {
                tracing::debug!(%error, "a client was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!("too many clients at once");
            continue;
        };
        let ask = Rc::clone(&ask);
        spawn_local(async move {
            let _place = place;
            Client { wire: Wire::new(connection), ask, capture: None }.serve().await;
        });
    }
}

/// One connection.
struct Client {
    wire: Wire,
    ask: Asker,
    /// What this connection records.
    capture: Option<CaptureStatus>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(capture) = &self.capture {
            capture.stop();
        }
    }
}

impl Client {
    /// Answers calls until the client goes.
    async fn serve(mut self) {
        while self.step().await.is_ok() {}
    }

    async fn step(&mut self) -> Result<(), Broken> {
        let (call, fds) = tokio::select! {
            call = self.wire.call() => call?,
            summary = ended(self.capture.as_ref()) => {
                self.capture = None;
                return self.wire.send(Captured::from(summary), Vec::new(), false).await;
            }
        };
        let (oneway, more) = (call.oneway(), call.more());
        let RawCall { method, parameters } = call.method().clone();
        if method == format!("{INTERFACE}.EndCapture") {
            self.end_capture().await?;
            return if oneway { Ok(()) } else { self.wire.send(Done {}, Vec::new(), false).await };
        }
        if self.capture.is_some() {
            return Err(Broken);
        }
        match answer(&self.ask, &method, parameters, fds, more).await {
            _ if oneway => Ok(()),
            Ok(Answer::Value(value, fds)) => self.wire.send(value, fds, false).await,
            Ok(Answer::Capture(status)) => {
                self.capture = Some(status);
                self.wire.send(Captured::default(), Vec::new(), true).await
            }
            Err(CallError::Lab(error)) => self.wire.refuse(&error).await,
            Err(CallError::Varlink(error)) => self.wire.refuse(&error).await,
        }
    }

    /// Ends what this connection records, and tells what became of it.
    async fn end_capture(&mut self) -> Result<(), Broken> {
        let Some(capture) = self.capture.take() else { return Ok(()) };
        capture.stop();
        match timeout(PATIENCE, capture.ended()).await {
            Ok(summary) => self.wire.send(Captured::from(summary), Vec::new(), false).await,
            Err(_) => {
                self.wire.refuse(&LabError::Failed { reason: "the file takes no more bytes".into() }).await
            }
        }
    }
}

/// The end of a capture; never, if there is none.
async fn ended(capture: Option<&CaptureStatus>) -> crate::capture::CaptureSummary {
    match capture {
        Some(capture) => capture.ended().await,
        None => std::future::pending().await,
    }
}

/// Clients at a time; those above are turned away.
const MOST_CLIENTS: usize = 200;
/// How long the end of the lab waits for clients that are being answered.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long a file may take to take its last bytes.
const PATIENCE: Duration = Duration::from_secs(10);
