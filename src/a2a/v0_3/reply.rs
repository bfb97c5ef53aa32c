//! Replies and events of 0.3: messages, tasks, updates and push configs, to the typed 1.0 messages and back.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::value::RawValue;

use super::request::parse;
use super::types as old;
use super::{ConvertError, raw, state_by_name, state_name};
use crate::call::PayloadKind;
use crate::proto::part::Content;
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{self, TaskState, Value, value};

mod stream;

pub use stream::StreamWriter;

/// Marks a data part whose value was no object and is wrapped as `{"value": ..}`: the SDKs' convention.
const WRAPPED: &str = "data_part_compat";

/// Base64 as ProtoJSON reads it: padding or none.
const LAX_STANDARD: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const LAX_URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn message_from_v0_3(old: old::Message) -> Result<proto::Message, ConvertError> {
    let role = match old.role.as_str() {
        "user" | "ROLE_USER" => proto::Role::User,
        "agent" | "assistant" | "ROLE_AGENT" => proto::Role::Agent,
        "" => proto::Role::Unspecified,
        _ => return Err(ConvertError::new("role", "must be \"user\" or \"agent\"")),
    };
    Ok(proto::Message {
        message_id: old.message_id,
        context_id: old.context_id,
        task_id: old.task_id,
        role: role.into(),
        parts: parts_from_v0_3(old.parts)?,
        metadata: old.metadata,
        extensions: old.extensions,
        reference_task_ids: old.reference_task_ids,
    })
}

pub(super) fn message_to_v0_3(new: &proto::Message) -> Result<old::Message, ConvertError> {
    Ok(old::Message {
        kind: "message",
        message_id: new.message_id.clone(),
        context_id: new.context_id.clone(),
        task_id: new.task_id.clone(),
        role: if new.role() == proto::Role::User { "user" } else { "agent" }.to_owned(),
        parts: parts_to_v0_3(&new.parts)?,
        metadata: new.metadata.clone().filter(|metadata| !metadata.fields.is_empty()),
        extensions: new.extensions.clone(),
        reference_task_ids: new.reference_task_ids.clone(),
    })
}

fn parts_from_v0_3(parts: Vec<old::Part>) -> Result<Vec<proto::Part>, ConvertError> {
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(at, part)| part_from_v0_3(part).map_err(|e| e.inside(&format!("parts[{at}]")))).collect()
}

fn parts_to_v0_3(parts: &[proto::Part]) -> Result<Vec<old::Part>, ConvertError> {
    let numbered = parts.iter().enumerate();
    numbered.map(|(at, part)| part_to_v0_3(part).map_err(|e| e.inside(&format!("parts[{at}]")))).collect()
}

fn part_from_v0_3(part: old::Part) -> Result<proto::Part, ConvertError> {
    let missing = |name: &str| ConvertError::new(name, "is required");
    let kind = match (part.kind.as_deref(), &part) {
        (Some(kind), _) => kind,
        (None, old::Part { text: Some(_), .. }) => "text",
        (None, old::Part { file: Some(_), .. }) => "file",
        (None, old::Part { data: Some(_), .. }) => "data",
        (None, _) => return Err(missing("kind")),
    };
    let mut new = proto::Part { metadata: part.metadata, ..Default::default() };
    match kind {
        "text" => new.content = Some(Content::Text(part.text.ok_or_else(|| missing("text"))?)),
        "file" => {
            let file = part.file.ok_or_else(|| missing("file"))?;
            new.content = Some(match (file.bytes, file.uri) {
                (Some(bytes), _) => Content::Raw(decoded(&bytes)?),
                (None, Some(uri)) => Content::Url(uri),
                (None, None) => return Err(ConvertError::new("file", "needs bytes or uri")),
            });
            new.media_type = file.mime_type;
            new.filename = file.name;
        }
        "data" => {
            let data = part.data.ok_or_else(|| missing("data"))?;
            new.content = Some(Content::Data(unwrapped(data, &mut new.metadata)));
        }
        _ => return Err(ConvertError::new("kind", "must be \"text\", \"file\" or \"data\"")),
    }
    Ok(new)
}

fn decoded(base64: &str) -> Result<bytes::Bytes, ConvertError> {
    let bytes = LAX_STANDARD.decode(base64).or_else(|_| LAX_URL_SAFE.decode(base64));
    bytes.map(Into::into).map_err(|_| ConvertError::new("file.bytes", "is not base64"))
}

