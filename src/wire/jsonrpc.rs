//! The JSON-RPC 2.0 envelope, read without touching what it carries (A2A 9, A2A 0.3 section 7).

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::status;
use crate::a2a::parse;
use crate::error::{AgentError, Error, Kind};
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
    /// The agent's own, under the kind that it is to us.
    Error(Error),
}

/// A refused envelope, with the id to refuse it under.
#[derive(Debug)]
pub struct BadEnvelope {
    pub id: Bytes,
    pub error: Error,
}

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
    let envelope: RequestEnvelope<'_> = parse::json(body).map_err(|error| {
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
    let envelope: ReplyEnvelope<'_> =
        parse::json(body).map_err(|error| invalid("the agent's reply is not a JSON-RPC response").because(error))?;
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

/// The error that an agent's own error object is to us.
fn read_error(object: &Bytes, version: Version) -> Result<Error, Error> {
    let error: ErrorObject<'_> = serde_json::from_slice(object).map_err(|error| {
        Error::new(Kind::InvalidAgentResponse, "the agent's error is not a JSON-RPC error object").because(error)
    })?;
    let code = error.code.as_i64().unwrap_or(0);
    let data = error.data.map(|data| object.slice_ref(data.get().as_bytes()));
    let kind = Kind::from_jsonrpc(code);
    let message = error.message.as_deref().filter(|message| !message.is_empty());
    let ours = Error::new(kind, message.unwrap_or("the agent reported an error"));
    // 1.0's data is a list of typed details; 0.3's is anything.
    let ours = match &data {
        Some(data) if version == Version::V1_0 => status::with_json_details(ours, data),
        _ => ours,
    };
    Ok(status::of_agent(ours).agent_said(AgentError::JsonRpc { version, code, object: object.clone(), data }))
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
    let object = match error.from_agent() {
        Some(AgentError::JsonRpc { version: own, object, .. }) if *own == version => {
            String::from_utf8_lossy(object).into_owned()
        }
        own => {
            let row = error.kind().row();
            let known = match version {
                Version::V1_0 => row.jsonrpc,
                Version::V0_3 => row.legacy.jsonrpc,
            };
            let code = match own {
                Some(AgentError::JsonRpc { code, .. }) if error.kind() == Kind::AgentFailed => *code,
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
    let own = match error.from_agent() {
        Some(AgentError::JsonRpc { data: Some(data), .. }) => {
            RawValue::from_string(String::from_utf8_lossy(data).into_owned()).ok()
        }
        _ => None,
    };
    let raw = |details: &dyn Fn() -> Value| serde_json::value::to_raw_value(&details()).expect("strings serialize");
    if version == Version::V1_0 && (error.kind() != Kind::AgentFailed || own.is_none()) {
        return Some(raw(&|| status::json_details(error)));
    }
    own.or_else(|| (!error.violations().is_empty()).then(|| raw(&|| status::json_violations(error))))
}

#[cfg(test)]
mod tests;
