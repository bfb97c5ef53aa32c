//! `google.rpc.Status` in its two spellings: JSON, as AIP-193 and the data of a JSON-RPC error have it, and protobuf,
//! as `grpc-status-details-bin` has it. The details are the same in both: ErrorInfo first, then BadRequest and
//! RetryInfo where they say something (A2A 9.5, 10.6, 11.6).

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::error::{AgentError, Error, FieldViolation, Kind, Origin, Sent};
use crate::operation::Version;

pub mod v0_3;

const TYPE_PREFIX: &str = "type.googleapis.com/google.rpc.";
/// In gRPC both travel as headers, which clients bound at 8 KiB and more.
const MESSAGE_BYTES_MAX: usize = 1_024;
const DETAILS_BYTES_MAX: usize = 4_096;
/// A 0.3 agent's error data beyond this does not go along to a 1.0 caller.
const AGENT_DATA_BYTES_MAX: usize = 4_096;
/// Entries of metadata, and violations, that are taken over from an agent's error.
const TAKEN_MAX: usize = 64;

/// The entries of ErrorInfo's metadata.
fn metadata(error: &Error) -> Vec<(String, String)> {
    let mut metadata: Vec<_> = error.metadata().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(AgentError::JsonRpc { version: Version::V0_3, data: Some(data), .. }) = error.from_agent()
        && data != "null"
        && data.len() <= AGENT_DATA_BYTES_MAX
    {
        // 1.0's details are typed, 0.3's data is anything: it goes along as a text.
        metadata.push(("agentData".to_owned(), String::from_utf8_lossy(data).into_owned()));
    }
    if let Some(after) = error.retry_after() {
        metadata.push(("retryAfterMs".to_owned(), after.as_millis().to_string()));
    }
    metadata
}

/// The details as a JSON array.
pub fn json_details(error: &Error) -> Value {
    let metadata: serde_json::Map<_, _> =
        metadata(error).into_iter().map(|(name, value)| (name, Value::from(value))).collect();
    let mut details = vec![json!({
        "@type": format!("{TYPE_PREFIX}ErrorInfo"),
        "reason": error.kind().row().reason,
        "domain": error.kind().domain(),
        "metadata": metadata,
    })];
    if !error.violations().is_empty() {
        details.push(json!({ "@type": format!("{TYPE_PREFIX}BadRequest"), "fieldViolations": json_violations(error) }));
    }
    if let Some(after) = error.retry_after() {
        let delay = format!("{}s", after.as_secs_f64());
        details.push(json!({ "@type": format!("{TYPE_PREFIX}RetryInfo"), "retryDelay": delay }));
    }
    Value::from(details)
}

/// The violations as a JSON array.
pub fn json_violations(error: &Error) -> Value {
    error.violations().iter().map(|v| json!({ "field": v.field, "description": v.description })).collect()
}

/// The status that tells a caller of this version about `error`.
pub fn of_in(error: &Error, version: Version) -> Status {
    match version {
        Version::V1_0 => of(error),
        Version::V0_3 => v0_3::of(error),
    }
}

/// The status that tells a caller of gRPC, gRPC-Web or Connect about `error`. An agent's own goes on as it was.
pub fn of(error: &Error) -> Status {
    let code = match error.from_agent() {
        Some(AgentError::Status { version: Version::V1_0, code, message, details })
            if message.len() <= MESSAGE_BYTES_MAX && details.len() <= DETAILS_BYTES_MAX =>
        {
            return Status::with_details(Code::from_i32(*code), message.clone(), details.clone());
        }
        // What is too long of it goes; its code stays.
        Some(AgentError::Status { version: Version::V1_0, code, .. }) => *code,
        _ => error.kind().row().grpc as i32,
    };
    let info = pb::ErrorInfo {
        reason: error.kind().row().reason.to_owned(),
        domain: error.kind().domain().to_owned(),
        metadata: metadata(error).into_iter().collect(),
    };
    let mut details = vec![any("ErrorInfo", &info)];
    if !error.violations().is_empty() {
        let violation = |v: &FieldViolation| pb::bad_request::FieldViolation {
            field: v.field.clone(),
            description: v.description.clone(),
            ..Default::default()
        };
        let field_violations = error.violations().iter().map(violation).collect();
        details.push(any("BadRequest", &pb::BadRequest { field_violations }));
    }
    if let Some(after) = error.retry_after() {
        let retry_delay = prost_types::Duration::try_from(after).ok();
        details.push(any("RetryInfo", &pb::RetryInfo { retry_delay }));
    }
    let message = &error.message()[..error.message().floor_char_boundary(MESSAGE_BYTES_MAX)];
    let mut status = pb::Status { code, message: message.to_owned(), details };
    if status.encoded_len() > DETAILS_BYTES_MAX {
        // What it is stays, what more is said of it goes.
        let bare = pb::ErrorInfo { metadata: std::collections::HashMap::new(), ..info };
        status.details = vec![any("ErrorInfo", &bare)];
    }
    Status::with_details(Code::from_i32(code), message, Bytes::from(status.encode_to_vec()))
}

