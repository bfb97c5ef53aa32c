//! Where the events of a stream come from: server-sent events around JSON-RPC or HTTP+JSON, or gRPC messages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::call::{Event, FileBytes};
use crate::config::JsonLimits;
use crate::error::{Error, Kind, Sent};
use crate::operation::{Rpc, Version};
use crate::outbound::ReplyBody;
use crate::upstream::Upstream;
use crate::upstream::failure::of_body;
use crate::upstream::grpc::{self, GrpcDecode};
use crate::wire::body::{Budget, Passing};
use crate::wire::grpc::Encoded;
use crate::wire::jsonrpc::{self, Outcome};
use crate::wire::proto::v0_3;
use crate::wire::sse::{EventTooLarge, SseReader};
use crate::wire::{json, proto, status};

/// Events from this size on take a share of the memory budget; smaller ones are bounded by their number.
const LARGE_EVENT_BYTES: usize = 64 << 10;

/// An agent's events, pulled one by one.
pub(in crate::upstream) enum Source {
    /// A stream that was answered with one result.
    One(Option<Box<Event>>),
    Sse(Box<Sse>),
    Grpc(Box<Grpc>),
    /// Made of answers to unary calls; it minds its own silence.
    Unfolded(BoxStream<'static, Result<Event, Error>>),
}

/// Why there is no next event.
pub(super) enum Broken {
    /// Nothing came for too long.
    Silent,
    /// The connection broke, or the stream was ended without an error of the agent's.
    Off(Error),
    /// What came is an error, or cannot be taken.
    Content(Error),
}

/// How the data of a server-sent event is read.
pub(in crate::upstream) enum Decode {
    /// Each is a whole response (A2A 9.4.2).
    JsonRpc { id: Bytes, version: Version },
    /// Each is a bare `StreamResponse`, or an error (A2A 11.7).
    Rest,
    /// The same of 0.3, in answer to this operation.
    RestV0_3 { rpc: Rpc, files: FileBytes },
}

pub(in crate::upstream) struct Sse {
    body: ReplyBody,
    body_ended: bool,
    reader: SseReader,
    decode: Decode,
    /// Data that was taken from the reader and not yet read.
    unread: Option<Bytes>,
    limits: JsonLimits,
    budget: Budget,
}

pub(in crate::upstream) struct Grpc {
    events: Streaming<Encoded<()>>,
    decode: GrpcDecode,
    /// What of the next event has come.
    passing: Arc<Mutex<Passing>>,
    unread: Option<Bytes>,
    limits: JsonLimits,
    budget: Budget,
}

impl Source {
    pub(in crate::upstream) fn sse(body: ReplyBody, decode: Decode, upstream: &Upstream) -> Self {
        let limits = &upstream.settings.limits;
        Self::Sse(Box::new(Sse {
            body,
            body_ended: false,
            reader: SseReader::new(limits.event_bytes_max),
            decode,
            unread: None,
            limits: limits.json,
            budget: upstream.budget.clone(),
        }))
    }

    pub(in crate::upstream) fn grpc(
        events: Streaming<Encoded<()>>,
        passing: Arc<Mutex<Passing>>,
        decode: GrpcDecode,
        upstream: &Upstream,
    ) -> Self {
        let limits = upstream.settings.limits.json;
        Self::Grpc(Box::new(Grpc { events, decode, passing, unread: None, limits, budget: upstream.budget.clone() }))
    }

    /// The next event, or none at the end; nothing may be silent for longer than `idle`, comments counting as life. May
    /// be dropped and called again: nothing is lost.
    pub(super) async fn next(&mut self, idle: Duration) -> Result<Option<Event>, Broken> {
        match self {
            Self::One(event) => Ok(event.take().map(|event| *event)),
            Self::Sse(sse) => sse.next(idle).await,
            Self::Grpc(grpc) => grpc.next(idle).await,
            Self::Unfolded(events) => events.next().await.transpose().map_err(Broken::Content),
        }
    }
}

impl Sse {
    async fn next(&mut self, idle: Duration) -> Result<Option<Event>, Broken> {
        loop {
            if self.unread.is_none() {
                self.unread = self.reader.next_data().map_err(too_large)?;
            }
            if self.unread.is_some() {
                let data = held(&mut self.unread, &self.budget).await?;
                return self.read(&data).map(Some).map_err(Broken::Content);
            }
            if self.body_ended {
                return Ok(None);
            }
            match timeout(idle, self.body.frame()).await.map_err(|_| Broken::Silent)? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.reader.push(data);
                    }
                }
                Some(Err(error)) => return Err(Broken::Off(broke_off().because(error))),
                None => {
                    self.body_ended = true;
                    self.unread = self.reader.finish().map_err(too_large)?;
                }
            }
        }
    }

    fn read(&self, data: &Bytes) -> Result<Event, Error> {
        match &self.decode {
            Decode::JsonRpc { id, version } => match jsonrpc::read_reply(data, id, *version)? {
                Outcome::Error(error) => Err(error),
                Outcome::Result(result) => json::read_event(*version, result, &self.limits),
            },
            Decode::RestV0_3 { rpc, files } => {
                let event = v0_3::read_event_json(data, &self.limits, *files);
                event.map_err(|unusable| status::v0_3::read_json(None, data, *rpc).unwrap_or(unusable))
            }
            Decode::Rest => {
                let not_json = || Error::new(Kind::InvalidAgentResponse, "an event of the agent is no JSON object");
                json::is_object(data).map_err(|_| not_json())?;
                let event = json::read_event(Version::V1_0, data.clone(), &self.limits);
                // That it is an error stands in its data, whatever the event is called.
                event.map_err(|unusable| status::read_json(None, data).unwrap_or(unusable))
            }
        }
    }
}

impl Grpc {
    async fn next(&mut self, idle: Duration) -> Result<Option<Event>, Broken> {
        if self.unread.is_none() {
            match timeout(idle, self.events.message()).await.map_err(|_| Broken::Silent)? {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => {
                    self.passing.lock().expect("no code panics while holding this").arrived();
                    self.unread = Some(message.bytes);
                }
                Err(status) => {
                    let error = grpc::of_status(&status, self.decode.version, self.decode.rpc);
                    // An agent that goes away breaks off; all else is what it says.
                    let is_off = status.code() == Code::Unavailable || error.kind() == Kind::UpstreamUnavailable;
                    return Err(if is_off { Broken::Off(error.sent_is(Sent::Sent)) } else { Broken::Content(error) });
                }
            }
        }
        let data = held(&mut self.unread, &self.budget).await?;
        let event = match self.decode.version {
            Version::V1_0 => proto::read_event(data, &self.limits),
            Version::V0_3 => v0_3::read_event(data, &self.limits, self.decode.files),
        };
        event.map(Some).map_err(Broken::Content)
    }
}

/// Takes what is unread. It stays unread while this waits for memory, for the caller may stop waiting.
async fn held(unread: &mut Option<Bytes>, budget: &Budget) -> Result<Bytes, Broken> {
    let mut data = unread.clone().unwrap_or_default();
    if data.len() >= LARGE_EVENT_BYTES {
        data = budget.hold(data).await.map_err(|error| Broken::Content(of_body(error)))?;
    }
    *unread = None;
    Ok(data)
}

fn broke_off() -> Error {
    let message = "the agent's stream broke off: subscribe to the task, or get it";
    Error::new(Kind::UpstreamUnavailable, message).sent_is(Sent::Sent)
}

fn too_large(error: EventTooLarge) -> Broken {
    let message = "an event of the agent's stream is larger than allowed";
    Broken::Content(Error::new(Kind::InvalidAgentResponse, message).because(error))
}