fn unwrapped(data: Value, metadata: &mut Option<proto::Struct>) -> Value {
    let flagged = metadata.as_ref().and_then(|m| m.fields.get(WRAPPED)).and_then(|flag| flag.kind.as_ref());
    if flagged != Some(&value::Kind::BoolValue(true)) {
        return data;
    }
    let Some(value::Kind::StructValue(mut object)) = data.kind else { return data };
    let Some(inner) = object.fields.remove("value") else {
        return Value { kind: Some(value::Kind::StructValue(object)) };
    };
    if let Some(fields) = metadata.as_mut().map(|m| &mut m.fields) {
        fields.remove(WRAPPED);
    }
    if metadata.as_ref().is_some_and(|m| m.fields.is_empty()) {
        *metadata = None;
    }
    inner
}

fn part_to_v0_3(part: &proto::Part) -> Result<old::Part, ConvertError> {
    let mut new = old::Part { metadata: part.metadata.clone(), ..Default::default() };
    let file = || old::File { mime_type: part.media_type.clone(), name: part.filename.clone(), ..Default::default() };
    let kind = match &part.content {
        Some(Content::Text(text)) => {
            new.text = Some(text.clone());
            "text"
        }
        Some(Content::Raw(raw)) => {
            new.file = Some(old::File { bytes: Some(STANDARD.encode(raw)), ..file() });
            "file"
        }
        Some(Content::Url(url)) => {
            new.file = Some(old::File { uri: Some(url.clone()), ..file() });
            "file"
        }
        Some(Content::Data(data)) => {
            new.data = Some(wrapped(data, &mut new.metadata));
            "data"
        }
        None => return Err(ConvertError::new("", "has no content: A2A 0.3 cannot say that")),
    };
    new.kind = Some(kind.to_owned());
    Ok(new)
}

fn wrapped(data: &Value, metadata: &mut Option<proto::Struct>) -> Value {
    if matches!(data.kind, Some(value::Kind::StructValue(_))) {
        return data.clone();
    }
    let flag = Value { kind: Some(value::Kind::BoolValue(true)) };
    metadata.get_or_insert_default().fields.insert(WRAPPED.to_owned(), flag);
    let fields = [("value".to_owned(), data.clone())].into();
    Value { kind: Some(value::Kind::StructValue(proto::Struct { fields })) }
}

fn status_from_v0_3(old: old::TaskStatus) -> Result<proto::TaskStatus, ConvertError> {
    let state = match old.state.as_str() {
        "" => TaskState::Unspecified,
        name => state_by_name(name)
            .or_else(|| TaskState::from_str_name(name))
            .ok_or_else(|| ConvertError::new("status.state", format!("{} is no state of A2A 0.3", quoted(name))))?,
    };
    let message = old.message.map(|m| message_from_v0_3(m).map_err(|e| e.inside("status.message")));
    Ok(proto::TaskStatus { state: state.into(), message: message.transpose()?, timestamp: old.timestamp })
}

/// Text from a peer inside our own sentence: short, and without control characters.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn status_to_v0_3(new: Option<&proto::TaskStatus>) -> Result<old::TaskStatus, ConvertError> {
    let Some(new) = new else { return Ok(old::TaskStatus { state: "unknown".to_owned(), ..Default::default() }) };
    let message = new.message.as_ref().map(|m| message_to_v0_3(m).map_err(|e| e.inside("status.message")));
    Ok(old::TaskStatus {
        state: state_name(new.state).to_owned(),
        message: message.transpose()?,
        timestamp: new.timestamp,
    })
}

fn artifact_from_v0_3(old: old::Artifact) -> Result<proto::Artifact, ConvertError> {
    Ok(proto::Artifact {
        artifact_id: old.artifact_id,
        name: old.name,
        description: old.description,
        parts: parts_from_v0_3(old.parts)?,
        metadata: old.metadata,
        extensions: old.extensions,
    })
}

fn artifact_to_v0_3(new: &proto::Artifact) -> Result<old::Artifact, ConvertError> {
    Ok(old::Artifact {
        artifact_id: new.artifact_id.clone(),
        name: new.name.clone(),
        description: new.description.clone(),
        parts: parts_to_v0_3(&new.parts)?,
        metadata: new.metadata.clone(),
        extensions: new.extensions.clone(),
    })
}

