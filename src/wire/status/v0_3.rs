//! Errors as 0.3 has them by gRPC and by HTTP+JSON: a name before the text, and no details.
//!
//! By gRPC the SDKs of 1.x tell errors apart by that name, those of 0.3 by the code and by what was asked. By HTTP+JSON
//! there are as many forms as SDKs; what is written here has the members of all of them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::{MESSAGE_BYTES_MAX, of_agent};
use crate::error::{AgentError, Error, KINDS, Kind};
use crate::operation::{Rpc, Version};

/// The status that tells a caller of 0.3's gRPC about `error`. An agent's own of the same version goes on as it was.
pub fn of(error: &Error) -> Status {
    if let Some(AgentError::Status { version: Version::V0_3, code, message, .. }) = error.from_agent()
        && message.len() <= MESSAGE_BYTES_MAX
    {
        return Status::new(Code::from_i32(*code), message.clone());
    }
    let row = error.kind().row();
    let message = format!("{}: {}", row.legacy.name, error.message());
    let message = &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    Status::new(Code::from_i32(row.legacy.grpc as i32), message)
}

/// An error by HTTP+JSON: `{"type","code","message"}` with its status. An agent's own keeps its status and members.
pub fn write_json(error: &Error) -> (u16, Bytes) {
    let old = error.kind().row().legacy;
    let ours = json!({ "type": old.name, "code": old.jsonrpc, "message": error.message() });
    if let Some(AgentError::Http { version: Version::V0_3, status, body }) = error.from_agent() {
        // What one SDK leaves out, the clients of another need.
        let theirs = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
        let is_whole = ["type", "code"].iter().any(|name| theirs.contains_key(*name));
        let Value::Object(mut both) = ours else { unreachable!("it was made an object above") };
        both.extend(theirs);
        return (*status, if is_whole { body.clone() } else { Bytes::from(Value::Object(both).to_string()) });
    }
    (old.http, Bytes::from(ours.to_string()))
}

/// The error that a 0.3 agent's gRPC status is to us, which answered to this operation.
pub fn from_agent(status: &Status, rpc: Rpc) -> Error {
    let code = status.code() as i32;
    let named = status.message().split_once(": ").and_then(|(name, text)| Some((by_name(name)?, text)));
    let (kind, text) = named.unwrap_or((by_code(code, rpc), status.message()));
    let text = if text.is_empty() { "the agent reported an error" } else { text };
    of_agent(Error::new(kind, text)).agent_said(AgentError::Status {
        version: Version::V0_3,
        code,
        message: status.message().to_owned(),
        details: Bytes::new(),
    })
}

/// The kind of this name; what 0.3 does not know is an internal error there.
fn by_name(name: &str) -> Option<Kind> {
    let known = [Kind::Internal].into_iter().chain(KINDS);
    let is_standard = |kind: &Kind| (*kind as usize) <= (Kind::Internal as usize);
    let name = if name.ends_with("Error") { name.to_owned() } else { format!("{name}Error") };
    known.filter(is_standard).find(|kind| kind.row().legacy.name == name)
}

const fn is_push(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::CreatePushConfig | Rpc::GetPushConfig | Rpc::ListPushConfigs | Rpc::DeletePushConfig)
}

/// What a code without a name says, by what was asked.
const fn by_code(code: i32, rpc: Rpc) -> Kind {
    match (code, rpc) {
        (5 | 9, Rpc::GetExtendedAgentCard) => Kind::ExtendedAgentCardNotConfigured,
        (9, Rpc::CancelTask) => Kind::TaskNotCancelable,
        (9, _) => Kind::UnsupportedOperation,
        (12, _) if is_push(rpc) => Kind::PushNotificationNotSupported,
        (code, _) => Kind::from_status(code),
    }
}

