//! What JSON-RPC and HTTP+JSON share: a request with a JSON body, and what comes back over HTTP.

use std::pin::pin;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::exchange::Exchange;
use super::failure;
use crate::error::{Error, Kind, Sent};
use crate::outbound::{Destination, ReplyBody};
use crate::wire::body::{self, Pace, Pieces};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream, application/json");

/// A request as it is to go, perhaps twice.
pub(super) struct Outgoing {
    pub(super) to: Destination,
    pub(super) verb: Method,
    /// None inside: no body.
    pub(super) body: Option<[Bytes; 3]>,
    pub(super) accept: HeaderValue,
}

impl Exchange<'_> {
    /// Sends a request; one 307 or 308 within the origin is followed, for it asks to repeat what was not taken. How
    /// often it was sent comes back with the answer.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<(Response<ReplyBody>, u32), Error> {
        let mut to = outgoing.to;
        for attempt in 1.. {
            let body = outgoing.body.clone().map_or_else(Pieces::empty, Pieces::new);
            let mut request = Request::new(body);
            *request.method_mut() = outgoing.verb.clone();
            *request.headers_mut() = self.headers.clone();
            request.headers_mut().insert(ACCEPT, outgoing.accept.clone());
            if outgoing.body.is_some() {
                request.headers_mut().insert(CONTENT_TYPE, JSON);
            }
            let response = {
                let answered = pin!(self.upstream.outbound.send(&to, request));
                failure::in_time(self.patience.head(), answered.map_err(failure::of_outbound)).await?
            };
            match redirect(&to, &response).filter(|_| attempt == 1) {
                Some(elsewhere) => to = elsewhere,
                None => return Ok((response, attempt)),
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Reads a whole reply.
    pub(super) async fn read(&self, body: ReplyBody) -> Result<Bytes, Error> {
        let settings = &self.upstream.settings;
        let pace =
            Pace { bytes_max: settings.limits.reply_bytes_max, pause_max: self.patience.idle, bytes_per_second_min: 0 };
        let whole = body::read(body, pace, &self.upstream.budget, self.upstream.clock.instant()).await;
        whole.map_err(failure::of_body)
    }
}

fn redirect(from: &Destination, response: &Response<ReplyBody>) -> Option<Destination> {
    let follows = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if follows { from.redirected(response.headers()) } else { None }
}

/// Whether the answer is a stream of events.
pub(super) fn is_event_stream<B>(response: &Response<B>) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_events = value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream");
    is_events && response.status().is_success()
}

/// We ask for no encoding, so there must be none.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Error> {
    if body::is_encoded(headers) {
        let message = "the agent's answer is compressed, which was not asked for";
        return Err(Error::new(Kind::InvalidAgentResponse, message).sent_is(Sent::Sent));
    }
    Ok(())
}