fn any(name: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec() }
}

/// The typed details inside a status, as (name of the type, bytes).
pub fn details_of(status: &Status) -> Vec<(String, Vec<u8>)> {
    let decoded = pb::Status::decode(status.details()).unwrap_or_default();
    let named = |any: prost_types::Any| (any.type_url.trim_start_matches("type.googleapis.com/").to_owned(), any.value);
    decoded.details.into_iter().map(named).collect()
}

/// An error that an agent reported: it has the request, and who has to mend it follows from the kind.
pub fn of_agent(error: Error) -> Error {
    // That an agent knows no such task is for the caller to mend; that it broke, or has no time or room, is not.
    let origin = match error.kind() {
        Kind::Internal | Kind::Canceled | Kind::Overloaded | Kind::DeadlineExceeded => Origin::Agent,
        kind => kind.usual_origin(),
    };
    error.origin_is(origin).sent_is(Sent::Sent)
}

/// The error that an agent's gRPC status is to us.
pub fn from_agent(status: &Status) -> Error {
    let details = details_of(status);
    let detail = |name: &str| {
        details.iter().find(|(found, _)| found.strip_prefix("google.rpc.") == Some(name)).map(|(_, bytes)| &bytes[..])
    };
    let info = detail("ErrorInfo").and_then(|bytes| pb::ErrorInfo::decode(bytes).ok()).unwrap_or_default();
    let code = status.code() as i32;
    let kind = Kind::from_reason(&info.reason).unwrap_or(Kind::from_status(code));
    let message = if status.message().is_empty() { "the agent reported an error" } else { status.message() };
    let mut error = of_agent(Error::new(kind, message));
    for (name, value) in info.metadata.into_iter().take(TAKEN_MAX) {
        error = error.info(name, value);
    }
    let bad = detail("BadRequest").and_then(|bytes| pb::BadRequest::decode(bytes).ok()).unwrap_or_default();
    for violation in bad.field_violations.into_iter().take(TAKEN_MAX) {
        error = error.violation(FieldViolation { field: violation.field, description: violation.description });
    }
    error.agent_said(AgentError::Status {
        version: Version::V1_0,
        code,
        message: status.message().to_owned(),
        details: Bytes::copy_from_slice(status.details()),
    })
}

#[derive(Deserialize)]
struct JsonDetail {
    #[serde(rename = "@type", default)]
    type_url: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
    #[serde(rename = "fieldViolations", default)]
    field_violations: Vec<JsonViolation>,
}

#[derive(Deserialize)]
struct JsonViolation {
    #[serde(default)]
    field: String,
    #[serde(default)]
    description: String,
}

fn read_details(data: &[u8]) -> Vec<JsonDetail> {
    // What an agent puts there is anything; what cannot be read is not there.
    let details: Vec<Value> = serde_json::from_slice(data).unwrap_or_default();
    details.into_iter().take(TAKEN_MAX).filter_map(|detail| serde_json::from_value(detail).ok()).collect()
}

/// `error` with what a JSON array of details says more.
pub fn with_json_details(mut error: Error, data: &[u8]) -> Error {
    for detail in read_details(data) {
        if detail.type_url.ends_with("google.rpc.ErrorInfo") {
            for (name, value) in detail.metadata.into_iter().take(TAKEN_MAX) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                error = error.info(name, text);
            }
        }
        for violation in detail.field_violations.into_iter().take(TAKEN_MAX) {
            error = error.violation(FieldViolation { field: violation.field, description: violation.description });
        }
    }
    error
}

/// An error as AIP-193 writes it: `{"error":{"code","status","message","details"}}`. An agent's own goes on as it was.
pub fn write_json(error: &Error) -> (u16, Bytes) {
    if let Some(AgentError::Http { version: Version::V1_0, status, body }) = error.from_agent() {
        return (*status, body.clone());
    }
    let row = error.kind().row();
    let body = json!({ "error": {
        "code": row.http,
        "status": row.grpc.name(),
        "message": error.message(),
        "details": json_details(error),
    }});
    (row.http, Bytes::from(body.to_string()))
}

