//! Requests, answers and events as protobuf, the form of gRPC and of Connect's and gRPC-Web's binary codec.
//!
//! As in JSON, bytes are scanned once and decoded only when policy or a translation needs it; and as in JSON they
//! go on untouched when caller and agent agree. A `tenant` is spliced by appending it: the last one counts.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use super::content;
use super::scan::ScanError;
use crate::a2a::required;
use crate::call::{Answer, Content, Event, Form, PayloadKind, Peek, Raw, Response};
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc, Version};
use crate::proto::{self, TaskState, wkt};

mod scan;
pub mod v0_3;

use scan::{Unscannable, shapes};

/// Reads a request: bounded, typed, and checked for what A2A requires. The bytes come back with it when an agent
/// reads in them what policy reads.
///
/// # Errors
/// Parse for what is no such message, InvalidParams that names the member.
pub fn read_request(rpc: Rpc, bytes: Bytes, limits: &JsonLimits) -> Result<(Operation, Option<Raw>), Error> {
    let canonical = scan::scan(&bytes, request_shape(rpc), limits).map_err(bad_request)?;
    let operation = operation(rpc, &bytes).map_err(|_| bad_request(Unscannable::Malformed))?;
    required::check(&operation, Version::V1_0)?;
    Ok((operation, canonical.then_some(Raw { form: Form::Proto, bytes })))
}

fn bad_request(error: Unscannable) -> Error {
    match error {
        Unscannable::Malformed => Error::new(Kind::Parse, "the request is not the protobuf message of this method"),
        Unscannable::Exceeds(limit) => Error::new(Kind::InvalidParams, format!("the request {limit}")),
    }
}

fn operation(rpc: Rpc, bytes: &Bytes) -> Result<Operation, prost::DecodeError> {
    let bytes = bytes.clone();
    Ok(match rpc {
        Rpc::SendMessage => Operation::SendMessage(proto::SendMessageRequest::decode(bytes)?),
        Rpc::SendStreamingMessage => Operation::SendStreamingMessage(proto::SendMessageRequest::decode(bytes)?),
        Rpc::GetTask => Operation::GetTask(proto::GetTaskRequest::decode(bytes)?),
        Rpc::ListTasks => Operation::ListTasks(proto::ListTasksRequest::decode(bytes)?),
        Rpc::CancelTask => Operation::CancelTask(proto::CancelTaskRequest::decode(bytes)?),
        Rpc::SubscribeToTask => Operation::SubscribeToTask(proto::SubscribeToTaskRequest::decode(bytes)?),
        Rpc::CreatePushConfig => Operation::CreatePushConfig(proto::TaskPushNotificationConfig::decode(bytes)?),
        Rpc::GetPushConfig => Operation::GetPushConfig(proto::GetTaskPushNotificationConfigRequest::decode(bytes)?),
        Rpc::ListPushConfigs => {
            Operation::ListPushConfigs(proto::ListTaskPushNotificationConfigsRequest::decode(bytes)?)
        }
        Rpc::GetExtendedAgentCard => {
            Operation::GetExtendedAgentCard(proto::GetExtendedAgentCardRequest::decode(bytes)?)
        }
        Rpc::DeletePushConfig => {
            Operation::DeletePushConfig(proto::DeleteTaskPushNotificationConfigRequest::decode(bytes)?)
        }
    })
}

/// Writes an operation.
pub fn write_request(operation: &Operation) -> Bytes {
    let bytes = match operation {
        Operation::SendMessage(r) | Operation::SendStreamingMessage(r) => r.encode_to_vec(),
        Operation::GetTask(r) => r.encode_to_vec(),
        Operation::ListTasks(r) => r.encode_to_vec(),
        Operation::CancelTask(r) => r.encode_to_vec(),
        Operation::SubscribeToTask(r) => r.encode_to_vec(),
        Operation::CreatePushConfig(r) => r.encode_to_vec(),
        Operation::GetPushConfig(r) => r.encode_to_vec(),
        Operation::ListPushConfigs(r) => r.encode_to_vec(),
        Operation::GetExtendedAgentCard(r) => r.encode_to_vec(),
        Operation::DeletePushConfig(r) => r.encode_to_vec(),
    };
    Bytes::from(bytes)
}

/// The request `bytes` with this tenant, whatever it had before: of a field that occurs twice the last one counts.
pub fn with_tenant(rpc: Rpc, bytes: &[u8], tenant: &str) -> Bytes {
    // Field 4 in ListTaskPushNotificationConfigs, field 1 everywhere else; both length-delimited.
    let tag = if rpc == Rpc::ListPushConfigs { 0x22 } else { 0x0a };
    let mut out = BytesMut::with_capacity(bytes.len() + tenant.len() + 6);
    out.put_slice(bytes);
    out.put_u8(tag);
    prost::encoding::encode_varint(tenant.len() as u64, &mut out);
    out.put_slice(tenant.as_bytes());
    out.freeze()
}

