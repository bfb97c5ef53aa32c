//! The JSON-RPC 2.0 envelope, read without touching what it carries (A2A 9, A2A 0.3 section 7).

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::{AgentError, Error, Kind, Origin, Sent};
use crate::operation::Version;

/// An id is echoed in every event of a stream, so it has a limit.
const ID_BYTES_MAX: usize = 256;

/// A request envelope. The params are a slice of the body.
#[derive(Debug)]
pub struct Request {
    /// The id as received; `null` when absent, for A2A answers notifications too.
    pub id: Bytes,
    pub method: String,
    pub params: Option<Bytes>,
}

/// What an agent answered.
#[derive(Debug)]
pub enum Outcome {
    Result(Bytes),
    Error(AgentError),
}

/// A refused envelope, with the id to refuse it under.
#[derive(Debug)]
pub struct BadEnvelope {
    pub id: Bytes,
    pub error: Error,
}

/// A 0.3 agent's error data beyond this does not go along to a 1.0 caller.
const AGENT_DATA_BYTES_MAX: usize = 4_096;

/// The id of an answer to a request whose id is not known.
pub const NULL_ID: Bytes = Bytes::from_static(b"null");

#[derive(Deserialize)]
struct RequestEnvelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ReplyEnvelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    code: serde_json::Number,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// A member that is there with the value `null` is still there.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a request.
///
/// # Errors
/// Parse for what is not JSON or not UTF-8, InvalidRequest for batches and for JSON that is no JSON-RPC 2.0
/// request. Parser messages are not passed on: they may repeat the input.
pub fn read_request(body: &Bytes) -> Result<Request, BadEnvelope> {
    let refuse = |id: Bytes, kind, message: &str| BadEnvelope { id, error: Error::new(kind, message) };
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(refuse(
            NULL_ID,
            Kind::InvalidRequest,
            "batch requests are not supported: send one request at a time",
        ));
    }
    let envelope: RequestEnvelope<'_> = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            refuse(NULL_ID, Kind::InvalidRequest, "the body is not a JSON-RPC 2.0 request object with each member once")
        } else {
            let message = format!("the body is not valid JSON (line {}, column {})", error.line(), error.column());
            refuse(NULL_ID, Kind::Parse, &message)
        }
    })?;
    let id = envelope.id.map_or("null", RawValue::get).as_bytes();
    if !is_id(id) {
        let message = "id must be a string, an integer or null, of at most 256 bytes";
        return Err(refuse(NULL_ID, Kind::InvalidRequest, message));
    }
    // A copy: the id lives as long as the reply, and a slice would keep the whole body in memory.
    let id = Bytes::copy_from_slice(id);
    if envelope.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
        return Err(refuse(id, Kind::InvalidRequest, r#"jsonrpc must be "2.0""#));
    }
    // Never decoded unless it is a string: an array of sixteen million zeros is no method.
    let method = envelope.method.filter(|method| method.get().starts_with('"'));
    let Some(Ok(method)) = method.map(|method| serde_json::from_str::<String>(method.get())) else {
        return Err(refuse(id, Kind::InvalidRequest, "method must be a string, for example \"SendMessage\""));
    };
    let params = envelope.params.map(|params| body.slice_ref(params.get().as_bytes()));
    if params.as_ref().is_some_and(|params| !params.starts_with(b"{")) {
        return Err(refuse(id, Kind::InvalidParams, "params must be an object"));
    }
    Ok(Request { id, method, params })
}

/// Whether an agent will echo the id in the same bytes: a string without escapes, or an integer that any JSON
/// reader keeps.
pub fn is_plain_id(id: &[u8]) -> bool {
    let text = std::str::from_utf8(id).unwrap_or_default();
    let integer = text.parse::<i64>().ok().filter(|n| n.abs() < 1 << 53 && n.to_string() == text);
    integer.is_some() || (text.starts_with('"') && text.is_ascii() && !text.contains('\\'))
}

fn is_id(id: &[u8]) -> bool {
    let integer = |id: &[u8]| id.strip_prefix(b"-").unwrap_or(id).iter().all(u8::is_ascii_digit);
    id.len() <= ID_BYTES_MAX && (id == b"null" || id.starts_with(b"\"") || integer(id))
}

/// Reads an agent's reply to the request with this `id`.
///
/// # Errors
/// InvalidAgentResponse for anything that is not a JSON-RPC reply to this request.
pub fn read_reply(body: &Bytes, id: &[u8], version: Version) -> Result<Outcome, Error> {
    let invalid = |message: &str| Error::new(Kind::InvalidAgentResponse, message);
    let envelope: ReplyEnvelope<'_> = serde_json::from_slice(body)
        .map_err(|error| invalid("the agent's reply is not a JSON-RPC response").because(error))?;
    let same_id = envelope.id.is_some_and(|found| found.get().as_bytes() == id);
    let null_id = envelope.id.is_none_or(|found| found.get() == "null");
    match (envelope.result, envelope.error) {
        (result, Some(error)) if result.is_none_or(|r| r.get() == "null") && (same_id || null_id) => {
            read_error(&body.slice_ref(error.get().as_bytes()), version).map(Outcome::Error)
        }
        (Some(result), None) if same_id => Ok(Outcome::Result(body.slice_ref(result.get().as_bytes()))),
        // py 1.3 leaves the result of a 0.3 delete out; nothing else may have neither.
        (None, None) if same_id => Ok(Outcome::Result(Bytes::from_static(b"null"))),
        (Some(_), Some(_)) => Err(invalid("the agent's reply has both a result and an error")),
        _ => Err(invalid("the agent's reply has another id than the request")),
    }
}

