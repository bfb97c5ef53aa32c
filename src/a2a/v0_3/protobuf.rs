//! The protobuf messages of 0.3, to and from the objects that its JSON has: they say the same in other words.
//!
//! Tasks and push configs are named by resource names (`tasks/{id}`), a message's parts are its `content`, what is no
//! object is wrapped, and a flag that is absent is false. One thing peers do not agree on: the bytes of a file are
//! the bytes to some, and the text of their base64 to others, the Python SDKs among them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::stash::{SAID_IN_1_0, Stash};
use super::types as old;
use super::{ConvertError, StreamWriter, parts, push, reply, request, state_by_name, state_name};
use crate::call::{FileBytes, Response};
use crate::operation::{Operation, Rpc};
use crate::proto::v0_3 as pb;
use crate::proto::{self, Struct, TaskState, Value, value};

mod cards;
mod requests;

pub use cards::{card_from, card_to};
pub use requests::{Asked, config_name, ids_in};
use requests::{push_config_from, push_config_to, request_from, request_to};

/// An answer as one of the messages of the service.
#[derive(Debug)]
pub enum Told {
    Sent(pb::SendMessageResponse),
    Task(pb::Task),
    Push(pb::TaskPushNotificationConfig),
    Pushes(pb::ListTaskPushNotificationConfigResponse),
    Card(Box<pb::AgentCard>),
    Deleted,
}

/// A request as the operation that it is.
///
/// # Errors
/// What is wrong, with the path of the member.
pub fn operation_from(rpc: Rpc, asked: Asked, files: FileBytes) -> Result<Operation, ConvertError> {
    request::operation(rpc, request_from(asked, files)?)
}

/// An operation as a request; none where 0.3 has no such operation.
///
/// # Errors
/// A part without content, which 0.3 cannot say.
pub fn operation_to(operation: &Operation, files: FileBytes) -> Result<Option<Asked>, ConvertError> {
    Ok(request::request(operation)?.map(|request| request_to(operation.rpc(), request, files)))
}

/// An answer in 1.0.
///
/// # Errors
/// What is wrong with it.
pub fn response_from(told: Told, files: FileBytes) -> Result<Response, ConvertError> {
    Ok(match told {
        Told::Sent(sent) => Response::SendMessage(reply::send_response(sent_from(sent, files)?)?),
        Told::Task(task) => Response::Task(reply::task(task_from(task, files)?)?),
        Told::Push(config) => Response::PushConfig(push::push_config_from_v0_3(push_config_from(config)?)),
        Told::Pushes(list) => {
            let config = |config| push_config_from(config).map(push::push_config_from_v0_3);
            Response::PushConfigs(proto::ListTaskPushNotificationConfigsResponse {
                configs: list.configs.into_iter().map(config).collect::<Result<_, _>>()?,
                next_page_token: list.next_page_token,
            })
        }
        Told::Card(card) => Response::Card(card_from(*card)),
        Told::Deleted => Response::Deleted,
    })
}

/// An answer in 0.3.
///
/// # Errors
/// What 0.3 cannot say, a list of tasks among it.
pub fn response_to(response: &Response, files: FileBytes) -> Result<Told, ConvertError> {
    Ok(match response {
        Response::SendMessage(new) => Told::Sent(sent_to(reply::sent(new)?, files)),
        Response::Task(task) => Told::Task(task_to(reply::task_to_v0_3(task)?, files)),
        Response::PushConfig(config) => Told::Push(push_config_to(push::push_config_to_v0_3(config))),
        Response::PushConfigs(list) => Told::Pushes(pb::ListTaskPushNotificationConfigResponse {
            configs: list.configs.iter().map(|c| push_config_to(push::push_config_to_v0_3(c))).collect(),
            next_page_token: list.next_page_token.clone(),
        }),
        Response::Card(card) => Told::Card(Box::new(card_to(card)?)),
        Response::Deleted => Told::Deleted,
        Response::ListTasks(_) => return Err(ConvertError::new("", "is a list of tasks, which 0.3 has not")),
    })
}

/// An event in 1.0.
///
/// # Errors
/// What is wrong with it.
pub fn stream_response_from(
    event: pb::StreamResponse,
    files: FileBytes,
) -> Result<proto::StreamResponse, ConvertError> {
    reply::event(event_from(event, files)?)
}

/// The 0.3 events that say what `event` says, after those that `writer` has written.
///
/// # Errors
/// What 0.3 cannot say.
pub fn stream_responses_to(
    event: &proto::StreamResponse,
    writer: &mut StreamWriter,
    files: FileBytes,
) -> Result<Vec<pb::StreamResponse>, ConvertError> {
    Ok(writer.write(event)?.into_iter().map(|event| event_to(event, files)).collect())
}

