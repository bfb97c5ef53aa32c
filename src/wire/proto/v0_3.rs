//! 0.3's protobuf messages on the wire: as protobuf, which its gRPC speaks, and as JSON, which its HTTP+JSON does.

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scan::{self, Unscannable, shapes};
use super::{answer_peek, bad_answer, bad_request, event_peek};
use crate::a2a::v0_3::protobuf::{self, Asked, Told};
use crate::a2a::v0_3::{ConvertError, StreamWriter};
use crate::a2a::{card, lenient, parse, problem, required};
use crate::call::{Answer, Content, Event, FileBytes, Form, Peek, Raw, Response};
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc, Version};
use crate::proto;
use crate::proto::v0_3 as pb;
use crate::wire::{content, json};

/// Reads a request in protobuf, as [`super::read_request`] does in 1.0.
///
/// # Errors
/// Parse for what is no such message, InvalidParams that names the member.
pub fn read_request(rpc: Rpc, bytes: Bytes, limits: &JsonLimits) -> Result<(Operation, Option<Raw>), Error> {
    let canonical = scan::scan(&bytes, request_shape(rpc), limits).map_err(bad_request)?;
    let asked = decoded_request(rpc, bytes.clone()).map_err(|_| bad_request(Unscannable::Malformed))?;
    let operation = operation(rpc, asked)?;
    Ok((operation, canonical.then_some(Raw { form: Form::ProtoV0_3(FileBytes::Auto), bytes })))
}

/// Reads a request in JSON, or a message to send in any of the other spellings that callers have for it.
///
/// # Errors
/// Parse for what is no JSON object, InvalidParams that names the member.
pub fn read_request_json(rpc: Rpc, bytes: &Bytes, limits: &JsonLimits) -> Result<Operation, Error> {
    json::scan_request(bytes, limits)?;
    let asked = match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage => strict(bytes).map(Asked::Send),
        Rpc::GetTask | Rpc::ListTasks => strict(bytes).map(Asked::Get),
        Rpc::CancelTask => strict(bytes).map(Asked::Cancel),
        Rpc::SubscribeToTask => strict(bytes).map(Asked::Subscribe),
        Rpc::CreatePushConfig => strict(bytes).map(Asked::SetPush),
        Rpc::GetPushConfig => strict(bytes).map(Asked::GetPush),
        Rpc::ListPushConfigs => strict(bytes).map(Asked::ListPush),
        Rpc::GetExtendedAgentCard => strict(bytes).map(Asked::Card),
        Rpc::DeletePushConfig => strict(bytes).map(Asked::DeletePush),
    };
    let invalid = |error: serde_json::Error| Error::invalid("request", problem::of(&error));
    let read = asked.map_err(invalid).and_then(|asked| operation(rpc, asked));
    read.or_else(|strict| {
        let read = lenient::request(rpc, bytes).filter(|read| required::check(read, Version::V0_3).is_ok());
        read.ok_or(strict)
    })
}

/// The operation that a request is, whichever way it came, checked for what A2A requires.
///
/// # Errors
/// InvalidParams that names the member.
pub fn operation(rpc: Rpc, asked: Asked) -> Result<Operation, Error> {
    let operation = protobuf::operation_from(rpc, asked, FileBytes::Auto);
    let operation = operation.map_err(|error| Error::invalid(error.field, error.problem))?;
    required::check(&operation, Version::V0_3)?;
    Ok(operation)
}

fn decoded_request(rpc: Rpc, bytes: Bytes) -> Result<Asked, prost::DecodeError> {
    Ok(match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage => Asked::Send(pb::SendMessageRequest::decode(bytes)?),
        Rpc::GetTask | Rpc::ListTasks => Asked::Get(pb::GetTaskRequest::decode(bytes)?),
        Rpc::CancelTask => Asked::Cancel(pb::CancelTaskRequest::decode(bytes)?),
        Rpc::SubscribeToTask => Asked::Subscribe(pb::TaskSubscriptionRequest::decode(bytes)?),
        Rpc::CreatePushConfig => Asked::SetPush(pb::CreateTaskPushNotificationConfigRequest::decode(bytes)?),
        Rpc::GetPushConfig => Asked::GetPush(pb::GetTaskPushNotificationConfigRequest::decode(bytes)?),
        Rpc::ListPushConfigs => Asked::ListPush(pb::ListTaskPushNotificationConfigRequest::decode(bytes)?),
        Rpc::GetExtendedAgentCard => Asked::Card(pb::GetAgentCardRequest::decode(bytes)?),
        Rpc::DeletePushConfig => Asked::DeletePush(pb::DeleteTaskPushNotificationConfigRequest::decode(bytes)?),
    })
}

