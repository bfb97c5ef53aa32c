//! A gateway is a function from [`Call`] to [`Reply`]. Every door makes a `Call`, every upstream consumes one.
//!
//! Requests are typed at once, for validation and policy need all of them; answers and events are typed lazily: a
//! [`Peek`] serves ownership and the record, and the bytes go on as they came unless something must be translated.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::{Rates, Role, Settings};
use crate::error::Error;
use crate::operation::{Binding, Operation, Rpc, Version};
use crate::proto::{self, TaskState};

/// Identifies a call for as long as there are records: a UUIDv7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub Uuid);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a key; stays the same when the key is rotated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub Arc<str>);

/// Identifies a team.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TeamId(pub Arc<str>);

/// Who calls, as known from the headers alone. Two callers are the same if their key is.
#[derive(Clone, Debug)]
pub struct Caller {
    pub key: KeyId,
    /// What the operator calls this key.
    pub name: Arc<str>,
    pub team: Option<TeamId>,
    /// The person that the key stands for.
    pub user: Option<Arc<str>>,
    /// The id of the agent that the key stands for.
    pub agent: Option<Arc<str>>,
    pub role: Role,
    /// When it ceases to be a key, in microseconds since 1970.
    pub expires_at: Option<i64>,
    pub grants: Arc<Grants>,
    pub rates: Rates,
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Caller {}

/// What a key or a team may call, as names and ids; whether that reaches an agent is for access to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    pub all_agents: bool,
    /// Whether naming nothing stands for `default_access`; in the configuration it stands for nothing.
    pub may_default: bool,
    /// Ids; for keys of the configuration its names, which only the configuration can give to another agent.
    pub agents: HashSet<Box<str>>,
    /// Ids of access groups.
    pub access_groups: HashSet<Box<str>>,
    pub tags: HashSet<Box<str>>,
    /// None: all.
    pub operations: Option<Vec<Rpc>>,
}

impl Grants {
    /// Whether it names nothing to call.
    pub fn is_empty(&self) -> bool {
        !self.all_agents && self.agents.is_empty() && self.access_groups.is_empty() && self.tags.is_empty()
    }

    /// Whether it lets this operation pass.
    pub fn allow(&self, rpc: Rpc) -> bool {
        self.operations.as_ref().is_none_or(|operations| operations.contains(&rpc))
    }
}

/// What a caller called the agent: its name, its id, or an alias.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentName(pub Arc<str>);

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
}

/// The agent whose own address a request came to.
#[derive(Clone, Debug)]
pub struct MeantByAddress(pub AgentName);

/// What is known of a request before its body is read.
#[derive(Debug)]
pub struct Arrival {
    pub id: CallId,
    pub received: Instant,
    pub binding: Binding,
    pub peer: Peer,
    /// Who sent it, as far as a trusted proxy before us says; else the peer's address. Failed keys are counted by it, and
    /// nothing else is decided by it.
    pub source: IpAddr,
    pub uri: Uri,
    /// What the path, the metadata and the host call the agent; all must mean the same one. With none of them, the
    /// request itself must name it, as its tenant.
    pub selectors: Vec<AgentName>,
    /// The agent's own name, once it is known.
    pub agent: Option<AgentName>,
    /// When the caller stops waiting, as it says.
    pub deadline: Option<Instant>,
    pub headers: HeaderMap,
    pub extensions: Vec<ExtensionUri>,
    /// What is wrong with the head, to be told to a caller who is known.
    pub flaw: Option<Error>,
    pub settings: Arc<Settings>,
}

/// One operation by one caller on one agent, from first byte to last.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: CallId,
    pub caller: Caller,
    pub agent: AgentName,
    pub operation: Operation,
    /// The request as received, when the scan proved that an agent reads in it what policy read.
    pub raw: Option<Raw>,
    /// The id of the caller's JSON-RPC envelope as received, for an agent that speaks JSON-RPC too.
    pub rpc_id: Option<Bytes>,
    pub version: Version,
    /// How the caller reads its reply.
    pub form: Form,
    pub binding: Binding,
    pub received: Instant,
    pub deadline: Option<Instant>,
    pub peer: Peer,
    /// Headers that an agent's entry may ask for. Credentials were taken out; never logged.
    pub forwardable: HeaderMap,
    pub extensions: Vec<ExtensionUri>,
    pub trace: TraceContext,
    pub workflow: WorkflowHint,
    /// Where a broken stream is to be resumed.
    pub resume_after: Option<EventId>,
    pub parent: Option<CallId>,
    /// One snapshot for the whole call.
    pub settings: Arc<Settings>,
}

/// W3C trace context as the caller sent it.
#[derive(Clone, Debug, Default)]
pub struct TraceContext {
    pub traceparent: Option<http::HeaderValue>,
    pub tracestate: Option<http::HeaderValue>,
}

/// What a caller says of the workflow that the call belongs to; trusted for nothing but grouping.
#[derive(Clone, Debug, Default)]
pub struct WorkflowHint(pub Option<Arc<str>>);

/// The URI of an A2A extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionUri(pub String);

/// The header that says which version a message is in (A2A 3.6.1).
pub const A2A_VERSION: HeaderName = HeaderName::from_static("a2a-version");
/// The header of extensions in 1.0 (A2A 3.2.6) and in 0.3.
const EXTENSIONS: HeaderName = HeaderName::from_static("a2a-extensions");
const X_EXTENSIONS: HeaderName = HeaderName::from_static("x-a2a-extensions");
/// Extensions that one request or response may name; more are not read.
const EXTENSIONS_MAX: usize = 32;