#[derive(Deserialize)]
struct JsonError<'a> {
    #[serde(borrow)]
    error: JsonStatus<'a>,
}

#[derive(Deserialize)]
struct JsonStatus<'a> {
    #[serde(default)]
    code: Option<serde_json::Number>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(borrow, default)]
    details: Option<&'a serde_json::value::RawValue>,
}

/// The error that an agent's body with this HTTP status is to us; none when it is no error of AIP-193. In a stream
/// there is no HTTP status beside the body.
pub fn read_json(http: Option<u16>, body: &Bytes) -> Option<Error> {
    let JsonError { error: said } = serde_json::from_slice(body).ok()?;
    let details = said.details.map(|details| details.get().as_bytes()).unwrap_or_default();
    let reason = read_details(details).into_iter().find(|detail| !detail.reason.is_empty()).map(|detail| detail.reason);
    let code = said.status.as_deref().map_or(Code::Unknown, code_by_name);
    let kind = reason.as_deref().and_then(Kind::from_reason).unwrap_or(Kind::from_status(code as i32));
    let message = said.message.filter(|message| !message.is_empty());
    let error = of_agent(Error::new(kind, message.as_deref().unwrap_or("the agent reported an error")));
    let in_body = said.code.and_then(|code| u16::try_from(code.as_u64()?).ok());
    let status = http.or(in_body).filter(|status| (400..=599).contains(status)).unwrap_or(500);
    Some(with_json_details(error, details).agent_said(AgentError::Http {
        version: Version::V1_0,
        status,
        body: body.clone(),
    }))
}

fn code_by_name(name: &str) -> Code {
    let known = (0..=16).map(Code::from_i32).find(|code| {
        let screaming: String = format!("{code:?}").chars().enumerate().fold(String::new(), |mut out, (at, letter)| {
            if letter.is_ascii_uppercase() && at > 0 {
                out.push('_');
            }
            out.push(letter.to_ascii_uppercase());
            out
        });
        screaming == name
    });
    known.unwrap_or(Code::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_code_of_an_agent_that_says_too_much_and_knows_whose_it_is() {
        let said = Status::new(Code::Aborted, "x".repeat(MESSAGE_BYTES_MAX + 1));
        let told = of(&from_agent(&said));
        assert_eq!((told.code(), told.message().len()), (Code::Aborted, MESSAGE_BYTES_MAX));
        for code in [Code::Cancelled, Code::ResourceExhausted, Code::DeadlineExceeded] {
            assert_eq!(from_agent(&Status::new(code, "")).origin(), Origin::Agent, "{code:?}");
        }
    }

    #[test]
    fn tells_the_same_in_both_spellings() {
        let error = Error::invalid("message.parts", "is required").info("taskId", "t");
        let status = of(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = details_of(&status);
        assert_eq!(details[0].0, "google.rpc.ErrorInfo");
        let again = from_agent(&status);
        assert_eq!((again.kind(), again.metadata()["taskId"].as_str()), (Kind::InvalidParams, "t"));
        assert_eq!(again.violations(), error.violations());
        let (http, body) = write_json(&error);
        let again = read_json(Some(http), &body).unwrap();
        assert_eq!((http, again.kind(), again.violations()), (400, Kind::InvalidParams, error.violations()));
        assert_eq!(again.metadata(), error.metadata());
    }

    #[test]
    fn hands_an_agents_own_error_on_as_it_was() {
        let odd = Status::with_details(Code::DataLoss, "odd", Bytes::from_static(b"\x01odd"));
        let error = from_agent(&odd);
        assert_eq!(error.kind(), Kind::AgentFailed);
        let on = of(&error);
        assert_eq!((on.code(), on.message(), on.details()), (Code::DataLoss, "odd", &b"\x01odd"[..]));
        let body = Bytes::from_static(br#"{"error":{"code":418,"status":"TEAPOT","message":"no","x":1}}"#);
        let error = read_json(Some(418), &body).unwrap();
        assert_eq!(write_json(&error), (418, body));
        assert!(read_json(Some(404), &Bytes::from_static(b"{\"detail\":\"Not Found\"}")).is_none());
    }

    #[test]
    fn knows_the_codes_by_name() {
        assert_eq!(code_by_name("FAILED_PRECONDITION"), Code::FailedPrecondition);
        assert_eq!(code_by_name("CANCELLED"), Code::Cancelled);
        assert_eq!(code_by_name("NOPE"), Code::Unknown);
    }
}
