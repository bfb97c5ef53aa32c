//! A2A 0.3 in its JSON form, and its conversion to and from the typed 1.0 messages.
//!
//! The rules are those of the official Python SDK's converters, so that a 0.3 peer cannot tell us from it, with two
//! additions: what 0.3 has no room for is put aside in metadata ([`stash`]), and streams end as 0.3's clients expect.
//! `docs/fidelity.md` lists what is lost all the same. [`protobuf`] is the other form of 0.3, and says the same.

mod card;
mod parts;
pub mod protobuf;
mod push;
mod reply;
mod request;
pub mod stash;
pub mod types;

pub use card::{card_from_v0_3, card_to_v0_3};
pub use push::{
    parse_push_config, push_config_from_v0_3, push_config_to_v0_3, push_configs_from_v0_3, push_configs_to_v0_3,
};
pub use reply::{
    StreamWriter, event_from_v0_3, event_to_v0_3, list_to_v0_3, send_response_from_v0_3, send_response_to_v0_3,
    task_from_v0_3, task_to_v0_3,
};
pub use request::{params_from_v0_3, params_to_v0_3};

use serde_json::value::RawValue;

use crate::proto::TaskState;

/// A value that cannot be said in the other version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    /// Path of the member, in the spelling of the version that was read.
    pub field: String,
    pub problem: String,
}

impl ConvertError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same error seen from one level up: `parts[0]` becomes `message.parts[0]`.
    fn inside(mut self, parent: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{parent}{dot}{}", self.field);
        self
    }
}

/// An event of 0.3 as JSON.
///
/// # Errors
/// A number that is not finite, or a time out of range.
pub fn event_json(event: &types::Event) -> Result<Box<RawValue>, ConvertError> {
    raw(event)
}

/// A value as 0.3 writes it. What came by protobuf may hold what JSON cannot say: a number that is not finite, a time
/// out of range.
fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, ConvertError> {
    serde_json::value::to_raw_value(value)
        .map_err(|_| ConvertError::new("", "holds a number that is not finite, or a time out of range"))
}

/// States as 0.3 spells them; 1.0's unspecified state is 0.3's `unknown`.
const STATES: [(&str, TaskState); 9] = [
    ("submitted", TaskState::Submitted),
    ("working", TaskState::Working),
    ("input-required", TaskState::InputRequired),
    ("completed", TaskState::Completed),
    ("canceled", TaskState::Canceled),
    ("failed", TaskState::Failed),
    ("rejected", TaskState::Rejected),
    ("auth-required", TaskState::AuthRequired),
    ("unknown", TaskState::Unspecified),
];

/// The state of this 0.3 name.
pub fn state_by_name(name: &str) -> Option<TaskState> {
    STATES.iter().find(|(known, _)| *known == name).map(|(_, state)| *state)
}

/// The 0.3 name of a state; a number that nobody knows is `unknown`.
pub fn state_name(state: i32) -> &'static str {
    let state = TaskState::try_from(state).unwrap_or(TaskState::Unspecified);
    STATES.iter().find(|(_, known)| *known == state).map_or("unknown", |(name, _)| name)
}