/// An operation as a request of 0.3.
///
/// # Errors
/// UnsupportedOperation where 0.3 lacks the operation, InvalidParams for what it cannot say.
pub fn request(operation: &Operation, files: FileBytes) -> Result<Asked, Error> {
    let asked = protobuf::operation_to(operation, files).map_err(|error| Error::invalid(error.field, error.problem))?;
    asked.ok_or_else(|| Error::new(Kind::UnsupportedOperation, "the agent speaks A2A 0.3, which cannot list tasks"))
}

/// Writes an operation in protobuf.
///
/// # Errors
/// As [`request`].
pub fn write_request(operation: &Operation, files: FileBytes) -> Result<Bytes, Error> {
    Ok(Bytes::from(match request(operation, files)? {
        Asked::Send(asked) => asked.encode_to_vec(),
        Asked::Get(asked) => asked.encode_to_vec(),
        Asked::Cancel(asked) => asked.encode_to_vec(),
        Asked::Subscribe(asked) => asked.encode_to_vec(),
        Asked::SetPush(asked) => asked.encode_to_vec(),
        Asked::GetPush(asked) => asked.encode_to_vec(),
        Asked::ListPush(asked) => asked.encode_to_vec(),
        Asked::Card(asked) => asked.encode_to_vec(),
        Asked::DeletePush(asked) => asked.encode_to_vec(),
    }))
}

/// Writes an operation as JSON, for those whose request is a body.
///
/// # Errors
/// As [`request`].
pub fn write_request_json(operation: &Operation, files: FileBytes) -> Result<Bytes, Error> {
    let unsaid = |_| Error::new(Kind::InvalidParams, "the request has a number or a time that JSON cannot say");
    match request(operation, files)? {
        Asked::Send(asked) => as_json(&asked).map_err(unsaid),
        Asked::SetPush(asked) => as_json(&asked).map_err(unsaid),
        Asked::Cancel(asked) => as_json(&asked).map_err(unsaid),
        _ => Ok(Bytes::from_static(b"{}")),
    }
}

fn as_json(message: &impl Serialize) -> serde_json::Result<Bytes> {
    serde_json::to_vec(message).map(Bytes::from)
}

/// Takes an agent's answer in protobuf. It is decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is not an answer to this operation.
pub fn read_answer(rpc: Rpc, bytes: Bytes, limits: &JsonLimits, files: FileBytes) -> Result<Answer, Error> {
    let canonical = scan::scan(&bytes, answer_shape(rpc), limits).map_err(bad_answer)?;
    let peeks = !content::must_decode(rpc) && !matches!(rpc, Rpc::CreatePushConfig | Rpc::GetPushConfig);
    match if canonical && peeks { answer_peek(rpc, &bytes).ok() } else { None } {
        Some(peek) => {
            let content = Content::Raw(Raw { form: Form::ProtoV0_3(files), bytes });
            Ok(Answer { rpc, content, peek: content::bounded(peek)? })
        }
        None => content::answer_of(rpc, response(rpc, bytes, files)?),
    }
}

/// The typed form of an answer in protobuf.
///
/// # Errors
/// InvalidAgentResponse when the bytes are not such an answer.
pub fn response(rpc: Rpc, bytes: Bytes, files: FileBytes) -> Result<Response, Error> {
    let told = match rpc {
        Rpc::GetTask | Rpc::CancelTask => pb::Task::decode(bytes).map(Told::Task),
        Rpc::CreatePushConfig | Rpc::GetPushConfig => pb::TaskPushNotificationConfig::decode(bytes).map(Told::Push),
        Rpc::ListPushConfigs => pb::ListTaskPushNotificationConfigResponse::decode(bytes).map(Told::Pushes),
        Rpc::GetExtendedAgentCard => pb::AgentCard::decode(bytes).map(|card| Told::Card(Box::new(card))),
        Rpc::DeletePushConfig => Ok(Told::Deleted),
        _ => pb::SendMessageResponse::decode(bytes).map(Told::Sent),
    };
    typed(told.map_err(|_| bad_answer(Unscannable::Malformed))?, files)
}

