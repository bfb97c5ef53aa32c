//! A stream of 1.0 events as a 0.3 reader wants it.
//!
//! Two habits of 0.3 clients are served here. They refuse a second Task in one stream, so later snapshots become
//! the updates that lead to them. And they wait for an event marked `final`, so the event after which a 1.0 agent
//! falls silent carries that mark: terminal states, and waiting for input.

use super::{ConvertError, artifact_to_v0_3, old, old_event, proto, status_update};
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
    pub fn write(&mut self, event: &proto::StreamResponse) -> Result<Vec<old::Event>, ConvertError> {
        match &event.payload {
            Some(Payload::Task(task)) if self.task_seen => repeated_task(task),
            Some(Payload::Task(_)) => {
                self.task_seen = true;
                Ok(vec![old_event(event)?])
            }
            _ => Ok(vec![old_event(event)?]),
        }
    }
}

fn repeated_task(task: &proto::Task) -> Result<Vec<old::Event>, ConvertError> {
    let mut events = Vec::with_capacity(task.artifacts.len() + 1);
    for artifact in &task.artifacts {
        events.push(old::Event::ArtifactUpdate(old::TaskArtifactUpdateEvent {
            kind: "artifact-update",
            task_id: task.id.clone(),
            context_id: task.context_id.clone(),
            artifact: artifact_to_v0_3(artifact)?,
            append: false,
            last_chunk: true,
            metadata: None,
        }));
    }
    events.push(status_update(&task.id, &task.context_id, task.status.as_ref(), task.metadata.clone())?);
    Ok(events)
}
