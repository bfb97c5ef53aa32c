//! Requests, answers and events as JSON in either version: read once, written only when they must be translated.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::scan::{self, ScanError};
use crate::a2a::v0_3::{self, ConvertError, StreamWriter};
use crate::a2a::{problem, required};
use crate::call::{Answer, Content, Event, Form, PayloadKind, Peek, Raw, Response};
use crate::config::JsonLimits;
use crate::error::{Error, Kind, Origin};
use crate::operation::{Operation, Rpc, Version};
use crate::proto::send_message_response::Payload as Sent;
use crate::proto::stream_response::Payload;
use crate::proto::{self, TaskState};

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
    let operation = match version {
        Version::V0_3 => v0_3::params_from_v0_3(rpc, &params).map_err(|error| invalid(&error.field, &error.problem))?,
        Version::V1_0 => params_v1(rpc, &params)?,
    };
    required::check(&operation, version)?;
    // An empty tenant would stand in the way of one that is spliced in.
    let has_empty_tenant = scan.has_tenant() && operation.tenant().is_empty();
    let forwardable = scan.canonical && !is_absent && !has_empty_tenant;
    let raw = forwardable.then_some(Raw { form: Form::Json(version), bytes: params });
    Ok((operation, raw))
}

fn bad_request(error: ScanError) -> Error {
    Error::new(Kind::InvalidParams, format!("params: {error}"))
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

/// Parses, and on failure says where: the path is only tracked in a second pass.
fn request<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(|_| {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Ok(_) => invalid("", "has trailing characters"),
            Err(error) => invalid(&error.path().to_string(), &problem::of(error.inner())),
        }
    })
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
    Ok(Bytes::from(json.expect("a request that was read can be written")))
}

/// Takes an agent's result. It is decoded only when the scan cannot tell what the record needs of it.
///
/// # Errors
/// InvalidAgentResponse when it is not an answer to this operation.
pub fn read_answer(rpc: Rpc, version: Version, result: Bytes, limits: &JsonLimits) -> Result<Answer, Error> {
    let scan = scan::scan(&result, scan::answer_shape(rpc, version), limits).map_err(bad_answer)?;
    let peek = scan.peek(version).filter(|peek| is_whole(rpc, peek));
    let raw = Raw { form: Form::Json(version), bytes: result };
    // A card is always rewritten, and the answer to a delete carries nothing.
    let must_decode = matches!(rpc, Rpc::GetExtendedAgentCard | Rpc::DeletePushConfig);
    if let Some(peek) = peek.filter(|_| !must_decode) {
        Ok(Answer { rpc, content: Content::Raw(raw), peek: bounded(peek)? })
    } else {
        let response = response(rpc, &raw, None)?;
        let peek = bounded(peek_at_response(&response))?;
        if peek.kind == Some(PayloadKind::Task) && peek.task_id.is_none() {
            return Err(Error::new(Kind::InvalidAgentResponse, "the agent answered with a task that has no id"));
        }
        Ok(Answer { rpc, content: Content::Typed(Box::new(response)), peek })
    }
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

/// Ids stand in records and indexes, so what an agent calls an id has a limit.
fn bounded(peek: Peek) -> Result<Peek, Error> {
    let is_long = |id: &Option<String>| id.as_ref().is_some_and(|id| id.len() > required::ID_BYTES_MAX);
    if is_long(&peek.task_id) || is_long(&peek.context_id) {
        return Err(Error::new(Kind::InvalidAgentResponse, "the agent answered with an id of more than 256 bytes"));
    }
    Ok(peek)
}

fn bad_answer(error: ScanError) -> Error {
    Error::new(Kind::InvalidAgentResponse, format!("the agent's answer is {error}"))
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

/// The typed form of an answer.
///
/// # Errors
/// InvalidAgentResponse when the agent's bytes are not such an answer.
pub fn typed_answer(answer: Answer) -> Result<Response, Error> {
    match answer.content {
        Content::Typed(response) => Ok(*response),
        Content::Raw(raw) => response(answer.rpc, &raw, answer.peek.kind),
    }
}

fn response(rpc: Rpc, raw: &Raw, kind: Option<PayloadKind>) -> Result<Response, Error> {
    let json = &raw.bytes;
    if rpc == Rpc::DeletePushConfig {
        return Ok(Response::Deleted);
    }
    match raw.form {
        Form::Json(Version::V1_0) => Ok(match rpc {
            Rpc::GetTask | Rpc::CancelTask => Response::Task(answer_v1(json)?),
            Rpc::ListTasks => Response::ListTasks(answer_v1(json)?),
            Rpc::CreatePushConfig | Rpc::GetPushConfig => Response::PushConfig(answer_v1(json)?),
            Rpc::ListPushConfigs => Response::PushConfigs(answer_v1(json)?),
            Rpc::GetExtendedAgentCard => Response::Card(card(json)?),
            _ => Response::SendMessage(sent(answer_v1(json)?)?),
        }),
        Form::Json(Version::V0_3) => {
            let converted = match rpc {
                Rpc::GetTask | Rpc::CancelTask => v0_3::task_from_v0_3(json).map(Response::Task),
                Rpc::CreatePushConfig | Rpc::GetPushConfig => v0_3::parse_push_config(json).map(Response::PushConfig),
                Rpc::ListPushConfigs => v0_3::push_configs_from_v0_3(json).map(Response::PushConfigs),
                Rpc::GetExtendedAgentCard => return card(json).map(Response::Card),
                _ => v0_3::send_response_from_v0_3(json, kind).map(Response::SendMessage),
            };
            converted.map_err(|error| malformed(&error))
        }
        Form::Proto(_) => {
            Err(Error::new(Kind::Internal, "protobuf bytes where JSON was expected").origin_is(Origin::Gateway))
        }
    }
}

fn card(json: &[u8]) -> Result<proto::AgentCard, Error> {
    crate::a2a::card::read(json)
        .map_err(|error| Error::new(Kind::InvalidAgentResponse, "the agent's card is malformed").because(error))
}

fn sent(response: proto::SendMessageResponse) -> Result<proto::SendMessageResponse, Error> {
    let empty = || Error::new(Kind::InvalidAgentResponse, "the agent's answer has neither a task nor a message");
    if response.payload.is_none() { Err(empty()) } else { Ok(response) }
}

/// Writes an answer in `version`: the agent's own bytes when they are in it.
///
/// # Errors
/// InvalidAgentResponse for an answer that cannot be translated.
pub fn write_answer(answer: Answer, version: Version) -> Result<Bytes, Error> {
    match answer.content {
        Content::Raw(raw) if raw.form == Form::Json(version) => Ok(raw.bytes),
        _ => write_response(&typed_answer(answer)?, version),
    }
}

fn write_response(response: &Response, version: Version) -> Result<Bytes, Error> {
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
        (Response::PushConfigs(r), Version::V0_3) => Ok(text(v0_3::push_configs_to_v0_3(r))),
        (Response::Card(r), Version::V0_3) => v0_3::card_to_v0_3(r).map(text).map_err(|error| malformed(&error)),
    }
}

fn unprintable(error: serde_json::Error) -> Error {
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
        Ok(Event { content: Content::Raw(raw), peek: bounded(peek)? })
    } else {
        let event = typed_event_of(event(&Raw { form: Form::Json(version), bytes: data }, None)?);
        Ok(Event { peek: bounded(event.peek)?, content: event.content })
    }
}