pub(super) fn message_from(new: pb::Message, files: FileBytes) -> Result<old::Message, ConvertError> {
    let role = match pb::Role::try_from(new.role) {
        Ok(pb::Role::User) => "user",
        Ok(pb::Role::Agent) => "agent",
        _ => "",
    };
    Ok(old::Message {
        kind: "message",
        message_id: new.message_id,
        context_id: new.context_id,
        task_id: new.task_id,
        role: role.to_owned(),
        parts: new.content.into_iter().map(|part| part_from(part, files)).collect::<Result<_, _>>()?,
        metadata: new.metadata,
        extensions: new.extensions,
        // These have no field, and are in the stash.
        reference_task_ids: Vec::new(),
    })
}

pub(super) fn message_to(mut old: old::Message, files: FileBytes) -> pb::Message {
    if !old.reference_task_ids.is_empty() {
        Stash::add_texts(SAID_IN_1_0, &mut old.metadata, "referenceTaskIds", &old.reference_task_ids);
    }
    let role = match old.role.as_str() {
        "user" => pb::Role::User,
        "agent" => pb::Role::Agent,
        _ => pb::Role::Unspecified,
    };
    pb::Message {
        message_id: old.message_id,
        context_id: old.context_id,
        task_id: old.task_id,
        role: role.into(),
        content: old.parts.into_iter().map(|part| part_to(part, files)).collect(),
        metadata: old.metadata,
        extensions: old.extensions,
    }
}

fn part_from(part: pb::Part, files: FileBytes) -> Result<old::Part, ConvertError> {
    use pb::file_part::File;
    use pb::part::Part as Content;
    let mut old = old::Part { metadata: part.metadata, ..Default::default() };
    let kind = match part.part {
        Some(Content::Text(text)) => {
            old.text = Some(text);
            "text"
        }
        Some(Content::File(file)) => {
            let (bytes, uri) = match file.file {
                Some(File::FileWithBytes(bytes)) => (Some(base64_of(&bytes, files)), None),
                Some(File::FileWithUri(uri)) => (None, Some(uri)),
                None => return Err(ConvertError::new("file", "needs fileWithBytes or fileWithUri")),
            };
            old.file = Some(old::File { bytes, uri, mime_type: file.mime_type, name: file.name });
            "file"
        }
        Some(Content::Data(data)) => {
            let object = data.data.unwrap_or_default();
            old.data = Some(Value { kind: Some(value::Kind::StructValue(object)) });
            "data"
        }
        None => return Err(ConvertError::new("content", "has a part that is none of text, file and data")),
    };
    old.kind = Some(kind.to_owned());
    Ok(old)
}

/// What the bytes of a file are, as base64.
fn base64_of(bytes: &Bytes, files: FileBytes) -> String {
    let is_base64 = || {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() % 4 == 0 && !text.is_empty())?;
        STANDARD.decode(text).is_ok().then(|| text.to_owned())
    };
    let text = match files {
        FileBytes::Raw => None,
        FileBytes::Auto | FileBytes::Base64 => is_base64(),
    };
    text.unwrap_or_else(|| STANDARD.encode(bytes))
}

/// The same of the base64 by which JSON says the bytes; none for what is no base64.
pub fn base64_of_base64(text: &str, files: FileBytes) -> Option<String> {
    parts::decoded(text).ok().map(|bytes| base64_of(&bytes, files))
}

fn part_to(old: old::Part, files: FileBytes) -> pb::Part {
    use pb::file_part::File;
    use pb::part::Part as Content;
    let part = match (old.text, old.file, old.data) {
        (Some(text), ..) => Some(Content::Text(text)),
        (_, Some(file), _) => {
            let content = match (file.bytes, file.uri) {
                (Some(base64), _) => Some(File::FileWithBytes(match files {
                    // It was made here, so it is base64.
                    FileBytes::Raw => STANDARD.decode(&base64).map_or_else(|_| base64.into(), Bytes::from),
                    FileBytes::Auto | FileBytes::Base64 => base64.into(),
                })),
                (None, Some(uri)) => Some(File::FileWithUri(uri)),
                (None, None) => None,
            };
            Some(Content::File(pb::FilePart { file: content, mime_type: file.mime_type, name: file.name }))
        }
        (.., Some(data)) => Some(Content::Data(pb::DataPart { data: Some(object(data)) })),
        (None, None, None) => None,
    };
    pb::Part { part, metadata: old.metadata }
}

/// Data that is no object was wrapped before it came here.
fn object(data: Value) -> Struct {
    match data.kind {
        Some(value::Kind::StructValue(object)) => object,
        other => Struct { fields: [("value".to_owned(), Value { kind: other })].into() },
    }
}

pub(super) fn task_from(new: pb::Task, files: FileBytes) -> Result<old::Task, ConvertError> {
    Ok(old::Task {
        kind: "task",
        id: new.id,
        context_id: new.context_id,
        status: status_from(new.status, files)?,
        artifacts: new.artifacts.into_iter().map(|a| artifact_from(a, files)).collect::<Result<_, _>>()?,
        history: new.history.into_iter().map(|m| message_from(m, files)).collect::<Result<_, _>>()?,
        metadata: new.metadata,
    })
}