/// Takes an agent's answer. It is decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is not an answer to this operation.
pub fn read_answer(rpc: Rpc, bytes: Bytes, limits: &JsonLimits) -> Result<Answer, Error> {
    let canonical = scan::scan(&bytes, answer_shape(rpc), limits).map_err(bad_answer)?;
    let peek = if canonical && !content::must_decode(rpc) { answer_peek(rpc, &bytes).ok() } else { None };
    match peek {
        Some(peek) => {
            let content = Content::Raw(Raw { form: Form::Proto, bytes });
            Ok(Answer { rpc, content, peek: content::bounded(peek)? })
        }
        None => content::answer_of(rpc, response(rpc, bytes)?),
    }
}

fn bad_answer(error: Unscannable) -> Error {
    let invalid = |message: String| Error::new(Kind::InvalidAgentResponse, message);
    match error {
        Unscannable::Malformed => invalid("the agent's answer is not the protobuf message of this method".to_owned()),
        Unscannable::Exceeds(limit) => invalid(format!("the agent's answer {limit}")),
    }
}

/// The typed form of an agent's answer.
///
/// # Errors
/// InvalidAgentResponse when the bytes are not such an answer.
pub fn response(rpc: Rpc, bytes: Bytes) -> Result<Response, Error> {
    Ok(match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage | Rpc::SubscribeToTask => {
            Response::SendMessage(super::json::sent(decoded(bytes)?)?)
        }
        Rpc::GetTask | Rpc::CancelTask => Response::Task(decoded(bytes)?),
        Rpc::ListTasks => Response::ListTasks(decoded(bytes)?),
        Rpc::CreatePushConfig | Rpc::GetPushConfig => Response::PushConfig(decoded(bytes)?),
        Rpc::ListPushConfigs => Response::PushConfigs(decoded(bytes)?),
        Rpc::GetExtendedAgentCard => {
            let mut card = decoded(bytes)?;
            crate::a2a::card::clean(&mut card);
            Response::Card(card)
        }
        Rpc::DeletePushConfig => Response::Deleted,
    })
}

fn decoded<T: prost::Message + Default>(bytes: Bytes) -> Result<T, Error> {
    T::decode(bytes).map_err(|_| bad_answer(Unscannable::Malformed))
}

/// Writes a typed answer.
pub fn write_response(response: &Response) -> Bytes {
    let bytes = match response {
        Response::SendMessage(r) => r.encode_to_vec(),
        Response::Task(r) => r.encode_to_vec(),
        Response::ListTasks(r) => r.encode_to_vec(),
        Response::PushConfig(r) => r.encode_to_vec(),
        Response::PushConfigs(r) => r.encode_to_vec(),
        Response::Card(r) => r.encode_to_vec(),
        Response::Deleted => Vec::new(),
    };
    Bytes::from(bytes)
}

/// Takes an event, decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is no event.
pub fn read_event(bytes: Bytes, limits: &JsonLimits) -> Result<Event, Error> {
    let canonical = scan::scan(&bytes, shapes::STREAM_RESPONSE, limits).map_err(bad_answer)?;
    match canonical.then(|| event_peek(&bytes).ok()).flatten() {
        Some(peek) => {
            let content = Content::Raw(Raw { form: Form::Proto, bytes });
            Ok(Event { content, peek: content::bounded(peek)? })
        }
        None => content::event_of(event(bytes)?),
    }
}

/// The typed form of an event.
///
/// # Errors
/// InvalidAgentResponse when the bytes are no event.
pub fn event(bytes: Bytes) -> Result<proto::StreamResponse, Error> {
    content::with_payload(decoded(bytes)?)
}

/// Writes a typed event.
pub fn write_event(event: &proto::StreamResponse) -> Bytes {
    Bytes::from(event.encode_to_vec())
}

const fn request_shape(rpc: Rpc) -> u8 {
    match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage => shapes::SEND_MESSAGE_REQUEST,
        Rpc::GetTask => shapes::GET_TASK_REQUEST,
        Rpc::ListTasks => shapes::LIST_TASKS_REQUEST,
        Rpc::CancelTask => shapes::CANCEL_TASK_REQUEST,
        Rpc::SubscribeToTask => shapes::SUBSCRIBE_TO_TASK_REQUEST,
        Rpc::CreatePushConfig => shapes::TASK_PUSH_NOTIFICATION_CONFIG,
        Rpc::GetPushConfig => shapes::GET_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        Rpc::ListPushConfigs => shapes::LIST_TASK_PUSH_NOTIFICATION_CONFIGS_REQUEST,
        Rpc::GetExtendedAgentCard => shapes::GET_EXTENDED_AGENT_CARD_REQUEST,
        Rpc::DeletePushConfig => shapes::DELETE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
    }
}

