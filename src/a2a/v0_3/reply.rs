//! Replies and events of 0.3: tasks, updates and lists, to the typed 1.0 messages and back.

use serde_json::value::RawValue;

use super::parts::{
    artifact_from_v0_3, artifact_to_v0_3, message_from_v0_3, message_to_v0_3, quoted, status_from_v0_3, status_to_v0_3,
};
use super::request::parse;
use super::stash::{SAID_IN_0_3, Stash};
use super::types as old;
use super::{ConvertError, raw};
use crate::call::PayloadKind;
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{self, TaskState};

mod stream;

pub use stream::StreamWriter;

/// Reads a 0.3 task.
pub fn task_from_v0_3(json: &[u8]) -> Result<proto::Task, ConvertError> {
    task(parse(json)?)
}

/// A 0.3 task in 1.0.
pub(super) fn task(old: old::Task) -> Result<proto::Task, ConvertError> {
    let artifacts = old.artifacts.into_iter().enumerate();
    let history = old.history.into_iter().enumerate();
    Ok(proto::Task {
        id: old.id,
        context_id: old.context_id,
        status: Some(status_from_v0_3(old.status)?),
        artifacts: artifacts
            .map(|(at, artifact)| artifact_from_v0_3(artifact).map_err(|e| e.inside(&format!("artifacts[{at}]"))))
            .collect::<Result<_, _>>()?,
        history: history
            .map(|(at, message)| message_from_v0_3(message).map_err(|e| e.inside(&format!("history[{at}]"))))
            .collect::<Result<_, _>>()?,
        metadata: old.metadata,
    })
}

/// Writes a task for a 0.3 reader.
pub fn task_to_v0_3(new: &proto::Task) -> Result<old::Task, ConvertError> {
    Ok(old::Task {
        kind: "task",
        id: new.id.clone(),
        context_id: new.context_id.clone(),
        status: status_to_v0_3(new.status.as_ref())?,
        artifacts: new.artifacts.iter().map(artifact_to_v0_3).collect::<Result<_, _>>()?,
        history: new.history.iter().map(message_to_v0_3).collect::<Result<_, _>>()?,
        metadata: new.metadata.clone(),
    })
}

/// Reads the result of `message/send`: a bare task or message, of this kind if it is known.
pub fn send_response_from_v0_3(
    json: &[u8],
    kind: Option<PayloadKind>,
) -> Result<proto::SendMessageResponse, ConvertError> {
    send_response(parse_event(json, kind)?)
}

/// The answer to a send in 1.0.
pub(super) fn send_response(old: old::Event) -> Result<proto::SendMessageResponse, ConvertError> {
    let payload = match old {
        old::Event::Task(old) => Sent::Task(task(old)?),
        old::Event::Message(old) => Sent::Message(message_from_v0_3(old)?),
        _ => return Err(ConvertError::new("kind", "must be \"task\" or \"message\"")),
    };
    Ok(proto::SendMessageResponse { payload: Some(payload) })
}

/// Writes the result of a send for a 0.3 reader.
pub fn send_response_to_v0_3(new: &proto::SendMessageResponse) -> Result<Box<RawValue>, ConvertError> {
    raw(&sent(new)?)
}

/// The answer to a send in 0.3.
pub(super) fn sent(new: &proto::SendMessageResponse) -> Result<old::Event, ConvertError> {
    match &new.payload {
        Some(Sent::Task(task)) => task_to_v0_3(task).map(old::Event::Task),
        Some(Sent::Message(message)) => message_to_v0_3(message).map(old::Event::Message),
        None => Err(ConvertError::new("", "has neither a task nor a message")),
    }
}

/// Reads one event of a 0.3 stream: a bare object of this kind if it is known, else one that its `kind`, or else its
/// members, name.
pub fn event_from_v0_3(json: &[u8], kind: Option<PayloadKind>) -> Result<proto::StreamResponse, ConvertError> {
    event(parse_event(json, kind)?)
}

fn parse_event(json: &[u8], kind: Option<PayloadKind>) -> Result<old::Event, ConvertError> {
    let kind = match kind {
        Some(kind) => kind,
        None => kind_of(&parse(json)?)?,
    };
    Ok(match kind {
        PayloadKind::Task => old::Event::Task(parse(json)?),
        PayloadKind::Message => old::Event::Message(parse(json)?),
        PayloadKind::StatusUpdate => old::Event::StatusUpdate(parse(json)?),
        PayloadKind::ArtifactUpdate => old::Event::ArtifactUpdate(parse(json)?),
    })
}