impl ExtensionUri {
    /// The extensions that `headers` name, each once, under the name of either version.
    pub fn all_in(headers: &HeaderMap) -> Vec<Self> {
        let values = headers.get_all(EXTENSIONS).iter().chain(headers.get_all(X_EXTENSIONS));
        let uris = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut found: Vec<Self> = Vec::new();
        for uri in uris.map(str::trim).filter(|uri| !uri.is_empty()) {
            if found.len() < EXTENSIONS_MAX && !found.iter().any(|known| known.0 == uri) {
                found.push(Self(uri.to_owned()));
            }
        }
        found
    }

    /// The header that names `extensions` to a peer who speaks `version`; none for no extensions.
    pub fn header(extensions: &[Self], version: Version) -> Option<(HeaderName, HeaderValue)> {
        let name = match version {
            Version::V1_0 => EXTENSIONS,
            Version::V0_3 => X_EXTENSIONS,
        };
        let joined = extensions.iter().map(|uri| uri.0.as_str()).collect::<Vec<_>>().join(",");
        HeaderValue::from_str(&joined).ok().filter(|value| !value.is_empty()).map(|value| (name, value))
    }
}

/// The position of an event in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId(pub String);

/// How bytes spell a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json(Version),
    /// The protobuf messages of 1.0.
    Proto,
    /// The protobuf messages of 0.3.
    ProtoV0_3(FileBytes),
    /// The JSON of these, which is what HTTP+JSON 0.3 speaks.
    ProtoJsonV0_3(FileBytes),
}

/// What the bytes of a file are in the protobuf form of 0.3, in which peers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileBytes {
    /// Written as base64; read as base64 if they can be, else as they are.
    #[default]
    Auto,
    /// The text of their base64, as the Python and Go SDKs have it.
    Base64,
    /// The bytes themselves, as the JavaScript SDK has it.
    Raw,
}

impl Form {
    /// The version whose messages it spells.
    pub const fn version(self) -> Version {
        match self {
            Self::Json(version) => version,
            Self::Proto => Version::V1_0,
            Self::ProtoV0_3(_) | Self::ProtoJsonV0_3(_) => Version::V0_3,
        }
    }

    /// Whether what is written in one can be read in the other, file bytes aside.
    pub fn reads(self, other: Self) -> bool {
        match (self, other) {
            (Self::ProtoV0_3(_), Self::ProtoV0_3(_)) | (Self::ProtoJsonV0_3(_), Self::ProtoJsonV0_3(_)) => true,
            _ => self == other,
        }
    }
}

/// Bytes as received, a slice of the one buffer, and what they are.
#[derive(Clone, Debug)]
pub struct Raw {
    pub form: Form,
    pub bytes: Bytes,
}

/// What came of a call.
pub struct Reply {
    pub meta: ReplyMeta,
    pub body: ReplyBody,
}

/// What is known of a reply beside its content.
#[derive(Clone, Debug, Default)]
pub struct ReplyMeta {
    /// Extensions that the agent says it activated.
    pub extensions: Vec<ExtensionUri>,
    /// The endpoint that answered, as the record names it.
    pub endpoint: Option<Arc<str>>,
    /// The binding by which the endpoint was called.
    pub binding: Option<Binding>,
    /// The version that the endpoint spoke.
    pub version: Option<Version>,
    /// How often the request was sent.
    pub attempts: u32,
}

pub enum ReplyBody {
    One(Answer),
    Stream(EventStream),
}

/// Events in the agent's order. Dropping it hangs up on the agent; an error is its last item.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, Error>> + Send>>;

/// The answer to a unary operation.
#[derive(Clone, Debug)]
pub struct Answer {
    pub rpc: Rpc,
    pub content: Content<Response>,
    pub peek: Peek,
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    pub content: Content<proto::StreamResponse>,
    pub peek: Peek,
}

/// A message as bytes that may go on untouched, or as a typed value.
#[derive(Clone, Debug)]
pub enum Content<T> {
    Raw(Raw),
    Typed(Box<T>),
}

/// The typed answer of a unary operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    SendMessage(proto::SendMessageResponse),
    /// GetTask and CancelTask.
    Task(proto::Task),
    ListTasks(proto::ListTasksResponse),
    /// CreateTaskPushNotificationConfig and GetTaskPushNotificationConfig.
    PushConfig(proto::TaskPushNotificationConfig),
    PushConfigs(proto::ListTaskPushNotificationConfigsResponse),
    Card(proto::AgentCard),
    Deleted,
}

/// What ownership, the record and the end of a stream need to know of an answer or event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    pub kind: Option<PayloadKind>,
    pub task_id: Option<String>,
    pub context_id: Option<String>,
    pub state: Option<TaskState>,
    /// Since when, in microseconds since 1970, if the agent says so.
    pub state_at: Option<i64>,
    /// A 0.3 agent said that this is the last event of its stream.
    pub is_final: bool,
}

/// Which payload an answer or event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    Task,
    Message,
    StatusUpdate,
    ArtifactUpdate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_extensions_once_each_under_both_names_and_not_without_end() {
        let mut headers = HeaderMap::new();
        headers.append(EXTENSIONS, HeaderValue::from_static("https://e/x, https://e/y"));
        headers.append(X_EXTENSIONS, HeaderValue::from_static("https://e/y,, https://e/z"));
        let found = ExtensionUri::all_in(&headers);
        let (name, value) = ExtensionUri::header(&found, Version::V0_3).unwrap();
        assert_eq!((name, value.to_str().unwrap()), (X_EXTENSIONS, "https://e/x,https://e/y,https://e/z"));
        assert_eq!(ExtensionUri::header(&[], Version::V1_0), None);

        let many: Vec<String> = (0..100).map(|at| format!("https://e/{at}")).collect();
        headers.insert(EXTENSIONS, many.join(",").parse().unwrap());
        assert_eq!(ExtensionUri::all_in(&headers).len(), EXTENSIONS_MAX);
    }
}
