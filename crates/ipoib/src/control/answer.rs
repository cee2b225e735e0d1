//! From a varlink call to a request, and from its reply to an answer.

use std::{borrow::Cow, os::fd::OwnedFd, rc::Rc, time::Duration};

use ib_fabric::topology::{UdpEnds, parse_duration};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};
use zlink::varlink_service;

use super::{
    protocol::{
        BindPort, CallError, Capture, DESCRIPTION, Done, Enter, Entered, EntryIndexes, FaultHost, FaultLink,
        FaultSm, INTERFACE, Inject, KillSm, LabError, Nothing, Show, Shown, StartSm, UnbindPort,
    },
    request::{Entry, LinkFault, Reply, Request, SmFault, packet_of},
    schema::SCHEMA,
};
use crate::capture::CaptureStatus;

/// Hands a request to the data thread.
pub(super) type Asker = Rc<dyn Fn(Request)>;

/// What a call comes to.
#[derive(Debug)]
pub(super) enum Answer {
    /// One reply.
    Value(Value, Vec<OwnedFd>),
    /// A capture began; more replies follow.
    Capture(CaptureStatus),
}

/// Does what a call asks for. All methods but `EndCapture`, which is a matter of the connection.
pub(super) async fn answer(
    ask: &Asker,
    method: &str,
    parameters: Value,
    fds: Vec<OwnedFd>,
    more: bool,
) -> Result<Answer, CallError> {
    let (interface, name) = method.rsplit_once('.').unwrap_or((method, ""));
    match interface {
        INTERFACE => ours(ask, method, name, parameters, fds, more).await,
        "org.varlink.service" => standard(method, name, &parameters),
        _ => Err(CallError::Varlink(varlink_service::Error::InterfaceNotFound {
            interface: Cow::Owned(interface.to_owned()),
        })),
    }
}

async fn ours(
    ask: &Asker,
    method: &str,
    name: &str,
    parameters: Value,
    fds: Vec<OwnedFd>,
    more: bool,
) -> Result<Answer, CallError> {
    match name {
        "Info" => {
            read::<Nothing>(parameters)?;
            value(&request(ask, |reply| Request::Info { reply }).await?)
        }
        "Show" => {
            let Show { noun, host } = read(parameters)?;
            let shown = request(ask, |reply| Request::Show { noun, host, reply }).await?;
            value(&Shown { schema: SCHEMA, document: shown.document() })
        }
        "FaultLink" => {
            let FaultLink { link, fault, value: amount } = read(parameters)?;
            let fault = LinkFault::read(&fault, amount.as_deref()).map_err(CallError::parameter)?;
            done(request(ask, |reply| Request::FaultLink { link, fault, reply }).await)
        }
        "FaultHost" => {
            let FaultHost { host, fault } = read(parameters)?;
            done(request(ask, |reply| Request::FaultHost { host, fault, reply }).await)
        }
        "FaultSm" => {
            let FaultSm { node, fault, value: amount } = read(parameters)?;
            let fault = SmFault::read(&fault, amount.as_deref()).map_err(CallError::parameter)?;
            done(request(ask, |reply| Request::FaultSm { node, fault, reply }).await)
        }
        "Inject" => {
            let Inject { port, packet, seal } = read(parameters)?;
            let packet = packet_of(&packet, seal == Some(true)).map_err(CallError::failed)?;
            done(request(ask, |reply| Request::Inject { port, packet, reply }).await)
        }
        "Enter" => {
            let Enter { host } = read(parameters)?;
            entered(request(ask, |reply| Request::Enter { host, reply }).await?)
        }
        "Capture" => {
            let Capture { filter, to } = read(parameters)?;
            if !more {
                return Err(CallError::Varlink(varlink_service::Error::ExpectedMore));
            }
            let to = fds.into_iter().nth(to).ok_or_else(|| CallError::parameter("to"))?;
            Ok(Answer::Capture(request(ask, |reply| Request::Capture { filter, to, reply }).await?))
        }
        "BindPort" => {
            let BindPort { port, local, peer, idle } = read(parameters)?;
            let ends =
                UdpEnds::parse(&local, &peer).map_err(|error| CallError::parameter(error.to_string()))?;
            let idle = idle.map(|text| parse_duration(&text)).transpose();
            let idle = idle.map_err(|error| CallError::parameter(error.to_string()))?;
            done(request(ask, |reply| Request::Bind { port, ends, idle, reply }).await)
        }
        "UnbindPort" => {
            let UnbindPort { port } = read(parameters)?;
            done(request(ask, |reply| Request::Unbind { port, reply }).await)
        }
        "Sweep" => {
            read::<Nothing>(parameters)?;
            done(request(ask, |reply| Request::Sweep { reply }).await)
        }
        "StartSm" => {
            let StartSm { node, priority } = read(parameters)?;
            done(request(ask, |reply| Request::StartSm { node, priority, reply }).await)
        }
        "KillSm" => {
            let KillSm { node } = read(parameters)?;
            done(request(ask, |reply| Request::KillSm { node, reply }).await)
        }
        "Stop" => {
            read::<Nothing>(parameters)?;
            done(request(ask, |reply| Request::Stop { reply }).await)
        }
        _ => Err(no_method(method)),
    }
}

