//! Requests, answers and events as JSON in either version: read once, written only when they must be translated.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::content;
use super::scan::{self, ScanError};
use crate::a2a::v0_3::{self, ConvertError, StreamWriter};
use crate::a2a::{lenient, parse, problem, required};
use crate::call::{Answer, Content, Event, FileBytes, Form, PayloadKind, Peek, Raw, Response};
use crate::config::JsonLimits;
use crate::error::{Error, Kind};
use crate::operation::{Operation, Rpc, Version};
use crate::proto;

/// The longest path of a member in a message to a caller.
const FIELD_CHARS_MAX: usize = 200;

/// Reads the params of a request: bounded, typed, and checked for what A2A requires. The bytes come back with it
/// when an agent reads in them what policy reads.
///
/// # Errors
/// InvalidParams that names the member.
pub fn read_request(
    rpc: Rpc,
    version: Version,
    params: Option<Bytes>,
    limits: &JsonLimits,
) -> Result<(Operation, Option<Raw>), Error> {
    let is_absent = params.is_none();
    let params = params.unwrap_or(Bytes::from_static(b"{}"));
    let scan = scan::scan(&params, scan::request_shape(rpc, version), limits).map_err(bad_request)?;
    let checked = |operation: Operation| required::check(&operation, version).map(|()| operation);
    let operation = match version {
        Version::V0_3 => {
            let strict = v0_3::params_from_v0_3(rpc, &params);
            match strict.map_err(|error| invalid(&error.field, &error.problem)).and_then(checked) {
                Ok(operation) => operation,
                // What can be read all the same is not what the agent would read, so it is written anew.
                Err(strict) => {
                    let read = lenient::request(rpc, &params).and_then(|operation| checked(operation).ok());
                    return read.map(|operation| (operation, None)).ok_or(strict);
                }
            }
        }
        Version::V1_0 => params_v1(rpc, &params).and_then(checked)?,
    };
    // An empty tenant would stand in the way of one that is spliced in.
    let has_empty_tenant = scan.has_tenant() && operation.tenant().is_empty();
    let forwardable = scan.canonical && !is_absent && !has_empty_tenant;
    let raw = forwardable.then_some(Raw { form: Form::Json(version), bytes: params });
    Ok((operation, raw))
}

/// As [`read_request`] in 1.0, with members that stand elsewhere in the request than in its body. The bytes are not
/// what the agent is to read, so they do not come back.
///
/// # Errors
/// InvalidParams that names the member, and those of `amend`.
pub fn read_request_with(
    rpc: Rpc,
    body: &Bytes,
    limits: &JsonLimits,
    amend: impl FnOnce(&mut Map<String, Value>) -> Result<(), Error>,
) -> Result<Operation, Error> {
    let version = Version::V1_0;
    // Of a member that stands twice one would be lost here unseen, so the bytes are read as they are first.
    scan::scan(body, scan::request_shape(rpc, version), limits).map_err(bad_request)?;
    let mut members: Map<String, Value> = serde_json::from_slice(body).map_err(|_| invalid("", "is not an object"))?;
    amend(&mut members)?;
    let body = Bytes::from(Value::Object(members).to_string());
    Ok(read_request(rpc, version, Some(body), limits)?.0)
}

/// The members of an operation's request in 1.0.
///
/// # Errors
/// As [`write_request`].
pub fn members(operation: &Operation) -> Result<Map<String, Value>, Error> {
    let json = write_request(operation, Version::V1_0)?;
    Ok(serde_json::from_slice(&json).expect("a request is an object"))
}

fn bad_request(error: ScanError) -> Error {
    Error::new(Kind::InvalidParams, format!("the request {error}"))
}

fn invalid(field: &str, problem: &str) -> Error {
    // A path may lead through names that the caller chose.
    let field: String = field.chars().filter(|c| !c.is_control()).take(FIELD_CHARS_MAX).collect();
    Error::invalid(if field.is_empty() || field == "." { "params" } else { &field }, problem)
}

