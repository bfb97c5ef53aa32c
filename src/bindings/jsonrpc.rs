//! The JSON-RPC door, in 1.0 (A2A 9) and 0.3 (its specification, section 7): the method's name says which.
//!
//! Before a caller is admitted to the agent, errors have their HTTP status; afterwards all are HTTP 200, for the
//! SDKs of both generations read a JSON-RPC error only there.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::arrival::{arrival, base_url, call, named_version};
use super::respond::{json_response, with_error_headers, with_retry_after};
use super::{Doors, card, closing};
use crate::a2a::card::{Face, rewritten};
use crate::call::{AgentName, Answer, Arrival, Caller, Content, ExtensionUri, Reply, ReplyBody, Response as Typed};
use crate::error::{Error, Kind};
use crate::operation::{Binding, Method, Rpc, Version};
use crate::wire::body::{self, BodyError, Pace, Pieces};
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
    let mut arrival = arrival(doors, agent, Binding::JsonRpc, &mut head);
    let caller = match doors.gateway.admit(&mut arrival) {
        Ok(caller) => caller,
        Err(error) => return closing(head.version, refused(&error)),
    };
    let whole = match media_type(&arrival.headers) {
        Ok(()) => read(doors, &arrival, body).await,
        Err(error) => Err(error),
    };
    match whole {
        Ok(whole) => admitted_call(doors, arrival, caller, spelling, &head, whole).await,
        Err(error) => closing(head.version, refused(&doors.gateway.refuse(&arrival, &caller, error))),
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
    if body::is_encoded(headers) {
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

async fn read(doors: &Doors, arrival: &Arrival, body: Body) -> Result<Bytes, Error> {
    let settings = &arrival.settings;
    let pace = Pace {
        bytes_max: settings.limits.body_bytes_max,
        pause_max: settings.timeouts.body_pause,
        bytes_per_second_min: settings.timeouts.body_bytes_per_second_min,
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
    whole: Bytes,
) -> Response {
    let gateway = &doors.gateway;
    let envelope = match jsonrpc::read_request(&whole) {
        Ok(envelope) => envelope,
        Err(BadEnvelope { id, error }) => {
            // The method is not known, so neither is the caller's version; both read this.
            let asked = Asked { id, version: Version::V1_0, streams: false };
            return failed(&asked, &gateway.refuse(&arrival, &caller, error));
        }
    };
    let Some((method, version)) = Method::by_jsonrpc_name(&envelope.method) else {
        let version = if envelope.method.contains('/') { Version::V0_3 } else { Version::V1_0 };
        let asked = Asked { id: envelope.id, version, streams: false };
        let message = "method is none of A2A 1.0 (such as SendMessage) or 0.3 (such as message/send)";
        return failed(&asked, &gateway.refuse(&arrival, &caller, Error::new(Kind::MethodNotFound, message)));
    };
    let rpc = streamed(method.rpc, spelling, &arrival.headers);
    let asked = Asked { id: envelope.id.clone(), version, streams: rpc.method().streams };
    let checked = checked_version(&arrival, version, head.uri.query())
        .and_then(|()| json::read_request(rpc, version, envelope.params, &arrival.settings.limits.json));
    let (operation, raw) = match checked {
        Ok(checked) => checked,
        Err(error) => return failed(&asked, &gateway.refuse(&arrival, &caller, error)),
    };
    // Only a card in the reply needs to know how callers reach us.
    let face = (rpc == Rpc::GetExtendedAgentCard).then(|| face(doors, &arrival, head)).flatten();
    let call = call(arrival, caller, version, operation, raw, Some(envelope.id));
    drop(whole);
    match gateway.handle(call).await {
        Ok(reply) => answered(doors, &asked, reply, face),
        Err(error) => failed(&asked, &error),
    }
}

/// The version that the caller names must be spoken here, and named at all when the operator is strict.
fn checked_version(arrival: &Arrival, version: Version, query: Option<&str>) -> Result<(), Error> {
    let named = named_version(&arrival.headers, query)?;
    if named.is_none() && version == Version::V1_0 && arrival.settings.strict_version {
        let message = "a request without A2A-Version is A2A 0.3, which has no such method: send `A2A-Version: 1.0`";
        return Err(Error::new(Kind::VersionNotSupported, message));
    }
    Ok(())
}

/// How callers see the agent.
fn face(doors: &Doors, arrival: &Arrival, head: &Parts) -> Option<Face> {
    let base = base_url(&arrival.settings, arrival.peer, &arrival.headers, &head.uri);
    doors.gateway.registry.find(&arrival.agent).map(|agent| card::face(agent, &base))
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

fn answered(doors: &Doors, asked: &Asked, reply: Reply, face: Option<Face>) -> Response {
    let meta = reply.meta;
    let mut response = match reply.body {
        ReplyBody::Stream(events) => stream::response(doors, asked, events),
        ReplyBody::One(answer) => match json::write_answer(ours(answer, face, asked.version), asked.version) {
            Err(error) => return failed(asked, &error),
            Ok(result) => {
                let (start, end) = jsonrpc::write_result(&asked.id);
                json_response(StatusCode::OK, Body::new(Pieces::new([start, result, end])))
            }
        },
    };
    response.headers_mut().extend(ExtensionUri::header(&meta.extensions, asked.version));
    response
}

/// A card in a reply is rewritten like one at a well-known path: an upstream address in it would leak. It offers the
/// version that it was asked for, even where the public card is pinned to the other.
fn ours(mut answer: Answer, face: Option<Face>, version: Version) -> Answer {
    if let (Content::Typed(typed), Some(face)) = (&mut answer.content, face)
        && let Typed::Card(card) = &mut **typed
    {
        let pinned = face.pinned.map(|_| version);
        *card = rewritten(card, &Face { pinned, ..face });
    }
    answer
}

fn failed(asked: &Asked, error: &Error) -> Response {
    let body = jsonrpc::write_error(&asked.id, error, asked.version);
    let response = if asked.streams && asked.version == Version::V0_3 {
        // A 0.3 client that asked for a stream reads nothing else.
        stream::single(&body)
    } else {
        json_response(StatusCode::OK, body)
    };
    with_retry_after(response, error)
}