/// Reads a 0.3 task.
pub fn task_from_v0_3(json: &[u8]) -> Result<proto::Task, ConvertError> {
    let old: old::Task = parse(json)?;
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
    let payload = match event_from_v0_3(json, kind)?.payload {
        Some(Payload::Task(task)) => Sent::Task(task),
        Some(Payload::Message(message)) => Sent::Message(message),
        _ => return Err(ConvertError::new("kind", "must be \"task\" or \"message\"")),
    };
    Ok(proto::SendMessageResponse { payload: Some(payload) })
}

/// Writes the result of a send for a 0.3 reader.
pub fn send_response_to_v0_3(new: &proto::SendMessageResponse) -> Result<Box<RawValue>, ConvertError> {
    match &new.payload {
        Some(Sent::Task(task)) => raw(&task_to_v0_3(task)?),
        Some(Sent::Message(message)) => raw(&message_to_v0_3(message)?),
        None => Err(ConvertError::new("", "has neither a task nor a message")),
    }
}

/// Reads one event of a 0.3 stream: a bare object of this kind if it is known, else one that its `kind`, or else its
/// members, name.
pub fn event_from_v0_3(json: &[u8], kind: Option<PayloadKind>) -> Result<proto::StreamResponse, ConvertError> {
    let kind = match kind {
        Some(kind) => kind,
        None => kind_of(&parse(json)?)?,
    };
    let payload = match kind {
        PayloadKind::Task => Payload::Task(task_from_v0_3(json)?),
        PayloadKind::Message => Payload::Message(message_from_v0_3(parse(json)?)?),
        PayloadKind::StatusUpdate => {
            let old: old::TaskStatusUpdateEvent = parse(json)?;
            Payload::StatusUpdate(proto::TaskStatusUpdateEvent {
                task_id: old.task_id,
                context_id: old.context_id,
                status: Some(status_from_v0_3(old.status)?),
                metadata: old.metadata,
            })
        }
        PayloadKind::ArtifactUpdate => {
            let old: old::TaskArtifactUpdateEvent = parse(json)?;
            Payload::ArtifactUpdate(proto::TaskArtifactUpdateEvent {
                task_id: old.task_id,
                context_id: old.context_id,
                artifact: Some(artifact_from_v0_3(old.artifact).map_err(|e| e.inside("artifact"))?),
                append: old.append,
                last_chunk: old.last_chunk,
                metadata: old.metadata,
            })
        }
    };
    Ok(proto::StreamResponse { payload: Some(payload) })
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
    match &new.payload {
        Some(Payload::Task(task)) => raw(&task_to_v0_3(task)?),
        Some(Payload::Message(message)) => raw(&message_to_v0_3(message)?),
        Some(Payload::StatusUpdate(update)) => {
            let (status, metadata) = (update.status.as_ref(), update.metadata.clone());
            raw(&status_update_to_v0_3(&update.task_id, &update.context_id, status, metadata)?)
        }
        Some(Payload::ArtifactUpdate(update)) => {
            let artifact =
                update.artifact.as_ref().map(artifact_to_v0_3).transpose().map_err(|e| e.inside("artifact"))?;
            raw(&old::TaskArtifactUpdateEvent {
                kind: "artifact-update",
                task_id: update.task_id.clone(),
                context_id: update.context_id.clone(),
                artifact: artifact.unwrap_or_default(),
                append: update.append,
                last_chunk: update.last_chunk,
                metadata: update.metadata.clone(),
            })
        }
        None => Err(ConvertError::new("", "has no payload")),
    }
}

/// An update that is final when the task has ended.
fn status_update_to_v0_3(
    task_id: &str,
    context_id: &str,
    status: Option<&proto::TaskStatus>,
    metadata: Option<proto::Struct>,
) -> Result<old::TaskStatusUpdateEvent, ConvertError> {
    Ok(old::TaskStatusUpdateEvent {
        kind: "status-update",
        task_id: task_id.to_owned(),
        context_id: context_id.to_owned(),
        status: status_to_v0_3(status)?,
        is_final: status.is_some_and(|status| status.state().is_terminal()),
        metadata,
    })
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