pub(super) fn task_to(old: old::Task, files: FileBytes) -> pb::Task {
    pb::Task {
        id: old.id,
        context_id: old.context_id,
        status: Some(status_to(old.status, files)),
        artifacts: old.artifacts.into_iter().map(|artifact| artifact_to(artifact, files)).collect(),
        history: old.history.into_iter().map(|message| message_to(message, files)).collect(),
        metadata: old.metadata,
    }
}

fn status_from(new: Option<pb::TaskStatus>, files: FileBytes) -> Result<old::TaskStatus, ConvertError> {
    let new = new.unwrap_or_default();
    Ok(old::TaskStatus {
        // The numbers are those of 1.0.
        state: state_name(new.state).to_owned(),
        message: new.update.map(|message| message_from(message, files)).transpose()?,
        timestamp: new.timestamp,
    })
}

fn status_to(old: old::TaskStatus, files: FileBytes) -> pb::TaskStatus {
    pb::TaskStatus {
        state: state_by_name(&old.state).unwrap_or(TaskState::Unspecified).into(),
        update: old.message.map(|message| message_to(message, files)),
        timestamp: old.timestamp,
    }
}

fn artifact_from(new: pb::Artifact, files: FileBytes) -> Result<old::Artifact, ConvertError> {
    Ok(old::Artifact {
        artifact_id: new.artifact_id,
        name: new.name,
        description: new.description,
        parts: new.parts.into_iter().map(|part| part_from(part, files)).collect::<Result<_, _>>()?,
        metadata: new.metadata,
        extensions: new.extensions,
    })
}

fn artifact_to(old: old::Artifact, files: FileBytes) -> pb::Artifact {
    pb::Artifact {
        artifact_id: old.artifact_id,
        name: old.name,
        description: old.description,
        parts: old.parts.into_iter().map(|part| part_to(part, files)).collect(),
        metadata: old.metadata,
        extensions: old.extensions,
    }
}

/// The answer to a send.
pub(super) fn sent_from(new: pb::SendMessageResponse, files: FileBytes) -> Result<old::Event, ConvertError> {
    use pb::send_message_response::Payload;
    match new.payload {
        Some(Payload::Task(task)) => task_from(task, files).map(old::Event::Task),
        Some(Payload::Msg(message)) => message_from(message, files).map(old::Event::Message),
        None => Err(ConvertError::new("", "has neither a task nor a message")),
    }
}

pub(super) fn sent_to(old: old::Event, files: FileBytes) -> pb::SendMessageResponse {
    use pb::send_message_response::Payload;
    let payload = match old {
        old::Event::Task(task) => Some(Payload::Task(task_to(task, files))),
        old::Event::Message(message) => Some(Payload::Msg(message_to(message, files))),
        _ => None,
    };
    pb::SendMessageResponse { payload }
}

/// One event of a stream.
pub(super) fn event_from(new: pb::StreamResponse, files: FileBytes) -> Result<old::Event, ConvertError> {
    use pb::stream_response::Payload;
    Ok(match new.payload {
        Some(Payload::Task(task)) => old::Event::Task(task_from(task, files)?),
        Some(Payload::Msg(message)) => old::Event::Message(message_from(message, files)?),
        Some(Payload::StatusUpdate(update)) => old::Event::StatusUpdate(old::TaskStatusUpdateEvent {
            kind: "status-update",
            task_id: update.task_id,
            context_id: update.context_id,
            status: status_from(update.status, files)?,
            is_final: update.r#final,
            metadata: update.metadata,
        }),
        Some(Payload::ArtifactUpdate(update)) => old::Event::ArtifactUpdate(old::TaskArtifactUpdateEvent {
            kind: "artifact-update",
            task_id: update.task_id,
            context_id: update.context_id,
            artifact: artifact_from(update.artifact.unwrap_or_default(), files)?,
            append: update.append,
            last_chunk: update.last_chunk,
            metadata: update.metadata,
        }),
        None => return Err(ConvertError::new("", "has no payload")),
    })
}

pub(super) fn event_to(old: old::Event, files: FileBytes) -> pb::StreamResponse {
    use pb::stream_response::Payload;
    let payload = match old {
        old::Event::Task(task) => Payload::Task(task_to(task, files)),
        old::Event::Message(message) => Payload::Msg(message_to(message, files)),
        old::Event::StatusUpdate(update) => Payload::StatusUpdate(pb::TaskStatusUpdateEvent {
            task_id: update.task_id,
            context_id: update.context_id,
            status: Some(status_to(update.status, files)),
            r#final: update.is_final,
            metadata: update.metadata,
        }),
        old::Event::ArtifactUpdate(update) => Payload::ArtifactUpdate(pb::TaskArtifactUpdateEvent {
            task_id: update.task_id,
            context_id: update.context_id,
            artifact: Some(artifact_to(update.artifact, files)),
            append: update.append,
            last_chunk: update.last_chunk,
            metadata: update.metadata,
        }),
    };
    pb::StreamResponse { payload: Some(payload) }
}