const fn answer_shape(rpc: Rpc) -> u8 {
    match rpc {
        Rpc::SendMessage => shapes::SEND_MESSAGE_RESPONSE,
        Rpc::SendStreamingMessage | Rpc::SubscribeToTask => shapes::STREAM_RESPONSE,
        Rpc::GetTask | Rpc::CancelTask => shapes::TASK,
        Rpc::ListTasks => shapes::LIST_TASKS_RESPONSE,
        Rpc::CreatePushConfig | Rpc::GetPushConfig => shapes::TASK_PUSH_NOTIFICATION_CONFIG,
        Rpc::ListPushConfigs => shapes::LIST_TASK_PUSH_NOTIFICATION_CONFIGS_RESPONSE,
        Rpc::GetExtendedAgentCard => shapes::AGENT_CARD,
        // google.protobuf.Empty: whatever stands in it is unknown.
        Rpc::DeletePushConfig => shapes::GET_EXTENDED_AGENT_CARD_REQUEST,
    }
}

/// Something that can only be told by decoding, or not at all.
struct Unclear;

/// What the record needs of a scanned answer.
fn answer_peek(rpc: Rpc, bytes: &[u8]) -> Result<Peek, Unclear> {
    match rpc {
        Rpc::SendMessage => match (scan::field(bytes, 1), scan::field(bytes, 2)) {
            (Some(task), None) => task_peek(task),
            (None, Some(message)) => message_peek(message),
            _ => Err(Unclear),
        },
        Rpc::GetTask | Rpc::CancelTask => task_peek(bytes),
        Rpc::CreatePushConfig | Rpc::GetPushConfig => Ok(Peek { task_id: text(bytes, 3)?, ..Peek::default() }),
        _ => Ok(Peek::default()),
    }
}

fn event_peek(bytes: &[u8]) -> Result<Peek, Unclear> {
    let payloads = [1, 2, 3, 4].map(|number| scan::field(bytes, number));
    match payloads {
        [Some(task), None, None, None] => task_peek(task),
        [None, Some(message), None, None] => message_peek(message),
        [None, None, Some(update), None] => Ok(Peek {
            kind: Some(PayloadKind::StatusUpdate),
            task_id: text(update, 1)?,
            context_id: text(update, 2)?,
            state: Some(state(update, 3)?),
            state_at: state_at(update, 3),
            is_final: false,
        }),
        [None, None, None, Some(update)] => Ok(Peek {
            kind: Some(PayloadKind::ArtifactUpdate),
            task_id: text(update, 1)?,
            context_id: text(update, 2)?,
            ..Peek::default()
        }),
        _ => Err(Unclear),
    }
}

fn task_peek(task: &[u8]) -> Result<Peek, Unclear> {
    let task_id = text(task, 1)?;
    Ok(Peek {
        kind: Some(PayloadKind::Task),
        task_id: Some(task_id.ok_or(Unclear)?),
        context_id: text(task, 2)?,
        state: Some(state(task, 3)?),
        state_at: state_at(task, 3),
        is_final: false,
    })
}

fn message_peek(message: &[u8]) -> Result<Peek, Unclear> {
    let (context_id, task_id) = (text(message, 2)?, text(message, 3)?);
    Ok(Peek { kind: Some(PayloadKind::Message), task_id, context_id, ..Peek::default() })
}

/// A text field; none when it is absent or empty.
fn text(bytes: &[u8], number: u32) -> Result<Option<String>, Unclear> {
    let value = scan::field(bytes, number).unwrap_or_default();
    let text = std::str::from_utf8(value).map_err(|_| Unclear)?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// The state inside a status, which this build must know.
fn state(bytes: &[u8], status: u32) -> Result<TaskState, Unclear> {
    let Some(status) = scan::field(bytes, status) else { return Ok(TaskState::Unspecified) };
    let number = i32::try_from(scan::number(status, 1).unwrap_or(0)).map_err(|_| Unclear)?;
    TaskState::try_from(number).map_err(|_| Unclear)
}

/// Since when a status says so, in microseconds since 1970.
fn state_at(bytes: &[u8], status: u32) -> Option<i64> {
    let time = scan::field(scan::field(bytes, status)?, 3)?;
    let number = |field| scan::number(time, field).unwrap_or(0).cast_signed();
    Some(wkt::micros(number(1), i32::try_from(number(2)).ok()?))
}

impl From<ScanError> for Unscannable {
    fn from(error: ScanError) -> Self {
        Self::Exceeds(error)
    }
}

#[cfg(test)]
mod tests;