fn typed(told: Told, files: FileBytes) -> Result<Response, Error> {
    let mut response = protobuf::response_from(told, files).map_err(|error| malformed(&error))?;
    if let Response::Card(card) = &mut response {
        crate::a2a::card::clean(card);
    }
    Ok(response)
}

fn malformed(error: &ConvertError) -> Error {
    let field = if error.field.is_empty() { "result" } else { &error.field };
    Error::new(Kind::InvalidAgentResponse, format!("the agent's answer is malformed at {field}: {}", error.problem))
}

/// Takes an agent's answer in JSON, or in any of the other spellings that agents have for it.
///
/// # Errors
/// InvalidAgentResponse when it is not an answer to this operation.
pub fn read_answer_json(rpc: Rpc, bytes: &Bytes, limits: &JsonLimits, files: FileBytes) -> Result<Answer, Error> {
    json::scan_free(bytes, limits)?;
    if rpc == Rpc::GetExtendedAgentCard {
        // The one answer that has the form of JSON-RPC's.
        return content::answer_of(rpc, json::response(rpc, Version::V0_3, bytes, None)?);
    }
    let told = match rpc {
        Rpc::GetTask | Rpc::CancelTask => strict(bytes).map(Told::Task),
        Rpc::CreatePushConfig | Rpc::GetPushConfig => strict(bytes).map(Told::Push),
        Rpc::ListPushConfigs => strict(bytes).map(Told::Pushes),
        Rpc::DeletePushConfig => Ok(Told::Deleted),
        _ => strict(bytes).map(Told::Sent),
    };
    let response = told.map_err(unreadable).and_then(|told| typed(told, files));
    let response = response.or_else(|strict| lenient::response(rpc, bytes, files).ok_or(strict))?;
    content::answer_of(rpc, response)
}

fn strict<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    parse::json(bytes)
}

fn unreadable(error: serde_json::Error) -> Error {
    let problem = problem::of(&error);
    Error::new(Kind::InvalidAgentResponse, format!("the agent's answer is not as A2A 0.3 defines it: {problem}"))
        .because(error)
}

/// Writes a typed answer in protobuf.
///
/// # Errors
/// InvalidAgentResponse for what 0.3 cannot say.
pub fn write_response(response: &Response, files: FileBytes) -> Result<Bytes, Error> {
    let told = protobuf::response_to(response, files).map_err(|error| malformed(&error))?;
    Ok(Bytes::from(match told {
        Told::Sent(told) => told.encode_to_vec(),
        Told::Task(told) => told.encode_to_vec(),
        Told::Push(told) => told.encode_to_vec(),
        Told::Pushes(told) => told.encode_to_vec(),
        Told::Card(told) => told.encode_to_vec(),
        Told::Deleted => Vec::new(),
    }))
}

/// Writes a typed answer as JSON; a card in the form that JSON-RPC has for it, which is what its readers know.
///
/// # Errors
/// InvalidAgentResponse for what 0.3 or JSON cannot say.
pub fn write_response_json(response: &Response, files: FileBytes) -> Result<Bytes, Error> {
    match response {
        Response::Card(card) => {
            return card::write_v0_3(card).map(Bytes::from).map_err(|error| malformed(&error));
        }
        Response::ListTasks(_) => return json::write_response(response, Version::V0_3),
        _ => {}
    }
    let told = protobuf::response_to(response, files).map_err(|error| malformed(&error))?;
    match told {
        Told::Sent(told) => as_json(&told),
        Told::Task(told) => as_json(&told),
        Told::Push(told) => as_json(&told),
        Told::Pushes(told) => as_json(&told),
        Told::Card(_) | Told::Deleted => Ok(Bytes::from_static(b"{}")),
    }
    .map_err(json::unprintable)
}

/// Takes an event in protobuf, decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is no event.
pub fn read_event(bytes: Bytes, limits: &JsonLimits, files: FileBytes) -> Result<Event, Error> {
    let canonical = scan::scan(&bytes, shapes::V0_3_STREAM_RESPONSE, limits).map_err(bad_answer)?;
    if let Some(peek) = canonical.then(|| event_peek(&bytes).ok()).flatten() {
        let is_final = scan::field(&bytes, 3).is_some_and(|update| scan::number(update, 4).unwrap_or(0) != 0);
        let content = Content::Raw(Raw { form: Form::ProtoV0_3(files), bytes });
        return Ok(Event { content, peek: content::bounded(Peek { is_final, ..peek })? });
    }
    let message = pb::StreamResponse::decode(bytes).map_err(|_| bad_answer(Unscannable::Malformed))?;
    event_of(message, files)
}

