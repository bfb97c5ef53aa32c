//! The JSON-RPC door, in 1.0 (A2A 9) and 0.3 (its specification, section 7): the method's name says which.
//!
//! Before a caller is admitted to the agent, errors have their HTTP status; afterwards all are HTTP 200, for the
//! SDKs of both generations read a JSON-RPC error only there.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::arrival::{arrival, base_url, call, named_version};
use super::respond::{json_response, with_error_headers};
use super::{Doors, card, closing};
use crate::a2a::card::rewritten;
use crate::call::{AgentName, Answer, Arrival, Caller, Content, ExtensionUri, Reply, ReplyBody, Response as Typed};
use crate::error::{Error, Kind};
use crate::operation::{Binding, Method, Rpc, Version};
use crate::wire::body::{self, BodyError, Pace, Pieces, Whole};
use crate::wire::json;
use crate::wire::jsonrpc::{self, BadEnvelope, NULL_ID};

mod stream;

/// How the path spells the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// By the method's name alone.
    Method,
    /// `/message/stream`: a send is streamed whatever its method says.
    Stream,
}

/// An admitted call on its way, for answering it in the caller's form.
struct Asked {
    id: Bytes,
    version: Version,
    /// The caller reads events.
    streams: bool,
}

pub(super) async fn serve(doors: &Doors, agent: AgentName, spelling: Spelling, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let arrival = arrival(doors, agent, Binding::JsonRpc, &mut head);
    let admitted = doors.gateway.admit(&arrival).and_then(|caller| media_type(&arrival.headers).map(|()| caller));
    let caller = match admitted {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, refused(&error)),
    };
    match read(doors, &arrival, body).await {
        Ok(whole) => admitted_call(doors, arrival, caller, spelling, &head, whole).await,
        Err(error) => closing(head.version, refused(&error)),
    }
}

/// A refusal before the caller was admitted, or of a body that was not read: with its HTTP status.
fn refused(error: &Error) -> Response {
    let body = jsonrpc::write_error(&NULL_ID, error, Version::V1_0);
    with_error_headers(json_response(StatusCode::OK, body), error)
}

/// JSON without an encoding. No type at all is taken for JSON.
fn media_type(headers: &HeaderMap) -> Result<(), Error> {
    const JSON_TYPES: [&str; 4] =
        ["application/json", "application/a2a+json", "application/json-rpc", "application/jsonrequest"];
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "the body must not be compressed: leave Content-Encoding out",
        ));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let value = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if JSON_TYPES.iter().any(|known| value.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(Error::new(Kind::UnsupportedMediaType, "the body must be JSON: send `Content-Type: application/json`"))
}

async fn read(doors: &Doors, arrival: &Arrival, body: Body) -> Result<Whole, Error> {
    let settings = &arrival.settings;
    let pace = Pace {
        bytes_max: settings.limits.body_bytes_max,
        pause_max: settings.timeouts.body_pause,
        bytes_per_second_min: settings.timeouts.body_bytes_per_second_min,
        budget_wait_max: Duration::from_secs(1),
    };
    body::read(body, pace, &doors.gateway.budget, arrival.received).await.map_err(|error| match &error {
        BodyError::TooLarge(limit) => Error::new(
            Kind::RequestTooLarge,
            format!("the body is larger than {limit} bytes, the limit here: send large files by url"),
        ),
        BodyError::TooSlow => Error::new(Kind::RequestTimeout, "the body arrived too slowly"),
        BodyError::NoBudget => Error::new(Kind::Overloaded, "no memory is left for another body: try again")
            .retry_after_is(Duration::from_secs(1)),
        BodyError::Broken(_) => Error::new(Kind::Canceled, "the body broke off").because(error),
    })
}