/// The interface that every varlink service has.
fn standard(method: &str, name: &str, parameters: &Value) -> Result<Answer, CallError> {
    match name {
        "GetInfo" => value(&json!({
            "vendor": "ipoib",
            "product": "ipoib lab",
            "version": env!("CARGO_PKG_VERSION"),
            "url": env!("CARGO_PKG_REPOSITORY"),
            "interfaces": ["org.varlink.service", INTERFACE],
        })),
        "GetInterfaceDescription" => match parameters["interface"].as_str() {
            Some(INTERFACE) => value(&json!({ "description": DESCRIPTION })),
            Some("org.varlink.service") => {
                value(&json!({ "description": varlink_service::DESCRIPTION.to_string() }))
            }
            Some(other) => Err(CallError::Varlink(varlink_service::Error::InterfaceNotFound {
                interface: Cow::Owned(other.to_owned()),
            })),
            None => Err(CallError::parameter("interface")),
        },
        _ => Err(no_method(method)),
    }
}

fn no_method(method: &str) -> CallError {
    CallError::Varlink(varlink_service::Error::MethodNotFound { method: Cow::Owned(method.to_owned()) })
}

/// Asks the data thread and waits for its word, though not forever.
async fn request<T>(ask: &Asker, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, CallError> {
    let (reply, word) = oneshot::channel();
    ask(make(reply));
    match timeout(PATIENCE, word).await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(reason))) => Err(CallError::failed(reason)),
        Ok(Err(_)) => Err(CallError::Lab(LabError::Ending)),
        Err(_) => Err(CallError::failed("the lab is too busy to answer: try again")),
    }
}

fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, CallError> {
    let parameters = if parameters.is_null() { json!({}) } else { parameters };
    serde_json::from_value(parameters).map_err(|error| CallError::parameter(error.to_string()))
}

fn value(value: &impl Serialize) -> Result<Answer, CallError> {
    let value = serde_json::to_value(value).map_err(|error| CallError::failed(error.to_string()))?;
    Ok(Answer::Value(value, Vec::new()))
}

fn done(result: Result<(), CallError>) -> Result<Answer, CallError> {
    result.and_then(|()| value(&Done {}))
}

fn entered(entry: Entry) -> Result<Answer, CallError> {
    let Entry { user, net, mnt, uts, environment, cwd } = entry;
    let mut fds = vec![net, mnt, uts];
    fds.extend(user);
    let user = (fds.len() > 3).then_some(3);
    let entry = EntryIndexes { user, net: 0, mnt: 1, uts: 2, environment, cwd };
    match value(&Entered { entry })? {
        Answer::Value(value, _) => Ok(Answer::Value(value, fds)),
        other => Ok(other),
    }
}

/// How long the data thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