/// The forms that agents have: each has some of these.
#[derive(Deserialize)]
struct Said {
    #[serde(default, rename = "type")]
    name: Option<String>,
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

/// The error that a 0.3 agent's body with this HTTP status is to us; none when it is no error of A2A. In a stream there
/// is no HTTP status beside the body.
pub fn read_json(http: Option<u16>, body: &Bytes, rpc: Rpc) -> Option<Error> {
    if let Some(error) = super::read_json(http, body) {
        let (status, body) = (http.unwrap_or(500), body.clone());
        return Some(error.agent_said(AgentError::Http { version: Version::V0_3, status, body }));
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    let message = said.message.filter(|message| !message.is_empty())?;
    let by_number = said.code.map(Kind::from_jsonrpc).filter(|kind| *kind != Kind::AgentFailed);
    let kind = said.name.as_deref().and_then(by_name).or(by_number);
    let kind = match (kind, http) {
        (Some(kind), _) => kind,
        (None, Some(status)) => by_status(status, rpc),
        // An event that has a message and nothing else is no error.
        (None, None) if said.code.is_none() && said.name.is_none() => return None,
        (None, None) => Kind::AgentFailed,
    };
    let status = http.filter(|status| (400..=599).contains(status)).unwrap_or(kind.row().legacy.http);
    let own = AgentError::Http { version: Version::V0_3, status, body: body.clone() };
    Some(of_agent(Error::new(kind, message)).agent_said(own))
}

const fn by_status(status: u16, rpc: Rpc) -> Kind {
    match (status, rpc) {
        (404, Rpc::GetExtendedAgentCard) => Kind::ExtendedAgentCardNotConfigured,
        (404, _) => Kind::TaskNotFound,
        (400, _) => Kind::InvalidRequest,
        (409, _) => Kind::TaskNotCancelable,
        (415, _) => Kind::ContentTypeNotSupported,
        (422, _) => Kind::InvalidParams,
        (501, _) if is_push(rpc) => Kind::PushNotificationNotSupported,
        (501, _) => Kind::UnsupportedOperation,
        (502, _) => Kind::InvalidAgentResponse,
        (500, _) => Kind::Internal,
        _ => Kind::AgentFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_and_reads_errors_by_their_names() {
        for kind in KINDS.into_iter().filter(|kind| (*kind as usize) <= (Kind::Internal as usize)) {
            let told = of(&Error::new(kind, "why"));
            let old = kind.row().legacy;
            assert_eq!((told.message(), told.details()), (&*format!("{}: why", old.name), &b""[..]));
            let read = from_agent(&told, Rpc::GetTask);
            assert_eq!((read.kind().row().legacy.name, read.message()), (old.name, "why"));
            assert_eq!(of(&read).message(), told.message(), "and hands it on as it was");
            let (http, body) = write_json(&Error::new(kind, "why"));
            let read = read_json(Some(http), &body, Rpc::GetTask).unwrap();
            assert_eq!((read.kind().row().legacy.name, read.message(), http), (old.name, "why", old.http));
        }
    }

    #[test]
    fn reads_every_form_of_error_that_agents_have() {
        let read = |http, body: &'static str, rpc| {
            read_json(http, &Bytes::from_static(body.as_bytes()), rpc).map(|error| error.kind())
        };
        assert_eq!(read(Some(404), r#"{"message":"no"}"#, Rpc::GetTask), Some(Kind::TaskNotFound));
        assert_eq!(
            read(Some(501), r#"{"message":"no"}"#, Rpc::GetPushConfig),
            Some(Kind::PushNotificationNotSupported)
        );
        assert_eq!(
            read(Some(400), r#"{"code":-32002,"message":"no"}"#, Rpc::CancelTask),
            Some(Kind::TaskNotCancelable)
        );
        assert_eq!(read(None, r#"{"code":-32603,"message":"no"}"#, Rpc::GetTask), Some(Kind::Internal));
        let aip = r#"{"error":{"code":404,"status":"NOT_FOUND","message":"no","details":[]}}"#;
        assert_eq!(read(Some(404), aip, Rpc::GetTask), Some(Kind::TaskNotFound));
        assert_eq!(read(None, r#"{"message":{"messageId":"m"}}"#, Rpc::SendStreamingMessage), None);
        assert_eq!(read(Some(404), r#"{"detail":"Not Found"}"#, Rpc::GetTask), None);
        let bare = |code, rpc| from_agent(&Status::new(code, "no"), rpc).kind();
        assert_eq!(bare(Code::FailedPrecondition, Rpc::CancelTask), Kind::TaskNotCancelable);
        assert_eq!(bare(Code::Unimplemented, Rpc::CreatePushConfig), Kind::PushNotificationNotSupported);
        assert_eq!(bare(Code::NotFound, Rpc::GetTask), Kind::TaskNotFound);
    }
}