/// A 0.3 event in 1.0.
pub(super) fn event(old: old::Event) -> Result<proto::StreamResponse, ConvertError> {
    let payload = match old {
        old::Event::Task(old) => Payload::Task(task(old)?),
        old::Event::Message(old) => Payload::Message(message_from_v0_3(old)?),
        old::Event::StatusUpdate(mut old) => {
            let status = status_from_v0_3(old.status)?;
            let mut kept = Stash::new(SAID_IN_0_3);
            if old.is_final != is_final(&status) {
                kept.flag("final", old.is_final);
            }
            let before = old.metadata.clone();
            kept.put_into(&mut old.metadata, before.as_ref());
            Payload::StatusUpdate(proto::TaskStatusUpdateEvent {
                task_id: old.task_id,
                context_id: old.context_id,
                status: Some(status),
                metadata: old.metadata,
            })
        }
        old::Event::ArtifactUpdate(old) => Payload::ArtifactUpdate(proto::TaskArtifactUpdateEvent {
            task_id: old.task_id,
            context_id: old.context_id,
            artifact: Some(artifact_from_v0_3(old.artifact).map_err(|e| e.inside("artifact"))?),
            append: old.append,
            last_chunk: old.last_chunk,
            metadata: old.metadata,
        }),
    };
    Ok(proto::StreamResponse { payload: Some(payload) })
}

/// What 0.3 clients wait for: the task has ended, or waits for its caller.
fn is_final(status: &proto::TaskStatus) -> bool {
    status.state().is_terminal() || status.state() == TaskState::InputRequired
}

fn kind_of(tag: &old::Tag) -> Result<PayloadKind, ConvertError> {
    match (tag.kind.as_deref(), tag) {
        (Some("task"), _) | (None, old::Tag { id: Some(_), message_id: None, artifact: None, .. }) => {
            Ok(PayloadKind::Task)
        }
        (Some("message"), _) | (None, old::Tag { message_id: Some(_), .. }) => Ok(PayloadKind::Message),
        (Some("artifact-update"), _) | (None, old::Tag { artifact: Some(_), .. }) => Ok(PayloadKind::ArtifactUpdate),
        (Some("status-update"), _) => Ok(PayloadKind::StatusUpdate),
        (Some(other), _) => Err(ConvertError::new("kind", format!("{} is no kind of A2A 0.3", quoted(other)))),
        (None, _) => Err(ConvertError::new("kind", "is required")),
    }
}

/// Writes one event for a 0.3 reader, without regard to what came before it; see [`StreamWriter`].
pub fn event_to_v0_3(new: &proto::StreamResponse) -> Result<Box<RawValue>, ConvertError> {
    raw(&old_event(new)?)
}

/// An event in 0.3.
pub(super) fn old_event(new: &proto::StreamResponse) -> Result<old::Event, ConvertError> {
    match &new.payload {
        Some(Payload::Task(task)) => task_to_v0_3(task).map(old::Event::Task),
        Some(Payload::Message(message)) => message_to_v0_3(message).map(old::Event::Message),
        Some(Payload::StatusUpdate(update)) => {
            status_update(&update.task_id, &update.context_id, update.status.as_ref(), update.metadata.clone())
        }
        Some(Payload::ArtifactUpdate(update)) => {
            let artifact =
                update.artifact.as_ref().map(artifact_to_v0_3).transpose().map_err(|e| e.inside("artifact"))?;
            Ok(old::Event::ArtifactUpdate(old::TaskArtifactUpdateEvent {
                kind: "artifact-update",
                task_id: update.task_id.clone(),
                context_id: update.context_id.clone(),
                artifact: artifact.unwrap_or_default(),
                append: update.append,
                last_chunk: update.last_chunk,
                metadata: update.metadata.clone(),
            }))
        }
        None => Err(ConvertError::new("", "has no payload")),
    }
}

/// An update that is final when the task has ended or waits for its caller, unless a 0.3 agent said otherwise.
fn status_update(
    task_id: &str,
    context_id: &str,
    status: Option<&proto::TaskStatus>,
    mut metadata: Option<proto::Struct>,
) -> Result<old::Event, ConvertError> {
    let mut kept = Stash::take(SAID_IN_0_3, &mut metadata, &["final"]);
    let something = !kept.is_empty();
    let said = kept.take_flag("final");
    kept.restore(&mut metadata, something);
    Ok(old::Event::StatusUpdate(old::TaskStatusUpdateEvent {
        kind: "status-update",
        task_id: task_id.to_owned(),
        context_id: context_id.to_owned(),
        status: status_to_v0_3(status)?,
        is_final: said.unwrap_or(status.is_some_and(is_final)),
        metadata,
    }))
}

/// Writes the answer to `tasks/list`.
pub fn list_to_v0_3(new: &proto::ListTasksResponse) -> Result<Box<RawValue>, ConvertError> {
    raw(&old::ListTasksResult {
        tasks: new.tasks.iter().map(task_to_v0_3).collect::<Result<_, _>>()?,
        next_page_token: new.next_page_token.clone(),
        page_size: new.page_size,
        total_size: new.total_size,
    })
}