async fn admitted_call(
    doors: &Doors,
    arrival: Arrival,
    caller: Caller,
    spelling: Spelling,
    head: &Parts,
    whole: Whole,
) -> Response {
    let envelope = match jsonrpc::read_request(&whole.bytes) {
        Ok(envelope) => envelope,
        Err(BadEnvelope { id, error }) => {
            // The method is not known, so neither is the caller's version; both read this.
            return json_response(StatusCode::OK, jsonrpc::write_error(&id, &error, Version::V1_0));
        }
    };
    let Some((method, version)) = Method::by_jsonrpc_name(&envelope.method) else {
        let version = if envelope.method.contains('/') { Version::V0_3 } else { Version::V1_0 };
        let error = Error::new(
            Kind::MethodNotFound,
            "method is none of A2A 1.0 (such as SendMessage) or 0.3 (such as message/send)",
        );
        return json_response(StatusCode::OK, jsonrpc::write_error(&envelope.id, &error, version));
    };
    let rpc = streamed(method.rpc, spelling, &arrival.headers);
    let request = Asked { id: envelope.id.clone(), version, streams: rpc.method().streams };
    let presented = Presented::of(doors, &arrival, head);
    let reply = match make_call(arrival, caller, rpc, version, head, envelope) {
        Ok(call) => doors.gateway.handle(call).await,
        Err(error) => Err(error),
    };
    // The request's bytes and their share of the budget are not needed any more.
    drop(whole);
    match reply {
        Ok(reply) => answered(doors, &request, reply, &presented),
        Err(error) => failed(&request, &error),
    }
}

fn make_call(
    arrival: Arrival,
    caller: Caller,
    rpc: Rpc,
    version: Version,
    head: &Parts,
    envelope: jsonrpc::Request,
) -> Result<crate::call::Call, Error> {
    let named = named_version(&arrival.headers, head.uri.query())?;
    if named.is_none() && version == Version::V1_0 && arrival.settings.strict_version {
        let message = "a request without A2A-Version is A2A 0.3, which has no such method: send `A2A-Version: 1.0`";
        return Err(Error::new(Kind::VersionNotSupported, message));
    }
    let (operation, raw) = json::read_request(rpc, version, envelope.params, &arrival.settings.limits.json)?;
    Ok(call(arrival, caller, version, operation, raw, Some(envelope.id)))
}

/// A send is streamed by the alias, and for a caller that accepts events and not JSON.
fn streamed(rpc: Rpc, spelling: Spelling, headers: &HeaderMap) -> Rpc {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let only_events = accept.contains("text/event-stream") && !accept.contains("json") && !accept.contains("*/*");
    match rpc {
        Rpc::SendMessage if spelling == Spelling::Stream || only_events => Rpc::SendStreamingMessage,
        rpc => rpc,
    }
}

/// How callers see the agent, for a card inside a reply.
struct Presented {
    base_url: String,
    agent: Option<std::sync::Arc<crate::registry::Agent>>,
}

impl Presented {
    fn of(doors: &Doors, arrival: &Arrival, head: &Parts) -> Self {
        Self {
            base_url: base_url(&arrival.settings, arrival.peer, &arrival.headers, &head.uri),
            agent: doors.gateway.registry.find(&arrival.agent).cloned(),
        }
    }
}

fn answered(doors: &Doors, request: &Asked, reply: Reply, presented: &Presented) -> Response {
    let meta = reply.meta;
    let mut response = match reply.body {
        ReplyBody::Stream(events) => stream::response(doors, request, events),
        ReplyBody::One(answer) => match json::write_answer(ours(answer, presented), request.version) {
            Err(error) => return failed(request, &error),
            Ok(result) => {
                let (start, end) = jsonrpc::write_result(&request.id);
                json_response(StatusCode::OK, Body::new(Pieces::new([start, result, end])))
            }
        },
    };
    if let Some((name, value)) = echo(&meta.extensions, request.version) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A card in a reply is rewritten like one at a well-known path: an upstream address in it would leak.
fn ours(mut answer: Answer, presented: &Presented) -> Answer {
    if let (Content::Typed(typed), Some(agent)) = (&mut answer.content, &presented.agent) {
        if let Typed::Card(card) = &mut **typed {
            *card = rewritten(card, &card::face(agent, &presented.base_url));
        }
    }
    answer
}

fn failed(request: &Asked, error: &Error) -> Response {
    let body = jsonrpc::write_error(&request.id, error, request.version);
    if request.streams && request.version == Version::V0_3 {
        // A 0.3 client that asked for a stream reads nothing else.
        return stream::single(&body);
    }
    let mut response = json_response(StatusCode::OK, body);
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

/// The extensions that the agent activated, under the name that the caller's version has for them.
fn echo(extensions: &[ExtensionUri], version: Version) -> Option<(HeaderName, HeaderValue)> {
    let name = match version {
        Version::V1_0 => HeaderName::from_static("a2a-extensions"),
        Version::V0_3 => HeaderName::from_static("x-a2a-extensions"),
    };
    let joined = extensions.iter().map(|uri| uri.0.as_str()).collect::<Vec<_>>().join(",");
    HeaderValue::from_str(&joined).ok().filter(|value| !value.is_empty()).map(|value| (name, value))
}
