//! The events of a stream as one answer: the last task with all later updates in it, else the message.

use super::Events;
use crate::call::Event;
use crate::error::{Error, Kind};
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{SendMessageResponse, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent};
use crate::wire::content;

/// Reads a stream until its task ends or waits, or to its message.
///
/// # Errors
/// The agent's own, and InvalidAgentResponse for a stream that grows beyond `bytes_max` or ends without an end.
pub(super) async fn folded(mut events: Events, bytes_max: usize) -> Result<SendMessageResponse, Error> {
    let (mut task, mut size): (Option<Task>, usize) = (None, 0);
    while let Some(event) = events.next().await {
        let event = event?;
        size += size_of(&event);
        if size > bytes_max {
            let message =
                format!("the agent's stream is longer than {bytes_max} bytes, which is the limit of an answer");
            return Err(Error::new(Kind::InvalidAgentResponse, message));
        }
        match content::typed_stream_event(event)?.payload {
            Some(Payload::Message(message)) => {
                return Ok(SendMessageResponse { payload: Some(Sent::Message(message)) });
            }
            Some(Payload::Task(snapshot)) => task = Some(snapshot),
            Some(Payload::StatusUpdate(update)) => status(task.get_or_insert_default(), update),
            Some(Payload::ArtifactUpdate(update)) => artifact(task.get_or_insert_default(), update),
            None => {}
        }
        let state = task.as_ref().and_then(|task| task.status.as_ref()).map(crate::proto::TaskStatus::state);
        // What waits for its caller may leave its stream open; what has ended has a last snapshot perhaps.
        if state.is_some_and(TaskState::is_interrupted) {
            break;
        }
    }
    match task {
        Some(task) => Ok(SendMessageResponse { payload: Some(Sent::Task(task)) }),
        None => Err(Error::new(Kind::InvalidAgentResponse, "the agent's stream has neither a task nor a message")),
    }
}

fn size_of(event: &Event) -> usize {
    use prost::Message as _;
    match &event.content {
        crate::call::Content::Raw(raw) => raw.bytes.len(),
        crate::call::Content::Typed(typed) => typed.encoded_len(),
    }
}

/// A task as the update leaves it. As the SDKs have it, what the status said before is history.
fn status(task: &mut Task, update: TaskStatusUpdateEvent) {
    names(task, &update.task_id, &update.context_id);
    if let Some(said) = task.status.take().and_then(|before| before.message) {
        task.history.push(said);
    }
    task.status = update.status;
    if let Some(more) = update.metadata {
        task.metadata.get_or_insert_default().fields.extend(more.fields);
    }
}

fn artifact(task: &mut Task, update: TaskArtifactUpdateEvent) {
    names(task, &update.task_id, &update.context_id);
    let Some(new) = update.artifact else { return };
    match task.artifacts.iter_mut().find(|known| known.artifact_id == new.artifact_id) {
        Some(known) if update.append => known.parts.extend(new.parts),
        Some(known) => *known = new,
        None => task.artifacts.push(new),
    }
}

/// A stream that begins with an update has no other place for the ids.
fn names(task: &mut Task, id: &str, context: &str) {
    if task.id.is_empty() {
        id.clone_into(&mut task.id);
        context.clone_into(&mut task.context_id);
    }
}