fn params_v1(rpc: Rpc, params: &[u8]) -> Result<Operation, Error> {
    Ok(match rpc {
        Rpc::SendMessage => Operation::SendMessage(request(params)?),
        Rpc::SendStreamingMessage => Operation::SendStreamingMessage(request(params)?),
        Rpc::GetTask => Operation::GetTask(request(params)?),
        Rpc::ListTasks => Operation::ListTasks(request(params)?),
        Rpc::CancelTask => Operation::CancelTask(request(params)?),
        Rpc::SubscribeToTask => Operation::SubscribeToTask(request(params)?),
        Rpc::CreatePushConfig => Operation::CreatePushConfig(request(params)?),
        Rpc::GetPushConfig => Operation::GetPushConfig(request(params)?),
        Rpc::ListPushConfigs => Operation::ListPushConfigs(request(params)?),
        Rpc::GetExtendedAgentCard => Operation::GetExtendedAgentCard(request(params)?),
        Rpc::DeletePushConfig => Operation::DeletePushConfig(request(params)?),
    })
}

fn request<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    parse::located(json)
        .map_err(|(field, problem)| invalid(&field, problem.as_deref().unwrap_or("has trailing characters")))
}

/// Something that is not one JSON object in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

/// Checks that bytes are one JSON object, before anything is asked of its members.
///
/// # Errors
/// When they are not.
pub fn is_object(bytes: &[u8]) -> Result<(), NotAnObject> {
    let value: &RawValue = parse::json(bytes).map_err(|_| NotAnObject)?;
    if value.get().starts_with('{') { Ok(()) } else { Err(NotAnObject) }
}

/// The object `json` with one more member at its beginning.
pub fn with_member(json: &[u8], name: &str, value: &str) -> Bytes {
    let inside = json.trim_ascii_start().strip_prefix(b"{").expect("an object").trim_ascii_start();
    let mut out = BytesMut::with_capacity(json.len() + name.len() + value.len() + 8);
    out.put_slice(b"{\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    out.put_slice(serde_json::to_string(value).expect("text serializes").as_bytes());
    if !inside.starts_with(b"}") {
        out.put_slice(b",");
    }
    out.put_slice(inside);
    out.freeze()
}

/// Writes an operation as params in `version`.
///
/// # Errors
/// UnsupportedOperation where the version lacks the operation, InvalidParams for what it cannot say.
pub fn write_request(operation: &Operation, version: Version) -> Result<Bytes, Error> {
    if version == Version::V0_3 {
        let params = v0_3::params_to_v0_3(operation).map_err(|error| invalid(&error.field, &error.problem))?;
        let unsupported =
            || Error::new(Kind::UnsupportedOperation, "the agent speaks A2A 0.3, which cannot list tasks");
        return Ok(Bytes::from(params.ok_or_else(unsupported)?.get().to_owned()));
    }
    let json = match operation {
        Operation::SendMessage(r) | Operation::SendStreamingMessage(r) => serde_json::to_vec(r),
        Operation::GetTask(r) => serde_json::to_vec(r),
        Operation::ListTasks(r) => serde_json::to_vec(r),
        Operation::CancelTask(r) => serde_json::to_vec(r),
        Operation::SubscribeToTask(r) => serde_json::to_vec(r),
        Operation::CreatePushConfig(r) => serde_json::to_vec(r),
        Operation::GetPushConfig(r) => serde_json::to_vec(r),
        Operation::ListPushConfigs(r) => serde_json::to_vec(r),
        Operation::GetExtendedAgentCard(r) => serde_json::to_vec(r),
        Operation::DeletePushConfig(r) => serde_json::to_vec(r),
    };
    json.map(Bytes::from).map_err(|error| {
        // Protobuf has such values, JSON has not.
        let message =
            "a number that is not finite, or a time out of range, cannot be said in JSON, which the agent speaks";
        Error::new(Kind::InvalidParams, message).because(error)
    })
}

/// Takes an agent's result. It is decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is not an answer to this operation.
pub fn read_answer(rpc: Rpc, version: Version, result: Bytes, limits: &JsonLimits) -> Result<Answer, Error> {
    let scan = scan::scan(&result, scan::answer_shape(rpc, version), limits).map_err(bad_answer)?;
    let peek = scan.peek(version).filter(|peek| is_whole(rpc, peek));
    let raw = Raw { form: Form::Json(version), bytes: result };
    if let Some(peek) = peek.filter(|_| !content::must_decode(rpc)) {
        return Ok(Answer { rpc, content: Content::Raw(raw), peek: content::bounded(peek)? });
    }
    let strict = response(rpc, version, &raw.bytes, None).and_then(|response| content::answer_of(rpc, response));
    strict.or_else(|strict| {
        let read = lenient::response(rpc, &raw.bytes, FileBytes::Auto).ok_or(strict)?;
        content::answer_of(rpc, read)
    })
}

/// Bounds a request of which nothing is to be forwarded, and sees to it that it is one JSON object.
///
/// # Errors
/// Parse, InvalidParams.
pub(in crate::wire) fn scan_request(json: &Bytes, limits: &JsonLimits) -> Result<(), Error> {
    // First, for the scan trusts that it reads JSON.
    is_object(json).map_err(|_| Error::new(Kind::Parse, "the message must be one JSON object"))?;
    scan::scan(json, scan::free_shape(), limits).map(drop).map_err(bad_request)
}

/// Bounds an agent's JSON of which nothing is to be forwarded. It must be JSON.
///
/// # Errors
/// InvalidAgentResponse.
pub(in crate::wire) fn scan_free(json: &Bytes, limits: &JsonLimits) -> Result<(), Error> {
    let not_json = |_| Error::new(Kind::InvalidAgentResponse, "the agent's answer is not JSON");
    serde_json::from_slice::<&RawValue>(json).map_err(not_json)?;
    scan::scan(json, scan::free_shape(), limits).map(drop).map_err(bad_answer)
}

/// Whether the scan saw the members without which the answer is none.
fn is_whole(rpc: Rpc, peek: &Peek) -> bool {
    match rpc {
        Rpc::SendMessage => match peek.kind {
            Some(PayloadKind::Task) => peek.task_id.is_some(),
            kind => kind == Some(PayloadKind::Message),
        },
        Rpc::GetTask | Rpc::CancelTask => {
            peek.task_id.is_some() && peek.state.is_some() && matches!(peek.kind, None | Some(PayloadKind::Task))
        }
        _ => true,
    }
}

fn bad_answer(error: ScanError) -> Error {
    Error::new(Kind::InvalidAgentResponse, format!("the agent's answer {error}"))
}

fn malformed(error: &ConvertError) -> Error {
    let field = if error.field.is_empty() { "result" } else { &error.field };
    Error::new(Kind::InvalidAgentResponse, format!("the agent's answer is malformed at {field}: {}", error.problem))
}

fn answer_v1<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|error| {
        let problem = problem::of(&error);
        Error::new(Kind::InvalidAgentResponse, format!("the agent's answer is not as A2A 1.0 defines it: {problem}"))
            .because(error)
    })
}

