//! Why a call failed, and how that looks on every wire.
//!
//! A failure crosses the middle as one [`Error`] of one [`Kind`]. A kind is something that a caller can act on
//! differently; each is one row of one table, in both protocol versions. No binding, handler or adapter picks a
//! code of its own, and the table has no catch-all arm, so a new kind does not compile until it has its row.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::operation::{Binding, Version};

mod table;

pub use table::{Code, KINDS, Kind, Legacy, Row};

/// Who has to fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Caller,
    Gateway,
    Agent,
}

/// The endpoint at which a call failed, for the record; callers never see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAt {
    pub endpoint: Arc<str>,
    pub binding: Binding,
    pub version: Version,
}

/// Whether the request may have reached the agent, hence whether a repeat is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing left the gateway, or nothing arrived.
    NotSent,
    /// The connection broke: the agent may or may not have it.
    Maybe,
    /// The agent answered.
    Sent,
}

/// A field of the request that is wrong, as `google.rpc.BadRequest` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path in the caller's spelling: `message.parts[0].text`.
    pub field: String,
    /// What is wrong and what to do.
    pub description: String,
}

/// An agent's own error, which reaches callers of the same binding family unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentError {
    JsonRpc {
        /// The version that the agent spoke.
        version: Version,
        code: i64,
        /// The whole error object as received.
        object: Bytes,
        /// Its `data` member as received, if there was one.
        data: Option<Bytes>,
    },
    /// HTTP+JSON: a status and its JSON body.
    Http { version: Version, status: u16, body: Bytes },
    /// gRPC: a code, which need not be one that we know, a message, and `grpc-status-details-bin` decoded from base64.
    Status { version: Version, code: i32, message: String, details: Bytes },
}

/// A failed call. One pointer wide, so that `Result`s stay small.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    origin: Origin,
    sent: Sent,
    message: String,
    retry_after: Option<Duration>,
    violations: Vec<FieldViolation>,
    info: BTreeMap<String, String>,
    from_agent: Option<AgentError>,
    failed_at: Option<FailedAt>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Sent {
    /// As the record has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Maybe => "maybe",
            Self::Sent => "sent",
        }
    }
}

impl Error {
    /// An error of `kind` with a message for the caller: it may name their input, never our hosts or secrets.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            origin: kind.usual_origin(),
            sent: if kind.usual_origin() == Origin::Agent { Sent::Sent } else { Sent::NotSent },
            message: message.into(),
            retry_after: None,
            violations: Vec::new(),
            info: BTreeMap::new(),
            from_agent: None,
            failed_at: None,
            source: None,
        }))
    }

    /// An [`Kind::InvalidParams`] that names the field.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let message = format!("{field}: {description}");
        Self::new(Kind::InvalidParams, message).violation(FieldViolation { field, description })
    }

    #[must_use]
    pub fn origin_is(mut self, origin: Origin) -> Self {
        self.0.origin = origin;
        self
    }

    #[must_use]
    pub fn sent_is(mut self, sent: Sent) -> Self {
        self.0.sent = sent;
        self
    }

    #[must_use]
    pub fn retry_after_is(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    #[must_use]
    pub fn violation(mut self, violation: FieldViolation) -> Self {
        self.0.violations.push(violation);
        self
    }

    /// More about it for programs: an entry of `google.rpc.ErrorInfo.metadata`.
    #[must_use]
    pub fn info(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.info.insert(name.into(), value.into());
        self
    }

    #[must_use]
    pub fn agent_said(mut self, error: AgentError) -> Self {
        self.0.from_agent = Some(error);
        self
    }

    #[must_use]
    pub fn at(mut self, endpoint: &Arc<str>, binding: Binding, version: Version) -> Self {
        self.0.failed_at = Some(FailedAt { endpoint: Arc::clone(endpoint), binding, version });
        self
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    pub fn sent(&self) -> Sent {
        self.0.sent
    }

    /// For the caller.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// When a repeat may succeed, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// The metadata of its `google.rpc.ErrorInfo`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.info
    }

    pub fn failed_at(&self) -> Option<&FailedAt> {
        self.0.failed_at.as_ref()
    }

    pub fn from_agent(&self) -> Option<&AgentError> {
        self.0.from_agent.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// For logs: the kind, the message and the chain of sources; never the agent's data.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.row().reason, self.0.message)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