/// An event that we made ourselves.
pub fn typed_event_of(event: proto::StreamResponse) -> Event {
    let peek = event.payload.as_ref().map(peek_at_payload).unwrap_or_default();
    Event { content: Content::Typed(Box::new(event)), peek }
}

fn event(raw: &Raw, kind: Option<PayloadKind>) -> Result<proto::StreamResponse, Error> {
    let event = match raw.form {
        Form::Json(Version::V0_3) => v0_3::event_from_v0_3(&raw.bytes, kind).map_err(|error| malformed(&error))?,
        _ => answer_v1::<proto::StreamResponse>(&raw.bytes)?,
    };
    let empty = || Error::new(Kind::InvalidAgentResponse, "the agent sent an event without a payload");
    if event.payload.is_none() { Err(empty()) } else { Ok(event) }
}

/// Writes the events of one stream in one version.
#[derive(Debug)]
pub enum EventWriter {
    V1,
    /// 0.3 needs to know what came before.
    V0_3(StreamWriter),
}

impl EventWriter {
    pub fn new(version: Version) -> Self {
        match version {
            Version::V1_0 => Self::V1,
            Version::V0_3 => Self::V0_3(StreamWriter::default()),
        }
    }

    /// The agent's own bytes when they are in the caller's version, else their translation, which in 0.3 may be
    /// several events.
    ///
    /// # Errors
    /// InvalidAgentResponse for an event that cannot be translated.
    pub fn write(&mut self, next: Event) -> Result<Vec<Bytes>, Error> {
        let own = matches!(self, Self::V1).then_some(Version::V1_0).unwrap_or(Version::V0_3);
        let typed = match next.content {
            Content::Raw(raw) if raw.form == Form::Json(own) => return Ok(vec![raw.bytes]),
            Content::Raw(raw) => event(&raw, next.peek.kind)?,
            Content::Typed(typed) => *typed,
        };
        match self {
            Self::V1 => Ok(vec![Bytes::from(serde_json::to_vec(&typed).map_err(unprintable)?)]),
            Self::V0_3(writer) => {
                let events = writer.write(&typed).map_err(|error| malformed(&error))?;
                Ok(events.into_iter().map(|event| Bytes::from(event.get().to_owned())).collect())
            }
        }
    }
}

fn peek_at_response(response: &Response) -> Peek {
    match response {
        Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Task(task)) })
        | Response::Task(task) => peek_at_task(task),
        Response::SendMessage(proto::SendMessageResponse { payload: Some(Sent::Message(message)) }) => {
            peek_at_message(message)
        }
        Response::PushConfig(config) => Peek { task_id: some(&config.task_id), ..Peek::default() },
        _ => Peek::default(),
    }
}

fn peek_at_payload(payload: &Payload) -> Peek {
    match payload {
        Payload::Task(task) => peek_at_task(task),
        Payload::Message(message) => peek_at_message(message),
        Payload::StatusUpdate(update) => Peek {
            kind: Some(PayloadKind::StatusUpdate),
            task_id: some(&update.task_id),
            context_id: some(&update.context_id),
            state: update.status.as_ref().map(proto::TaskStatus::state),
            is_final: false,
        },
        Payload::ArtifactUpdate(update) => Peek {
            kind: Some(PayloadKind::ArtifactUpdate),
            task_id: some(&update.task_id),
            context_id: some(&update.context_id),
            ..Peek::default()
        },
    }
}

fn peek_at_task(task: &proto::Task) -> Peek {
    Peek {
        kind: Some(PayloadKind::Task),
        task_id: some(&task.id),
        context_id: some(&task.context_id),
        state: Some(task.status.as_ref().map_or(TaskState::Unspecified, proto::TaskStatus::state)),
        is_final: false,
    }
}

fn peek_at_message(message: &proto::Message) -> Peek {
    Peek {
        kind: Some(PayloadKind::Message),
        task_id: some(&message.task_id),
        context_id: some(&message.context_id),
        ..Peek::default()
    }
}

fn some(id: &str) -> Option<String> {
    Some(id.to_owned()).filter(|id| !id.is_empty())
}
