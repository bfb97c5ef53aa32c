//! Replies as server-sent events: one JSON-RPC response an event (A2A 9.4.2), or one bare `StreamResponse` (A2A 11.7).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::time::timeout;

use super::respond::NOSNIFF;
use crate::call::{EventStream, Form};
use crate::error::Error;
use crate::operation::Version;
use crate::wire::content::EventWriter;
use crate::wire::{jsonrpc, sse, status};

/// What stands around an event.
pub(super) enum Envelope {
    JsonRpc { id: Bytes, version: Version },
    None { version: Version },
}

impl Envelope {
    fn result(&self, result: &[u8]) -> Bytes {
        match self {
            Self::JsonRpc { id, .. } => {
                let (start, end) = jsonrpc::write_result(id);
                sse::write_event(None, &[&start, result, &end])
            }
            Self::None { .. } => sse::write_event(None, &[result]),
        }
    }

    fn error(&self, error: &Error) -> Bytes {
        match self {
            // 0.3 knows no event names.
            Self::JsonRpc { id, version: Version::V0_3 } => {
                sse::write_event(None, &[&jsonrpc::write_error(id, error, Version::V0_3)])
            }
            Self::JsonRpc { id, version } => {
                sse::write_event(Some("error"), &[&jsonrpc::write_error(id, error, *version)])
            }
            Self::None { version: Version::V1_0 } => sse::write_event(Some("error"), &[&status::write_json(error).1]),
            Self::None { version: Version::V0_3 } => {
                sse::write_event(Some("error"), &[&status::v0_3::write_json(error).1])
            }
        }
    }
}

struct Writing {
    events: EventStream,
    writer: EventWriter,
    envelope: Envelope,
    keep_alive: Duration,
    ready: VecDeque<Bytes>,
    done: bool,
}

/// A response that pulls `events` as the caller reads. When the caller leaves, it is dropped, and so are they. After
/// a silence of `keep_alive` it has a comment.
pub(super) fn response(events: EventStream, envelope: Envelope, form: Form, keep_alive: Duration) -> Response {
    let writing =
        Writing { events, writer: EventWriter::new(form), envelope, keep_alive, ready: VecDeque::new(), done: false };
    let frames = futures_util::stream::unfold(writing, |mut writing| async move {
        let frame = writing.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(frame)), writing))
    });
    event_stream(Body::new(StreamBody::new(frames)))
}

/// A stream of one event.
pub(super) fn single(data: &[u8]) -> Response {
    event_stream(Body::from(sse::write_event(None, &[data])))
}

fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend([NOSNIFF]);
    // nginx buffers responses unless told not to.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

impl Writing {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.done {
                return None;
            }
            let Ok(event) = timeout(self.keep_alive, self.events.next()).await else {
                return Some(sse::KEEP_ALIVE);
            };
            let written = match event {
                None => {
                    self.done = true;
                    continue;
                }
                Some(event) => event.and_then(|event| self.writer.write(event)),
            };
            match written {
                Ok(results) => self.ready.extend(results.iter().map(|result| self.envelope.result(result))),
                Err(error) => {
                    self.done = true;
                    self.ready.push_back(self.envelope.error(&error));
                }
            }
        }
    }
}
