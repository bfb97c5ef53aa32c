//! A stream of 1.0 events as a 0.3 reader wants it.
//!
//! Two habits of 0.3 clients are served here. They refuse a second Task in one stream, so later snapshots become
//! the updates that lead to them. And they wait for an event marked `final`, so the event after which a 1.0 agent
//! falls silent carries that mark: terminal states, and waiting for input.

use serde_json::value::RawValue;

use super::{ConvertError, artifact_to_v0_3, event_to_v0_3, old, proto, raw, status_update_to_v0_3};
use crate::proto::TaskState;
use crate::proto::stream_response::Payload;

/// Writes the events of one stream.
#[derive(Debug, Default)]
pub struct StreamWriter {
    task_seen: bool,
}

impl StreamWriter {
    /// The 0.3 events that say what `event` says: one, or for a repeated Task its artifacts and then its status.
    ///
    /// # Errors
    /// What 0.3 cannot say.
    pub fn write(&mut self, event: &proto::StreamResponse) -> Result<Vec<Box<RawValue>>, ConvertError> {
        match &event.payload {
            Some(Payload::Task(task)) if self.task_seen => repeated_task(task),
            Some(Payload::Task(_)) => {
                self.task_seen = true;
                Ok(vec![event_to_v0_3(event)?])
            }
            Some(Payload::StatusUpdate(update)) => {
                let metadata = update.metadata.clone();
                Ok(vec![status_update(&update.task_id, &update.context_id, update.status.as_ref(), metadata)?])
            }
            _ => Ok(vec![event_to_v0_3(event)?]),
        }
    }
}

fn repeated_task(task: &proto::Task) -> Result<Vec<Box<RawValue>>, ConvertError> {
    let mut events = Vec::with_capacity(task.artifacts.len() + 1);
    for artifact in &task.artifacts {
        events.push(raw(&old::TaskArtifactUpdateEvent {
            kind: "artifact-update",
            task_id: task.id.clone(),
            context_id: task.context_id.clone(),
            artifact: artifact_to_v0_3(artifact)?,
            append: false,
            last_chunk: true,
            metadata: None,
        })?);
    }
    events.push(status_update(&task.id, &task.context_id, task.status.as_ref(), task.metadata.clone())?);
    Ok(events)
}

fn status_update(
    task_id: &str,
    context_id: &str,
    status: Option<&proto::TaskStatus>,
    metadata: Option<proto::Struct>,
) -> Result<Box<RawValue>, ConvertError> {
    let mut update = status_update_to_v0_3(task_id, context_id, status, metadata)?;
    update.is_final |= status.is_some_and(|status| status.state() == TaskState::InputRequired);
    raw(&update)
}
