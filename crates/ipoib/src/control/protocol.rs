//! The messages of `org.ipoib.lab.varlink` as types, for both ends of the socket.

use std::{borrow::Cow, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zlink::varlink_service;

use super::{
    Environment,
    request::{CaptureFilter, HostFault},
    schema::Noun,
};
use crate::capture::CaptureSummary;

/// The contract.
pub const DESCRIPTION: &str = include_str!("org.ipoib.lab.varlink");
/// Its name.
pub const INTERFACE: &str = "org.ipoib.lab";
/// Name of the socket in the lab's run directory.
pub const SOCKET: &str = "control";

/// A call, not yet understood. Both ends take the time to name what they do not know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RawCall {
    /// Interface and method.
    pub(super) method: String,
    /// Its parameters, an object.
    #[serde(default = "no_parameters")]
    pub(super) parameters: Value,
}

fn no_parameters() -> Value {
    Value::Object(serde_json::Map::new())
}

impl RawCall {
    /// A call of a method of ours.
    pub(super) fn ours(method: &str, parameters: impl Serialize) -> Self {
        let parameters = serde_json::to_value(parameters).unwrap_or_else(|_| no_parameters());
        Self { method: format!("{INTERFACE}.{method}"), parameters }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    pub(super) noun: Noun,
    pub(super) host: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultLink {
    pub(super) link: String,
    pub(super) fault: String,
    pub(super) value: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultHost {
    pub(super) host: String,
    pub(super) fault: HostFault,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultSm {
    pub(super) node: Option<String>,
    pub(super) fault: String,
    pub(super) value: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inject {
    pub(super) port: String,
    pub(super) packet: String,
    pub(super) seal: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enter {
    pub(super) host: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BindPort {
    pub(super) port: String,
    pub(super) local: String,
    pub(super) peer: String,
    pub(super) idle: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnbindPort {
    pub(super) port: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartSm {
    pub(super) node: Option<String>,
    pub(super) priority: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillSm {
    pub(super) node: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Capture {
    #[serde(flatten)]
    pub(super) filter: CaptureFilter,
    pub(super) to: usize,
}

/// What a method that says nothing but "done" answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) schema: u32,
    pub(super) document: Value,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entered {
    pub(super) entry: EntryIndexes,
}

/// An entry whose descriptors travel beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryIndexes {
    pub(super) user: Option<usize>,
    pub(super) net: usize,
    pub(super) mnt: usize,
    pub(super) uts: usize,
    #[serde(flatten)]
    pub(super) environment: Environment,
    pub(super) cwd: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Captured {
    pub(super) ended: bool,
    pub(super) packets: u64,
    pub(super) dropped: u64,
    pub(super) error: Option<String>,
}

impl From<CaptureSummary> for Captured {
    fn from(summary: CaptureSummary) -> Self {
        let CaptureSummary { packets, dropped, error } = summary;
        Self { ended: true, packets, dropped, error }
    }
}

impl From<Captured> for CaptureSummary {
    fn from(captured: Captured) -> Self {
        let Captured { packets, dropped, error, .. } = captured;
        Self { packets, dropped, error }
    }
}

/// Why a call has no answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
pub(super) enum LabError {
    #[serde(rename = "org.ipoib.lab.Failed")]
    Failed { reason: String },
    #[serde(rename = "org.ipoib.lab.Ending")]
    Ending,
}

/// The same, with what varlink itself has to complain about.
#[derive(Debug)]
pub(super) enum CallError {
    Lab(LabError),
    Varlink(varlink_service::Error<'static>),
}

impl CallError {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Lab(LabError::Failed { reason: reason.into() })
    }

    pub(super) fn parameter(what: impl Into<String>) -> Self {
        Self::Varlink(varlink_service::Error::InvalidParameter { parameter: Cow::Owned(what.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_names_every_noun() {
        for noun in Noun::ALL {
            assert!(DESCRIPTION.contains(noun.name()), "{noun}");
        }
    }

    #[test]
    fn errors_are_written_as_varlink_wants_them() {
        let failed = serde_json::to_value(LabError::Failed { reason: "no host h9".into() }).unwrap();
        assert_eq!(failed["error"], "org.ipoib.lab.Failed");
        assert_eq!(failed["parameters"]["reason"], "no host h9");
        assert_eq!(serde_json::to_value(LabError::Ending).unwrap()["error"], "org.ipoib.lab.Ending");
    }

    #[test]
    fn a_call_may_leave_its_parameters_out() {
        let call: RawCall = serde_json::from_str(r#"{"method": "org.ipoib.lab.Info"}"#).unwrap();
        assert!(serde_json::from_value::<Nothing>(call.parameters).is_ok());
    }
}