/// The typed form of an agent's answer in `version`, whose kind of payload the scan may have seen.
///
/// # Errors
/// InvalidAgentResponse when the bytes are not such an answer.
pub fn response(rpc: Rpc, version: Version, json: &Bytes, kind: Option<PayloadKind>) -> Result<Response, Error> {
    if rpc == Rpc::DeletePushConfig {
        return Ok(Response::Deleted);
    }
    match version {
        Version::V1_0 => content::with_whole_parts(match rpc {
            Rpc::GetTask | Rpc::CancelTask => Response::Task(answer_v1(json)?),
            Rpc::ListTasks => Response::ListTasks(answer_v1(json)?),
            Rpc::CreatePushConfig | Rpc::GetPushConfig => Response::PushConfig(answer_v1(json)?),
            Rpc::ListPushConfigs => Response::PushConfigs(answer_v1(json)?),
            Rpc::GetExtendedAgentCard => Response::Card(card(json)?),
            _ => Response::SendMessage(sent(answer_v1(json)?)?),
        }),
        Version::V0_3 => {
            let converted = match rpc {
                Rpc::GetTask | Rpc::CancelTask => v0_3::task_from_v0_3(json).map(Response::Task),
                Rpc::CreatePushConfig | Rpc::GetPushConfig => v0_3::parse_push_config(json).map(Response::PushConfig),
                Rpc::ListPushConfigs => v0_3::push_configs_from_v0_3(json).map(Response::PushConfigs),
                Rpc::GetExtendedAgentCard => return card(json).map(Response::Card),
                _ => v0_3::send_response_from_v0_3(json, kind).map(Response::SendMessage),
            };
            converted.map_err(|error| malformed(&error))
        }
    }
}

fn card(json: &[u8]) -> Result<proto::AgentCard, Error> {
    crate::a2a::card::read(json)
        .map_err(|error| Error::new(Kind::InvalidAgentResponse, "the agent's card is malformed").because(error))
}

/// An answer to a send must have a payload.
pub(super) fn sent(response: proto::SendMessageResponse) -> Result<proto::SendMessageResponse, Error> {
    let empty = || Error::new(Kind::InvalidAgentResponse, "the agent's answer has neither a task nor a message");
    if response.payload.is_none() { Err(empty()) } else { Ok(response) }
}