fn read_error(object: &Bytes, version: Version) -> Result<AgentError, Error> {
    let error: ErrorObject<'_> = serde_json::from_slice(object).map_err(|error| {
        Error::new(Kind::InvalidAgentResponse, "the agent's error is not a JSON-RPC error object").because(error)
    })?;
    Ok(AgentError {
        version,
        code: error.code.as_i64().unwrap_or(0),
        message: error.message.map(Cow::into_owned).unwrap_or_default(),
        data: error.data.map(|data| object.slice_ref(data.get().as_bytes())),
        object: object.clone(),
    })
}

/// The error that an agent's own error is to us.
pub fn agent_error(error: AgentError) -> Error {
    let kind = Kind::from_jsonrpc(error.code);
    let message = if error.message.is_empty() { "the agent reported an error" } else { &error.message };
    // That an agent knows no such task is for the caller to mend; that it broke is not.
    let origin = if kind == Kind::Internal { Origin::Agent } else { kind.usual_origin() };
    Error::new(kind, message).origin_is(origin).sent_is(Sent::Sent).agent_said(error)
}

/// The beginning and the end of a request around its params.
pub fn write_request(id: &[u8], method: &str) -> (Bytes, Bytes) {
    let mut head = BytesMut::with_capacity(64 + id.len() + method.len());
    head.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    head.put_slice(id);
    head.put_slice(br#","method":""#);
    head.put_slice(method.as_bytes());
    head.put_slice(br#"","params":"#);
    (head.freeze(), Bytes::from_static(b"}"))
}

/// The beginning and the end of a reply around its result.
pub fn write_result(id: &[u8]) -> (Bytes, Bytes) {
    let mut head = BytesMut::with_capacity(40 + id.len());
    head.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    head.put_slice(id);
    head.put_slice(br#","result":"#);
    (head.freeze(), Bytes::from_static(b"}"))
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    error: &'a RawValue,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// The reply that tells a caller of `version` about `error`.
///
/// An agent's own error of the same version goes on byte for byte, whatever its code. To a caller of the other
/// version it keeps its code where that version knows it, its message, and its data where that fits.
pub fn write_error(id: &[u8], error: &Error, version: Version) -> Bytes {
    let own = error.from_agent();
    let object = match own {
        Some(own) if own.version == version => String::from_utf8_lossy(&own.object).into_owned(),
        _ => {
            let row = error.kind().row();
            let known = match version {
                Version::V1_0 => row.jsonrpc,
                Version::V0_3 => row.legacy.jsonrpc,
            };
            let code = match own {
                Some(own) if error.kind() == Kind::AgentFailed => own.code,
                _ => i64::from(known),
            };
            let body = ErrorBody { code, message: error.message(), data: error_data(error, version) };
            serde_json::to_string(&body).expect("strings and raw JSON serialize")
        }
    };
    let raw = |json: String| RawValue::from_string(json).expect("ids and errors are JSON");
    let id = raw(String::from_utf8_lossy(id).into_owned());
    let reply = ErrorReply { jsonrpc: "2.0", id: &id, error: &raw(object) };
    Bytes::from(serde_json::to_vec(&reply).expect("raw JSON serializes"))
}

/// 1.0: an array of typed details, ErrorInfo first (A2A 9.5). 0.3: the agent's data as it is, or the violations.
fn error_data(error: &Error, version: Version) -> Option<Box<RawValue>> {
    let own = error.from_agent().and_then(|own| own.data.as_ref());
    let own = own.and_then(|data| RawValue::from_string(String::from_utf8_lossy(data).into_owned()).ok());
    let violations: Vec<_> = error
        .violations()
        .iter()
        .map(|v| serde_json::json!({ "field": v.field, "description": v.description }))
        .collect();
    if version == Version::V0_3 || error.kind() == Kind::AgentFailed {
        return own.or_else(|| {
            (!violations.is_empty()).then(|| serde_json::value::to_raw_value(&violations).expect("strings serialize"))
        });
    }
    let mut metadata = serde_json::Map::new();
    if let Some(own) = own.filter(|own| own.get() != "null" && own.get().len() <= AGENT_DATA_BYTES_MAX) {
        // 1.0's details are typed, 0.3's data is anything: it goes along as a text.
        metadata.insert("agentData".into(), own.get().into());
    }
    if let Some(after) = error.retry_after() {
        metadata.insert("retryAfterMs".into(), after.as_millis().to_string().into());
    }
    let mut details = vec![serde_json::json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.kind().row().reason,
        "domain": error.kind().domain(),
        "metadata": metadata,
    })];
    if !violations.is_empty() {
        details.push(serde_json::json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations,
        }));
    }
    Some(serde_json::value::to_raw_value(&details).expect("strings serialize"))
}

#[cfg(test)]
mod tests;
