//! Typed values in snapshots, serialized as the text a person reads.

use core::fmt::Display;

use serde::Serializer;

/// Serializes by `Display`: `#[serde(serialize_with = "text::show")]`.
pub(crate) fn show<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The same for what may be missing.
pub(crate) fn show_option<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