/// Takes an event in JSON, or in any of the other spellings that agents have for it.
///
/// # Errors
/// InvalidAgentResponse when it is no event.
pub fn read_event_json(bytes: &Bytes, limits: &JsonLimits, files: FileBytes) -> Result<Event, Error> {
    json::scan_free(bytes, limits)?;
    let event = strict(bytes).map_err(unreadable).and_then(|message| event_of(message, files));
    event.or_else(|strict| lenient::event(bytes, files).map_or(Err(strict), content::event_of))
}

fn event_of(message: pb::StreamResponse, files: FileBytes) -> Result<Event, Error> {
    use pb::stream_response::Payload;
    let is_final = matches!(&message.payload, Some(Payload::StatusUpdate(update)) if update.r#final);
    let event = protobuf::stream_response_from(message, files).map_err(|error| malformed(&error))?;
    let mut event = content::event_of(content::with_payload(event)?)?;
    event.peek.is_final = is_final;
    Ok(event)
}

/// The typed form of an event in protobuf.
///
/// # Errors
/// InvalidAgentResponse when the bytes are no event.
pub fn event(bytes: Bytes, files: FileBytes) -> Result<proto::StreamResponse, Error> {
    let message = pb::StreamResponse::decode(bytes).map_err(|_| bad_answer(Unscannable::Malformed))?;
    let event = protobuf::stream_response_from(message, files).map_err(|error| malformed(&error))?;
    content::with_payload(event)
}

/// Writes a typed event, which may become several.
///
/// # Errors
/// InvalidAgentResponse for what cannot be said.
pub fn write_event(event: &proto::StreamResponse, writer: &mut StreamWriter, form: Form) -> Result<Vec<Bytes>, Error> {
    let (is_json, files) = match form {
        Form::ProtoJsonV0_3(files) => (true, files),
        Form::ProtoV0_3(files) => (false, files),
        _ => (true, FileBytes::Auto),
    };
    let events = protobuf::stream_responses_to(event, writer, files).map_err(|error| malformed(&error))?;
    let write = |event: pb::StreamResponse| {
        if is_json { as_json(&event).map_err(json::unprintable) } else { Ok(Bytes::from(event.encode_to_vec())) }
    };
    events.into_iter().map(write).collect()
}

const fn request_shape(rpc: Rpc) -> u8 {
    match rpc {
        Rpc::SendMessage | Rpc::SendStreamingMessage => shapes::V0_3_SEND_MESSAGE_REQUEST,
        Rpc::GetTask | Rpc::ListTasks => shapes::V0_3_GET_TASK_REQUEST,
        Rpc::CancelTask => shapes::V0_3_CANCEL_TASK_REQUEST,
        Rpc::SubscribeToTask => shapes::V0_3_TASK_SUBSCRIPTION_REQUEST,
        Rpc::CreatePushConfig => shapes::V0_3_CREATE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        Rpc::GetPushConfig => shapes::V0_3_GET_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        Rpc::ListPushConfigs => shapes::V0_3_LIST_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
        Rpc::GetExtendedAgentCard => shapes::V0_3_GET_AGENT_CARD_REQUEST,
        Rpc::DeletePushConfig => shapes::V0_3_DELETE_TASK_PUSH_NOTIFICATION_CONFIG_REQUEST,
    }
}

const fn answer_shape(rpc: Rpc) -> u8 {
    match rpc {
        Rpc::SendMessage => shapes::V0_3_SEND_MESSAGE_RESPONSE,
        Rpc::SendStreamingMessage | Rpc::SubscribeToTask => shapes::V0_3_STREAM_RESPONSE,
        Rpc::GetTask | Rpc::CancelTask | Rpc::ListTasks => shapes::V0_3_TASK,
        Rpc::CreatePushConfig | Rpc::GetPushConfig => shapes::V0_3_TASK_PUSH_NOTIFICATION_CONFIG,
        Rpc::ListPushConfigs => shapes::V0_3_LIST_TASK_PUSH_NOTIFICATION_CONFIG_RESPONSE,
        Rpc::GetExtendedAgentCard => shapes::V0_3_AGENT_CARD,
        // google.protobuf.Empty: whatever stands in it is unknown.
        Rpc::DeletePushConfig => shapes::V0_3_GET_AGENT_CARD_REQUEST,
    }
}
