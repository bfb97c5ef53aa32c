//! The section `dialect` of an agent: what it does otherwise than A2A says, and what is done about it.

use super::section::Section;
use crate::call::FileBytes;
use crate::operation::Binding;

/// What is said of an agent; what is not said is as its card and its answers show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// What the bytes of files are in the protobuf form of 0.3, where nothing is said of an endpoint.
    pub file_bytes: Option<FileBytes>,
    /// The same of its gRPC endpoint alone.
    pub file_bytes_grpc: Option<FileBytes>,
    /// The same of its HTTP+JSON endpoint alone.
    pub file_bytes_http_json: Option<FileBytes>,
    pub waiting: Option<Waiting>,
    pub streaming: Option<Streaming>,
    pub stream_text: Option<StreamText>,
    /// Whether it refuses requests for a member that is null or that only its framework requires. Then they are written
    /// anew, whatever the caller wrote.
    pub strict_requests: Option<bool>,
}

/// How a call that waits for the end of a task (A2A 3.2.2) is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// What the agent answers is the answer.
    Native,
    /// A task that goes on is asked for until it ends or waits.
    Poll,
    /// The message is sent as a stream, whose events become the answer.
    Stream,
}

/// How a call that streams is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// As a stream.
    Native,
    /// As a call that answers once, whose answer becomes the events.
    Unary,
}

/// What the text of an agent's status messages is within one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamText {
    /// As it is.
    AsIs,
    /// The whole text so far, again and again.
    Cumulative,
    /// What is new, and at the end the whole text once more.
    Repeated,
}

/// A value that the configuration spells.
pub trait Spelled: Copy + PartialEq + 'static {
    /// Every value with its spelling.
    const SPELLINGS: &'static [(&'static str, Self)];

    /// Reads what the configuration says.
    ///
    /// # Errors
    /// What it may say.
    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::SPELLINGS.iter().find(|(spelling, _)| *spelling == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::SPELLINGS.iter().map(|(spelling, _)| *spelling).collect();
            format!("must be one of {}", names.join(", "))
        })
    }

    /// As the configuration spells it.
    fn as_str(self) -> &'static str {
        let found = Self::SPELLINGS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(spelling, _)| spelling)
    }
}

impl Spelled for FileBytes {
    const SPELLINGS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("base64", Self::Base64), ("raw", Self::Raw)];
}

impl Spelled for Waiting {
    const SPELLINGS: &'static [(&'static str, Self)] =
        &[("native", Self::Native), ("poll", Self::Poll), ("stream", Self::Stream)];
}

impl Spelled for Streaming {
    const SPELLINGS: &'static [(&'static str, Self)] = &[("native", Self::Native), ("unary", Self::Unary)];
}

impl Spelled for StreamText {
    const SPELLINGS: &'static [(&'static str, Self)] =
        &[("as_is", Self::AsIs), ("cumulative", Self::Cumulative), ("repeated", Self::Repeated)];
}

impl Spelled for bool {
    const SPELLINGS: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}

impl Dialect {
    /// What the bytes of files are at the endpoint of this binding, in the protobuf form of 0.3.
    pub fn file_bytes_by(&self, binding: Binding) -> FileBytes {
        let own = match binding {
            Binding::Grpc | Binding::Connect | Binding::GrpcWeb => self.file_bytes_grpc,
            Binding::HttpJson => self.file_bytes_http_json,
            Binding::JsonRpc => None,
        };
        own.or(self.file_bytes).unwrap_or_default()
    }

    /// What is said here, and where nothing is said what is said there.
    #[must_use]
    pub fn or(self, noted: Self) -> Self {
        Self {
            file_bytes: self.file_bytes.or(noted.file_bytes),
            file_bytes_grpc: self.file_bytes_grpc.or(noted.file_bytes_grpc),
            file_bytes_http_json: self.file_bytes_http_json.or(noted.file_bytes_http_json),
            waiting: self.waiting.or(noted.waiting),
            streaming: self.streaming.or(noted.streaming),
            stream_text: self.stream_text.or(noted.stream_text),
            strict_requests: self.strict_requests.or(noted.strict_requests),
        }
    }
}

/// Reads the section.
pub(super) fn dialect(section: Section<'_>) -> Dialect {
    fn value<T: Spelled>(section: &Section<'_>, name: &str) -> Option<T> {
        section.parsed(name, "docs/dialects.md says what each means", T::parse)
    }
    let dialect = Dialect {
        file_bytes: value(&section, "file_bytes"),
        file_bytes_grpc: value(&section, "file_bytes_grpc"),
        file_bytes_http_json: value(&section, "file_bytes_http_json"),
        waiting: value(&section, "waiting"),
        streaming: value(&section, "streaming"),
        stream_text: value(&section, "stream_text"),
        strict_requests: value(&section, "strict_requests"),
    };
    section.finish();
    dialect
}