/// Writes a typed answer in `version`.
///
/// # Errors
/// InvalidAgentResponse for an answer that cannot be translated.
pub fn write_response(response: &Response, version: Version) -> Result<Bytes, Error> {
    let text = |raw: Box<serde_json::value::RawValue>| Bytes::from(raw.get().to_owned());
    let vec = |json: serde_json::Result<Vec<u8>>| json.map(Bytes::from).map_err(unprintable);
    match (response, version) {
        (Response::Deleted, _) => Ok(Bytes::from_static(b"null")),
        (Response::SendMessage(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::Task(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::ListTasks(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::PushConfig(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::PushConfigs(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::Card(r), Version::V1_0) => vec(serde_json::to_vec(r)),
        (Response::SendMessage(r), Version::V0_3) => {
            v0_3::send_response_to_v0_3(r).map(text).map_err(|e| malformed(&e))
        }
        (Response::Task(r), Version::V0_3) => {
            vec(serde_json::to_vec(&v0_3::task_to_v0_3(r).map_err(|error| malformed(&error))?))
        }
        (Response::ListTasks(r), Version::V0_3) => v0_3::list_to_v0_3(r).map(text).map_err(|e| malformed(&e)),
        (Response::PushConfig(r), Version::V0_3) => vec(serde_json::to_vec(&v0_3::push_config_to_v0_3(r))),
        (Response::PushConfigs(r), Version::V0_3) => {
            v0_3::push_configs_to_v0_3(r).map(text).map_err(|error| malformed(&error))
        }
        (Response::Card(r), Version::V0_3) => v0_3::card_to_v0_3(r).map(text).map_err(|error| malformed(&error)),
    }
}

pub(in crate::wire) fn unprintable(error: serde_json::Error) -> Error {
    Error::new(Kind::InvalidAgentResponse, "the agent's answer cannot be written as JSON").because(error)
}

/// Takes the data of an event, decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is no event.
pub fn read_event(version: Version, data: Bytes, limits: &JsonLimits) -> Result<Event, Error> {
    let scan = scan::scan(&data, scan::event_shape(version), limits).map_err(bad_answer)?;
    let peek = scan.peek(version).filter(|peek| peek.kind.is_some());
    if let Some(peek) = peek {
        let raw = Raw { form: Form::Json(version), bytes: data };
        Ok(Event { content: Content::Raw(raw), peek: content::bounded(peek)? })
    } else {
        let strict = event(version, &data, None).and_then(content::event_of);
        strict.or_else(|strict| {
            let read = lenient::event(&data, FileBytes::Auto).ok_or(strict)?;
            content::event_of(read)
        })
    }
}

/// The typed form of an event in `version`.
///
/// # Errors
/// InvalidAgentResponse when the bytes are no event.
pub fn event(version: Version, json: &Bytes, kind: Option<PayloadKind>) -> Result<proto::StreamResponse, Error> {
    let event = match version {
        Version::V0_3 => v0_3::event_from_v0_3(json, kind).map_err(|error| malformed(&error))?,
        Version::V1_0 => content::event_with_whole_parts(answer_v1::<proto::StreamResponse>(json)?)?,
    };
    content::with_payload(event)
}

/// Writes a typed event in 1.0.
///
/// # Errors
/// InvalidAgentResponse for what cannot be written, such as a timestamp that no calendar has.
pub fn write_event(event: &proto::StreamResponse) -> Result<Bytes, Error> {
    serde_json::to_vec(event).map(Bytes::from).map_err(unprintable)
}

/// Writes a typed event in 0.3, where it may become several.
///
/// # Errors
/// InvalidAgentResponse for an event that cannot be translated.
pub fn write_event_v0_3(event: &proto::StreamResponse, writer: &mut StreamWriter) -> Result<Vec<Bytes>, Error> {
    let events = writer.write(event).map_err(|error| malformed(&error))?;
    let json = |event| v0_3::event_json(&event).map(|json| Bytes::from(Box::<str>::from(json).into_string()));
    events.into_iter().map(json).collect::<Result<_, _>>().map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splices_a_member_into_any_object() {
        assert_eq!(with_member(br#"{"a":1}"#, "tenant", "x\"y"), r#"{"tenant":"x\"y","a":1}"#);
        assert_eq!(with_member(b" { }", "tenant", "x"), r#"{"tenant":"x"}"#);
    }
}
