//! Replies as server-sent events: one JSON-RPC response an event (A2A 9.4.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::time::timeout;

use super::{Asked, Doors};
use crate::call::EventStream;
use crate::error::Error;
use crate::operation::Version;
use crate::wire::json::EventWriter;
use crate::wire::jsonrpc;
use crate::wire::sse;

struct Writing {
    events: EventStream,
    writer: EventWriter,
    id: Bytes,
    version: Version,
    keep_alive: Duration,
    ready: VecDeque<Bytes>,
    done: bool,
}

/// A response that pulls `events` as the caller reads. When the caller leaves, it is dropped, and so are they.
pub(super) fn response(doors: &Doors, asked: &Asked, events: EventStream) -> Response {
    let writing = Writing {
        events,
        writer: EventWriter::new(asked.version),
        id: asked.id.clone(),
        version: asked.version,
        keep_alive: doors.gateway.settings.timeouts.keep_alive,
        ready: VecDeque::new(),
        done: false,
    };
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
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
                Ok(results) => {
                    let (start, end) = jsonrpc::write_result(&self.id);
                    self.ready.extend(results.iter().map(|result| sse::write_event(None, &[&start, result, &end])));
                }
                Err(error) => {
                    self.done = true;
                    self.ready.push_back(self.error(&error));
                }
            }
        }
    }

    fn error(&self, error: &Error) -> Bytes {
        // A2A 9.4.2; 0.3 knows no event names.
        let name = (self.version == Version::V1_0).then_some("error");
        sse::write_event(name, &[&jsonrpc::write_error(&self.id, error, self.version)])
    }
}
